"""Whole runs by every kind of sampler on a small K-spin problem; walkers that are lost, and their replay."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from commands import Command, digest
from problems import KSPIN, of_its_kind

from protmpi import quarantine, tasks
from protmpi.config import Config, load
from protmpi.ensemble import Ensemble
from protmpi.plan import Plan
from protmpi.sampling.burn_in.step_size import FIRST
from protmpi.sampling.kernels.noise import noise_share
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.store.reader import Store
from protmpi.tasks.kspin import KSpin

CONFIG = (
    KSPIN
    + """
[sampler]
kind = "{kind}"
start = "random"
temperatures = [1e-4, 3e-4]
walkers_per_temperature = 2
lamda = {lamda}
rho = {rho}
m1 = 0.3
batch = 16
min_extractions = 20
max_extractions = 40
min_adj_step = 50
adapt_until = {burn_in}
trajectory = 10
[run]
steps = {steps}
record_every = 50
snapshot_every = 100
draws_per_chunk = 4
[execution]
store = "{folder}/store.zarr"
device = "cpu"
"""
)


def write(folder: Path, kind: str = "unconstrained", rho: str = "1e-2", burn_in: int = 200, steps: int = 600) -> Path:
    path = folder / "kspin.toml"
    lamda = 0.0 if kind.startswith("constrained") else 1e-3
    text = CONFIG.format(folder=folder, kind=kind, rho=rho, lamda=lamda, burn_in=burn_in, steps=steps)
    path.write_text(of_its_kind(text))
    return path


@pytest.mark.parametrize(
    ("kind", "rho", "burn_in", "steps", "changes", "ranks"),
    [
        ("unconstrained", '"auto"', 4_000, 6_000, (), (2,)),
        ("trajectories", "1e-2", 200, 600, ("sampler.momentum_kept=0.9",), (2,)),
        (
            "constrained-trajectories",
            "1e-2",
            200,
            600,
            ("sampler.anneal=[2e-3,1e-3]", "sampler.anneal_steps=50"),
            (1, 3),
        ),
    ],
)
def test_in_pieces_and_on_more_ranks_is_the_run_in_one(
    protmpi: Command, tmp_path: Path, kind: str, rho: str, burn_in: int, steps: int, changes: tuple[str, ...],
    ranks: tuple[int, ...],
) -> None:  # fmt: skip
    """The first piece ends soon after the burn-in: what was found in it is in the checkpoint."""
    config = write(tmp_path, kind, rho, burn_in, steps)
    keys = [part for change in changes for part in ("--set", change)]
    whole = digest(protmpi, config, tmp_path / "whole.zarr", *keys)
    for count in ranks:
        pieces = tmp_path / f"{count}.zarr"
        assert digest(protmpi, config, pieces, *keys, "--set", f"run.steps={burn_in + 50}") != whole
        assert digest(protmpi, config, pieces, *keys, ranks=count) == whole
    store = Store(tmp_path / "whole.zarr")
    np.testing.assert_allclose(
        store.read("energy"),
        (store.read("cost") + 5e-4 * store.read("norm2")) if "cost" in store else store.read("energy"),
        rtol=1e-6,
    )
    if kind == "unconstrained":
        assert store.read("noise_variance").shape == (4, store.draws, 6, 3)
        assert (np.diff(store.read("rho")[:, store.first_measured["draw"] :]) == 0).all()
        assert (store.read("rho_search")[:, -1] >= 3).all()
    else:
        assert (store.read("acceptance").mean(1) > 0.2).all()  # of five trajectories between two draws


def test_report_tells_the_published_quantities(protmpi: Command, tmp_path: Path) -> None:
    config = write(tmp_path)
    digest(protmpi, config, tmp_path / "store.zarr", "--set", "run.steps=2000")
    from analysis import open_run, thermodynamics
    from analysis.subjects.thermodynamics import tables

    numbers = tables.to_json(thermodynamics(open_run(tmp_path / "store.zarr")))
    for name in ("energy", "cost", "norm2", "train_error"):
        assert len(numbers[name]["mean"]) == len(numbers[name]["sem"]) == 2
    np.testing.assert_allclose(
        numbers["energy"]["mean"],
        np.asarray(numbers["cost"]["mean"]) + 5e-4 * np.asarray(numbers["norm2"]["mean"]),
        rtol=1e-3,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sampler.kind=constrained", 'sampler.lamda: the norm is held by kind = "constrained"'),
        ("sampler.rho=auto", 'sampler.adapt_until: 200 is too short to find rho = "auto"; at least 2222'),
        ("sampler.rho=[1e-3]", "sampler.rho: 1 values for 2 temperatures"),
        ("sampler.rho=[1e-3, 0.32]", "sampler.rho: 0.32 is above"),
        ("sampler.rho_first=0.32", "sampler.rho_first: 0.32 is above rho_max"),
        ("sampler.rho_first=0.36", "sampler.rho_first: 0.36 is too large"),
        ("train.max_epochs=3", "train.max_epochs: 3 is below eval_every = 5"),
        ("data.cutoff=4", "data.cutoff: unknown key; valid: classes, flip, recipe, seed"),
        ("data.task=chess", "data.task: 'chess' is not a task; choose one of folding, kspin"),
        ("model.kind=transformer", 'model.kind: "transformer" cannot learn data.task = "kspin"'),
        ("sampler.start=[]", "sampler.start"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path: Path, change: str, message: str) -> None:
    from protmpi.errors import ConfigError

    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path), [change])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def lost(protmpi: Command, tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run whose hot walkers leave their spheres, and the dump of one."""
    config = write(tmp_path, "constrained", "0.3")
    done = protmpi("run", config, "--set", "sampler.temperatures=[1e-6, 3.0]", ranks=2)
    return done, tmp_path / "store.zarr" / "quarantine" / "walker-3.h5"


