"""Jobs in other processes and on SLURM: refuse what cannot work, wait for all, list what failed.

Imports neither torch nor Lightning nor, before there is something to submit, submitit.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException

from xai_sweep.core.errors import InputError

if TYPE_CHECKING:
    import submitit

# Entries of other packages that ours build upon, and the extra that installs each.
EXTRAS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm"}
# As many threads as the job has cores. Since SLURM 22.05 `srun` does not inherit their number from
# the batch job.
_SETUP = (
    'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"',
    'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
)
# Seconds between two queries of the queue, at first and at most.
_SOON, _LATE = 2.0, 60.0
# Seconds in which the result of a job that has left the queue may still appear on this machine.
_GRACE = 20.0


class JobDiedError(HydraException):
    """A job left no result; the rows it has written stay."""


def needs(extra: str) -> str:
    """The error message where the plugin of an extra is not installed."""
    return f"needs an extra that is not installed: pip install 'xai_sweep[{extra}]'"


def with_multirun(words: list[str]) -> list[str]:
    """A launcher only launches multiruns, so choosing one means `-m`."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("hydra/launcher=")]
    several = {"-m", "--multirun", "--help", "-h", "--cfg", "-c", "--info"}.intersection(words)
    return ["-m", *words] if chosen and chosen != ["basic"] and not several else words


def check_slurm(partition: str | None, jobs: int, tasks: int = 1) -> None:
    """Check before anything is submitted that SLURM can take the jobs.

    Warns if SLURM keeps no accounts: then only a job's log knows why it died.

    Args:
        partition: one, or several with commas; None for the default.
        jobs: how many.
        tasks: processes per job that SLURM is to start.

    Raises:
        InputError: naming the key.
    """
    launcher = "hydra/launcher"
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        allowed = f"submit from a machine of the cluster, or choose {launcher}=local"
        raise InputError(launcher, "slurm", f"sbatch and srun are not found on PATH; {allowed}")
    if tasks != 1:
        allowed = "must be 1, on one node; with trainer=devices a job starts a process per device"
        raise InputError("hydra.launcher.tasks_per_node", tasks, allowed)
    try:
        known = sorted(set(_answer("sinfo", "--all", "--noheader", "--format=%R").split()))
        config = _answer("scontrol", "show", "config")
    except RuntimeError as error:
        raise InputError(
            launcher, "slurm", f"SLURM does not answer ({error}); run it again when it does"
        ) from None
    for name in partition.split(",") if partition else ():
        if name not in known:
            allowed = f"no such partition; there are {', '.join(known)}"
            raise InputError("hydra.launcher.partition", name, allowed)
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    if found and jobs > int(found[1]):
        allowed = f"{jobs} jobs are more than an array may have (MaxArraySize {found[1]})"
        raise InputError(
            launcher,
            "slurm",
            f"{allowed}; raise cells_per_job, or set hydra.sweeper.max_batch_size={found[1]}",
        )
    if not has_accounts():
        print(
            "warning: this SLURM keeps no accounts (sacct): a job that has left the queue without "
            "a result counts as dead, and only its log says why",
            file=sys.stderr,
        )


def has_accounts() -> bool:
    """Whether SLURM keeps records of how jobs ended."""
    try:
        _answer("sacct", "--allocations", "--noheader", "--format=JobID", "--starttime=now")
    except RuntimeError:
        return False
    return True


def executor(cluster: str, params: Mapping[str, Any]) -> "submitit.AutoExecutor":
    """An executor that submits jobs, with the parameters of a launcher of Hydra's plugin."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    given = dict(params)
    init = {"folder": given.pop("submitit_folder")}
    if "max_num_timeout" in given:
        init[f"{cluster}_max_num_timeout"] = given.pop("max_num_timeout")
    if cluster == "slurm":
        given["setup"] = [*_SETUP, *(given["setup"] or ())]
    made = submitit.AutoExecutor(cluster=cluster, **init)
    shared = BaseQueueConf.__dataclass_fields__
    made.update_parameters(
        **{name if name in shared else f"{cluster}_{name}": x for name, x in given.items()}
    )
    return made


def run_here(
    executor: "submitit.AutoExecutor",
    launcher: Callable[..., JobReturn],
    overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Run jobs on this machine, at most as many at once as it has cores."""
    jobs: list[submitit.Job[JobReturn]] = []
    for arguments in _arguments(overrides, first):
        while sum(not job.done() for job in jobs) >= (os.cpu_count() or 1):
            time.sleep(0.1)
        jobs.append(executor.submit(launcher, *arguments))
    for job in jobs:
        job.wait()
    return [_returned(job, "its process ended") for job in jobs]


