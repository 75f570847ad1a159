"""Random numbers: one stream per (seed, walker, purpose), so that a walker's draws depend on nothing else.

Streams are numpy PCG64DXSM generators made from SeedSequence spawn keys. A checkpoint holds their state as six
64-bit words each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MOVES = 0x45584348  # key of the counter-based stream that moves walkers in temperature, apart from all SeedSequences
PURPOSES = ("minibatch", "momentum", "variance", "reset", "metropolis", "exchange")
"""What a walker draws random numbers for. The order is part of every run's identity: append only."""

WORDS = 6  # 128-bit state, 128-bit increment, half-used 32-bit draw
_LOW = (1 << 64) - 1


def generator(seed: int, *spawn_key: int) -> np.random.Generator:
    """A stream of its own for every spawn key."""
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=spawn_key)))


def uniforms(seed: int, sweep: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in [0, 1) of a sweep, from a counter: no state to store, the same on every rank."""
    return np.random.Generator(np.random.Philox(key=[seed, MOVES], counter=[0, 0, 0, sweep])).random(shape)


class Streams:
    """The streams of some walkers, given by their global indices."""

    def __init__(self, seed: int, walkers: Sequence[int]) -> None:
        self._generators = [[generator(seed, walker, p) for p in range(len(PURPOSES))] for walker in walkers]

    def __len__(self) -> int:
        return len(self._generators)

    def _of(self, purpose: str, rows: Sequence[int] | None) -> list[np.random.Generator]:
        column = PURPOSES.index(purpose)
        return [self._generators[row][column] for row in (range(len(self)) if rows is None else rows)]

    def normals(self, purpose: str, like: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """Standard normals (len(rows), *like.shape[1:]) in the type and on the device of `like`."""
        streams = self._of(purpose, rows)
        dtype = np.float32 if like.dtype == torch.float32 else np.float64
        out = np.empty((len(streams), *like.shape[1:]), dtype=dtype)
        for stream, row in zip(streams, out, strict=True):
            stream.standard_normal(dtype=dtype, out=row)
        return torch.from_numpy(out).to(like.device)

    def integers(self, purpose: str, high: int, size: int, rows: Sequence[int] | None = None) -> np.ndarray:
        """Integers in [0, high), shape (len(rows), size)."""
        return np.stack([stream.integers(high, size=size) for stream in self._of(purpose, rows)])

    def uniform(self, purpose: str, row: int) -> float:
        """One uniform number in [0, 1) of the walker in `row`."""
        return float(self._of(purpose, [row])[0].random())

    def state(self) -> np.ndarray:
        """Where every stream stands: uint64 (walkers, purposes, 6)."""
        words = np.zeros((len(self), len(PURPOSES), WORDS), dtype=np.uint64)
        for row, streams in enumerate(self._generators):
            for column, stream in enumerate(streams):
                state = stream.bit_generator.state
                inner = state["state"]
                words[row, column] = (
                    inner["state"] >> 64, inner["state"] & _LOW, inner["inc"] >> 64, inner["inc"] & _LOW,
                    state["has_uint32"], state["uinteger"],
                )  # fmt: skip
        return words

    def restore(self, words: np.ndarray) -> None:
        """Put every stream where `state` found it."""
        for row, streams in enumerate(self._generators):
            for column, stream in enumerate(streams):
                w = [int(word) for word in words[row, column]]
                stream.bit_generator.state = {
                    "bit_generator": "PCG64DXSM",
                    "state": {"state": w[0] << 64 | w[1], "inc": w[2] << 64 | w[3]},
                    "has_uint32": w[4],
                    "uinteger": w[5],
                }
