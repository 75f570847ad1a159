"""Rows of an observable over the stretch of a temperature that counts, with errors only in equilibrium."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.statistics.chains import FEW_SAMPLES, Estimate, effective_samples, estimate

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run


class Counted(NamedTuple):
    """Rows of an observable over the stretch of a temperature."""

    chains: np.ndarray
    """(chain, row), without missing rows."""
    walkers: np.ndarray | None
    """The walker of each row, as in `Stretch.walkers`."""
    most: float
    """Most independent rows among them; infinity if their autocorrelation alone decides."""


def counted(run: Run, name: str, rows: np.ndarray, slot: int) -> Counted:
    """The `rows` (replica, slot, row) of an observable that count at a temperature."""
    axis = run.observables[name].axis
    first = int(np.searchsorted(run.steps(axis), run.stretches[slot].step))
    kept = rows[:, slot, first:]
    return Counted(run.chains(kept), run.walkers_of(kept, slot, first, axis), run.most_samples(kept, slot, first, axis))


def observable_means(run: Run, name: str) -> np.ndarray:
    """Mean and error of an observable over the stretch of each temperature (temperature, statistic).

    The error is NaN for an observable that is slower than the energy: it has fewer than `FEW_SAMPLES` effective
    samples, and less than half of the number that its rows and the energy allow. Equilibrium is not tested here.
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
    """`data`, over the temperatures of a run, without errors (statistic "sem") at temperatures not in equilibrium.

    The reason is a coordinate beside the temperature: not_in_equilibrium, empty in equilibrium.
    """
    (dim,) = data["temperature"].dims
    data = data.assign_coords(not_in_equilibrium=(dim, np.array([stretch.reason for stretch in run.stretches])))
    sound = (data["not_in_equilibrium"] == "") | (data["statistic"] != "sem")
    for name, variable in list(data.data_vars.items()):
        if {dim, "statistic"} <= set(variable.dims):
            data[name] = variable.where(sound).transpose(*variable.dims).assign_attrs(variable.attrs)
    return data
