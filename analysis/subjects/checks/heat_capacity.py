"""Self-check of the heat capacity C = var(U)/T² against the differences of <U> between temperatures.

A slope at a temperature uses two intervals and has a discretisation error of unknown size. Over an interval from T to
T' the law is exact as an integral, U(T') - U(T) = ∫ C dT. Only the integral is approximated, by trapezoids.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import exponent_form
from analysis.statistics.significance import Mean, combined
from analysis.subjects.checks.check import Check, Question
from analysis.subjects.thermodynamics.measure import mean_at

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

MOST = 0.5
"""An interval shows enough if a deviation of this fraction would be significant."""
CHANCE = 1e-4
"""The chance at which it would be: that of one number among the 500 of a long page."""


class Curves:
    """C and U at three or more temperatures (slot,), as (slot, 3) each: value, standard error, effective samples."""

    def __init__(self, temperature: np.ndarray, capacity: np.ndarray, energy: np.ndarray) -> None:
        self.temperature, self.capacity, self.energy = temperature, capacity, energy
        self.sound = np.isfinite(capacity[:, 1])
        steps = np.diff(temperature)
        values = np.where(self.sound, capacity[:, 0], np.nan)  # the curvature of C needs equilibrium
        bends = 2.0 * np.abs(np.diff(np.diff(values) / steps)) / (steps[1:] + steps[:-1])
        ratio = temperature[1:] / temperature[:-1]
        with np.errstate(invalid="ignore"):
            curvature = np.fmax(np.append(np.nan, bends), np.append(bends, np.nan)) * steps**3 / 12.0
        rest = np.diff(capacity[:, 0]) * steps * (ratio / (ratio - 1.0) - 1.0 / np.log(ratio) - 0.5)
        self._steps, self._errors = steps, np.stack([curvature, rest])

    def between(self, first: int, last: int) -> tuple[Mean, float]:
        """Mean of C over the interval between two slots, with its error as a value of the slope of U, and this slope.

        The error has three parts: the errors of both energies and all variances (the error of a variance scales with
        it; if the value is too small, that of the slope is used), the error of the trapezoids, h² C''/12 with C'' the
        larger second difference at the inner ends of a step, and their change if C were linear in ln T. Peaks of C
        narrower than the steps are not seen.
        """
        inside, ends = slice(first, last), [first, last]
        steps, width = self._steps[inside], self.temperature[last] - self.temperature[first]
        weights = (np.append(steps, 0.0) + np.append(0.0, steps)) / (2.0 * width)
        capacity, energy = self.capacity[first : last + 1], self.energy[ends]
        value, slope = float(weights @ capacity[:, 0]), float(np.diff(energy[:, 0])[0] / width)
        grown = max(1.0, slope / value) if value else 1.0
        systematic = self._errors[:, inside].sum(1) / width
        sems = np.concatenate([grown * weights * capacity[:, 1], energy[:, 1] / width, systematic])
        samples = np.concatenate([capacity[:, 2], energy[:, 2], [np.inf, np.inf]])
        return Mean(value, *combined(sems, samples)), slope

    def shows(self, first: int, last: int) -> bool:
        """Whether a deviation of `MOST` would show in this interval, by the strictest measure."""
        mean, slope = self.between(first, last)
        return mean.resolution(CHANCE) <= MOST * abs(slope)

    def intervals(self) -> list[tuple[int, int]]:
        """The shortest intervals, from the coldest up, that show enough. They do not extend over a temperature that is
        not in equilibrium: there an interval ends at its neighbour, whether it shows enough or not."""
        found: list[tuple[int, int]] = []
        first = 0
        while first + 1 < len(self.temperature):
            last = first + 1
            while self._may_grow(first, last) and not self.shows(first, last):
                last += 1
            if found and not self.shows(first, last) and self.sound[found[-1][0] : last + 1].all():
                first = found.pop()[0]  # the rest at the end joins its neighbour
            found.append((first, last))
            first = last
        return found

    def _may_grow(self, first: int, last: int) -> bool:
        return last + 1 < len(self.temperature) and bool(self.sound[first : last + 2].all())


def heat_capacity(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """C from var(U)/T² against the slope of <U> (k_B), over intervals in which a deviation of `MOST` would show."""
    known = np.flatnonzero(np.isfinite(data["heat_capacity"].values[:, 0]))
    if known.size < 3:
        return
    rows = run.by_temperature("energy")
    capacity, energy = (
        np.array([mean_at(run, name, rows, slot) for slot in known.tolist()]) for name in ("heat_capacity", "energy")
    )
    curves = Curves(run.temperature[known], capacity, energy)
    for first, last in curves.intervals():
        mean, slope = curves.between(first, last)
        lower, upper = (exponent_form(float(curves.temperature[slot])) for slot in (first, last))
        much = "little (stuck, or too short)" if mean.value < slope else "much (not in equilibrium)"
        remedy = (
            f"var(U)/T² is {mean.value / slope:.2g} d<U>/dT from T = {lower} to {upper}: "
            f"U fluctuates too {much}, or the ladder is too coarse"
        )
        check = Check("heat capacity", float(curves.temperature[first]), f"to {upper}", mean.value, slope, mean.sem,
                      mean.z(slope))  # fmt: skip
        yield Question(check, mean.resolution, MOST * abs(slope), abs(slope), remedy)
