"""When a process beside the sweep is started, and how long the sweep waits for it."""

import subprocess
from pathlib import Path

import pytest

from xai_sweep.tracking import wandb_background
from xai_sweep.tracking.wandb_background import EVERY_SECONDS, Background
from xai_sweep.tracking.wandb_record import Record


class Process:
    """Ends when it is told to, and then has written the runs or not."""

    started: list["Process"]
    now: float
    ends: bool
    writes: bool

    def __init__(self, command: list[str], **options: object) -> None:
        lines = options["stdin"].read().decode().splitlines()  # type: ignore[attr-defined]
        self.records = [Path(line) for line in lines]
        self.over = False
        Process.started.append(self)

    def poll(self) -> int | None:
        return 0 if self.over else None

    def wait(self, timeout: float) -> int:
        if not (self.over or Process.ends):
            Process.now += timeout
            raise subprocess.TimeoutExpired("", timeout)
        self.over = True
        if Process.writes:
            for record in self.records:
                run = record.parent / "wandb/offline-run-1/run-1.wandb"
                run.parent.mkdir(parents=True, exist_ok=True)
                for path in (run, run.with_name("run-1.wandb.synced")):
                    path.touch()
                (record.parent / "wandb/complete.json").touch()
        return 0


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    Process.started, Process.now, Process.ends, Process.writes = [], 1000.0, True, True
    monkeypatch.setattr(wandb_background.subprocess, "Popen", Process)
    monkeypatch.setattr(wandb_background.time, "monotonic", lambda: Process.now)
    monkeypatch.setattr(wandb_background.atexit, "register", lambda call: None)


@pytest.fixture
def records(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name / "log" for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir(parents=True)
    record = Record("1", "p", "n", "g", [], upload=True, started=0.0, exit_code=0)
    return [record.write(folder) for folder in folders]


def test_one_process_at_a_time_takes_all_that_wait(records: list[Path]) -> None:
    background = Background()
    background.submit(records[0])
    background.submit(records[1])
    Process.now += EVERY_SECONDS + 1
    background.submit(records[2])
    assert [each.records for each in Process.started] == [records[:1]]  # it still runs
    assert background.finish()
    assert [each.records for each in Process.started] == [records[:1], records[1:]]


def test_a_new_process_once_a_minute_and_not_for_each_job(records: list[Path]) -> None:
    background = Background()
    background.submit(records[0])
    Process.started[0].wait(1.0)
    background.submit(records[1])
    assert len(Process.started) == 1
    Process.now += EVERY_SECONDS + 1
    background.submit(records[2])
    assert Process.started[1].records == records[1:]


def test_the_end_waits_for_a_few_seconds_and_says_what_is_left(
    records: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Process.ends = False
    background = Background()
    for record in records:
        background.submit(record)
    begin = Process.now
    assert not background.finish()
    assert Process.now - begin == wandb_background.AT_EXIT_SECONDS
    assert len(Process.started) == 1
    root = records[0].parents[2]
    assert capsys.readouterr().err == (
        "W&B runs not uploaded yet: 3; if they are not in a while, "
        f"`xai-sweep wandb-sync {root}` uploads them\n"
    )


def test_a_server_that_takes_nothing_is_asked_once_more_at_the_end(
    records: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Process.writes = False
    background = Background()
    background.submit(records[0])
    assert not background.finish()
    assert len(Process.started) == 2
    assert f"wandb-sync {records[0].parent}`" in capsys.readouterr().err


def test_runs_that_stay_at_home_are_not_missed(
    records: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Record("1", "p", "n", "g", [], upload=False, started=0.0, exit_code=0).write(records[0].parent)
    Process.ends = False
    background = Background()
    background.submit(records[0])
    assert not background.finish()
    assert capsys.readouterr().err == ""
