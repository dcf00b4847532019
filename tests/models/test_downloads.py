"""Without a connection: files on the disk are used, and errors name the missing file."""

import re
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from xai_sweep.core.errors import InputError
from xai_sweep.models import downloads
from xai_sweep.models import timm as timm_source
from xai_sweep.models.timm import TimmModel
from xai_sweep.models.torchvision import TorchvisionModel

TORCHVISION_FILE = "squeezenet1_1-b8a52dc0.pth"
TIMM_URL = "https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch.hub folder, an empty Hugging Face cache, and no network."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "urlopen", refuse)
    monkeypatch.setattr(timm_source, "try_to_load_from_cache", lambda *_: None)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    return tmp_path / "hub/checkpoints"


@pytest.mark.parametrize(
    ("source", "url", "name"),
    [
        (
            TorchvisionModel("squeezenet1_1"),
            f"https://download.pytorch.org/models/{TORCHVISION_FILE}",
            TORCHVISION_FILE,
        ),
        (TimmModel("test_resnet"), TIMM_URL, "test_resnet.r160_in1k.safetensors"),
    ],
)
def test_the_error_says_which_file_to_put_where(
    checkpoints: Path, source: TorchvisionModel | TimmModel, url: str, name: str
) -> None:
    with pytest.raises(InputError) as error:
        source.load()
    assert str(error.value) == (
        f"model.weights=default: cannot download {url} (<urlopen error no route to host>); put that"
        f" file at {checkpoints / name}, or use another file with model.weights=PATH"
    )


def test_a_torchvision_file_put_by_hand(checkpoints: Path) -> None:
    state = TorchvisionModel("squeezenet1_1", weights="random").load().module.state_dict()
    torch.save(state, checkpoints / TORCHVISION_FILE)
    found = TorchvisionModel("squeezenet1_1").load()
    torch.testing.assert_close(found.module.state_dict(), state, rtol=0, atol=0)
    assert found.labels[281] == "tabby"


@pytest.mark.parametrize("cached", [False, True])
def test_a_timm_file_put_by_hand_or_downloaded_before(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    state = timm.create_model("test_resnet").state_dict()
    path = checkpoints / "test_resnet.r160_in1k.safetensors"
    if cached:
        path = tmp_path / "model.safetensors"
        monkeypatch.setattr(timm_source, "try_to_load_from_cache", lambda *_: str(path))
    save_file(state, path)
    found = TimmModel("test_resnet").load()
    torch.testing.assert_close(found.module.state_dict(), state, rtol=0, atol=0)
    assert found.size == 160


def test_a_damaged_file(checkpoints: Path) -> None:
    (checkpoints / TORCHVISION_FILE).write_bytes(b"half a download")
    place = re.escape(str(checkpoints / TORCHVISION_FILE))
    with pytest.raises(InputError, match=rf"^model.weights=default: {place} is damaged; delete it"):
        TorchvisionModel("squeezenet1_1").load()


def test_a_server_that_answers_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> None:
        raise HTTPError(TIMM_URL, 401, "who are you?", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(downloads, "urlopen", answer)
    with downloads.downloading(TIMM_URL, Path("missing")):
        pass


def test_timm_has_no_weights_for_some() -> None:
    name = next(n for n in timm.list_models() if not timm.get_pretrained_cfg(n).has_weights)
    with pytest.raises(InputError, match=f"timm has no weights of {name}; random or a file"):
        TimmModel(name).load()


def test_a_network_with_a_normalisation_of_its_own_gets_what_it_expects() -> None:
    # What a torchvision file holds was trained behind this correction.
    googlenet = TorchvisionModel("googlenet", weights="random").load().module
    assert googlenet.transform_input


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_fine_tuned_weights_bring_their_number_of_classes(tmp_path: Path, suffix: str) -> None:
    networks = {
        "torchvision": torchvision.models.squeezenet1_1(num_classes=7),
        "timm": timm.create_model("test_resnet", num_classes=7),
    }
    path = str(tmp_path / f"weights{suffix}")
    for library, network in networks.items():
        if suffix == ".pth":
            torch.save({"model": network.state_dict(), "epoch": 3}, path)
        else:
            save_file(network.state_dict(), path)
        source = (
            TorchvisionModel("squeezenet1_1", weights=path)
            if library == "torchvision"
            else TimmModel("test_resnet", weights=path)
        )
        found = source.load()
        assert found.labels == ()
        torch.testing.assert_close(found.module.state_dict(), network.state_dict(), rtol=0, atol=0)
