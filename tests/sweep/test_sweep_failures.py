"""What fails in a sweep is listed, recorded and computed again; the rest is there."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import assert_same_science, call, read, tiny
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from torch import Tensor

from xai_sweep.commands import main as cli
from xai_sweep.core.errors import InputError
from xai_sweep.explainers import GradCam
from xai_sweep.models import Classifier
from xai_sweep.store.failures import Failed, failures
from xai_sweep.store.writer import CellWriter
from xai_sweep.study.case import Case
from xai_sweep.study.subject import Subject
from xai_sweep.transforms import Apply, Counterpart, Rotation

# Two explainers x two curves of two cells.
GRID = (
    *("-m", "explainer=grad_cam,saliency", "transform=rotation"),
    *("transform.angle=1,5", "transform.fill=mean,edge"),
)
EDGE = "rotation(fill=edge)"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return tiny(tmp_path_factory.mktemp("tiny"))


def retry(results: Path, *words: str) -> int:
    """`xai-sweep retry RESULTS WORDS...`; returns the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["xai-sweep", "retry", str(results), *words])
        try:
            cli.main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0


def spoil_edges(patch: pytest.MonkeyPatch, error: BaseException) -> list[int]:
    """Rotation refuses to fill with the edge; grows with every refusal."""
    bind, refusals = Rotation.bind, []

    def refusing(self: Rotation, subject: Subject) -> Apply:
        if self.fill != "edge":
            return bind(self, subject)

        def refuse(cases: Sequence[Case], *_: object) -> Counterpart:
            refusals.append(len(cases))
            raise error

        return refuse

    patch.setattr(Rotation, "bind", refusing)
    return refusals


def curves(results: Path) -> set[tuple[str, str, float]]:
    """The complete cells."""
    manifests = [json.loads(path.read_text()) for path in results.glob("cells/*/_manifest.json")]
    return {(m["explainer"], m["transform"], m["magnitude"]) for m in manifests}


ALL = {
    (explainer, transform, angle)
    for explainer in ("grad_cam", "saliency")
    for transform in ("rotation", EDGE)
    for angle in (1, 5)
}
NO_EDGES = {cell for cell in ALL if cell[1] != EDGE}


