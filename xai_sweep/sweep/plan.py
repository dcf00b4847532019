"""Which cells a sweep is going to compute: written down before anything is computed.

The same function turns points into planned cells for the sweeper and for `xai-sweep status`.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xai_sweep.config.building import plain
from xai_sweep.config.cells import Cell
from xai_sweep.config.keys import check
from xai_sweep.config.points import Composer, Overrides, Point, composer_of
from xai_sweep.store.plans import Planned, write_plan
from xai_sweep.store.store import Store

if TYPE_CHECKING:
    from xai_sweep.sweep.requests import Nodes, RequestedCurve


def planned_cells(point: Point) -> list[Planned]:
    """The cells that a point requests, without a look at weights or images.

    Raises:
        InputError: the point makes no sense.
    """
    # Which imports torch; the state of a folder can be shown without.
    from xai_sweep.sweep.requests import requested

    check(point.cfg)
    curve = requested(point, plain(point.cfg))
    return [planned_cell(cell, curve.metrics) for cell in curve.cells]


def planned_cell(cell: Cell, metrics: "Nodes", images: int | None = None) -> Planned:
    """What a plan holds of a cell.

    Args:
        cell: the cell.
        metrics: the configuration of each metric, by the name of its entry.
        images: how many images the data set has; None if it has not been read, in which case the
            name of the cell's folder is not known either.
    """
    curve = cell.curve
    return Planned(
        name="" if images is None else cell.folder,
        data=curve.data,
        model=curve.model,
        explainer=curve.explainer,
        transform=curve.transform,
        parameter=curve.parameter,
        magnitude=cell.magnitude,
        request=cell.request,
        ranks=curve.identity["ranks"],
        numbers=curve.identity["numbers"],
        images=images,
        draws=curve.identity["draws"],
        metrics=metrics,
    )


def plan_curve(results: Path, curve: "RequestedCurve", images: int) -> None:
    """Write down what a job is going to compute, so that `status` knows what is missing.

    Args:
        results: the results folder.
        curve: the curve, with its finished cells.
        images: how many images the data set has.
    """
    write_plan(results, [planned_cell(cell, curve.metrics, images) for cell in curve.cells])


def plan_points(composer: Composer, points: Iterable[Overrides]) -> dict[Overrides, int]:
    """Write down what a multirun is going to compute, in the results folder of each point.

    A point that makes no sense is left out: it fails again in its job, which records that.

    Returns:
        How many cells each point has.

    Raises:
        InputError: a results folder cannot be written, or is of another schema version.
    """
    counts: dict[Overrides, int] = {}
    found: dict[Path, list[Planned]] = {}
    for words in points:
        with suppress(Exception):
            point = composer.point(words)
            cells = planned_cells(point)
            counts[words] = len(cells)
            found.setdefault(Path(point.cfg.results), []).extend(cells)
    for results, cells in found.items():
        write_plan(Store(results).root, distinct(cells))
    return counts


def grid(words: Sequence[str]) -> list[Planned]:
    """The cells that a command line requests.

    Args:
        words: as behind `xai-sweep run`.

    Raises:
        HydraException: a word that Hydra does not understand.
        InputError: a point that makes no sense.
    """
    with composer_of(words) as (composer, points):
        return distinct(cell for each in points for cell in planned_cells(composer.point(each)))


def distinct(cells: Iterable[Planned]) -> list[Planned]:
    """The cells without repeats: several points may request the same one."""
    return list({(cell.data, cell.request): cell for cell in cells}.values())
