"""A SLURM of one node, started for the tests: Debian's slurm-wlm and munge, run as root."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
CORES = 4  # more than a small machine has: an array of four runs at once
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
MinJobAge=3600
KillWait=10
NodeName=node0 NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=60000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
CGROUP = "CgroupPlugin=cgroup/v1\nIgnoreSystemd=yes\n"  # no systemd in a container


class Slurm:
    """The running SLURM: its environment, and the words to ask it with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def run(self, *words: object, **more: str) -> str:
        """Output of a command, which must succeed; `more` are variables of its environment."""
        done = subprocess.run(
            [str(word) for word in words],
            env={**self.env, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Job id of a script."""
        file = self.folder / f"job-{time.monotonic_ns()}.sh"
        file.write_text(script, "utf-8")
        out = str(self.folder / "job-%j.out")
        return self.run("sbatch", "--parsable", f"--output={out}", *options, file).strip()

    def jobs(self) -> list[dict[str, str]]:
        """What is told of every job and array task, key by key."""
        text = self.run("scontrol", "--oneliner", "show", "job")
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines()]

    def states(self, job: str) -> list[tuple[str, str]]:
        """State and exit code (``code:signal``) of a job, or of each task of an array."""
        own = [told for told in self.jobs() if job in (told.get("JobId"), told.get("ArrayJobId"))]
        own.sort(key=lambda told: int(told.get("ArrayTaskId", "0").split("-")[0].split(",")[0]))
        return [(told["JobState"], told["ExitCode"]) for told in own]

    def until(self, job: str, seconds: float = 150) -> None:
        """Wait until a job, every task of it, has ended."""
        end = time.monotonic() + seconds
        while not self.states(job) or not all(state in ENDED for state, _ in self.states(job)):
            assert time.monotonic() < end, self.told()
            time.sleep(0.3)

    def until_said(self, log: Path, text: str, seconds: float = 60) -> None:
        """Wait until a log has a text."""
        end = time.monotonic() + seconds
        while not log.exists() or text not in log.read_text("utf-8"):
            assert time.monotonic() < end, self.told()
            time.sleep(0.3)

    def latest(self, name: str) -> str:
        """Id of the job of this name that was submitted last."""
        own = [told for told in self.jobs() if told["JobName"] == name]
        return max((told.get("ArrayJobId", told["JobId"]) for told in own), key=int)

    def task(self, array: str, number: int) -> tuple[str, str]:
        """State and exit code of one task of an array."""
        for told in self.jobs():
            if told.get("ArrayJobId") == array and told.get("ArrayTaskId") == str(number):
                return told["JobState"], told["ExitCode"]
        return "PENDING", ""

    def told(self) -> str:
        """Jobs and the ends of the logs, for the message of a failure."""
        logs = [self.folder / name for name in ("slurmctld.log", "slurmd.log")]
        ends = [log.read_text("utf-8", "replace")[-3000:] for log in logs if log.exists()]
        return "\n".join([self.run("scontrol", "--oneliner", "show", "job"), *ends])


@contextmanager
def one_node(folder: Path) -> Iterator[Slurm]:
    """Start munged, slurmctld and slurmd in a folder of their own, and stop them."""
    _configure(folder)
    slurm, started = Slurm(folder), []
    munge = [f"--{name}={folder}/munge.{name}" for name in ("socket", "pid-file", "log-file")]
    munge += [f"--seed-file={folder}/munge.seed", f"--key-file={folder}/munge.key"]
    commands = (
        ("munged", "--foreground", "--force", *munge),
        ("slurmctld", "-D"),
        ("slurmd", "-D", "-N", "node0"),
    )
    try:
        for command in commands:
            started.append(_start(command, slurm))
            if command[0] == "munged":
                _wait_for(lambda: (folder / "munge.socket").exists(), "munged", slurm)
        _wait_for(lambda: _is_idle(slurm), "slurmd", slurm)
        yield slurm
    finally:
        _stop(slurm, started)


def missing() -> str | None:
    """Why there can be no SLURM here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"no {absent[0]}: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "a SLURM of one's own needs root"


def _configure(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    told = {"host": socket.gethostname().split(".")[0], "folder": folder, "cores": CORES}
    ports = {"ctld_port": _free_port(), "slurmd_port": _free_port()}
    (folder / "slurm.conf").write_text(CONF.format(**told, **ports), "utf-8")
    (folder / "cgroup.conf").write_text(CGROUP, "utf-8")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _start(command: tuple[str, ...], slurm: Slurm) -> subprocess.Popen[bytes]:
    with (slurm.folder / f"{command[0]}.said").open("wb") as said:
        return subprocess.Popen(command, env=slurm.env, stdout=said, stderr=said)


def _is_idle(slurm: Slurm) -> bool:
    asked = ["sinfo", "--noheader", "--format=%T"]
    done = subprocess.run(asked, env=slurm.env, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "idle"


def _wait_for(is_there: object, name: str, slurm: Slurm) -> None:
    end = time.monotonic() + 60
    while not is_there():  # type: ignore[operator]
        said = slurm.folder / f"{name}.said"
        assert time.monotonic() < end, f"{name} did not start: {said.read_text('utf-8')}"
        time.sleep(0.2)


def _stop(slurm: Slurm, started: list[subprocess.Popen[bytes]]) -> None:
    subprocess.run(["scancel", "--me"], env=slurm.env, check=False, timeout=30)
    for process in reversed(started):
        process.terminate()
    for process in reversed(started):
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
