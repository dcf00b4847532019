"""A cell is one point of the grid: everything that decides its numbers, and nothing else."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from xai_sweep.config.root import CONF

# Raise this number when the same configuration gives other rows than before.
NUMBERS = 2
# What stands in the configuration of a cell before any file is read.
ASKED = (
    *("model", "explainer", "transform", "metric"),
    *("seed", "ranks", "target", "region", "numbers"),
)


# Parameters of explainers that say how something is computed, and change no number beyond
# rounding: by these names they are in no key and no title.
HOW = frozenset({"batch_size", "compile", "samples_at_once"})


@dataclass(frozen=True, eq=False)
class Curve:
    """Cells that differ in their magnitude alone: one line in a plot.

    Attributes:
        data, model, explainer, transform: names as they stand in the rows.
        parameter: the transform's native parameter.
        science: everything that decides the numbers, without the magnitude; plain JSON values.
    """

    data: str
    model: str
    explainer: str
    transform: str
    parameter: str
    science: Mapping[str, Any]

    @property
    def title(self) -> str:
        """For a person to read."""
        return f"{self.model} · {self.explainer} · {self.transform}"

    @cached_property
    def name(self) -> str:
        """A readable and unique name, safe in paths."""
        words = f"{self.model}-{self.explainer}-{self.transform}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', words)[:120]}-{digest(self.science)[:12]}"


@dataclass(frozen=True, eq=False)
class Cell:
    """One magnitude of a curve.

    Attributes:
        key: hash of everything that decides the numbers.
        folder: where it lies below `results/cells`.
    """

    curve: Curve
    magnitude: float

    @cached_property
    def science(self) -> dict[str, Any]:
        """The curve's configuration with the magnitude in its place."""
        transform = {**self.curve.science["transform"], self.curve.parameter: self.magnitude}
        return {**self.curve.science, "transform": transform}

    @cached_property
    def key(self) -> str:
        """The cell's name in the rows."""
        return digest(self.science)[:16]

    @property
    def folder(self) -> str:
        """Where it lies below `results/cells`."""
        return f"{self.curve.name}-{self.curve.parameter}-{self.magnitude!r}"


def without_how(explainer: Mapping[str, Any]) -> dict[str, Any]:
    """An explainer's configuration, as far as it decides numbers."""
    return {name: value for name, value in explainer.items() if name not in HOW}


def asked(science: Mapping[str, Any]) -> str:
    """What a cell's configuration asks, as far as it shows without its weights and its images.

    Args:
        science: see `Cell.science`.
    """
    return asked_of({key: digest(science[key]) for key in ASKED})


def asked_of(digests: Mapping[str, str]) -> str:
    """The same from the digests of its parts, by the keys of `ASKED`."""
    return digest([digests[key] for key in ASKED])[:16]


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def make_curve(
    cfg: DictConfig,
    choices: Mapping[str, str],
    *,
    parameter: str,
    weights: Mapping[str, str],
    data: str,
    region_of: Sequence[float],
) -> Curve:
    """The curve that a job's configuration asks for.

    Args:
        cfg: the whole configuration.
        choices: the chosen entry of each group.
        parameter: the transform's native parameter.
        weights: what decides the model's weights.
        data: the fingerprint of the images.
        region_of: magnitudes whose regions are intersected with each one's own.
    """
    groups = ("model", "explainer", "transform", "metric")
    node: dict[str, Any] = {
        group: OmegaConf.to_container(cfg[group], resolve=True) for group in groups
    }
    node["transform"].pop(parameter, None)
    node["explainer"] = without_how(node["explainer"])
    return Curve(
        data=f"{choices['data']}-{data[:8]}",
        model=title("model", choices, node["model"]),
        explainer=title("explainer", choices, node["explainer"]),
        transform=title("transform", choices, node["transform"]),
        parameter=parameter,
        science={
            **node,
            "weights": dict(weights),
            "data": data,
            "seed": cfg.seed,
            "ranks": cfg.ranks,
            "target": cfg.target,
            "region": cfg.region,
            "region_of": list(region_of),
            "numbers": NUMBERS,
        },
    )


def title(group: str, choices: Mapping[str, str], node: Mapping[str, Any]) -> str:
    """The entry's name, with the parameters in which it differs from its yaml.

    For example ``grad_cam``, ``grad_cam(polarity=counter)`` and ``lrp(rules=epsilon_plus)``.

    Args:
        group: e.g. ``explainer``.
        choices: the chosen entry of each group, of groups inside it too (``explainer/rules``).
        node: the group's configuration, plain values.
    """
    written = _written(f"{group}/{choices[group]}")
    defaults = [entry for entry in written.pop("defaults", []) if entry != "_self_"]
    usual = {name: entry for default in defaults for name, entry in default.items()}
    changed = []
    for name, entry in usual.items():
        chosen = choices.get(f"{group}/{name}", entry)
        written |= _written(f"{group}/{name}/{chosen}")
        if chosen != entry:
            changed.append(f"{name}={chosen}")
    for key, value in node.items():
        if written.get(key) != value:
            short = digest(value)[:6] if isinstance(value, list | dict) else value
            changed.append(f"{key}={short}")
    return f"{choices[group]}({','.join(changed)})" if changed else choices[group]


def _written(entry: str) -> dict[str, Any]:
    """What stands in an entry's yaml."""
    return dict(_loaded(CONF / f"{entry}.yaml"))


@cache
def _loaded(path: Path) -> dict[str, Any]:
    # Reading it takes as long as all the rest of naming a curve, and a job may name hundreds.
    loaded = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(loaded, dict)
    return cast(dict[str, Any], loaded)
