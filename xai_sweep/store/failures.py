"""Records of what failed: a JSON file per curve, removed once the curve's cells are complete.

results/_failures/<curve>-<hash of its cells>.json     a curve, or some of its cells
results/_failures/point-<hash of the overrides>.json   a point that did not become a curve
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from traceback import format_exception
from typing import Any

from xai_sweep.store.atomic import read_json, write_json

FAILURES = "_failures"
# In the folder of a multirun whose jobs stop at the first failure, once there was one.
STOPPED = "_stopped"


def now() -> str:
    """The time as in records."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Failed:
    """Something that failed.

    Attributes:
        what: what failed, in words.
        error: why, one line.
        is_input: whether the cause is bad input.
        overrides: the points of the grid that it belongs to, as on the command line.
        curve: name of the curve; empty if the point did not become one.
        cells: folders of its cells that are therefore not complete.
        config: the resolved configuration; None if it could not be composed.
        traceback: where it happened.
        sweep: the multirun, or the single run.
        host: the machine.
        time: when, in ISO 8601.
        plugins: that it used.
        options: of Hydra, as on the command line.
    """

    what: str
    error: str
    is_input: bool
    overrides: tuple[tuple[str, ...], ...] = ()
    curve: str = ""
    cells: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    traceback: str = ""
    sweep: str = ""
    host: str = field(default_factory=platform.node)
    time: str = field(default_factory=now)
    plugins: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def record(results: Path, failed: Failed) -> Path:
    """Write a failure, in place of an earlier one of the same cells.

    Raises:
        OSError: it cannot be written.
    """
    path = _path(results, failed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(failed))
    return path


def failures(results: str | Path) -> list[Failed]:
    """What failed and has not been computed since, oldest first."""
    found = [_read(path) for path in Path(results, FAILURES).glob("*.json")]
    return sorted((each for each in found if each is not None), key=lambda each: each.time)


def forget(
    results: Path,
    curve: str,
    overrides: Iterable[tuple[str, ...]],
    is_complete: Callable[[str], bool],
) -> None:
    """Remove records of a curve whose cells are complete by now.

    Args:
        results: the results folder.
        curve: name of the curve.
        overrides: of the points that request it.
        is_complete: whether the cell of this folder is complete.
    """
    folder = results / FAILURES
    if not folder.is_dir():
        return
    for path in folder.glob(f"{curve}-*.json"):
        failed = _read(path)
        if failed is not None and failed.curve == curve and all(map(is_complete, failed.cells)):
            path.unlink(missing_ok=True)
    for words in overrides:
        (folder / f"{_name_of_point(words)}.json").unlink(missing_ok=True)


def forget_retried(results: Path, before: Iterable[Failed], failed: Iterable[Failed]) -> None:
    """After a retry, remove the records whose points did not fail again.

    Their cells are complete, maybe under another name: weights or images may have changed.
    """
    again = {words for each in failed for words in each.overrides or [()]}
    for each in before:
        path = _path(results, each)
        if not again.intersection([*each.overrides, ()]) and _read(path) == each:
            path.unlink(missing_ok=True)


def lost(error: Exception) -> Failed:
    """A job that its launcher lost; which points it had is not known."""
    return Failed(
        what="a job that its launcher lost",
        error=" ".join(f"{type(error).__name__}: {error}".split()),
        is_input=False,
        traceback="".join(format_exception(error)),
    )


def _path(results: Path, failed: Failed) -> Path:
    if failed.curve:
        name = f"{failed.curve}-{_digest(sorted(failed.cells))}"
    else:
        name = _name_of_point(failed.overrides[0])
    return results / FAILURES / f"{name}.json"


def _read(path: Path) -> Failed | None:
    content = read_json(path)
    if content is None:
        return None
    overrides: Any = content["overrides"]
    cells: Any = content["cells"]
    points = tuple(tuple(words) for words in overrides)
    plugins: Any = content.get("plugins", ())
    options: Any = content.get("options", ())
    known = {
        **{"overrides": points, "cells": tuple(cells)},
        **{"plugins": tuple(plugins), "options": tuple(options)},
    }
    return Failed(**{**content, **known})  # type: ignore[arg-type]


def _name_of_point(overrides: Iterable[str]) -> str:
    return f"point-{_digest(sorted(overrides))}"


def _digest(words: list[str]) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]
