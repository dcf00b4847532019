"""What a job gives to a tracker, for the tests of all of them."""

from pathlib import Path

import numpy as np
import pandas as pd

TABLE = pd.DataFrame(
    {
        "question": ["0123abcd"] * 3,
        "model": ["net", "net", "net"],
        "transform": ["rotation(fill=edge)"] * 3,
        "seed": [0, 0, 0],
        "magnitude": [10.0, 0.5, 5.0],
        "images": [2, 2, 2],
        "rmse": [0.5, 0.1, np.nan],
        "flipped": pd.array([None, 0.5, 1], dtype="Float64"),
    }
)
CONFIG = {"explainer": {"_target_": "x.Y"}, "seed": 7, "results": Path("here")}
AXES = {"model": "net", "explainer": "lrp(rules=epsilon)"}
