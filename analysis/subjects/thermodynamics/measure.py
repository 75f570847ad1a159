"""Thermodynamics of a run: <U>, heat capacity from fluctuations and from d<U>/dT, T*, every observable against T.

k_B = 1: temperatures have the unit of the energy, heat capacities are in k_B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from analysis.reading.stretches import counted, observable_means, only_sound_errors
from analysis.show.cells import exponent_form, exponent_plus_minus
from analysis.statistics.chains import Estimate, estimate, r_hat
from analysis.statistics.significance import DIFFERENT, Mean

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

RESAMPLES = 2_000
"""Curves drawn for the error of a maximum. They give its standard deviation to 2 %."""


class Peak(NamedTuple):
    """T*, the maximum of the heat capacity, with its error; NaN with a reason if it is unknown."""

    temperature: float
    sem: float
    reason: str
    """The reason why there is no T*; empty if there is one."""


def norm_drift(run: Run) -> np.ndarray:
    """Largest relative deviation of |w|² from the sphere of the walker, over all committed draws (temperature,)."""
    sphere = run.store.read("sphere_norm2")[:, None]
    drift = run.arrange(np.abs(run.store.read("norm2") / sphere - 1), "draw")
    return np.asarray(np.fmax.reduce(drift, axis=(0, 2)))  # fmax ignores missing draws


def heat_capacity(energies: np.ndarray, temperature: float, walkers: np.ndarray | None = None) -> Estimate:
    """C = var(U) / T² from the energies (chain, draw) at one temperature; `walkers` as in `chains.estimate`.

    The error is that of the mean of the correlated series (U - <U>)² (delta method). The bias of the
    variance, -1/(effective samples), is small compared with the error, sqrt(2/(effective samples)) for a Gaussian.
    """
    if energies.size < 2:  # the variance is unknown
        return Estimate(np.nan, np.nan)
    variance = estimate((energies - energies.mean()) ** 2, walkers=walkers)
    return Estimate(variance.mean / temperature**2, variance.sem / temperature**2)


def mean_at(run: Run, name: str, rows: np.ndarray, slot: int) -> Mean:
    """Mean of an observable, or var(U)/T² for "heat_capacity", with its error within chains, for tests.

    `rows` (replica, slot, row) are those of the observable. It has no error if the temperature is not in
    equilibrium.
    """
    stretch = run.stretches[slot]
    if name == "heat_capacity":
        deviations = stretch.energies - stretch.energies.mean() if stretch.energies.size else stretch.energies
        found = Mean.of((deviations / run.temperature[slot]) ** 2)
    else:
        chains, _, most = counted(run, name, rows, slot)
        found = Mean.of(chains, stretch.samples).at_most(most)
    return Mean(found.value, np.nan, found.samples) if stretch.reason else found


def heat_capacity_derivative(temperature: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """C = d<U>/dT AT the temperatures of the ladder, from energies (temperature, statistic), in the same form.

    Slope of the parabola in T through three neighbours (`numpy.gradient`; the same parabola one-sided at the ends,
    a straight line for two temperatures): exact if <U> is quadratic in T. It is linear in <U>, so the errors of
    the energies propagate exactly. They count as independent between temperatures. Missing energies are skipped. An
    energy without an error gives slopes without an error.
    """
    result = np.full((temperature.size, 2), np.nan)
    known = np.flatnonzero(np.isfinite(energy[:, 0]))
    if known.size >= 2:
        degree: Literal[1, 2] = 2 if known.size > 2 else 1
        slope = np.asarray(np.gradient(np.eye(known.size), temperature[known], axis=0, edge_order=degree))
        mean, sem = energy[known].T
        result[known, 0] = slope @ mean
        result[known, 1] = np.sqrt(np.sum(np.where(slope == 0.0, 0.0, slope * sem) ** 2, axis=1))
    return result


def locate_peaks(temperature: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Temperature of the maximum of each curve, (curve, temperature) -> (curve,).

    It is the vertex of the parabola in ln T through the largest value and its two neighbours, or an end of the ladder.
    """
    x = np.log(temperature)
    top = np.argmax(curves, axis=1)
    located = temperature[top]
    curve = np.flatnonzero((top > 0) & (top < x.size - 1))
    middle = top[curve]
    left, right = middle - 1, middle + 1
    rise = (curves[curve, middle] - curves[curve, left]) / (x[middle] - x[left])
    fall = (curves[curve, right] - curves[curve, middle]) / (x[right] - x[middle])
    # argmax takes the first of equal values, so rise > 0 >= fall and the parabola is never flat
    curvature = (fall - rise) / (x[right] - x[left])
    located[curve] = np.exp((x[left] + x[middle]) / 2 - rise / (2 * curvature))
    return located


