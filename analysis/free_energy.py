"""<U>, heat capacity, free energy and entropy as continuous curves of T, between the temperatures of a run.

With β = 1/T and Z(β) = ∫ exp(-β U) over the parameters (k_B = 1),

    β F = -ln Z,    <U> = d(β F)/dβ,    C = β² var(U) = d<U>/dT,    S = β (<U> - F)

β F and S are relative to the lowest temperature. Between two neighbours of the ladder they come from

    mbar         the energies of all temperatures that overlap, reweighted (`analysis.mbar`)
    integration  β F' - β F = ∫ <U> dβ, <U> a cubic in T through the means of the neighbours, with the slopes of
                 `heat_capacity_derivative` there: exact while <U> is quadratic in T. The error holds those of the means
                 and, for the shape of <U> between them, the difference to a straight line in T.

MBAR is refused where the histograms of two neighbours hardly overlap; `analysis.histograms` has the criterion, and the
test that histograms which do overlap are those of the temperatures given.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.cells import exponent_form
from analysis.chains import Estimate, estimate
from analysis.histograms import ENOUGH_OVERLAP, ENOUGH_SHARED, Slot, enough, histogram_ratio, overlap
from analysis.mbar import Mbar
from analysis.significance import Mean
from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run

Method = Literal["auto", "mbar", "integration"]
METHODS: tuple[Method, ...] = ("auto", "mbar", "integration")

POINTS = 12
"""Points of the curves per interval of the ladder."""
MOST_DRAWS = 20_000
"""Draws of all temperatures together that are reweighted; more are thinned, evenly."""


def slots(run: Run) -> list[Slot]:
    """Decorrelated energies of each temperature that has some, in equilibrium. Raises ProtmpiError for fewer than two.

    With temperatures exchanged, slots are taken as independent of each other, though they share their walkers. Errors
    of differences between them are then too large rather than too small: what a walker keeps is in both.
    """
    run.require_measured()
    found = []
    most = max(2, MOST_DRAWS // run.temperature.size)
    for temperature, stretch in zip(run.temperature, run.stretches, strict=True):
        size = stretch.energies.size
        if size >= 2 and stretch.samples > 0:  # not where unknown
            stride = max(1, int(size / stretch.samples / 2.0), -(-size // most))
            thinned = stretch.energies[:, ::stride].ravel()
            samples = min(stretch.samples, thinned.size)
            error = estimate(stretch.energies, walkers=stretch.walkers).sem
            widening = np.nan if stretch.reason else error * np.sqrt(stretch.samples) / stretch.energies.std(ddof=1)
            found.append(Slot(float(temperature), thinned, samples, float(widening)))
    if len(found) < 2:
        raise ProtmpiError(
            f"{run.store.path}: a free energy takes two temperatures with energies; there are {len(found)}"
        )
    return found


def sem(results: np.ndarray, ladder: list[Slot]) -> np.ndarray:
    """Errors of results (..., 2 + draw): [value, error of the shape, response to each draw of all slots].

    Each slot adds its scatter of the responses, times the draws per effective sample, as wide as the error of its mean
    is; a shape adds its whole error. NaN for what rests on a slot that is not in equilibrium.
    """
    total = results[..., 1] ** 2
    ends = np.cumsum([2] + [s.draws for s in ladder])
    for slot, start, stop in zip(ladder, ends, ends[1:], strict=False):
        scatter = results[..., start:stop].var(axis=-1)
        error2 = slot.widening**2 * slot.draws**2 / slot.samples * scatter
        total = total + np.where(scatter > 0.0, error2, 0.0)
    return np.sqrt(total)


def means(ladder: list[Slot]) -> np.ndarray:
    """<U> of each slot from its own draws, as results (slot, 2 + draw)."""
    results = np.zeros((len(ladder), 2 + sum(s.draws for s in ladder)))
    start = 2
    for row, slot in zip(results, ladder, strict=True):
        stop = start + slot.draws
        row[0] = slot.energies.mean()
        row[start:stop] = (slot.energies - row[0]) / slot.draws
        start = stop
    return results


def integrated(
    temperature: np.ndarray, energy: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change of β F since the first of the temperatures `grid`, <U> and C there, from <U> at some `temperature`.

    Results (point, 2 + draw) each; linear in the results `energy` (temperature, 2 + draw).
    """
    from scipy.interpolate import CubicHermiteSpline, make_interp_spline

    identity = np.eye(temperature.size)
    degree: Literal[1, 2] = 2 if temperature.size > 2 else 1
    cubic = CubicHermiteSpline(temperature, identity, np.gradient(identity, temperature, axis=0, edge_order=degree))
    straight = make_interp_spline(temperature, identity, k=1)
    # ∫ U dβ = -∫ U/T d ln T, by Gauss's rule between neighbouring points: exact to rounding for these short steps
    node, weight = np.polynomial.legendre.leggauss(6)
    log, half = np.log(grid), np.diff(np.log(grid)) / 2.0
    between = np.exp(log[:-1, None] + half[:, None] * (1.0 + node))
    results = []
    for shape in (cubic, straight):
        pieces = -np.einsum("pn,pnk->pk", half[:, None] * weight / between, shape(between))
        free = np.concatenate([np.zeros((1, temperature.size)), np.cumsum(pieces, axis=0)])
        results.append([free @ energy, shape(grid) @ energy, shape.derivative()(grid) @ energy])
    for smooth, edged in zip(*results, strict=True):
        smooth[:, 1] = smooth[:, 0] - edged[:, 0]
    free, mean, capacity = results[0]
    return free, mean, capacity


