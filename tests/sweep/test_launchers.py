"""Jobs in other processes: what comes home, and what is refused before anything is submitted.

The same on a real SLURM is in `tests/slurm`.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness import read
from networks import Plain

from xai_sweep.core.errors import InputError
from xai_sweep.sweep.launching import check_slurm, with_multirun

ROOT = Path(__file__).parents[2]


def run(results: Path, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """`python run.py ...` in a process of its own, in which `before` was executed."""
    script = f"{before}\nfrom xai_sweep.commands.run import run\nrun()"
    return subprocess.run(
        [sys.executable, "-c", script, *words, f"results={results}"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two jobs, of which the second names a layer that is not there."""
    path = tmp_path_factory.mktemp("net") / "net.pt"
    torch.manual_seed(0)
    torch.save(Plain().state_dict(), path)
    return [
        *("model=checkpoint", "model.architecture=networks:Plain", f"model.path={path}"),
        *("model.size=24", "data.limit=1", "magnitude=single", "metric=[rmse]", "logger=none"),
        *("pictures=false", "explainer=grad_cam", "explainer.layer=null,nope"),
    ]


@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_a_failing_job_is_said_and_the_other_is_done(
    launcher: str, words: list[str], tmp_path: Path
) -> None:
    done = run(tmp_path, f"hydra/launcher={launcher}", *words)
    assert done.returncode == 2, done.stderr
    assert "explainer.layer=nope: is no module of this network" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: 1 failed, all the rest is complete; why: ")
    assert set(read(tmp_path)["explainer"]) == {"grad_cam"}


# As if a package were not installed, for Hydra and for us.
HIDE = """
import importlib.util, pkgutil
walk, find = pkgutil.walk_packages, importlib.util.find_spec
pkgutil.walk_packages = lambda *a, **k: (m for m in walk(*a, **k) if "{name}" not in m.name)
importlib.util.find_spec = lambda name, *a: None if "{name}" in name else find(name, *a)
"""


@pytest.mark.parametrize(
    ("launcher", "plugin", "extra"),
    [
        ("joblib", "hydra_joblib_launcher", "joblib"),
        ("slurm", "hydra_submitit_launcher", "slurm"),
        ("slurm_gpu", "hydra_submitit_launcher", "slurm"),
        ("local", "hydra_submitit_launcher", "slurm"),
    ],
)
def test_without_its_plugin_a_launcher_says_which_extra(
    launcher: str, plugin: str, extra: str, tmp_path: Path
) -> None:
    done = run(tmp_path, f"hydra/launcher={launcher}", before=HIDE.format(name=plugin))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: hydra/launcher={launcher}: needs an extra that is not installed: "
        f"pip install 'xai_sweep[{extra}]'\n"
    )


def test_an_unknown_launcher(tmp_path: Path) -> None:
    done = run(tmp_path, "hydra/launcher=pbs")
    assert done.returncode == 2
    expected = "must be one of local, slurm, slurm_gpu, basic, joblib"
    assert done.stderr == f"error: hydra/launcher=pbs: {expected}\n"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts commands of SLURM where they are found; there are no others."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(**bodies: str) -> None:
        for name, body in bodies.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)

    return put


WORKING = {
    **{"sbatch": "", "srun": "", "sacct": "", "sinfo": "echo short; echo long; echo short"},
    "scontrol": "echo 'MaxArraySize            = 1001'",
}


def test_what_slurm_can_do_is_submitted_silently(
    commands: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    commands(**WORKING)
    check_slurm("long", jobs=1001)
    check_slurm("long,short", jobs=1)
    check_slurm(None, jobs=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changed", "partition", "jobs", "message"),
    [
        ({}, "nope", 1, "hydra.launcher.partition=nope: no such partition; there are long, short"),
        ({}, "long,no", 1, "hydra.launcher.partition=no: no such partition"),
        ({}, None, 1002, "hydra/launcher=slurm: 1002 jobs are more than an array may have"),
        (
            {"sinfo": "echo 'Unable to contact slurm controller' >&2; exit 1"},
            *(None, 1),
            "hydra/launcher=slurm: SLURM does not answer (Unable to contact slurm controller)",
        ),
    ],
)
def test_what_slurm_cannot_do_is_refused(
    changed: dict[str, str],
    partition: str | None,
    jobs: int,
    message: str,
    commands: Callable[..., None],
) -> None:
    commands(**WORKING | changed)
    with pytest.raises(InputError) as caught:
        check_slurm(partition, jobs)
    assert str(caught.value).startswith(message)


def test_without_slurm(commands: Callable[..., None]) -> None:
    with pytest.raises(
        InputError, match=r"^hydra/launcher=slurm: sbatch and srun are not found on"
    ):
        check_slurm(None, jobs=1)


def test_more_tasks_than_one(commands: Callable[..., None]) -> None:
    commands(**WORKING)
    with pytest.raises(InputError, match=r"^hydra.launcher.tasks_per_node=2: must be 1"):
        check_slurm(None, jobs=1, tasks=2)


def test_missing_accounts_are_said(
    commands: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    commands(**WORKING | {"sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1"})
    check_slurm(None, jobs=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: this SLURM keeps no accounts (sacct): a job that has left")


@pytest.mark.parametrize(
    ("words", "several"),
    [
        (["hydra/launcher=slurm", "seed=1"], True),
        (["hydra/launcher=basic"], False),
        (["seed=1"], False),
        (["--cfg", "job", "hydra/launcher=slurm"], False),
    ],
)
def test_a_launcher_means_a_multirun(words: list[str], several: bool) -> None:
    assert with_multirun(words) == (["-m", *words] if several else words)
    assert with_multirun(["-m", *words]) == ["-m", *words]


def test_an_input_error_comes_home_from_another_process() -> None:
    error = InputError("transform.angle", None, "must be a number")
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is InputError
    assert (str(found), found.key, found.value) == (str(error), error.key, None)
