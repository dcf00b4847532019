"""Are the rows still those from before the frame was rebuilt?

    python tests/before/compare.py [WORKING_FOLDER]

Computes the jobs below again and holds every science column against `rows.parquet`, which the last
commit of the first frame wrote: the default job, `experiment=quick`, the thesis' comparison rank by
rank, and a rotation and a noise grid over five explainers. The last digits of a network's output
depend on the processor, so this is a command and not a test of the default suite.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from xai_sweep.results import load

HERE = Path(__file__).parent
TOLERANCE = 1e-6
METRICS = (
    "metric=[rmse,nrmse,cosine,pearson,spearman,ssim,topk_iou,there_and_back,second_draw]",
    *("logger=none", "pictures=false", "keep_heatmaps=none"),
)
_GRID = ("-m", "data.limit=2")
_FAST = ("explainer=lrp,grad_cam,guided_backprop",)
_LIME = ("explainer=lime", "explainer.num_samples=64")
_SMOOTH = ("explainer=smooth_grad", "explainer.samples=4")
_TURN = ("transform=rotation", "transform.angle=1,10")
_NOISE = ("transform=gaussian_noise", "transform.sigma=0.1,0.5")
JOBS = {
    "default": [()],
    "quick": [("experiment=quick",)],
    "rank": [("experiment=thesis_rotation", "explainer=grad_cam", "data.limit=2")],
    "rotation": [(*_GRID, *_TURN, *words) for words in (_FAST, _LIME, _SMOOTH)],
    "noise": [(*_GRID, *_NOISE, *words) for words in (_FAST, _LIME, _SMOOTH)],
}
# Columns that have another name now.
RENAMED = {
    "rmse_interpolation": "rmse_there_and_back",
    "rmse_sampling": "rmse_second_draw",
}
# These say which job a row is of, where it came from, or name a cell by a key with other parts now.
OTHER = ["case", "cell", "sweep", "image_path"]
SCORES = ["cosine", "pearson", "spearman", "ssim", "topk_iou"]
KEY = ["case", "transform", "magnitude", "explainer", "image_id", "rank"]


def computed(folder: Path) -> pd.DataFrame:
    """The rows of all jobs, computed now."""
    parts = []
    for name, jobs in JOBS.items():
        for words in jobs:
            command = [sys.executable, HERE.parents[1] / "run.py", f"results={folder / name}"]
            subprocess.run([*command, *METRICS, *words], check=True)
        parts.append(load(folder / name).assign(case=name))
    return pd.concat(parts, ignore_index=True)


def differences(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, float]:
    """The largest difference of each science column; infinity for words or nulls.

    Absolute for scores from -1 to 1, relative for all other numbers.
    """
    old = old.rename(columns=RENAMED).sort_values(KEY, ignore_index=True)
    new = new.sort_values(KEY, ignore_index=True)
    assert len(old) == len(new), f"{len(old)} rows before, {len(new)} now"
    found = {}
    for name in old.columns.drop(OTHER, errors="ignore"):
        before, now = old[name], new[name]
        if pd.api.types.is_float_dtype(before):
            # Scores are on a scale of 1; relevance has units, and the RMSE of some methods is 1e-6.
            size = 1.0 if name in SCORES else before.abs().where(before != 0, 1.0)
            gap = (before - now.astype("float64")).abs() / size
            gap = gap.where(before.notna() | now.notna(), 0.0)
            found[name] = float(gap.fillna(np.inf).max())
        else:
            same = (before == now) | (before.isna() & now.isna())
            found[name] = 0.0 if bool(same.all()) else np.inf
    return found


def main() -> None:
    """Print the largest difference of each column; exit code 1 if one is above the tolerance."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        new = computed(folder)
    found = differences(pd.read_parquet(HERE / "rows.parquet"), new)
    for name, gap in found.items():
        print(f"{name:<24} {gap:.2g}")
    worst = max(found.values())
    print(f"{len(new)} rows, largest difference {worst:.2g}, allowed {TOLERANCE:g}")
    sys.exit(1 if worst > TOLERANCE else 0)


if __name__ == "__main__":
    main()
