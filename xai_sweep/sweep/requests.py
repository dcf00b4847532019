"""What points of the grid request: curves, and which of them share their cases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig

from xai_sweep.config import plugins
from xai_sweep.config.building import build, plain, target
from xai_sweep.config.cells import Cell, Curve, digest, make_curve
from xai_sweep.config.keys import SAME_CASES, Decides, check, groups, keys
from xai_sweep.config.points import Point
from xai_sweep.core.errors import InputError
from xai_sweep.data import ImageFile, ImageSet, fingerprint
from xai_sweep.data.base import require_annotations
from xai_sweep.data.levels import with_common_white
from xai_sweep.explainers import Explainer
from xai_sweep.metrics import Need
from xai_sweep.models import ModelSource
from xai_sweep.study.question import Change, Question
from xai_sweep.sweep.packing import SWEEP_KEYS, without
from xai_sweep.transforms import Transform

Images = tuple[ImageSet, Sequence[ImageFile], str]
Nodes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class RequestedCurve:
    """A curve, and which of its cells are wanted with which metrics.

    Attributes:
        curve: the curve.
        cells: the cells.
        metrics: the configuration of each metric, by the name of its entry.
        transform: how images are changed; the cells hold the magnitudes.
        question: how heatmaps are compared.
        choices: the chosen entry of each group.
        overrides: of the points that request it.
        configs: the resolved configuration of each cell, by the cell's folder.
    """

    curve: Curve
    cells: tuple[Cell, ...]
    metrics: Nodes
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
        """The resolved configuration, with every magnitude if several points request the curve."""
        config = dict(self.configs[self.cells[0].folder])
        if len(self.overrides) > 1:
            magnitudes = [cell.magnitude for cell in self.cells]
            config["transform"] = {**config["transform"], self.curve.parameter: magnitudes}
        return config

    def only(self, cells: Iterable[Cell]) -> "RequestedCurve":
        """The same with fewer cells."""
        return replace(self, cells=tuple(cells))

    def measured_by(self, metrics: Nodes) -> "RequestedCurve":
        """The same with other metrics."""
        configs = {
            folder: {**config, "metric": dict(metrics)} for folder, config in self.configs.items()
        }
        return replace(self, metrics=metrics, configs=configs)


def merged(parts: Sequence[RequestedCurve]) -> RequestedCurve:
    """The cells and metrics that any of several points requests, all of the same curve."""
    if len(parts) == 1:
        return parts[0]
    cells = {cell.folder: cell for part in parts for cell in part.cells}
    whole = replace(
        parts[0],
        cells=tuple(sorted(cells.values(), key=lambda cell: cell.magnitude)),
        overrides=tuple(words for part in parts for words in part.overrides),
        configs={name: config for part in parts for name, config in part.configs.items()},
    )
    metrics = {name: node for part in parts for name, node in part.metrics.items()}
    same = all(part.metrics.keys() == metrics.keys() for part in parts)
    return whole if same else whole.measured_by(metrics)


@dataclass(frozen=True, eq=False)
class Group:
    """Curves that differ in how images are changed and measured, and share their cases.

    Attributes:
        cfg: the configuration of one of them.
        files: the images.
        source: where the model comes from.
        curves: by name.
    """

    cfg: DictConfig
    files: Sequence[ImageFile]
    source: ModelSource
    curves: dict[str, RequestedCurve]


@dataclass(frozen=True, eq=False)
class _Parts:
    """A group while points are added: every curve as its points request it."""

    cfg: DictConfig
    files: Sequence[ImageFile]
    source: ModelSource
    curves: dict[str, list[RequestedCurve]] = field(default_factory=dict)


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
                {name: merged(curves) for name, curves in parts.curves.items()},
            )
            for parts in self._groups.values()
        ]

    def add(self, point: Point) -> None:
        """Sort in one point.

        Raises:
            InputError: it requests what cannot be done.
        """
        cfg, config = point.cfg, point.config
        check(cfg, config)
        model, explainer, data = (digest(config[name]) for name in ("model", "explainer", "data"))
        if model not in self._sources:
            self._sources[model] = build(cfg.model)
        if explainer not in self._explainers:
            self._explainers[explainer] = build(cfg.explainer)
        if data not in self._images:
            images: ImageSet = build(cfg.data)
            found = with_common_white(images.files())
            self._images[data] = images, found, fingerprint(found)
        images, files, content = self._images[data]
        for name, node in cfg.metric.items():
            if Need.ANNOTATION in target(node).needs:
                require_annotations(images, str(name), point.choices["data"])
        source = self._sources[model]
        weights = source.identity() | self._explainers[explainer].identity()
        curve = requested(point, weights=weights, data=content)
        shared = {name: value for name, value in config.items() if name not in _FREE}
        group = self._groups.setdefault(digest(shared), _Parts(cfg, files, source))
        earlier = group.curves.setdefault(curve.curve.name, [])
        for other in earlier:
            _check_same(other.metrics, curve.metrics)
        earlier.append(curve)


_FREE = frozenset(keys(*SAME_CASES)) | {"pack"}


def requested(
    point: Point,
    *,
    weights: Mapping[str, str] | None = None,
    data: str = "",
) -> RequestedCurve:
    """The curve that a point requests.

    Args:
        point: the point.
        weights: what decides the model's weights; None if they have not been read.
        data: the fingerprint of the images; empty if they have not been read.

    Raises:
        InputError: the transform, a magnitude, `region_of` or `draws` makes no sense.
    """
    cfg, config = point.cfg, point.config
    plugins.activate(config["plugins"])
    transform, magnitudes = changed(cfg.transform)
    region_of = _region_of(config["region_of"], transform, magnitudes)
    if cfg.draws > 1 and not transform.is_random:
        allowed = f"must be 1: transform={point.choices['transform']} draws nothing at random"
        raise InputError("draws", cfg.draws, allowed)
    curve = make_curve(
        config,
        point.choices,
        parameter=transform.parameter.name,
        region_of=region_of,
        weights=weights or {},
        data=data,
    )
    cells = tuple(Cell(curve, magnitude) for magnitude in magnitudes)
    (metric,) = groups(Decides.COLUMNS)
    return RequestedCurve(
        curve,
        cells,
        config[metric],
        transform,
        Question(cfg.seed, cfg.ranks, cfg.target, cfg.region, region_of, cfg.draws),
        choices=point.choices,
        overrides=(without(SWEEP_KEYS, point.overrides),),
        configs=dict.fromkeys((cell.folder for cell in cells), config),
    )


def changed(node: DictConfig) -> tuple[Transform, tuple[float, ...]]:
    """A transform and its magnitudes, which stand beside its own parameters in its yaml.

    Raises:
        InputError: naming the parameter.
    """
    parameter = target(node).parameter
    given = plain(node).get(parameter.name, parameter.neutral)
    if given is None:
        raise InputError(f"transform.{parameter.name}", None, f"is needed [{parameter.unit}]")
    return build(node, without=parameter.name), parameter.values(given)


def _region_of(
    value: Any, transform: Transform, magnitudes: tuple[float, ...]
) -> tuple[float, ...]:
    if value == "own":
        return ()
    if value == "all":
        return magnitudes
    try:
        return transform.parameter.values(value)
    except InputError as error:
        allowed = error.allowed.replace("must be", "must be own, all,", 1)
        raise InputError("region_of", value, allowed) from None


def _check_same(known: Nodes, wanted: Nodes) -> None:
    """Refuse a metric that another point of the same curve configures in another way."""
    for name in known.keys() & wanted.keys():
        for key, value in wanted[name].items():
            if known[name].get(key) != value:
                allowed = f"another point of the same curve has {known[name].get(key)}"
                raise InputError(f"metric.{name}.{key}", value, allowed)
