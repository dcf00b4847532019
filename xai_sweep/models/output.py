"""What a network returns, and how logits are made of it.

Explanations are of logits ``[B, classes]``, and probabilities follow from them. Networks return
much else: one number for two classes, probabilities, tuples, dictionaries. `read` finds out what it
is, and `Logits` is the network with that made good, so that no method has to know.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.models.ends import Ends, Last

# What a user may say of the outputs:
# auto: to be found out, from the network's last operations and from what it returns.
# softmax: of the classes exactly one is there.
# sigmoid: every class is there or not by itself; a single output is that of two classes.
#     Both whether the network ends in that function or in the logits before it.
# probabilities: they are probabilities, whatever the network ends in.
# logits: they are not; a softmax follows them, or a sigmoid if there is one.
Output: TypeAlias = Literal["auto", "softmax", "sigmoid", "probabilities", "logits"]
Link: TypeAlias = Literal["softmax", "sigmoid"]
# How logits are made of the outputs: they are logits; the last function is left out; logarithm of
# probabilities that sum to 1; logarithm of the odds of each.
Form: TypeAlias = Literal["logits", "before", "log", "log_odds"]

# Rows of probabilities sum to 1 up to this, in half precision too.
_SUM = 2e-2
# What is left out at the end must give the network's own outputs back, up to this.
_SAME = 1e-3
# Probabilities are kept away from 0 and 1 by this, or their logarithms would not be finite.
_LEAST = 1e-12

_MUST = "must be logits or probabilities [images, classes]"


@dataclass(frozen=True)
class Head:
    """How logits are made of what a network returns.

    Attributes:
        key: path of the tensor among its outputs, ``logits`` or ``0.aux``; empty for all of it.
        form: what is done with the tensor.
        is_table: it is ``[B, classes]`` already.
        is_single: there is one number per image: it is the logit of class 1, and minus the number
            that of class 0.
        in_pairs: the network cannot take one image alone, and gets it twice.
    """

    key: str = ""
    form: Form = "logits"
    is_table: bool = True
    is_single: bool = False
    in_pairs: bool = False


class Logits(nn.Module):
    """A network that returns logits ``[B, classes]``, of two classes at least.

    Args:
        network: shared, not copied.
        head: what is made of its outputs.
    """

    def __init__(self, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.training = network.training

    @override
    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """The logits."""
        if self.head.in_pairs and images.shape[0] == 1:
            return self._logits(torch.cat([images, images]))[:1]
        return self._logits(images)

    def _logits(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        outputs = self._outputs(images)
        logits: Tensor = as_table(outputs)
        if self.head.form in ("log", "log_odds"):
            least = max(_LEAST, torch.finfo(logits.dtype).eps / 2)
            likely = logits.clamp(_LEAST if self.head.form == "log" else least, 1 - least)
            logits = likely.log() if self.head.form == "log" else likely.logit()
        return torch.cat([-logits, logits], dim=1) if self.head.is_single else logits

    def _outputs(self, images: Float[Tensor, "b c h w"]) -> Tensor:
        if self.head.form != "before":
            return picked(self.network(images), self.head.key)
        ends = Ends()
        with ends:
            before = ends.before(picked(self.network(images), self.head.key))
        assert before is not None  # there was one when the network was examined
        return before[1]


def path_in_network(module: nn.Module, path: str) -> str:
    """The path of a submodule as the network's author knows it."""
    return (
        f"{path}.".removeprefix("network.").removesuffix(".")
        if isinstance(module, Logits)
        else path
    )


