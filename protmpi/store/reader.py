"""Reads a store while it grows or after it has ended: committed rows only, with numpy, zarr and xarray alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from protmpi.errors import StoreError
from protmpi.store import commit
from protmpi.store.schema import SCHEMA, Schema, Variable

if TYPE_CHECKING:
    import xarray


class Store:
    """A run as its last whole commit left it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self._group = zarr.open_group(self.path, mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{self.path}: not a Zarr store ({error})") from None
        self.attributes: dict[str, Any] = dict(self._group.attrs)
        if self.attributes.get("schema") != SCHEMA:
            raise StoreError(f"{self.path}: schema is {self.attributes.get('schema')!r}, this program reads {SCHEMA!r}")
        self.schema = Schema.from_json(self.attributes["layout"])
        self.config: dict[str, Any] = self.attributes["config"]
        self.record = commit.last_record(self.path)
        """Last whole commit record, None before the first one."""

    @property
    def draws(self) -> int:
        """Committed draws."""
        return int(self.record["draws"]) if self.record else 0

    @property
    def snapshots(self) -> int:
        """Committed snapshots."""
        return int(self.record["snapshots"]) if self.record else 0

    @property
    def variables(self) -> dict[str, Variable]:
        return {variable.name: variable for variable in self.schema.variables}

    @property
    def burn_in(self) -> int:
        """Steps before anything is measured."""
        return int(self.attributes.get("burn_in", self.config["sampler"]["adapt_until"]))

    @property
    def first_measured(self) -> dict[str, int]:
        """Index of the first draw and of the first snapshot after burn-in."""
        return {
            "draw": self.burn_in // self.schema.record_every,
            "snapshot": self.burn_in // self.schema.snapshot_every,
        }

    def __contains__(self, name: str) -> bool:
        """Whether there is a variable or a constant of this name."""
        return name in self._group

    def read(self, name: str) -> np.ndarray:
        """Committed rows (walker, draw or snapshot, ...) of a variable, or the whole of a constant."""
        if name not in self._group:
            raise StoreError(f"{self.path}: no array {name!r}; it has {', '.join(sorted(self._group.array_keys()))}")
        array = self._group[name]
        variable = self.variables.get(name)
        if variable is None:
            return np.asarray(array[...])
        rows = self.draws if variable.axis == "draw" else self.snapshots
        return np.asarray(array[:, :rows])

    def read_rows(self, name: str, walker: int, first: int, last: int) -> np.ndarray:
        """Committed rows first to last - 1 of a variable of one walker (row, ...), for arrays larger than memory."""
        variable = self.variables[name]
        rows = self.draws if variable.axis == "draw" else self.snapshots
        return np.asarray(self._group[name][walker, first : min(last, rows)])

    def dataset(self) -> xarray.Dataset:
        """Committed rows as a lazily loaded xarray.Dataset with `step` and `snapshot_step` coordinates."""
        import xarray

        whole = xarray.open_zarr(self.path).set_coords(["step", "snapshot_step"])
        return whole.isel(draw=slice(self.draws), snapshot=slice(self.snapshots))

    def digest(self) -> str:
        """sha256 of the physics content: equal for equal draws, whatever the ranks, host, chunks or time."""
        total = hashlib.sha256()
        for variable in sorted(self.schema.variables, key=lambda v: v.name):
            if variable.physics:
                rows = self.read(variable.name)
                total.update(f"{variable.name}{rows.dtype.str}{rows.shape}".encode())
                total.update(np.ascontiguousarray(rows).tobytes())
        return total.hexdigest()

    def status(self) -> dict[str, Any]:
        """Progress: steps done and planned, draws, snapshots, steps per second of one walker, seconds left."""
        step = int(self.record["step"]) if self.record else 0
        seconds = float(self.record["seconds"]) if self.record else 0.0
        rate = step / seconds if seconds > 0 else None
        left = self.schema.steps - step
        return {
            "store": str(self.path),
            "state": "finished" if left <= 0 else "unfinished",
            "step": step,
            "steps": self.schema.steps,
            "walkers": self.schema.walkers,
            "draws": self.draws,
            "snapshots": self.snapshots,
            "seconds": seconds,
            "steps_per_second": rate,
            "eta_seconds": left / rate if rate else None,
            "last_commit": self.record["time"] if self.record else None,
            "ranks": self.record["ranks"] if self.record else None,
            "lost": self.record.get("lost", []) if self.record else [],
        }
