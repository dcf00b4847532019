"""Own networks, in every kind of file they come in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Plain
from omegaconf import OmegaConf
from torchvision.models import squeezenet1_1

from xai_sweep.core.errors import InputError
from xai_sweep.models.checkpoint import CheckpointModel

NAMES = ("cat", "dog", "elk", "gnu", "yak")
SMALL = {"architecture": "torchvision.models:squeezenet1_1", "arguments": {"num_classes": 3}}


def test_size_and_weights_arrive(path: str) -> None:
    source = CheckpointModel("networks:Plain", path=path, size=16)
    classifier = source.load()
    expected = torch.load(path, weights_only=True)
    torch.testing.assert_close(classifier.module.state_dict(), expected, rtol=0, atol=0)
    assert classifier.size == 16
    assert source.identity()["weights"].startswith("sha256:")


@pytest.fixture
def path(tmp_path: Path) -> str:
    torch.save(Plain().state_dict(), tmp_path / "plain.pt")
    return str(tmp_path / "plain.pt")


def test_lists_and_dictionaries_of_hydra(path: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\nelk\ngnu\nyak\n", encoding="utf-8")
    node = OmegaConf.create({"mean": [0.1, 0.2, 0.3], "labels": list(NAMES), "arguments": {}})
    source = CheckpointModel("networks:Plain", path=path, **node)
    assert hash(source) == hash(
        CheckpointModel("networks:Plain", {}, path, (0.1, 0.2, 0.3), labels=NAMES)
    )
    assert source.load().mean == (0.1, 0.2, 0.3)
    by_file = CheckpointModel("networks:Plain", path=path, labels=str(tmp_path / "names.txt"))
    assert source.load().labels == by_file.load().labels == NAMES
    before = by_file.identity()
    (tmp_path / "names.txt").write_text("cat\nfox\nelk\ngnu\nyak\n", encoding="utf-8")
    assert by_file.identity() != before


def test_arguments_reach_the_architecture(tmp_path: Path) -> None:
    path = str(tmp_path / "small.pt")
    torch.save(squeezenet1_1(num_classes=3).state_dict(), path)
    module = CheckpointModel(**SMALL, path=path).load().module
    assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": None}, "model.path=null: must be the path of a file of weights"),
        ({"path": "no.pt"}, "model.path=no.pt: there is no such file; must be a file of weights"),
        (
            {"architecture": None},
            "model.architecture=null: must be package.module:Class and importable",
        ),
        (
            {"architecture": "networks:Missing"},
            "model.architecture=networks:Missing: must be package.module:Class",
        ),
        (
            {"architecture": "nowhere:Plain"},
            "model.architecture=nowhere:Plain: must be package.module:Class",
        ),
        (
            {"architecture": "builtins:dict"},
            "model.architecture=builtins:dict: must build a torch.nn.Module",
        ),
        (
            {"arguments": {"depth": 3}},
            "model.arguments={'depth': 3}: networks:Plain raised TypeError: ",
        ),
        ({"labels": "no.txt"}, "model.labels=no.txt: must be a list of names or a file of them"),
    ],
)
def test_bad_fields(path: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        CheckpointModel(**{"architecture": "networks:Plain", "path": path, **fields}).load()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
