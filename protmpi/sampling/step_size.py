"""`rho = "auto"`: the largest share rho, and with it the largest step, that keeps the law (step length ~ sqrt(rho)).

During burn-in each walker looks for it on its own:
1. climb: rho grows by FACTOR while the kinetic temperature, averaged over a window, stays within the tolerance; then
   the bracket is halved (in log rho) until it is narrower than NARROW, and opened again, for what looked hot may have
   been the energy that U released. A refused window is undone, weights included. While U still falls by more than its
   thermal spread T sqrt(P/2) in a window, the heat that it releases is no reason to refuse;
2. compare: <U> at rho, then at rho/4 (half the step). Where the two differ by more than LIMIT standard errors, rho goes
   to where the shift, which grows like the square of the step, would not be seen, and is compared again. Windows in
   which U still drifts say nothing and are repeated;
3. from 2 on rho stays where the strongest directions of the mini-batch noise are too hot by no more than
   collective_tolerance, unseen by the kinetic temperature (`noise.collective_excess`). The climb may pass this by
   AHEAD, not more: directions without noise are too cold by rho (twice that in the single scheme), and the slowest of
   them would not warm up within the burn-in;
4. rho is frozen: the rest of the burn-in and all measured draws have it.
A burn-in that is too short ends the search early: `stage` then says how far it came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

FIRST = 1e-4  # small enough for every network here at every temperature of interest
FACTOR, NARROW = 4.0, 1.5
TICKS = 40  # looks at the kinetic temperature in a window, half a memory time of the momenta apart
SETTLE = 10  # looks that a fresh rho is given before they count
POINTS = 64  # full-batch energies of a comparison window, of which the second half counts
CLIMB, FULL, HALF = 0.3, 0.1, 0.2  # shares of the burn-in: all of the climb, a window at rho, one at half the step
LIMIT = 3.0  # standard errors
AHEAD = 10.0  # of what the correlation of the noise allows, that the climb may take

STAGES = ("climb", "at rho", "at half the step", "frozen", "frozen before it was compared")


@dataclass
class Search:
    """The search of one walker; `tell` it the kinetic temperature every `tick` steps."""

    budget: int  # steps of burn-in
    tick: int
    tolerance: float
    largest: float  # rho_max
    spread: float  # T sqrt(P/2), about the thermal spread of U
    collective: float = np.inf  # largest rho that the collective excess allows once the climb is over
    rho: float = FIRST
    low: float = 0.0
    high: float = np.inf
    stage: int = 0
    since: int = 0  # step at which the window began
    kinetic: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    reference: tuple[float, float] = (np.nan, np.nan)  # <U> at rho and its error

    def wants_energy(self, step: int) -> bool:
        """Whether the full-batch energy is wanted at this step, which ends a tick."""
        if self.stage == 0:
            return len(self.kinetic) in (0, TICKS - 1)
        length = self._length()
        due = (len(self.energies) + 1) * length // POINTS
        return self.stage in (1, 2) and step - self.since >= due

    def _length(self) -> int:
        return int((FULL if self.stage == 1 else HALF) * self.budget)

    def tell(self, step: int, kinetic: float, energy: float) -> bool:
        """Learn T_kin/T and, where it was wanted, U. True: this window is refused and undone."""
        if self.stage == 0:
            return self._climb(step, kinetic, energy)
        if self.stage in (1, 2):
            if np.isfinite(energy):
                self.energies.append(energy)
            if not np.isfinite(kinetic):
                self._begin(step, stage=1, rho=self.rho / 4.0)
                return True
            if step - self.since >= self._length():
                self._compare(step)
        return False

    def freeze(self) -> None:
        """The burn-in is over."""
        if self.stage < 3:
            self.stage, self.rho = 4, self.low or self.rho

    def limit(self) -> None:
        """Keep rho below what the correlation of the noise allows, in the climb below AHEAD times that."""
        self.rho = min(self.rho, self.collective * (1.0 if self.stage > 0 else AHEAD))

    def _begin(self, step: int, stage: int, rho: float) -> None:
        self.stage, self.rho, self.since = stage, rho, step
        self.kinetic, self.energies = [], []

    def _climb(self, step: int, kinetic: float, energy: float) -> bool:
        self.kinetic.append(kinetic)
        if np.isfinite(energy):
            self.energies.append(energy)
        lost = not np.isfinite(kinetic)
        if not lost and len(self.kinetic) < TICKS:
            return False
        heat = np.nan if lost else float(np.mean(self.kinetic[SETTLE:])) - 1.0
        released = not lost and self.energies[0] - self.energies[-1] > 3.0 * self.spread
        fits = abs(heat) <= self.tolerance
        refused = not fits and not released
        if fits:
            self.low = self.rho
        if refused:
            self.high = self.rho
        floor = self.low or self.rho / FACTOR
        if not refused and self.high > self.rho * NARROW:
            following = min(FACTOR * self.rho, self.largest, math.sqrt(self.rho * self.high))
        elif refused and self.high > floor * NARROW:
            following = math.sqrt(floor * self.high)
        else:
            following, self.high = floor, np.inf
        ends = step >= CLIMB * self.budget
        self._begin(step, stage=int(ends), rho=floor if ends else following)
        return refused

    def _compare(self, step: int) -> None:
        counted = self.energies[len(self.energies) // 2 :]
        found = _mean_and_error(counted)
        if _drifts(counted):
            self._begin(step, stage=1, rho=self.rho if self.stage == 1 else 4.0 * self.rho)
            return
        if self.stage == 1:
            self.reference, self.low = found, self.rho
            self._begin(step, stage=2, rho=self.rho / 4.0)
            return
        shift, allowed = abs(found[0] - self.reference[0]), LIMIT * math.hypot(found[1], self.reference[1])
        if shift <= allowed:
            self._begin(step, stage=3, rho=4.0 * self.rho)
        else:  # the shift from rho to rho/4 is three quarters of that from rho to zero
            self.low = min(self.rho, 4.0 * self.rho * 0.75 * allowed / shift)
            self._begin(step, stage=1, rho=self.low)

    def to_array(self) -> np.ndarray:
        """Everything that changes, as float64 of fixed length."""
        lists = np.full(TICKS + POINTS + 2, np.nan)
        lists[: len(self.kinetic)] = self.kinetic
        lists[TICKS : TICKS + len(self.energies)] = self.energies
        numbers = [self.rho, self.low, self.high, self.stage, self.since, len(self.kinetic), len(self.energies)]
        return np.array([*numbers, *self.reference, self.collective, *lists])

    def restore(self, array: np.ndarray) -> None:
        self.rho, self.low, self.high = map(float, array[:3])
        self.stage, self.since, looks, points = (int(x) for x in array[3:7])
        self.reference = (float(array[7]), float(array[8]))
        self.collective = float(array[9])
        lists = array[10:]
        self.kinetic, self.energies = lists[:looks].tolist(), lists[TICKS : TICKS + points].tolist()


def _drifts(series: list[float]) -> bool:
    """Whether the two halves of a window differ significantly."""
    (a, da), (b, db) = (_mean_and_error(half) for half in np.array_split(np.asarray(series), 2))
    return bool(abs(a - b) > LIMIT * math.hypot(da, db))


def _mean_and_error(series: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and standard error from the means of four stretches, which are nearly independent."""
    stretches = np.array([part.mean() for part in np.array_split(np.asarray(series), 4)])
    return float(np.mean(series)), float(stretches.std(ddof=1) / 2.0)
