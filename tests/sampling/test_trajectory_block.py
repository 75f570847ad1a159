"""A block of trajectories: what is adapted in the burn-in and when that ends, annealing, checkpoints, lost energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from problems import sampler
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.burn_in.tuning import Tuning
from protmpi.sampling.walkers.trajectories import TrajectoryBlock

P, N, TRAJECTORY = 10, 300, 4
TEMPERATURES = np.array([0.02, 0.05, 0.03])


class Springs:
    """Mean over samples of h_i/2 (w_i - x_si)², unequal h and spreads; infinite where `wall` says so."""

    def __init__(self, wall: float = np.inf) -> None:
        spread = np.geomspace(0.3, 3.0, P)
        x = 0.2 + spread * np.random.default_rng(3).standard_normal((N, P))
        self.x, self.h, self.wall = torch.from_numpy(x), torch.linspace(0.5, 2.0, P, dtype=torch.float64), wall
        self.layout, self.train_size, self.on_device = Layout([("a", (4,)), ("b", (2, 3))]), N, False

    def check(self) -> None: ...

    def gradient(self, w: Tensor, indices: np.ndarray | None) -> tuple[Tensor, Tensor]:
        x = self.x if indices is None else self.x[torch.from_numpy(indices)]
        away = w.unsqueeze(1) - x
        energy = 0.5 * (self.h * away**2).sum(2).mean(1)
        return energy.where(w[:, 1] < self.wall, torch.nan), self.h * away.mean(1)


def block(rows: Sequence[int] = (0, 1, 2), energy: Springs | None = None, **keys: Any) -> TrajectoryBlock:
    keys = {"kind": "constrained-trajectories", "trajectory": TRAJECTORY, "batch": 8, "min_extractions": 50,
            "max_extractions": 50, "min_adj_step": 24, "adapt_until": 160, "momentum_kept": 0.9,
            "temperatures": sorted(TEMPERATURES), **keys}  # fmt: skip
    anneal = keys.pop("stages", [()] * 3)
    start = torch.randn(3, P, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    start = start / start.norm(dim=1, keepdim=True)
    chosen = list(rows)
    return TrajectoryBlock(chosen, start[chosen], TEMPERATURES[chosen], energy or Springs(), sampler(**keys), 1,
                           anneal=[anneal[row] for row in chosen])  # fmt: skip


def explored(steps: int, **keys: Any) -> TrajectoryBlock:
    made = block(**keys)
    made.initialise()
    made.explore(steps)
    return made


def assert_same(one: TrajectoryBlock, other: TrajectoryBlock) -> None:
    for name, values in one.checkpoint().items():
        np.testing.assert_array_equal(values, other.checkpoint()[name], err_msg=name)


class Noted(TrajectoryBlock):
    """Keeps its estimates of m and where they were made."""

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        self.made: list[tuple[int, Tensor]] = []

    def _estimate(self, w: Tensor, rows: Sequence[int], most: int | None = None) -> Tensor:
        found = super()._estimate(w, rows, most)
        self.made.append((self.step, self.config.batch * found))
        return found


def test_masses_are_the_mean_since_half_of_the_burn_in_and_then_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates of every 24 steps, or the trajectory after; anew from step 80, none at the end or after it."""
    monkeypatch.setattr(f"{__name__}.TrajectoryBlock", Noted)
    found = explored(160, mass_floor=0.0)
    assert isinstance(found, Noted)
    assert [step for step, _ in found.made] == [0, 24, 48, 72, 80, 96, 120, 144]
    temperature = torch.from_numpy(TEMPERATURES).unsqueeze(1)
    since, all_of_them = ([m for step, m in found.made if step >= first] for first in (80, 0))
    torch.testing.assert_close(found.mass * temperature, torch.stack(since).mean(0))
    wrong = (torch.stack(all_of_them).mean(0) / (found.mass * temperature) - 1).abs().max()
    assert wrong > 1e-3, "else the test above shows nothing"
    mass, time_step, before = found.mass.clone(), found.time_step.clone(), explored(156).time_step
    assert not torch.equal(time_step, before)
    found.explore(200)
    assert torch.equal(found.mass, mass)
    assert torch.equal(found.time_step, time_step)
    assert len(found.made) == 8


