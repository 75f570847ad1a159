"""Which arrays a store holds: pure functions from the configuration, the same on every rank."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

SCHEMA = "protmpi-store-1"
CHECKPOINTS = 3  # the two last commits stay whole while the next one is being written

Axis = Literal["draw", "snapshot"]


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


@dataclass(frozen=True)
class Constant:
    """A quantity known before the first step, written once by rank 0."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Schema:
    """Sizes and variables of a store. All sizes are global, never per rank."""

    walkers: int
    steps: int
    record_every: int
    snapshot_every: int
    draws_per_chunk: int
    variables: tuple[Variable, ...]

    @property
    def draws(self) -> int:
        return self.steps // self.record_every

    @property
    def snapshots(self) -> int:
        return self.steps // self.snapshot_every

    @property
    def snapshots_per_chunk(self) -> int:
        return max(1, self.draws_per_chunk * self.record_every // self.snapshot_every)

    def length(self, axis: Axis) -> int:
        return self.draws if axis == "draw" else self.snapshots

    def rows_per_chunk(self, axis: Axis) -> int:
        return self.draws_per_chunk if axis == "draw" else self.snapshots_per_chunk

    def array_shape(self, variable: Variable) -> tuple[int, ...]:
        return (self.walkers, self.length(variable.axis), *variable.shape)

    def chunk_shape(self, variable: Variable) -> tuple[int, ...]:
        """One walker x one flush, so that every chunk has exactly one writer."""
        return (1, self.rows_per_chunk(variable.axis), *variable.shape)

    def bytes(self) -> int:
        """Size of the recorded arrays before compression."""
        return sum(int(np.prod(self.array_shape(v))) * np.dtype(v.dtype).itemsize for v in self.variables)

    def files(self) -> int:
        """Number of chunk files of a finished run."""
        return self.walkers * sum(-(-self.length(v.axis) // self.rows_per_chunk(v.axis)) for v in self.variables)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Schema:
        variables = tuple(
            Variable(**{**v, "dims": tuple(v["dims"]), "shape": tuple(v["shape"])}) for v in stored["variables"]
        )
        return cls(**{**stored, "variables": variables})
