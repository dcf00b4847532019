"""From records to W&B: first complete offline runs on disk, then `wandb sync`, each with a limit.

Runs as a process of its own (`python -m xai_sweep.tracking.wandb_upload`, records on stdin), and
within `xai-sweep wandb-sync`.
"""

import fcntl
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xai_sweep.store.atomic import write_json
from xai_sweep.tracking.wandb_login import trouble
from xai_sweep.tracking.wandb_record import (
    COMPLETE,
    KEPT,
    MAGNITUDE,
    WANDB,
    Record,
    is_uploaded,
    metric_key,
    run_file,
)

if TYPE_CHECKING:
    from wandb import Run

CHUNK = 16  # runs that are written and then sent together
WRITE_SECONDS, SYNC_SECONDS = 120.0, 600.0
KILLED = 137  # exit code of a shell whose command got SIGKILL

# `wandb sync` retries for ever; it limits itself, in case this process is killed first.
_SYNC = """
import runpy, signal, sys
signal.alarm({})
sys.argv[1:1] = ["sync"]
runpy.run_module("wandb", run_name="__main__")
"""


def upload(records: Sequence[Path], seconds: float = SYNC_SECONDS) -> dict[Path, str]:
    """Write and send runs that are not uploaded; after a chunk that the server refuses, only write.

    Returns:
        Those that are not uploaded now, with the reason.
    """
    left: dict[Path, str] = {}
    reason = ""
    for chunk in _chunks([path for path in records if not is_uploaded(path)]):
        with _locked(chunk) as mine:
            left |= dict.fromkeys(set(chunk) - set(mine), "another process uploads it")
            unwritten = _write_all(mine)
            written = [path for path in mine if path not in unwritten]
            if written:
                reason = reason or trouble() or _send(written, seconds)
            left |= unwritten | {path: reason for path in written if not is_uploaded(path)}
    return left


def write(records: Sequence[Path]) -> None:
    """Make the offline run of each record that has none, completely or not at all."""
    for chunk in _chunks(records):
        with _locked(chunk) as mine:
            _write_all(mine)


def _chunks(records: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (records[at : at + CHUNK] for at in range(0, len(records), CHUNK))


@contextmanager
def _locked(records: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """The records that no other process is uploading; the lock ends with this process."""
    with ExitStack() as files:
        mine = []
        for path in records:
            file = files.enter_context(path.open("rb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:
                pass  # a file system without locks: at worst a run is sent twice, to one place
            mine.append(path)
        yield mine


def _write_all(records: Sequence[Path]) -> dict[Path, str]:
    """Why some could not be written."""
    waiting = [path for path in records if run_file(path) is None]
    if not waiting:
        return {}
    import wandb

    unwritten = {}
    for path in waiting:
        shutil.rmtree(path.parent / WANDB, ignore_errors=True)
        # Tables are staged there until they are sent.
        os.environ["WANDB_DATA_DIR"] = str(path.parent / WANDB)
        try:
            _write(path)
        except Exception as error:  # W&B raises a dozen private classes that share no base
            unwritten[path] = f"{type(error).__name__}: {error}"
    try:
        wandb.teardown()  # waits until everything is on the disk
    except Exception as error:
        unwritten = dict.fromkeys(waiting, f"{type(error).__name__}: {error}")
    for path in waiting:
        try:
            if path not in unwritten:
                # If the disk had no room for the end of the run, this fails as well.
                write_json(path.parent / WANDB / COMPLETE, {})
        except OSError as error:
            unwritten[path] = str(error)
        if path in unwritten:
            shutil.rmtree(path.parent / WANDB, ignore_errors=True)
    return unwritten


def _write(path: Path) -> None:
    import wandb

    record = Record.read(path)
    if record is None:
        raise FileNotFoundError(path)
    run = wandb.init(
        id=record.id,
        project=record.project,
        name=record.name,
        group=record.group,
        tags=record.tags,
        config=record.config,
        dir=path.parent,
        mode="offline",
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            symlink=False,
            # Nothing about the machine, its user or the code is sent.
            disable_git=True,
            host="",
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
    if record.lines:
        _log_summary(run, record)
    if record.finished is not None:
        run.summary["seconds"] = record.finished - record.started
    for name, picture in record.figures.items():
        if Path(picture).is_file():
            run.log({name: wandb.Image(picture)})
    if record.rows:
        artifact = wandb.Artifact(f"rows-{record.id}", type="rows")
        for shard in sorted(Path(record.rows).glob("*/*")):
            name = f"{shard.parent.name}/{shard.name.removesuffix(KEPT)}"
            artifact.add_file(str(shard), name, policy="immutable")
        run.log_artifact(artifact)
    run.finish(exit_code=KILLED if record.exit_code is None else record.exit_code)


def _log_summary(run: "Run", record: Record) -> None:
    """`TRANSFORM/METRIC` over `magnitude`, `TRANSFORM/METRIC/MAGNITUDE`, and the table."""
    import wandb

    lines = [dict(zip(record.columns, line, strict=True)) for line in record.lines]
    keys = {name: metric_key(str(lines[0]["transform"]), name) for name in record.metrics}
    run.define_metric(MAGNITUDE, hidden=True)
    for key in keys.values():
        run.define_metric(key, step_metric=MAGNITUDE, summary="mean")
    for line in lines:
        numbers = {key: float(line[name]) for name, key in keys.items() if line[name] is not None}
        run.log({MAGNITUDE: line[MAGNITUDE], **numbers})
        run.summary.update(
            {f"{key}/{line[MAGNITUDE]:g}": number for key, number in numbers.items()}
        )
    run.log({"summary": wandb.Table(columns=[*record.columns], data=[*record.lines])})


def _send(records: Sequence[Path], seconds: float) -> str:
    """Why some were not uploaded; empty if all were."""
    folders = [str(file.parent) for path in records if (file := run_file(path))]
    command = [sys.executable, "-P", "-c", _SYNC.format(math.ceil(seconds) + 5), *folders]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"the server did not accept it within {seconds:g} s"
    printed = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if all(is_uploaded(path) for path in records):
        return ""
    return printed[-1] if printed else f"wandb sync ended with {done.returncode}"


@contextmanager
def contained() -> Iterator[None]:
    """Inside, W&B writes nothing into the user's folders and sends no error reports."""
    folders = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")
    quiet = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    before = {name: os.environ.get(name) for name in (*folders, *quiet, "WANDB_MODE")}
    os.environ.pop("WANDB_MODE", None)  # it is meant for jobs, not for uploading
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= dict.fromkeys(folders, folder) | quiet
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def main() -> None:
    """Upload the records named on stdin, at low priority and for a limited time."""
    os.nice(10)
    signal.alarm(math.ceil(WRITE_SECONDS + SYNC_SECONDS))
    records = [path for line in sys.stdin.read().splitlines() if (path := Path(line)).exists()]
    with contained():
        write(records)
        upload([path for path in records if (record := Record.read(path)) and record.upload])


if __name__ == "__main__":
    main()
