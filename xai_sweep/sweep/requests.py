"""What points of the grid ask for: curves, and which of them share the clean images' heatmaps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig

from xai_sweep.config.cells import Cell, Curve, digest, make_curve
from xai_sweep.config.points import Point
from xai_sweep.config.root import build, check, plain
from xai_sweep.core.errors import InputError
from xai_sweep.data import ImageFile, ImageSet, fingerprint
from xai_sweep.explainers import Explainer
from xai_sweep.models import ModelSource
from xai_sweep.study.question import Change, Question
from xai_sweep.sweep.packing import FREE, OF_THE_SWEEP, without
from xai_sweep.transforms import Transform

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


def together(parts: Sequence[Asked]) -> Asked:
    """The cells that any of several points asks for, all of the same curve."""
    cells = {cell.folder: cell for asked in parts for cell in asked.cells}
    configs = {folder: config for asked in parts for folder, config in asked.configs.items()}
    return replace(
        parts[0],
        cells=tuple(sorted(cells.values(), key=lambda cell: cell.magnitude)),
        overrides=tuple(words for asked in parts for words in asked.overrides),
        configs=configs,
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


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a group consists of so far: every curve as its points ask for it."""

    cfg: DictConfig
    files: Sequence[ImageFile]
    source: ModelSource
    curves: dict[str, list[Asked]] = field(default_factory=dict)


class Groups:
    """Sorts points of the grid into groups, both in the order in which they come."""

    def __init__(self) -> None:
        self._groups: dict[str, _Parts] = {}
        # By their configuration: a grid of hundreds of points has few of each.
        self._images: dict[str, Images] = {}
        self._sources: dict[str, ModelSource] = {}
        self._explainers: dict[str, Explainer] = {}

    def all(self) -> list[Group]:
        """The groups so far."""
        return [
            Group(
                parts.cfg,
                parts.files,
                parts.source,
                {name: together(asked) for name, asked in parts.curves.items()},
            )
            for parts in self._groups.values()
        ]

    def add(self, point: Point) -> None:
        """Sort in one point.

        Raises:
            InputError: it asks for what cannot be done.
        """
        cfg = point.cfg
        check(cfg)
        config = plain(cfg)
        model, explainer, data = (digest(config[name]) for name in ("model", "explainer", "data"))
        if model not in self._sources:
            self._sources[model] = build(cfg.model)
        transform, magnitudes = _transform(cfg)
        if explainer not in self._explainers:
            self._explainers[explainer] = build(cfg.explainer)
        if data not in self._images:
            images: ImageSet = build(cfg.data)
            found = images.files()
            self._images[data] = found, fingerprint(found)
        files, content = self._images[data]
        source = self._sources[model]
        asked = _asked(
            point, config, source, self._explainers[explainer], transform, magnitudes, content
        )
        shared = digest({name: value for name, value in config.items() if name not in FREE})
        group = self._groups.setdefault(shared, _Parts(cfg, files, source))
        group.curves.setdefault(asked.curve.name, []).append(asked)


def _asked(
    point: Point,
    config: Mapping[str, Any],
    source: ModelSource,
    explainer: Explainer,
    transform: Transform,
    magnitudes: tuple[float, ...],
    data: str,
) -> Asked:
    cfg = point.cfg
    question = Question(
        cfg.seed,
        cfg.ranks,
        cfg.target,
        cfg.region,
        _region_of(cfg.region_of, transform, magnitudes),
    )
    curve = make_curve(
        cfg,
        point.choices,
        parameter=transform.parameter.name,
        weights=source.identity() | explainer.identity(),
        data=data,
        region_of=question.region_of,
    )
    cells = tuple(Cell(curve, magnitude) for magnitude in magnitudes)
    return Asked(
        curve,
        cells,
        transform,
        question,
        choices=point.choices,
        overrides=(without(OF_THE_SWEEP, point.overrides),),
        configs=dict.fromkeys((cell.folder for cell in cells), config),
    )


def _transform(cfg: DictConfig) -> tuple[Transform, tuple[float, ...]]:
    from copy import deepcopy

    from hydra.utils import get_class

    node = deepcopy(cfg.transform)
    parameter = get_class(node["_target_"]).parameter
    from omegaconf import OmegaConf

    given = OmegaConf.to_container(cfg.transform, resolve=True).get(parameter.name)
    node = OmegaConf.create(OmegaConf.to_container(cfg.transform, resolve=True))
    node.pop(parameter.name, None)
    values = (parameter.neutral or 0.0,) if given is None else parameter.values(given)
    return build(node), values


def _region_of(
    value: Any, transform: Transform, magnitudes: tuple[float, ...]
) -> tuple[float, ...]:
    if value == "own":
        return ()
    if value == "all":
        return magnitudes
    try:
        return transform.parameter.values(value)
    except InputError:
        raise InputError("region_of", value, "must be own, all, or a list of numbers") from None
