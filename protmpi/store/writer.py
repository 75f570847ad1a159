"""Creates a store, appends the rows of one rank's walkers, commits them together with a checkpoint."""

from __future__ import annotations

import itertools
import os
import shutil
import time
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr

from protmpi.errors import StoreError
from protmpi.store import commit
from protmpi.store.schema import CHECKPOINTS, SCHEMA, Axis, Constant, Schema


class Ranks(Protocol):
    """What the writer asks of the world: collectives over small Python objects."""

    rank: int
    size: int

    def allgather(self, item: Any) -> list[Any]: ...
    def barrier(self) -> None: ...


class StoreLock(Protocol):
    """Says whether the store is still this run's."""

    def held(self) -> bool: ...
    def beat(self) -> None: ...


def create(path: Path, schema: Schema, constants: Sequence[Constant], attributes: dict[str, Any]) -> None:
    """Make a store with all its metadata (rank 0 only, before anyone writes). It appears at `path` in one rename."""
    if path.exists():
        raise StoreError(f"{path}: exists already and is not a protmpi store; choose another --store")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        group = zarr.create_group(draft, attributes={"schema": SCHEMA, "layout": schema.to_json(), **attributes})
        for variable in schema.variables:
            array = group.create_array(
                variable.name,
                shape=schema.array_shape(variable),
                chunks=schema.chunk_shape(variable),
                dtype=variable.dtype,
                fill_value=_missing(variable.dtype),
                dimension_names=("walker", variable.axis, *variable.dims),
            )
            array.attrs.update({"unit": variable.unit, "meaning": variable.meaning})
        for constant in constants:
            _write_constant(group, constant)
        _write_steps(group, schema)
        _consolidate(draft)
        (draft / commit.FOLDER).mkdir()
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def extend(path: Path, schema: Schema, attributes: dict[str, Any]) -> None:
    """Lengthen a store for more steps (rank 0 only). Committed rows stay as they are."""
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for variable in schema.variables:
        group[variable.name].resize(schema.array_shape(variable))
    group.attrs.update({"layout": schema.to_json(), **attributes})
    _write_steps(group, schema)
    _consolidate(path)


def _write_steps(group: zarr.Group, schema: Schema) -> None:
    draws = schema.record_every * np.arange(1, schema.draws + 1)
    snapshots = schema.snapshot_every * np.arange(1, schema.snapshots + 1)
    _write_constant(group, Constant("step", ("draw",), draws, "steps done at each draw", "steps"))
    _write_constant(group, Constant("snapshot_step", ("snapshot",), snapshots, "steps done at each snapshot", "steps"))


def _write_constant(group: zarr.Group, constant: Constant) -> None:
    array = group.create_array(
        constant.name,
        data=np.asarray(constant.values),
        dimension_names=constant.dims,
        overwrite=True,
        chunks=tuple(max(1, n) for n in np.shape(constant.values)),
    )
    array.attrs.update({"unit": constant.unit, "meaning": constant.meaning})


