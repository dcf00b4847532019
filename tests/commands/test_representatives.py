"""`xai-sweep representatives`: from stored heatmaps to a table and a picture."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import FAST, call
from oracles.rows import row_table
from PIL import Image

from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.store import Store

ROOT = Path(__file__).parents[2]
# Where each image's heatmap is not 0, on a grid of 2 x 2: image 3 covers most, then 0 or 1.
WHERE = {0: [0], 1: [0], 2: [1], 3: [1, 2, 3]}


def heatmaps(images: Mapping[int, list[int]]) -> Heatmaps:
    maps = np.zeros((len(images), 2, 8, 8), dtype=np.float32)
    for line, cells in enumerate(images.values()):
        for cell in cells:
            top, left = 4 * (cell // 2), 4 * (cell % 2)
            maps[line, 0, top : top + 4, left : left + 4] = 1e-6 * (-1) ** cell
    maps[:, 1] = np.eye(8)
    photos = np.zeros((len(images), 8, 8, 3), dtype=np.uint8)
    return Heatmaps(
        image_id=tuple(f"image_{number}.png" for number in images),
        rmse=np.zeros(len(images), dtype=np.float32),
        reference=maps,
        new=maps,
        photo=photos,
        photo_new=photos,
    )


def store(
    folder: Path,
    kept: Mapping[float, Mapping[int, list[int]]],
    explainer: str = "lime(seed=1)",
) -> None:
    """Cells of four images and two ranks; the heatmaps of some of them by magnitude."""
    for magnitude, images in kept.items():
        cell = Store(folder).cell(f"{explainer}-{magnitude:g}")
        cell.begin()
        rows = row_table(images=4, magnitudes=[magnitude], explainer=explainer)
        cell.write(rows, heatmaps(images) if images else None)
        names = rows.select(
            ["cell", "data", "model", "explainer", "transform", "magnitude", "seed"]
        )
        identity = {"explainer": explainer, "seed": 0, "transform": {"angle": magnitude}}
        cell.finish({**names.slice(0, 1).to_pylist()[0], "identity": identity})


def test_the_table_and_the_picture(tmp_path: Path, say: Callable[..., Any]) -> None:
    # What each magnitude kept counts together, and once: the reference is the same.
    store(tmp_path, {1.0: {0: [0], 3: WHERE[3]}, 5.0: {0: [0], 1: [0], 2: [1]}})
    found = say("representatives", tmp_path, "--grid", "2", "--count=3").cells
    # Importance: 2 in the first cell, 4/3 in the second, 1/3 in the others, before the root.
    root = np.sqrt([2, 4 / 3, 1 / 3, 1 / 3])
    gains = [root[1:].sum() / root.sum(), root[0] / root.sum()]
    assert found == [
        ["image_3.png", "Egyptian cat", "50.0%", f"{gains[0]:.1%}", f"{gains[0]:.1%}"],
        ["image_0.png", "Egyptian cat", "50.0%", f"{gains[1]:.1%}", "100.0%"],
    ]
    (picture,) = tmp_path.glob("_figures/representatives-net-lime_seed_1_-*.png")
    with Image.open(picture) as image:
        assert min(image.size) > 200

    # The same as data, options before and behind.
    (setting,) = say("representatives", "--json", "--grid=2", tmp_path, "--count", "3").json[
        "settings"
    ]
    assert setting["picture"] == str(picture)
    assert (setting["explainer"], setting["seed"]) == ("lime(seed=1)", 0)
    assert (setting["candidates"], setting["images"]) == (4, 4)
    assert [each["image_id"] for each in setting["picked"]] == ["image_3.png", "image_0.png"]
    assert [each["gain"] for each in setting["picked"]] == pytest.approx(gains)
    assert setting["picked"][1]["coverage"] == pytest.approx(1)
    assert setting["picked"][0]["label"] == "Egyptian cat"
    assert setting["picked"][0]["probability"] == 0.5


def test_each_setting_has_a_table_and_filters_choose(
    tmp_path: Path, say: Callable[..., Any]
) -> None:
    def printed(*words: str) -> list[list[str]]:
        cells: list[list[str]] = say("representatives", tmp_path, *words).cells
        return cells

    store(tmp_path, {1.0: WHERE, 5.0: {0: [0]}})
    store(tmp_path, {1.0: {2: [1]}}, explainer="sobel")
    every = printed("--grid=2")
    assert [line[0] for line in every] == ["image_3.png", "image_0.png", "image_2.png"]
    assert printed("--grid=2", "explainer=lime") == every[:2]
    assert printed("--grid=2", "explainer=lime(seed=1)") == every[:2]
    assert [line[0] for line in printed("magnitude=5")] == ["image_0.png"]
    # All heatmaps of the second rank are alike, so one image shows it all.
    second = printed("seed=0", "explainer=lime", "--rank=2")
    assert [[line[0], line[1], line[-1]] for line in second] == [
        ["image_0.png", "tiger cat", "100.0%"]
    ]
    found = say("representatives", "explainer=sobel", tmp_path)
    assert found.code == 2  # RESULTS comes first
    found = say("representatives", tmp_path, "explainer=sobel")
    assert "picked from the 1 of 4 images with heatmaps" in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["colour=red"],
            r"colour=red: unknown key; allowed: data, model, explainer, tra.*",
        ),
        (["explainer=lrp"], r"explainer=lrp: must be one of lime\(seed=1\)"),
        (["--cuont=3"], r"--cuont=3: unknown key; did you mean --count\? allowed: --count, --ra.*"),
        (["--count", "0"], r"--count=0: must be a whole number of at least 1"),
        (["--count"], r"--count=: must be a whole number of at least 1"),
        (["--rank=3"], r"--rank=3: must be at most 2"),
        (["--grid=9"], r"grid=9: must be from 1 to 8, the heatmaps' smaller side"),
    ],
)
def test_bad_input_is_named(
    words: list[str], message: str, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    store(tmp_path, {1.0: WHERE})
    assert re.fullmatch(message, complaint("representatives", tmp_path, *words))
    assert re.fullmatch(message, complaint("representatives", tmp_path, "--json", *words))


def test_without_heatmaps_one_line_says_which_option_keeps_them(
    tmp_path: Path, complaint: Callable[..., str]
) -> None:
    store(tmp_path, {1.0: {}})
    line = complaint("representatives", tmp_path)
    assert line.startswith(f"path={tmp_path}: a folder with heatmaps; none were kept")
    assert line.endswith("keep_heatmaps=all force=true")


def test_a_job_s_own_results_without_torch(tmp_path: Path) -> None:
    words = [word for word in FAST if "keep" not in word]
    words += ["keep_heatmaps=all", "pictures=false", "magnitude=single", "data.limit=3"]
    assert call(tmp_path, *words) == 0
    program = (
        "import sys; from xai_sweep.commands.main import main\n"
        "main()\n"
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)\n"
    )
    arguments = ["representatives", str(tmp_path), "explainer=grad_cam", "--count", "2"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "chelsea" in done.stdout
    assert len(list(tmp_path.glob("_figures/representatives-*.png"))) == 1