@dataclass(frozen=True, eq=False)
class Reading:
    """What a network returned for a few images.

    Attributes:
        path: of the tensor among its outputs; empty if it is all of them.
        outputs: the tensor.
        before: the softmax or sigmoid that made it and what that was given; None if none was seen.
        is_linear: whether a weighted sum was seen to make it.
    """

    path: str
    outputs: Tensor
    before: tuple[Last, Tensor] | None
    is_linear: bool

    def head(self, output: Output) -> tuple[Head, Link]:
        """How logits are made of it, and what makes probabilities of them.

        Args:
            output: what the user says of the outputs.

        Raises:
            InputError: what they are cannot be told, or is not what the user says.
        """
        values = as_table(self.outputs.detach()).double()
        form, link = _decided(values, self._kind(values), output)
        is_single, is_table = values.shape[1] == 1, self.outputs.dim() == 2
        return Head(self.path, form, is_single=is_single, is_table=is_table), link

    def _kind(self, values: Float64[Tensor, "b classes"]) -> "_Kind":
        """What the outputs look like."""
        if not values.isfinite().all():
            return _Kind("logits")
        if self.before is not None:
            last, given = self.before
            before = as_table(given.detach()).double()
            if before.shape == values.shape and _same(_FUNCTIONS[last](before), values):
                return _Kind(last, is_known_before=True)
        is_share = bool(((values >= 0) & (values <= 1)).all())
        if is_share and _one(values.sum(dim=1)):
            return _Kind("softmax")
        if values.shape[1] > 1 and bool((values <= 0).all()) and _one(values.exp().sum(dim=1)):
            return _Kind("log_softmax")
        return _Kind("unknown" if is_share and not self.is_linear else "logits")


@dataclass(frozen=True)
class _Kind:
    """What outputs look like: of which function, and whether what came before it is known."""

    of: Last | Literal["logits", "unknown"]
    is_known_before: bool = False


_FUNCTIONS: Mapping[Last, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=1),
    "log_softmax": partial(torch.log_softmax, dim=1),
    "sigmoid": torch.sigmoid,
    "log_sigmoid": logsigmoid,
}


def read(
    network: Callable[[Tensor], object], images: Float[Tensor, "b c h w"], key: str | int | None
) -> Reading:
    """Run a network and find its outputs.

    Args:
        network: in evaluation mode.
        images: a few that differ.
        key: where the user says the outputs are; None to find them.

    Raises:
        InputError: there are no outputs of a usable shape, or several.
    """
    ends = Ends()
    with ends:
        returned = network(images)
        path = found_key(returned, len(images)) if key is None else str(key)
        outputs = picked(returned, path)
        _check(outputs, len(images), path)
        return Reading(path, outputs, ends.before(outputs), ends.is_linear(outputs))


def _decided(values: Tensor, kind: _Kind, output: Output) -> tuple[Form, Link]:
    """What is done with outputs of a kind, given what the user says of them."""
    is_single = values.shape[1] == 1

    def refused(allowed: str) -> InputError:
        return InputError("model.output", output, allowed)

    if is_single and kind.of in ("softmax", "log_softmax"):
        raise refused(
            "the probability of a single class by softmax is always 1; a network with "
            "one output must return a logit or its sigmoid"
        )
    if output == "softmax" and is_single:
        raise refused("there is one output, whose softmax is always 1; must be sigmoid or auto")
    if kind.of in ("softmax", "log_softmax"):
        if output in ("sigmoid", "logits"):
            raise refused(
                "the network's outputs are probabilities that sum to 1; must be softmax or auto"
            )
        if kind.is_known_before:
            return "before", "softmax"
        return ("log" if kind.of == "softmax" else "logits"), "softmax"
    if kind.of in ("sigmoid", "log_sigmoid"):
        if output in ("softmax", "logits"):
            raise refused("the network ends in a sigmoid; must be sigmoid, probabilities or auto")
        return "before", "sigmoid"
    if output == "probabilities":
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise refused("the network's outputs leave [0, 1]; must be logits, softmax or sigmoid")
        return "log_odds", "sigmoid"
    if output == "auto" and kind.of == "unknown":
        raise refused(
            "the outputs lie in [0, 1], and how they were made cannot be seen; must be "
            "probabilities if that is what they are, else logits"
        )
    return "logits", "sigmoid" if is_single or output == "sigmoid" else "softmax"