STAGES = [(0.4, 0.2), (), (0.4,)]  # what `sampler.anneal` = [0.4, 0.2] may leave of itself for three walkers


def test_annealing_leads_the_chosen_walkers_and_ends_at_their_own_temperature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = block(stages=STAGES, anneal_steps=40)
    made.initialise()
    seen = []
    for _ in range(0, 120, 40):
        seen.append(made.kernel.temperature.squeeze(1).tolist())
        made.explore(36)
        assert made.kernel.temperature.squeeze(1).tolist() == seen[-1]
        thermal, reduced = made.mass * made.kernel.temperature, made.time_step * made.kernel.temperature.sqrt()
        with monkeypatch.context() as patch:
            patch.setattr(Tuning, "follow", lambda *_: None)
            patch.setattr(Tuning, "wants_variance", lambda *_: False)
            made.explore(4)
        torch.testing.assert_close(made.mass * made.kernel.temperature, thermal)
        torch.testing.assert_close(made.time_step * made.kernel.temperature.sqrt(), reduced)
        energy, potential = made.state.energy.clone(), made.state.potential.clone()
        metric = (made.position**2 / made.mass).sum(1, keepdim=True)
        torch.testing.assert_close(potential, energy + 0.5 * made.kernel.temperature * metric.log())
    assert seen == [[0.4, 0.05, 0.4], [0.2, 0.05, 0.03], [0.02, 0.05, 0.03]]


@pytest.mark.parametrize("stages", [[()] * 3, STAGES], ids=["alone", "annealed"])
@pytest.mark.parametrize("kept", [1.0, 0.9])
def test_a_block_goes_on_bit_for_bit_from_any_trajectory(stages: list[tuple[float, ...]], kept: float) -> None:
    """Also from where a temperature of the annealing, half of the burn-in or its end has just been reached."""
    keys: dict[str, Any] = {"stages": stages, "anneal_steps": 20, "momentum_kept": kept, "adapt_until": 80,
                            "min_extractions": 10, "max_extractions": 10}  # fmt: skip
    whole = explored(100, **keys)
    runs = explored(0, **keys)
    for step in range(TRAJECTORY, 100, TRAJECTORY):
        runs.explore(TRAJECTORY)
        other = block(**keys)
        other.restore(step, runs.checkpoint(), TEMPERATURES)
        assert_same(runs, other)
        if step % 20 == 0 or step % 24 == 0:
            other.explore(100 - step)
            assert_same(whole, other)


def test_a_walker_does_not_know_its_block() -> None:
    together = explored(200, stages=STAGES, anneal_steps=40)
    for row in range(3):
        alone = explored(200, rows=[row], stages=STAGES, anneal_steps=40)
        torch.testing.assert_close(alone.position, together.position[row : row + 1], rtol=1e-9, atol=1e-9)
        assert alone.streams.state().tolist() == together.streams.state()[row : row + 1].tolist()


def test_a_share_of_the_momentum_that_is_kept_changes_the_trajectory() -> None:
    assert not torch.equal(explored(40).position, explored(40, momentum_kept=1.0).position)