def run_on_slurm(
    executor: "submitit.AutoExecutor",
    launcher: Callable[..., JobReturn],
    overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Submit jobs as one array, and wait until all are over.

    A job is over when its result exists, or when it has left the queue without one. This needs no
    accounts (sacct), without which submitit itself would wait for a dead job for ever.

    Raises:
        InputError: SLURM refuses the jobs.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    arguments = zip(*_arguments(overrides, first), strict=True)
    try:
        with redirect_stderr(StringIO()):  # submitit prints there what it raises
            jobs: list[submitit.Job[JobReturn]] = executor.map_array(launcher, *arguments)
    except (FailedJobError, FailedSubmissionError) as error:
        reasons = [line for line in str(error).splitlines() if "error:" in line]
        why = "; ".join(line.partition("error:")[2].strip() for line in reasons) or str(error)
        raise InputError(
            "hydra/launcher",
            "slurm",
            f"sbatch refuses the jobs: {why}; change what it names in hydra.launcher",
        ) from None
    array = jobs[0].job_id.partition("_")[0]
    where = Path(jobs[0].paths.folder).parent
    print(f"submitted {len(jobs)} jobs as {array}; their logs are in {where}", file=sys.stderr)
    try:
        _wait(jobs)
    except KeyboardInterrupt:
        print(f"the jobs go on; to stop them: scancel {array}", file=sys.stderr)
        raise
    return [_returned(job, _ending(job.job_id)) for job in jobs]


def _arguments(overrides: Sequence[Sequence[str]], first: int) -> list[tuple[Any, ...]]:
    """The arguments of each job, as Hydra's plugin passes them."""
    return [
        (list(words), "hydra.sweep.dir", index, f"job_id_for_{index}", Singleton.get_state())
        for index, words in enumerate(overrides, first)
    ]


def _wait(jobs: "Sequence[submitit.Job[JobReturn]]") -> None:
    gone: dict[str, float] = {}
    start = time.monotonic()
    waiting = list(jobs)
    while waiting:
        waiting = [job for job in waiting if not _has_result(job)]
        queued = _queue()
        now = time.monotonic()
        for job in waiting if queued is not None else ():
            if job.job_id in (queued or ()):
                gone.pop(job.job_id, None)
            else:
                gone.setdefault(job.job_id, now)
        waiting = [job for job in waiting if now - gone.get(job.job_id, now) < _GRACE]
        if waiting:
            time.sleep(min(_LATE, max(_SOON, (now - start) / 20)))


def _has_result(job: "submitit.Job[JobReturn]") -> bool:
    folder = job.paths.folder
    # So that a network file system refreshes its listing.
    if folder.exists():
        os.utime(folder)
    return bool(job.paths.result_pickle.exists())


def _queue() -> set[str] | None:
    """This user's jobs that wait or run; None if SLURM does not answer at the moment."""
    try:
        answer = _answer(
            "squeue", f"--user={os.getuid()}", "--array", "--noheader", "--format=%F_%K"
        )
    except RuntimeError:
        return None
    return {name.removesuffix("_N/A") for name in answer.split()}


def _ending(job_id: str) -> str:
    """How a job ended, as SLURM has recorded it."""
    try:
        states = _answer(
            "sacct", "--allocations", "--noheader", "--parsable2", "--format=State", "-j", job_id
        )
    except RuntimeError:
        return "it left the queue"
    return states.strip().splitlines()[-1] if states.strip() else "it left the queue"


def _returned(job: "submitit.Job[JobReturn]", ending: str) -> JobReturn:
    """The result of a job that is over, or the reason why there is none."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    if job.paths.result_pickle.exists():
        try:
            found: JobReturn = job.results()[0]
            return found
        except (FailedJobError, UncompletedJobError) as error:
            text = str(error).partition("You can check full logs")[0].strip("\n -")
            ending = text.splitlines()[-1]
    dead = JobReturn()
    dead.status = JobStatus.FAILED
    dead.return_value = JobDiedError(
        f"job {job.job_id} died ({ending}); its log is {job.paths.stderr}"
    )
    print(f"error: {dead._return_value}", file=sys.stderr)
    return dead


def _answer(*command: str) -> str:
    """The output of a SLURM command.

    Raises:
        RuntimeError: it fails, with its reason; or it is not installed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(str(error)) from None
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.split()) or f"{command[0]} fails")
    return done.stdout
