"""<U>, heat capacity, free energy and entropy as continuous curves of T, between the temperatures of a run.

With β = 1/T and Z(β) = ∫ exp(-β U) over the parameters (k_B = 1),

    β F = -ln Z,    <U> = d(β F)/dβ,    C = β² var(U) = d<U>/dT,    S = β (<U> - F)

β F and S are relative to the lowest temperature. Between two neighbours of the ladder they come from

    mbar         the energies of all temperatures that overlap, reweighted (`analysis.statistics.mbar`)
    integration  β F' - β F = ∫ <U> dβ, <U> a cubic in T through the means of the neighbours, with the slopes of
                 `heat_capacity_derivative` there: exact if <U> is quadratic in T. The error has two parts: the errors
                 of the means and, for the shape of <U> between them, the difference from a straight line in T.

MBAR is refused if the histograms of two neighbours hardly overlap. `analysis.statistics.histograms` has the criterion,
and the test that overlapping histograms belong to the given temperatures.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.show.cells import exponent_form
from analysis.statistics.chains import Estimate, estimate
from analysis.statistics.curves import POINTS, joined, sem
from analysis.statistics.histograms import ENOUGH_OVERLAP, ENOUGH_SHARED, Slot, enough, histogram_ratio, overlap
from analysis.statistics.significance import Mean
from analysis.subjects.ladder.simulated import free_energy_of_visits
from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

Method = Literal["auto", "mbar", "integration"]
METHODS: tuple[Method, ...] = ("auto", "mbar", "integration")

MOST_DRAWS = 20_000
"""Most draws of all temperatures together that are reweighted. More draws are thinned evenly."""


def slots(run: Run) -> list[Slot]:
    """Decorrelated energies of each temperature with draws. Raises ProtmpiError for fewer than two temperatures.

    With exchanged temperatures, slots are treated as independent although they have the same walkers. Errors of
    differences between slots are then too large rather than too small, because slow modes of a walker are in both.
    """
    run.require_measured()
    found = []
    most = max(2, MOST_DRAWS // run.temperature.size)
    for temperature, stretch in zip(run.temperature, run.stretches, strict=True):
        size = stretch.energies.size
        if size >= 2 and stretch.samples > 0:  # leave out unknown ones
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


def free_energy(run: Run, method: Method = "auto") -> xarray.Dataset:
    """Curves over a fine grid of T (temperature, statistic = mean, sem), units in the attributes:

    energy, heat_capacity   <U> and C
    free_energy             β F - (β F at the lowest temperature)
    entropy                 S - (S at the lowest temperature)

    and their ingredients, over the intervals between neighbours of the ladder and over its slots:

    method                  (interval,) "mbar" or "integration"
    overlap                 (interval,) swap acceptance that the histograms imply
    shared                  (interval,) independent draws in the region of overlap
    histogram_ratio         (interval, statistic) difference in 1/T that the histograms show over the one given, 1 where
                            the energies follow exp(-U/T); NaN without overlap
    consistency             (interval,) z of its deviation from 1
    free_energy_of_visits   (slot, statistic) of simulated tempering alone: β F another way (`ladder.simulated`)

    `method` "auto" uses MBAR in intervals whose histograms overlap. "mbar" raises ProtmpiError if an interval does not.
    "integration" is used in all intervals.
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
    curves = joined(ladder, by_mbar, grid)
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
        visits = free_energy_of_visits(run)[np.isin(run.temperature, temperature)]
        data["free_energy_of_visits"] = (("slot", "statistic"), visits - [visits[0, 0], 0.0], {"unit": ""})
    return data
