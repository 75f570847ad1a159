"""Submit jobs through submitit: command lines that a user could type, on ranks that slurm/common.sh starts.

Before the time limit Slurm signals the process of the job, not the ranks. submitit then calls `Work.checkpoint`, which
passes the signal on and waits until all ranks have committed and ended. submitit then puts the job back into the queue.
The ranks agree in their own loop on when to stop, so no signal handler performs a collective.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from hpc.jobs import Job, Launch, Resources, note
from hpc.stop import EXIT_INTERRUPTED
from protmpi.errors import LaunchError

ROOT = Path(__file__).parents[1]
CODE = ("analysis", "hpc", "protmpi", "slurm")  # command of a job, relative to ROOT
ON_RANKS = 'source "$0/slurm/common.sh" && on_ranks "$@"'
COMMIT_TIME = 120  # seconds between the signal and the time limit, as in slurm/*.sh
LIVES = 10_000  # time limits that submitit lets a job reach; hpc.restarts ends jobs without progress


@dataclass(frozen=True)
class Queue:
    """The queue to which jobs are submitted."""

    executor: Literal["slurm", "local"]
    array_parallelism: int
    """Most jobs of one launch that Slurm runs at once."""
    options: list[str]
    """Further options of sbatch, for example partition=gpu or account=NAME."""

    def check(self, jobs: int, resources: Resources) -> None:
        """Raise LaunchError if these jobs cannot be submitted from this machine."""
        for option in self.options:
            if not re.fullmatch(r"[a-z][a-z-]*(=.+)?", option):
                raise LaunchError(f"--sbatch {option}: write name=value, for example --sbatch account=NAME")
        if not (ROOT / "slurm" / "common.sh").exists():
            raise LaunchError(f"no slurm/common.sh in {ROOT}: install protmpi from its checkout (pip install -e)")
        if self.executor == "slurm":
            if shutil.which("sbatch") is None or shutil.which("srun") is None:
                raise LaunchError("--executor slurm: no sbatch on this machine; log in to the cluster, or take local")
            return
        cores, ranks = len(os.sched_getaffinity(0)), jobs * resources.ranks_per_node
        if resources.nodes > 1:
            raise LaunchError(f"--nodes: {resources.nodes}, but --executor local has this machine alone")
        if ranks > cores:
            raise LaunchError(f"--executor local: {jobs} jobs of {resources.ranks_per_node} ranks would start at once "
                              f"on {cores} cores; launch fewer, or use slurm")  # fmt: skip
        if resources.ranks_per_node > 1 and _mpirun() is None:
            raise LaunchError("--executor local: no mpirun found; pip install 'protmpi[mpi]', or take one rank")

    def parameters(self, resources: Resources) -> dict[str, Any]:
        """Resources in the form of submitit."""
        common = {"timeout_min": resources.minutes, "nodes": resources.nodes, "name": "protmpi",
                  "stderr_to_stdout": True}  # fmt: skip
        if self.executor == "local":  # submitit starts one process, which starts mpirun
            return {**common, "tasks_per_node": 1, "gpus_per_node": resources.gpus_per_node}
        from submitit import JobEnvironment

        batch = {"signal": f"B:{JobEnvironment.USR_SIG}@{COMMIT_TIME}", "requeue": True}
        for option in self.options:
            name, equals, value = option.partition("=")
            batch[name] = value if equals else True
        found = {**common, "tasks_per_node": resources.ranks_per_node, "cpus_per_task": 1, "slurm_use_srun": False,
                 "slurm_array_parallelism": self.array_parallelism, "slurm_additional_parameters": batch}  # fmt: skip
        return {**found, "gpus_per_node": resources.gpus_per_node} if resources.gpus_per_node else found

    def launcher(self, resources: Resources) -> str | None:
        """Launcher of the ranks if PROTMPI_LAUNCHER is not set. None leaves the choice to slurm/common.sh."""
        if self.executor == "slurm":
            return None
        return "env" if resources.ranks_per_node == 1 else f"{_mpirun()} -n {resources.ranks_per_node} --bind-to none"


class Work:
    """The callable that submitit pickles and calls in the job. submitit calls `checkpoint` before a time limit."""

    def __init__(self, commands: list[list[str]], lives: Path, launcher: str | None) -> None:
        self.commands, self.lives, self.launcher = commands, lives, launcher
        self._child: int | None = None

    def __call__(self) -> None:
        note(self.lives, began=time.time())
        signal.signal(signal.SIGTERM, lambda *_: self._ask_to_commit())  # submitit would ignore it
        for command in self.commands:
            status = self._on_ranks(command)
            if status:
                note(self.lives, ended=time.time(), status=status)
                raise LaunchError(f"protmpi {' '.join(command)} ended with status {status}")
        note(self.lives, ended=time.time(), status=0)

    def checkpoint(self) -> Any:
        """The work that submitit starts again after protmpi has ended. Runs in the signal handler of submitit."""
        from submitit.helpers import DelayedSubmission

        self._ask_to_commit()
        if self._child is not None:
            with suppress(ChildProcessError):  # `_on_ranks` collects its status, or has already done so
                os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)
        note(self.lives, ended=time.time(), status=EXIT_INTERRUPTED)
        return DelayedSubmission(Work(self.commands, self.lives, self.launcher))

    def _ask_to_commit(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGUSR1)  # slurm/common.sh repeats it until the run has ended

    def _on_ranks(self, command: list[str]) -> int:
        """Exit status of `protmpi COMMAND` on all ranks of the job."""
        settings = {"PROTMPI_VENV": sys.prefix, "PROTMPI_REQUEUE": "0"}
        if self.launcher and "PROTMPI_LAUNCHER" not in os.environ:
            settings["PROTMPI_LAUNCHER"] = self.launcher
        process = subprocess.Popen(["bash", "-c", ON_RANKS, str(ROOT), *command], env={**os.environ, **settings})
        self._child = process.pid
        try:
            while process.poll() is None:
                time.sleep(0.2)  # not wait(): the signal handler waits for the same process
        except (OSError, subprocess.SubprocessError) as error:  # of submitit's call of scontrol, in the handler
            raise LaunchError(f"committed and not requeued ({error}): launch again to continue") from None
        self._child = None
        return process.returncode


def submit(folder: Path, jobs: list[Job], queue: Queue, resources: Resources) -> Launch:
    """Submit all jobs, with their logs in `folder`; several Slurm jobs form one array. Returns the jobs with their ids.

    Raises LaunchError if submitit is missing or Slurm refuses the jobs.
    """
    try:
        import submitit
    except ImportError:
        raise LaunchError("launch needs submitit: pip install -c constraints.txt -e '.[launch]'") from None
    python = shlex.join(["env", f"PYTHONPATH={pinned(folder)}", sys.executable, "-P"])  # -P: not the current folder
    # Slurm signals the first process of the job: it must be submitit's, not a shell
    slurm = {"slurm_python": f"exec {python}", "slurm_max_num_timeout": LIVES}
    runs = submitit.AutoExecutor(folder / "log", queue.executor,
                                 **(slurm if queue.executor == "slurm" else {"local_python": python}))  # fmt: skip
    runs.update_parameters(**queue.parameters(resources))
    try:
        with _without_terminal(), runs.batch():
            submitted = [runs.submit(Work(job.commands, job.lives(folder), queue.launcher(resources))) for job in jobs]
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
        raise LaunchError(f"sbatch refused: {' '.join(str(error).split())}") from None
    done = [Job(str(handle.job_id), job.name, job.commands, job.store)
            for handle, job in zip(submitted, jobs, strict=True)]  # fmt: skip
    return Launch(queue.executor, resources, code_version(), done)


def pinned(folder: Path) -> str:
    """PYTHONPATH of a copy of the code in `folder`. All starts of a job run this copy, even if the checkout changes."""
    code = folder.absolute() / "code"
    for name in CODE:
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    return ":".join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))


def code_version() -> dict[str, str]:
    """Version of the package and, in a checkout, its commit, with a + if files differ from it."""
    version = {"version": metadata.version("protmpi")}
    git = ["git", "-C", str(ROOT)]
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return version
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changes = subprocess.run([*git, "status", "--porcelain", "--", *CODE], capture_output=True, check=False)
    return {**version, "commit": commit.stdout.strip() + ("+" if changes.stdout else "")}


@contextmanager
def _without_terminal() -> Iterator[None]:
    """Context whose child processes survive this terminal and keep none of its pipes open."""
    streams = (0, 1, 2)
    kept, null = [os.dup(stream) for stream in streams], os.open(os.devnull, os.O_RDWR)
    try:
        for stream in streams:
            os.dup2(null, stream)
        yield
    finally:
        for stream, old in zip(streams, kept, strict=True):
            os.dup2(old, stream)
            os.close(old)
        os.close(null)


def _mpirun() -> str | None:
    return shutil.which("mpirun", path=f"{sys.prefix}/bin:{os.environ.get('PATH', '')}")
