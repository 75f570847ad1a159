"""Replica exchange in whole runs: the same on any number of ranks, in pieces, and a planted fault is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Command, digest, launch, mpirun_command
from problems import KSPIN, of_its_kind

from protmpi.errors import ConfigError
from protmpi.store.reader import Store

# log_zerovar: the output layer of so small a network may go silent; where all gradients are zero a lower floor of s²
# would make masses so small that the walker is lost
CONFIG = (
    KSPIN
    + """
[sampler]
kind = "{kind}"
start = "random"
walkers_per_temperature = 2
rho = 1e-2
m1 = 0.3
batch = 16
min_extractions = 20
max_extractions = 40
log_zerovar = -4
min_adj_step = 50
adapt_until = 100
trajectory = 5
[tempering]
kind = "exchange"
t_min = 2e-3
t_max = 6e-3
slots = 4
exchange_every = 10
burn_in = 300
[run]
steps = 600
record_every = 10
snapshot_every = 100
draws_per_chunk = 4
[execution]
store = "{folder}/store.zarr"
device = "cpu"
"""
)


SIMULATED = ("--set", "tempering.kind=simulated", "--set", "tempering.walkers=4",
             "--set", "sampler.walkers_per_temperature=1")  # fmt: skip


def write(folder: Path, kind: str = "constrained") -> Path:
    path = folder / "tempering.toml"
    path.write_text(of_its_kind(CONFIG.format(folder=folder, kind=kind)))
    return path


@pytest.mark.parametrize("kind", ["constrained", "trajectories"])
def test_in_pieces_and_on_any_number_of_ranks_is_the_run_in_one(protmpi: Command, tmp_path: Path, kind: str) -> None:
    """The pieces end while the ladder is being spaced, and after it."""
    config = write(tmp_path, kind)
    whole = digest(protmpi, config, tmp_path / "whole.zarr")
    for ranks in (1, 2, 3, 4) if kind == "constrained" else ():
        assert digest(protmpi, config, tmp_path / f"{ranks}.zarr", ranks=ranks) == whole
    pieces = tmp_path / "pieces.zarr"
    for steps, ranks in ((350, 3), (450, 0)):
        assert digest(protmpi, config, pieces, "--set", f"run.steps={steps}", ranks=ranks) != whole
    assert digest(protmpi, config, pieces, ranks=2) == whole

    store = Store(tmp_path / "whole.zarr")
    slot, temperature = store.read("slot").reshape(2, 4, -1), store.read("slot_temperature").reshape(2, 4, -1)
    np.testing.assert_array_equal(np.sort(slot, axis=1), np.broadcast_to(np.arange(4)[:, None], slot.shape))
    assert (np.diff(slot, axis=2) != 0).any(axis=(1, 2)).all(), "both ladders swap"
    before = (np.diff(slot[:, :, :9], axis=2) != 0).any()  # draws of the kernel's burn-in, of 100 steps
    assert before == (kind == "trajectories"), "trajectories swap from half of it on"
    measured = temperature[:, :, store.first_measured["draw"] + 1 :]
    assert len(np.unique(measured)) == 4, "the ladder is frozen"
    assert store.first_measured["draw"] == 30
    assert not np.array_equal(np.unique(measured), np.unique(temperature[:, :, 0])), "it was spaced anew"


def test_simulated_tempering_on_any_number_of_ranks_and_in_pieces(protmpi: Command, tmp_path: Path) -> None:
    """In one and in two pieces; walkers know each other only by the weights."""
    config = write(tmp_path)
    whole = digest(protmpi, config, tmp_path / "whole.zarr", *SIMULATED)
    pieces = tmp_path / "pieces.zarr"
    assert digest(protmpi, config, pieces, *SIMULATED, "--set", "run.steps=350", ranks=2) != whole
    assert digest(protmpi, config, pieces, *SIMULATED, ranks=3) == whole

    store = Store(tmp_path / "whole.zarr")
    slot, weights = store.read("slot"), store.read("log_weight")
    assert slot.shape[0] == 4
    assert (np.diff(slot, axis=1) != 0).any(), "walkers jump"
    assert (np.diff(weights[0, 10:29], axis=0) != 0).any(axis=1).all(), "weights are learned until the burn-in ends"
    assert (weights[:, 30:] == weights[0, -1]).all(), "then they are frozen"


def test_a_pilot_finds_the_slots_and_a_second_call_goes_on_with_them(protmpi: Command, tmp_path: Path) -> None:
    config, store = write(tmp_path), tmp_path / "auto.zarr"
    auto = ("--set", 'tempering.slots="auto"')
    half = digest(protmpi, config, store, *auto, "--set", "run.steps=400", ranks=2)
    pilot = Store(store).attributes["pilot"]
    assert Store(store).config["tempering"]["slots"] == pilot["slots"] == len(pilot["ladder"])
    assert digest(protmpi, config, store, *auto) != half
    advice = protmpi("ladder", config, *auto, "--json", ranks=3)
    assert json.loads(advice.stdout) == pilot


def test_a_rank_with_a_stale_permutation_is_named_at_once(tmp_path: Path) -> None:
    """Rank 2 of 3 keeps its old slots in the fifth sweep."""
    program = tmp_path / "stale.py"
    program.write_text(f"""
import sys
from hpc.stop import Stop
from hpc.world import AbortOnException, connect
from protmpi import tempering
from protmpi.config import load
from protmpi.display import Display
from protmpi.errors import ProtmpiError
from protmpi.run import run
from protmpi.sampling.temperature import exchange

world, honest, calls = connect(), exchange.swap, []

def swap(slot, *arguments):
    calls.append(1)
    found = honest(slot, *arguments)
    return found._replace(slot=slot[:, ::-1]) if world.rank == 2 and len(calls) == 5 else found

exchange.swap = swap
with AbortOnException(world):
    try:
        run(load({str(write(tmp_path))!r}), world, Stop(world), Display(world.rank, False))
    except ProtmpiError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(error.status)
""")
    done = launch([*mpirun_command(3), sys.executable, str(program)], 120)
    assert done.returncode == 1
    assert "ranks 2 computed another permutation" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tempering.exchange_every=15", "tempering.exchange_every: 15 is not a multiple of run.record_every = 10"),
        ("tempering.burn_in=100", "tempering.burn_in: 100 must come after sampler.adapt_until = 100"),
        ("tempering.t_max=1e-4", "tempering.t_max: 0.0001 is not above t_min = 0.002"),
        ("tempering.slots=1", "tempering.slots"),
        ("tempering.kind=simulated", "sampler.walkers_per_temperature: simulated tempering has tempering.walkers"),
        ("sampler.temperatures=[1e-3]", "sampler.temperatures: give either this list or tempering.t_min"),
        ("tempering.burn_in=2000", "tempering.burn_in: 2000 leaves no measured draw"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path: Path, change: str, message: str) -> None:
    from protmpi.config import load

    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path), [change])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
