"""Which draws of a temperature count, and whether they are in equilibrium: the verdict that every error bar waits for.

A temperature is in equilibrium when its energies

    have at least `FEW_SAMPLES` effective samples, and `FEW_OF_WALKER` for each walker (those that jump over the
    temperatures alone share theirs),
    do not drift: the last third of all chains together, and of each, is where the first is,
    agree between walkers: two by two, and their halves (split R-hat),

each up to `DIFFERENT` errors. Where they are not, no observable of that temperature has an error (`only_sound_errors`):
the mean is shown alone and says where the chains were, not what the ensemble is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.chains import FEW_SAMPLES, Estimate, effective_samples, equilibration, estimate, r_hat, whole_chains
from analysis.significance import DIFFERENT, Mean, drift, mean_of, z_of_halves

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run

NO_DRAWS = "no draws"
STILL = "a walker stands still"
DRIFTS = "U drifts"
DISAGREE = "walkers disagree"

FEW_OF_WALKER = 10
"""Effective samples that each of several walkers must have on average: with fewer, whether they agree is not known."""

R_HAT_GOOD = 1.01
"""Split R-hat that good practice asks for (Vehtari et al. 2021): below, walkers agree however significant the rest."""


class Stretch(NamedTuple):
    """The part of the chains at one temperature that counts."""

    energies: np.ndarray
    """(chain, draw), none missing."""
    walkers: np.ndarray | None
    """Who made each draw (chain, draw), where that is not the chain; see `Run.walkers_of`."""
    samples: float
    """Effective samples of these energies."""
    needed: int
    """How many there must be for an error."""
    missing: int
    """Measured draws that do not count because their chain has missing ones."""
    discarded: int
    """Draws per chain between the burn-in and equilibrium."""
    step: int
    """First step that counts."""
    reason: str
    """Why the energies are not in equilibrium; empty where they are."""


def stretches_of(run: Run) -> list[Stretch]:
    """For each temperature the energies that count: after the burn-in, after equilibration, whole chains only.

    Walkers that jump alone have come to equilibrium as a whole, or not, whatever temperature they are at.
    """
    first = run.store.first_measured["draw"]
    steps = run.steps("draw")
    of_walkers = equilibration(whole_chains(run.store.read("energy")[:, first:])) if run.alone else 0
    present = np.sum(run.walker_at[:, :, first:] >= 0, axis=(0, 2))
    rows, found = run.by_temperature("energy")[:, :, first:], []
    for slot in range(run.temperature.size):
        measured = rows[:, slot]
        whole = run.chains(measured)
        discarded = of_walkers if run.alone else equilibration(whole)
        kept = measured[:, discarded:]
        energies = run.chains(kept)
        most = run.most_samples(kept, slot, first + discarded)
        samples = float(np.minimum(effective_samples(energies), most))
        series = run.series(kept)
        needed = FEW_SAMPLES if run.alone else samples_needed(len(series))
        found.append(
            Stretch(
                energies,
                run.walkers_of(kept, slot, first + discarded, "draw"),
                samples,
                needed,
                missing=int(present[slot]) - whole.size,
                discarded=discarded,
                step=int(steps[first + discarded]),
                reason=disequilibrium(series, samples, needed),
            )
        )
    return found


def samples_needed(walkers: int) -> int:
    """Effective samples without which nothing is said of the equilibrium of some walkers at one temperature."""
    return max(FEW_SAMPLES, FEW_OF_WALKER * walkers)


def disequilibrium(series: Sequence[np.ndarray], samples: float, needed: int) -> str:
    """Why some series (draw,) of independent walkers at one temperature are not in equilibrium; empty where they are.

    `samples`: effective samples of all of them, and how many are needed.
    """
    if not any(one.size for one in series):
        return NO_DRAWS
    if not samples >= needed:
        return f"fewer than {needed} effective samples"
    if any(stands_still(one) for one in series):
        return STILL
    drifts = [drift(one) for one in series]
    together = mean_of(drifts)
    if abs(together.value) > DIFFERENT * together.sem or _any_different(drifts):
        return DRIFTS
    if len(series) > 1 and samples >= samples_needed(len(series)) and _disagree(series):
        return DISAGREE
    return ""


def _disagree(series: Sequence[np.ndarray]) -> bool:
    means = [Mean.of(one[np.newaxis]) for one in series]
    if _any_different([one.minus(other) for one, other in itertools.combinations(means, 2)]):
        return True
    shortest = min(one.size for one in series)
    mixed = r_hat(np.array([one[:shortest] for one in series])) < R_HAT_GOOD
    return not mixed and z_of_halves(series) > DIFFERENT


def _any_different(differences: Sequence[Mean]) -> bool:
    return any(abs(one.z(0.0, len(differences))) > DIFFERENT for one in differences)


def stands_still(series: np.ndarray) -> bool:
    """Whether a series (draw,) has one value only, to rounding."""
    return series.size > 1 and bool(np.isclose(series, series[0], rtol=1e-12, atol=0.0).all())


class Counted(NamedTuple):
    """Rows of an observable over the stretch of a temperature."""

    chains: np.ndarray
    """(chain, row), none missing."""
    walkers: np.ndarray | None
    """Who made each row, as `Stretch.walkers`."""
    most: float
    """As how many independent rows they may count; infinity where only autocorrelation tells."""


def counted(run: Run, name: str, rows: np.ndarray, slot: int) -> Counted:
    """Those of the `rows` (replica, slot, row) of an observable that count at a temperature."""
    axis = run.observables[name].axis
    first = int(np.searchsorted(run.steps(axis), run.stretches[slot].step))
    kept = rows[:, slot, first:]
    return Counted(run.chains(kept), run.walkers_of(kept, slot, first, axis), run.most_samples(kept, slot, first, axis))


def observable_means(run: Run, name: str) -> np.ndarray:
    """Mean and error of an observable over the stretch of each temperature (temperature, statistic).

    NaN for the error of one that is slower than the energy: fewer than `FEW_SAMPLES` effective samples, and less than
    half of what its rows and the energy allow. Whether the temperature is in equilibrium is not asked here.
    """
    rows, found = run.by_temperature(name), []
    for slot, stretch in enumerate(run.stretches):
        chains, walkers, _ = counted(run, name, rows, slot)
        mean, sem = estimate(chains, stretch.samples, walkers)
        own = effective_samples(chains)
        slow = own < FEW_SAMPLES and own < 0.5 * min(chains.size, stretch.samples)
        found.append(Estimate(mean, np.nan if slow else sem))
    return np.array(found)


def only_sound_errors(run: Run, data: xarray.Dataset) -> xarray.Dataset:
    """`data`, over the temperatures of a run, without errors (statistic "sem") where it is not in equilibrium.

    Why it is not, is a coordinate beside the temperature: not_in_equilibrium, empty where it is.
    """
    (dim,) = data["temperature"].dims
    data = data.assign_coords(not_in_equilibrium=(dim, np.array([stretch.reason for stretch in run.stretches])))
    sound = (data["not_in_equilibrium"] == "") | (data["statistic"] != "sem")
    for name, variable in list(data.data_vars.items()):
        if {dim, "statistic"} <= set(variable.dims):
            data[name] = variable.where(sound).transpose(*variable.dims).assign_attrs(variable.attrs)
    return data