def maximum(name: str, temperature: np.ndarray, capacity: np.ndarray, seed: int = 0) -> Peak:
    """Maximum of the estimate `name` of the heat capacity (temperature, statistic), if there is one.

    Only temperatures with an error count; these are in equilibrium. The largest value must lie between two neighbours
    of the ladder that count, and exceed the first and the last value by more than `DIFFERENT` errors. A flat curve, or
    one that rises to an end, thus has no maximum. The error is the standard deviation over curves drawn from
    N(mean, sem²) at every temperature (parametric bootstrap). It is at least half of the wider interval beside the
    largest value, the resolution of the ladder.
    """
    known = np.flatnonzero(np.isfinite(capacity[:, 1]))
    if known.size < 3:
        return Peak(np.nan, np.nan, f"{name} has an error at fewer than three temperatures ({known.size})")
    mean, sem = capacity[known].T
    top = int(np.argmax(mean))
    at = f"{name} is largest at T = {exponent_form(temperature[known[top]])}"
    if top in (0, known.size - 1):
        return Peak(np.nan, np.nan, f"{at}, an end of the temperatures in equilibrium")
    beside = temperature[known[top - 1 : top + 2]]
    if known[top + 1] - known[top - 1] > 2:
        return Peak(np.nan, np.nan, f"{at}, beside a temperature that is not in equilibrium")
    if any(mean[top] - mean[end] <= DIFFERENT * np.hypot(sem[top], sem[end]) for end in (0, -1)):
        return Peak(np.nan, np.nan, f"{at}, not above both ends of equilibrium by {DIFFERENT:g} errors")
    curves = np.vstack([mean, mean + sem * np.random.default_rng(seed).standard_normal((RESAMPLES, mean.size))])
    located = locate_peaks(temperature[known], curves)
    return Peak(float(located[0]), float(max(located[1:].std(ddof=1), np.diff(beside).max() / 2.0)), "")


def t_star(temperature: np.ndarray, fluctuation: np.ndarray, slope: np.ndarray) -> Peak:
    """T*: the maximum that both estimates of the heat capacity (temperature, statistic) show, var(U)/T² and d<U>/dT.

    It is their geometric mean, with the larger error, if both agree within their errors. A chain out of equilibrium
    separates the two: its drift increases var(U), but not the slope.
    """
    peaks = [maximum("var(U)/T²", temperature, fluctuation), maximum("d<U>/dT", temperature, slope)]
    for peak in peaks:
        if peak.reason:
            return peak
    first, second = peaks
    if abs(first.temperature - second.temperature) > first.sem + second.sem:
        where = " and ".join(exponent_plus_minus(peak.temperature, peak.sem) for peak in peaks)
        return Peak(np.nan, np.nan, f"the maxima of var(U)/T² and d<U>/dT, {where}, do not agree")
    return Peak(float(np.sqrt(first.temperature * second.temperature)), max(first.sem, second.sem), "")


