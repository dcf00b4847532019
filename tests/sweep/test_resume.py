"""Nothing is computed twice, and a run that died goes on from where it was."""

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from harness import FAST, assert_same_science, call, read, rows

from xai_sweep.config.cells import Cell
from xai_sweep.models import Classifier
from xai_sweep.results import heatmaps
from xai_sweep.sweep.observing import Observer, observed_by

QUICK = (*FAST, "data.limit=2", "transform.angle=[1,10]")
SLOWLY = (
    *("explainer=grad_cam", "logger=none", "strips=0", "transform.angle=[1,10]"),
    *("shard_images=1", "batch_size=2", "keep_heatmaps=worst", "keep_worst=3"),
)


def written(results: Path) -> dict[Path, int]:
    """When each file was written, without the lease in its name; not what Hydra keeps of calls."""
    files = [path for path in results.rglob("*") if path.is_file() and "_jobs" not in path.parts]
    lease = re.compile(r"-[0-9a-f]{8}(?=\.(parquet|npz)$)")
    return {path.with_name(lease.sub("", path.name)): path.stat().st_mtime_ns for path in files}


class Prepared(Observer):
    """Counts how often a network is made ready."""

    count = 0

    def prepared(self, classifier: Classifier) -> None:
        self.count += 1


def test_a_second_call_computes_nothing(tmp_path: Path, computed: list[Cell]) -> None:
    first = rows(tmp_path, *QUICK)
    before = written(tmp_path)
    computed.clear()
    with observed_by(prepared := Prepared()):
        again = rows(tmp_path, *QUICK, "logger=wandb", "batch_size=3", "keep_heatmaps=all")
    assert computed == []
    assert prepared.count == 0
    assert written(tmp_path) == before
    assert not list(tmp_path.glob("_jobs/*/log"))
    assert_same_science(again, first)


def test_a_second_call_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(tmp_path, *QUICK)
    capsys.readouterr()
    call(tmp_path, *QUICK)
    assert "cells     0 computed, 2 were finished before" in capsys.readouterr().out


def test_force_computes_again(tmp_path: Path, explained: list[int]) -> None:
    first, before = rows(tmp_path, *QUICK), written(tmp_path)
    sizes = list(explained)
    again, after = rows(tmp_path, *QUICK, "force=true"), written(tmp_path)
    assert explained == sizes * 2
    assert before.keys() == after.keys()
    changed = {path.suffix for path in before if after[path] > before[path]}
    assert changed == {".parquet", ".json", ".png"}
    assert_same_science(again, first)


def test_only_missing_images_are_computed(tmp_path: Path, explained: list[int]) -> None:
    words = (*FAST, "transform.angle=[1,10]", "shard_images=1", "batch_size=2")
    first = rows(tmp_path, *words)
    assert sum(explained) == 6 + 6 * 2
    explained.clear()
    (cell, *_) = sorted((tmp_path / "cells").iterdir())
    (cell / "_manifest.json").unlink()
    next(cell.glob("rows-00003-*.parquet")).unlink()
    kept = written(tmp_path / "cells")
    assert_same_science(rows(tmp_path, *words), first)
    assert explained == [1, 1]  # once clean, once for the one cell
    after = written(tmp_path / "cells")
    assert {path: after[path] for path in kept} == kept


def test_a_new_magnitude_is_the_only_one_that_is_computed(
    tmp_path: Path, computed: list[Cell]
) -> None:
    words = (*FAST, "data.limit=1")
    assert call(tmp_path, "-m", *words, "transform.angle=1,10") == 0
    assert [cell.magnitude for cell in computed] == [1, 10]
    assert call(tmp_path, "-m", *words, "transform.angle=1,5,10") == 0
    assert [cell.magnitude for cell in computed] == [1, 10, 5]
    assert call(tmp_path, *words, "transform.angle=[1,5,7,10]") == 0
    assert [cell.magnitude for cell in computed] == [1, 10, 5, 7]
    assert sorted(read(tmp_path)["magnitude"].unique()) == [1, 5, 7, 10]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    assert call(results, *SLOWLY) == 0
    return results


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["xai_sweep.sweep.compute", "xai_sweep.report.figures", "harness"]
    )
    return context


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the first cell's folder": lambda results: any(results.glob("cells/*")),
    "the first shard": lambda results: any(results.glob("cells/*/rows-*.parquet")),
    "the third shard": lambda results: any(results.glob("cells/*/rows-00002-*.parquet")),
    "merging heatmaps": lambda results: any(results.glob("cells/*/_*heatmaps-worst*")),
    "the first manifest": lambda results: any(results.glob("cells/*/_manifest.json")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_called_again_it_gives_the_same(
    moment: str, undisturbed: Path, processes: ForkServerContext, tmp_path: Path
) -> None:
    process = processes.Process(target=call, args=(tmp_path, *SLOWLY))
    process.start()
    deadline = time.monotonic() + 120
    while not MOMENTS[moment](tmp_path):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob("cells/*/_manifest.json"))) < 2

    found = rows(tmp_path, *SLOWLY)
    assert not found.duplicated(["cell", "image_id", "rank"]).any()
    assert_same_science(found, read(undisturbed))
    assert not list(tmp_path.rglob("*.tmp"))
    for cell in (undisturbed / "cells").iterdir():
        expected, kept = heatmaps(cell), heatmaps(tmp_path / "cells" / cell.name)
        assert expected is not None
        assert kept is not None
        assert kept.image_id == expected.image_id
        assert abs(kept.new - expected.new).max() < 1e-5 * abs(expected.new).max()
        assert (kept.photo_new == expected.photo_new).all()
