"""Which tensors of a file are the weights of a network: those whose names and shapes fit.

Training scripts put weights under names of their own (``state_dict``, ``model_ema``), and modules
around a network put names before those of its parameters (``module.``, ``_orig_mod.``). None of
these need be known: a file is searched for every prefix under which the network's names stand.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xai_sweep.models.weight_files import Content

# Modules of data parallelism, torch.compile, FSDP, checkpointed activations and Lightning Fabric:
# they can be around any part of a network, so their names also stand between those of the network.
_AROUND = frozenset(
    ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
)
# Weight and spectral norm name the same tensors in one way as hooks, in another otherwise.
_PARAMETRISED = re.compile(r"\bparametrizations\.(\w+)\.(original[01]?|0\._[uv])$")
_AS_HOOK = {"original": "orig", "original0": "g", "original1": "v", "0._u": "u", "0._v": "v"}
# No prediction depends on these: counters of training and of profilers, and tables that follow from
# the network, which used to be stored and no longer are.
_NO_WEIGHTS = frozenset(
    (
        *("num_batches_tracked", "n_averaged", "total_ops", "total_params"),
        *("position_ids", "relative_position_index", "relative_coords_table", "attn_mask"),
    )
)
# Modules that only training needs, beside the parts of a network.
_OF_TRAINING = re.compile(r"(train_|val_|test_)?(criterion|loss|losses|metric|metrics)(_\w+)?")
_FLOATS = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))


@dataclass(frozen=True, eq=False)
class Fit:
    """Tensors of a file under one prefix, beside those of a network.

    Attributes:
        prefix: what stands before the network's names in the file; empty, or ends with a dot.
        tensors: of the file, by their name in the network.
        sources: their names in the file.
        missing: names in the network without a tensor in the file.
        other: of the tensors, those of another shape or kind than the network's; with both.
    """

    prefix: str
    tensors: dict[str, Tensor]
    sources: set[str]
    missing: list[str]
    other: list[str]

    @property
    def name(self) -> str:
        """What chooses it; a dot if there is no prefix."""
        return self.prefix.rstrip(".") or "."

    @property
    def is_complete(self) -> bool:
        """Whether the network can be filled from it."""
        return not self.missing and not self.other

    @property
    def count(self) -> int:
        """How many tensors fit."""
        return len(self.tensors) - len(self.other)


def fits(module: nn.Module, content: Content) -> list[Fit]:
    """What there is under every prefix under which names of a network stand, the best first.

    If nothing is complete, a first part that all of the network's names share is left out: the
    network may be inside a module of the user that the file knows nothing of.
    """
    own = module.state_dict()
    available = _plain_names(content.tensors)
    first: list[Fit] = []
    for wanted in _shortened(_plain_names(own)):
        prefixes = _prefixes(wanted, available)
        found = [_fit(prefix, wanted, own, available, content) for prefix in prefixes]
        found.sort(key=lambda fit: (fit.count, len(fit.tensors)), reverse=True)
        if any(fit.is_complete for fit in found):
            return found
        first = first or found
    return first


def surplus(fit: Fit, others: Iterable[Fit], content: Content) -> list[str]:
    """Names in a file that a network should have beside those of a fit, and has not.

    They are in the same holder and under the same prefix, belong to none of the other fits, and
    are needed for more than training.
    """
    holders = {content.holders[name] for name in fit.sources}
    used = set[str]().union(fit.sources, *(other.sources for other in others))
    beside = {
        plain.removeprefix(fit.prefix)
        for plain, name in _plain_names(content.tensors).items()
        if plain.startswith(fit.prefix) and content.holders[name] in holders and name not in used
    }
    return sorted(
        name
        for name in beside
        if not _is_no_weight(name) and not _OF_TRAINING.fullmatch(name.partition(".")[0])
    )


def _fit(
    prefix: str,
    wanted: Mapping[str, str],
    own: Mapping[str, Tensor],
    available: Mapping[str, str],
    content: Content,
) -> Fit:
    tensors: dict[str, Tensor] = {}
    sources: set[str] = set()
    missing, other = [], []
    for plain, name in wanted.items():
        source = available.get(prefix + plain)
        if source is None:
            missing.append(name)
            continue
        sources.add(source)
        agrees = _agree(content.tensors[source], own[name])
        if not agrees and _is_no_weight(name):
            continue
        tensors[name] = content.tensors[source]
        if not agrees:
            there, here = _described(tensors[name]), _described(own[name])
            other.append(f"{name} is {there} in the file and {here} in the network")
    # A tensor that has several names may be in a file under one of them.
    known = {_place(name, own[name]) for name in tensors}
    missing = [
        name for name in missing if not _is_no_weight(name) and _place(name, own[name]) not in known
    ]
    return Fit(prefix, tensors, sources, missing, other)


def _prefixes(wanted: Mapping[str, str], available: Mapping[str, str]) -> list[str]:
    """Everything that stands in a file before a name of the network, most frequent first."""
    found: Counter[str] = Counter()
    for name in available:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in wanted:
                found["".join(f"{part}." for part in parts[:cut])] += 1
    return [prefix for prefix, _ in found.most_common()]


def _shortened(wanted: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The names of a network, and again without each first part that all of them share."""
    yield wanted
    while wanted and len({name.partition(".")[0] for name in wanted}) == 1:
        wanted = {name.partition(".")[2]: raw for name, raw in wanted.items()}
        if "" in wanted:
            return
        yield wanted


def _plain_names(names: Iterable[str]) -> Mapping[str, str]:
    """Names by their plain form; by themselves if that makes two names one."""
    given = list(names)
    plain = {plain_name(name): name for name in given}
    return plain if len(plain) == len(given) else {name: name for name in given}


def plain_name(name: str) -> str:
    """A name without modules around modules, and with that of a hook for a parametrisation."""
    kept = ".".join(part for part in name.split(".") if part not in _AROUND)
    return _PARAMETRISED.sub(lambda found: f"{found[1]}_{_AS_HOOK[found[2]]}", kept)


def _is_no_weight(name: str) -> bool:
    return name.rpartition(".")[2] in _NO_WEIGHTS


def _agree(there: Tensor, here: Tensor) -> bool:
    """Whether a tensor of a file can be one of the network: shape, and the kind of its numbers."""
    if there.shape != here.shape or there.layout != here.layout:
        return False
    if there.dtype in _FLOATS or here.dtype in _FLOATS:
        return there.dtype in _FLOATS and here.dtype in _FLOATS
    return there.dtype == here.dtype


def _described(tensor: Tensor) -> str:
    kind = "" if tensor.dtype in _FLOATS else f"{tensor.dtype} ".removeprefix("torch.")
    return f"{kind}{list(tensor.shape)}"


def _place(name: str, tensor: Tensor) -> object:
    """What tensors that are one have in common."""
    address = tensor.data_ptr()
    return (address, tensor.shape, tensor.stride()) if address else name
