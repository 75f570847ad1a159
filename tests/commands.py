"""Commands with a time limit, so that no hung rank can hang the suite."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from protmpi.store.reader import Store

Command = Callable[..., subprocess.CompletedProcess[str]]
LIMIT = 180.0  # seconds: far above what any command here needs


def mpi_environment() -> dict[str, str]:
    """Open MPI that runs as root and does not burn the cores that compute."""
    names = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_mpi_yield_when_idle")
    return {**os.environ, **dict.fromkeys(names, "1")}


def launch(
    arguments: list[str], limit: float = LIMIT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own and kill the whole group when it takes too long."""
    process = subprocess.Popen(
        arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=environment or mpi_environment(),
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"{' '.join(arguments)} took more than {limit} s\n{out}\n{err}")
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


PROGRAM = str(Path(sys.executable).with_name("protmpi"))
PRELOADED = ["torch", "zarr", "h5py", "protmpi.cli", "protmpi.run", "protmpi.references", "protmpi.bench.commands"]
"""Modules that a command of one process finds imported. They start neither threads nor MPI."""


def alone(arguments: list[str], limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
    """`protmpi` with these arguments in a process of its own, forked from one that has imported its modules: an import
    takes longer than most commands here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / "out", Path(folder) / "err"]
        process = context.Process(target=_program, args=(arguments, os.getcwd(), dict(mpi_environment()), streams))
        process.start()
        process.join(limit)
        if process.is_alive():
            process.kill()
            process.join()
        out, err = (path.read_text() if path.exists() else "" for path in streams)
        if process.exitcode == -signal.SIGKILL:
            pytest.fail(f"protmpi {' '.join(arguments)} took more than {limit} s\n{out}\n{err}")
    return subprocess.CompletedProcess([PROGRAM, *arguments], process.exitcode or 0, out, err)


def _program(arguments: list[str], folder: str, environment: dict[str, str], streams: list[Path]) -> None:
    os.setsid()
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from protmpi.cli import main

    sys.argv = ["protmpi", *arguments]
    main()


def mpirun_command(ranks: int) -> list[str]:
    """mpirun as the Makefile calls it, with more ranks than cores allowed."""
    found = os.environ.get("MPIRUN") or str(Path(sys.executable).with_name("mpirun"))
    if shutil.which(found) is None:
        pytest.skip(f"no mpirun at {found}; make setup installs one")
    return [found, "-n", str(ranks), "--bind-to", "none", "--oversubscribe"]


def digest(protmpi: Command, config: Path, store: Path, *options: str, ranks: int = 0) -> str:
    """Run to the end and digest."""
    done = protmpi("run", config, "--store", store, *options, ranks=ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    return Store(store).digest()
