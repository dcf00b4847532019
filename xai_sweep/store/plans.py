"""What a sweep is going to compute: a small file of each job, and one of the whole multirun."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from xai_sweep.store.atomic import read_json, write_json

PLANS = "_plans"


@dataclass(frozen=True)
class Planned:
    """A cell that is going to be computed.

    Attributes:
        name: of its folder; empty while the job that reads weights and images has not begun.
        data, model, explainer, transform, parameter, magnitude: as they stand in the rows; without
            a name `data` lacks the hash of the images.
        request: see `xai_sweep.config.cells.Cell.request`.
        ranks: K, how many classes are explained.
        numbers: see `xai_sweep.config.cells.NUMBERS`.
        images: how many there are; None if not known.
        draws: random instances of the change per image.
        metrics: resolved configuration of each metric entry that is wanted.
    """

    name: str
    data: str = "?"
    model: str = "?"
    explainer: str = "?"
    transform: str = "?"
    parameter: str = "?"
    magnitude: float | None = None
    request: str = ""
    ranks: int = 1
    numbers: int | None = None
    images: int | None = None
    draws: int = 1
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> dict[str, str]:
        """Where it lies in the grid."""
        return {
            "data": self.data,
            "model": self.model,
            "explainer": self.explainer,
            "transform": self.transform,
        }

    @property
    def key(self) -> tuple[str, str]:
        """What it shares with the cell that becomes of it: name of the data set, and request."""
        return self.data.rpartition("-")[0] if self.name else self.data, self.request

    @classmethod
    def read(cls, name: str, content: Mapping[str, Any]) -> "Planned":
        """From a plan or a manifest, which may hold more or less than is needed here."""
        known = {each.name for each in fields(cls)} - {"name"}
        return cls(name, **{key: content[key] for key in known.intersection(content)})


def write_plan(results: Path, cells: Sequence[Planned], name: str = "") -> None:
    """Write down cells that are going to be computed; a plan that exists is left as it is.

    Args:
        results: the results folder.
        cells: the cells.
        name: of the plan; by default it follows from the cells.
    """
    content = [asdict(cell) for cell in cells]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    path = _path(results, name or digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"cells": content})


def has_plan(results: Path, name: str) -> bool:
    """Whether a plan of this name was written."""
    return _path(results, name).exists()


def _path(results: Path, name: str) -> Path:
    return results / PLANS / f"{name}.json"


def plan_files(results: Path) -> dict[Path, list[Planned]]:
    """The plans of a results folder; those that cannot be read are left out."""
    found = {}
    for path in sorted((results / PLANS).glob("*.json")):
        content = read_json(path)
        cells = content.get("cells") if content else None
        if isinstance(cells, list):
            found[path] = [Planned.read(cell["name"], cell) for cell in cells]
    return found


def read_plans(results: Path) -> dict[str, Planned]:
    """All planned cells whose folders are known, by name."""
    return {
        cell.name: cell for cells in plan_files(results).values() for cell in cells if cell.name
    }


def asked_for(results: Path) -> dict[str, set[tuple[str, str]]]:
    """The keys under which jobs asked for each cell whose folder is known, by its name.

    They are several where the same weights have several paths.
    """
    keys: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for cells in plan_files(results).values():
        for cell in cells:
            if cell.name:
                keys[cell.name].add(cell.key)
    return keys


def waiting(results: Path, known: Iterable[Planned]) -> list[Planned]:
    """Planned cells whose jobs have not begun.

    Args:
        results: the results folder.
        known: cells whose folders are known, complete ones too.
    """
    there = {cell.key for cell in known}.union(*asked_for(results).values())
    planned = {
        cell.key: cell for cells in plan_files(results).values() for cell in cells if not cell.name
    }
    return [cell for key, cell in planned.items() if key not in there]
