"""Files of weights: finding them, reading them, loading them into a network."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256

State = Mapping[str, Tensor]

# The keys under which training scripts store weights, beside the optimiser's state and others.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def file_identity(path: str, key: str = "model.weights") -> dict[str, str]:
    """The identity of weights in a file.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        return {"weights": f"sha256:{file_sha256(existing(path, key))}"}
    except OSError as error:
        raise InputError(key, path, f"cannot be read: {error.strerror}") from error


def existing(path: str, key: str = "model.weights") -> Path:
    """The path of an existing file.

    Raises:
        InputError: there is no such file.
    """
    file = Path(str(path)).expanduser()
    if not file.is_file():
        words = "default, random, or " if key == "model.weights" else ""
        raise InputError(key, path, f"there is no such file; must be {words}a file of weights")
    return file


def read_weights(path: str, key: str = "model.weights") -> State:
    """The state dict in a ``.safetensors`` file or in a checkpoint that PyTorch or Lightning wrote.

    Only tensors and plain containers are read (``weights_only``); code in a file is never run.

    Raises:
        InputError: there is no such file, or no state dict in it.
    """
    file = existing(path, key)
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            key,
            path,
            "must be a file of tensors, as torch.save(module.state_dict(), path) writes it; other "
            "Python objects are not loaded, because they could run code",
        ) from error
    except (OSError, EOFError, RuntimeError, SafetensorError) as error:
        raise InputError(key, path, f"cannot be read: {_one_line(error)}") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not _is_state(content):
        raise InputError(key, path, "must hold a state dict, that is tensors by name")
    return content  # type: ignore[no-any-return]


def put_weights(module: nn.Module, state: State, path: str, key: str = "model.weights") -> None:
    """Load a state dict into a module; names and shapes must agree on both sides.

    A prefix of the file's names (``model.``, ``module.``) is removed; if the network fits behind
    several prefixes, the first in the file is used.

    Raises:
        InputError: names or shapes differ.
    """
    state = _without_prefix(state, set(module.state_dict()))
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        allowed = f"must hold weights of {type(module).__name__}: {_one_line(error)}"
        raise InputError(key, path, allowed) from error


def classes_in(state: State, module: nn.Module, last: str, otherwise: int) -> int:
    """How many classes a state dict has: the length of ``last``, a tensor of the last layer."""
    tensor = _without_prefix(state, set(module.state_dict())).get(last)
    return otherwise if tensor is None or tensor.ndim == 0 else len(tensor)


def _without_prefix(state: State, names: set[str]) -> State:
    if not names or names <= set(state):
        return state
    some = min(names)
    for name in state:
        prefix = name.removesuffix(some)
        if all(f"{prefix}{wanted}" in state for wanted in names):
            return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    return state


def _is_state(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(t, Tensor) for name, t in content.items())
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # PyTorch repeats the class and lists every tensor; the first ones are enough.
    text = text.removeprefix("Error(s) in loading state_dict for ").partition(": ")[2] or text
    return f"{text[:300]}..." if len(text) > 300 else text
