"""Identifies processes and machines by files of Linux; empty elsewhere."""

import os
import platform
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Host, boot and process namespace, in which a pid is unique; empty if not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return f"{platform.node()[:200]} {boot} {namespace}"


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks; None if it is not running.

    A pid is reused, but not with the same start time.
    """
    try:
        # The name of the program, in brackets, may contain anything.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else int(words[19])


def slurm_job() -> str:
    """The SLURM job that this process belongs to; empty if there is none."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
