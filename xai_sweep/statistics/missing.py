"""Numbers that are not there: counted, for no mean can show them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from xai_sweep.statistics.images import POINT, image_means, numbers, without_failed


def without_number(rows: pd.DataFrame, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Which metrics have no number for some images, which are in none of their means.

    Args:
        rows: as `xai_sweep.results.load` gives them, or the columns of `needed_columns`.
        metrics: which columns are looked at; by default all numbers beyond the spine.

    Returns:
        A row per question, magnitude and metric of which an image lacks a number: the columns of
        `xai_sweep.store.schema.QUESTION`, `magnitude`, `metric`, `images` (how many without
        error), `missing` (how many have no number), `not_finite` (how many of these have a heatmap
        with NaN or infinity), and `partly` (how many have one at some ranks or draws alone).
    """
    metrics = numbers(rows) if metrics is None else list(metrics)
    good, _ = without_failed(rows)
    # Of each image, the share of its rows that hold a number, and whether all of them are finite.
    shares = good[metrics].notna().assign(finite=good["finite"].fillna(True).astype(bool))
    by_image = image_means(good[[*POINT, "image_id", "rank"]].join(shares), [*metrics, "finite"])
    counts = []
    for metric in metrics:
        share, finite = by_image[metric], by_image["finite"]
        found = pd.DataFrame(
            {
                "metric": metric,
                "images": share.notna(),
                "missing": share == 0,
                "not_finite": (share == 0) & (finite < 1),
                "partly": (share > 0) & (share < 1),
            }
        )
        counts.append(found.groupby([*POINT, "metric"]).sum().reset_index())
    empty = pd.DataFrame(columns=[*POINT, "metric", "images", *COUNTS])
    table = pd.concat(counts, ignore_index=True) if counts else empty
    return table[(table[COUNTS] > 0).any(axis="columns")].reset_index(drop=True)


COUNTS = ["missing", "not_finite", "partly"]


def in_words(missing: pd.DataFrame, nulls: Mapping[str, str]) -> list[str]:
    """Which metrics lack numbers, a line for those that lack the same.

    Args:
        missing: as `without_number` gives it.
        nulls: what a missing value of each metric means, as its column declares it.
    """
    metrics_of: dict[str, list[str]] = {}
    for metric, found in missing.groupby("metric", sort=False):
        images, none, broken, partly = (int(found[name].sum()) for name in ("images", *COUNTS))
        where = "" if len(found) == 1 else f" at {len(found)} magnitudes"
        other = nulls.get(str(metric), "undefined")
        reasons = {"NaN or infinity in a heatmap": broken, other: none - broken}
        why = ", ".join(f"{reason}: {count}" for reason, count in reasons.items() if count)
        all_ = f"{none} of {images} images{where}, which are in no mean ({why})" if none else ""
        some = f"some ranks or draws of {partly} of {images} images{where}" if partly else ""
        text = f"NaN for {', and for '.join(filter(None, (all_, some)))}"
        metrics_of.setdefault(text, []).append(str(metric))
    return [f"{', '.join(metrics)}: {text}" for text, metrics in metrics_of.items()]
