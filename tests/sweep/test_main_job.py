"""The default job, as a person runs it on a fresh machine: one command, and all that it leaves."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles.wandb_file import records, values
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from xai_sweep import results
from xai_sweep.store.schema import FIXED, SPINE

ROOT = Path(__file__).parents[2]
IMAGES = ["chelsea", "coffee", "daisy", "motorcycle", "palace", "rocket"]
ANGLES = [0.5, 1.0, 5.0, 10.0]
METRICS = ["rmse", "nrmse", "cosine", "pearson", "spearman", "ssim", "topk_iou"]
METRICS += ["rmse_there_and_back", "rmse_second_draw"]
FACTS = ["relevance_ratio", "bias_share", "stabilizer_share"]
MEANS = ["images", "failed", "flipped", "rmse", "nrmse", "spearman"]


class Done(NamedTuple):
    process: subprocess.CompletedProcess[str]
    results: Path
    home: Path
    cwd: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    base = tmp_path_factory.mktemp("main")
    folders = [base / name for name in ("results", "home", "cwd")]
    for folder in folders[1:]:
        folder.mkdir()
    stranger = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    environment = stranger | {
        "HOME": str(folders[1]),
        "XDG_CACHE_HOME": str(folders[1] / "cache"),
        "MPLCONFIGDIR": mpl.get_cachedir(),  # its list of fonts takes seconds to make
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), f"results={folders[0]}"],
        cwd=folders[2],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return Done(process, *folders)


@pytest.fixture(scope="module")
def rows(done: Done) -> pd.DataFrame:
    return results.load(done.results)


@pytest.fixture(scope="module")
def log(done: Done) -> list[Record]:
    """The records of the W&B run; the process that writes it may need a moment more."""
    deadline = time.monotonic() + 60
    while not list(done.results.rglob("wandb/complete.json")):
        assert time.monotonic() < deadline, "no W&B run"
        time.sleep(0.05)
    (path,) = done.results.rglob("*.wandb")
    return records(path)


def test_it_ends_well_and_says_nothing_to_worry_about(done: Done) -> None:
    assert done.process.returncode == 0, done.process.stderr
    assert not {"WARNING", "Warning", "ERROR", "Traceback"} & set(
        done.process.stderr.replace(":", " ").split()
    )
    assert "lightning" not in done.process.stderr.lower()


def test_a_row_for_every_image_magnitude_and_rank(rows: pd.DataFrame) -> None:
    expected = pd.MultiIndex.from_product([IMAGES, ANGLES, [1, 2, 3, 4]])
    found = pd.MultiIndex.from_frame(rows[["image_id", "magnitude", "rank"]])
    assert found.sort_values().equals(expected)
    assert rows["error"].isna().all()


def test_the_cat_is_a_cat(rows: pd.DataFrame) -> None:
    cat = rows[(rows["image_id"] == "chelsea") & (rows["magnitude"] == 0.5)]
    assert set(cat["label_ref"]) == {"Egyptian cat", "tiger cat", "tabby", "lynx"}
    assert cat.sort_values("rank")["prob_ref"].is_monotonic_decreasing


def test_every_column_has_its_type(done: Done, rows: pd.DataFrame) -> None:
    for shard in done.results.rglob("*.parquet"):
        found = pq.read_schema(shard)
        assert found.names == [*(column.name for column in SPINE), *METRICS, *FACTS]
        assert all(found.field(name).metadata[b"description"] for name in found.names)
    assert set(rows.columns) == FIXED | {*METRICS, *FACTS}
    text, whole = pa.string(), {"seed": "int64", "rank": "int8", "draw": "int32", "draws": "int32"}
    for field in found:
        if pa.types.is_float64(field.type):
            assert rows[field.name].dtype == "float64"
        elif field.type == text:
            assert all(isinstance(value, str) for value in rows[field.name].dropna())
        elif field.name in whole:
            assert rows[field.name].dtype == whole[field.name]
    assert rows["flipped"].dtype == rows["finite"].dtype == "boolean"
    assert rows["class_ref"].dtype == rows["class_new"].dtype == "Int32"


def test_only_what_does_not_apply_is_missing(rows: pd.DataFrame) -> None:
    empty = {"label_true", "error"}
    assert set(rows.columns[rows.isna().any()]) == empty
    assert rows[sorted(empty)].isna().all(axis=None)


def test_values_are_within_their_ranges(rows: pd.DataFrame) -> None:
    for name in ("prob_ref", "prob_new", "prob_ref_new", "topk_iou"):
        assert rows[name].between(0, 1).all(), name
    for name in ("cosine", "pearson", "spearman", "ssim"):
        assert rows[name].between(-1, 1).all(), name
    for name in ("rmse", "nrmse", "rmse_there_and_back"):
        assert (rows[name] > 0).all(), name
    assert rows["valid_fraction"].between(0.6, 1).all()
    assert (rows["rmse_second_draw"] == 0).all()
    assert rows["finite"].all()
    assert rows["class_ref"].between(0, 999).all()


def test_columns_agree_with_each_other(rows: pd.DataFrame) -> None:
    first = rows[rows["rank"] == 1]
    assert (first["flipped"] == (first["class_new"] != first["class_ref"])).all()
    assert rows.groupby(["image_id", "magnitude"])["flipped"].nunique().eq(1).all()
    same = rows[rows["class_new"] == rows["class_ref"]]
    assert (same["prob_new"] == same["prob_ref_new"]).all()
    assert (rows.groupby(["image_id", "magnitude"])[["prob_ref", "prob_new"]].sum() <= 1).all(
        axis=None
    )
    clean = rows.groupby(["image_id", "rank"])
    assert clean[["class_ref", "label_ref", "prob_ref"]].nunique().eq(1).all(axis=None)
    turned = rows.groupby("magnitude")["valid_fraction"]
    assert turned.nunique().eq(1).all()
    assert turned.first().is_monotonic_decreasing
    assert rows["cell"].nunique() == 4
    assert rows["image_path"].map(lambda path: Path(path).is_file()).all()


def test_manifests_say_how_the_rows_came_about(done: Done, rows: pd.DataFrame) -> None:
    manifests = {each["magnitude"]: each for each in results.manifests(done.results)}
    assert sorted(manifests) == ANGLES
    for angle, found in manifests.items():
        assert found["cell"] == rows[rows["magnitude"] == angle]["cell"].unique()
        assert found["identity"]["transform"]["angle"] == angle
        assert found["identity"]["model"]["_target_"].endswith("EfficientNetLite0")
        assert found["config"]["transform"]["angle"] == [0.5, 1, 5, 10]
        assert found["config"]["results"] == str(done.results)
        assert found["weights_hash"]["weights"].startswith("sha256:")
        assert len(found["data_hash"]) == 64
        assert rows["data"].eq(f"samples-{found['data_hash'][:8]}").all()
        assert {"xai_sweep", "python", "torch", "torchvision", "numpy"} <= set(found["versions"])
        assert (found["seed"], found["device"]) == (0, "cpu") or found["device"] != "cpu"
        assert found["counts"] == {"images": 6, "failed": 0}
        assert (found["rows"], found["schema"]) == (24, 2)
        assert 0 < found["seconds"] < 600
        assert pd.Timestamp(found["finished"]).tzinfo is not None


def pictures(done: Done) -> dict[str, Path]:
    (folder,) = (done.results / "_figures").iterdir()
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["curves", *(f"strip-{image}" for image in IMAGES)])
def test_pictures_are_large_enough_and_not_blank(name: str, done: Done) -> None:
    assert len(pictures(done)) == 7
    with Image.open(pictures(done)[name]) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) >= 300
        assert max(picture.size) <= 4000
        pixels = np.asarray(picture.convert("RGB"), dtype=float)
    assert pixels.std() > 20
    if name != "curves":  # a line of five pictures for the clean image, then one per magnitude
        rows = np.array_split(pixels, 5)
        assert all(row.std() > 20 for row in rows)


def test_the_log_holds_the_resolved_configuration(log: list[Record], done: Done) -> None:
    config: dict[str, object] = {}
    for record in log:
        config |= values(record.run.config.update) | values(record.config.update)
    expected = results.manifests(done.results)[0]["config"]
    assert {name: config[name] for name in expected} == expected


def test_the_log_holds_the_summary_of_the_rows(log: list[Record], rows: pd.DataFrame) -> None:
    history = [values(record.history.item) for record in log if record.HasField("history")]
    curve = pd.DataFrame([step for step in history if "magnitude" in step])
    curve = curve.rename(columns=lambda name: name.removeprefix("rotation/"))
    expected = results.summary(rows)
    shown = ["magnitude", *MEANS]
    pd.testing.assert_frame_equal(
        curve[shown].astype(float), expected[shown].astype(float), rtol=1e-12
    )
    summary: dict[str, object] = {}
    for record in log:
        summary |= values(record.summary.update)
    for line in expected.to_dict("records"):
        for name in MEANS:
            assert summary[f"rotation/{name}/{line['magnitude']:g}"] == pytest.approx(
                line[name], rel=1e-12
            )


def test_the_log_holds_the_pictures(log: list[Record], done: Done) -> None:
    (folder,) = done.results.glob("_jobs/*/log/wandb/offline-run-*/files")
    listed = [Path(file.path) for record in log for file in record.files.files]
    stored = [folder / path for path in listed if path.suffix == ".png"]
    assert sorted(path.read_bytes() for path in stored) == sorted(
        path.read_bytes() for path in pictures(done).values()
    )


def test_the_log_says_that_the_job_succeeded(log: list[Record]) -> None:
    assert [record.exit.exit_code for record in log if record.HasField("exit")] == [0]
    (run,) = [record.run for record in log if record.HasField("run")]
    assert run.display_name == "efficientnet_lite0 · lrp · rotation"
    assert [tag.partition(":")[0] for tag in run.tags] == [
        "model",
        "explainer",
        "transform",
        "data",
    ]
    assert list(run.tags)[:3] == ["model:efficientnet_lite0", "explainer:lrp", "transform:rotation"]


def test_a_person_is_shown_the_table_and_where_things_lie(done: Done, rows: pd.DataFrame) -> None:
    output = done.process.stdout
    for word in ("magnitude", "images", "failed", "flipped", "rmse", "nrmse", "spearman"):
        assert word in output
    for line in results.summary(rows).to_dict("records"):
        (shown,) = [each for each in output.splitlines() if f"angle {line['magnitude']:g} " in each]
        numbers = [line["rmse"], line["nrmse"], line["spearman"]]
        cells = ["6", "0", f"{line['flipped']:.0%}", *(f"{number:.4g}" for number in numbers)]
        assert [word.strip() for word in shown.strip("│ ").split("│")][1:] == cells
    said = dict(line.split(maxsplit=1) for line in output.splitlines()[-4:])
    assert said["cells"] == "4 computed"
    assert Path(said["rows"]) == done.results / "cells"
    assert Path(said["pictures"]) == pictures(done)["curves"].parent
    assert list(Path(said["log"]).rglob("*.wandb"))
    assert "6/6" in done.process.stderr


def test_the_folder_is_one_data_set(done: Done, rows: pd.DataFrame) -> None:
    whole = pd.read_parquet(done.results)
    assert len(whole) == len(rows) == 6 * 4 * 4
    assert list(whole.columns) == list(rows.columns)


def test_nothing_is_written_elsewhere(done: Done) -> None:
    assert list(done.cwd.rglob("*")) == []
    assert list(done.home.rglob("*")) == []
    assert {path.name for path in done.results.iterdir()} == {
        *("_figures", "_jobs", "_plans", "_xai_sweep.json", "cells")
    }
    assert not list(done.results.rglob("*.tmp"))


def test_reading_needs_no_torch(done: Done) -> None:
    program = (
        "import json, sys; from xai_sweep.results import load\n"
        "rows = load(sys.argv[1])\n"
        "heavy = {'torch', 'pytorch_lightning', 'matplotlib', 'wandb'} & set(sys.modules)\n"
        "print(json.dumps([len(rows), sorted(heavy)]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(done.results)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(said.stdout) == [96, []]
