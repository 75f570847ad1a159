"""Thermodynamics of a run: <U>, heat capacity from fluctuations and from d<U>/dT, T*, every observable against T.

k_B = 1: temperatures have the unit of the energy, heat capacities are in k_B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from analysis.chains import Estimate, effective_samples, equilibration, estimate, r_hat, whole_chains

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run

RESAMPLES = 2_000
"""Curves drawn for the error of T*: its standard deviation is then known to 2 %."""


class Stretch(NamedTuple):
    """The part of the chains at one temperature that counts."""

    energies: np.ndarray
    """(chain, draw), in equilibrium, none missing."""
    samples: float
    """Effective samples of these energies."""
    missing: int
    """Measured draws that do not count because their chain has missing ones."""
    discarded: int
    """Draws per chain between the burn-in and equilibrium."""
    step: int
    """First step that counts."""


class Peak(NamedTuple):
    """Temperature of the maximum of a heat capacity curve."""

    temperature: float
    sem: float
    at_edge: bool
    """The largest value is at an end of the ladder: the maximum may lie beyond it."""


def equilibrium(run: Run) -> list[Stretch]:
    """For each temperature the energies that count: after the burn-in, after equilibration, whole chains only.

    Walkers that jump alone have come to equilibrium as a whole, or not, whatever temperature they are at.
    """
    first = run.store.first_measured["draw"]
    steps = run.steps("draw")
    of_walkers = equilibration(whole_chains(run.store.read("energy")[:, first:])) if run.alone else 0
    walkers = np.sum(run.walker_at[:, :, first:] >= 0, axis=(0, 2))
    series, stretches = run.by_temperature("energy")[:, :, first:], []
    for slot, present in enumerate(walkers):
        measured = series[:, slot]
        whole = run.chains(measured)
        discarded = of_walkers if run.alone else equilibration(whole)
        step = int(steps[first + discarded])
        energies = run.chains(measured[:, discarded:])
        missing = int(present) - whole.size
        most = run.most_samples(measured[:, discarded:], slot, first + discarded, "draw")
        samples = float(np.minimum(effective_samples(energies), most))
        stretches.append(Stretch(energies, samples, missing, discarded, step))
    return stretches


def observable_means(run: Run, name: str, stretches: list[Stretch]) -> np.ndarray:
    """Mean and standard error of an observable over the stretch of each temperature, (temperature, statistic)."""
    series, found = run.by_temperature(name), []
    for slot, stretch in enumerate(stretches):
        chains, most = counted(run, name, series, slot, stretch)
        found.append(estimate(chains, stretch.samples, most))
    return np.array(found)


def counted(run: Run, name: str, series: np.ndarray, slot: int, stretch: Stretch) -> tuple[np.ndarray, float]:
    """Chains (chain, row) of an observable, `series` (replica, slot, row), over the stretch of a temperature.

    Also as how many independent rows they may count, see `Run.most_samples`.
    """
    axis = run.observables[name].axis
    first = int(np.searchsorted(run.steps(axis), stretch.step))
    rows = series[:, slot, first:]
    return run.chains(rows), run.most_samples(rows, slot, first, axis)


def norm_drift(run: Run) -> np.ndarray:
    """Largest relative departure of |w|² from the walker's sphere, over all committed draws (temperature,)."""
    sphere = run.store.read("sphere_norm2")[:, None]
    drift = run.arrange(np.abs(run.store.read("norm2") / sphere - 1), "draw")
    return np.asarray(np.fmax.reduce(drift, axis=(0, 2)))  # fmax passes over missing draws


def heat_capacity(energies: np.ndarray, temperature: float) -> Estimate:
    """C = var(U) / T² from the energies (chain, draw) at one temperature.

    The error is that of the mean of (U - <U>)² as a correlated series of its own (delta method). The bias of the
    variance, -1/(effective samples), is small beside the error, sqrt(2/(effective samples)) for a Gaussian.
    """
    if energies.size < 2:  # no spread to tell
        return Estimate(np.nan, np.nan)
    variance = estimate((energies - energies.mean()) ** 2)
    return Estimate(variance.mean / temperature**2, variance.sem / temperature**2)


