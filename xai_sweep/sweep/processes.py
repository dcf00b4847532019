"""Several processes for one job, one per device, which Lightning joins to a group."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from xai_sweep.core.errors import InputError

# Seconds that a rank which is told to stop has to write down what it has.
_LAST_WORDS = 60.0
_INTERRUPTED = 130


class RankError(ChildProcessError):
    """A process of the job is gone; what it wrote stays, and the next call computes the rest."""


def in_ranks(
    count: int,
    work: Callable[..., None],
    *arguments: Any,
    heed: Callable[[int, Any], None] = lambda rank, news: None,
) -> None:
    """Call ``work(rank, tell, *arguments)`` in so many new processes, and wait until all are done.

    In each of them Lightning's `LightningEnvironment` finds its rank. Lightning by itself would
    start the script again, which under ``-m`` is the whole sweep, each time in another folder.

    If a rank fails or is killed, or this process is told to stop, the others are told to stop.

    Args:
        count: how many.
        work: a function of a module; it may raise `InputError`.
        arguments: what can be pickled.
        heed: called here with the rank, and with what it gives to `tell`, which is never None and
            no exception.

    Raises:
        InputError: a rank raised it.
        RankError: a rank is gone.
        KeyboardInterrupt: a rank or this process was told to stop.
    """
    context = get_context("spawn") if sys.platform == "win32" else get_context("forkserver")
    # A process that has imported all this, and forks; ranks of a later job start at once.
    context.set_forkserver_preload([work.__module__])
    port = _free_port()
    ranks: dict[Connection, BaseProcess] = {}
    on_term = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for rank in range(count):
            ours, theirs = context.Pipe()
            where = (rank, count, port)
            process = context.Process(
                target=_rank, args=(theirs, where, work, arguments), name=f"rank {rank}"
            )
            process.start()
            theirs.close()  # then ours ends when the process does
            ranks[ours] = process
        busy = set(ranks)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                news = _received(pipe, ranks[pipe])
                if news is None:
                    busy.remove(pipe)
                else:
                    heed(list(ranks).index(pipe), news)
        for pipe in ranks:
            pipe.send("all are done")
        _join(ranks.values())
    finally:
        _stop(ranks.values())
        signal.signal(signal.SIGTERM, on_term)


def _rank(
    pipe: Connection,
    where: tuple[int, int, int],
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    rank, count, port = where
    if sys.platform != "win32":
        # SLURM sends a job's warning to all its processes; only the first knows what to do.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    all_are_done = threading.Event()
    threading.Thread(target=_listen, args=(pipe, all_are_done), daemon=True).start()
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
    }
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        answer = _answer(work, rank, pipe.send, *arguments)
        pipe.send(answer)
    except (KeyboardInterrupt, ConnectionError):  # told to stop, or the job is gone
        sys.exit(_INTERRUPTED)
    if answer is None:
        # The group lives in the first rank, so that nobody may leave before all are done.
        all_are_done.wait()
    if dist.is_initialized():
        dist.destroy_process_group()


def _listen(pipe: Connection, all_are_done: threading.Event) -> None:
    """Hear that all are done, or stop because the job's own process is gone, even by SIGKILL."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
    all_are_done.set()


def _answer(work: Callable[..., None], *arguments: Any) -> InputError | None:
    try:
        work(*arguments)
    except InputError as error:
        return error
    return None


def _received(pipe: Connection, process: BaseProcess) -> object:
    """What a rank says; None when it is done.

    Raises:
        InputError, RankError, KeyboardInterrupt: see `in_ranks`.
    """
    try:
        news = pipe.recv()
    except (EOFError, ConnectionError):
        process.join()
        code = process.exitcode or 0
        if code == _INTERRUPTED:
            raise KeyboardInterrupt from None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise RankError(
            f"trainer=ddp: {process.name} {how}; the same command computes what is missing"
        ) from None
    if isinstance(news, InputError):
        raise news
    return news


def _join(processes: Collection[BaseProcess]) -> None:
    deadline = time.monotonic() + _LAST_WORDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))


def _stop(processes: Collection[BaseProcess]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for process in processes:
        process.terminate()
    _join(processes)
    for process in processes:
        process.kill()
        process.join()


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
