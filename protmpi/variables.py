"""Recorded quantities with meaning, unit and role, declared beside the code that computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Axis = Literal["draw", "snapshot"]

Role = Literal["law", "way", "set"]
"""law: its mean is a property of the sampled law. way: it shows how the sampler moves, which the law does not fix.
set: it is chosen, not measured."""


@dataclass(frozen=True)
class Variable:
    """One recorded quantity, an array over (walker, axis, *dims)."""

    name: str
    axis: Axis
    meaning: str
    unit: str = ""
    dtype: str = "float64"
    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    physics: bool = True  # part of the content digest; False for wall times
    role: Role = "law"
    shown: bool = True  # in the table at the end of a run

    @property
    def missing(self) -> float | int:
        """The value of elements that were never written."""
        return float("nan") if np.dtype(self.dtype).kind == "f" else -1 if np.dtype(self.dtype).kind == "i" else 0


@dataclass(frozen=True)
class Constant:
    """A quantity known before the first step, written once by rank 0."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    meaning: str
    unit: str = ""
