"""A sweep on a real SLURM: whatever happens to its jobs, the same command completes it."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from cluster import Cluster
from conftest import IMAGES, TARGETS, Sweep
from harness import assert_same_science

pytestmark = pytest.mark.slurm

EXPLAINERS = "explainer=saliency,input_x_gradient,sobel,random"
ANGLES = "transform.angle=[0.5,1,5,10],[2,15,20,40]"
JOBS, CELLS = 8, 32


def finished(sweep: Sweep) -> int:
    return len(list(sweep.results.glob("cells/*/_manifest.json")))


def node_of(cluster: Cluster, job: str) -> str:
    return cluster.output("squeue", "--noheader", "--format=%N", f"--jobs={job}").strip()


def test_a_sweep_survives_what_happens_on_a_cluster(
    cluster: Cluster, sweep: Callable[..., Sweep]
) -> None:
    made = sweep(EXPLAINERS, ANGLES, "cells_per_job=4")
    array = made.start()
    made.until(lambda: set(made.held()) == {"0", "1"})
    cluster.output("scancel", f"{array}_0")
    os.kill(made.held()["1"], signal.SIGKILL)

    # The next two run now. The time of one runs out; the other's node is drained.
    made.until(lambda: {"2", "3"} <= set(made.held()))
    cluster.output("scontrol", "update", f"JobId={array}_2", "TimeLimit=1")
    made.until(lambda: cluster.jobs()[f"{array}_2"] == "PENDING")
    cluster.output("scontrol", "update", f"JobId={array}_2", "TimeLimit=10")
    node = node_of(cluster, f"{array}_3")
    cluster.output("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    assert cluster.nodes()[node] == "draining"
    made.release()
    made.until(lambda: cluster.nodes()[node] == "drained")
    cluster.resume(node)
    cluster.output("scontrol", "update", f"JobId={array}_2", "StartTime=now")

    assert made.finish() == 1
    errors = made.errors()
    assert f"job {array}_0 died (CANCELLED by 0); its log is " in errors
    assert f"job {array}_1 died (FAILED); its log is " in errors
    assert errors.splitlines()[-1] == (
        "error: 2 failed; the same command again computes what is missing"
    )
    assert "Traceback" not in errors
    assert finished(made) == CELLS - 2 * 4
    (log,) = made.results.glob(f"_jobs/*/.submitit/{array}_2/*_log.out")
    assert f"Requeued job {array}_2 (19 remaining timeouts)" in log.read_text()
    early = {path: path.stat().st_mtime_ns for path in made.results.glob("cells/*/*.parquet")}

    deadline = time.monotonic() + 300
    while finished(made) < CELLS:  # a dead job's cells may be another's for a while
        assert time.monotonic() < deadline, made.errors()
        made.start()
        made.finish()
    assert made.process is not None
    assert made.process.returncode == 0
    assert (
        early.items()
        <= {
            path: path.stat().st_mtime_ns for path in made.results.glob("cells/*/*.parquet")
        }.items()
    )
    found = made.rows()
    assert len(found) == CELLS * IMAGES * TARGETS
    assert not found.duplicated(["cell", "image_id", "rank"]).any()
    assert_same_science(found, made.local_rows())


def test_a_lost_node_and_a_more_urgent_job(cluster: Cluster, sweep: Callable[..., Sweep]) -> None:
    made = sweep("explainer=saliency,sobel", "transform.angle=[0.5,1,5,10]")
    array = made.start()
    made.until(lambda: set(made.held()) == {"0", "1"})
    lost, wanted = (node_of(cluster, f"{array}_{number}") for number in "01")
    cluster.lose(lost)
    urgent = ("--partition=urgent", f"--nodelist={wanted}", "--output=/dev/null")
    cluster.output("sbatch", *urgent, "--wrap=sleep 1")
    made.until(lambda: {cluster.jobs()[f"{array}_{number}"] for number in "01"} == {"PENDING"})
    made.release()
    for number in "01":
        cluster.output("scontrol", "update", f"JobId={array}_{number}", "StartTime=now")
    assert made.finish() == 0, made.errors()
    cluster.bring_back(lost)
    found = made.rows()
    assert len(found) == 2 * 4 * IMAGES * TARGETS
    assert not found.duplicated(["cell", "image_id", "rank"]).any()
    assert_same_science(found, made.local_rows())


def test_several_processes_in_one_job(sweep: Callable[..., Sweep]) -> None:
    made = sweep("explainer=saliency", "transform.angle=[0.5,1,5,10]")
    made.release()
    made.start("trainer=devices", "trainer.devices=2")
    assert made.finish() == 0, made.errors()
    found = made.rows()
    assert len(found) == 4 * IMAGES * TARGETS
    assert_same_science(found, made.local_rows())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["hydra.launcher.partition=nope"],
            "hydra.launcher.partition=nope: no such partition; there are main, urgent",
        ),
        (
            ["hydra.launcher.tasks_per_node=2"],
            "hydra.launcher.tasks_per_node=2: must be 1, on one node; with trainer=devices",
        ),
        (
            ["hydra.launcher.mem_gb=1000"],
            "hydra/launcher=slurm: sbatch refuses the jobs: ",
        ),
        (
            [f"seed={','.join(map(str, range(101)))}"],
            "hydra/launcher=slurm: 101 jobs are more than an array may have",
        ),
    ],
    ids=["partition", "tasks", "memory", "array"],
)
def test_what_slurm_cannot_do_is_one_line(
    words: list[str], message: str, sweep: Callable[..., Sweep]
) -> None:
    made = sweep("explainer=saliency")
    with pytest.raises(AssertionError):
        made.start(*words)
    assert made.finish() == 2
    (line,) = made.errors().splitlines()
    assert line.startswith(f"error: {message}")
