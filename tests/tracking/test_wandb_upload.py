"""The offline run that is made of a record, read back from the file; and what the server gets."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from job_log import AXES, CONFIG, TABLE
from oracles.wandb_file import records, values
from wandb.proto.wandb_internal_pb2 import Record as Message
from wandb_stub import KEY, StoredRun, Stub

from xai_sweep.tracking import Wandb, wandb_run
from xai_sweep.tracking.wandb_login import trouble
from xai_sweep.tracking.wandb_record import RECORD, is_uploaded, run_file
from xai_sweep.tracking.wandb_upload import contained, upload, write


@pytest.fixture(autouse=True)
def nothing_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        submit = staticmethod(lambda record: None)

    monkeypatch.setattr(wandb_run, "background", Nobody)


@pytest.fixture
def jobs(tmp_path: Path, picture: Path) -> list[Path]:
    """Records of three jobs of a process: all pictures and rows; failed at once; no pictures."""
    cell = tmp_path / "cells/a"
    cell.mkdir(parents=True)
    (cell / "rows-00000.parquet").write_bytes(b"rows")
    folders = [tmp_path / "jobs" / name / "log" for name in ("0", "1", "2")]
    loggers = [Wandb(artifact=True), Wandb(), Wandb(images=False)]
    for number, (folder, logger) in enumerate(zip(folders, loggers, strict=True)):
        tracker = logger.start(folder, f"job {number}", "sweep", AXES)
        tracker.config(CONFIG)
        if number != 1:
            tracker.summary(TABLE)
            tracker.figure("curves", picture)
            tracker.figure("strips/a.png", picture)
            tracker.rows([cell])
        tracker.finish(number)
    return [folder / RECORD for folder in folders]


def messages(record: Path) -> list[Message]:
    file = run_file(record)
    assert file is not None
    return records(file)


def together(found: list[Message], kind: str) -> dict[str, object]:
    collected: dict[str, object] = {}
    for message in found:
        collected |= values(getattr(message, kind).update)
    return collected


def test_offline_runs_of_several_jobs_of_a_process(
    jobs: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with contained():
        write(jobs)
    assert capfd.readouterr() == ("", "")
    for number, job in enumerate(jobs):
        found = messages(job)
        (run,) = [message.run for message in found if message.HasField("run")]
        assert (run.display_name, run.run_group) == (f"job {number}", "sweep")
        assert list(run.tags) == ["model:net", "explainer:lrp(rules=epsilon)"]
        assert run.host == ""
        assert [m.exit.exit_code for m in found if m.HasField("exit")] == [number]
        config = together(found, "config") | values(run.config.update)
        assert config["axes"] == AXES
        assert config["explainer"] == {"_target_": "x.Y"}
        assert (config["seed"], config["results"]) == (7, "here")


def test_the_curve_the_summary_and_the_table(jobs: list[Path]) -> None:
    with contained():
        write(jobs[:1])
    found = messages(jobs[0])
    history = [values(message.history.item) for message in found if message.HasField("history")]
    curve = [(row["magnitude"], row.get("rotation/rmse")) for row in history if "magnitude" in row]
    assert curve == [(0.5, 0.1), (5, None), (10, 0.5)]
    steps = {message.metric.name: message.metric.step_metric for message in found}
    assert steps["rotation/rmse"] == steps["rotation/images"] == "magnitude"
    summary = together(found, "summary")
    assert summary["rotation/rmse"] == {"mean": pytest.approx(0.3)}
    assert (summary["rotation/rmse/0.5"], summary["rotation/rmse/10"]) == (0.1, 0.5)
    assert "rotation/rmse/5" not in summary
    assert isinstance(summary["seconds"], float)
    (table,) = stored(jobs[0], ".json")
    content = json.loads(table.read_text())
    assert content["columns"] == [*TABLE.columns]
    assert [line[4:] for line in content["data"]] == [
        [0.5, 2, 0.1, 0.5],
        [5, 2, None, 1],
        [10, 2, 0.5, None],
    ]


def stored(job: Path, suffix: str) -> list[Path]:
    """The files of a run that its log lists."""
    file = run_file(job)
    assert file is not None
    listed = [Path(each.path) for message in messages(job) for each in message.files.files]
    return [file.parent / "files" / path for path in listed if path.suffix == suffix]


def test_pictures_go_along_unless_they_stay_at_home(jobs: list[Path], picture: Path) -> None:
    with contained():
        write(jobs)
    assert [path.read_bytes() for path in stored(jobs[0], ".png")] == [picture.read_bytes()] * 2
    assert [list(job.parent.glob("wandb/**/*.png")) for job in jobs[1:]] == [[], []]


def test_a_run_is_there_completely_or_not_at_all(
    jobs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Killed while it wrote, or without space for the last file: not complete, so written again.
    with contained():
        write(jobs[:1])
        (jobs[0].parent / "wandb/complete.json").unlink()
        assert run_file(jobs[0]) is None
        write(jobs[:1])
    assert run_file(jobs[0]) is not None
    assert len(list(jobs[0].parent.glob("wandb/offline-run-*"))) == 1

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xai_sweep.tracking.wandb_upload.write_json", full)
    with contained():
        write(jobs[1:2])
    assert run_file(jobs[1]) is None
    assert not (jobs[1].parent / "wandb").exists()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with Stub() as stub:
        monkeypatch.setenv("WANDB_BASE_URL", stub.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield stub


def by_name(stub: Stub) -> dict[str, StoredRun]:
    return {run.fields["displayName"]: run for run in stub.runs.values()}


def test_the_server_gets_all_of_it_once(jobs: list[Path], server: Stub, picture: Path) -> None:
    with contained():
        assert upload(jobs) == {}
    assert all(is_uploaded(job) for job in jobs)
    found = by_name(server)
    assert {name: run.exit_code for name, run in found.items()} == {
        **{"job 0": 0, "job 1": 1, "job 2": 2}
    }
    for run in found.values():
        assert run.fields["groupName"] == "sweep"
        assert run.fields["tags"] == ["model:net", "explainer:lrp(rules=epsilon)"]
        assert not run.fields.get("host")
        assert run.config["axes"] == AXES
        assert run.config["seed"] == 7
    curve = [line for line in found["job 0"].history if "magnitude" in line]
    assert [line.get("rotation/rmse", np.nan) for line in curve] == [
        *(0.1, pytest.approx(np.nan, nan_ok=True), 0.5)
    ]
    assert found["job 0"].summary["rotation/rmse/10"] == 0.5
    pictures = {
        name: [content for file, content in run.files.items() if file.endswith(".png")]
        for name, run in found.items()
    }
    assert pictures == {"job 0": [picture.read_bytes()] * 2, "job 1": [], "job 2": []}
    rows = [files for files in server.artifacts.values() if "a/rows-00000.parquet" in files]
    assert [files["a/rows-00000.parquet"] for files in rows] == [b"rows"]
    # Nothing of the machine, the user or the code.
    for run in found.values():
        assert {Path(name).parts[0] for name in run.files} <= {
            *("media", "wandb-summary.json", "config.yaml")
        }

    before = len(server.requests)
    with contained():
        assert upload(jobs) == {}
    assert len(server.requests) == before


def test_a_run_that_is_sent_again_is_the_same_run(jobs: list[Path], server: Stub) -> None:
    with contained():
        upload(jobs[:1])
        lines = by_name(server)["job 0"].history
        for marker in jobs[0].parent.rglob("*.synced"):
            marker.unlink()
        upload(jobs[:1])
    assert list(by_name(server)) == ["job 0"]
    again = by_name(server)["job 0"].history
    assert [line.get("magnitude") for line in again] == [line.get("magnitude") for line in lines]


def test_a_server_that_breaks_leaves_the_runs_for_later(jobs: list[Path], server: Stub) -> None:
    server.mode = "error"
    with contained():
        left = upload(jobs)
        assert left == dict.fromkeys(jobs, f"{server.url}/graphql answers 500")
        assert all(run_file(job) and not is_uploaded(job) for job in jobs)
        server.mode = "ok"
        assert upload(jobs) == {}
    assert len(server.runs) == 3


def test_what_is_wrong_with_a_server(server: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_sweep.tracking.wandb_login.ANSWER_SECONDS", 0.2)
    assert trouble() == ""
    server.mode = "hang"
    assert trouble() == f"{server.url}/graphql does not answer: timed out"
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert trouble().startswith("http://127.0.0.1:9/graphql does not answer: ")
