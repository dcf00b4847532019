"""Which points of a grid share a Hydra job, by the text of their overrides.

Nothing is composed here, because that takes 60 ms a point and a grid may have 10,000.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from xai_sweep.config.keys import SAME_CASES, SAME_NETWORK, Decides, keys
from xai_sweep.config.points import Overrides
from xai_sweep.config.quoting import quoted

SWEEPER = "hydra_plugins.xai_sweep_packing.PackingSweeper"

# Keys of the sweep are no part of a point.
SWEEP_KEYS = frozenset(keys(Decides.SWEEP))
_SAME_CASES = frozenset(keys(*SAME_CASES))
_SAME_NETWORK = frozenset(keys(*SAME_NETWORK))


def jobs(
    points: Sequence[Overrides],
    limit: int | None = None,
    cells_of: Callable[[Overrides], int] = lambda point: 1,
) -> list[Overrides]:
    """The overrides of as few Hydra jobs as compute every point of a grid.

    A job is given what all points have in common, and what its own points add to that in `pack`.
    Jobs of the same model follow each other, so that a process which runs them all loads it once.

    Args:
        points: the overrides of each point.
        limit: cells per job; None: a job per model, data and explainer, however many cells. A
            point of more cells is not split.
        cells_of: how many cells a point has; called only if there is a limit.
    """
    if len(points) < 2:
        return list(points)
    common = _common(points)
    shared = frozenset(common)
    models: dict[Overrides, dict[Overrides, list[Overrides]]] = {}
    for point in points:
        own = tuple(word for word in point if word not in shared)
        groups = models.setdefault(without(_SAME_NETWORK, own), {})
        groups.setdefault(without(_SAME_CASES, own), []).append(own)
    packs: list[list[Overrides]] = []
    for groups in models.values():
        if limit is None:
            packs += groups.values()
        else:
            packs += _filled(groups.values(), limit, lambda own: cells_of(common + own))
    return [(*common, f"pack={spelled(pack)}") for pack in packs]


def _common(points: Sequence[Overrides]) -> Overrides:
    """Overrides that make sense without the rest of a point, and are the same in all points."""
    everywhere = frozenset.intersection(*map(frozenset, points))
    differing = {root(word) for point in points for word in point if word not in everywhere}
    # An experiment may choose any entry, which an override of a value would then not fit.
    safe = SWEEP_KEYS if "experiment" in differing else None
    return tuple(
        word
        for word in dict.fromkeys(points[0])
        if word in everywhere
        and root(word) not in differing
        and (safe is None or root(word) in safe)
    )


def _filled(
    groups: Iterable[list[Overrides]], limit: int, cells_of: Callable[[Overrides], int]
) -> list[list[Overrides]]:
    """Groups together as long as they fit; a group is divided only if it is too large for a job."""
    packs: list[list[Overrides]] = []
    free = 0
    for group in groups:
        cells = [cells_of(own) for own in group]
        fresh = sum(cells) > free
        for own, count in zip(group, cells, strict=True):
            if fresh or count > free:
                packs.append([])
                free, fresh = limit, False
            packs[-1].append(own)
            free -= count
    return packs


def without(roots: frozenset[str], overrides: Iterable[str]) -> Overrides:
    """The overrides that begin with none of these groups or keys."""
    return tuple(word for word in overrides if root(word) not in roots)


@lru_cache(maxsize=65536)
def root(override: str) -> str:
    """The group or key that an override begins with: `transform` of `transform.angle=5`."""
    found = re.match(r"[+~]*([^.=@/:]*)", override)
    return found[1] if found else ""


def spelled(pack: Iterable[Overrides]) -> str:
    """A list of lists of overrides as Hydra reads it."""
    points = [[quoted(word) for word in own] for own in pack]
    return f"[{','.join('[' + ','.join(own) + ']' for own in points)}]"
