"""Two runs of one problem: are all observables equal at every temperature that both have?

Differences have the error of both runs and, like those of the self-checks, a z-score that knows how uncertain errors
are and how many numbers were looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from analysis.cells import exponent_form, plus_minus, table_of
from analysis.chains import FEW_SAMPLES, estimate
from analysis.significance import SIGNIFICANT, Mean
from analysis.thermodynamics import counted, heat_capacity
from protmpi.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from analysis.run import Run

OF_THE_WAY = {"overlap", "distance", "rho", "collective_excess", "time_step", "acceptance"}
"""How a sampler moves and how far it is from its start, which equal laws leave free."""

Verdict = Literal["equal", "weak", "differ"]


class Difference(NamedTuple):
    """An observable of two runs at one temperature."""

    temperature: float
    name: str
    first: Mean
    second: Mean
    z: float
    verdict: Verdict
    """weak: equal as far as fewer than `FEW_SAMPLES` effective samples can tell."""


def compare(first: Run, second: Run) -> list[Difference]:
    """Every observable of both runs and the heat capacity, at every temperature of both.

    Raises StoreError when they have no temperature in common, or too few measured draws.
    """
    slots = [
        (k, int(np.argmin(np.abs(second.temperature - t))))
        for k, t in enumerate(first.temperature)
        if np.isclose(second.temperature, t, rtol=1e-6).any()
    ]
    if not slots:
        raise StoreError(f"{first.store.path} and {second.store.path}: no temperature in common")
    names = [name for name in first.observables if name in second.observables and name not in OF_THE_WAY]
    if any("sphere_norm2" in run.store for run in (first, second)):
        names = [name for name in names if name != "norm2"]  # held, not observed
    pairs = [
        (float(first.temperature[k]), name, mean_at(first, name, k), mean_at(second, name, other))
        for k, other in slots
        for name in [*names, "heat_capacity"]
    ]
    tries = sum(np.isfinite(a.value) and np.isfinite(b.value) for _, _, a, b in pairs)
    return [_difference(*pair, tries) for pair in pairs]


def mean_at(run: Run, name: str, slot: int) -> Mean:
    """Mean of an observable over the draws that count at a temperature; series too short to tell their own
    autocorrelation have the effective samples of the energy."""
    stretch = run.stretches[slot]
    if name == "heat_capacity":
        capacity = heat_capacity(stretch.energies, float(run.temperature[slot]))
        return Mean(capacity.mean, capacity.sem, stretch.samples)
    chains, most = counted(run, name, run.by_temperature(name), slot, stretch)
    found = Mean.of(chains)
    if not np.isfinite(found.samples):
        found = Mean(*estimate(chains, stretch.samples), min(float(chains.size), stretch.samples))
    excess = np.fmax(1.0, found.samples / most)
    return Mean(found.value, found.sem * np.sqrt(excess), found.samples / excess)


def _difference(temperature: float, name: str, first: Mean, second: Mean, tries: int) -> Difference:
    z = first.minus(second).z(0.0, tries)
    few = not min(first.samples, second.samples) >= FEW_SAMPLES
    verdict: Verdict = "differ" if abs(z) > SIGNIFICANT else "weak" if few or not np.isfinite(z) else "equal"
    return Difference(temperature, name, first, second, z, verdict)


def comparison_table(differences: list[Difference]) -> Table:
    """One row for each observable and temperature."""

    def share(d: Difference) -> str:
        return f"{100 * (d.first.value / d.second.value - 1):+.2f} %" if d.second.value else "-"

    return table_of([
        ("T", [exponent_form(d.temperature) for d in differences]),
        ("observable", [d.name for d in differences]),
        ("first ±", [plus_minus(d.first.value, d.first.sem) for d in differences]),
        ("second ±", [plus_minus(d.second.value, d.second.sem) for d in differences]),
        ("difference", [share(d) for d in differences]),
        ("z", [f"{d.z:.1f}" if np.isfinite(d.z) else "-" for d in differences]),
        ("ESS", [f"{d.first.samples:.0f}, {d.second.samples:.0f}" for d in differences]),
        ("verdict", [d.verdict for d in differences]),
    ])  # fmt: skip


def comparison_remark(differences: list[Difference]) -> str:
    """The verdict on all of them."""
    differ = [f"{d.name} at T = {exponent_form(d.temperature)}" for d in differences if d.verdict == "differ"]
    weak = sum(d.verdict == "weak" for d in differences)
    if differ:
        return f"DIFFER: {', '.join(differ)}."
    tail = f"; {weak} of them rest on fewer than {FEW_SAMPLES} effective samples" if weak else ""
    return f"No significant difference in {len(differences)} numbers{tail}."