def test_where_the_energy_is_no_number_a_trajectory_has_not_arrived() -> None:
    """<exp(-ΔH/T)> is the fraction of trajectories that arrive: those that meet the wall must count in neither."""
    found = explored(200, energy=Springs(wall=0.2), kind="trajectories")
    assert (found.position[:, 1] < 0.2).all()
    found.counts[:] = 0
    rows = []
    for _ in range(100):
        found.explore(6 * TRAJECTORY)
        seen = found.observables()
        rows.append(seen["boltzmann_factor"] - seen["boltzmann_window"])
        assert (seen["acceptance"] <= seen["reversible"]).all()
        assert (seen["boltzmann_window"] <= seen["reversible"]).all()
        rows[-1] = np.stack([rows[-1], seen["reversible"]])
    difference, arrived = np.stack(rows, 1)
    assert arrived.mean() < 0.95
    error = difference.std(0, ddof=1) / np.sqrt(len(difference))
    assert (np.abs(difference.mean(0)) < 4 * error).all()
    counted = (difference + arrived - 1.0).mean(0)  # as if every trajectory had arrived
    assert (np.abs(counted) > 8 * error).any()


def shared_and_moved(tune: bool) -> TrajectoryBlock:
    """Walkers that get common masses at half of a burn-in of 4 000 steps, and other temperatures soon after. Without
    `tune` the burn-in ends there."""
    found = explored(2_000, adapt_until=4_000)
    found.share_masses(30.0 * np.asarray((found.mass * found.temperature).amax(0)))
    if not tune:
        found.burn_in = None
    found.explore(40)
    found.move(TEMPERATURES[[1, 2, 0]])
    found.explore(2_000)
    return found


def test_time_steps_are_tuned_with_the_common_masses() -> None:
    """Masses that are 30 times too heavy need a longer time step."""
    accepted = []
    for tune in (True, False):
        found = shared_and_moved(tune)
        assert found.burn_in is None
        assert found.thermal_mass is not None
        assert torch.equal(found.mass, found.thermal_mass / found.temperature)
        assert found.temperature.flatten().tolist() == pytest.approx(TEMPERATURES[[1, 2, 0]].tolist())
        found.counts[:] = 0
        found.explore(200 * TRAJECTORY)
        accepted.append(found.observables()["acceptance"])
    tuned, untuned = accepted
    assert (np.abs(tuned - 0.7) < 0.12).all()
    assert (untuned > 0.9).all()


def test_tuning_with_common_masses_goes_on_after_a_checkpoint() -> None:
    whole = explored(2_000, adapt_until=4_000)
    whole.share_masses(np.asarray((whole.mass * whole.temperature).amax(0)))
    whole.move(TEMPERATURES[[1, 2, 0]])
    assert whole.burn_in is not None
    assert torch.equal(whole.burn_in.time_step, whole.time_step), "what is tuned moves along"
    whole.explore(400)
    kept, again = whole.checkpoint(), block(adapt_until=4_000)
    again.restore(whole.step, kept, TEMPERATURES[[1, 2, 0]])
    whole.explore(400)
    again.explore(400)
    assert_same(again, whole)


def test_steep_trajectories_are_outside_of_the_window() -> None:
    """Time steps that are a fifth too long. A third of the trajectories has a large ΔH/T; the others keep the law."""
    found = explored(200, kind="trajectories")
    found.time_step = 1.2 * found.time_step
    found.counts[:] = 0
    found.explore(2_000 * TRAJECTORY)
    seen = found.observables()
    assert (seen["reversible"] == 1.0).all()
    assert (seen["boltzmann_window"] < 0.9).all()
    assert (seen["boltzmann_window"] > 0.4).all()
    assert (np.abs(seen["boltzmann_factor"] - seen["boltzmann_window"]) < 0.1).all()


def test_a_swap_of_temperatures_takes_masses_and_time_step_along() -> None:
    found = explored(160)
    found.share_masses(np.asarray((found.mass * found.temperature).amax(0)))
    reduced = found.time_step * found.temperature.sqrt()
    position, thermal = found.position.clone(), found.mass * found.temperature
    found.move(TEMPERATURES[[1, 2, 0]])
    assert torch.equal(found.position, position)
    torch.testing.assert_close(found.mass * found.temperature, thermal)
    torch.testing.assert_close(found.time_step * found.temperature.sqrt(), reduced)
    other = replace(found.kernel)
    torch.testing.assert_close(other.init(position).potential, found.state.potential)