def test_one_curve_fails_the_others_are_complete_and_a_retry_computes_it(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    undisturbed, results = tmp_path / "undisturbed", tmp_path / "with space"
    assert call(undisturbed, *GRID, *small) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        spoil_edges(patch, InputError("transform.fill", "edge", "not today"))
        assert call(results, *GRID, *small) == 2
    assert curves(results) == NO_EDGES
    printed = capsys.readouterr().err
    assert printed.count("error: transform.fill=edge: not today") == 2  # once in each job
    assert printed.splitlines()[-1] == (
        f"error: 2 failed, all the rest is complete; why: {results / '_failures'}; "
        f"to compute them again: xai-sweep retry '{results}'"
    )
    assert " what " in printed
    assert " why " in printed

    first, second = failures(results)
    assert (first.error, first.is_input) == ("transform.fill=edge: not today", True)
    assert "in refuse" in first.traceback
    assert first.config is not None
    assert first.config["transform"]["fill"] == "edge"
    assert first.config["transform"]["angle"] == [1, 5]
    assert len(first.cells) == len(first.overrides) == 2
    assert all((results / "cells" / cell).is_dir() for cell in first.cells)
    assert second.what.endswith(f"saliency · {EDGE}")

    before = {path: path.stat().st_mtime_ns for path in results.glob("cells/*/_manifest.json")}
    assert retry(results) == 0
    assert curves(results) == ALL
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert_same_science(read(results), read(undisturbed))
    assert list(results.glob("_failures/*")) == []
    capsys.readouterr()
    assert retry(results) == 0
    assert capsys.readouterr().out == f"nothing failed in {results}\n"


def test_a_retry_that_fails_again_keeps_the_record_and_the_same_command_removes_it(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        spoil_edges(patch, InputError("transform.fill", "edge", "not today"))
        assert call(tmp_path, *GRID, *small) == 2
        early = failures(tmp_path)
        assert retry(tmp_path) == 2
    late = failures(tmp_path)
    assert [each.cells for each in late] == [each.cells for each in early]
    assert [each.overrides for each in late] == [each.overrides for each in early]
    assert all(a.time < b.time for a, b in zip(early, late, strict=True))
    assert call(tmp_path, *GRID, *small) == 0
    assert failures(tmp_path) == []


def test_a_fault_of_the_program_is_a_failure_too(
    small: tuple[str, ...],
    tmp_path: Path,
    explained: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    close = CellWriter.close

    def closing(self: CellWriter, expected: int) -> dict[str, int]:
        if (self.constants["transform"], self.constants["magnitude"]) == (EDGE, 5):
            raise KeyError("a bug")
        return close(self, expected)

    with monkeypatch.context() as patch:
        patch.setattr(CellWriter, "close", closing)
        assert call(tmp_path, *GRID, *small) == 1
    missing = {cell for cell in ALL if cell[1:] == (EDGE, 5)}
    assert curves(tmp_path) == ALL - missing
    printed = capsys.readouterr().err
    assert "error: KeyError: 'a bug'" in printed
    assert "Traceback" not in printed
    assert all("closing" in each.traceback and not each.is_input for each in failures(tmp_path))
    # The rows were there already.
    explained.clear()
    assert retry(tmp_path) == 0
    assert explained == []
    assert curves(tmp_path) == ALL


def test_what_is_wrong_for_all_curves_of_a_group_is_tried_once(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried = []

    def refuse(self: GradCam, classifier: Classifier, images: Tensor) -> dict[str, object]:
        tried.append(self)
        raise RuntimeError("cannot be explained")

    monkeypatch.setattr(GradCam, "prepare", refuse)
    assert call(tmp_path, *GRID, *small) == 1
    assert len(tried) == 1
    assert curves(tmp_path) == {cell for cell in ALL if cell[0] == "saliency"}
    printed = capsys.readouterr().err
    assert printed.count("error: RuntimeError: cannot be explained") == 1
    assert "error: 2 failed" in printed


def test_a_point_that_cannot_be_composed_or_makes_no_sense(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", *small, "explainer=grad_cam,foo,lrp", "transform.angle=1,abc", "ranks=2,0")
    assert call(tmp_path, *words) == 2
    assert len(curves(tmp_path)) == 2
    printed = capsys.readouterr().err
    for line in (
        "error: explainer=foo: must be one of b_lrp,",
        "error: transform.angle=abc: must be a number, or a list of them",
        "error: ranks=0: must be a whole number of at least 1",
        "error: 10 failed, all the rest is complete",
    ):
        assert line in printed
    assert len(failures(tmp_path)) == 10
    assert all(each.config is None and each.cells == () for each in failures(tmp_path))
    assert retry(tmp_path) == 2
    assert len(failures(tmp_path)) == 10


def test_a_point_that_has_become_possible_is_forgotten(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    results, later = tmp_path / "results", tmp_path / "later.pt"
    words = ("-m", *small, "explainer=grad_cam", f"model.path={small[3][11:]},{later}")
    assert call(results, *words, "transform.angle=1") == 2
    assert len(curves(results)) == 1
    assert len(failures(results)) == 1
    # With other weights it is another curve.
    later.write_bytes(Path(small[3][11:]).read_bytes())
    assert retry(results) == 0
    assert failures(results) == []


@pytest.mark.parametrize("order", ["mean,edge", "edge,mean"])
def test_stop_begins_nothing_new_and_the_same_command_goes_on(
    order: str,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fills = f"transform.fill={order}"
    words = (*GRID[:-1], fills, *small, "on_error=stop", "hydra.sweep.dir=${results}/_jobs/x")
    with monkeypatch.context() as patch:
        spoil_edges(patch, InputError("transform.fill", "edge", "not today"))
        assert call(tmp_path, *words) == 2
        complete = {cell for cell in NO_EDGES if cell[0] == "grad_cam"}
        assert curves(tmp_path) == (complete if order == "mean,edge" else set())
        assert len(failures(tmp_path)) == 1
        assert "error: 1 failed, the sweep stopped; why:" in capsys.readouterr().err
    assert call(tmp_path, *words) == 0
    assert curves(tmp_path) == ALL


def test_ctrl_c_is_no_failure_and_ends_the_whole_sweep(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refusals = spoil_edges(patch, KeyboardInterrupt())
        assert call(tmp_path, *GRID, *small) == 130
    assert len(refusals) == 1
    assert failures(tmp_path) == []
    assert call(tmp_path, *GRID, *small) == 0
    assert curves(tmp_path) == ALL


def test_a_single_job_fails_as_it_always_did_and_leaves_a_record_of_a_fault(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (*small, "explainer=grad_cam", "transform.angle=[1,5]", "transform.fill=edge")
    with monkeypatch.context() as patch:
        spoil_edges(patch, InputError("transform.fill", "edge", "not today"))
        assert call(tmp_path, *words) == 2
        printed = capsys.readouterr().err.splitlines()
        assert printed[-1] == "error: transform.fill=edge: not today"
        assert failures(tmp_path) == []
    with monkeypatch.context() as patch:
        patch.setattr(CellWriter, "close", None)
        with pytest.raises(TypeError, match="not callable"):
            call(tmp_path, *words)
    (failed,) = failures(tmp_path)
    assert failed.error == "TypeError: 'NoneType' object is not callable"
    assert len(failed.cells) == 2
    assert retry(tmp_path) == 0
    assert failures(tmp_path) == []
    assert len(curves(tmp_path)) == 2


def test_a_full_disk_is_not_tried_for_each_curve_and_needs_no_record(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flushed = []

    def full(*given: object) -> None:
        flushed.append(given)
        raise OSError(28, "No space left on device", "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(CellWriter, "flush", full)
        patch.setattr("xai_sweep.sweep.failure_log.record", full)
        assert call(tmp_path, *GRID, *small) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: somewhere: No space left on device") == 2
    assert "warning: no record of a failure: somewhere: No space left on device" in printed
    assert len(flushed) < 4 * 2 * 2
    assert curves(tmp_path) == set()
    assert call(tmp_path, *GRID, *small) == 0
    assert curves(tmp_path) == ALL


def test_a_job_that_its_launcher_loses(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    launchers = Plugins.instance().discover(Launcher)
    (basic,) = [each for each in launchers if each.__name__ == "BasicLauncher"]
    launch = basic.launch  # type: ignore[attr-defined]

    def losing(
        self: Launcher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        gone = JobReturn(status=JobStatus.FAILED)
        gone.return_value = RuntimeError("killed by\nsomebody")
        return [gone, *launch(self, job_overrides[1:], initial_job_idx)]

    def dying(self: Launcher, *_: object, **__: object) -> list[JobReturn]:
        raise RuntimeError("a worker died")

    with monkeypatch.context() as patch:
        patch.setattr(basic, "launch", losing)
        assert call(tmp_path, *GRID, *small) == 1
        printed = capsys.readouterr().err
        assert curves(tmp_path) == {cell for cell in ALL if cell[0] == "saliency"}
        assert "RuntimeError: killed by somebody" in " ".join(printed.replace("│", " ").split())
        assert printed.splitlines()[-1] == (
            "error: 1 failed; the same command again computes what is missing"
        )
        patch.setattr(basic, "launch", dying)
        assert call(tmp_path, *GRID, *small) == 1
        assert "a worker died" in capsys.readouterr().err


def test_with_joblib_what_fails_in_a_worker_is_told_at_home(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    words = ("explainer=grad_cam", "explainer.layer=null,nope", "transform.angle=1,abc")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "run.py", "-m", f"results={tmp_path}", *small, *words, *launcher],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "tests"), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert len(curves(tmp_path)) == 1
    assert "error: 3 failed, all the rest is complete" in done.stderr
    assert len(failures(tmp_path)) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "results=nowhere: a results folder; there is no such folder"),
        (["{here}", "seed=3"], "seed=3: a retry takes only how jobs run: hydra/launcher=..., "),
        (["{here}", "cells_per_job=0"], "cells_per_job=0: must be a whole number of at least 1"),
        (["{here}", "on_error=perhaps"], "on_error=perhaps: must be one of continue, stop"),
    ],
)
def test_a_retry_that_makes_no_sense(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = words
    assert retry(Path(first.format(here=tmp_path)), *rest) == 2
    assert said in capsys.readouterr().err


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    from xai_sweep.store.failures import forget, record

    failed = Failed(
        "what",
        "why",
        True,
        (("a=1", "b=2"), ("a=2",)),
        "curve",
        ("curve-1", "curve-2"),
        {"x": [1, None]},
        "Traceback",
        "sweep",
        "host",
        "2026-01-01",
        ("my_package",),
        ("--config-dir", "there"),
    )
    path = record(tmp_path, failed)
    assert record(tmp_path, failed) == path
    assert failures(tmp_path) == [failed]
    forget(tmp_path, "curve", [], lambda cell: cell == "curve-1")
    assert failures(tmp_path) == [failed]
    forget(tmp_path, "cur", [], lambda cell: True)
    assert failures(tmp_path) == [failed]
    path.with_name("damaged.json").write_text("{")
    assert failures(tmp_path) == [failed]
    forget(tmp_path, "curve", [], lambda cell: True)
    assert failures(tmp_path) == []
