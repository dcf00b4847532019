"""The last operations of a network, watched while it runs."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TypeAlias

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary
from typing_extensions import override

# What makes probabilities, or logarithms of them.
Last: TypeAlias = Literal["softmax", "log_softmax", "sigmoid", "log_sigmoid"]
_LAST: Mapping[str, Last] = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "log_sigmoid": "log_sigmoid",
}
_LOGARITHMS: Mapping[Last, Last] = {"softmax": "log_softmax", "sigmoid": "log_sigmoid"}
# Functions that move numbers and change none: those before them can be moved likewise.
_MOVING = frozenset(
    {
        *("view", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous", "clone", "detach"),
        *("float", "double", "half", "bfloat16", "to", "type", "type_as", "__getitem__", "select"),
    }
)
# Functions whose results are anything but shares from 0 to 1, except by chance.
_LINEAR = frozenset(
    {
        *("linear", "addmm", "mm", "bmm", "baddbmm", "matmul", "__matmul__", "einsum", "bilinear"),
        *("conv1d", "conv2d", "conv3d", "add", "__add__", "__radd__", "sub", "__sub__", "mul"),
        *("__mul__", "__rmul__", "mean", "sum", "adaptive_avg_pool2d", "cosine_similarity"),
    }
)


class Ends(TorchFunctionMode):
    """While it is entered, remembers what went into each softmax and sigmoid.

    It sees calls from Python; operations inside TorchScript it does not see. What it remembers of a
    tensor is forgotten with the tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: MutableMapping[Tensor, tuple[Last, Tensor]] = WeakTensorKeyDictionary()
        self._made_by: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()

    # Any, because run-time type checkers would draw from Python's generator for other types, and
    # the network may draw from it.
    @override
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        given = args[0] if args else kwargs.get("input")
        if name == "sigmoid_":  # it overwrites what it is given
            given = given.clone()
        made = func(*args, **kwargs)
        if not (isinstance(made, Tensor) and isinstance(given, Tensor)) or made is given:
            return made
        known = self._before.get(given)
        is_moved = name in _MOVING
        if name in _LAST:
            self._before[made] = _LAST[name], given
        elif known is not None and is_moved:
            self._before[made] = known[0], func(known[1], *args[1:], **kwargs)
        elif known is not None and name == "log" and known[0] in _LOGARITHMS:
            self._before[made] = _LOGARITHMS[known[0]], known[1]
        is_passed_on = is_moved or name == "dropout"
        self._made_by[made] = self._made_by.get(given, name) if is_passed_on else name
        return made

    def before(self, outputs: Tensor) -> tuple[Last, Tensor] | None:
        """The function that made these outputs and what it was given; None if none was seen."""
        return self._before.get(outputs)

    def is_linear(self, outputs: Tensor) -> bool:
        """Whether a weighted sum was seen to make them."""
        return self._made_by.get(outputs) in _LINEAR
