"""A signal to one of four ranks, in every phase of the work: all ranks stop at the same step, whatever they are in.

No time is asserted: the phases would last for hours, so that a rank that does not hear cannot pass.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from forked import ForkedRanks, Outcome, Program, Running
from short_run import load, look, sample

from hpc.stop import MARGIN, Stop
from protmpi import references, tasks
from protmpi.cli import main
from protmpi.display import Display
from protmpi.ensemble import Ensemble
from protmpi.run import run
from protmpi.store.reader import Store
from protmpi.tasks import kspin

RANKS = 4
WELL_IN = 100  # passes through the network after which a rank is in its phase
FOUR = ("sampler.walkers_per_temperature=2",)
ENDLESS = 10**9
LONG = (f"run.steps={2 * ENDLESS}", f"run.record_every={ENDLESS}", f"run.snapshot_every={ENDLESS}",
        f"sampler.max_adj_step={ENDLESS}", "tempering.kind=none")  # fmt: skip
FIXED = f"sampler.min_adj_step={ENDLESS}"

PHASES: dict[str, tuple[str, ...]] = {
    "variance estimation": (f"sampler.min_extractions={ENDLESS}", f"sampler.max_extractions={ENDLESS}"),
    "burn-in": (*LONG, FIXED, f"sampler.adapt_until={ENDLESS}"),
    "sampling": (*LONG, FIXED, "sampler.adapt_until=1"),
    "a trajectory": (*LONG[:3], FIXED, LONG[-1], "sampler.kind=trajectories", f"sampler.trajectory={ENDLESS}"),
    "evaluation": (*LONG, FIXED, "run.steps=1000", "run.record_every=1", "data.val=100000"),
}


class Announced(Stop):
    """Says by a file when this rank is well in its phase."""

    def __init__(self, world: ForkedRanks, folder: Path, **arguments: object) -> None:
        super().__init__(world, **arguments)  # type: ignore[arg-type]
        self.passes, self.mark = 0, folder / f"rank-{world.rank}"

    def check(self) -> None:
        super().check()
        self.passes += 1
        if self.passes == WELL_IN:
            self.mark.touch()


def stopped(program: Program, folder: Path, victim: int | None) -> list[Outcome]:
    """What becomes of the ranks when one of them gets SIGTERM after all are well in their phase."""
    running = Running(program, RANKS)
    while len(list(folder.glob("rank-*"))) < RANKS:
        assert running.alive(), running.wait()
        time.sleep(0.01)
    if victim is not None:
        os.kill(running.pids[victim], signal.SIGTERM)
    return running.wait()


@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_to_one_rank_stops_all_at_the_same_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    if phase == "evaluation":
        monkeypatch.setattr(kspin, "CHUNK", 1)
    config, store = load(folder / "store.zarr", *FOUR, *PHASES[phase]), folder / "store.zarr"
    victim = list(PHASES).index(phase) % RANKS

    def program(world: ForkedRanks) -> bool:
        return run(config, world, Announced(world, folder), Display(world.rank, False))

    outcomes = stopped(program, folder, victim)
    assert [o.value for o in outcomes] == [False] * RANKS, [o.printed for o in outcomes]
    assert "SIGTERM: " in outcomes[0].printed
    record = Store(store).record
    if phase in ("burn-in", "sampling"):  # which had steps to commit; `ranks disagree` ends a commit otherwise
        assert record is not None
        assert record["step"] > 0
        assert record["stop"]["reason"] == "SIGTERM"
        print(f"{phase}: committed {record['stop']['seconds']:.2f} s after the signal")
        assert look(store)[1] == []
    else:
        assert record is None
        assert "stopped before the first step" in outcomes[0].printed


def test_ranks_that_are_not_told_would_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a trajectory nobody ends without the shout of the rank that got the signal."""
    monkeypatch.setattr(ForkedRanks, "shout", lambda world: None)
    config = load(folder / "store.zarr", *FOUR, *PHASES["a trajectory"])
    running = Running(lambda world: run(config, world, Announced(world, folder), Display(world.rank, False)), RANKS)
    while len(list(folder.glob("rank-*"))) < RANKS:
        assert running.alive(), running.wait()
        time.sleep(0.01)
    os.kill(running.pids[0], signal.SIGTERM)
    time.sleep(3.0)
    assert running.alive()
    for pid in running.pids:
        os.kill(pid, signal.SIGKILL)
    running.wait()


class Told(Stop):
    """Receives a signal at its `when`-th pass through the network."""

    def __init__(self, world: ForkedRanks, when: int) -> None:
        super().__init__(world)
        self.left = when

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._receive(signal.SIGTERM, None)
        super().check()


@pytest.mark.parametrize("keeps_half", [False, True])
def test_an_attempt_that_is_given_up_leaves_no_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch, keeps_half: bool
) -> None:
    """Stopped at one pass after another. A run that committed walkers as the signal found them would be found out."""
    Running(sample(folder / "whole.zarr")).wait()
    whole, other = look(folder / "whole.zarr")[0], 0
    if keeps_half:
        kept, good = Ensemble.keep, Ensemble.last_good
        monkeypatch.setattr(Ensemble, "keep", lambda self: setattr(self, "last_step", self.step) or kept(self))
        monkeypatch.setattr(Ensemble, "last_good", lambda self: (self.last_step, self.checkpoint())
                            if self.last_step else good(self))  # fmt: skip
    for when in range(40, 110, 28):
        store = folder / f"{when}.zarr"
        config = load(store)
        (first,) = Running(lambda world, c=config, n=when: run(c, world, Told(world, n), Display(0, False))).wait()
        assert (first.status, first.value) == (0, False), first.printed
        (second,) = Running(sample(store)).wait()
        assert (second.status, second.value) == (0, True), second.printed
        other += look(store)[0] != whole
    assert (other > 0) == keeps_half


