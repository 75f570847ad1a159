"""A real Slurm of one node for the tests: submitted jobs, their states, their output."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import mpi_environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
LIMIT = 600.0  # seconds: far above what any job here needs, on a busy machine too
SETTINGS = {"PROTMPI_LAUNCHER", "PROTMPI_CONTAINER", "PROTMPI_VENV", "PROTMPI_HOME", "PROTMPI_REQUEUE"}


def why_not() -> str:
    """Why no Slurm can be started here, "" where one can."""
    if os.geteuid() != 0:
        return "a Slurm of its own needs root (or a container in which one is root)"
    missing = [program for program in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(program) is None]
    return f"no {', '.join(missing)} here: apt-get install slurm-wlm munge libpmix-dev" if missing else ""


class Cluster:
    """Slurm in a folder, from `start` to `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {name: value for name, value in mpi_environment().items() if name not in SETTINGS}
        self.environment = {
            **kept, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path, "PROTMPI_VENV": sys.prefix,
        }  # fmt: skip

    def start(self) -> None:
        ports = [str(free_port()) for _ in range(2)]
        done = subprocess.run([HERE / "start.sh", self.folder, *ports], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def stop(self) -> None:
        subprocess.run([HERE / "stop.sh", self.folder], timeout=60, check=False)

    def call(self, *command: object, **environment: str) -> str:
        done = subprocess.run(
            [str(word) for word in command], env={**self.environment, **environment}, cwd=ROOT, text=True,
            capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def submit(self, *arguments: object, **environment: str) -> str:
        """Job id of `sbatch ARGUMENTS`, two ranks and five minutes unless they say otherwise."""
        output = self.folder / "log" / "job-%A-%a.out"
        return self.call("sbatch", "--parsable", f"--output={output}", "--ntasks-per-node=2", "--time=5", *arguments,
                         **environment)  # fmt: skip

    def state(self, job: str) -> str:
        """State of a job, or of one task of an array (JOB_TASK)."""
        return self.call("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")

    def restarts(self, job: str) -> int:
        found = re.search(r"Restarts=(\d+)", self.call("scontrol", "show", "job", job))
        assert found
        return int(found[1])

    def wait(self, job: str, *states: str) -> str:
        """Wait until a job is in one of some states (default: has ended); the state."""
        wanted, deadline = set(states) or ENDED, time.monotonic() + LIMIT
        while (state := self.state(job)) not in wanted:
            assert time.monotonic() < deadline, f"job {job} is {state}, not {wanted}\n{self.output(job)}"
            time.sleep(0.2)
        return state

    def output(self, job: str) -> str:
        number, _, task = job.partition("_")
        files = sorted((self.folder / "log").glob(f"job-{number}-{task or '*'}.out"))
        return "\n".join(file.read_text() for file in files)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_commit(store: Path, newer_than: int = -1) -> None:
    """Wait until a run has committed something."""
    deadline = time.monotonic() + LIMIT
    while len(list((store / "commits").glob("[0-9]*.json"))) <= max(newer_than, 0):
        if time.monotonic() > deadline:
            pytest.fail(f"{store}: nothing committed within {LIMIT} s")
        time.sleep(0.05)