def heat_capacity_derivative(temperature: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """C = d<U>/dT ON the temperatures of the ladder, from energies (temperature, statistic), in the same form.

    Slope of the parabola in T through three neighbours (`numpy.gradient`; the same parabola one-sided at the ends,
    a straight line for two temperatures): exact while <U> is quadratic in T. It is linear in <U>, so the errors of
    the energies propagate exactly; they count as independent between temperatures. Missing energies are skipped.
    """
    result = np.full((temperature.size, 2), np.nan)
    known = np.flatnonzero(np.isfinite(energy[:, 0]))
    if known.size >= 2:
        degree: Literal[1, 2] = 2 if known.size > 2 else 1
        slope = np.asarray(np.gradient(np.eye(known.size), temperature[known], axis=0, edge_order=degree))
        mean, sem = energy[known].T
        result[known, 0] = slope @ mean
        result[known, 1] = np.sqrt(slope**2 @ sem**2)
    return result


def locate_peaks(temperature: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Temperature of the maximum of each curve, (curve, temperature) -> (curve,).

    Vertex of the parabola in ln T through the largest value and its two neighbours; an end of the ladder as it is.
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


def t_star(temperature: np.ndarray, capacity: np.ndarray, seed: int = 0) -> Peak:
    """T*, where a heat capacity (temperature, statistic) is largest, with a bootstrap error.

    The error is the standard deviation of T* over curves drawn from N(mean, sem²) at every temperature (parametric
    bootstrap; `sem` already knows the autocorrelation). It does not know how coarse the ladder is.
    NaN with fewer than three temperatures.
    """
    known = np.isfinite(capacity[:, 0])
    if known.sum() < 3:
        return Peak(np.nan, np.nan, False)
    temperature, (mean, sem) = temperature[known], capacity[known].T
    top = locate_peaks(temperature, mean[np.newaxis])[0]
    error = np.nan
    if np.isfinite(sem).all():
        curves = mean + sem * np.random.default_rng(seed).standard_normal((RESAMPLES, mean.size))
        error = locate_peaks(temperature, curves).std(ddof=1)
    return Peak(float(top), float(error), bool(np.argmax(mean) in (0, mean.size - 1)))


def reference_temperature(data: xarray.Dataset) -> tuple[float, float, str]:
    """T*, its standard error and where it comes from, to scale temperatures with.

    The maximum of var(U)/T² where it lies inside the ladder, else that of d<U>/dT if it does; NaN where neither does.
    """
    for name, source in (("t_star", "var(U)/T²"), ("t_star_derivative", "d⟨U⟩/dT")):
        if np.isfinite(data[name].item()) and not data[f"{name}_at_edge"].item():
            return data[name].item(), data[f"{name}_sem"].item(), source
    return np.nan, np.nan, "no maximum inside the ladder"


def shown_slot(data: xarray.Dataset) -> int:
    """Temperature whose distributions are drawn: the one next to T*, without T* the one in the middle."""
    scale = reference_temperature(data)[0]
    if np.isnan(scale):
        return (data.sizes["temperature"] - 1) // 2
    return int(np.argmin(np.abs(np.log(data["temperature"].values / scale))))


def thermodynamics(run: Run) -> xarray.Dataset:
    """Every observable of a run against temperature.

    Draws of the burn-in are left out (`Store.first_measured`), then, temperature by temperature, chains with missing
    draws (`chains.whole_chains`) and draws before the energy is in equilibrium (`chains.equilibration`).
    The error of a mean is standard deviation / sqrt(effective samples) over all replicas together
    (`chains.effective_samples`): with several replicas the spread between them enters, one replica has only its own
    autocorrelation to tell. Where temperatures are exchanged, a chain is the series at one temperature, whichever
    walker is there, and what a walker keeps from one visit to the next shows between walkers
    (`chains.samples_of_walkers`); where walkers jump alone, a chain is the visits of all of them one after the other
    (`chains.visits`).

    Dataset over (temperature,) or (temperature, statistic = mean, sem), units in the attributes:

    energy, train_error, ...   mean of every observable of the store, under its own name
    heat_capacity              var(U)/T²
    heat_capacity_derivative   d<U>/dT on the same temperatures
    t_star, t_star_sem         maximum of heat_capacity; t_star_at_edge: at an end of the ladder, so only a bound
    t_star_derivative, ...     the same for heat_capacity_derivative
    norm2_drift                max | |w|²/Q - 1 | over all committed draws
    effective_samples, r_hat   of the energy
    draws, missing             draws used, all chains together; draws lost to chains with missing ones
    discarded                  draws per chain between burn-in and equilibrium; equilibrium_step: first step that counts

    Raises StoreError when the store has too few measured draws.
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
        add(name, observable_means(run, name, stretches), variable.unit, variable.meaning)
    capacity = np.array([heat_capacity(s.energies, t) for s, t in zip(stretches, temperature, strict=True)])
    derivative = heat_capacity_derivative(temperature, data["energy"].values)
    for suffix, curve, meaning in (("", capacity, "var(U)/T²"), ("_derivative", derivative, "d<U>/dT")):
        peak = t_star(temperature, curve)
        add(f"heat_capacity{suffix}", curve, "k_B", f"heat capacity {meaning}")
        add(f"t_star{suffix}", peak.temperature, unit, f"temperature of the maximum of {meaning}")
        add(f"t_star{suffix}_sem", peak.sem, unit, "its standard error")
        add(f"t_star{suffix}_at_edge", peak.at_edge, "", "the maximum is at an end of the ladder: only a bound")
    if "sphere_norm2" in run.store:
        add("norm2_drift", norm_drift(run), "", "max | |w|²/Q - 1 | over all committed draws")
    add("effective_samples", [s.samples for s in stretches], "", "effective samples of the energy")
    add("r_hat", [r_hat(s.energies) for s in stretches], "", "split R-hat of the energy")
    add("draws", [s.energies.size for s in stretches], "", "draws used, all chains together")
    add("missing", [s.missing for s in stretches], "", "draws lost to chains with missing ones")
    add("discarded", [s.discarded for s in stretches], "", "draws per chain between burn-in and equilibrium")
    add("equilibrium_step", [s.step for s in stretches], "steps", "first step that counts")
    return data
