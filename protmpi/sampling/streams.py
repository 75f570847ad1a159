"""Random numbers: one stream per (seed, walker, purpose). The draws of a walker depend on nothing else.

Streams are numpy PCG64DXSM generators made from SeedSequence spawn keys. The normals of every step ("momentum") come
from torch generators on the device of the walkers, which are four times faster: Mersenne twisters on a CPU, Philox on
a GPU, seeded from the same spawn keys. A checkpoint holds all states as 64-bit words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MOVES = 0x45584348  # key of the counter-based stream that moves walkers in temperature, distinct from all SeedSequences
PURPOSES = ("minibatch", "momentum", "variance", "reset", "metropolis", "exchange")
"""Purposes of the random numbers of a walker. The order is part of the identity of every run: append only."""
EVERY_STEP = "momentum"

WORDS = 6  # 128-bit state, 128-bit increment, half-used 32-bit draw
_LOW = (1 << 64) - 1
# torch's state of a Mersenne twister: seed (8 bytes), words left and whether seeded (4 each), next word (8), 624 words
# in 8 bytes each, then the value that normal_ keeps
_LEFT, _TWISTER = slice(8, 12), slice(24, 24 + 624 * 8)


def generator(seed: int, *spawn_key: int) -> np.random.Generator:
    """The stream of a spawn key."""
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=spawn_key)))


def uniforms(seed: int, sweep: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in [0, 1) of a sweep, from a counter. They need no stored state and are equal on every rank."""
    return np.random.Generator(np.random.Philox(key=[seed, MOVES], counter=[0, 0, 0, sweep])).random(shape)


def device_generator(device: torch.device | str, seed: int, *spawn_key: int) -> torch.Generator:
    """The torch generator of a spawn key on a device.

    torch seeds a Mersenne twister with 32 bits, so two of 100 000 walkers would probably have the same stream. numpy
    seeds all words of the state, which are copied into the torch generator.
    """
    sequence, made = np.random.SeedSequence(seed, spawn_key=spawn_key), torch.Generator(device)
    if made.device.type != "cpu":
        return made.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    words = np.random.MT19937(sequence).state["state"]["key"].astype(np.uint64)
    state = made.get_state().numpy().copy()
    state[_TWISTER], state[_LEFT] = words.view(np.uint8), np.ones(1, dtype=np.int32).view(np.uint8)
    made.set_state(torch.from_numpy(state))
    return made


class Streams:
    """The streams of some walkers, given by global indices. The streams of every step are on `device`."""

    def __init__(self, seed: int, walkers: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._generators = [[generator(seed, walker, p) for p in range(len(PURPOSES))] for walker in walkers]
        fast = PURPOSES.index(EVERY_STEP)
        self.every_step = [device_generator(device, seed, walker, fast) for walker in walkers]
        """The generators of `step_normals`, one for each walker."""

    def __len__(self) -> int:
        return len(self._generators)

    def _of(self, purpose: str, rows: Sequence[int] | None) -> list[np.random.Generator]:
        column = PURPOSES.index(purpose)
        return [self._generators[row][column] for row in (range(len(self)) if rows is None else rows)]

    def step_normals(self, like: Tensor) -> Tensor:
        """Standard normals (walkers, ...) for a step of all walkers, in the type and on the device of `like`."""
        out = torch.empty_like(like)
        for stream, row in zip(self.every_step, out, strict=True):
            row.normal_(generator=stream)
        return out

    def normals(self, purpose: str, like: Tensor, rows: Sequence[int]) -> Tensor:
        """Standard normals (len(rows), *like.shape[1:]) in the type and on the device of `like`."""
        streams = self._of(purpose, rows)
        dtype = np.float32 if like.dtype == torch.float32 else np.float64
        out = np.empty((len(streams), *like.shape[1:]), dtype=dtype)
        for stream, row in zip(streams, out, strict=True):
            stream.standard_normal(dtype=dtype, out=row)
        return torch.from_numpy(out).to(like.device)

    def integers(
        self, purpose: str, high: int, size: int | tuple[int, ...], rows: Sequence[int] | None = None
    ) -> np.ndarray:
        """Integers in [0, high), shape (len(rows), *size)."""
        return np.stack([stream.integers(high, size=size) for stream in self._of(purpose, rows)])

    def uniform(self, purpose: str, row: int) -> float:
        """One uniform number in [0, 1) of the walker in `row`."""
        return float(self._of(purpose, [row])[0].random())

    def state(self) -> np.ndarray:
        """The state of every stream: uint64 (walkers, words)."""
        words = np.zeros((len(self), len(PURPOSES), WORDS), dtype=np.uint64)
        for row, streams in enumerate(self._generators):
            for column, stream in enumerate(streams):
                state = stream.bit_generator.state
                inner = state["state"]
                words[row, column] = (
                    inner["state"] >> 64, inner["state"] & _LOW, inner["inc"] >> 64, inner["inc"] & _LOW,
                    state["has_uint32"], state["uinteger"],
                )  # fmt: skip
        fast = np.stack([stream.get_state().numpy() for stream in self.every_step]).view(np.uint64)
        return np.concatenate([words.reshape(len(self), -1), fast], axis=1)

    def restore(self, words: np.ndarray) -> None:
        """Restore every stream to a result of `state`."""
        slow, fast = np.split(words, [len(PURPOSES) * WORDS], axis=1)
        for row, streams in enumerate(self._generators):
            self.every_step[row].set_state(torch.from_numpy(fast[row].copy().view(np.uint8)))
            for stream, kept in zip(streams, slow[row].reshape(-1, WORDS), strict=True):
                w = [int(word) for word in kept]
                stream.bit_generator.state = {
                    "bit_generator": "PCG64DXSM",
                    "state": {"state": w[0] << 64 | w[1], "inc": w[2] << 64 | w[3]},
                    "has_uint32": w[4],
                    "uinteger": w[5],
                }
