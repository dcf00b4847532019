"""How much a heatmap changes per change of the image, at worst: the local Lipschitz estimate."""

import pandas as pd

from xai_sweep.core.errors import InputError
from xai_sweep.statistics.images import POINT

NEEDED = ("euclidean", "image_distance")


def local_lipschitz(rows: pd.DataFrame) -> pd.DataFrame:
    """The largest ratio of the heatmaps' distance to the images' distance over the draws.

    For an image x, a heatmap f of one of its targets, and the draws x_1 ... x_N of a random change
    at one magnitude: ``max_j ||f(x_j) - f(x)|| / ||x_j - x||``, Euclidean norms, over the pixels
    of the region above and over all pixels and channels below. The unit is that of the heatmap per
    pixel unit (images from 0 to 1), so it compares methods only where their heatmaps have the same
    scale. A maximum grows with the number of draws, which stands beside it: compare equal numbers.

    A draw that does not change the image has no ratio: the maximum is undefined (NaN), unless the
    heatmap did not change either, which counts as 0. It is undefined as well if any draw failed or
    has no distance, because what is missing may be the largest.

    Source: Alvarez-Melis, Jaakkola 2018, "On the robustness of interpretability methods",
    arXiv:1806.08049, equation 2, with the draws as the neighbours of x.

    Args:
        rows: rows with the columns `euclidean` (the metric of that name) and `image_distance`, of
            transforms that leave pixels in place, computed with ``draws=N``.

    Returns:
        A row per question, magnitude, image and rank: the columns of
        `xai_sweep.store.schema.QUESTION` (with `draws`, how many there are), `magnitude`,
        `image_id`, `rank` and `local_lipschitz`.

    Raises:
        InputError: a column is missing, or draws are.
    """
    for name in NEEDED:
        if name not in rows:
            raise InputError("rows", f"without {name}", "must be computed with metric=[euclidean]")
    heatmap, image = rows["euclidean"], rows["image_distance"]
    ratio = (heatmap / image.where(image > 0)).mask((image == 0) & (heatmap == 0), 0.0)
    keys = [*POINT, "image_id", "rank"]
    ratio = ratio.mask(rows["error"].notna())
    groups = rows.assign(ratio=ratio, undefined=ratio.isna()).groupby(keys)
    found: pd.DataFrame = groups.agg(
        local_lipschitz=("ratio", "max"), undefined=("undefined", "any"), counted=("ratio", "size")
    ).reset_index()
    lacking = found[found["counted"] != found["draws"]]
    if len(lacking):
        first = lacking.iloc[0]
        what = f"{first['counted']} of {first['draws']} draws of image {first['image_id']}"
        raise InputError("rows", what, "must hold every draw of an image")
    found["local_lipschitz"] = found["local_lipschitz"].mask(found["undefined"])
    return found[[*keys, "local_lipschitz"]]
