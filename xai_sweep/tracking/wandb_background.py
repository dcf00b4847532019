"""Uploads to W&B run in a process beside the sweep, so that they can neither stop nor slow it.

W&B's client waits without limit for a service process of its own, which may hang, die or find the
disk full, and which itself waits for the server. None of this happens in the process that computes.
"""

import atexit
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from xai_sweep.tracking.wandb_record import Record, is_uploaded, run_file

EVERY_SECONDS = 60.0
AT_EXIT_SECONDS = 5.0


class Background:
    """At most one process, which takes all waiting runs; a new one at most once a minute."""

    def __init__(self) -> None:
        self._waiting: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -float("inf")

    def submit(self, record: Path) -> None:
        """Take the record of a job that has ended; returns at once."""
        if not self._waiting and self._process is None:
            atexit.register(self.finish)
        self._waiting.append(record)
        if time.monotonic() - self._started > EVERY_SECONDS:
            self._start()

    def finish(self, seconds: float = AT_EXIT_SECONDS) -> bool:
        """Wait a few seconds for what is left, and print how to upload it if that is not enough.

        The process continues after that, as long as the machine runs.

        Returns:
            Whether all runs are uploaded, or written to disk if they are not to be uploaded.
        """
        deadline = time.monotonic() + seconds
        self._wait(deadline)
        if self._left() and time.monotonic() < deadline:
            with suppress(OSError):  # no memory, no space for temporary files
                self._start()
                self._wait(deadline)
        left = self._left()
        if waiting := [path for path in left if (record := Record.read(path)) and record.upload]:
            folders = sorted({str(path.parent) for path in waiting})
            where = folders if len(folders) < 3 else [os.path.commonpath(folders)]
            print(
                f"W&B runs not uploaded yet: {len(waiting)}; if they are not in a while, "
                f"`xai-sweep wandb-sync {' '.join(where)}` uploads them",
                file=sys.stderr,
            )
        return not left

    def _left(self) -> list[Path]:
        self._waiting = [record for record in self._waiting if not _settled(record)]
        return self._waiting

    def _start(self) -> None:
        if (self._process and self._process.poll() is None) or not self._left():
            return
        self._started = time.monotonic()
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        # A file and not a pipe: a process that never reads cannot block this one.
        with tempfile.TemporaryFile() as records:
            records.write("\n".join(str(record.absolute()) for record in self._waiting).encode())
            records.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "xai_sweep.tracking.wandb_upload"],
                env=os.environ | {"PYTHONPATH": paths},
                stdin=records,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl+C is for the sweep
            )

    def _wait(self, deadline: float) -> None:
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))


def _settled(path: Path) -> bool:
    record = Record.read(path)
    return record is None or (is_uploaded(path) if record.upload else run_file(path) is not None)


background = Background()