def shown_slot(data: xarray.Dataset) -> int:
    """Temperature whose distributions are drawn: the one next to T*, or the middle one without T*."""
    scale = data["t_star"].item()
    if np.isnan(scale):
        return (data.sizes["temperature"] - 1) // 2
    return int(np.argmin(np.abs(np.log(data["temperature"].values / scale))))


def thermodynamics(run: Run) -> xarray.Dataset:
    """Every observable of a run against temperature.

    Draws of the burn-in are left out (`Store.first_measured`), then, temperature by temperature, chains with missing
    draws (`chains.whole_chains`) and draws before the energy is in equilibrium (`chains.equilibration`).
    The error of a mean (statistic "sem") is half of the interval that holds it with 68.27 %: one standard error times
    Student's t, within chains or between walkers, whichever is larger (`statistics.chains`). It is unknown (NaN) at a
    temperature that is not in equilibrium (`statistics.equilibrium`). If temperatures are exchanged, a chain is the
    series at one temperature, whichever walker is there, and slow modes of a walker show between walkers. If walkers
    jump alone, a chain is the visits of all walkers one after the other (`chains.visits`).

    Dataset over (temperature,) or (temperature, statistic = mean, sem), units in the attributes:

    energy, train_error, ...   mean of every observable of the store, under its own name
    heat_capacity              var(U)/T²
    heat_capacity_derivative   d<U>/dT on the same temperatures
    t_star, t_star_sem         maximum of both; no_t_star: why there is none, else empty
    not_in_equilibrium         coordinate of the temperature: why it is not, else empty
    norm2_drift                max | |w|²/Q - 1 | over all committed draws
    effective_samples, r_hat   of the energy
    draws, missing             draws used, all chains together; draws lost to chains with missing ones
    discarded                  draws per chain between burn-in and equilibrium; equilibrium_step: first step that counts

    Raises StoreError if the store has too few measured draws.
    """
    import xarray

    stretches, temperature = run.stretches, run.temperature
    unit = run.observables["energy"].unit
    data = xarray.Dataset(
        coords={"temperature": ("temperature", temperature, {"unit": unit}), "statistic": ["mean", "sem"]},
        attrs={key: value for key, value in run.store.status().items() if key in ("store", "state", "step", "steps")},
    )

    def add(name: str, values: Any, unit: str, meaning: str) -> None:
        dims = ("temperature", "statistic")[: np.ndim(values)]
        data[name] = (dims, np.asarray(values), {"unit": unit, "long_name": meaning})

    for name, variable in run.observables.items():
        add(name, observable_means(run, name), variable.unit, variable.meaning)
    capacity = [heat_capacity(s.energies, t, s.walkers) for s, t in zip(stretches, temperature, strict=True)]
    add("heat_capacity", capacity, "k_B", "heat capacity var(U)/T²")
    data = only_sound_errors(run, data)
    slope = heat_capacity_derivative(temperature, data["energy"].values)
    add("heat_capacity_derivative", slope, "k_B", "heat capacity d<U>/dT")
    peak = t_star(temperature, data["heat_capacity"].values, slope)
    add("t_star", peak.temperature, unit, "temperature of the maximum of var(U)/T² and d<U>/dT")
    add("t_star_sem", peak.sem, unit, "its error, at least half of the interval of the ladder beside it")
    add("no_t_star", peak.reason, "", "why there is no T*")
    if "sphere_norm2" in run.store:
        add("norm2_drift", norm_drift(run), "", "max | |w|²/Q - 1 | over all committed draws")
    add("effective_samples", [s.samples for s in stretches], "", "effective samples of the energy")
    add("r_hat", [r_hat(s.energies) for s in stretches], "", "split R-hat of the energy")
    add("draws", [s.energies.size for s in stretches], "", "draws used, all chains together")
    add("missing", [s.missing for s in stretches], "", "draws lost to chains with missing ones")
    add("discarded", [s.discarded for s in stretches], "", "draws per chain between burn-in and equilibrium")
    add("equilibrium_step", [s.step for s in stretches], "steps", "first step that counts")
    return data
