"""Own networks, in every kind of file they come in."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from networks import Plain
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models import squeezenet1_1

from xai_sweep.core.errors import InputError
from xai_sweep.models.checkpoint import CheckpointModel

SMALL = {"architecture": "torchvision.models:squeezenet1_1", "arguments": {"num_classes": 3}}


class Lit(pl.LightningModule):
    """A network as Lightning trains it, with another one beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"lr": 0.1})
        self.loss = nn.Linear(2, 2)
        self.model = Plain()

    def training_step(self, batch: Tensor) -> Tensor:
        return self.model(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader([torch.ones(3, 8, 8)])


def lightning(path: Path) -> nn.Module:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        lit = Lit()
        trainer.fit(lit)
        trainer.save_checkpoint(path)
    return lit.model


def plain(save: Callable[[dict[str, Tensor], Path], None]) -> Callable[[Path], nn.Module]:
    def write(path: Path) -> nn.Module:
        network = Plain()
        save(network.state_dict(), path)
        return network

    return write


def prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.pt", plain(torch.save)),
        ("a.pth", plain(lambda state, path: torch.save({"model_state_dict": state}, path))),
        ("a.pth", plain(lambda state, path: torch.save(prefixed(state), path))),
        ("a.safetensors", plain(save_file)),
        ("a.ckpt", lightning),
    ],
)
def test_the_weights_arrive(tmp_path: Path, name: str, write: Callable[[Path], nn.Module]) -> None:
    network = write(tmp_path / name)
    source = CheckpointModel("networks:Plain", path=str(tmp_path / name), size=16)
    classifier = source.load()
    torch.testing.assert_close(classifier.module.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert classifier.size == 16
    assert source.identity()["weights"].startswith("sha256:")


@pytest.fixture
def path(tmp_path: Path) -> str:
    torch.save(Plain().state_dict(), tmp_path / "plain.pt")
    return str(tmp_path / "plain.pt")


def test_lists_and_dictionaries_of_hydra(path: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n", encoding="utf-8")
    node = OmegaConf.create({"mean": [0.1, 0.2, 0.3], "labels": ["cat", "dog"], "arguments": {}})
    source = CheckpointModel("networks:Plain", path=path, **node)
    assert hash(source) == hash(
        CheckpointModel("networks:Plain", {}, path, (0.1, 0.2, 0.3), labels=("cat", "dog"))
    )
    assert source.load().mean == (0.1, 0.2, 0.3)
    by_file = CheckpointModel("networks:Plain", path=path, labels=str(tmp_path / "names.txt"))
    assert source.load().labels == by_file.load().labels == ("cat", "dog")
    before = by_file.identity()
    (tmp_path / "names.txt").write_text("cat\nfox\n", encoding="utf-8")
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
        ({"labels": "no.txt"}, "model.labels=no.txt: must be a list of names or a text file"),
    ],
)
def test_bad_fields(path: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        CheckpointModel(**{"architecture": "networks:Plain", "path": path, **fields}).load()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code in a file was run",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"", "cannot be read: "),
        ("a.pt", b"no pickle", "must be a file of tensors"),
        ("a.safetensors", b"no tensors", "cannot be read: "),
        ("a.pt", Evil(), "must be a file of tensors"),
        ("a.pt", {"network": Plain()}, "must be a file of tensors"),
        ("a.pt", [1, 2], "must hold a state dict, that is tensors by name"),
        ("a.pt", {}, "must hold a state dict, that is tensors by name"),
        ("a.pt", {"x": torch.zeros(1)}, "must hold weights of Plain: Missing key(s) in state_dict"),
        (
            "a.pt",
            {**Plain().state_dict(), "classifier.bias": torch.zeros(6)},
            "must hold weights of Plain: size mismatch for classifier.bias: ",
        ),
        (
            "a.pt",
            {**Plain().state_dict(), "more": torch.zeros(6)},
            'must hold weights of Plain: Unexpected key(s) in state_dict: "more"',
        ),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: object, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError) as error:
        CheckpointModel("networks:Plain", path=str(path)).load()
    assert str(error.value).startswith(f"model.path={path}: {message}")
    assert "\n" not in str(error.value)
