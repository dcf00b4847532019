"""Every tensor in a file or folder of weights, by name."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.models.file_kinds import DAMAGED, conversion, is_safetensors, some, what_else
from xai_sweep.models.unpickling import StandIn, named_in, unpickled

# As timm and transformers call weights in a folder; the first that is there counts.
_IN_FOLDERS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar")
# Folders of many files that another program must unite, by a file in them.
_UNITED_BY = {
    "*.distcp": "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER w.pt",
    "zero_to_fp32.py": "python zero_to_fp32.py FOLDER weights.pt",
}


@dataclass(frozen=True, eq=False)
class Content:
    """What there is in a file of weights.

    Attributes:
        path: the file or folder.
        key: the configuration key that names it.
        tensors: by name; in nested dictionaries the names of all levels, joined by dots.
        holders: the name of what holds each tensor: a dictionary, a list, or a whole module.
        foreign: full names of the classes in it that are not torch's.
        keys: the names of its first level.
    """

    path: Path
    key: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set, init=False)

    def error(self, allowed: str) -> InputError:
        """An error about this file."""
        return InputError(self.key, self.path, allowed)

    def add(self, value: object, name: str = "", holder: str = "") -> None:
        """Add every tensor in a value, whatever it is.

        Raises:
            InputError: two tensors have the same name.
        """
        match value:
            case Tensor():
                if name in self.tensors and not same(self.tensors[name], value):
                    raise self.error(f"holds two tensors called {name}; must hold one")
                self.tensors[name] = value.detach()
                self.holders[name] = holder
            case StandIn() if id(value) in self._seen:  # objects may hold each other
                ...
            case StandIn(is_module=True):
                self._add_module(value, name, name)
            case StandIn():
                self._seen.add(id(value))
                self.foreign.append(value.called)
                self._add_all(value.attributes.items(), name)
            case Mapping():
                self._add_all(value.items(), name)
            case list() | tuple():
                self._add_all(enumerate(value), name)

    def _add_all(self, values: Iterable[tuple[object, object]], name: str) -> None:
        for each, value in values:
            self.add(value, _joined(name, each), name)

    def _add_module(self, module: StandIn, name: str, holder: str) -> None:
        self._seen.add(id(module))
        for each, value in module.parts.items():
            if isinstance(value, StandIn) and value.is_module:
                self._add_module(value, _joined(name, each), holder)
            else:
                self.add(value, _joined(name, each), holder)


def content_of(path: Path, key: str) -> Content:
    """Every tensor of a file or folder. Code in a file is never run, see `unpickling`.

    Args:
        path: a file, or a folder as timm and transformers write it.
        key: the configuration key that names it.

    Raises:
        InputError: it cannot be read, or is something else; says what.
    """
    content = Content(path, key)
    try:
        for file in weight_files(path, key):
            whole = _whole(file, content)
            content.add(whole)
            if isinstance(whole, Mapping):
                content.keys.extend(str(each) for each in whole)
    except OSError as error:
        raise content.error(f"cannot be read: {error.strerror}; must be a readable file") from error
    except RecursionError as error:
        raise content.error("is nested too deeply; must be a state dict") from error
    return content


def weight_files(path: Path, key: str) -> list[Path]:
    """The files that hold the weights: one, or the parts that an index lists.

    Args:
        path: see `content_of`.
        key: see `content_of`.

    Raises:
        InputError: a folder or an index without weights, or a part that is not there.
    """
    file = _in_folder(path, key) if path.is_dir() else path
    if not file.name.endswith(".index.json"):
        return [file]
    try:
        parts = sorted(set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [file.parent / part for part in parts]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            key, path, "must be an index with weight_map, as transformers writes it"
        ) from error
    for part in files:
        if not part.is_file():
            allowed = f"{file.name} lists {part.name}, which is not beside it: put it there"
            raise InputError(key, path, allowed)
    return files


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same to the bit."""
    return one.dtype == other.dtype and torch.equal(one, other)


def _joined(name: str, each: object) -> str:
    return f"{name}.{each}" if name else str(each)


def _in_folder(folder: Path, key: str) -> Path:
    for name in _IN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for file in folder.iterdir() if file.suffix in _ENDINGS)
    if len(found) == 1:
        return found[0]
    if found:
        names = some([file.name for file in found])
        raise InputError(key, folder, f"is a folder with {names}; name the file of weights")
    unite = [run for pattern, run in _UNITED_BY.items() if any(folder.glob(pattern))]
    hint = f"; run: {unite[0].replace('FOLDER', str(folder))}" if unite else ""
    allowed = f"is a folder without {_IN_FOLDERS[0]} or {_IN_FOLDERS[2]}{hint}"
    raise InputError(key, folder, allowed)


def _whole(file: Path, content: Content) -> Any:
    with file.open("rb") as stream:
        head = stream.read(512)
    if is_safetensors(head):
        try:
            return load_file(file)
        except SafetensorError as error:
            raise content.error(DAMAGED) from error
    what = what_else(file, head)
    if what:
        raise content.error(what)
    try:
        return unpickled(file)
    except (OSError, RecursionError):
        raise
    except Exception as error:  # torch raises whatever a damaged or hostile pickle leads to
        raise content.error(_why_not(file, error)) from error


def _why_not(file: Path, error: Exception) -> str:
    """Why torch could not read a file, and what to do."""
    if "is blocked" in str(error):
        what = "names functions of the operating system, as files with harmful code do"
        return f"{what}; use another file"
    if isinstance(error, RuntimeError | EOFError):
        return DAMAGED
    try:
        foreign = [name for name in named_in(file) if not _is_torch(name)]
    except Exception:  # not a whole pickle
        return DAMAGED
    what = f"holds {some(foreign)}, which" if foreign else "is damaged, or holds what"
    return f"{what} cannot be read without running code; {conversion(file)}"


def _is_torch(name: str) -> bool:
    """Whether it is what tensors in a file are made of."""
    return name.startswith(("torch._utils.", "torch._tensor.", "collections.")) or (
        name.startswith("torch.") and name.endswith("Storage")
    )
