"""The arrays of a store: pure functions of the configuration, the same on every rank."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from protmpi.errors import StoreError
from protmpi.store.files import LARGEST_CHUNK
from protmpi.variables import Axis, Variable

SCHEMA = "protmpi-store-1"
CHECKPOINTS = 3  # the last two commits stay whole while the next one is written

DTYPES = ("float64", "float32", "int64", "int32", "uint8")
MOST_VARIABLES, MOST_AXES = 256, 8


@dataclass(frozen=True)
class Schema:
    """Sizes and variables of a store. All sizes are global, never per rank."""

    walkers: int
    steps: int
    record_every: int
    snapshot_every: int
    draws_per_chunk: int
    variables: tuple[Variable, ...]
    walkers_per_block: int = 1
    """Walkers that one rank advances together, for any number of ranks."""

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

    def steps_of(self, axis: Axis) -> np.ndarray:
        """Number of steps at each row."""
        every = self.record_every if axis == "draw" else self.snapshot_every
        return every * np.arange(1, self.length(axis) + 1)

    def rows_per_chunk(self, axis: Axis) -> int:
        return self.draws_per_chunk if axis == "draw" else self.snapshots_per_chunk

    def array_shape(self, variable: Variable) -> tuple[int, ...]:
        return (self.walkers, self.length(variable.axis), *variable.shape)

    def chunk_shape(self, variable: Variable) -> tuple[int, ...]:
        """Shape of a chunk: draws of a block, or snapshots of a walker. Every chunk has exactly one writer.

        Draws are small and many: a file for each number of each walker would take longer than its steps on a GPU.
        Snapshots are large, and readers read one walker at a time.
        """
        together = self.walkers_per_chunk if variable.axis == "draw" else 1
        return (together, self.rows_per_chunk(variable.axis), *variable.shape)

    @property
    def walkers_per_chunk(self) -> int:
        """Chunk shape of draws and of checkpoints."""
        return min(self.walkers, self.walkers_per_block)

    def bytes(self) -> int:
        """Size of the recorded arrays before compression."""
        return sum(int(np.prod(self.array_shape(v))) * np.dtype(v.dtype).itemsize for v in self.variables)

    def files(self) -> int:
        """Number of chunk files of a finished run."""
        whole = ((self.array_shape(v), self.chunk_shape(v)) for v in self.variables)
        return sum(-(-shape[0] // chunk[0]) * -(-shape[1] // chunk[1]) for shape, chunk in whole)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> Schema:
        """Raise StoreError, without a file name, if no run writes this layout."""
        try:
            found = TypeAdapter(cls).validate_python(stored)
        except ValidationError as error:
            first = error.errors()[0]
            raise StoreError(f"layout: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        sizes = (found.walkers, found.steps, found.record_every, found.snapshot_every, found.draws_per_chunk,
                 found.walkers_per_block)  # fmt: skip
        if not all(1 <= size < 2**48 for size in sizes) or len(found.variables) > MOST_VARIABLES:
            raise StoreError("layout: a size is out of range")
        for v in found.variables:
            plain = v.name.isidentifier() and v.dtype in DTYPES and len(v.dims) == len(v.shape) <= MOST_AXES
            if not plain or not all(0 <= n < 2**31 for n in v.shape):
                raise StoreError(f"layout: {v.name!r} is not a variable of a run")
            if math.prod(found.chunk_shape(v)) * np.dtype(v.dtype).itemsize > LARGEST_CHUNK:
                raise StoreError(f"layout: a chunk of {v.name} is larger than {LARGEST_CHUNK} bytes")
        return found
