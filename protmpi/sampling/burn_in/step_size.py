"""`rho = "auto"`: the largest fraction rho, and so the largest step, that keeps the law (step length ~ sqrt(rho)).

Source: docs/method/noise.md section 6.

During the burn-in each walker searches on its own:
1. Climb. rho grows by FACTOR while the kinetic temperature, averaged over a window, stays within the tolerance. Then
   the bracket is halved (in log rho) until it is narrower than NARROW. The bracket is then opened again, because the
   excess heat may have been energy that U released. A refused window is undone, weights included. While U falls by
   more than its thermal spread T sqrt(P/2) in a window, released heat is not a reason to refuse.
2. Compare. <U> is measured at rho and at rho/4 (half the step), in sixteen windows in the order A B B A, with one s².
   Eight differences of neighbours give the shift, and their spread gives its error. This error includes a slow drift
   of U through all windows, which the spread within a window would miss. If the shift is more than LIMIT standard
   errors, rho is lowered until the shift, which grows like the square of the step, would not be seen. Then it is
   compared again.
3. Limit. From stage 2 on, the directions of strongest mini-batch noise are too hot by at most collective_tolerance. The
   kinetic temperature does not show this excess (`noise.collective_excess`). The climb may exceed this limit by the
   factor AHEAD only: directions without noise are too cold by rho (twice that in the single scheme), and the slowest
   of them would not warm up within the burn-in.
4. Freeze. The rest of the burn-in and all measured draws use this rho.
A burn-in that is too short ends the search early; `stage` then records how far the search came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

FIRST = 1e-4  # if it is too large a walker may be lost between two checks; it then returns to its anchor
FACTOR, NARROW = 4.0, 1.5
TICKS = 40  # checks of the kinetic temperature in a window, half a memory time of the momenta apart
SETTLE = 10  # checks after a change of rho that are not counted
ORDER = 4 * (1, 2, 2, 1)  # stages of the windows of a comparison
POINTS = 8  # full-batch energies of such a window; the second half is used
CLIMB, COMPARE = 0.3, 0.3  # fractions of the burn-in: the whole climb, one comparison
LIMIT = 3.0  # standard errors
AHEAD = 10.0  # factor by which the climb may exceed the limit from the correlation of the noise
UNSURE = 1.25  # this limit is known to about this factor

FROZEN = 3  # the first stage in which a lost walker does not return to its anchor
STAGES = ("climb", "at rho", "at half the step", "frozen", "frozen before it was compared")


@dataclass
class Search:
    """The search of one walker. Call `tell` with the kinetic temperature every `tick` steps."""

    budget: int  # steps of burn-in
    tick: int
    tolerance: float
    largest: float  # rho_max
    spread: float  # T sqrt(P/2), about the thermal spread of U
    collective: float = np.inf  # largest rho that the collective excess allows once the climb is over
    rho: float = FIRST
    low: float = 0.0  # largest rho that the climb accepted; later the rho that is compared
    high: float = np.inf
    stage: int = 0
    since: int = 0  # step at which the window began
    kinetic: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)  # <U> of the finished windows of a comparison

    @property
    def comparing(self) -> bool:
        """Whether a comparison is running. rho, and with it the masses, then alternates at one s²."""
        return bool(self.means)

    def wants_energy(self, step: int) -> bool:
        """Whether the full-batch energy is needed at this step, which ends a tick."""
        if self.stage == 0:
            return len(self.kinetic) in (0, TICKS - 1)
        due = (len(self.energies) + 1) * self._length() // POINTS
        return self.stage in (1, 2) and step - self.since >= due

    def _length(self) -> int:
        """Steps of a window of a comparison."""
        return max(2 * self.tick, int(COMPARE * self.budget) // len(ORDER))

    def tell(self, step: int, kinetic: float, energy: float) -> bool:
        """Take T_kin/T and, if it was needed, U. Returns True if this window is refused and undone."""
        if self.stage == 0:
            return self._climb(step, kinetic, energy)
        if self.stage in (1, 2):
            if np.isfinite(energy):
                self.energies.append(energy)
            over = step - self.since >= self._length()
            if not np.isfinite(kinetic) or (over and not self.energies):
                self._begin_comparison(step, self.rho / 4.0)
                return True
            if over:
                self._end_window(step)
        return False

    def freeze(self) -> None:
        """End the search with the burn-in."""
        if self.stage < FROZEN:
            self.stage, self.rho, self.means = 4, self.low or self.rho, []

    def limit(self) -> None:
        """Keep rho below the limit from the correlation of the noise; in the climb below AHEAD times this limit."""
        if self.stage == 0:
            self.rho = min(self.rho, AHEAD * self.collective)
        elif not self.comparing and self.rho > UNSURE * self.collective:
            self.low = self.rho = self.collective

    def _begin(self, step: int, stage: int, rho: float) -> None:
        self.stage, self.rho, self.since = stage, rho, step
        self.kinetic, self.energies = [], []

    def _begin_comparison(self, step: int, rho: float) -> None:
        self.low, self.means = rho, []
        self._begin(step, ORDER[0], rho)

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
        if step >= CLIMB * self.budget:
            self._begin_comparison(step, floor)
        else:
            self._begin(step, 0, following)
        return refused

    def _end_window(self, step: int) -> None:
        self.means.append(float(np.mean(self.energies[len(self.energies) // 2 :])))
        if len(self.means) < len(ORDER):
            stage = ORDER[len(self.means)]
            self._begin(step, stage, self.low if stage == 1 else self.low / 4.0)
            return
        shift, error = _shift(np.array(self.means))
        if shift <= LIMIT * error:
            self.means = []
            self._begin(step, FROZEN, self.low)
        else:  # the shift from rho to rho/4 is three quarters of that from rho to zero
            self._begin_comparison(step, self.low * min(1.0, 0.75 * LIMIT * error / shift))

    def to_array(self) -> np.ndarray:
        """The state of the search: float64 of fixed length."""
        lists = (self.kinetic, TICKS), (self.energies, POINTS), (self.means, len(ORDER))
        filled = [np.pad(values, (0, size - len(values)), constant_values=np.nan) for values, size in lists]
        numbers = [self.rho, self.low, self.high, self.stage, self.since, self.collective]
        return np.concatenate([numbers, [len(values) for values, _ in lists], *filled])

    def restore(self, array: np.ndarray) -> None:
        self.rho, self.low, self.high = map(float, array[:3])
        self.stage, self.since = (int(x) for x in array[3:5])
        self.collective = float(array[5])
        parts = np.split(array[9:], [TICKS, TICKS + POINTS])
        lists = [part[: int(count)].tolist() for part, count in zip(parts, array[6:9], strict=True)]
        self.kinetic, self.energies, self.means = lists


def _shift(means: np.ndarray) -> tuple[float, float]:
    """Difference of <U> between half the step and the whole step, and its standard error."""
    stages = np.array(ORDER).reshape(-1, 2)
    pairs = means.reshape(-1, 2)
    differences = np.where(stages[:, 1] == 2, pairs[:, 1] - pairs[:, 0], pairs[:, 0] - pairs[:, 1])
    return abs(float(differences.mean())), float(differences.std(ddof=1)) / math.sqrt(len(differences))
