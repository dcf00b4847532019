"""A SLURM without accounting, where submitit would wait for a dead job for ever."""

import os
import signal
from collections.abc import Callable

import pytest
from conftest import Sweep

pytestmark = pytest.mark.slurm

ACCOUNTING = False


def test_a_dead_job_is_named_without_accounts(sweep: Callable[..., Sweep]) -> None:
    made = sweep("explainer=saliency,sobel", "transform.angle=[0.5,1,5,10]")
    array = made.start()
    assert "warning: this SLURM keeps no accounts (sacct)" in made.errors()
    made.until(lambda: set(made.held()) == {"0", "1"})
    os.kill(made.held()["0"], signal.SIGKILL)
    made.release()
    assert made.finish(patience=300) == 1
    assert f"job {array}_0 died (it left the queue); its log is " in made.errors()
    assert "1 failed; the same command again computes what is missing" in made.errors()
    assert set(made.rows()["explainer"]) == {"sobel"}
