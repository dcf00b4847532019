"""Folders that timm wrote bring classes, preprocessing and names; files of torchvision."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf

from xai_sweep.core.errors import InputError
from xai_sweep.models.timm import TimmModel
from xai_sweep.models.torchvision import TorchvisionModel

NAMES = ["cat", "dog", "elk"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network trained with another size, normalisation and classes than timm's own weights."""
    overlay = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear"}
    network = timm.create_model(
        "test_vit", num_classes=3, img_size=96, pretrained_cfg_overlay=overlay
    )
    save_for_hf(network, tmp_path, model_config={"label_names": NAMES, "num_classes": 3})
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_a_folder_brings_what_belongs_to_its_weights(folder: Path) -> None:
    classifier = TimmModel("test_vit", weights=str(folder)).load()
    assert classifier.labels == tuple(NAMES)
    assert (classifier.mean, classifier.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert "bilinear" in str(classifier.preprocess)
    assert classifier.size == 96
    with torch.no_grad():
        assert classifier.module(torch.zeros(1, 3, 96, 96)).shape == (1, 3)


def test_its_settings_are_part_of_the_identity(folder: Path) -> None:
    source = TimmModel("test_vit", weights=str(folder))
    before = source.identity()
    change(folder, label_names=["a", "b", "c"])
    after = source.identity()
    assert after["weights"] == before["weights"]
    assert after["config"] != before["config"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "test_resnet"}, "holds timm's test_resnet; must be weights of test_vit"),
        (
            {"model_args": {"depht": 3}},
            "its config.json must have arguments that timm takes (.*dep",
        ),
        ({"label_names": ["a"]}, "holds 1 class names (a, ..., a), and the network has 3 classes"),
    ],
)
def test_a_folder_of_something_else(folder: Path, values: dict[str, Any], message: str) -> None:
    change(folder, **values)
    with pytest.raises(InputError) as error:
        TimmModel("test_vit", weights=str(folder)).load()
    begin, _, end = message.partition(".*")
    assert begin in str(error.value)
    assert end in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_may_not_name_other_files(folder: Path, tmp_path: Path) -> None:
    """Timm would unpickle a `checkpoint_path`."""
    args = {"checkpoint_path": str(tmp_path / "evil.pth"), "img_size": 96}
    change(folder, model_args=args)
    assert TimmModel("test_vit", weights=str(folder)).load().labels == tuple(NAMES)


def test_a_folder_that_timm_did_not_write(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "vit"}')
    source = TimmModel("test_vit", weights=str(folder))
    assert "config" not in source.identity()
    with pytest.raises(
        InputError, match=r"pos_embed is \[1, 37, 64\] in the file and \[1, 101, 64"
    ):
        source.load()
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"its config.json must be JSON$"):
        source.identity()


@pytest.mark.parametrize("has_auxiliary", [True, False])
def test_weights_of_torchvision_with_and_without_what_only_training_needs(
    tmp_path: Path, has_auxiliary: bool
) -> None:
    source = TorchvisionModel("googlenet", weights="random")
    state = source.load().module.state_dict()
    if not has_auxiliary:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("aux")}
    torch.save(state, tmp_path / "weights.pth")
    found = TorchvisionModel("googlenet", weights=str(tmp_path / "weights.pth")).load()
    torch.testing.assert_close(found.module.state_dict(), state, rtol=0, atol=0)
