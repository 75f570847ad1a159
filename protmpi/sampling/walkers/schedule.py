"""When s² of a walker is estimated again. Estimates continue for the whole run, because the white noise follows s².

The interval is streak x min_adj_step. The streak counts how often in a row s² agreed with the previous estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.sections import SamplerConfig


@dataclass
class Schedule:
    """How often in a row s² agreed, and the step of the next estimate, for each walker: int64 arrays (W,)."""

    streak: np.ndarray
    due: np.ndarray

    @classmethod
    def start(cls, walkers: int, config: SamplerConfig) -> Schedule:
        return cls(np.ones(walkers, dtype=np.int64), np.full(walkers, config.min_adj_step, dtype=np.int64))

    def arrays(self) -> dict[str, np.ndarray]:
        """For a checkpoint."""
        return {"streak": self.streak.copy(), "due": self.due.copy()}

    def advance(self, row: int, agrees: bool, step: int, config: SamplerConfig) -> None:
        """Set the next estimate of the walker in `row`."""
        self.streak[row] = self.streak[row] + 1 if agrees else 1
        self.due[row] = step + min(int(self.streak[row]) * config.min_adj_step, config.max_adj_step)


def agrees(new: Tensor, old: Tensor, layout: Layout, threshold: float) -> list[bool]:
    """Whether the mean s² of every array is within `threshold` of the last estimate, per walker.

    Means are compared because a single s_i² from 100 mini-batches has an error of 14 %.
    """
    ratios = torch.stack([new[:, e.slice].mean(1) / old[:, e.slice].mean(1) for e in layout.entries], dim=1)
    return ((ratios - 1.0).abs() <= threshold).all(1).tolist()
