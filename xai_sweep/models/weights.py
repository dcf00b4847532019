"""Weights from files: what identifies them, reading them, putting them into a network."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from torch import nn

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256
from xai_sweep.core.parameters import FileOf
from xai_sweep.models.file_kinds import conversion, some
from xai_sweep.models.matching import Fit, fits, plain_name, surplus
from xai_sweep.models.weight_files import Content, content_of, same, weight_files

CHOICE = "model.key"

# What `model.weights` may be: a word, or the path of a file or folder.
Weights: TypeAlias = Literal["default", "random"] | Annotated[str, FileOf("weights")]


def file_identity(path: str, key: str = "model.weights") -> dict[str, str]:
    """The identity of weights in a file or folder: its content, whatever its name and place.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        hashes = [file_sha256(file) for file in weight_files(existing(path, key), key)]
    except OSError as error:
        allowed = f"cannot be read: {error.strerror}; must be a readable file"
        raise InputError(key, path, allowed) from error
    if len(hashes) > 1:
        hashes = [hashlib.sha256("".join(hashes).encode()).hexdigest()]
    return {"weights": f"sha256:{hashes[0]}"}


def existing(path: str, key: str = "model.weights") -> Path:
    """The path of an existing file or folder.

    Raises:
        InputError: there is none.
    """
    file = Path(str(path)).expanduser()
    if not file.exists():
        words = "default, random, or " if key == "model.weights" else ""
        raise InputError(key, path, f"there is no such file; must be {words}a file of weights")
    return file


def read_weights(path: str, key: str = "model.weights") -> Content:
    """The tensors of a file that PyTorch, Lightning or safetensors wrote, or of a folder of timm.

    Raises:
        InputError: there is no such file, or it is something else; says what.
    """
    return content_of(existing(path, key), key)


def put_weights(
    module: nn.Module, content: Content, chosen: str | None = None, choice: str = CHOICE
) -> None:
    """Fill a network with the tensors of a file whose names and shapes fit it.

    Args:
        module: the network.
        content: of the file.
        chosen: which tensors, if several sets fit: the names in the file that lead to them,
            ``model_ema`` for example, or a dot for those that stand there as they are.
        choice: the configuration key that chooses; empty if there is none.

    Raises:
        InputError: no tensors fit, or several sets do that differ.
    """
    if any(torch.nn.parameter.is_lazy(each) for each in module.parameters()):
        allowed = (
            f"{type(module).__name__} has lazy layers; run it once in a function that builds it"
        )
        raise InputError("model.architecture", type(module).__name__, allowed)
    found = fits(module, content)
    complete = [fit for fit in found if fit.is_complete]
    if not complete:
        raise content.error(_why_none(module, content, found))
    fit = _one(complete, content, chosen, choice)
    more = surplus(fit, complete, content)
    if more:
        raise content.error(
            f"must hold weights of {type(module).__name__}: all of its tensors fit, but "
            f"{len(more)} beside them are too much: {some(more)}; if they are no part of it, save "
            "the file without them"
        )
    _check_numbers(module, fit, content)
    try:
        module.load_state_dict(fit.tensors, strict=False)
    except RuntimeError as error:  # a module may have its own way
        raise content.error(f"{type(module).__name__} refuses it: {_one_line(error)}") from error


def classes_in(content: Content, module: nn.Module, last: str, otherwise: int) -> int:
    """How many classes weights have: the length of ``last``, a tensor of the last layer."""
    named = (fit.tensors[last] for fit in fits(module, content) if last in fit.tensors)
    tensor = next(named, None)
    return otherwise if tensor is None or tensor.ndim == 0 else len(tensor)


def _one(complete: Sequence[Fit], content: Content, chosen: str | None, choice: str) -> Fit:
    """The one set of tensors that is meant."""
    names = [fit.name for fit in complete]
    if chosen is not None:
        name = plain_name(chosen)
        exact = [fit for fit in complete if fit.name == name]
        complete = exact or [fit for fit in complete if fit.prefix.startswith(f"{name}.")]
        if not complete:
            allowed = (
                f"must be {' or '.join(names)}, where {content.path} has the network's weights"
            )
            raise InputError(choice, chosen, allowed)
    first, *others = complete
    if any(
        not same(fit.tensors[name], first.tensors[name]) for fit in others for name in first.tensors
    ):
        names = [fit.name for fit in complete]
        how = f"choose one with {choice}={names[0]}" if choice else "must hold one of them alone"
        raise content.error(
            f"holds {len(names)} sets of weights that fit and differ: {some(names, 5)}; {how}"
        )
    return first


def _why_none(module: nn.Module, content: Content, found: Sequence[Fit]) -> str:
    """Why no tensors of a file fit a network."""
    network = type(module).__name__
    trust = ""
    if content.foreign:
        advice = conversion(content.path)
        trust = f"; it also holds {some(content.foreign)}, which is not read; {advice}"
    if not content.tensors:
        keys = f"; its keys are {some(content.keys, 8)}" if content.keys else ""
        return f"must hold a state dict, that is tensors by name{keys}{trust}"
    if not found:
        there, here = some(list(content.tensors)), some(list(module.state_dict()))
        return f"must hold weights of {network}: it has {there}, and the network has {here}{trust}"
    best = found[0]
    under = f" under {best.name}" if best.prefix else ""
    parts = [
        f"{best.count} of {best.count + len(best.other) + len(best.missing)} tensors fit{under}"
    ]
    more = surplus(best, (), content)
    if best.other:
        parts.append(f"{len(best.other)} of another shape or kind: {some(best.other, 2)}")
    if best.missing:
        parts.append(f"{len(best.missing)} missing: {some(best.missing)}")
    if more:
        parts.append(f"{len(more)} too much: {some(more)}")
    return f"must hold weights of {network}: {'; '.join(parts)}"


def _check_numbers(module: nn.Module, fit: Fit, content: Content) -> None:
    """Refuse weights that are no numbers; say of others when they are converted."""
    own = module.state_dict()
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    kinds = set()
    for name, tensor in fit.tensors.items():
        if name in parameters and not tensor.isfinite().all():
            raise content.error(f"holds NaN or infinity in {name}; the network is not usable")
        if tensor.dtype != own[name].dtype:
            kinds.add(f"{tensor.dtype} weights, used as {own[name].dtype}".replace("torch.", ""))
    for kind in sorted(kinds):
        print(f"note: {content.path} holds {kind}", file=sys.stderr)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{text[:300]}..." if len(text) > 300 else text
