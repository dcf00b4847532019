"""What goes wrong with one image stays with that image, and an interrupted run loses nothing."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from harness import FAST, assert_same_science, call, read, rows
from skimage import data
from torch import Tensor

from xai_sweep.core.seeds import derive
from xai_sweep.explainers import Explained, GradCam
from xai_sweep.models import Classifier
from xai_sweep.results import load, manifests

WORDS = (*FAST, "data.limit=4", "transform.angle=[1,10]", "batch_size=4")
# The third of the samples; an explainer knows an image by its seed.
VICTIM = "daisy"
SEED = derive(0, VICTIM, "explainer")
METRICS = ["rmse", "nrmse", "cosine", "pearson", "spearman", "ssim", "topk_iou"]

Before = Callable[[Tensor, Tensor], None]
Explain = Callable[..., Explained]


def plant(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Explain], Explain]) -> None:
    """Another Grad-CAM in place of Grad-CAM."""
    monkeypatch.setattr(GradCam, "explain", wrap(GradCam.explain))


def first(act: Before) -> Callable[[Explain], Explain]:
    """An explainer that first does something with images and seeds."""

    def wrap(explain: Explain) -> Explain:
        def explain_later(
            self: GradCam,
            classifier: Classifier,
            images: Tensor,
            targets: Tensor,
            seeds: Tensor,
            *rest: Tensor,
        ) -> Explained:
            act(images, seeds)
            return explain(self, classifier, images, targets, seeds, *rest)

        return explain_later

    return wrap


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return rows(tmp_path_factory.mktemp("undisturbed"), *WORDS)


def spoil(folder: Path, names: Sequence[str]) -> None:
    """A photograph that ends in the middle, and a text that calls itself a picture."""
    photo = (Path(data.__file__).parent / "rocket.jpg").read_bytes()
    for name in names:
        is_photo = name.endswith(".jpg")
        (folder / name).write_bytes(photo[: len(photo) // 2] if is_photo else b"not a picture")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def test_unreadable_images_are_rows_with_an_error(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("chelsea.png", "coffee.png"):
        shutil.copy(Path(data.__file__).parent / name, photos)
    words = (*FAST, "data=folder", f"data.root={photos}", "transform.angle=[1,10]")
    good = rows(tmp_path / "good", *words)
    spoil(photos, ["broken.jpg", "text.png"])
    capsys.readouterr()
    found = rows(tmp_path / "results", *words)

    failed = found[found["error"].notna()]
    assert sorted(failed["image_id"].unique()) == ["broken.jpg", "text.png"]
    assert len(failed) == 2 * 2 * 4
    assert failed[[*METRICS, "class_ref", "flipped", "valid_fraction"]].isna().all(axis=None)
    assert not failed["error"].str.contains("\n").any()
    same = [name for name in good.columns if name not in ("cell", "question", "data")]
    readable = found[found["error"].isna()].reset_index(drop=True)
    assert_same_science(readable[same].assign(cell=""), good[same].assign(cell=""))

    lines = [line for line in capsys.readouterr().out.splitlines() if "angle 1" in line]
    shown = [[cell.strip() for cell in line.split("│")[2:4]] for line in lines]
    assert shown == [["2", "2"], ["2", "2"]]
    assert [each["counts"] for each in manifests(tmp_path / "results")] == [
        {"images": 4, "failed": 2}
    ] * 2


def test_if_every_image_fails_so_does_the_job(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(photos, ["broken.jpg", "text.png"])
    words = (*FAST, "data=folder", f"data.root={photos}", "transform.angle=5")
    for _ in range(2):
        assert call(tmp_path / "results", *words) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert len(errors) == 1
        assert "every image failed" in errors[0]
    assert len(load(tmp_path / "results")) == 2 * 4


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_explainer_that_fails_for_one_image(
    batch_size: int, undisturbed: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: Tensor, seeds: Tensor) -> None:
        if SEED in seeds:
            raise RuntimeError("does not like\nflowers")

    plant(monkeypatch, first(fail))
    found = rows(tmp_path, *WORDS, f"batch_size={batch_size}")
    is_victim = found["image_id"] == VICTIM
    assert set(found[is_victim]["error"]) == {"RuntimeError: does not like flowers"}
    assert_same_science(found[~is_victim], undisturbed[undisturbed["image_id"] != VICTIM])


def test_an_explainer_that_gives_no_numbers_for_one_image(
    undisturbed: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrap(explain: Explain) -> Explain:
        def with_nan(
            self: GradCam,
            classifier: Classifier,
            images: Tensor,
            targets: Tensor,
            seeds: Tensor,
            *rest: Tensor,
        ) -> Explained:
            explained = explain(self, classifier, images, targets, seeds, *rest)
            explained.heatmaps[seeds == SEED, :, 100, 100] = torch.nan
            return explained

        return with_nan

    plant(monkeypatch, wrap)
    found = rows(tmp_path, *WORDS)
    is_victim = found["image_id"] == VICTIM
    assert (found["finite"] == ~is_victim).all()
    assert found[is_victim][METRICS].isna().all(axis=None)
    assert found[is_victim]["prob_ref"].notna().all()
    assert found["error"].isna().all()
    assert_same_science(found[~is_victim], undisturbed[undisturbed["image_id"] != VICTIM])


def test_a_batch_that_does_not_fit_is_halved(
    undisturbed: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def allocate(images: Tensor, seeds: Tensor) -> None:
        sizes.append(len(images))
        if len(images) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    plant(monkeypatch, first(allocate))
    assert_same_science(rows(tmp_path, *WORDS), undisturbed)
    assert sizes == [4, 2, 2, 4, 2, 2, 2, 2]
    (log,) = tmp_path.glob("_jobs/*/xai_sweep.log")
    assert log.read_text().count("out of memory with 4 images at once; going on with 2") == 2


def ctrl_c(images: Tensor, seeds: Tensor) -> None:
    if SEED in seeds:
        raise KeyboardInterrupt


def terminate(images: Tensor, seeds: Tensor) -> None:
    if SEED in seeds:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("stop", "kept"), [(ctrl_c, 2), (terminate, 4)])
def test_an_interrupted_run_keeps_what_it_has_and_goes_on_from_there(
    stop: Before,
    kept: int,
    undisturbed: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    words = (*WORDS, "data.limit=6", "batch_size=2")
    with monkeypatch.context() as patch:
        plant(patch, first(stop))
        assert call(tmp_path, *words) == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted: ")
    assert list(tmp_path.glob("cells/*/_manifest.json")) == []
    assert load(tmp_path, unfinished=True)["image_id"].nunique() == kept

    seen: list[int] = []
    plant(monkeypatch, first(lambda images, seeds: seen.extend(seeds.tolist())))
    assert call(tmp_path, *words) == 0
    assert len(set(seen)) == 6 - kept
    found = read(tmp_path)
    assert len(found) == 6 * 2 * 4
    early = found["image_id"].isin(undisturbed["image_id"])
    same = [name for name in found.columns if name not in ("cell", "question", "data")]
    assert_same_science(
        found[early][same].reset_index(drop=True).assign(cell=""),
        undisturbed[same].assign(cell=""),
    )
