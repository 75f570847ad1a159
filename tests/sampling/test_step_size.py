"""`rho = "auto"` on walkers whose answer is known: the heat and the shift of U that a step size costs are given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from protmpi.sampling.burn_in import step_size
from protmpi.sampling.burn_in.step_size import FIRST, Search

BUDGET, TICK = 60_000, 50
TOLERANCE = 0.01


def walk(
    heat: Callable[[float], float],
    shift: Callable[[float], float] = lambda rho: 0.0,
    seed: int = 1,
    released: Callable[[int], float] = lambda step: 0.0,
    budget: int = BUDGET,
    interrupt: bool = False,
    wander: float = 0.0,
) -> Search:
    """A search told T_kin/T = 1 + heat(rho) and U = shift(rho) + released(step), with the noise of 8 000 parameters.

    While U is released it heats the momenta. `interrupt` puts the search through its array at every look. U wanders by
    `wander` from look to look and never comes back.
    """
    random = np.random.default_rng(seed)
    slow = np.cumsum(wander * np.random.default_rng([seed, 1]).standard_normal(budget // TICK + 1))
    search = Search(budget, TICK, TOLERANCE, largest=0.3, spread=0.01)
    for step in range(TICK, budget + 1, TICK):
        falling = released(step - TICK) - released(step)
        kinetic = 1.0 + heat(search.rho) + 10.0 * falling + 0.016 * random.standard_normal()
        energy = np.nan
        if search.wants_energy(step):
            energy = 1.5 + shift(search.rho) + released(step) + 0.003 * random.standard_normal() + slow[step // TICK]
        search.tell(step, kinetic, energy)
        if interrupt:
            array = search.to_array()
            search = Search(budget, TICK, TOLERANCE, largest=0.3, spread=0.01)
            search.restore(array)
    search.freeze()
    return search


@pytest.mark.parametrize("seed", range(5))
def test_the_kinetic_temperature_sets_rho(seed: int) -> None:
    """Heat 0.4 rho passes one per cent at rho = 0.025."""
    search = walk(lambda rho: 0.4 * rho, seed=seed)
    assert search.stage == 3
    assert 0.025 / 3 < search.rho < 0.025 * 1.6


def test_without_heat_rho_grows_to_its_maximum() -> None:
    assert walk(lambda rho: 0.0).rho == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_of_the_energy_that_heat_does_not_show_lowers_rho(seed: int) -> None:
    """A shift 2 rho against a noise of 0.003 (0.001 for the mean of a window) cannot be seen at rho = 0.005."""
    found = walk(lambda rho: 0.0, lambda rho: 2.0 * rho, seed=seed)
    assert found.rho < 0.01
    blind = walk(lambda rho: 0.0, lambda rho: 0.0, seed=seed)  # what would come of it if nobody compared
    assert blind.rho > 0.01


def lowered_by_a_slow_walk() -> float:
    """Share of walkers whose rho is lowered although U does not depend on it: U moves by 0.01 in a window."""
    return float(np.mean([walk(lambda rho: 0.0, wander=0.002, seed=seed).rho < 0.29 for seed in range(60)]))


def test_a_slow_walk_is_no_shift() -> None:
    """Three standard errors of eight differences are passed by 2 % of the walkers."""
    assert lowered_by_a_slow_walk() < 0.1


def test_one_window_for_each_step_size_takes_a_slow_walk_for_a_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    def shift(means: np.ndarray) -> tuple[float, float]:
        full, half = means.reshape(2, -1)
        return abs(full.mean() - half.mean()), float(np.hypot(full.std(ddof=1), half.std(ddof=1))) / len(full) ** 0.5

    monkeypatch.setattr(step_size, "ORDER", 8 * (1,) + 8 * (2,))
    monkeypatch.setattr(step_size, "_shift", shift)
    assert lowered_by_a_slow_walk() > 0.3


def test_heat_of_a_falling_energy_is_no_reason_to_refuse() -> None:
    """A walker that falls for 20 windows, hot by a tenth all the while, still finds its rho."""
    search = walk(lambda rho: 0.4 * rho, released=lambda step: max(0.0, 4.0 - step * 1e-4))
    assert search.rho > 0.025 / 3


def test_a_lost_walker_is_called_back() -> None:
    search = walk(lambda rho: np.nan if rho > 0.002 else 0.0)
    assert FIRST < search.rho <= 0.002


def test_correlated_noise_holds_rho_down_and_lets_the_climb_go_ahead_by_ten() -> None:
    search = Search(BUDGET, TICK, TOLERANCE, largest=0.3, spread=0.01, collective=1e-3)
    climbed, later = [], []
    for step in range(TICK, BUDGET + 1, TICK):
        search.tell(step, 1.0, 1.5 if search.wants_energy(step) else np.nan)
        search.limit()
        (later if search.stage else climbed).append(search.rho)
    assert max(climbed) == pytest.approx(1e-2)
    assert max(later) == pytest.approx(1e-3)


def test_the_search_goes_on_from_its_array() -> None:
    whole, pieces = (walk(lambda rho: 0.4 * rho, lambda rho: 0.1 * rho, interrupt=i) for i in (False, True))
    np.testing.assert_array_equal(whole.to_array(), pieces.to_array())


def test_a_short_burn_in_says_that_rho_was_not_compared() -> None:
    random = np.random.default_rng(1)
    search = Search(20_000, TICK, TOLERANCE, largest=0.3, spread=0.01)
    for step in range(TICK, 10_000, TICK):
        search.tell(step, 1.0 + 0.4 * search.rho + 0.016 * random.standard_normal(), 1.5)
    assert search.comparing
    whole = search.low
    search.freeze()
    assert (search.stage, search.rho, search.comparing) == (4, whole, False)
