"""Swaps and ladders against their closed forms."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from protmpi.sampling.streams import uniforms
from protmpi.sampling.temperature import exchange, ladder

SCHEMES = ("even-odd", "random")
LIMIT = 4.0


def harmonic_energies(random: np.random.Generator, temperatures: np.ndarray, freedom: int, ladders: int) -> np.ndarray:
    """Energies by slot (ladder, slots) of harmonic systems: Gamma(freedom / 2) T."""
    return temperatures * random.gamma(freedom / 2, size=(ladders, len(temperatures)))


def harmonic_acceptance(first: float, second: float, freedom: int) -> float:
    """Mean acceptance of two harmonic systems, by the regularised incomplete beta function (Kofke 2002)."""
    ratio = min(first, second) / max(first, second)
    return float(2.0 * stats.beta.cdf(ratio / (1.0 + ratio), freedom / 2, freedom / 2))


def test_mean_acceptance_of_harmonic_systems_is_the_closed_form() -> None:
    temperatures = np.array([1.0, 1.3, 1.9, 2.1])
    accept = exchange.acceptance(harmonic_energies(np.random.default_rng(1), temperatures, 12, 20_000), temperatures)
    error = accept.std(0, ddof=1) / np.sqrt(len(accept))
    expected = [harmonic_acceptance(a, b, 12) for a, b in itertools.pairwise(temperatures)]
    assert np.abs((accept.mean(0) - expected) / error).max() < LIMIT
    wrong = exchange.acceptance(
        harmonic_energies(np.random.default_rng(1), temperatures[::-1], 12, 20_000), temperatures
    )
    assert np.abs((wrong.mean(0) - expected) / error).max() > 2 * LIMIT


Spoil = Callable[[np.ndarray], np.ndarray]


def energies_after_exchange(scheme: str, spoil: Spoil = lambda energies: energies) -> np.ndarray:
    """z-scores of <U_k>/(freedom T_k / 2) when every walker redraws its energy at its temperature only now and then.

    A walker keeps its energy for several sweeps, so that an exchange that favoured one side would show.
    """
    random, freedom, ladders = np.random.default_rng(3), 6, 400
    temperatures = np.geomspace(1.0, 3.0, 5)
    slot = np.broadcast_to(np.arange(5), (ladders, 5)).copy()
    energies = harmonic_energies(random, temperatures, freedom, ladders)
    kept = []
    for sweep in range(240):
        slot = exchange.swap(slot, spoil(energies), temperatures, 7, sweep, scheme).slot
        fresh = random.random(slot.shape) < 0.1
        energies = np.where(fresh, temperatures[slot] * random.gamma(freedom / 2, size=slot.shape), energies)
        if sweep >= 40 and sweep % 40 == 0:
            by_slot = np.take_along_axis(energies, np.argsort(slot, axis=1), axis=1)
            kept.append(by_slot / (freedom * temperatures / 2))
    ratio = np.concatenate(kept)
    return np.asarray((ratio.mean(0) - 1.0) / (ratio.std(0, ddof=1) / np.sqrt(len(ratio))))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_exchange_leaves_the_law_of_every_slot(scheme: str) -> None:
    assert np.abs(energies_after_exchange(scheme)).max() < LIMIT


def test_energies_of_the_wrong_walkers_fail() -> None:
    assert np.abs(energies_after_exchange("even-odd", lambda energies: energies[:, ::-1])).max() > 2 * LIMIT


def constant_acceptance(accept: float, temperatures: np.ndarray) -> np.ndarray:
    """Energies of the slots (slots,) for which every swap is accepted with the same probability."""
    beta = 1.0 / temperatures
    return np.concatenate([[0.0], -np.cumsum(np.log(accept) / (beta[:-1] - beta[1:]))])


def slots_after(scheme: str, sweeps: int, ladders: int, slots: int = 4) -> np.ndarray:
    """Slots of all walkers after sweeps in which every swap is accepted half of the time."""
    temperatures = np.arange(1.0, slots + 1)
    energies = constant_acceptance(0.5, temperatures)
    slot = np.broadcast_to(np.arange(slots), (ladders, slots)).copy()
    for sweep in range(sweeps):
        slot = exchange.swap(slot, energies[slot], temperatures, 5, sweep, scheme).slot
    return slot


@pytest.mark.parametrize("scheme", SCHEMES)
def test_constant_acceptance_mixes_the_permutation_uniformly(scheme: str) -> None:
    final = slots_after(scheme, sweeps=60, ladders=4_000)
    codes = (final * 4 ** np.arange(4)).sum(1)
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4
    early = (slots_after(scheme, sweeps=3, ladders=4_000) * 4 ** np.arange(4)).sum(1)  # three sweeps cannot mix
    _, few = np.unique(early, return_counts=True)
    assert len(few) < 24 or stats.chisquare(few).pvalue < 1e-8


def round_trips(scheme: str, accept: float, slots: int, sweeps: int) -> float:
    """Round trips per sweep of all walkers of one ladder, each swap accepted with a constant probability."""
    temperatures = np.arange(1.0, slots + 1)
    by_slot = constant_acceptance(accept, temperatures)
    slot, heading, trips = np.arange(slots)[None], np.zeros(slots), 0
    for sweep in range(sweeps):
        slot = exchange.swap(slot, by_slot[slot], temperatures, 11, sweep, scheme).slot
        heading[(slot[0] == slots - 1) & (heading == 1)] = -1
        arrived = (slot[0] == 0) & (heading == -1)
        trips += int(arrived.sum())
        heading[slot[0] == 0] = 1
    return trips / sweeps


@pytest.mark.parametrize("accept", [0.8, 0.5])
def test_round_trips_of_a_constant_swapper_are_the_closed_form(accept: float) -> None:
    """1/(2 + 2 sum r/(1 - r)) per sweep for even-odd swaps (Syed et al. 2022, corollary 2)."""
    slots, sweeps = 6, 30_000
    closed = 1.0 / (2.0 + 2.0 * (slots - 1) * (1.0 - accept) / accept)
    found = round_trips("even-odd", accept, slots, sweeps)
    assert abs(found - closed) < LIMIT * np.sqrt(closed / sweeps)
    assert round_trips("random", accept, slots, sweeps) < 0.8 * closed  # reversible swaps diffuse


def harmonic_ladders(every: int, memory: float) -> tuple[float, float]:
    """Round trips of a ladder in 1 000 steps, and the error of the coldest <U>, with sweeps every `every` steps.

    Springs (20 of them) relax at the temperature of their walker within `memory` steps, which outlasts the sweeps.
    """
    random, ladders, steps, springs = np.random.default_rng(6), 100, 6_000, 20
    temperatures = np.geomspace(1.0, 2.5, 6)
    slot = np.broadcast_to(np.arange(6), (ladders, 6)).copy()
    w = random.standard_normal((ladders, 6, springs)) * np.sqrt(temperatures)[:, None]
    keep, end, trips, cold = np.exp(-every / memory), np.full(slot.shape, -1), 0, []
    for sweep in range(steps // every):
        w = keep * w + np.sqrt((1.0 - keep**2) * temperatures[slot])[..., None] * random.standard_normal(w.shape)
        energies = (w**2).sum(2) / 2.0
        cold.append(energies[slot == 0])
        slot = exchange.swap(slot, energies, temperatures, 9, sweep, "even-odd").slot
        trips += int(((slot == 0) & (end == 1)).sum())
        end = np.where(slot == 5, np.where(end >= 0, 1, -1), np.where(slot == 0, 0, end))
    return 1_000 * trips / ladders / steps, float(np.mean(cold, axis=0).std(ddof=1))


def test_sweeps_more_often_than_energies_change_do_no_harm() -> None:
    """More round trips, and a mean that is not worse: sweeps that come before U has changed cost nothing but time."""
    trips, errors = zip(*(harmonic_ladders(every, memory=50.0) for every in (5, 20, 80)), strict=True)
    assert trips[0] > 2 * trips[1] > 4 * trips[2]
    assert errors[0] < 1.2 * errors[1] < 1.5 * errors[2]  # each is known to 7 %


def test_every_rank_draws_the_same_uniforms_and_every_sweep_others() -> None:
    np.testing.assert_array_equal(uniforms(1, 5, (3, 4)), uniforms(1, 5, (3, 4)))
    assert not np.array_equal(uniforms(1, 5, (3, 4)), uniforms(1, 6, (3, 4)))
    assert not np.array_equal(uniforms(1, 5, (3, 4)), uniforms(2, 5, (3, 4)))
    many = np.concatenate([uniforms(1, sweep, (8,)) for sweep in range(4_000)])
    assert stats.kstest(many, "uniform").pvalue > 1e-4


def test_a_lost_walker_swaps_with_nobody() -> None:
    energies = np.array([[0.0, np.nan, 0.0]])
    slot = np.arange(3)[None]
    for sweep in range(8):
        np.testing.assert_array_equal(
            exchange.swap(slot, energies, np.array([1.0, 2.0, 3.0]), 1, sweep, "even-odd").slot, slot
        )


def test_a_respaced_ladder_has_equal_rejection() -> None:
    """Harmonic systems: equal rejection means equal ratios of temperatures, from a ladder that is far from it."""
    temperatures = np.array([1.0, 1.05, 1.2, 1.25, 1.9, 2.0])
    for _ in range(3):
        rejection = 1.0 - np.array([
            harmonic_acceptance(a, b, 30) for a, b in itertools.pairwise(temperatures)
        ])  # fmt: skip
        temperatures = ladder.respaced(temperatures, rejection)
    np.testing.assert_allclose(np.diff(np.log(temperatures)), np.log(2.0) / 5, rtol=0.05)
    assert temperatures[[0, -1]].tolist() == [1.0, 2.0]


def test_a_ladder_stays_increasing_whatever_the_rejections() -> None:
    random = np.random.default_rng(2)
    for _ in range(50):
        new = ladder.respaced(np.geomspace(1e-5, 1e-3, 12), random.random(11) ** 4)
        assert (np.diff(new) > 0).all()
