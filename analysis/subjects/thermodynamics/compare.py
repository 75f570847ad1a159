"""Comparison of two runs of one problem: a test of equality of all observables at every common temperature.

Differences have the errors within the chains of both runs. Like self-checks, they are judged together: of equal runs,
any differs with a chance of 5 %. Those that do not differ are equal within a margin, which two one-sided tests give
(Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657). There is no verdict if a run is not in equilibrium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy import stats

from analysis.reading.run import different_spheres
from analysis.show.cells import exponent_form, number_or_dash, percent, plus_minus, table_of
from analysis.statistics.chains import Estimate
from analysis.statistics.significance import Mean, significant
from analysis.subjects.thermodynamics.measure import mean_at, thermodynamics
from protmpi.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from analysis.reading.run import Run

Verdict = Literal["equal", "weak", "differ"]


class Difference(NamedTuple):
    """An observable of two runs at one temperature."""

    temperature: float
    name: str
    first: Estimate
    second: Estimate
    samples: tuple[float, float]
    """Effective samples in both runs."""
    z: float
    within: float
    """The margin that holds the true difference with 95 %, as a fraction of the second value."""
    verdict: Verdict
    """weak: no verdict, because the observable has no error in one of the runs."""


def compare(first: Run, second: Run) -> list[Difference]:
    """Every observable of both runs and the heat capacity, at every temperature of both.

    Raises StoreError if they have no common temperature, or too few measured draws.
    """
    slots = [
        (k, int(np.argmin(np.abs(second.temperature - t))))
        for k, t in enumerate(first.temperature)
        if np.isclose(second.temperature, t, rtol=1e-6).any()
    ]
    if not slots:
        raise StoreError(f"{first.store.path} and {second.store.path}: no temperature in common")
    both = first.observables.keys() & second.observables.keys()
    names = [name for name in first.observables if name in both and first.observables[name].role == "law"]
    tables = thermodynamics(first), thermodynamics(second)
    found = []
    for name in [*names, "heat_capacity"]:
        shown = [table[name].values for table in tables]
        rows = [run.by_temperature("energy" if name == "heat_capacity" else name) for run in (first, second)]
        for k, other in slots:
            means = mean_at(first, name, rows[0], k), mean_at(second, name, rows[1], other)
            found.append((float(first.temperature[k]), name, Estimate(*shown[0][k]), Estimate(*shown[1][other]), means))
    differences = [_difference(*one) for one in sorted(found, key=lambda one: one[0])]
    differ = significant([2.0 * float(stats.norm.sf(abs(one.z))) for one in differences])
    return [one._replace(verdict="differ") if other else one for one, other in zip(differences, differ, strict=True)]


def _difference(
    temperature: float, name: str, first: Estimate, second: Estimate, means: tuple[Mean, Mean]
) -> Difference:
    known = bool(np.isfinite([first.sem, second.sem]).all())
    samples, apart = (means[0].samples, means[1].samples), means[0].minus(means[1])
    z = apart.z(0.0) if known else np.nan
    within = apart.within() / abs(second.mean) if known and second.mean else np.nan
    return Difference(temperature, name, first, second, samples, z, within, "equal" if np.isfinite(z) else "weak")


def comparison_table(differences: list[Difference]) -> Table:
    """One row for each observable and temperature."""

    def fraction(d: Difference) -> str:
        return f"{100 * (d.first.mean / d.second.mean - 1):+.2f} %" if d.second.mean else "-"

    return table_of([
        ("T", [exponent_form(d.temperature) for d in differences]),
        ("observable", [d.name for d in differences]),
        ("first ±", [plus_minus(*d.first) for d in differences]),
        ("second ±", [plus_minus(*d.second) for d in differences]),
        ("difference", [fraction(d) for d in differences]),
        ("z", [f"{d.z:.1f}" if np.isfinite(d.z) else "-" for d in differences]),
        ("ESS", [", ".join(number_or_dash(samples, ".0f") for samples in d.samples) for d in differences]),
        ("verdict", [f"equal within {percent(d.within)}" if d.verdict == "equal" else d.verdict for d in differences]),
    ])  # fmt: skip


def comparison_remarks(first: Run, second: Run, differences: list[Difference]) -> list[str]:
    """The overall verdict, the temperatures without a verdict, and whether the ensembles differ."""
    lines = [_verdict(differences)]
    unknown = list(dict.fromkeys(exponent_form(d.temperature) for d in differences if d.verdict == "weak"))
    if unknown:
        lines.append(f"weak: no ± in one of the runs, not in equilibrium or too short: T = {', '.join(unknown)}.")
    return lines + different_spheres([("first", first), ("second", second)])


def _verdict(differences: list[Difference]) -> str:
    differ = [f"{d.name} at T = {exponent_form(d.temperature)}" for d in differences if d.verdict == "differ"]
    told = sum(d.verdict != "weak" for d in differences)
    if differ:
        return f"DIFFER: {', '.join(differ)}."
    if not told:
        return "No verdict: no number has an error in both runs."
    worst = [max((d for d in differences if d.name == name and np.isfinite(d.within)), key=lambda d: d.within,
                 default=None) for name in dict.fromkeys(d.name for d in differences)]  # fmt: skip
    margins = ", ".join(f"{d.name} {percent(d.within)}" for d in worst if d)
    return f"No significant difference in {told} numbers. Equal, at every temperature, within: {margins}."
