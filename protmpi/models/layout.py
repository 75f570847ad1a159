"""The layout of the flat parameter vector: the position of every array."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Entry:
    """One array of the network."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def slice(self) -> slice:
        return slice(self.offset, self.offset + self.size)


class Layout:
    """Arrays side by side in one vector of `size` numbers, in the given order."""

    def __init__(self, arrays: Iterable[tuple[str, tuple[int, ...]]]) -> None:
        entries: list[Entry] = []
        offset = 0
        for name, shape in arrays:
            entries.append(Entry(name, shape, offset))
            offset += entries[-1].size
        self.entries = tuple(entries)
        self.size = offset
        self._sizes = [entry.size for entry in entries]

    def split(self, w: Tensor) -> dict[str, Tensor]:
        """Views of w (W, P): name -> (W, *shape). No copy."""
        parts = w.split(self._sizes, 1)
        return {
            e.name: part if len(e.shape) == 1 else part.view(-1, *e.shape)
            for e, part in zip(self.entries, parts, strict=True)
        }

    def join(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """The flat vector (P,) of the named arrays."""
        return np.concatenate([np.asarray(arrays[e.name]).reshape(e.size) for e in self.entries])

    def to_json(self) -> list[dict[str, object]]:
        return [{"name": e.name, "shape": list(e.shape), "offset": e.offset} for e in self.entries]