def _same(ours: Tensor, theirs: Tensor) -> bool:
    return bool(((ours - theirs).abs() <= _SAME * (1 + theirs.abs())).all())


def _one(sums: Tensor) -> bool:
    return bool(((sums - 1).abs() <= _SUM).all())


def in_words(head: Head, link: Link) -> str:
    """What was made of the outputs, for the manifest and for a person."""
    made = {
        "logits": "logits",
        "before": f"logits before the network's last {link}",
        "log": "logarithms of the network's probabilities",
        "log_odds": "log odds of the network's probabilities",
    }[head.form]
    of = f"output {head.key}: " if head.key else ""
    classes = "one number for two classes, " if head.is_single else ""
    alone = ", each class by itself" if link == "sigmoid" and not head.is_single else ""
    return f"{of}{classes}{made}{alone}"


def leaves(returned: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in what a network returned, with its path."""
    if isinstance(returned, Tensor):
        yield path, returned
        return
    for name, part in _parts(returned).items():
        yield from leaves(part, f"{path}.{name}" if path else name)


def _parts(returned: object) -> Mapping[str, object]:
    """What is in a mapping, a named tuple, a dataclass, a tuple or a list, by name or number."""
    if isinstance(returned, Mapping):
        return {str(name): part for name, part in returned.items()}
    if is_dataclass(returned):
        return {each.name: vars(returned)[each.name] for each in fields(returned)}
    if isinstance(returned, tuple | list):
        names: Sequence[object] = getattr(returned, "_fields", range(len(returned)))
        return {str(name): part for name, part in zip(names, returned, strict=True)}
    return {}


def picked(returned: object, path: str) -> Tensor:
    """The tensor at a path in what a network returned.

    Raises:
        InputError: there is none.
    """
    found = returned
    for name in path.split(".") if path else ():
        parts = _parts(found)
        by_number = dict(zip(map(str, range(len(parts))), parts.values(), strict=True))
        found = parts.get(name, by_number.get(name))
    if isinstance(found, Tensor):
        return found
    raise InputError("model.output_key", path or None, _choice(returned))


def found_key(returned: object, images: int) -> str:
    """The path of the only tensor, or of the only one that is called logits.

    Raises:
        InputError: there are several, and which one is meant cannot be told.
    """
    known = dict(leaves(returned))
    named = [
        path
        for path, tensor in known.items()
        if path.rpartition(".")[2] == "logits" and _is_table(tensor, images)
    ]
    for paths in (list(known), named):
        if len(paths) == 1:
            return paths[0]
    raise InputError("model.output_key", None, _choice(returned))


def _choice(returned: object) -> str:
    known = {path: tuple(tensor.shape) for path, tensor in leaves(returned)}
    if not known or known.keys() == {""}:
        return f"the network returns {type(returned).__name__}; {_MUST}"
    several = ", ".join(f"{path} {list(shape)}" for path, shape in list(known.items())[:8])
    return f"must name one of the network's outputs: {several}"


def as_table(outputs: Tensor) -> Tensor:
    """One row per image: a number for each image as a column, maps of one pixel as classes."""
    return outputs[:, None] if outputs.dim() == 1 else outputs.flatten(1)


def _is_table(outputs: Tensor, images: int) -> bool:
    shape = outputs.shape
    return len(shape) > 0 and shape[0] == images and all(side == 1 for side in shape[2:])


def _check(outputs: Tensor, images: int, path: str) -> None:
    """Refuse outputs of another shape or kind."""
    if not _is_table(outputs, images) or not outputs.is_floating_point() or not outputs.numel():
        kind = str(outputs.dtype).removeprefix("torch.")
        is_what = f"the network returns {kind}{list(outputs.shape)} for {images} images"
        raise InputError("model.output_key", path or None, f"{is_what}; {_MUST}")
