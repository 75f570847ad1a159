"""Burn-in of pseudo-Langevin: the fraction rho that sets the masses, and when masses are computed again.

The first half may run at `rho_first`, where speed matters more than exactness. After that, rho is the value of the
configuration, or the value that each walker finds (`rho = "auto"`, `burn_in.step_size`). At half of the burn-in all
masses are computed again, because the first ones may be off by orders of magnitude. Masses also change when a search
changes rho.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from protmpi.sampling.burn_in.step_size import FROZEN, Search
from protmpi.sampling.sections import SamplerConfig


class Look(NamedTuple):
    """What a check of the walkers requires."""

    refused: list[int]
    """Walkers that return to their `Pace.anchor`."""
    at_known_noise: list[int]
    """Walkers whose masses are computed again from the known s²."""
    anew: list[int]
    """Walkers whose masses are computed from a new estimate of s²."""


class Pace:
    """The burn-in of the walkers at `anchor` (W, P). `spread` (W,) is the thermal spread of their energies."""

    def __init__(self, config: SamplerConfig, anchor: Tensor, spread: np.ndarray) -> None:
        self.config, self.anchor = config, anchor
        self.turn = config.adapt_until // 2  # from this step on masses only grow, and rho replaces rho_first
        self.searches: list[Search] = []
        if config.rho == "auto":
            tick = max(1, round(0.5 / config.m1**2))
            rules = config.adapt_until, tick, config.rho_tolerance, config.rho_max
            self.searches = [Search(*rules, float(s)) for s in spread]

    def hurries(self, step: int) -> bool:
        """Whether `rho_first` applies at this step."""
        return self.config.rho_first is not None and step < self.turn

    def next_look(self, step: int) -> int:
        """The step of the next check: half of the burn-in, its end, or a check of one of the searches."""
        ends = [end for end in (self.turn, self.config.adapt_until) if end > step]
        if self.searches:
            ends.append((step // self.searches[0].tick + 1) * self.searches[0].tick)
        return min(ends)

    def look(
        self, step: int, position: Tensor, kinetic: Callable[[], np.ndarray], energy: Callable[[int], float]
    ) -> Look:
        """Give the searches T_kin/T (W,) and, if they need it, the full-batch energy, at weights (W, P)."""
        refused, changed, last = [], [], step == self.config.adapt_until
        if self.searches and (last or step % self.searches[0].tick == 0):
            ratios, before = kinetic(), [search.rho for search in self.searches]
            refused = self._tell(step, ratios, energy)
            for search in self.searches:
                if last:
                    search.freeze()
                search.limit()
            self._move_anchors(step, position, refused)
            changed = [row for row, s in enumerate(self.searches) if row in refused or s.rho != before[row]]
        if step == self.turn:
            changed = list(range(len(position)))
        compared = [row for row in changed if self.searches and self.searches[row].comparing]
        return Look(refused, compared, [row for row in changed if row not in compared])

    def _tell(self, step: int, kinetic: np.ndarray, energy: Callable[[int], float]) -> list[int]:
        """The walkers whose window is refused."""
        refused = []
        for row, search in enumerate(self.searches):
            found = energy(row) if search.wants_energy(step) else np.nan
            if search.tell(step, float(kinetic[row]), found):
                refused.append(row)
        return refused

    def _move_anchors(self, step: int, position: Tensor, refused: list[int]) -> None:
        """Set the anchors of windows that begin at these weights. A refused window begins at its old anchor again."""
        for row, search in enumerate(self.searches):
            if search.since == step and row not in refused:
                index = torch.tensor([row], device=position.device)
                self.anchor = self.anchor.index_copy(0, index, position[row : row + 1])

    def on_trial(self, row: int) -> bool:
        """Whether the search for rho returns this walker to its anchor if it is lost."""
        return bool(self.searches) and self.searches[row].stage < FROZEN

    def checkpoint(self) -> dict[str, np.ndarray]:
        """The state from which the searches continue: arrays (W, ...)."""
        if not self.searches:
            return {}
        found = np.stack([search.to_array() for search in self.searches])
        return {"search": found, "anchor": self.anchor.cpu().numpy()}

    def restore(self, searches: np.ndarray, anchor: Tensor) -> None:
        """Continue from the two arrays of `checkpoint`."""
        self.anchor = anchor
        for search, row in zip(self.searches, searches, strict=True):
            search.restore(row)
