"""Checkpoints that hold more than tensors, read without importing or running what they name.

`torch.load(weights_only=True)` refuses a file as a whole for one numpy number or one class of the
training script in it. Here every such name is answered with a stand-in of ours, which takes
anything and keeps what it was given as plain data. So the tensors beside it can be read, those of
a pickled module too, and nothing that the file names is ever looked up.
"""

import pickletools
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

# Before the content, files of torch before 1.6 have a magic number, a version and the machine.
_PICKLES_OF_OLD_FILES = 4
_MARK = "("
_FILLING = ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BUILD")


class StandIn:
    """An object of a class that is not made.

    Class attributes:
        called: the full name of the class, as the file has it.

    Attributes:
        attributes: the object's attributes, if the file tells them by name.
    """

    called: ClassVar[str]
    attributes: Mapping[str, Any]

    def __new__(cls, *_: object, **__: object) -> "StandIn":
        """Takes the arguments of any class."""
        made = super().__new__(cls)
        made.attributes = {}
        return made

    def __setstate__(self, state: object) -> None:
        """Takes the state of any class."""
        parts = state if isinstance(state, tuple) else (state,)  # without and with `__slots__`
        known = [part for part in parts if isinstance(part, Mapping)]
        self.attributes = {str(name): value for part in known for name, value in part.items()}

    @property
    def is_module(self) -> bool:
        """Whether it has the attributes of a `torch.nn.Module`."""
        return {"_parameters", "_buffers", "_modules"} <= self.attributes.keys()

    @property
    def parts(self) -> Mapping[str, Any]:
        """What is in the state dict of a module, its modules in place of their tensors."""
        own = self.attributes
        passing = own.get("_non_persistent_buffers_set", ())
        buffers = {name: held for name, held in own["_buffers"].items() if name not in passing}
        return {**own["_parameters"], **buffers, **own["_modules"]}


class _List(list[Any]):
    """A list of a class that is not made."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def unpickled(file: Path) -> Any:
    """The content of a file of `torch.save`, with stand-ins for whatever is not torch's own.

    Raises:
        UnpicklingError, RuntimeError, EOFError, ...: whatever torch raises for a damaged file, or
            for one in which names of ``os`` or ``sys`` are called.
    """
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (_stand_in(name, uses), name) for name, uses in named_in(file).items()
    ]
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(stand_ins):
        return torch.load(file, map_location="cpu", weights_only=True)


def named_in(file: Path) -> dict[str, set[str]]:
    """The full name of everything that a file names, and what is done to objects made of it."""
    found: dict[str, set[str]] = defaultdict(set)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith("/data.pkl")]
            with archive.open(name) as stream:
                _follow(pickletools.genops(stream), found)
    else:
        with file.open("rb") as stream:
            for _ in range(_PICKLES_OF_OLD_FILES):
                _follow(pickletools.genops(stream), found)
    return found


def _stand_in(name: str, uses: set[str]) -> type:
    """A class that allows what a file does to objects of the class with this name."""
    if uses & {"SETITEM", "SETITEMS"}:
        # Nothing but plain dictionaries may be filled.
        return type(name, (), {"__new__": lambda *_: OrderedDict()})
    if uses & {"APPEND", "APPENDS"}:
        return type(name, (_List,), {})
    return type(name, (StandIn,), {"called": name})


def _follow(pickle: Iterable[tuple[Any, Any, Any]], found: dict[str, set[str]]) -> None:
    """Note what a pickle names and what is done to objects of it, without making anything.

    The stack holds, for every object, the name of what made it; no name has a mark's.
    """
    stack: list[str] = []
    memo: dict[Any, str] = {}
    for operation, argument, _ in pickle:
        match operation.name:
            case "GLOBAL":
                stack.append(_modern(str(argument)))
                found[stack[-1]]
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[argument])
            case "REDUCE" | "NEWOBJ":
                stack.pop()  # the arguments; what was called stays, as the maker of the result
            case name:
                fills = name in _FILLING
                taken = operation.stack_before[fills:]
                if pickletools.markobject in taken:
                    while stack.pop() != _MARK:
                        ...
                else:
                    del stack[len(stack) - len(taken) :]
                if fills:
                    found[stack[-1]].add(name)
                else:
                    stack += [_MARK if name == "MARK" else ""] * len(operation.stack_after)
    found.pop("", None)


def _modern(written: str) -> str:
    """A name as Python 3 has it: files of torch have the names of Python 2."""
    module, _, name = written.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"
