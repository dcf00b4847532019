"""The content of a report as plain data; how it is shown is decided elsewhere."""

import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from xai_sweep.core.errors import SomeFailedError
from xai_sweep.statistics.images import numbers
from xai_sweep.statistics.instability import PARTS
from xai_sweep.statistics.missing import in_words, without_number
from xai_sweep.statistics.summary import distinguishing, needed_columns, summary, valued
from xai_sweep.store.failures import FAILURES, Failed
from xai_sweep.store.manifest import metric_names
from xai_sweep.store.reading import load, manifests
from xai_sweep.store.schema import QUESTION

# A table has room for so many metrics; those that most readers look for come first.
_METRICS = 3
_FIRST = ("rmse", "nrmse", "spearman")
# Names of what failed for the same reason.
_NAMED = 5


@dataclass(frozen=True)
class Heading:
    """The head of a column.

    Attributes:
        name: the text.
        is_number: whether the column holds numbers, which must not be cut.
    """

    name: str
    is_number: bool = False


@dataclass(frozen=True)
class TableContent:
    """A table.

    Attributes:
        title: what is the same in all lines; may be empty.
        headings: one per column.
        lines: the texts of each line, one per column.
    """

    title: str
    headings: tuple[Heading, ...]
    lines: tuple[tuple[str, ...], ...]


def load_rows(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of finished cells, or of results folders, with the columns that reports need.

    Raises:
        InputError: see `xai_sweep.results.load`.
    """
    contents = [content for path in paths for content in manifests(path)]
    return load(paths, needed_columns(metric_names(contents)))


def summary_table(rows: pd.DataFrame) -> TableContent:
    """A line per question and magnitude: how many images, and the means of up to three metrics.

    What is the same in all lines is in the title. Settings that are usually the same (seed, target,
    region, draws) are shown, in a column, only if they differ.
    """
    lines = summary(rows)
    differing = distinguishing(lines)
    names = ("data", "model", "explainer", "transform")
    shared = [str(lines[name].iloc[0]) for name in names if name not in differing]
    metrics = _shown_metrics(numbers(rows))
    heads = ("magnitude", "images", "failed", "flipped", *metrics)
    columns = [name for name in QUESTION if name in differing and name not in _IMPLIED]
    if "question" in columns:  # a hash, shown only where lines would look alike
        columns = [*(name for name in columns if name != "question"), "question"]
    return TableContent(
        " · ".join(shared),
        (*map(Heading, columns), *(Heading(name, is_number=True) for name in heads)),
        tuple(
            (
                *(str(line[name]) for name in columns),
                f"{line['parameter']} {line['magnitude']:g}",
                str(line["images"]),
                str(line["failed"]),
                _number(line["flipped"], ".0%"),
                *(_mean(line, name) for name in metrics),
            )
            for line in lines.to_dict("records")
        ),
    )


def _mean(line: Mapping[Hashable, Any], metric: str) -> str:
    """A mean, with how many images it is of, if not of all that are counted in the line."""
    number, count = _number(line[metric], ".4g"), line[valued(metric)]
    return number if count in (0, line["images"]) else f"{number} (n={count})"


# They differ only together with the explainer, or are shown beside the magnitude.
_IMPLIED = frozenset({"is_control", "parameter"})


def _shown_metrics(found: Sequence[str]) -> list[str]:
    """The metrics that a table shows."""
    first = [name for name in _FIRST if name in found]
    return [*first, *(name for name in found if name not in first)][:_METRICS]


def missing_lines(rows: pd.DataFrame, nulls: Mapping[str, str]) -> list[str]:
    """What stands below the table: a line per metric that has no number for some images.

    Args:
        rows: as `load_rows` gives them.
        nulls: what a missing value of each metric means.
    """
    return in_words(without_number(rows), nulls)


def instability_table(parts: pd.DataFrame) -> TableContent:
    """What squared differences consist of, see `xai_sweep.statistics.instability`."""
    names = [
        name for name in ("seed", "target", "region", "region_of") if parts[name].nunique() > 1
    ]
    texts, numbers = ("model", "transform", *names), ("magnitude", "images", "squared", *PARTS)
    return TableContent(
        "squared RMSE with own superpixels, and where it comes from",
        (*map(Heading, texts), *(Heading(name, is_number=True) for name in numbers)),
        tuple(
            (
                *(str(line[name]) for name in texts),
                f"{line['parameter']} {line['magnitude']:g}",
                str(line["images"]),
                _number(line["squared"], ".4g"),
                *(
                    _number(line[name] / line["squared"] if line["squared"] else None, ".0%")
                    for name in PARTS
                ),
            )
            for line in parts.to_dict("records")
        ),
    )


def failures_table(failed: Sequence[Failed]) -> TableContent:
    """What failed, with what failed for the same reason in one line."""
    reasons: dict[str, list[str]] = {}
    for each in failed:
        reasons.setdefault(each.error, []).append(each.what)
    lines = []
    for reason, names in reasons.items():
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        lines.append(("\n".join([*names[:_NAMED], *more]), reason))
    return TableContent("failed", (Heading("what"), Heading("why")), tuple(lines))


def failures_error(failed: Sequence[Failed], results: Path, *, stopped: bool) -> SomeFailedError:
    """What to do about failures, in one line, and the exit code.

    Args:
        failed: what failed.
        results: the results folder.
        stopped: whether the sweep stopped at the first failure.
    """
    code = 2 if all(each.is_input for each in failed) else 1
    if not all(each.overrides for each in failed):  # then it is not known what was to be computed
        advice = "the same command again computes what is missing"
        return SomeFailedError(f"{len(failed)} failed; {advice}", code)
    rest = "the sweep stopped" if stopped else "all the rest is complete"
    advice = f"to compute them again: xai-sweep retry {shlex.quote(str(results))}"
    message = f"{len(failed)} failed, {rest}; why: {results / FAILURES}; {advice}"
    return SomeFailedError(message, code)


def outcome_lines(cells: int, computed: int, places: Mapping[str, object]) -> list[str]:
    """How many cells were computed, and where everything was written.

    Args:
        cells: how many there are.
        computed: how many of them this job computed.
        places: what else is said, by its name: what failed, and where each kind of output is;
            those without a place are left out.
    """
    before = f", {cells - computed} were finished before" if cells > computed else ""
    lines = [f"{'cells':<9} {computed} computed{before}"]
    return [*lines, *(f"{name:<9} {place}" for name, place in places.items() if place)]


def failed_images(rows: pd.DataFrame) -> str | None:
    """How many images failed, and why the first of them did; None if none has."""
    failed = rows[rows["error"].notna()]
    if failed.empty:
        return None
    count = failed["image_id"].nunique()
    first = failed.sort_values("image_id").iloc[0]
    images = "1 image" if count == 1 else f"{count} images; the first"
    return f"{images}: {first['image_id']}: {first['error']}"


def _number(value: object, form: str) -> str:
    return "-" if pd.isna(value) else format(float(value), form)  # type: ignore[call-overload,arg-type]
