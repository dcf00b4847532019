"""A SLURM of two nodes on this machine, with accounting, in a network that holds only itself.

    make test-slurm

It runs in namespaces of its own (`unshare --net --pid`): nobody else can reach it, and nothing is
left when it ends, however it ends.
"""

import fcntl
import os
import secrets
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

# From Linux' sys/ioctl.h and net/if.h.
_SIOCSIFFLAGS, _SIOCSIFADDR, _IFF_UP, _IFF_RUNNING = 0x8914, 0x8916, 0x1, 0x40
# Seconds after which a part that has not started counts as failed.
_PATIENCE = 120.0

_SLURM = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MaxArraySize=100
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/{accounting}
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass={folder}/munge.socket
NodeName=n0 NodeHostname=localhost NodeAddr=127.0.0.1 Port=16818 CPUs=1 RealMemory=8000
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=16828 CPUs=1 RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=10
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""

_DATABASE = """
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=16806
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""


class ClusterError(RuntimeError):
    """The SLURM of the tests does not start or does not answer."""


class Cluster:
    """A SLURM on this machine.

    Args:
        folder: for its configuration, state and logs; empty.
        accounting: whether it keeps records of how jobs ended (`sacct`).
    """

    def __init__(self, folder: Path, accounting: bool = True) -> None:
        self.folder = folder
        self.accounting = accounting
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start it, and wait until both nodes are idle."""
        if [name for _, name in socket.if_nameindex()] != ["lo"]:
            raise ClusterError("needs a network of its own: call `make test-slurm`")
        _bring_up_network()
        self.folder.chmod(0o755)  # munge wants others to reach its socket
        for name in ("state", "spool-n0", "spool-n1"):
            (self.folder / name).mkdir()
        kind = "slurmdbd" if self.accounting else "none"
        (self.folder / "slurm.conf").write_text(_SLURM.format(folder=self.folder, accounting=kind))
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self._start("slurmctld", "-D")
        for node in ("n0", "n1"):
            self._nodes[node] = self._start("slurmd", "-D", "-N", node)
        self._wait(self._is_ready)

    def stop(self) -> None:
        """Stop it, the last started first."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def output(self, *command: str) -> str:
        """The output of a command.

        Raises:
            ClusterError: it fails.
        """
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def nodes(self) -> dict[str, str]:
        """The state of each node."""
        lines = self.output("sinfo", "--Node", "--noheader", "--format=%N %T", "--partition=main")
        return dict(line.split() for line in lines.splitlines())

    def resume(self, node: str) -> None:
        """Let a node take jobs again; one that answers may already have come back."""
        if self.nodes()[node].rstrip("*") in ("down", "drained", "draining"):
            self.output("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def lose(self, node: str) -> None:
        """Kill a node, with everything that runs on it."""
        jobs = self.output("squeue", f"--nodelist={node}", "--noheader", "--format=%A").split()
        self._nodes[node].kill()
        self._nodes[node].wait()
        for process in _processes_of(jobs):
            os.kill(process, signal.SIGKILL)
        self.output("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")

    def bring_back(self, node: str) -> None:
        """Start a lost node again."""
        self._daemons.remove(self._nodes[node])
        self._nodes[node] = self._start("slurmd", "-D", "-N", node)
        self._wait(lambda: self.nodes()[node] == "idle")

    def jobs(self) -> dict[str, str]:
        """The state of each job that waits or runs, by its id."""
        lines = self.output("squeue", "--array", "--noheader", "--format=%i %T")
        return dict(line.split() for line in lines.splitlines())

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "log", "seed")]
        listening = f"--socket={self.folder}/munge.socket"
        self._start("munged", "--foreground", "--force", f"--key-file={key}", listening, *files)
        self._wait((self.folder / "munge.socket").exists)

    def _start_accounting(self) -> None:
        data, listening = self.folder / "database", self.folder / "database.socket"
        shared = ("--no-defaults", f"--datadir={data}", "--user=root")
        normal = "--auth-root-authentication-method=normal"
        self.output("mariadb-install-db", *shared, "--skip-test-db", normal)
        listen = ("--bind-address=127.0.0.1", "--port=16806", f"--socket={listening}")
        fast = "--innodb-flush-log-at-trx-commit=0"
        self._start("mariadbd", *shared, *listen, f"--pid-file={listening}.pid", fast)
        self._wait(listening.exists)
        password = secrets.token_hex(16)
        statements = "CREATE DATABASE slurm;" + "".join(
            f"CREATE USER slurm@'{host}' IDENTIFIED BY '{password}';"
            f"GRANT ALL ON slurm.* TO slurm@'{host}';"
            for host in ("localhost", "127.0.0.1")
        )
        self.output(
            "mariadb", "--no-defaults", "--user=root", f"--socket={listening}", "-e", statements
        )
        settings = self.folder / "slurmdbd.conf"
        settings.write_text(_DATABASE.format(folder=self.folder, password=password))
        settings.chmod(0o600)  # or slurmdbd refuses it
        self._start("slurmdbd", "-D")
        self._wait(lambda: self._answers("sacctmgr", "--noheader", "show", "cluster"))
        self.output("sacctmgr", "--immediate", "add", "cluster", "test")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self._daemons)}-{command[0]}.out").open("wb") as output:
            daemon = subprocess.Popen(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._daemons.append(daemon)
        return daemon

    def _is_ready(self) -> bool:
        return self._answers("sinfo") and set(self.nodes().values()) == {"idle"}

    def _answers(self, *command: str) -> bool:
        try:
            self.output(*command)
        except ClusterError:
            return False
        return True

    def _wait(self, is_true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not is_true():
            gone = [str(each.args) for each in self._daemons if each.poll() is not None]
            if gone or time.monotonic() > deadline:
                logs = "\n".join(
                    f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
                    for path in sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
                )
                raise ClusterError(f"ended: {gone or 'none'}, or too slow\n{logs}")
            time.sleep(0.1)


def _processes_of(jobs: Sequence[str]) -> list[int]:
    """The processes of some jobs, and SLURM's own processes that watch them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            variables = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            for job in jobs:
                if f"SLURM_JOB_ID={job}" in variables or f"slurmstepd: [{job}." in command:
                    found.append(int(folder.name))
    return found


def _bring_up_network() -> None:
    """Start the loopback device, with a second address: with 127.* alone no name is looked up."""
    up = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING)
    address = struct.pack("16sH2x4s8x", b"lo:1", socket.AF_INET, socket.inet_aton("10.0.0.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, up)
        fcntl.ioctl(any_socket, _SIOCSIFADDR, address)
