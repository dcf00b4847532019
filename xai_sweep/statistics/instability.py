"""How much of LIME's instability is sampling, how much segmentation, and how much is the rest."""

import json
from pathlib import Path

import pandas as pd

from xai_sweep.statistics.images import without_failed
from xai_sweep.store.reading import load, manifests

_ROW = ["image_id", "draw", "rank", "magnitude"]
# The two runs ask different questions, by their superpixels alone; the rest is the same.
_SETTING = ["data", "model", "transform", "parameter", "seed", "target", "region", "region_of"]
_POINT = [*_SETTING, "draws", "magnitude"]
PARTS = ["sampling", "segmentation", "rest"]


def instability(own: pd.DataFrame, moved: pd.DataFrame) -> pd.DataFrame:
    """The mean squared difference of heatmaps in three parts that sum to it.

    Needs masks that are drawn independently for an image and its copy: then the difference of two
    draws on the clean image (`rmse_second_draw`) is also in every difference from a copy.
    Superpixels that are found anew add to the difference with moved ones, and the rest comes from
    the method and the model. Interpolation of the reference counts as rest.

    Args:
        own: rows of one question with `superpixels=own`, metrics `rmse` and `second_draw`.
        moved: the rows of the same question with `superpixels=moved`.

    Returns:
        A row per magnitude: `images`, `squared` (mean of `rmse` squared with own superpixels),
        and its parts `sampling`, `segmentation`, `rest`. Means over the draws and ranks of an
        image, then over the images that have no error in either. A part can come out below zero
        by chance.
    """
    columns = [*_ROW, "rmse", "rmse_second_draw"]
    both = without_failed(own)[0][[*_SETTING, "draws", *columns]].merge(
        without_failed(moved)[0][columns], on=_ROW, suffixes=("", "_moved"), validate="1:1"
    )
    # Both runs have drawn twice on the clean image.
    sampling = (both["rmse_second_draw"] ** 2 + both["rmse_second_draw_moved"] ** 2) / 2
    parts = both.assign(
        squared=both["rmse"] ** 2,
        sampling=sampling,
        segmentation=both["rmse"] ** 2 - both["rmse_moved"] ** 2,
        rest=both["rmse_moved"] ** 2 - sampling,
    )
    names = ["squared", *PARTS]
    by_image = parts.groupby([*_POINT, "image_id"], as_index=False)[names].mean()
    grouped = by_image.groupby(_POINT)
    means = grouped[names].mean()
    means.insert(0, "images", grouped.size())
    return means.reset_index()


def instabilities(results: str | Path) -> pd.DataFrame:
    """`instability` of every two runs in a results folder that differ in their superpixels alone.

    Returns:
        The rows of `instability`; empty if no two runs belong together, or they lack a metric.
    """
    cells: dict[str, dict[str, str]] = {}
    for content in manifests(results):
        identity = content["identity"]
        explainer = dict(identity["explainer"])
        has = {"rmse", "rmse_second_draw"} <= content["columns"].keys()
        if has and explainer.get("masks") == "independent":
            superpixels = str(explainer.pop("superpixels"))
            rest = json.dumps({**identity, "explainer": explainer}, sort_keys=True)
            cells.setdefault(rest, {})[superpixels] = str(content["cell"])
    pairs = [pair for pair in cells.values() if pair.keys() == {"own", "moved"}]
    if not pairs:
        return pd.DataFrame()
    wanted = [cell for pair in pairs for cell in pair.values()]
    rows = load(results, filters=[("cell", "in", wanted)])
    parts = [
        instability(rows[rows["cell"] == pair["own"]], rows[rows["cell"] == pair["moved"]])
        for pair in pairs
    ]
    return pd.concat(parts, ignore_index=True).sort_values(_POINT, ignore_index=True)
