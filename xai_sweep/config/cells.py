"""A cell is one point of the grid: everything that decides its numbers, and nothing else."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from xai_sweep.config.building import deciding, files
from xai_sweep.config.entries import complete
from xai_sweep.config.keys import OF_A_CURVE, Decides, groups, values

# Raise this number when the same configuration gives other rows than before.
NUMBERS = 3
# What decides a fit of an explainer: all that is in the key but how images are changed or drawn.
OF_A_FIT = (*groups(Decides.CASES, Decides.JOB), "weights", "numbers")
# What is only known once weights and images have been read.
_READ = frozenset({"weights", "data"})


@dataclass(frozen=True, eq=False)
class Curve:
    """Cells that differ in their magnitude alone: one line in a plot.

    Attributes:
        data, model, explainer, transform: names as they stand in the rows.
        parameter: name of the transform's native parameter.
        identity: everything that decides the numbers, without the magnitude; plain JSON values.
        paths: of the files whose content decides them, by key.
    """

    data: str
    model: str
    explainer: str
    transform: str
    parameter: str
    identity: Mapping[str, Any]
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For a person to read."""
        return f"{self.model} · {self.explainer} · {self.transform}"

    @cached_property
    def question(self) -> str:
        """Hash of the identity: rows of different questions must not be averaged."""
        return digest(self.identity)[:16]

    @cached_property
    def name(self) -> str:
        """A readable and unique name, safe in paths."""
        words = f"{self.model}-{self.explainer}-{self.transform}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', words)[:120]}-{self.question[:12]}"

    @cached_property
    def request(self) -> str:
        """Hash of what a configuration decides of it before anything is read."""
        known = {key: self.identity[key] for key in self.identity if key not in _READ}
        return digest({**known, **self.paths})


@dataclass(frozen=True, eq=False)
class Cell:
    """One magnitude of a curve.

    Attributes:
        curve: the curve.
        magnitude: in native units.
    """

    curve: Curve
    magnitude: float

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The curve's identity, with the magnitude in its place."""
        transform = {**self.curve.identity["transform"], self.curve.parameter: self.magnitude}
        return {**self.curve.identity, "transform": transform}

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides the numbers: the cell's name in the rows."""
        return digest(self.identity)[:16]

    @cached_property
    def request(self) -> str:
        """What a configuration says of the cell before weights and images are read, as a hash."""
        return digest([self.curve.request, self.magnitude])[:16]

    @property
    def folder(self) -> str:
        """Where it is below `results/cells`."""
        return f"{self.curve.name}-{self.curve.parameter}-{self.magnitude!r}"


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def make_curve(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    *,
    parameter: str,
    region_of: Sequence[float],
    weights: Mapping[str, str],
    data: str,
) -> Curve:
    """The curve that a configuration requests.

    Args:
        config: the whole configuration, plain values.
        choices: the chosen entry of each group.
        parameter: name of the transform's native parameter.
        region_of: magnitudes whose regions are intersected with each one's own.
        weights: what decides the model's weights; empty if they have not been read.
        data: the fingerprint of the images; empty if they have not been read.
    """
    deciders = [group for group in groups(*OF_A_CURVE) if group != "data"]
    nodes = {group: deciding(group, config[group]) for group in deciders}
    nodes["transform"].pop(parameter, None)
    names: dict[str, str] = {}
    paths: dict[str, str] = {}
    for group, node in nodes.items():
        named = files(group, node)
        paths |= {f"{group}.{name}": node[name] for name in named}
        # A title has the content of a file, or its path as long as the file has not been read.
        content = {name: _short(weights.get(known, node[name])) for name, known in named.items()}
        names[group] = title(group, choices, node, content)
        nodes[group] = {name: value for name, value in node.items() if name not in named}
    identity = {
        **nodes,
        **{key: config[key] for key in values(*OF_A_CURVE)},
        "region_of": list(region_of),
        "weights": dict(weights),
        "data": data,
        "numbers": NUMBERS,
    }
    name = f"{choices['data']}-{data[:8]}" if data else choices["data"]
    return Curve(**names, data=name, parameter=parameter, identity=identity, paths=paths)


def _short(content: str) -> str:
    """What stands for a file in a title: the first digits of its hash."""
    digits = content.removeprefix("sha256:")
    return content if digits == content else digits[:8]


def title(
    group: str,
    choices: Mapping[str, str],
    node: Mapping[str, Any],
    shown: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The entry's name, with the parameters in which it differs from its yaml.

    For example ``grad_cam``, ``grad_cam(polarity=counter)`` and ``lrp(rules=epsilon_plus)``.

    Args:
        group: e.g. ``explainer``.
        choices: the chosen entry of each group, of groups inside it too (``explainer/rules``).
        node: the group's configuration, plain values.
        shown: what stands in place of some values that differ.
    """
    usual, inner = complete(f"{group}/{choices[group]}", choices)
    changed = [f"{name}={chosen}" for name, chosen in inner.items()]
    for key, value in node.items():
        if usual.get(key) != value:
            short = digest(value)[:6] if isinstance(value, list | dict) else value
            changed.append(f"{key}={shown.get(key, short)}")
    return f"{choices[group]}({','.join(changed)})" if changed else choices[group]
