"""Rows as a sweep writes them, with numbers that are easily told apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from xai_sweep.core.columns import Column
from xai_sweep.store.schema import table

LABELS = ("Egyptian cat", "tiger cat", "tabby", "lynx")
METRICS = ("rmse", "nrmse", "cosine", "pearson", "spearman", "ssim", "topk_iou")
COLUMNS = tuple(Column(name, f"The {name}.") for name in (*METRICS, "rmse_there_and_back"))


def row_table(
    images: int = 3,
    magnitudes: Sequence[float] = (0.5, 5),
    ranks: int = 2,
    explainer: str = "grad_cam",
    flipped: Sequence[float] = (),
    region: str = "mask",
) -> pa.Table:
    """Rows sorted by image, magnitude and rank; the magnitudes in `flipped` swap the classes.

    The RMSE is magnitude x rank / 10 for the first image and differs at random for the others.
    """
    noise = np.random.default_rng(0)
    rows = []
    for image in range(images):
        for magnitude in magnitudes:
            for rank in range(1, ranks + 1):
                new = rank % ranks + 1 if magnitude in flipped else rank
                score = noise.uniform(0.5, 1.5) if image else 1
                rows.append(
                    {
                        "cell": f"{explainer}-{region}-{magnitude:g}",
                        "question": f"{explainer}-{region}",
                        "sweep": "test",
                        "image_id": f"image_{image}.png",
                        "image_path": f"photos/image_{image}.png",
                        "label_true": None,
                        "data": "photos",
                        "model": "net",
                        "explainer": explainer,
                        "is_control": explainer in ("random", "sobel", "constant"),
                        "transform": "rotation",
                        "parameter": "angle",
                        "magnitude": float(magnitude),
                        "seed": 0,
                        "target": "class",
                        "region": region,
                        "region_of": "own",
                        "draws": 1,
                        "draw": 0,
                        "rank": rank,
                        "class_ref": rank,
                        "label_ref": LABELS[(rank - 1) % 4],
                        "prob_ref": 0.5 / rank,
                        "class_new": new,
                        "label_new": LABELS[(new - 1) % 4],
                        "prob_new": 0.4 / rank,
                        "prob_ref_new": 0.3 / rank,
                        "class_explained": rank,
                        "flipped": magnitude in flipped,
                        "image_distance": magnitude,
                        "logit_distance": magnitude / 2,
                        "rmse": magnitude * rank / 10 * score,
                        **{name: noise.uniform() for name in METRICS[1:]},
                        "rmse_there_and_back": 0.01 * magnitude,
                        "valid_fraction": 0.9,
                        "finite": True,
                        "error": None,
                    }
                )
    return table(rows, COLUMNS)


def made_rows(**options: object) -> pd.DataFrame:
    """The same as `xai_sweep.results.load` would give them."""
    nullable = {pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    rows = row_table(**options).to_pandas(types_mapper=nullable.get)  # type: ignore[arg-type]
    return rows.astype({"is_control": bool, "draws": "int32", "draw": "int32"})
