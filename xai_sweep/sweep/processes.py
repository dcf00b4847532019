"""Several processes that share a job's images, one per device.

Each has its own network and its own Lightning trainer of one device; they do not know each other.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NoReturn, TypeVar

import torch

from xai_sweep.core.errors import InputError

Item = TypeVar("Item")

# Seconds that a process has to write what it holds once it has to stop.
_TIME_TO_WRITE = 60.0
_INTERRUPTED = 130


class ProcessDiedError(ChildProcessError):
    """A process of the job died; what it wrote stays, and the same command computes the rest."""


@dataclass(frozen=True)
class Process:
    """One of the processes that share a job.

    Attributes:
        index: its number, from 0.
        world: how many there are.
    """

    index: int = 0
    world: int = 1

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items that this process computes; each belongs to exactly one process."""
        return items[self.index :: self.world]


ALONE = Process()


def in_processes(
    world: int,
    work: Callable[..., None],
    *arguments: Any,
    received: Callable[[Process, Any], None] = lambda process, message: None,
) -> None:
    """Call ``work(process, send, *arguments)`` in new processes, and wait until all are done.

    If one of them fails or is killed, or this process is told to stop, all are told to stop. They
    stop too if this process dies.

    Args:
        world: how many processes.
        work: a function of a module; it may raise `InputError`.
        arguments: what can be pickled.
        received: called here with what a process gives to ``send``, which is neither None nor an
            exception.

    Raises:
        InputError: a process raised it.
        ProcessDiedError: a process died.
        KeyboardInterrupt: a process or this one was told to stop.
    """
    context = get_context("spawn") if sys.platform == "win32" else get_context("forkserver")
    # A server that has imported all this, and forks: processes of a later job start at once.
    context.set_forkserver_preload([work.__module__])
    started: dict[Connection, tuple[Process, BaseProcess]] = {}
    on_term = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for index in range(world):
            process = Process(index, world)
            ours, theirs = context.Pipe()
            new = context.Process(
                target=_main, args=(theirs, process, work, arguments), name=f"process {index}"
            )
            new.start()
            theirs.close()  # so that ours ends when the process does
            started[ours] = process, new
        busy = set(started)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                process, child = started[pipe]
                message = _message(pipe, child)
                if message is None:
                    busy.remove(pipe)
                else:
                    received(process, message)
        _join([child for _, child in started.values()])
    finally:
        _stop([child for _, child in started.values()])
        signal.signal(signal.SIGTERM, on_term)


def _main(
    pipe: Connection, process: Process, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """What a new process does."""
    if sys.platform != "win32":
        # SLURM sends a job's warning to all its processes; only the first may answer it.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    threading.Thread(target=_stop_with_the_job, args=(pipe,), daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // process.world))
    try:
        try:
            work(process, pipe.send, *arguments)
        except InputError as error:
            pipe.send(error)
        else:
            pipe.send(None)
    except (KeyboardInterrupt, ConnectionError):  # told to stop, or the job's process is gone
        sys.exit(_INTERRUPTED)


def _stop_with_the_job(pipe: Connection) -> None:
    """Stop this process when the one that started it is gone, even by SIGKILL."""
    try:
        pipe.recv()  # nothing is ever sent this way
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _message(pipe: Connection, child: BaseProcess) -> object:
    """What a process sent; None when it is done.

    Raises:
        InputError, ProcessDiedError, KeyboardInterrupt: see `in_processes`.
    """
    try:
        message = pipe.recv()
    except (EOFError, ConnectionError):
        child.join()
        code = child.exitcode or 0
        if code == _INTERRUPTED:
            raise KeyboardInterrupt from None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        todo = "the same command computes what is missing"
        raise ProcessDiedError(f"trainer.devices: {child.name} {how}; {todo}") from None
    if isinstance(message, InputError):
        raise message
    return message


def _join(children: Collection[BaseProcess]) -> None:
    deadline = time.monotonic() + _TIME_TO_WRITE
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))


def _stop(children: Collection[BaseProcess]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for child in children:
        child.terminate()
    _join(children)
    for child in children:
        child.kill()
        child.join()


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