def _consolidate(path: Path) -> None:
    """One metadata document, so that `xarray.open_zarr` opens a store with a single read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)  # "not part of the v3 spec", and the commits folder
        zarr.consolidate_metadata(path)


def _missing(dtype: str) -> float | int:
    return float("nan") if np.dtype(dtype).kind == "f" else -1 if np.dtype(dtype).kind == "i" else 0


class Writer:
    """Appends rows for the walkers `walkers` (a contiguous range of global indices) of one rank.

    Rows are held in memory until `commit`, which all ranks call together.
    """

    def __init__(self, path: Path, schema: Schema, walkers: range, ranks: Ranks, lock: StoreLock | None = None) -> None:
        self.path, self.schema, self.walkers, self.ranks, self.lock = path, schema, walkers, ranks, lock
        self._group = zarr.open_group(path, mode="r+", use_consolidated=False)
        last = commit.last_record(path)
        self._commits = last["commit"] + 1 if last else 0
        self._seconds = last["seconds"] if last else 0.0
        self._committed: dict[Axis, int] = {
            "draw": last["draws"] if last else 0,
            "snapshot": last["snapshots"] if last else 0,
        }
        self._pending: dict[str, list[np.ndarray]] = {v.name: [] for v in schema.variables}
        self.lost: list[dict[str, Any]] = list(last.get("lost", [])) if last else []
        """Walkers that were lost so far: walker, step and reason of each, the same on every rank."""
        self._since = time.monotonic()

    def append(self, axis: Axis, row: dict[str, np.ndarray]) -> None:
        """Add one draw or snapshot: for every variable of the axis an array (my walkers, *shape)."""
        for variable in self.schema.variables:
            if variable.axis == axis:
                self._pending[variable.name].append(np.asarray(row[variable.name], dtype=variable.dtype))

    def chunk_is_full(self) -> bool:
        """Whether the draws that wait fill a chunk: the natural moment for a commit."""
        waiting = max((len(self._pending[v.name]) for v in self.schema.variables if v.axis == "draw"), default=0)
        return waiting > 0 and (self._committed["draw"] + waiting) % self.schema.draws_per_chunk == 0

    def commit(self, step: int, checkpoint: dict[str, np.ndarray]) -> None:
        """Write what is pending and `checkpoint` (arrays (my walkers, ...)), then publish. Collective.

        Chunk files are replaced atomically by zarr and hold the committed rows unchanged, so a
        reader, or a run that resumes after a kill at any moment, finds every committed row.
        """
        if self.lock and not all(self.ranks.allgather(self.lock.held())):
            raise StoreError(f"{self.path}: was deleted or taken over while this run wrote it; nothing more is written")
        files, pieces, rows = self._write_pending()
        slot = self._commits % CHECKPOINTS
        files += self._write_checkpoint(slot, checkpoint)
        commit.fsync_all(files)
        state = [
            [key, walker, commit.sha256_of_rows(row)]
            for key, values in checkpoint.items()
            for walker, row in zip(self.walkers, values, strict=True)
        ]
        gathered = self.ranks.allgather((rows, pieces, state))
        if any(others != rows for others, _, _ in gathered):
            counts = [others for others, _, _ in gathered]
            raise StoreError(f"{self.path}: ranks disagree on the rows of a commit: {counts}")
        self._committed = {
            "draw": self._committed["draw"] + rows["draw"],
            "snapshot": self._committed["snapshot"] + rows["snapshot"],
        }
        now = time.monotonic()
        self._seconds, self._since = self._seconds + now - self._since, now
        if self.ranks.rank == 0:
            commit.write_record(
                self.path,
                {
                    "commit": self._commits,
                    "step": step,
                    "checkpoint": slot,
                    "draws": self._committed["draw"],
                    "snapshots": self._committed["snapshot"],
                    "seconds": self._seconds,
                    "time": time.time(),
                    "ranks": self.ranks.size,
                    "lost": self.lost,
                    "pieces": list(itertools.chain.from_iterable(theirs for _, theirs, _ in gathered)),
                    "state": list(itertools.chain.from_iterable(theirs for _, _, theirs in gathered)),
                },
            )
            if self.lock:
                self.lock.beat()
        self.ranks.barrier()
        self._commits += 1

    def _write_pending(self) -> tuple[list[Path], list[list[Any]], dict[Axis, int]]:
        files: list[Path] = []
        pieces: list[list[Any]] = []
        rows: dict[Axis, int] = {"draw": 0, "snapshot": 0}
        for variable in self.schema.variables:
            pending = self._pending[variable.name]
            if not pending:
                continue
            values = np.stack(pending, axis=1)
            pending.clear()
            start = self._committed[variable.axis]
            stop = start + values.shape[1]
            rows[variable.axis] = values.shape[1]
            self._group[variable.name][self.walkers.start : self.walkers.stop, start:stop] = values
            per_chunk = self.schema.rows_per_chunk(variable.axis)
            zeros = ["0"] * len(variable.shape)
            for walker, row in zip(self.walkers, values, strict=True):
                pieces.append([variable.name, walker, start, stop, commit.sha256_of_rows(row)])
                for chunk in range(start // per_chunk, -(-stop // per_chunk)):
                    file = self.path.joinpath(variable.name, "c", str(walker), str(chunk), *zeros)
                    if file.exists():  # zarr leaves out a chunk of nothing but fill values
                        files.append(file)
        return files, pieces, rows

    def _write_checkpoint(self, slot: int, checkpoint: dict[str, np.ndarray]) -> list[Path]:
        name = f"checkpoint/{slot}"
        if self._commits < CHECKPOINTS:  # the first use of this slot: known to every rank without looking at the disk
            if self.ranks.rank == 0:
                self._create_checkpoint(name, checkpoint)
            self.ranks.barrier()
        files = []
        for key, values in checkpoint.items():
            self._group[f"{name}/{key}"][self.walkers.start : self.walkers.stop] = values
            zeros = ["0"] * (values.ndim - 1)
            paths = (self.path.joinpath(name, key, "c", str(walker), *zeros) for walker in self.walkers)
            files += [path for path in paths if path.exists()]
        return files

    def _create_checkpoint(self, name: str, checkpoint: dict[str, np.ndarray]) -> None:
        for key, values in checkpoint.items():
            self._group.create_array(
                f"{name}/{key}",
                shape=(self.schema.walkers, *values.shape[1:]),
                chunks=(1, *values.shape[1:]),
                dtype=values.dtype,
                fill_value=0,
                overwrite=True,
            )


def read_checkpoint(
    path: Path, record: dict[str, Any], walkers: range, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """State of the walkers at a commit: arrays (len(walkers), ...), only those in `names` where given.

    Raises StoreError where an array is missing or is not what was committed; nothing is touched then.
    """
    folder = f"checkpoint/{record['checkpoint']}"
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    arrays: dict[str, np.ndarray] = {}
    for key, walker, sha256 in record["state"]:
        if names is not None and key not in names:
            continue
        if key not in arrays:
            name = f"{folder}/{key}"
            if name not in group:
                raise StoreError(f"{path}: {name} of commit {record['commit']} is missing")
            try:
                arrays[key] = np.asarray(group[name][walkers.start : walkers.stop])
            except (RuntimeError, ValueError, OSError) as error:
                raise StoreError(f"{path}: {name} of commit {record['commit']} is damaged ({error})") from None
        if walker in walkers and commit.sha256_of_rows(arrays[key][walker - walkers.start]) != sha256:
            raise StoreError(f"{path}: {folder}/{key} of commit {record['commit']} is damaged for walker {walker}")
    return arrays
