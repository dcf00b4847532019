"""What jobs are to compute: a small file by every job, so that what is missing is known."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from xai_sweep.store.atomic import read_json, write_json

PLANS = "_plans"


@dataclass(frozen=True)
class Planned:
    """A cell that is to be computed.

    Attributes:
        name: of its folder; empty if it is only known from a command line.
        data, model, explainer, transform, parameter, magnitude: as they stand in the rows; of a
            command line `data` lacks the hash of the images.
        asked: hash of what the configuration asks, see `xai_sweep.config.cells.asked`.
        ranks: rows per image.
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
    asked: str = ""
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

    @classmethod
    def read(cls, name: str, content: Mapping[str, Any]) -> "Planned":
        """From a plan or a manifest, which may hold more or less than is needed here."""
        known = {each.name for each in fields(cls)} - {"name"}
        return cls(name, **{key: content[key] for key in known.intersection(content)})


def write_plan(results: Path, cells: Sequence[Planned]) -> None:
    """Write down what a job is to compute; the same job again writes nothing."""
    content = [asdict(cell) for cell in cells]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    path = results / PLANS / f"{digest}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"cells": content})


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
    """All planned cells by name."""
    return {cell.name: cell for cells in plan_files(results).values() for cell in cells}
