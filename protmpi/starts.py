"""Starts of the walkers: reference weights, fresh weights, or the last snapshots of another store, on one sphere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from protmpi import weights
from protmpi.config import Config
from protmpi.errors import StoreError
from protmpi.sampling.streams import generator
from protmpi.store.reader import Store
from protmpi.tasks import Task

RANDOM_STARTS = 2**31  # spawn key of the streams that draw random starts, apart from those of the walkers


@dataclass(frozen=True)
class Ends:
    """The last snapshots of a store: temperatures (walker,), parameters (walker, P)."""

    temperature: np.ndarray
    parameters: np.ndarray

    @classmethod
    def of(cls, path: Path, task: Task) -> Ends:
        """Read the store. Raises StoreError if it has no snapshot or belongs to another network."""
        store = Store(path)
        if store.attributes.get("parameter_layout") != task.layout.to_json():
            raise StoreError(f"{path}: sampler.start: the store has another network")
        last, draw = store.snapshots - 1, store.snapshots * store.schema.snapshot_every // store.schema.record_every - 1
        if last < 0:
            raise StoreError(f"{path}: sampler.start: the store has no snapshot yet")
        walkers = range(store.schema.walkers)
        parameters = np.stack([store.read_rows("parameters", walker, last, last + 1)[0] for walker in walkers])
        found = cls(store.read("slot_temperature")[:, draw].astype(np.float64), parameters)
        whole = np.isfinite(found.parameters).all(1) & np.isfinite(found.temperature)
        if not whole.any():
            raise StoreError(f"{path}: sampler.start: all walkers of the store are lost")
        return cls(found.temperature[whole], found.parameters[whole])

    def nearest(self, temperature: float, turn: int) -> np.ndarray:
        """Parameters (P,) of a walker at the nearest temperature. `turn` selects, cyclically, one of several."""
        away = np.abs(np.log(self.temperature / temperature))
        (here,) = np.nonzero(away <= away.min() + 1e-9)
        return np.asarray(self.parameters[here[turn % len(here)]])

    def content_hash(self) -> str:
        return hashlib.sha256(self.temperature.tobytes() + self.parameters.tobytes()).hexdigest()


@dataclass(frozen=True)
class Starts:
    """The start of every walker of a run of `config` on `task`, with the reference weights if there are any."""

    config: Config
    task: Task
    weights: weights.Weights | None

    @cached_property
    def stores(self) -> dict[str, Ends]:
        """The stores from which walkers start, by path."""
        paths = dict.fromkeys(start for start in self.config.sampler.start if start.endswith(".zarr"))
        return {path: Ends.of(Path(path), self.task) for path in paths}

    def of(self, walker: int) -> np.ndarray:
        """Starting weights (P,), float32, scaled to the sphere that `sampler.norm2` names.

        Walkers on different spheres would sample different laws.
        """
        start = self._unscaled(walker)
        if self._norm2 is None:
            return start
        return start * np.float32(np.sqrt(self._norm2 / weights.norm2(start)))

    def _unscaled(self, walker: int) -> np.ndarray:
        start, turn = self.config.start_of(walker)
        if start == "random":
            stream = generator(self.config.run.seed, RANDOM_STARTS, walker)
            return self.task.initial(stream).astype(np.float32)
        if start in self.stores:
            return self.stores[start].nearest(self.config.temperature_of(walker), turn)
        assert self.weights is not None
        chosen = self.weights.es if start == "ES" else self.weights.ot
        return chosen[turn % len(chosen)]

    @cached_property
    def _norm2(self) -> float | None:
        """|w|² of all starts. None if each start keeps its own norm."""
        wanted = self.config.sampler.norm2
        if not self.config.sampler.constrained or wanted == "own":
            return None
        if wanted != "shared":
            return float(wanted)
        return float(weights.norm2(self.weights.es[0] if self.weights else self._unscaled(0)))

    def identity(self) -> dict[str, str]:
        """Hashes of the content that determines the starts."""
        known = {"train.file": self.weights.content_hash() if self.weights else "random"}
        return {**known, **{f"sampler.start {i}": self.stores[start].content_hash()
                            for i, start in enumerate(self.config.sampler.start) if start in self.stores}}  # fmt: skip
