"""The template of a plugin, installed as a stranger would: an entry of each kind is used."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xai_sweep.results import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the plugin in it, which sees the packages of this one."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/*/site-packages")
    there = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "packages.pth").write_text("\n".join([*sorted(there), str(ROOT)]))
    copy = folder / "plugin"
    shutil.copytree(
        ROOT / "examples" / "plugin", copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run([python, *install, "--disable-pip-version-check", copy], check=True)
    shutil.rmtree(copy)
    return python


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    lines = ["file,label"]
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,class {number}")
    (folder / "photos.csv").write_text("\n".join(lines))
    return folder / "photos.csv"


def run(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`xai-sweep run WORDS...` in an empty folder."""
    folder.mkdir(exist_ok=True)
    script = "from xai_sweep.commands.main import main; main()"
    return subprocess.run(
        [python, "-c", script, "run", *words, "results=results", "pictures=false"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )


CHOSEN = (
    *("plugins=[my_package]", "model=tiny", "data=listed", "explainer=squared_gradient"),
    *("transform=slant", "metric=[rmse,sign_agreement]", "logger=lines", "ranks=2"),
)


def test_one_of_each_kind(python: Path, photos: Path, tmp_path: Path) -> None:
    done = run(python, tmp_path, *CHOSEN, f"data.table={photos}", "transform.lean=[0,10]")
    assert done.returncode == 0, done.stderr
    rows = load(tmp_path / "results")
    assert set(rows["explainer"]) == {"squared_gradient"}
    assert set(rows["label_true"]) == {"class 0", "class 1", "class 2"}
    same, leaning = (rows[rows["magnitude"] == lean] for lean in (0, 10))
    assert (same["rmse"] == 0).all()
    assert (same["sign_agreement"] == 1).all()
    assert (leaning["rmse"] > 0).all()
    assert leaning["sign_agreement"].between(0, 1).all()
    (log,) = (tmp_path / "results").glob("_jobs/*/log/summary.jsonl")
    lines = pd.DataFrame(map(json.loads, log.read_text().splitlines()))
    assert list(lines["magnitude"]) == [0, 10]


def test_its_experiment_as_a_grid(python: Path, photos: Path, tmp_path: Path) -> None:
    words = ("plugins=[my_package]", "experiment=slanted", f"data.table={photos}")
    done = run(python, tmp_path, "-m", *words, "transform.lean=2,5", "explainer.power=1,0.5")
    assert done.returncode == 0, done.stderr
    rows = load(tmp_path / "results")
    assert set(rows["explainer"]) == {"squared_gradient", "squared_gradient(power=0.5)"}
    assert len(rows) == 2 * 2 * 3 * 2


def test_a_wrong_parameter_is_one_line(python: Path, photos: Path, tmp_path: Path) -> None:
    done = run(python, tmp_path, *CHOSEN, f"data.table={photos}", "explainer.power=0")
    assert done.returncode == 2
    assert done.stderr == "error: explainer.power=0: must be a number above 0\n"
