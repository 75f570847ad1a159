"""Ranks that die under a real mpirun."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import LIMIT, Command, digest, launch, mpi_environment, mpirun_command
from short_run import CONFIG, look

from hpc.stop import EXIT_INTERRUPTED
from protmpi.store import commit
from protmpi.store.reader import Store

ROOT = Path(__file__).parents[2]
PROTMPI = str(Path(sys.executable).with_name("protmpi"))
RANKS = str(ROOT / "slurm" / "ranks.sh")


@pytest.mark.parametrize(
    ("rank", "moment", "committed"),
    [(0, "os.rename /store.zarr/commits/.00000001", 1), (1, "open /store.zarr/energy/c/1/", 0)],
)
def test_a_rank_that_is_killed_ends_all_and_nothing_committed_is_lost(
    protmpi: Command, tmp_path: Path, rank: int, moment: str, committed: int
) -> None:
    config, store = tmp_path / "short.toml", tmp_path / "store.zarr"
    config.write_text(CONFIG)
    program = [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(rank), moment]
    killed = launch([*mpirun_command(2), *program, "run", str(config), "--store", str(store)])
    assert killed.returncode != 0
    assert len(commit.record_paths(store)) == committed
    assert look(store)[1] == []
    assert digest(protmpi, config, store, ranks=2) == digest(protmpi, config, tmp_path / "whole.zarr")


def test_a_signal_to_one_rank_ends_all_within_an_estimate(tmp_path: Path) -> None:
    """Three ranks hear of it from the fourth, in the middle of an estimate that would last for hours."""
    config, store = tmp_path / "short.toml", tmp_path / "store.zarr"
    config.write_text(CONFIG.replace("_extractions = 5", "_extractions = 1000000000"))
    program = [PROTMPI, "run", str(config), "--store", str(store), "--set", "sampler.walkers_per_temperature=2"]
    running = subprocess.Popen([*mpirun_command(4), *program], stdout=subprocess.PIPE, env=mpi_environment(), text=True,
                               start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT
        while not (store / "lock.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2.0)
        ranks = [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
        assert len(ranks) == 4
        os.kill(ranks[2], signal.SIGTERM)
        out, _ = running.communicate(timeout=LIMIT)
        assert running.returncode == EXIT_INTERRUPTED, out
        assert "SIGTERM: stopped before the first step" in out
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)


class Terminal:
    """A command with a terminal of its own, and what its user does there once the run has committed for the first time.

    `launcher` is what stands before protmpi.
    """

    def __init__(self, launcher: list[str], config: Path, store: Path) -> None:
        self.keyboard, screen = os.openpty()
        self.store, self.output = store, store.with_suffix(".txt")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *launcher, PROTMPI, "run", str(config), "--store", str(store)],
                stdin=screen, stdout=output, stderr=subprocess.STDOUT, env=mpi_environment(),
            )  # fmt: skip
        os.close(screen)

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals all its foreground processes."""
        os.write(self.keyboard, b"\x03")

    def after(self, *actions: Callable[[Terminal], None]) -> int:
        """Exit status, where one action comes 0.1 s after the other."""
        try:
            deadline = time.monotonic() + LIMIT
            while not commit.record_paths(self.store) and time.monotonic() < deadline:
                assert self.process.poll() is None, self.output.read_text()
                time.sleep(0.01)
            for action in actions:
                action(self)
                time.sleep(0.1)
            return self.process.wait(LIMIT)
        finally:
            os.close(self.keyboard)
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory, protmpi: Command) -> tuple[Path, str]:
    """Configuration of a run of some seconds that commits early, and its digest when nobody disturbs it."""
    folder = tmp_path_factory.mktemp("longer")
    config = folder / "longer.toml"
    config.write_text(CONFIG.replace("steps = 40", "steps = 400").replace("chunk = 2", "chunk = 10"))
    return config, digest(protmpi, config, folder / "whole.zarr")


@pytest.mark.parametrize(
    "action",
    [Terminal.interrupt, lambda run: run.process.send_signal(signal.SIGINT),
     lambda run: os.killpg(run.process.pid, signal.SIGTERM)],
    ids=["Ctrl-C", "INT to the launcher", "TERM to its group"],
)  # fmt: skip
def test_ranks_that_the_launcher_is_told_to_stop_commit(
    protmpi: Command, tmp_path: Path, longer: tuple[Path, str], action: Callable[[Terminal], None]
) -> None:
    (config, whole), store = longer, tmp_path / "store.zarr"
    run = Terminal([RANKS, *mpirun_command(2)], config, store)
    assert run.after(action) == EXIT_INTERRUPTED, run.output.read_text()
    record = Store(store).record
    assert record is not None
    assert record["stop"]["reason"] == "SIGUSR1"
    assert 0 < record["step"] < 400
    assert not (store / "lock.json").exists()
    assert digest(protmpi, config, store, ranks=2) == whole


def test_a_second_interrupt_does_not_wait_for_the_ranks(
    protmpi: Command, tmp_path: Path, longer: tuple[Path, str]
) -> None:
    """What they committed, before it or because of the first one, stands."""
    (config, whole), store = longer, tmp_path / "store.zarr"
    run = Terminal([RANKS, *mpirun_command(2)], config, store)
    assert run.after(Terminal.interrupt, Terminal.interrupt) not in (0, EXIT_INTERRUPTED), run.output.read_text()
    assert digest(protmpi, config, store, ranks=2) == whole


def test_a_bare_mpirun_does_what_the_documents_say(protmpi: Command, tmp_path: Path, longer: tuple[Path, str]) -> None:
    """That of Open MPI kills its ranks. So the test above would find a `slurm/ranks.sh` that passes nothing on."""
    version = launch([mpirun_command(1)[0], "--version"]).stdout
    (config, whole), store = longer, tmp_path / "store.zarr"
    run = Terminal(mpirun_command(2), config, store)
    status = run.after(Terminal.interrupt)
    if "Open MPI" in version:
        assert status == 1
        record = Store(store).record
        assert record is not None
        assert "stop" not in record
        assert (store / "lock.json").exists()
    else:
        assert status == EXIT_INTERRUPTED
    assert digest(protmpi, config, store, ranks=2) == whole


def test_every_run_of_the_makefile_can_be_interrupted() -> None:
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if re.search(r"\$\(MPIRUN\)|mpirun ", line)]
    assert [line.split()[0] for line in lines] == ["RANKS", "MPIRUN=$(MPIRUN)"]
