"""How much of LIME's instability is sampling, how much segmentation, and how much is left."""

from pathlib import Path

import pandas as pd

from xai_sweep.results.reader import load, manifests

_WHO = ["image_id", "rank", "magnitude"]
_CURVE = ["data", "model", "transform", "parameter", "magnitude"]


def split(own: pd.DataFrame, moved: pd.DataFrame) -> pd.DataFrame:
    """The mean squared difference of heatmaps in three parts that sum to it.

    Needs masks that are drawn independently for an image and its copy: then what two draws differ
    by on the clean image (`rmse_sampling`) is also in every difference to a copy. Superpixels that
    are found anew add to what moved ones show, and what is left is the method's and the model's.
    Interpolation of the reference counts as what is left.

    Args:
        own: rows of one question with `segments=own`.
        moved: the rows of the same question with `segments=moved`.

    Returns:
        A row per magnitude: `images`, `squared` (mean of `rmse` squared with own superpixels),
        and its parts `sampling`, `segmentation`, `rest`. Means over the ranks of an image, then
        over the images that have no error in either. A part can come out below zero by chance.
    """
    columns = [*_WHO, "rmse", "rmse_sampling"]
    both = own.loc[own["error"].isna(), [*_CURVE[:4], *columns]].merge(
        moved.loc[moved["error"].isna(), columns], on=_WHO, suffixes=("", "_moved")
    )
    # Either run has drawn twice on the clean image.
    sampling = (both["rmse_sampling"] ** 2 + both["rmse_sampling_moved"] ** 2) / 2
    parts = both.assign(
        squared=both["rmse"] ** 2,
        sampling=sampling,
        segmentation=both["rmse"] ** 2 - both["rmse_moved"] ** 2,
        rest=both["rmse_moved"] ** 2 - sampling,
    )
    names = ["squared", "sampling", "segmentation", "rest"]
    of_image = parts.groupby([*_CURVE, "image_id"], as_index=False)[names].mean()
    grouped = of_image.groupby(_CURVE)
    means = grouped[names].mean()
    means.insert(0, "images", grouped.size())
    return means.reset_index()


def splits(results: str | Path) -> pd.DataFrame:
    """`split` of every two runs in a results folder that differ in their segments alone.

    Returns:
        The rows of `split`; empty if no two runs belong together.
    """
    cells: dict[str, dict[str, str]] = {}
    for manifest in manifests(results):
        identity = manifest["identity"]
        assert isinstance(identity, dict)
        explainer = dict(identity["explainer"])
        if explainer.get("masks") == "independent":
            segments = str(explainer.pop("segments"))
            question = repr(sorted({**identity, "explainer": sorted(explainer.items())}.items()))
            cells.setdefault(question, {})[segments] = str(manifest["cell"])
    pairs = [pair for pair in cells.values() if pair.keys() == {"own", "moved"}]
    if not pairs:
        return pd.DataFrame()
    rows = load(results)
    parts = [
        split(rows[rows["cell"] == pair["own"]], rows[rows["cell"] == pair["moved"]])
        for pair in pairs
    ]
    return pd.concat(parts, ignore_index=True).sort_values(_CURVE, ignore_index=True)
