"""The folder of a launch: its jobs and their states. They are read from the queue and text files, never from pickles.

    FOLDER/jobs.json        the jobs, their resources, version of the code; written after all are submitted
    FOLDER/code/            copy of the code that the jobs run
    FOLDER/NAME.toml        full configuration of a job
    FOLDER/NAME.lives       one line for each start and each end of the job, which may start several times
    FOLDER/log/             output of the jobs, and submitit's own files
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc.stop import EXIT_INTERRUPTED
from protmpi.errors import LaunchError

INDEX = "jobs.json"
WAITING = {"pending", "running", "completing", "configuring", "suspended", "requeued", "requeue_hold", "stopped"}
"""State in the queue of a job that has not ended for good."""


@dataclass(frozen=True)
class Resources:
    """Resources of each job."""

    nodes: int
    ranks_per_node: int
    gpus_per_node: int
    minutes: int

    @property
    def unit(self) -> str:
        """Unit of the cost: GPUs if there are any, else cores."""
        return "GPU" if self.gpus_per_node else "core"

    @property
    def units(self) -> int:
        return self.nodes * (self.gpus_per_node or self.ranks_per_node)

    def cost(self, jobs: int) -> str:
        """Upper bound of the cost of some jobs until their time limit."""
        hours = self.minutes / 60
        return (f"jobs: {jobs}, each {self.units} {self.unit}{'s' * (self.units > 1)} x {hours:.3g} h: at most "
                f"{jobs * self.units * hours:,.4g} {self.unit}-hours until the time limit, at which an unfinished job "
                "commits and goes back into the queue")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One submitted job. `id` is its Slurm number, or a process of this machine."""

    id: str
    name: str
    commands: list[list[str]]
    """Arguments of protmpi, one command after the other."""
    store: str

    def lives(self, folder: Path) -> Path:
        """File in which the job notes its starts and ends."""
        return (folder / f"{self.name}.lives").absolute()

    def log(self, folder: Path) -> Path:
        """File of its output."""
        return folder / "log" / f"{self.id}_0_log.out"


@dataclass(frozen=True)
class Launch:
    """All jobs of one launch."""

    executor: str
    resources: Resources
    code: dict[str, str]
    jobs: list[Job]

    def write(self, folder: Path) -> None:
        (folder / INDEX).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Launch:
        """Read the launch of a folder. Raises LaunchError if the folder holds none."""
        try:
            found = json.loads((folder / INDEX).read_text())
            return cls(found["executor"], Resources(**found["resources"]), found["code"],
                       [Job(**job) for job in found["jobs"]])  # fmt: skip
        except (FileNotFoundError, NotADirectoryError):
            raise LaunchError(f"{folder}: no {INDEX} here; give the folder that `protmpi launch` printed") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LaunchError(f"{folder / INDEX}: damaged ({error})") from None

    def queue(self) -> dict[str, str] | None:
        """State of each job in Slurm or in the table of processes. None if there is no squeue."""
        if self.executor == "local":
            return {job.id: "running" for job in self.jobs if _lives(job.id)}
        if shutil.which("squeue") is None:
            return None
        wanted = ",".join(sorted({job.id.partition("_")[0] for job in self.jobs}))
        done = subprocess.run(
            ["squeue", "--noheader", "--array", "--states=all", f"--jobs={wanted}", "--format=%i %T"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return {words[0]: words[1].lower() for line in done.stdout.splitlines() if len(words := line.split()) == 2}


def minutes(limit: str) -> int:
    """A time limit as Slurm writes it, [D-]HH:MM:SS or whole minutes. Raises LaunchError."""
    if limit.isdigit() and int(limit) > 0:
        return int(limit)
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", limit)
    days, hours, whole, _ = map(int, found.groups("0")) if found else (0, 0, 0, 0)
    total = (24 * days + hours) * 60 + whole
    if total < 1:
        raise LaunchError(f"--time {limit}: write [D-]HH:MM:SS or minutes, at least one")
    return total


def note(lives: Path, **event: float | int) -> None:
    """Add a line for the moment when a job `began`, or `ended` with a `status`."""
    with lives.open("a") as file:
        file.write(json.dumps(event) + "\n")


def read_lives(lives: Path) -> list[dict[str, Any]]:
    """The lines of a job. There is none before its first start."""
    try:
        return [json.loads(line) for line in lives.read_text().splitlines()]
    except (OSError, ValueError):
        return []


def state(lives: list[dict[str, Any]], queued: str | None, blind: bool = False) -> str:
    """State of a job in one or two words, from its notes and the queue. `blind`: the queue cannot be asked.

    A job without a note of its end that the queue no longer knows was killed, for example by the loss of its node.
    """
    last = lives[-1] if lives else {}
    status = last.get("status")
    if status is not None and status != EXIT_INTERRUPTED:
        return f"failed ({status})" if status else "finished"
    if queued in WAITING:
        return queued or ""
    if status is not None:
        return "stopped"
    return queued or (("started" if last else "submitted") if blind else "lost")


def seconds(lives: list[dict[str, Any]], last_heard: float) -> float:
    """Total time that a job ran over all its starts. Of starts killed without a note, only the last counts."""
    total = 0.0
    for event, following in itertools.pairwise([*lives, {"ended": last_heard}]):
        if "began" in event and "ended" in following:
            total += max(0.0, following["ended"] - event["began"])
    return total


def _lives(pid: str) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
