"""Checkpoints as training scripts write them: the weights arrive, or one line says why not."""

import argparse
import functools
import json
import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from xai_sweep.core.errors import InputError
from xai_sweep.models.weights import file_identity, put_weights, read_weights

State = dict[str, Tensor]


class Net(nn.Module):
    """With buffers, and a part inside a part."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, classes)


class Tied(nn.Module):
    """One tensor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight


class Normed(nn.Module):
    """Weight and spectral norm, as hooks or as parametrisations."""

    def __init__(self, hooks: bool) -> None:
        super().__init__()
        weight, spectral = (
            (weight_norm, spectral_norm)
            if hooks
            else (parametrizations.weight_norm, parametrizations.spectral_norm)
        )
        with warnings.catch_warnings(action="ignore"):
            self.conv = weight(nn.Conv2d(3, 4, 3))
            self.head = spectral(nn.Linear(4, 5))


class Config(dict[str, Any]):
    """A dictionary of a training script, with attributes."""


class Shadow:
    """An average of weights as an object of a training script."""

    def __init__(self, shadow: State) -> None:
        self.shadow, self.decay = shadow, 0.99


class Evil:
    def __init__(self, call: Callable[..., Any] = eval) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, ("1 / 0",)


def before(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def sharded_modules(state: State) -> State:
    """Names as FSDP and checkpointed activations leave them inside a network."""
    return {
        name.replace("features.", "features._fsdp_wrapped_module.").replace(
            ".0.", ".0._checkpoint_wrapped_module."
        ): tensor
        for name, tensor in state.items()
    }


def averaged(net: Net) -> State:
    return dict(AveragedModel(net).state_dict())


def trained(net: Net) -> dict[str, Any]:
    """What stands beside weights."""
    optimizer = torch.optim.AdamW(net.parameters())
    sum(parameter.sum() for parameter in net.parameters()).backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    return {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "rng": [torch.get_rng_state(), np.random.get_state()],
        "best_acc": np.float64(91.2),
        "args": argparse.Namespace(lr=0.1, out=Path("/data")),
    }


def of(state: State, **more: object) -> dict[str, object]:
    return {"state_dict": state, **more}


TAKEN: dict[str, Callable[[Net, State], object]] = {
    "bare": lambda net, state: state,
    "net": lambda net, state: {"net": before("module.", state), "acc": 93.1, "epoch": 7},
    "weights": lambda net, state: {"weights": state},
    "params": lambda net, state: {"params": state},
    "nested": lambda net, state: {"model": {"network": {"state_dict": state}}},
    "in a list": lambda net, state: [3, (state, "note")],
    "all that a script has": lambda net, state: trained(net),
    "data parallel and compiled": lambda net, state: of(before("module._orig_mod.", state)),
    "mixed prefixes": lambda net, state: of(before("model.module.backbone._orig_mod.net.", state)),
    "sharded": lambda net, state: sharded_modules(before("module.", state)),
    "one part parallel": lambda net, state: {
        name.replace("features.", "features.module."): tensor for name, tensor in state.items()
    },
    "averaged": lambda net, state: averaged(net),
    "the same average": lambda net, state: {"ema": {"shadow": dict(state)}, "state_dict": state},
    "an average as an object": lambda net, state: {"ema": Shadow(state), "epoch": 3},
    "criterion beside": lambda net, state: of({**state, "criterion.weight": torch.ones(5)}),
    "loss beside": lambda net, state: {**state, "val_loss_fn.pos_weight": torch.ones(5)},
    "profiled": lambda net, state: {**state, "head.total_ops": torch.ones(1)},
    "a head beside": lambda net, state: of(
        before("model.", state) | {"projector.weight": torch.ones(2, 2)}
    ),
    "before counters": lambda net, state: {
        name: tensor for name, tensor in state.items() if "num_batches" not in name
    },
    "half": lambda net, state: {name: tensor.half() for name, tensor in state.items()},
    "brain floats": lambda net, state: {name: tensor.bfloat16() for name, tensor in state.items()},
    "parameters": lambda net, state: {
        name: nn.Parameter(tensor, requires_grad=False) for name, tensor in state.items()
    },
    "own dictionaries": lambda net, state: Config(cfg=Config(lr=1), sd=defaultdict(list, state)),
    "a partial": lambda net, state: of(state, hyper=functools.partial(torch.optim.Adam, lr=1)),
    "a whole module": lambda net, state: net,
    "a module in a module": lambda net, state: {"epoch": 3, "net": nn.DataParallel(net)},
    "code beside": lambda net, state: of(state, callback=Evil()),
}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    net = Net()
    for tensor in net.state_dict().values():
        # Exact in every kind of number, so that halves can be compared too.
        tensor.copy_(torch.randint(-8, 8, tensor.shape) / 4)
    return net


def filled(module: nn.Module, path: Path, chosen: str | None = None) -> nn.Module:
    put_weights(module, read_weights(str(path)), chosen)
    return module


def assert_same(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    found = module.state_dict()
    assert found.keys() >= state.keys()
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor), name


# Files of torch before 1.6 hold the source code of whole modules, which is refused below.
OLD = [name for name in TAKEN if "module" not in name]


@pytest.mark.parametrize(("name", "is_zip"), [(n, True) for n in TAKEN] + [(n, False) for n in OLD])
def test_the_weights_arrive(tmp_path: Path, net: Net, name: str, is_zip: bool) -> None:
    path = tmp_path / "weights"  # the name does not matter
    content = TAKEN[name](net, dict(net.state_dict()))
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    expected = dict(net.state_dict())
    if name in ("before counters", "half", "brain floats"):  # a counter is no half number
        del expected["features.1.num_batches_tracked"]
    assert_same(filled(Net(), path), expected)


class Lit(pl.LightningModule):
    """A network as Lightning trains it, with another one beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"lr": 0.1, "config": Config(depth=3)})
        self.loss = nn.Linear(2, 2)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def training_step(self, batch: Tensor) -> Tensor:
        return self.model(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader([torch.ones(3, 8, 8)])


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    lit = Lit()
    with warnings.catch_warnings(action="ignore"):
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(lit)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert_same(filled(Lit().model, tmp_path / "last.ckpt"), lit.model.state_dict())


def test_a_network_inside_a_module_that_the_file_does_not_know(tmp_path: Path, net: Net) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    around = nn.ModuleDict({"model": nn.ModuleDict({"net": Net()})})
    assert_same(filled(around, tmp_path / "weights.pt"), before("model.net.", net.state_dict()))
    assert_same(filled(nn.DataParallel(Net()).module, tmp_path / "weights.pt"), net.state_dict())


def folder(path: Path, state: State, *parts: tuple[str, ...]) -> Path:
    """Sharded, as transformers and timm write it, with what else there is."""
    path.mkdir()
    (path / "config.json").write_text("{}")
    torch.save({"lr": 0.1}, path / "training_args.bin")
    index: dict[str, str] = {}
    for number, names in enumerate(parts):
        file = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        save_file({name: state[name] for name in names}, path / file)
        index |= dict.fromkeys(names, file)
    content = {"metadata": {"total_size": 1}, "weight_map": index}
    (path / "model.safetensors.index.json").write_text(json.dumps(content))
    return path


def test_safetensors_alone_sharded_and_in_folders(tmp_path: Path, net: Net) -> None:
    state = dict(net.state_dict())
    save_file(state, tmp_path / "any.name")
    assert_same(filled(Net(), tmp_path / "any.name"), state)
    names = tuple(state)
    shards = folder(tmp_path / "sharded", state, names[:3], names[3:])
    assert_same(filled(Net(), shards), state)
    assert_same(filled(Net(), shards / "model.safetensors.index.json"), state)
    for name, save in {"model.safetensors": save_file, "pytorch_model.bin": torch.save}.items():
        whole = folder(tmp_path / name, state)
        (whole / "model.safetensors.index.json").unlink()
        save(state, whole / name)
        assert_same(filled(Net(), whole), state)
        assert file_identity(str(whole)) == file_identity(str(whole / name))
    first = file_identity(str(shards))
    save_file(
        {name: state[name] + 1 for name in names[3:]}, shards / "model-00002-of-00002.safetensors"
    )
    assert file_identity(str(shards)) != first


@pytest.mark.parametrize("hooks", [True, False])
def test_norms_as_hooks_and_as_parametrisations(tmp_path: Path, hooks: bool) -> None:
    torch.manual_seed(1)
    trained, other = Normed(hooks), Normed(not hooks)
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    filled(other, tmp_path / "weights.pt")
    images = torch.randn(2, 3, 3, 3)
    for module in (trained, other):
        module.eval()
    with torch.no_grad():
        maps = trained.conv(images)
        torch.testing.assert_close(other.conv(images), maps)
        torch.testing.assert_close(other.head(maps[..., 0, 0]), trained.head(maps[..., 0, 0]))


def test_a_tensor_with_two_names_is_in_the_file_once(tmp_path: Path) -> None:
    state = dict(Tied().state_dict())
    del state["two.weight"]
    save_file(state, tmp_path / "weights.safetensors")
    tied = filled(Tied(), tmp_path / "weights.safetensors")
    assert torch.equal(tied.two.weight, state["one.weight"])


def test_of_several_sets_that_fit_one_is_chosen(tmp_path: Path, net: Net) -> None:
    path = tmp_path / "weights.pt"
    raw = dict(net.state_dict())
    average = {name: tensor + 1 for name, tensor in raw.items()}
    torch.save({"state_dict": raw, "model_ema": before("module.", average)}, path)
    with pytest.raises(
        InputError,
        match=r"^model\.weights=.*: holds 2 sets of weights that fit and differ: state_dict, "
        r"model_ema; choose one with model\.key=state_dict$",
    ):
        filled(Net(), path)
    assert_same(filled(Net(), path, "state_dict"), raw)
    assert_same(filled(Net(), path, "model_ema"), average)
    assert_same(filled(Net(), path, "model_ema.module"), average)
    with pytest.raises(
        InputError, match=r"^model\.key=ema: must be state_dict or model_ema, where .*"
    ):
        filled(Net(), path, "ema")
    torch.save({**raw, **before("ema.", average)}, path)
    assert_same(filled(Net(), path, "."), raw)
    assert_same(filled(Net(), path, "ema"), average)


def quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def changed(state: State, **tensors: Tensor | None) -> State:
    changed = state | {name.replace("_", "."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in changed.items() if tensor is not None}


REFUSED: dict[str, tuple[Callable[[State], object], str]] = {
    "classes": (
        lambda state: changed(state, head_weight=torch.ones(9, 4), head_bias=torch.ones(9)),
        "must hold weights of Net: 7 of 9 tensors fit; 2 of another shape or kind: head.weight is "
        "[9, 4] in the file and [5, 4] in the network, head.bias is [9] in",
    ),
    "missing": (
        lambda state: of(changed(state, head_weight=None)),
        "must hold weights of Net: 8 of 9 tensors fit under state_dict; 1 missing: head.weight",
    ),
    "too much": (
        lambda state: {**state, "layer.weight": torch.ones(2), "more": torch.ones(2)},
        "must hold weights of Net: all of its tensors fit, but 2 beside them are too much: "
        "layer.weight, more; if they are no part of it, save",
    ),
    "whole numbers": (
        lambda state: changed(state, head_weight=torch.ones(5, 4, dtype=torch.int8)),
        "must hold weights of Net: 8 of 9 tensors fit; 1 of another shape or kind: head.weight is "
        "int8 [5, 4] in the file and [5, 4] in the network",
    ),
    "quantised": (
        lambda state: changed(state, head_weight=quantised(torch.ones(5, 4))),
        "must hold weights of Net: 8 of 9 tensors fit; 1 of another shape or kind: head.weight is "
        "qint8 [5, 4] in the file",
    ),
    "not finite": (
        lambda state: changed(state, head_bias=torch.full((5,), torch.nan)),
        "holds NaN or infinity in head.bias; the network is not usable",
    ),
    "another network": (
        lambda state: {"a": torch.ones(1), "b": torch.ones(1)},
        "must hold weights of Net: it has a, b, and the network has features.0.weight, ",
    ),
    "no tensors": (
        lambda state: {"epoch": 3, "arch": "resnet"},
        "must hold a state dict, that is tensors by name; its keys are epoch, arch",
    ),
    "nothing": (lambda state: {}, "must hold a state dict, that is tensors by name"),
    "a list": (lambda state: [1, 2], "must hold a state dict, that is tensors by name"),
    "twice": (
        lambda state: {**state, "head": {"weight": torch.zeros(5, 4)}},
        "holds two tensors called head.weight",
    ),
    "code": (
        lambda state: {"epoch": 3, "net": Evil()},
        "must hold a state dict, that is tensors by name; its keys are epoch, net; it also holds "
        "builtins.eval, which is not read; where you trust it, run: import torch; "
        'x = torch.load("weights.pt", weights_only=False); '
        'torch.save(x.state_dict(), "weights.pt"), with x["state_dict"] or the like in place of '
        "x.state_dict() if x is a dictionary",
    ),
    "code of the system": (
        lambda state: of(state, callback=Evil(os.system)),
        "names functions of the operating system, as files with harmful code do",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(tmp_path: Path, net: Net, name: str) -> None:
    make, message = REFUSED[name]
    path = tmp_path / "weights.pt"
    torch.save(make(dict(net.state_dict())), path)
    with pytest.raises(InputError) as error:
        filled(Net(), path)
    assert str(error.value).startswith(f"model.weights={path}: {message}")
    assert "\n" not in str(error.value)


def test_a_lazy_network_is_refused(tmp_path: Path, net: Net) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"^model\.architecture=Sequential: .*lazy layers"):
        filled(nn.Sequential(nn.LazyLinear(3)), tmp_path / "weights.pt")


def test_it_says_that_numbers_are_converted(
    tmp_path: Path, net: Net, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(net.half().state_dict(), path)
    filled(Net(), path)
    assert capsys.readouterr().err == f"note: {path} holds float16 weights, used as float32\n"


WORDS = ("state_dict", "model", "module", "net", "ema", "_orig_mod", "backbone", "head")


@settings(max_examples=60, deadline=None)
@given(
    prefix=st.lists(st.sampled_from(WORDS), max_size=4),
    outside=st.lists(st.sampled_from((*WORDS, 0)), max_size=3),
    beside=st.dictionaries(st.sampled_from(WORDS), st.sampled_from(("other", "number", "copy"))),
    damage=st.sampled_from((None, "drop", "shape", "rename")),
)
def test_any_nesting_gives_the_weights_or_a_line(
    tmp_path_factory: pytest.TempPathFactory,
    prefix: list[str],
    outside: list[str | int],
    beside: dict[str, str],
    damage: str | None,
) -> None:
    torch.manual_seed(0)
    state = {name: torch.randn(tensor.shape) for name, tensor in Tied().state_dict().items()}
    state["two.weight"] = state["one.weight"]
    given = dict(state)
    match damage:
        case "drop":
            del given["one.bias"]
        case "shape":
            given["one.bias"] = torch.ones(3)
        case "rename":
            given["uno.bias"] = given.pop("one.bias")
    content: object = before("".join(f"{part}." for part in prefix), given)
    for word in outside:
        content = [content] if word == 0 else {word: content}
    others = {
        "other": {name: tensor + 1 for name, tensor in state.items()},
        "number": np.float64(1),
        "copy": given,
    }
    is_alone = "other" not in beside.values()
    content = {"content": content} | {word: others[kind] for word, kind in beside.items()}
    path = tmp_path_factory.getbasetemp() / "any.pt"
    torch.save(content, path)
    tied = Tied()
    try:
        filled(tied, path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # either outcome is right
        assert damage or not is_alone
    else:
        # What fits is either what was meant, or, if that is damaged, all there is.
        assert_same(tied, state if damage is None else others["other"])
