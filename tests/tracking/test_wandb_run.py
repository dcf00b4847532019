"""What a job hands over for W&B, and that handing it over costs the job nothing."""

import logging
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from job_log import AXES, CONFIG, TABLE
from wandb_stub import KEY

from xai_sweep.core.errors import InputError
from xai_sweep.tracking import NullTracker, Wandb, WandbTracker, wandb_run
from xai_sweep.tracking.wandb_record import RECORD, Record


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The records that the process beside this one would take."""
    records: list[Path] = []

    class Recorder:
        submit = staticmethod(records.append)

    monkeypatch.setattr(wandb_run, "background", Recorder)
    return records


def log_in(how: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "key":
        monkeypatch.setenv("WANDB_API_KEY", KEY)
    elif how != "no":
        (home / ".netrc").write_text(f"machine {how} login user password {KEY}\n")
        (home / ".netrc").chmod(0o600)


def record_of(folder: Path) -> Record:
    record = Record.read(folder / RECORD)
    assert record is not None
    return record


def test_a_record_holds_all_that_the_job_gave(
    tmp_path: Path, picture: Path, told: list[Path]
) -> None:
    tracker = Wandb(project="p", name="n", tags=["t"]).start(tmp_path, "name", "g", AXES)
    assert record_of(tmp_path).exit_code is None
    tracker.config(CONFIG)
    tracker.summary(TABLE)
    tracker.figure("curves", picture)
    tracker.rows([tmp_path])
    assert told == []
    tracker.finish(3)
    record = record_of(tmp_path)
    assert told == [tmp_path / RECORD]
    assert tracker.location == str(tmp_path)
    assert (record.project, record.name, record.group) == ("p", "n", "g")
    assert record.tags == ["t", "model:net", "explainer:lrp(rules=epsilon)"]
    assert record.config == {**CONFIG, "results": "here", "axes": AXES, "question": "0123abcd"}
    assert record.lines == [
        ["0123abcd", "net", "rotation(fill=edge)", 0, 0.5, 2, 0.1, 0.5],
        ["0123abcd", "net", "rotation(fill=edge)", 0, 5.0, 2, None, 1],
        ["0123abcd", "net", "rotation(fill=edge)", 0, 10.0, 2, 0.5, None],
    ]
    assert record.metrics == ["images", "rmse", "flipped"]
    assert record.figures == {"curves": str(picture)}
    assert record.rows is None
    assert (record.exit_code, record.host, record.pid) == (3, socket.gethostname(), os.getpid())


def test_a_table_of_two_questions_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Wandb().start(tmp_path)
    with caplog.at_level(logging.WARNING):
        tracker.summary(TABLE.assign(question=["one", "one", "two"]))
    assert caplog.messages[0].startswith("W&B could not keep the summary: ValueError: ")
    tracker.finish()
    assert record_of(tmp_path).lines == []


def test_a_tag_is_cut_where_wandb_would_refuse_it(tmp_path: Path) -> None:
    Wandb().start(tmp_path, axes={"explainer": "x" * 100})
    assert record_of(tmp_path).tags == [("explainer:" + "x" * 100)[:64]]


def test_pictures_can_stay_at_home(tmp_path: Path, picture: Path) -> None:
    Wandb(images=False).start(tmp_path).figure("a", picture)
    assert "picture" not in (tmp_path / RECORD).read_text()


@pytest.mark.parametrize("links", [True, False])
def test_rows_that_are_asked_for_outlive_compacting(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    cell = tmp_path / "cells/a"
    cell.mkdir(parents=True)
    for name in ("rows-00000.parquet", "_manifest.json"):
        (cell / name).write_text(name)
    tracker = Wandb(artifact=True).start(tmp_path / "log")
    tracker.rows([cell])
    tracker.finish()
    (cell / "rows-00000.parquet").unlink()
    kept = record_of(tmp_path / "log").rows
    assert kept is not None
    (file,) = [path for path in Path(kept).rglob("*") if path.is_file()]
    assert file.relative_to(kept) == Path("a/rows-00000.parquet.kept")  # no second parquet file
    assert file.read_text() == "rows-00000.parquet"


@pytest.mark.parametrize(
    ("login", "host", "known"),
    [
        ("no", "", False),
        ("key", "", True),
        ("api.wandb.ai", "", True),
        ("elsewhere.example", "", False),
        ("elsewhere.example", "https://elsewhere.example", True),
        ("api.wandb.ai", "https://elsewhere.example", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
    ],
)
def test_only_the_runs_of_who_is_logged_in_go_up(
    login: str,
    host: str,
    known: bool,
    tmp_path: Path,
    stranger: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_in(login, stranger, monkeypatch)
    if host:  # as `wandb login --host` writes it down
        (stranger / ".config/wandb").mkdir(parents=True)
        (stranger / ".config/wandb/settings").write_text(f"[default]\nbase_url = {host}\n")
    Wandb().start(tmp_path / "auto")
    Wandb(mode="offline").start(tmp_path / "offline")
    monkeypatch.setenv("WANDB_MODE", "offline")  # has the last word
    Wandb().start(tmp_path / "environment")
    found = {name: record_of(tmp_path / name).upload for name in ("auto", "offline", "environment")}
    assert found == {"auto": known, "offline": False, "environment": False}


def test_online_without_a_login_says_so_instead_of_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"logger\.mode=online: log in first"):
        Wandb(mode="online").start(tmp_path)
    with pytest.raises(InputError, match=r"logger\.mode=on: one of auto, online, offline"):
        Wandb(mode="on")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    Wandb(mode="online").start(tmp_path)
    assert record_of(tmp_path).upload


def test_disabled_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(Wandb().start(tmp_path / "log"), NullTracker)
    assert not (tmp_path / "log").exists()


def test_a_job_queued_again_is_the_same_run(tmp_path: Path) -> None:
    Wandb().start(tmp_path).finish(1)
    first = record_of(tmp_path)
    stale = tmp_path / "wandb/complete.json"
    stale.parent.mkdir()
    stale.touch()
    Wandb().start(tmp_path)
    second = record_of(tmp_path)
    assert first.id == second.id
    assert (first.exit_code, second.exit_code) == (1, None)
    assert not stale.exists()


def test_a_folder_that_cannot_be_used_is_a_warning_and_the_run_is_kept_elsewhere(
    tmp_path: Path,
    told: list[Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "log").write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        tracker = Wandb().start(tmp_path / "log")
        tracker.config(CONFIG)
        tracker.summary(TABLE)
        tracker.finish()
    assert caplog.messages[0].startswith("W&B could not keep the run: FileExistsError: ")
    assert caplog.messages[-1].startswith(f"W&B run kept in {tracker.location}: ")
    assert told == [Path(tracker.location) / RECORD]
    assert record_of(Path(tracker.location)).exit_code == 0
    assert len(record_of(Path(tracker.location)).lines) == 3


def test_an_error_of_ours_is_a_warning_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Wandb().start(tmp_path)
    assert isinstance(tracker, WandbTracker)

    def refuse(*_: object) -> None:
        raise RuntimeError("no process")

    monkeypatch.setattr(wandb_run, "background", refuse)
    with caplog.at_level(logging.WARNING):
        tracker.summary(TABLE.drop(columns="magnitude"))
        tracker.finish()
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "W&B could not keep the summary",
        "W&B could not keep the run",
    ]


def test_the_process_that_computes_never_loads_wandb(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from xai_sweep.tracking import Wandb, wandb_run\n"
        "tracker = Wandb().start(Path('log')); tracker.finish(); wandb_run.background.finish(60)\n"
        "assert 'wandb' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Nobody was asked, and nothing lies elsewhere.
    assert {path.name for path in tmp_path.iterdir()} == {"home", "log"}
    assert list((tmp_path / "home").iterdir()) == []
    assert len(list(tmp_path.glob("log/wandb/offline-run-*/run-*.wandb"))) == 1
