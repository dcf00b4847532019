"""Runs the command line inside the test's process, as `python run.py` would."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import network
from pandas.testing import assert_frame_equal
from PIL import Image

from xai_sweep.commands import main as program
from xai_sweep.commands.run import run
from xai_sweep.results import load
from xai_sweep.store.schema import PRIMARY_KEY, comparable

# Six photos, a fast explainer, nothing drawn: what most tests need.
FAST = ("explainer=grad_cam", "logger=none", "keep_heatmaps=none")


def call(results: Path, *words: str) -> int:
    """`python run.py results=RESULTS WORDS...`; returns the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *words, f"results={results}"])
        try:
            run()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0


def command(*words: object) -> int:
    """`xai-sweep WORDS...`; returns the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["xai-sweep", *map(str, words)])
        try:
            program.main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0


def rows(results: Path, *words: str) -> pd.DataFrame:
    """Run, and read back what there is then, sorted."""
    assert call(results, *words) == 0
    return read(results)


def read(results: Path) -> pd.DataFrame:
    """All rows of a results folder, sorted."""
    # Readable first; the primary key makes it unique.
    order: Sequence[str] = ("transform", "magnitude", "explainer", *PRIMARY_KEY)
    return load(results).sort_values(list(order), ignore_index=True)


def assert_same_science(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal in every column that is no bookkeeping; numbers to 1e-5."""
    columns = comparable(left.columns)
    assert "rmse" in columns
    assert "cell" in columns
    assert_frame_equal(left[columns], right[columns], rtol=1e-5, atol=1e-5)


def tiny(folder: Path) -> tuple[str, ...]:
    """A network and images that cost next to nothing, in a folder: what to say to use them."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network("plain").state_dict(), folder / "plain.pt")
    photos = folder / "photos"
    photos.mkdir(exist_ok=True)
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC).save(
            photos / f"{index}.png"
        )
    return (
        *("model=checkpoint", "model.architecture=networks:Plain", "model.size=32"),
        *(f"model.path={folder / 'plain.pt'}", "data=folder", f"data.root={photos}"),
        *("ranks=2", "logger=none", "keep_heatmaps=none", "pictures=false"),
    )
