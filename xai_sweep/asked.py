"""What points of the grid ask for: curves, and which of them share the clean images' heatmaps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from xai_sweep.cells import Cell, Curve, digest, make_curve
from xai_sweep.config import build, check, plain
from xai_sweep.data import ImageFile, ImageSet, fingerprint
from xai_sweep.errors import InputError
from xai_sweep.explainers import Explainer
from xai_sweep.models import ModelSource
from xai_sweep.packing import FREE, OF_THE_SWEEP, without
from xai_sweep.points import Point
from xai_sweep.question import Change, Question
from xai_sweep.transforms import Transform
from xai_sweep.transforms.base import as_magnitudes

Images = tuple[Sequence[ImageFile], str]


@dataclass(frozen=True, eq=False)
class Asked:
    """A curve that was asked for.

    Attributes:
        curve: the curve.
        cells: those of its cells that were asked for.
        transform: how images are changed; the cells say by how much.
        question: what is asked about it.
        choices: the chosen entry of each group.
        overrides: of the points that ask for it.
        configs: the resolved configuration of each cell, by the cell's folder.
    """

    curve: Curve
    cells: tuple[Cell, ...]
    transform: Transform
    question: Question
    choices: Mapping[str, str]
    overrides: tuple[tuple[str, ...], ...]
    configs: Mapping[str, Mapping[str, Any]]

    @property
    def change(self) -> Change:
        """What the probe needs to know."""
        magnitudes = tuple(cell.magnitude for cell in self.cells)
        return Change(self.transform, magnitudes, self.question)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, with every magnitude if several points ask for the curve."""
        config = dict(self.configs[self.cells[0].folder])
        if len(self.overrides) > 1:
            magnitudes = [cell.magnitude for cell in self.cells]
            config["transform"] = {**config["transform"], self.curve.parameter: magnitudes}
        return config

    def only(self, cells: Iterable[Cell]) -> "Asked":
        """The same with fewer cells."""
        return replace(self, cells=tuple(cells))

    def __add__(self, other: "Asked") -> "Asked":
        """The cells that either point asks for."""
        cells = {cell.folder: cell for cell in (*self.cells, *other.cells)}
        return replace(
            self,
            cells=tuple(sorted(cells.values(), key=lambda cell: cell.magnitude)),
            overrides=(*self.overrides, *other.overrides),
            configs={**other.configs, **self.configs},
        )


@dataclass(frozen=True, eq=False)
class Group:
    """Curves that differ in how images are changed, and share all the rest.

    Attributes:
        cfg: the configuration of one of them.
        files: the images.
        source: where the model comes from.
        curves: by name.
    """

    cfg: DictConfig
    files: Sequence[ImageFile]
    source: ModelSource
    curves: dict[str, Asked]


class Groups:
    """Sorts points of the grid into groups, both in the order in which they come."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._images: dict[str, Images] = {}

    def all(self) -> list[Group]:
        """The groups so far."""
        return list(self._groups.values())

    def add(self, point: Point) -> None:
        """Sort in one point.

        Raises:
            InputError: it asks for what cannot be done.
        """
        check(point.cfg)
        config = plain(point.cfg)
        source: ModelSource = build(point.cfg.model)
        transform: Transform = build(point.cfg.transform)
        files, data = self._files(point.cfg, config["data"])
        asked = _asked(point, config, source, transform, data)
        shared = digest({name: value for name, value in config.items() if name not in FREE})
        group = self._groups.setdefault(shared, Group(point.cfg, files, source, {}))
        known = group.curves.get(asked.curve.name)
        group.curves[asked.curve.name] = known + asked if known else asked

    def _files(self, cfg: DictConfig, config: Mapping[str, Any]) -> Images:
        # Every image is hashed, once per data set and not once per point.
        key = digest(config)
        if key not in self._images:
            images: ImageSet = build(cfg.data)
            files = images.files()
            self._images[key] = files, fingerprint(files)
        return self._images[key]


def _asked(
    point: Point, config: Mapping[str, Any], source: ModelSource, transform: Transform, data: str
) -> Asked:
    cfg = point.cfg
    question = Question(
        cfg.seed, cfg.ranks, cfg.target, cfg.region, _region_of(cfg.region_of, transform)
    )
    explainer: Explainer = build(cfg.explainer)
    curve = make_curve(
        cfg,
        point.choices,
        parameter=transform.parameter,
        weights=source.identity() | explainer.identity(),
        data=data,
        region_of=question.region_of,
        run_time=explainer.run_time,
    )
    cells = tuple(Cell(curve, magnitude) for magnitude in transform.magnitudes)
    return Asked(
        curve,
        cells,
        transform,
        question,
        choices=point.choices,
        overrides=(without(OF_THE_SWEEP, point.overrides),),
        configs=dict.fromkeys((cell.folder for cell in cells), config),
    )


def _region_of(value: Any, transform: Transform) -> tuple[float, ...]:
    if value == "own":
        return ()
    if value == "all":
        return transform.magnitudes
    try:
        return as_magnitudes("region_of", value, transform.unit)
    except InputError:
        raise InputError("region_of", value, "must be own, all, or a list of numbers") from None
