"""Simulated tempering: visits of walkers to each temperature, and the free energies that follow.

A walker of energy U jumps to slot k with probability P(k | U) ∝ exp(g_k - U/T_k); the law of walker and slot together
is exp(g_k - U/T_k), so slot k is visited with the fraction p_k ∝ Z_k exp(g_k). With frozen weights g, the visits give
the free energies β F = -ln Z relative to the coldest slot:

    (β F)_k - (β F)_0 = g_k - g_0 - ln(p_k/p_0)

Jumps between neighbours with little overlap of energies are rare. The swap acceptance a that their histograms imply
gives the barrier Λ = Σ (1 - a), as in replica exchange (`analysis.subjects.ladder.tempering`).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from analysis.reading.stretches import only_sound_errors
from analysis.statistics.chains import estimate, whole_chains
from analysis.statistics.histograms import Slot, overlap
from analysis.subjects.ladder.tempering import (
    barrier,
    consistency,
    flow,
    round_trips,
    swept_draws,
    transitions,
    walker_slots,
)
from protmpi.sampling.temperature.ladder import enough_slots, predicted_barrier

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run


def log_weights(run: Run) -> np.ndarray:
    """g of each slot at every committed draw (draw, slot), zero at the coldest; the same for all walkers."""
    g = run.store.read("log_weight")[0]
    return np.asarray(g - g[:, :1])


def visits(run: Run) -> np.ndarray:
    """Whether each walker was in each slot (1 or 0) at the measured draws (slot, walker, draw); NaN for a lost one."""
    first = run.store.first_measured["draw"]
    there = (run.walker_at[:, :, first:] >= 0).astype(float)
    there[~np.isfinite(run.store.read("energy")[:, first:])[:, np.newaxis].repeat(there.shape[1], axis=1)] = np.nan
    return np.moveaxis(there, 1, 0)


def free_energy_of_visits(run: Run) -> np.ndarray:
    """β F of each slot relative to the coldest, from the frozen weights and the visits (slot, statistic = mean, sem).

    One more visit of k changes ln p_k by 1/p_k, so the error is that of the mean of 1[k]/p_k - 1[0]/p_0 with its
    autocorrelation. Unknown (NaN) for a slot that was never visited.
    """
    there = [whole_chains(chains) for chains in visits(run)]
    share = np.array([chains.mean() for chains in there])
    found = np.full((share.size, 2), np.nan)
    frozen = log_weights(run)[-1]
    for k in np.flatnonzero(share * share[0] > 0):
        response = there[k] / share[k] - there[0] / share[0]
        found[k] = frozen[k] - np.log(share[k] / share[0]), estimate(response).sem if k else 0.0
    if run.stretches[0].reason:  # relative to the coldest slot, all of them
        found[:, 1] = np.nan
    return found


def jumps(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Slots that walkers jumped to, as 1 or 0, and their probabilities P(k | U), both (walker, slot, sweep).

    NaN if a walker is lost. This is independent of `protmpi.sampling.temperature.simulated`: the jumps of
    the sampler are tested against P.
    """
    swept = swept_draws(run)
    exponent = log_weights(run)[-1] - run.store.read("energy")[:, swept, np.newaxis] / run.temperature
    chance = np.moveaxis(softmax(exponent, axis=2), 2, 1)
    return np.where(np.isfinite(chance), run.walker_at[:, :, swept + 1] >= 0, np.nan), chance


def overlaps(run: Run) -> np.ndarray:
    """Swap acceptance that the energies of neighbouring slots imply (pair,); NaN if a slot has no energies."""
    found = [
        Slot(float(t), stretch.energies.ravel(), stretch.samples)
        for t, stretch in zip(run.temperature, run.stretches, strict=True)
    ]
    return np.array([overlap(*pair) if all(s.draws for s in pair) else np.nan for pair in itertools.pairwise(found)])


def simulated(run: Run) -> xarray.Dataset:
    """Simulated tempering of a run after its burn-in, over (walker, slot, pair).

    round_trips         of each walker (walker,); round_trip_steps: steps of a walker for one, inf before the first
    visits              fraction of the draws in each slot (slot, statistic = mean, sem); 1/slots with the best weights
    expected_visits     mean of P(k | U) (slot,); consistency: z of the jumps against it
    log_weight          the frozen g, zero at the coldest slot (slot,); log_weight_history (draw, slot), step (draw,)
    free_energy         β F relative to the coldest slot, from weights and visits (slot, statistic)
    overlap             swap acceptance that the energies of neighbours imply (pair,)
    barrier             Λ; predicted_barrier from <U> alone; advice: enough slots, 2 Λ rounded up, at least 2
    flow                fraction of walkers that came from the top (ladder, slot)
    transitions         (from_slot, to_slot); slots of walkers from draw to draw

    Raises ProtmpiError if there are too few draws.
    """
    import xarray

    happened, chance = jumps(run)
    deviation = (happened - chance) * chance  # times P, so that jumps by energies of other walkers are detected
    slots, top = walker_slots(run), run.temperature.size - 1
    trips = round_trips(slots, top)[0]
    span = (slots.shape[-1] - 1) * run.store.schema.record_every
    history, acceptance = log_weights(run), overlaps(run)
    total = barrier(acceptance)
    mean = np.array([s.energies.mean() if s.energies.size else np.nan for s in run.stretches])
    known = np.isfinite(mean)
    data = xarray.Dataset(
        {
            "round_trips": ("walker", trips),
            "round_trip_steps": trips.size * span / trips.sum() if trips.any() else np.inf,
            "visits": (("slot", "statistic"), np.array([estimate(whole_chains(there)) for there in visits(run)])),
            "expected_visits": ("slot", np.nanmean(chance, axis=(0, 2))),
            "consistency": ("slot", consistency(deviation, chance**3 * (1.0 - chance))),
            "log_weight": ("slot", history[-1]),
            "log_weight_history": (("draw", "slot"), history),
            "free_energy": (("slot", "statistic"), free_energy_of_visits(run)),
            "overlap": ("pair", acceptance),
            "predicted_barrier": predicted_barrier(run.temperature[known], mean[known]),
            "barrier": total,
            "advice": enough_slots(total) if math.isfinite(total) else top + 1,
            "flow": (("ladder", "slot"), flow(slots, top)),
            "transitions": (("from_slot", "to_slot"), transitions(slots, top)),
        },
        coords={
            "temperature": ("slot", run.temperature, {"unit": run.observables["energy"].unit}),
            "step": ("draw", run.steps("draw")),
            "statistic": ["mean", "sem"],
        },
        attrs={"sweeps": chance.shape[2], "store": str(run.store.path)},
    )
    return only_sound_errors(run, data)
