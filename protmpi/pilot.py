"""A short pilot run that finds how many temperatures a ladder needs, before the walkers of the run are known.

Walkers at a few temperatures between `t_min` and `t_max` give C = d<U>/dT, and with it the communication barrier

    Lambda = integral of sqrt(C/pi) d ln T            (`sampling.temperature.ladder`)

2 Lambda slots are enough. `pilot_run` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from protmpi.sampling.temperature import ladder


@dataclass(frozen=True)
class Pilot:
    """Mean energies at the temperatures of the pilot, (walkers,) each."""

    temperature: np.ndarray
    energy: np.ndarray

    @property
    def capacity(self) -> np.ndarray:
        """C = d<U>/dT between neighbouring temperatures, (walkers - 1,)."""
        return np.asarray(np.diff(self.energy) / np.diff(self.temperature))

    @property
    def barrier(self) -> float:
        return ladder.predicted_barrier(self.temperature, self.energy)

    @property
    def slots(self) -> int:
        """The number of temperatures that is enough."""
        return ladder.enough_slots(self.barrier)

    def ladder(self) -> np.ndarray:
        """These temperatures (slots,), at equal steps of the barrier."""
        return ladder.spaced(self.temperature, self.energy, self.slots)

    def to_json(self) -> dict[str, Any]:
        return {"temperature": self.temperature.tolist(), "energy": self.energy.tolist(),
                "heat_capacity": self.capacity.tolist(), "barrier": self.barrier, "slots": self.slots,
                "ladder": self.ladder().tolist()}  # fmt: skip
