"""Every entry of conf/model, and the contract of all sources."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from networks import Plain
from omegaconf import OmegaConf
from torch.overrides import TorchFunctionMode

from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF
from xai_sweep.data import Samples, read_image
from xai_sweep.models import ModelSource, load
from xai_sweep.models.classifier import Examined
from xai_sweep.models.torchvision import TorchvisionModel

NAMES = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
PRETRAINED = [name for name in NAMES if name not in ("checkpoint", "callable")]


def source(name: str, tmp_path: Path, **overrides: object) -> ModelSource:
    node = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    if name == "checkpoint":
        torch.save(Plain().state_dict(), tmp_path / "plain.pt")
        overrides = {"architecture": "networks:Plain", "path": str(tmp_path / "plain.pt")}
    found = instantiate(node, **overrides)
    assert isinstance(found, ModelSource)
    return found


@pytest.mark.parametrize("name", [*PRETRAINED, "checkpoint"])
def test_every_entry_gives_logits(name: str, tmp_path: Path) -> None:
    found = source(name, tmp_path, weights="random")
    assert hash(found) == hash(source(name, tmp_path, weights="random"))
    assert found == source(name, tmp_path, weights="random")
    random_state = torch.get_rng_state()
    classifier = load(found)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert classifier.examined == Examined(classes=len(classifier.labels) or 5)

    (file,) = Samples(limit=1).files()
    image = classifier.preprocess(read_image(file.path))
    assert image.dtype == torch.float32
    assert image.shape == (3, classifier.size, classifier.size)
    with torch.no_grad():
        logits = classifier.module(image[None])
    assert logits.shape == (1, len(classifier.labels) or 5)
    assert logits.isfinite().all()

    module = classifier.module
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    kernels = [p for p in module.parameters() if p.dim() == 4 and min(p.shape) > 1]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


class Nothing(TorchFunctionMode):
    def __torch_function__(self, function: object, *_: object) -> object:
        raise AssertionError(f"{function} was called")


@pytest.mark.parametrize("name", [*PRETRAINED, "checkpoint"])
def test_every_entry_knows_its_weights_without_building_anything(name: str, tmp_path: Path) -> None:
    found = source(name, tmp_path)
    with pytest.raises(AssertionError, match="was called"), Nothing():
        Plain()
    with Nothing():
        weights = found.identity()["weights"]
    assert weights.partition(":")[0] in {"torchvision", "timm", "sha256"}


def test_some_identities(tmp_path: Path) -> None:
    expected = {
        "vgg16": "torchvision:VGG16_Weights.IMAGENET1K_V1",
        "resnet50": "torchvision:ResNet50_Weights.IMAGENET1K_V2",
        "inception_resnet_v2": "timm:inception_resnet_v2.tf_in1k",
    }
    for name, weights in expected.items():
        assert source(name, tmp_path).identity() == {"weights": weights}
        assert source(name, tmp_path, weights="random").identity() == {"weights": "random"}


@pytest.mark.parametrize("name", ["efficientnet_lite0", "torchvision", "timm"])
def test_random_weights_follow_from_the_seed(name: str, tmp_path: Path) -> None:
    states = [
        source(name, tmp_path, weights="random", seed=seed).load().module.state_dict()
        for seed in (1, 1, 2)
    ]
    same, other = (
        [torch.equal(tensor, states[k][key]) for key, tensor in states[0].items()] for k in (1, 2)
    )
    assert all(same)
    assert not all(other)


def test_loaded_once_and_two_are_kept() -> None:
    first = load("torchvision", name="squeezenet1_1", weights="random")
    assert load("torchvision", name="squeezenet1_1", weights="random") is first
    assert load(TorchvisionModel("squeezenet1_1", weights="random")) is first
    second = load(TorchvisionModel("squeezenet1_1"), weights="random", seed=1)
    assert second is not first
    assert load("torchvision", name="squeezenet1_1", weights="random") is first
    load("torchvision", name="squeezenet1_1", weights="random", seed=2)
    assert load("torchvision", name="squeezenet1_1", weights="random", seed=1) is not second


def test_a_file_that_changes_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "plain.pt"
    arguments = {"architecture": "networks:Plain", "path": str(path)}
    torch.save(Plain().state_dict(), path)
    first = load("checkpoint", **arguments)
    assert load("checkpoint", **arguments) is first
    torch.save({"state_dict": Plain().state_dict(), "epoch": 7}, path)
    assert load("checkpoint", **arguments) is not first


def test_unknown_names_and_keys() -> None:
    with pytest.raises(InputError, match=r"^model=vgg61: must be one of .*; did you mean vgg16\?$"):
        load("vgg61")
    known = "name, weights, seed, key, output, output_key, stochastic"
    with pytest.raises(InputError, match=f"^model.wieghts=random: vgg16 has {known}$"):
        load("vgg16", wieghts="random")


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_unknown_architectures(name: str) -> None:
    with pytest.raises(InputError, match=r"^model.name=resnet81: must be .*; did you mean resnet"):
        load(name, name="resnet81")


@pytest.mark.parametrize("name", PRETRAINED)
def test_weights_that_are_not_there(name: str) -> None:
    with pytest.raises(InputError) as error:
        load(name, weights="missing.pt")
    assert str(error.value) == (
        "model.weights=missing.pt: there is no such file; "
        "must be default, random, or a file of weights"
    )
