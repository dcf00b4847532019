"""Trackers: what they leave behind, and that none stands in the way."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra.utils import instantiate
from job_log import CONFIG, TABLE

from xai_sweep.core.paths import CONF
from xai_sweep.tracking import Csv, CsvTracker, NoLogger, Wandb


def test_csv_keeps_the_table_and_the_configuration(tmp_path: Path, picture: Path) -> None:
    tracker = Csv().start(tmp_path / "log")
    assert isinstance(tracker, CsvTracker)
    tracker.config({"seed": 7})
    tracker.summary(TABLE)
    tracker.figure("curves", picture)
    tracker.rows([tmp_path])
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
    tracker.rows([tmp_path])
    tracker.finish(1)
    assert tracker.location == ""
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("name", "logger"), [("wandb", Wandb(tags=[])), ("csv", Csv()), ("none", NoLogger())]
)
def test_the_yaml_is_the_default_value(name: str, logger: object) -> None:
    made = instantiate(yaml.safe_load((CONF / "logger" / f"{name}.yaml").read_text()))
    assert made == logger