def test_a_lost_walker_is_lost_again_in_the_same_step(
    protmpi: Command, lost: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    done, dump = lost
    assert done.returncode == 0, done.stderr
    assert dump.exists()
    status = json.loads(protmpi("status", tmp_path / "store.zarr", "--json").stdout)
    assert [loss["walker"] for loss in status["lost"]] == [1, 3]
    assert "negative discriminant" in status["lost"][1]["reason"]
    again = protmpi("replay", dump)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count(f"walker 3 lost at step {status['lost'][1]['step']:,}: negative discriminant") == 2
    with h5py.File(dump, "r+") as file:  # a dump that does not say what happened must be caught
        file.attrs["step"] = int(file.attrs["step"]) + 1
    assert protmpi("replay", dump).returncode == 1
    dump.write_bytes(b"no dump")
    refused = protmpi("replay", dump)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1


def test_a_walker_on_trial_is_called_back_wherever_attempts_end(tmp_path: Path) -> None:
    """At T = 3 the first rho leaves the sphere within a look: in attempts of one step the guard comes by meanwhile."""
    config = load(write(tmp_path, "constrained", '"auto"', 4_000, 6_000), ["sampler.temperatures=[1e-6, 3.0]"])
    ensemble = Ensemble(Plan.of(config, tasks.build(config), 4), range(1), "cpu")
    (block,) = ensemble._blocks
    away = 0
    for _ in range(400):
        ensemble.explore(1)
        away += int((~block.position.isfinite().all(1)).sum())
        assert block.finite().all()
    assert away > 0
    at_once = explored(config, 400)
    torch.testing.assert_close(block.position, at_once.position, rtol=0, atol=0)
    assert block.rho.squeeze(1).tolist() == at_once.rho.squeeze(1).tolist()
    assert (block.rho.squeeze(1)[[1, 3]] < FIRST).all()


def test_each_temperature_has_its_rho(tmp_path: Path) -> None:
    """At one weight vector M = s² dt²/(4 rho T m1²): the same for all where rho goes with 1/T, not where it is one."""

    def spread(rho: str) -> float:
        config = load(write(tmp_path, rho=rho), ["sampler.walkers_per_temperature=1"])
        task = tasks.build(config)
        ensemble = Ensemble(Plan.of(config, task, 2), range(1), "cpu")
        start = torch.from_numpy(task.initial(np.random.default_rng(5))).float().expand(2, -1)
        (block,) = ensemble._blocks
        block.start = start.clone()
        block.initialise()
        ratio = (block.mass[0] / block.mass[1]).double()
        return float(ratio.log().mean().exp())

    assert spread("[3e-2, 1e-2]") == pytest.approx(1.0, rel=0.2)
    assert spread("1e-2") == pytest.approx(3.0, rel=0.2)


def explored(config: Config, *pieces: int) -> LangevinBlock:
    """The walkers of a configuration after some steps, which may come in pieces."""
    ensemble = Ensemble(Plan.of(config, tasks.build(config), 4), range(1), "cpu")
    for steps in pieces:
        ensemble.explore(steps)
    (block,) = ensemble._blocks
    assert isinstance(block, LangevinBlock)
    return block


def largest_share(block: LangevinBlock) -> float:
    return float(noise_share(block.state.noise_variance, block.mass, block.thermostat).max())


def test_masses_are_made_anew_at_half_of_the_burn_in_then_only_grow_and_freeze(tmp_path: Path) -> None:
    """Those of the start, whose noise is another, leave shares of the noise far from rho."""
    config = load(write(tmp_path, rho="1e-3"), ["sampler.p_reset=0", "sampler.min_adj_step=40"])
    before, half, later, end, after = (explored(config, steps) for steps in (99, 100, 170, 200, 260))
    assert largest_share(before) > 2e-3
    assert largest_share(half) == pytest.approx(1e-3, rel=1e-3)
    assert (later.mass >= half.mass).all()
    assert (end.mass >= later.mass).all()
    assert (end.mass > half.mass).any()
    assert largest_share(end) <= 1e-3 * (1 + 1e-5)
    assert torch.equal(after.mass, end.mass)
    assert torch.equal(explored(config, 60, 70, 70, 60).position, after.position)


def test_masses_grow_at_the_very_end_of_the_burn_in_and_not_once_more(tmp_path: Path) -> None:
    """The end has an estimate of its own, for none may be due then; one that is due then comes too late for masses."""
    config = load(write(tmp_path, rho="1e-3"), ["sampler.p_reset=0", "sampler.min_adj_step=1000"])
    half, before, end = (explored(config, steps) for steps in (100, 199, 200))
    assert torch.equal(before.mass, half.mass)
    assert (end.mass > half.mass).any()
    frozen = end.mass.clone()
    end.schedule.due[:] = end.step
    end.explore(1)
    assert torch.equal(end.mass, frozen)


def test_rho_first_gives_way_to_rho_at_half_of_the_burn_in(tmp_path: Path) -> None:
    config = load(write(tmp_path, rho="1e-3"), ["sampler.rho_first=0.1"])

    def blocks(*pieces: int) -> LangevinBlock:
        return explored(config, *pieces)

    before, after = blocks(99), blocks(100)
    assert before.rho.squeeze(1).tolist() == pytest.approx([0.1] * 4)
    assert after.rho.squeeze(1).tolist() == pytest.approx([1e-3] * 4)
    assert largest_share(before) > 0.05
    assert largest_share(after) == pytest.approx(1e-3, rel=1e-3)
    for block, alone in ((before, True), (after, False)):
        s = block.state
        thermal = (s.mass * block.temperature).sqrt() * block.config.m1
        assert torch.allclose(s.first_amplitude, thermal, rtol=1e-5) is alone
    assert torch.equal(blocks(150).position, blocks(100, 50).position)
    assert torch.equal(blocks(150).position, blocks(60, 40, 50).position)
    for step in (60, 120):  # under rho_first and past it
        resumed = blocks()
        resumed.restore(step, blocks(step).checkpoint(), np.asarray(resumed.temperature.squeeze(1)))
        resumed.explore(150 - step)
        assert torch.equal(resumed.position, blocks(150).position)


def test_arrays_begin_where_torch_puts_them(tmp_path: Path) -> None:
    """The last bit of a small matrix product depends on where its factors begin: the same address modulo 64 always."""
    odd = np.zeros(4 * 90 + 16, dtype=np.float32)
    shifted = odd[(-odd.ctypes.data // 4) % 16 + 1 :][:84][None]  # begins 4 bytes after a multiple of 64
    assert shifted.ctypes.data % 64 == 4
    config = load(write(tmp_path))
    task = tasks.build(config)
    ensemble = Ensemble(Plan.of(config, task, 1), range(1), "cpu")
    (block,) = ensemble._blocks
    assert isinstance(task, KSpin)
    ours = [*(spins.x for spins in task.sets.values()), block.start, block._tensor(shifted)]
    assert [array.data_ptr() % 64 for array in ours] == [0] * len(ours)
    twin = torch.from_numpy(shifted)
    assert twin.data_ptr() % 64 == 4


def test_too_many_lost_walkers_end_the_run(protmpi: Command, tmp_path: Path) -> None:
    config = write(tmp_path, "constrained", "0.3")
    hot = ["--set", "sampler.temperatures=[1e-6, 3.0]", "--set", "run.max_lost=0.2"]
    done = protmpi("run", config, *hot)
    assert done.returncode == 1
    assert "more than run.max_lost = 0.2 allows" in done.stderr


def test_the_guard_leaves_a_healthy_run_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit: with the guard, and with blocks that keep no last good state and never look."""
    config = load(write(tmp_path))

    def positions(config: Config) -> torch.Tensor:
        plan = Plan.of(config, tasks.build(config), 1)
        ensemble = Ensemble(plan, range(plan.blocks), "cpu")
        for _ in range(8):
            ensemble.keep()
            ensemble.explore(50)
            ensemble.quarantine(tmp_path / "quarantine", set())
        return torch.from_numpy(ensemble.checkpoint()["position"])

    guarded = positions(config)
    monkeypatch.setattr(LangevinBlock, "keep", lambda self: None)
    monkeypatch.setattr(Ensemble, "quarantine", lambda self, folder, known: [])
    assert torch.equal(positions(config), guarded)
    assert not (tmp_path / "quarantine").exists()


def test_a_fault_that_is_not_in_the_dynamics_is_not_blamed_on_it(tmp_path: Path) -> None:
    """A bit that flips in memory leaves a walker lost, but its steps done again are healthy: the replay says so."""
    config = load(write(tmp_path))
    plan = Plan.of(config, tasks.build(config), 1)
    ensemble = Ensemble(plan, range(1), "cpu")
    ensemble.explore(50)
    (block,) = ensemble._blocks
    assert isinstance(block, LangevinBlock)
    block.state.position[0, 3] = torch.nan
    (loss,) = ensemble.quarantine(tmp_path, set())
    assert "the fault is not in the dynamics" in loss.reason
    recorded, again = quarantine.replay(tmp_path / "walker-0.h5")
    assert recorded == again == loss
