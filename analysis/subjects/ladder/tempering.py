"""Replica exchange: the moves of walkers through the temperatures, compared with the best possible.

A ladder has K slots of increasing temperature and K walkers, one in each. A sweep tries to swap neighbouring pairs,
either the even or the odd ones, and accepts with probability min(1, exp[(1/T_k - 1/T_l)(U_k - U_l)]). Everything
follows from the slots and energies of the draws: a swap after draw d shows in the slots of draw d + 1.

Round trips (bottom -> top -> bottom) bring new states to the cold end. If a walker forgets its energy between two tries
of the same pair, the K walkers of a ladder together make

    even-odd   1 / (2 + 2 Σ r/(1-r))          -> 1 / (2 + 2 Λ)   with many slots, Λ = Σ r
    random     1 / (2 (K-1) + 2 Σ r/(1-r))    -> 0

round trips per sweep, r the rejection rate of each pair (Syed, Bouchard-Côté, Deligiannidis and Doucet, J. R. Stat.
Soc. B 84 (2022) 321). The communication barrier Λ hardly depends on the number of slots.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.reading.stretches import only_sound_errors
from analysis.statistics.chains import SAMPLES_PER_FREEDOM, effective_samples, t_factor, whole_chains
from analysis.statistics.significance import normal_deviate
from protmpi.errors import ProtmpiError
from protmpi.sampling.temperature.ladder import enough_slots, predicted_barrier

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run


class Sweeps(NamedTuple):
    """The pairs of neighbouring slots before each sweep, and their swaps; R ladders of K slots, S sweeps."""

    tried: np.ndarray
    """Probability that the sweep tries the pair (pair, sweep): 0 or 1, or 1/2 if pairs are drawn at random."""
    accepted: np.ndarray
    """Whether the walkers of the pair swapped, 1 or 0 (ladder, pair, sweep); NaN if one of them is lost."""
    probability: np.ndarray
    """Metropolis probability of the swap, from the energies (ladder, pair, sweep); NaN if a walker is lost."""


def exchange_config(run: Run) -> dict[str, object]:
    """The section `tempering` of the configuration. Raises ProtmpiError if the run exchanged no temperatures."""
    config: dict[str, object] = run.store.config.get("tempering", {})
    if config.get("kind", "none") != "exchange":
        raise ProtmpiError(
            f"{run.store.path}: no replica exchange in this run (tempering.kind is not 'exchange'); "
            "`protmpi-analysis thermodynamics` is for independent walkers"
        )
    return config


def walker_slots(run: Run) -> np.ndarray:
    """Slot of every walker at the measured draws (ladder, walker, draw); -1 if it has none.

    All walkers of simulated tempering are on one ladder.
    """
    slot = run.store.read("slot")[:, run.store.first_measured["draw"] :]
    return slot.reshape(1 if run.alone else run.replicas, -1, slot.shape[1])


def swept_draws(run: Run) -> np.ndarray:
    """Index of every measured draw before a sweep with known outcome (sweep,).

    Raises ProtmpiError if there is none.
    """
    run.require_measured()
    first, every = run.store.first_measured["draw"], int(run.store.config["tempering"]["exchange_every"])
    steps = run.steps("draw")[:-1]  # the outcome of the sweep after the last draw is not known yet
    swept = np.flatnonzero(steps % every == 0)
    swept = swept[swept >= first]
    if not swept.size:
        raise ProtmpiError(f"{run.store.path}: no sweep between the measured draws (one in {every} steps)")
    return swept


def swap_probability(temperature: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """min(1, exp[(1/T_k - 1/T_l)(U_k - U_l)]) of neighbours, energies (..., slot, draw) -> (..., pair, draw).

    It is independent of `protmpi.sampling.temperature.exchange`: the swaps of the sampler are tested against it.
    """
    beta = 1.0 / temperature
    exponent = (beta[:-1] - beta[1:])[:, None] * (energy[..., :-1, :] - energy[..., 1:, :])
    return np.asarray(np.exp(np.minimum(exponent, 0.0)))


def sweeps(run: Run) -> Sweeps:
    """All sweeps between the measured draws. Raises ProtmpiError if there is none."""
    config, swept = exchange_config(run), swept_draws(run)
    pairs = np.arange(run.temperature.size - 1)
    if config["scheme"] == "even-odd":
        number = run.steps("draw")[swept] // int(str(config["exchange_every"]))
        tried = (pairs[:, None] % 2 == number % 2).astype(float)
    else:
        tried = np.full((pairs.size, swept.size), 0.5)
    before, after = run.walker_at[:, :, swept], run.walker_at[:, :, swept + 1]
    accepted = ((before[:, :-1] == after[:, 1:]) & (before[:, 1:] == after[:, :-1])).astype(float)
    probability = swap_probability(run.temperature, run.by_temperature("energy")[:, :, swept])
    unknown = np.isnan(probability) | np.any([x < 0 for x in (before[:, :-1], before[:, 1:], after[:, :-1])], axis=0)
    accepted[unknown], probability[unknown] = np.nan, np.nan
    return Sweeps(tried, accepted, probability)


def acceptance(swaps: Sweeps) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of accepted swaps in each ladder (ladder, pair), and its mean and error over all ladders (pair, 2).

    The series of tries of a pair is correlated, because its walkers return. Its error is computed as for every other
    mean, but with the fraction (swaps + 1/2)/(sweeps + 1), so that a pair that never (or always) swaps has an error.
    """
    with np.errstate(invalid="ignore"):
        weight = np.where(np.isnan(swaps.accepted), 0.0, swaps.tried)
        by_ladder = np.nansum(swaps.accepted * (swaps.tried > 0), axis=2) / weight.sum(axis=2)
        mean = np.nansum(swaps.accepted * (swaps.tried > 0), axis=(0, 2)) / weight.sum(axis=(0, 2))
    sems = []
    for pair, tried in enumerate(swaps.tried):
        series = whole_chains(swaps.accepted[:, pair, tried > 0])
        if not series.size:
            sems.append(np.nan)
            continue
        swapped = (series.sum() + 0.5) / (series.size + 1.0)
        samples = float(np.fmin(effective_samples(series), series.size))
        factor = t_factor(samples / SAMPLES_PER_FREEDOM)
        sems.append(factor * math.sqrt(swapped * (1.0 - swapped) / samples) / tried.max())
    return by_ladder, np.stack([mean, sems], axis=1)


