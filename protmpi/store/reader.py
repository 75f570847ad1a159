"""Read a store while it grows or after its end: committed rows only, with numpy, zarr and xarray alone."""

from __future__ import annotations

import hashlib
import math
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from protmpi.errors import StoreError
from protmpi.store import commit
from protmpi.store.files import LARGEST_CHUNK, Files
from protmpi.store.schema import DTYPES, SCHEMA, Schema
from protmpi.variables import Variable

if TYPE_CHECKING:
    import xarray


class Store:
    """A run at its last whole commit."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._files = Files(self.path, read_only=True)
        with self._damage("not a Zarr store"):
            self._group = zarr.open_group(self._files, mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs)
        if self.attributes.get("schema") != SCHEMA:
            raise StoreError(f"{self.path}: schema is {self.attributes.get('schema')!r}, this program reads {SCHEMA!r}")
        try:
            self.schema = Schema.from_json(self.attributes.get("layout"))
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from None
        self.config: dict[str, Any] = self.attributes.get("config", {})
        if not isinstance(self.config, dict) or not isinstance(self.config.get("sampler"), dict):
            raise StoreError(f"{self.path}: has no configuration in it")
        self.record = commit.last_record(self.path)
        """The last whole commit record. None before the first commit."""
        if self.record and not (0 <= self.draws <= self.schema.draws and 0 <= self.snapshots <= self.schema.snapshots):
            raise StoreError(f"{self.path}: commit {self.record['commit']} counts {self.draws} draws and "
                             f"{self.snapshots} snapshots, the store is for {self.schema.draws} and "
                             f"{self.schema.snapshots}")  # fmt: skip

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
        """Number of steps before the first measured draw."""
        burn_in = self.attributes.get("burn_in", self.config["sampler"].get("adapt_until"))
        if not isinstance(burn_in, int) or burn_in < 0:
            raise StoreError(f"{self.path}: burn_in is {burn_in!r}, a number of steps is expected")
        return burn_in

    @property
    def first_measured(self) -> dict[str, int]:
        """Index of the first draw and of the first snapshot after burn-in."""
        return {
            "draw": self.burn_in // self.schema.record_every,
            "snapshot": self.burn_in // self.schema.snapshot_every,
        }

    def differing(self, identity: Mapping[str, Any]) -> list[str]:
        """Differences between the identity of the run and another identity: "key old -> new"."""
        old = self.attributes.get("identity")
        if not isinstance(old, dict):
            return ["the identity of the run is missing"]
        keys = {**identity, **old}  # a key that only one of the two has is at its default in the other
        return [f"{key} {old.get(key)} -> {identity.get(key)}" for key in keys if old.get(key) != identity.get(key)]

    def __contains__(self, name: str) -> bool:
        """Whether there is a variable or a constant of this name."""
        return name in self._group

    def read(self, name: str) -> np.ndarray:
        """Committed rows (walker, draw or snapshot, ...) of a variable, or a whole constant.

        Raises StoreError if the array is missing, damaged, or larger than the memory of this machine.
        """
        array, variable = self._array(name), self.variables.get(name)
        if variable is None:
            return self._rows(array, name, array.shape)
        rows = self.draws if variable.axis == "draw" else self.snapshots
        return self._rows(array, name, (array.shape[0], rows, *array.shape[2:]))

    def read_rows(self, name: str, walker: int, start: int, stop: int) -> np.ndarray:
        """Committed rows `start` to `stop` - 1 of a variable of one walker (row, ...)."""
        array, committed = self._array(name), self.draws if self.variables[name].axis == "draw" else self.snapshots
        rows = slice(start, min(stop, committed))
        shape = (1, max(0, rows.stop - start), *array.shape[2:])
        return self._rows(array, name, shape, (slice(walker, walker + 1), rows))[0]

    def read_checkpoint(
        self, record: dict[str, Any], walkers: range, like: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """State of the walkers at a commit: arrays (len(walkers), ...), only those of `like` if it is given.

        Raises StoreError if an array is missing or is not the committed one, or if its type or its shape for a walker
        differs from `like`. The store does not change.
        """
        self._require_state(record, like or {})
        folder, of = f"checkpoint/{record['checkpoint']}", f"of commit {record['commit']}"
        arrays: dict[str, np.ndarray] = {}
        with self._damage(f"the state {of} is damaged"):
            group = zarr.open_group(self._files, mode="r", use_consolidated=False)  # it knows no checkpoints
            for key, walker, sha256 in record["state"]:
                if like is not None and key not in like:
                    continue
                if key not in arrays:
                    array = group.get(f"{folder}/{key}")
                    if not isinstance(array, zarr.Array):
                        raise StoreError(f"{self.path}: {folder}/{key} {of} is missing")
                    arrays[key] = self._rows(array, f"{folder}/{key} {of}", (len(walkers), *array.shape[1:]),
                                             (slice(walkers.start, walkers.stop),))  # fmt: skip
                if walker in walkers and commit.sha256_of_rows(arrays[key][walker - walkers.start]) != sha256:
                    raise StoreError(f"{self.path}: {folder}/{key} {of} is damaged for walker {walker}; "
                                     "`protmpi repair` goes back to the commit before it")  # fmt: skip
        return arrays

    def _require_state(self, record: dict[str, Any], like: Mapping[str, np.ndarray]) -> None:
        """Raise StoreError unless a checkpoint has arrays of these names, types, and shapes for each walker."""
        stored = {key for key, *_ in record["state"]}
        folder, wrong = f"checkpoint/{record['checkpoint']}", [f"{key} is missing" for key in like.keys() - stored]
        with self._damage(f"the state of commit {record['commit']} is damaged"):
            group = zarr.open_group(self._files, mode="r", use_consolidated=False)
            for key in like.keys() & stored:
                array = group.get(f"{folder}/{key}")
                if isinstance(array, zarr.Array):  # else it is damaged, which the caller reports
                    found, wanted = (array.shape[1:], array.dtype), (like[key].shape[1:], like[key].dtype)
                    if found != wanted:
                        wrong.append(f"{key} has shape {found[0]} and type {found[1]}, not {wanted[0]} and {wanted[1]}")
        if wrong:
            versions = self.attributes.get("versions")
            writer = versions.get("protmpi") if isinstance(versions, dict) else None
            raise StoreError(f"{self.path}: the state of commit {record['commit']} is that of another version of "
                             f"protmpi: {'; '.join(sorted(wrong))}; go on with the one that wrote it ({writer}), or "
                             "start afresh with another --store")  # fmt: skip

    def _array(self, name: str) -> zarr.Array:
        """An array whose metadata match the layout."""
        with self._damage(f"the metadata of {name} are damaged"):
            array = self._group.get(name)
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{self.path}: no array {name!r}; it has {', '.join(sorted(self._group.array_keys()))}")
        variable, codecs = self.variables.get(name), [codec["name"] for codec in array.metadata.to_dict()["codecs"]]
        shape, chunks, dtype = array.shape, array.chunks, str(array.dtype)
        if variable is None:
            plain = dtype in DTYPES and math.prod(chunks) * array.dtype.itemsize <= LARGEST_CHUNK
        else:
            wanted = self.schema.array_shape(variable)
            # while a run is extended, its arrays are longer than its layout
            seen = (*shape[:1], *(min(n, wanted[1]) for n in shape[1:2]), *shape[2:])
            plain = (seen, chunks, dtype) == (wanted, self.schema.chunk_shape(variable), variable.dtype)
        if not plain or codecs != ["bytes", "zstd"]:
            raise StoreError(f"{self.path}: {name} has shape {shape} in chunks {chunks} of {dtype} packed by "
                             f"{' and '.join(codecs)}: not the array that a run writes")  # fmt: skip
        return array

    def _rows(self, array: zarr.Array, name: str, shape: tuple[int, ...], where: Any = None) -> np.ndarray:
        """The first `shape` numbers of an array, or the numbers at `where`."""
        size, memory = math.prod(shape) * array.dtype.itemsize / 1e9, available_memory() / 1e9
        if size > memory:
            raise StoreError(f"{self.path}: {name} has {size:.3g} GB of rows, this machine {memory:.3g} GB of memory")
        with self._damage(f"{name} is damaged; `protmpi verify` reports more"):
            return np.asarray(array[where or tuple(slice(n) for n in shape)])

    @contextmanager
    def _damage(self, what: str) -> Iterator[None]:
        """Turn any exception into a StoreError: zarr parses files unchecked, and a damaged one may raise anything."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise StoreError(f"{self.path}: {what} ({reason})") from None

    def dataset(self) -> xarray.Dataset:
        """Committed rows as a lazily loaded xarray.Dataset with `step` and `snapshot_step` coordinates."""
        import xarray

        whole = xarray.open_zarr(self._files).set_coords(["step", "snapshot_step"])
        return whole.isel(draw=slice(self.draws), snapshot=slice(self.snapshots))

    def digest(self) -> str:
        """sha256 of the physics content: equal draws have equal digests, for any ranks, host, chunks and time."""
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


def available_memory() -> int:
    """Most bytes that this process may use."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return physical if limit == resource.RLIM_INFINITY else min(physical, limit)
