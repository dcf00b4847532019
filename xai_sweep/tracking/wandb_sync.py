"""`xai-sweep wandb-sync`: upload the runs that W&B does not have yet; it can be repeated."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from xai_sweep.core.errors import InputError
from xai_sweep.tracking.wandb_login import host, logged_in
from xai_sweep.tracking.wandb_record import RECORD, Record, is_uploaded
from xai_sweep.tracking.wandb_upload import contained, upload

UP_BEFORE = "uploaded before"
UP = "uploaded"


def wandb_sync(folders: Sequence[Path], *, unfinished: bool = False) -> int:
    """Upload the runs of all jobs below some folders, and print which were uploaded.

    Args:
        folders: results folders, or any that jobs wrote to.
        unfinished: also runs of jobs that may still run elsewhere; they are marked as failed.

    Returns:
        How many could not be uploaded; running jobs do not count.

    Raises:
        InputError: no such runs, or the user is not logged in.
    """
    records: dict[Path, Record] = {}
    for folder in folders:
        read = {path: Record.read(path) for path in sorted(folder.rglob(RECORD))}
        found = {path: record for path, record in read.items() if record}
        if not found:
            raise InputError("results", folder, "must be a folder that holds W&B runs of jobs")
        records |= found
    if not logged_in():
        raise InputError("WANDB_API_KEY", "", "log in first: `wandb login`, or set this variable")
    state: dict[Path, str] = {}
    for path, record in records.items():
        ended = record.ended()
        if is_uploaded(path):
            state[path] = UP_BEFORE
        elif ended is False:
            state[path] = "still running"
        elif ended is None and not unfinished:
            state[path] = f"running or killed on {record.host}: --unfinished uploads it as failed"
    waiting = [path for path in records if path not in state]
    with contained():
        left = upload(waiting)
    state |= {path: left.get(path, UP) for path in waiting}
    _print(records, state)
    return len(left)


def _print(records: dict[Path, Record], state: dict[Path, str]) -> None:
    table = Table(title=host())
    for name in ("sweep", "run", "state"):
        table.add_column(name, overflow="fold")
    for path, record in records.items():
        if state[path] != UP_BEFORE:
            table.add_row(record.group or "-", record.name or record.id, state[path])
    if table.row_count:
        Console().print(table)
    counts = Counter(state.values())
    other = len(records) - counts[UP] - counts[UP_BEFORE]
    print(f"{counts[UP]} uploaded, {counts[UP_BEFORE]} uploaded before, {other} not uploaded")