def expected_acceptance(swaps: Sweeps) -> np.ndarray:
    """Mean Metropolis probability over all sweeps, tried or not (pair,)."""
    known = np.isfinite(swaps.probability)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(swaps.probability, axis=(0, 2)) / known.sum(axis=(0, 2)))


def consistency(deviation: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """z of the deviations of moves, in [-1, 1], from their probabilities, with given variances; for each kind of move.

    Both are (ladder, kind of move, sweep), NaN if unknown. Given the energies, a move has a known probability p. Its
    deviation 1 - p or -p has mean 0 and variance p (1 - p) for any correlation of the energies (a martingale). The
    probability of a sum D is at most 2 exp(-v h(|D|/v)), with v the sum of the variances and h(x) = (1+x) ln(1+x) - x
    (Bennett, J. Am. Stat. Assoc. 57 (1962) 33), for any number of moves. z is the normal deviate of this probability.
    """
    total, sizes = np.nansum(deviation, axis=(0, 2)), np.nansum(variance, axis=(0, 2))
    scores = []
    for excess, v in zip(np.abs(total), sizes, strict=True):
        x = excess / v if v else math.inf if excess else 0.0
        exponent = v * ((1.0 + x) * math.log1p(x) - x) if math.isfinite(x) else math.inf
        scores.append(normal_deviate(min(1.0, 2.0 * math.exp(-exponent)), sizes.size))
    return np.copysign(scores, total)


def barrier(acceptance: np.ndarray) -> float:
    """Communication barrier Λ: the sum of the rejection rates of all pairs (pair,)."""
    return float(np.sum(1.0 - acceptance))


def round_trip_rate(acceptance: np.ndarray, scheme: str) -> float:
    """Round trips per sweep of all walkers of a ladder together, from the acceptance of its pairs (pair,)."""
    with np.errstate(divide="ignore"):
        detours = np.sum((1.0 - acceptance) / acceptance)
    return float(1.0 / (2.0 * (1 if scheme == "even-odd" else acceptance.size) + 2.0 * detours))


def last_end(slots: np.ndarray, top: int) -> np.ndarray:
    """The end that each walker visited last: 1 the top, 0 the bottom, -1 neither yet; slots (..., draw), same shape."""
    end = np.where(slots == top, 1, np.where(slots == 0, 0, -1))
    visit = np.where(end >= 0, np.arange(slots.shape[-1]), 0)
    return np.take_along_axis(end, np.maximum.accumulate(visit, axis=-1), axis=-1)


def round_trips(slots: np.ndarray, top: int) -> np.ndarray:
    """Completed trips bottom -> top -> bottom of each walker, slots (..., draw) -> (...).

    The first arrival at the bottom begins the first trip. A trip that is incomplete at the end does not count.
    """
    end = last_end(slots, top)
    before, after = end[..., :-1], end[..., 1:]
    ups = np.cumsum((before == 0) & (after == 1), axis=-1)
    return np.asarray(np.sum((before == 1) & (after == 0) & (ups > 0), axis=-1))


def flow(slots: np.ndarray, top: int) -> np.ndarray:
    """Fraction of walkers at each slot that came from the top rather than the bottom (ladder, slot); NaN if unknown.

    It is 1 at the top and 0 at the bottom. It is a straight line in between if the slots are placed best, and jumps at
    a bottleneck (Katzgraber, Trebst, Huse and Troyer, J. Stat. Mech. (2006) P03018).
    """
    end = last_end(slots, top)
    shares = np.full((len(slots), top + 1), np.nan)
    for ladder, k in np.ndindex(*shares.shape):
        here = end[ladder][(slots[ladder] == k) & (end[ladder] >= 0)]
        if here.size:
            shares[ladder, k] = here.mean()
    return shares


def transitions(slots: np.ndarray, top: int) -> np.ndarray:
    """Number of times that a walker at slot i was at slot j one draw later, over all ladders (i, j)."""
    before, after = slots[..., :-1], slots[..., 1:]
    known = (before >= 0) & (after >= 0)
    counts = np.zeros((top + 1, top + 1), dtype=int)
    np.add.at(counts, (before[known], after[known]), 1)
    return counts


def tempering(run: Run) -> xarray.Dataset:
    """Replica exchange of a run after its burn-in, over (ladder, slot, pair).

    acceptance          fraction of accepted swaps (pair, statistic = mean, sem); acceptance_by_ladder
    expected_acceptance mean of the Metropolis probability (pair,); consistency: z of the swaps against it
    predicted_barrier   Λ from <U> of the slots alone: ∫ sqrt(C/π) d ln T
    barrier             Λ; advice: enough slots, 2 Λ rounded up, at least 2
    round_trips         counted (ladder,); round_trip_rate: per sweep
    predicted_round_trips, predicted_rate   from the acceptance of this ladder; limit_rate: many slots, 1/(2 + 2Λ)
    round_trip_steps    steps that one walker takes for a round trip; inf before the first
    flow                fraction of walkers that came from the top (ladder, slot)
    transitions         (from_slot, to_slot); slots of walkers from draw to draw

    Raises ProtmpiError if the run exchanged no temperatures or has too few draws.
    """
    import xarray

    swaps, slots = sweeps(run), walker_slots(run)
    p = swaps.tried * swaps.probability
    deviation = np.where(swaps.tried > 0, swaps.accepted, 0.0) - p
    scheme, top = str(exchange_config(run)["scheme"]), run.temperature.size - 1
    by_ladder, pooled = acceptance(swaps)
    unsound = np.array([stretch.reason != "" for stretch in run.stretches])
    pooled[unsound[:-1] | unsound[1:], 1] = np.nan
    trips, count = round_trips(slots, top).sum(axis=1), swaps.tried.shape[1]
    rate = round_trip_rate(pooled[:, 0], scheme)
    span = (slots.shape[-1] - 1) * run.store.schema.record_every
    taken = slots.shape[0] * slots.shape[1] * span / trips.sum() if trips.any() else np.inf
    first = run.store.first_measured["draw"]
    energy = np.nanmean(run.by_temperature("energy")[:, :, first:], axis=(0, 2))
    unit, total = run.observables["energy"].unit, barrier(pooled[:, 0])
    data = xarray.Dataset(
        {
            "acceptance": (("pair", "statistic"), pooled),
            "acceptance_by_ladder": (("ladder", "pair"), by_ladder),
            "expected_acceptance": ("pair", expected_acceptance(swaps)),
            "consistency": ("pair", consistency(deviation, p * (1.0 - p))),
            "predicted_barrier": predicted_barrier(run.temperature, energy),
            "barrier": total,
            "advice": enough_slots(total) if math.isfinite(total) else top + 1,
            "round_trips": ("ladder", trips),
            "round_trip_rate": ("ladder", trips / count),
            "predicted_round_trips": rate * count,
            "predicted_rate": rate,
            "limit_rate": 1.0 / (2.0 + 2.0 * total),
            "round_trip_steps": taken,
            "flow": (("ladder", "slot"), flow(slots, top)),
            "transitions": (("from_slot", "to_slot"), transitions(slots, top)),
        },
        coords={"temperature": ("slot", run.temperature, {"unit": unit}), "statistic": ["mean", "sem"]},
        attrs={"scheme": scheme, "sweeps": count, "store": str(run.store.path)},
    )
    return only_sound_errors(run, data)
