"""`xai-sweep wandb-sync`: what went up, what did not, and why."""

import fcntl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness import command
from job_log import TABLE
from wandb_stub import KEY, Stub

from xai_sweep.tracking import Wandb, wandb_run
from xai_sweep.tracking.wandb_record import RECORD, Record

NOBODY = 2**22 + 1  # above the largest process id of Linux


@pytest.fixture(autouse=True)
def nothing_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        submit = staticmethod(lambda record: None)

    monkeypatch.setattr(wandb_run, "background", Nobody)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with Stub() as stub:
        monkeypatch.setenv("WANDB_BASE_URL", stub.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield stub


def sync(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        return command("wandb-sync", *words)


def job(folder: Path, name: str, exit_code: int | None = 0, **changes: object) -> None:
    tracker = Wandb().start(folder / name, name, "sweep")
    tracker.summary(TABLE)
    if exit_code is not None:
        tracker.finish(exit_code)
    record = Record.read(folder / name / RECORD)
    assert record is not None
    replace(record, **changes).write(folder / name)  # type: ignore[arg-type]


def exit_codes(server: Stub) -> dict[str, int | None]:
    return {run.fields["displayName"]: run.exit_code for run in server.runs.values()}


def test_each_run_goes_up_once_and_as_it_ended(
    tmp_path: Path,
    server: Stub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = tmp_path / "results"
    job(results, "good")
    job(results, "bad", 2)
    job(results, "killed", None, pid=NOBODY)
    job(results, "running", None)
    job(results, "away", None, host="node7")
    assert sync(str(results)) == 0
    assert exit_codes(server) == {"good": 0, "bad": 2, "killed": 137}
    printed = capsys.readouterr().out
    states = {line.split()[3]: line.split("│")[3].strip() for line in lines(printed)}
    assert states == {
        **{"good": "uploaded", "bad": "uploaded", "killed": "uploaded", "running": "still running"},
        "away": "running or killed on node7: --unfinished uploads it as failed",
    }
    assert printed.splitlines()[-1] == "3 uploaded, 0 uploaded before, 2 not uploaded"

    sent = len(server.requests)
    assert sync(str(results)) == 0
    assert len(server.requests) == sent
    assert capsys.readouterr().out.splitlines()[-1] == (
        "0 uploaded, 3 uploaded before, 2 not uploaded"
    )
    # The one that still runs ends, and is taken as it ended. What holds for jobs does not here.
    job(results, "running", 0)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert sync(str(results), "--unfinished") == 0
    assert exit_codes(server) == {"good": 0, "bad": 2, "killed": 137, "running": 0, "away": 137}
    # Nothing lies about where the command was given.
    assert {path.name for path in tmp_path.iterdir()} == {"home", "results"}
    assert not list((tmp_path / "home").iterdir())


def lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("│")]


@pytest.mark.parametrize("what", ["error", "down"])
def test_a_server_that_takes_nothing_is_named_and_the_code_says_so(
    what: str,
    tmp_path: Path,
    server: Stub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job(tmp_path, "good")
    server.mode = what
    if what == "down":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert sync(str(tmp_path)) == 1
    printed = capsys.readouterr().out
    assert {"error": "answers 500", "down": "does not answer"}[what] in printed
    assert printed.splitlines()[-1] == "0 uploaded, 0 uploaded before, 1 not uploaded"


def test_without_a_login_or_a_run_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job(tmp_path / "results", "good")
    assert sync(str(tmp_path / "results")) == 2
    assert capsys.readouterr().err == (
        "error: WANDB_API_KEY=: log in first: `wandb login`, or set this variable\n"
    )
    assert sync(str(tmp_path / "home")) == 2
    assert capsys.readouterr().err == (
        f"error: results={tmp_path}/home: must be a folder that holds W&B runs of jobs\n"
    )
    assert sync() == 2
    assert "wandb-sync" in capsys.readouterr().err


def test_a_run_that_another_process_is_at_is_left_to_it(
    tmp_path: Path, server: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path, "good")
    with (tmp_path / "good" / RECORD).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert sync(str(tmp_path)) == 1
    assert "another process uploads it" in capsys.readouterr().out
    assert not server.runs
    assert [path.name for path in (tmp_path / "good").iterdir()] == [RECORD]