ANNEALED = ("sampler.kind=constrained-trajectories", "sampler.trajectory=5", "sampler.anneal=[9e-4,4e-4]",
            "sampler.anneal_steps=5", "sampler.adapt_until=20", "tempering.burn_in=25", "run.steps=40")  # fmt: skip


def test_a_stop_within_the_annealing_changes_no_bit(folder: Path) -> None:
    Running(sample(folder / "whole.zarr", *ANNEALED)).wait()
    whole, steps = look(folder / "whole.zarr")[0], set()
    for when in (40, 60, 85, 110):
        store = folder / f"{when}.zarr"
        config = load(store, *ANNEALED)
        (first,) = Running(lambda world, c=config, n=when: run(c, world, Told(world, n), Display(0, False))).wait()
        assert (first.status, first.value) == (0, False), first.printed
        steps.add(Store(store).status()["step"])
        (second,) = Running(sample(store, *ANNEALED)).wait()
        assert (second.status, second.value) == (0, True), second.printed
        assert look(store)[0] == whole
    assert {5, 10} <= steps, "where one temperature gives way to the next"


def test_a_signal_to_one_rank_stops_the_training_of_all(folder: Path) -> None:
    training = (f'train.file="{folder}/weights.h5"', "data.train=100000", "train.batch=1", "train.inits=4",
                "train.references=4")  # fmt: skip
    config = load(folder / "store.zarr", *FOUR, *training)

    def program(world: ForkedRanks) -> bool:
        stop, task = Announced(world, folder), tasks.build(config)
        return references.train(config, task, world, stop, "cpu", lambda line: None)

    assert [o.value for o in stopped(program, folder, 2)] == [False] * RANKS
    assert len(list(folder.glob("weights.h5.parts/*.h5"))) == RANKS, "every rank has saved where it was"


@pytest.mark.parametrize("given", ["execution.wall_time", "SLURM_JOB_END_TIME"])
def test_all_ranks_stop_in_time_before_the_job_ends(folder: Path, given: str) -> None:
    """Only one of the ranks knows of the time."""
    config = load(folder / "store.zarr", *FOUR, *PHASES["sampling"])

    def program(world: ForkedRanks) -> bool:
        wall_time, environment = None, {}
        if world.rank == 1 and given == "SLURM_JOB_END_TIME":
            environment = {given: str(int(time.time() + MARGIN + 2.0))}
        elif world.rank == 1:
            wall_time = MARGIN + 1.0
        stop = Announced(world, folder, wall_time=wall_time, environment=environment)
        return run(config, world, stop, Display(world.rank, False))

    assert [o.value for o in stopped(program, folder, None)] == [False] * RANKS
    record = Store(folder / "store.zarr").record
    assert record is not None
    assert record["stop"]["reason"] == "wall time"


@pytest.mark.slow
def test_stopping_at_random_times_changes_no_bit_of_the_result(folder: Path) -> None:
    """Between two draws as well: an attempt that is given up leaves no trace."""
    changes = (*FOUR, "run.steps=4000", "run.record_every=500", "run.snapshot_every=1000", "sampler.adapt_until=600",
               "sampler.min_adj_step=50", "tempering.exchange_every=500", "tempering.burn_in=1000")  # fmt: skip
    began = time.monotonic()
    Running(sample(folder / "whole.zarr", *changes), RANKS).wait()
    duration = time.monotonic() - began
    whole, chance, store, steps = look(folder / "whole.zarr")[0], random.Random(1), folder / "store.zarr", [0]
    ended = False
    while not ended:
        running = Running(sample(store, *changes), RANKS)
        time.sleep(chance.uniform(0.2, 0.8) * duration)
        if running.alive():
            os.kill(running.pids[chance.randrange(RANKS)], signal.SIGTERM)
        outcomes = running.wait()
        if -signal.SIGTERM in [outcome.status for outcome in outcomes]:
            continue  # it was still starting
        values = [outcome.value for outcome in outcomes]
        assert values in ([True] * RANKS, [False] * RANKS), [outcome.printed for outcome in outcomes]
        ended = values[0]
        digest, flaws, _ = look(store)
        assert flaws == []
        steps.append(Store(store).status()["step"])
    assert digest == whole
    assert steps == sorted(steps)
    print(f"stopped at steps {steps[1:-1]}")


def test_a_signal_ends_the_making_of_data_at_once_and_leaves_no_file(folder: Path) -> None:
    (folder / "defaults.toml").touch()

    def program(world: ForkedRanks) -> None:
        sys.argv = ["protmpi", "data", "make", str(folder / "defaults.toml"), "--out", str(folder / "data.h5")]
        main()

    running = Running(program)
    time.sleep(1.0)
    os.kill(running.pids[0], signal.SIGTERM)
    (outcome,) = running.wait()
    assert outcome.status == -signal.SIGTERM
    assert [path.name for path in folder.iterdir()] == ["defaults.toml"]


def test_a_second_interrupt_ends_at_once() -> None:
    """Also where Python is in no state to hear it."""

    def program(world: ForkedRanks) -> None:
        Stop(world)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    (outcome,) = Running(program).wait()
    assert outcome.status == -signal.SIGINT
