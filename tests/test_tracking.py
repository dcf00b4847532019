"""Trackers: what they leave behind, and that they never stand in the way."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb
import yaml
from hydra.utils import instantiate
from oracles.wandb_file import records, values
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from xai_sweep.config import CONF
from xai_sweep.errors import InputError
from xai_sweep.tracking import Csv, CsvTracker, NoLogger, NullTracker, Wandb, WandbTracker

TABLE = pd.DataFrame(
    {
        "model": ["net", "net", "net"],
        "magnitude": [10.0, 0.5, 5.0],
        "images": [2, 2, 2],
        "rmse": [0.5, 0.1, np.nan],
        "flipped": pd.array([None, 0.5, 1], dtype="Float64"),
    }
)
CONFIG = {"explainer": {"_target_": "x.Y"}, "seed": 7, "results": Path("here")}
KEY = "0" * 40


@pytest.fixture(autouse=True)
def stranger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user who never logged in, with an empty home folder."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("NETRC", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return home


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(path)
    return path


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def run_file(folder: Path) -> Path:
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return path


def finished_records(path: Path) -> list[Record]:
    """The records up to the exit code: W&B's own process may close the file a moment later."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = records(path)
        if any(record.HasField("exit") for record in found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"no exit code in {path}")


def test_an_offline_run_holds_config_curves_table_pictures_and_exit_code(
    tmp_path: Path, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Wandb(project="p", name="n", group="g", tags=["t"]).start(tmp_path / "log")
    assert isinstance(tracker, WandbTracker)
    tracker.config(CONFIG)
    tracker.summary(TABLE)
    tracker.figure("curves", picture)
    tracker.figure("strips/a.png", picture)
    tracker.finish(3)

    found = finished_records(run_file(tmp_path / "log"))
    assert tracker.location == str(run_file(tmp_path / "log").parent)
    (run,) = [record.run for record in found if record.HasField("run")]
    assert (run.project, run.display_name, run.run_group, list(run.tags)) == ("p", "n", "g", ["t"])
    config = {}
    for record in found:
        config |= values(record.config.update)
    assert config["explainer"] == {"_target_": "x.Y"}
    assert config["seed"] == 7
    history = [values(record.history.item) for record in found if record.HasField("history")]
    curve = [(row["magnitude"], row.get("rmse")) for row in history if "magnitude" in row]
    assert curve == [(0.5, 0.1), (5, None), (10, 0.5)]
    steps = {record.metric.name: record.metric.step_metric for record in found}
    assert steps["rmse"] == steps["images"] == "magnitude"
    summary: dict[str, object] = {}
    for record in found:
        summary |= values(record.summary.update)
    assert summary["rmse"] == {"mean": pytest.approx(0.3)}
    assert (summary["rmse/0.5"], summary["rmse/10"]) == (0.1, 0.5)
    assert "rmse/5" not in summary
    listed = [Path(file.path) for record in found for file in record.files.files]
    media = [path for path in listed if path.parts[0] == "media"]
    assert sorted(path.suffixes[-1] for path in media) == [".json", ".png", ".png"]
    files = run_file(tmp_path / "log").parent / "files"
    assert [(files / path).stat().st_size > 0 for path in media] == [True] * 3
    (table,) = [path for path in media if path.suffix == ".json"]
    stored = json.loads((files / table).read_text())
    assert stored["columns"] == ["model", "magnitude", "images", "rmse", "flipped"]
    assert stored["data"] == [
        ["net", 10, 2, 0.5, None],
        ["net", 0.5, 2, 0.1, 0.5],
        ["net", 5, 2, None, 1],
    ]
    assert [record.exit.exit_code for record in found if record.HasField("exit")] == [3]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("netrc", [None, "machine elsewhere.example login user password x"])
def test_nobody_is_asked_nothing_leaves_the_folder_and_it_is_quick(
    netrc: str | None, tmp_path: Path, stranger: Path
) -> None:
    if netrc:
        (stranger / ".netrc").write_text(netrc)
        (stranger / ".netrc").chmod(0o600)
    # In a process of its own, whose start would write to the home folder if it could.
    program = (
        "import time, wandb; from pathlib import Path; from xai_sweep.tracking import Wandb\n"
        "begin = time.monotonic(); tracker = Wandb().start(Path('log'))\n"
        "print(time.monotonic() - begin); tracker.finish()"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=stranger.parent,
        env=os.environ | {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert float(done.stdout) < 10
    assert done.stderr == ""
    assert run_file(tmp_path / "log").stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {"home", "log"}
    assert [path.name for path in stranger.iterdir()] == ([".netrc"] if netrc else [])


def test_a_server_that_is_down_costs_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed_port()}")
    begin = time.monotonic()
    tracker = Wandb().start(tmp_path)
    assert time.monotonic() - begin < 10
    tracker.finish()
    assert run_file(tmp_path).exists()


@pytest.mark.parametrize("login", ["key", "netrc"])
def test_online_where_the_user_is_logged_in_and_the_server_answers(
    login: str, tmp_path: Path, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def init(**options: object) -> None:
        modes.append(options["mode"])
        raise wandb.errors.CommError("hung up")

    monkeypatch.setattr(wandb, "init", init)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        if login == "key":
            monkeypatch.setenv("WANDB_API_KEY", KEY)
        else:
            (stranger / ".netrc").write_text(f"machine 127.0.0.1 login user password {KEY}\n")
            (stranger / ".netrc").chmod(0o600)
        Wandb().start(tmp_path)
        Wandb(mode="offline").start(tmp_path)
        monkeypatch.setenv("WANDB_MODE", "offline")
        Wandb(mode="online").start(tmp_path)
    assert modes == ["online", "offline", "offline", "offline"]


def test_wandb_that_raises_is_a_warning_and_not_the_end(
    tmp_path: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise wandb.errors.CommError(f"no {name}")

    tracker = WandbTracker(Broken(), tmp_path, images=True)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        tracker.config(CONFIG)
        tracker.summary(TABLE)
        tracker.figure("curves", picture)
        tracker.finish()
    assert len(caplog.messages) == 4
    assert caplog.messages[0] == "W&B could not keep the configuration: CommError: no config"
    assert {"WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_SILENT"}.isdisjoint(os.environ)

    def init(**_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(wandb, "init", init)
    assert isinstance(Wandb().start(tmp_path), NullTracker)
    assert caplog.messages[-1] == "W&B could not start offline: OSError: disk full"


def test_pictures_can_stay_at_home(tmp_path: Path, picture: Path) -> None:
    class Silent:
        def log(self, _: object) -> None:
            raise AssertionError

    WandbTracker(Silent(), tmp_path, images=False).figure("a", picture)  # type: ignore[arg-type]


def test_online_without_a_login_says_so_instead_of_asking(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"logger\.mode=online: log in first"):
        Wandb(mode="online").start(tmp_path)
    with pytest.raises(InputError, match=r"logger\.mode=on: one of auto, online, offline"):
        Wandb(mode="on")


def test_disabled_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = Wandb().start(tmp_path)
    tracker.summary(TABLE)
    assert isinstance(tracker.location, str)
    tracker.finish()
    assert not list(tmp_path.glob("**/*.wandb"))


def test_csv_keeps_the_table_and_the_configuration(tmp_path: Path, picture: Path) -> None:
    tracker = Csv().start(tmp_path / "log")
    assert isinstance(tracker, CsvTracker)
    tracker.config({"seed": 7})
    tracker.summary(TABLE)
    tracker.figure("curves", picture)
    tracker.finish(1)
    assert tracker.location == str(tmp_path / "log")
    assert json.loads((tmp_path / "log/config.json").read_text()) == {"seed": 7}
    read = pd.read_csv(tmp_path / "log/summary.csv")
    pd.testing.assert_frame_equal(read, TABLE.astype({"flipped": float}))


def test_no_logger_leaves_nothing(tmp_path: Path, picture: Path) -> None:
    tracker = NoLogger().start(tmp_path / "log")
    tracker.config(CONFIG)
    tracker.summary(TABLE)
    tracker.figure("curves", picture)
    tracker.finish(1)
    assert tracker.location == ""
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("name", "logger"), [("wandb", Wandb(tags=[])), ("csv", Csv()), ("none", NoLogger())]
)
def test_the_yaml_is_the_default_value(name: str, logger: object) -> None:
    made = instantiate(yaml.safe_load((CONF / "logger" / f"{name}.yaml").read_text()))
    assert made == logger