def reweighted(
    ladder: list[Slot], first: int, last: int, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same at the temperatures `grid` from slot `first` to slot `last`, by MBAR of the draws of these slots."""
    block = ladder[first : last + 1]
    mbar = Mbar(np.array([1.0 / s.temperature for s in block]), [s.energies for s in block])
    start = 2 + sum(s.draws for s in ladder[:first])
    results = np.zeros((3, grid.size, 2 + sum(s.draws for s in ladder)))
    for point, temperature in enumerate(grid):
        for result, found in zip(results[:, point], mbar.at(1.0 / temperature), strict=True):
            result[0] = found[0]
            result[start : start + found.size - 1] = found[1:]
    free, energy, variance = results
    return free, energy, variance / grid[:, None] ** 2


def free_energy(run: Run, method: Method = "auto") -> xarray.Dataset:
    """Curves over a fine grid of T (temperature, statistic = mean, sem), units in the attributes:

    energy, heat_capacity   <U> and C
    free_energy             β F - (β F at the lowest temperature)
    entropy                 S - (S at the lowest temperature)

    and what they are made of, over the intervals between neighbours of the ladder and over its slots:

    method                  (interval,) "mbar" or "integration"
    overlap                 (interval,) swap acceptance that the histograms imply
    shared                  (interval,) independent draws in the region that both share
    histogram_ratio         (interval, statistic) difference in 1/T that the histograms show over the one given, 1 where
                            the energies follow exp(-U/T); NaN without overlap
    consistency             (interval,) z of its deviation from 1
    free_energy_of_visits   (slot, statistic) of simulated tempering alone: β F another way (`analysis.simulated`)

    `method` "auto" takes MBAR where the histograms overlap; "mbar" raises ProtmpiError where one interval does not;
    "integration" uses it everywhere.
    """
    import xarray

    ladder = slots(run)
    temperature = np.array([s.temperature for s in ladder])
    pairs = list(itertools.pairwise(ladder))
    share = np.array([overlap(*pair) for pair in pairs])
    shared = share * [min(lower.samples, upper.samples) for lower, upper in pairs]
    overlaps = np.array([enough(each, *pair) for each, pair in zip(share, pairs, strict=True)])
    if method == "mbar" and not overlaps.all():
        worst = int(np.argmin(np.where(overlaps, np.inf, shared)))
        raise ProtmpiError(
            f"{run.store.path}: MBAR is refused between T = {exponent_form(temperature[worst])} and "
            f"{exponent_form(temperature[worst + 1])}: swap acceptance {share[worst]:.2g} (least {ENOUGH_OVERLAP}), "
            f"{shared[worst]:.2g} shared effective samples (least {ENOUGH_SHARED:g}); put slots between, run longer, "
            "or integrate"
        )
    ratios = [
        histogram_ratio(*pair) if both else Estimate(np.nan, np.nan) for both, pair in zip(overlaps, pairs, strict=True)
    ]
    scores = [
        Mean(*ratio, min(lower.samples, upper.samples)).z(1.0, len(pairs))
        for ratio, (lower, upper) in zip(ratios, pairs, strict=True)
    ]
    by_mbar = overlaps & (method != "integration")
    steps = [np.geomspace(*ends, POINTS + 1)[:-1] for ends in itertools.pairwise(temperature)]
    grid = np.concatenate([*steps, temperature[-1:]])
    curves = _joined(ladder, by_mbar, grid)
    unit = run.observables["energy"].unit
    reasons = [s.reason for s, t in zip(run.stretches, run.temperature, strict=True) if t in temperature]
    data = xarray.Dataset(
        {
            "method": ("interval", np.where(by_mbar, "mbar", "integration")),
            "overlap": ("interval", share),
            "shared": ("interval", shared),
            "histogram_ratio": (("interval", "statistic"), np.array(ratios)),
            "consistency": ("interval", scores),
        },
        coords={
            "temperature": ("temperature", grid, {"unit": unit}),
            "slot_temperature": ("slot", temperature, {"unit": unit}),
            "not_in_equilibrium": ("slot", reasons),
            "statistic": ["mean", "sem"],
        },
        attrs={"store": str(run.store.path)},
    )
    units = {"energy": unit, "heat_capacity": "k_B", "free_energy": "", "entropy": "k_B"}
    for name, results in curves.items():
        values = np.stack([results[:, 0], sem(results, ladder)], axis=1)
        data[name] = (("temperature", "statistic"), values, {"unit": units[name]})
    if run.alone:
        from analysis.simulated import free_energy_of_visits

        visits = free_energy_of_visits(run)[np.isin(run.temperature, temperature)]
        data["free_energy_of_visits"] = (("slot", "statistic"), visits - [visits[0, 0], 0.0], {"unit": ""})
    return data


def _joined(ladder: list[Slot], by_mbar: np.ndarray, grid: np.ndarray) -> dict[str, np.ndarray]:
    """The curves of all blocks of intervals of one method, one after the other.

    Where two blocks meet, β F is handed on, and <U> is that of MBAR, from which the integration goes on.
    """
    free, energy, capacity = np.zeros((3, grid.size, 2 + sum(s.draws for s in ladder)))
    steps, mean = np.zeros_like(free[:-1]), means(ladder)
    temperature = np.array([s.temperature for s in ladder])
    ends = np.flatnonzero(np.diff(by_mbar, prepend=not by_mbar[0], append=not by_mbar[-1]))
    blocks = list(itertools.pairwise(ends.tolist()))
    for first, last in sorted(blocks, key=lambda block: not by_mbar[block[0]]):  # those of MBAR first
        points = slice(first * POINTS, last * POINTS + 1)
        if by_mbar[first]:
            found = reweighted(ladder, first, last, grid[points])
            mean[first : last + 1] = found[1][::POINTS]
            keep = slice(None)
        else:
            found = integrated(temperature, mean, grid[points])
            keep = slice(int(first > 0), -1 if last < by_mbar.size else None)
        steps[points.start : points.stop - 1] = np.diff(found[0], axis=0)
        energy[points][keep], capacity[points][keep] = found[1][keep], found[2][keep]
    free[1:] = np.cumsum(steps, axis=0)
    beta = 1.0 / grid[:, None]
    entropy = beta * energy - beta[0] * energy[0] - free
    free[0] = entropy[0] = 0.0  # by definition, not only to rounding
    return {"energy": energy, "heat_capacity": capacity, "free_energy": free, "entropy": entropy}
