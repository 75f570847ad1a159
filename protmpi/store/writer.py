"""Append the rows of the walkers of one rank, and commit them together with a checkpoint.

A thread writes the files of a commit while the walkers go on. All ranks publish it together after all have written.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import zarr

from protmpi.errors import StoreError
from protmpi.store import commit
from protmpi.store.files import Files
from protmpi.store.reader import Store
from protmpi.store.schema import CHECKPOINTS, Schema
from protmpi.variables import Axis, Variable

T = TypeVar("T")
Row = dict[str, np.ndarray]
"""Arrays (my walkers, ...) by name."""


class Ranks(Protocol):
    """The collectives that the writer needs: exchange of small Python objects."""

    rank: int
    size: int

    def allgather(self, item: Any) -> list[Any]: ...


class StoreLock(Protocol):
    """Says whether the store still belongs to this run."""

    def held(self) -> bool: ...
    def beat(self) -> None: ...


class Written(NamedTuple):
    """The part of a rank in one commit: checksums of its new rows and of its checkpoint."""

    pieces: list[list[Any]]
    state: list[list[Any]]


class Writer:
    """Append rows of the walkers `walkers` (a contiguous range of global indices) of one rank.

    Rows stay in memory until `hand_over` or `commit`, which all ranks call together.
    """

    def __init__(self, path: Path, schema: Schema, walkers: range, ranks: Ranks, lock: StoreLock | None = None) -> None:
        self.path, self.schema, self.walkers, self.ranks, self.lock = path, schema, walkers, ranks, lock
        self._files = Files(path)
        self._group = zarr.open_group(self._files, mode="r+", use_consolidated=False)
        last = commit.last_record(path)
        self._commits = last["commit"] + 1 if last else 0
        self._seconds = last["seconds"] if last else 0.0
        self._rows: dict[Axis, int] = {
            "draw": last["draws"] if last else 0,
            "snapshot": last["snapshots"] if last else 0,
        }
        """Rows that are committed or handed over."""
        self._pending: dict[str, list[np.ndarray]] = {v.name: [] for v in schema.variables}
        self.lost: list[dict[str, Any]] = list(last.get("lost", [])) if last else []
        """Lost walkers so far: walker, step and reason of each, the same on every rank."""
        self._thread = ThreadPoolExecutor(1, "store")
        self._writing: tuple[dict[str, Any], Future[Written]] | None = None
        self._since = time.monotonic()
        self.longest = 0.0
        """Seconds from hand-over to publication of the slowest commit."""

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        """End all writing, so that the lock can be released."""
        self._thread.shutdown()

    def append(self, axis: Axis, row: Row) -> None:
        """Add one draw or snapshot: an array (my walkers, *shape) for every variable of the axis."""
        for variable in self.schema.variables:
            if variable.axis == axis:
                self._pending[variable.name].append(np.asarray(row[variable.name], dtype=variable.dtype))

    def chunk_is_full(self) -> bool:
        """Whether the pending draws fill a chunk, which is the moment for a commit."""
        waiting = max((len(self._pending[v.name]) for v in self.schema.variables if v.axis == "draw"), default=0)
        return waiting > 0 and (self._rows["draw"] + waiting) % self.schema.draws_per_chunk == 0

    def commit(self, step: int, checkpoint: Row, remarks: Callable[[], dict[str, Any]] = dict) -> None:
        """Write the pending rows and `checkpoint`, and publish them. Collective. Errors as in `publish`."""
        self.hand_over(step, checkpoint)
        self.publish(remarks)

    def hand_over(self, step: int, checkpoint: Row) -> None:
        """Begin to write the pending rows and `checkpoint`, arrays (my walkers, ...) that must not change. Collective.

        Returns at once. Readers see nothing of it before `publish`. Chunk files are replaced atomically and keep the
        committed rows, so a reader, or a run that resumes after a kill at any moment, finds every committed row.
        """
        self.publish()
        place, now = self._commits % CHECKPOINTS, time.monotonic()
        if self._commits < CHECKPOINTS:  # the first use of this slot
            self._together(lambda: self._create_checkpoint(place, checkpoint) if self.ranks.rank == 0 else None)
        rows = {name: np.stack(pending, axis=1) for name, pending in self._pending.items() if pending}
        for pending in self._pending.values():
            pending.clear()
        start = dict(self._rows)
        for variable in self.schema.variables:
            if variable.name in rows:
                self._rows[variable.axis] = start[variable.axis] + rows[variable.name].shape[1]
        self._seconds, self._since = self._seconds + now - self._since, now
        record = {
            "commit": self._commits,
            "step": step,
            "checkpoint": place,
            "draws": self._rows["draw"],
            "snapshots": self._rows["snapshot"],
            "seconds": self._seconds,
            "lost": list(self.lost),
        }
        self._writing = record, self._thread.submit(self._write, place, start, rows, checkpoint)
        self._commits += 1

    def written(self) -> bool:
        """Whether this rank has written all rows that were handed over, or failed to."""
        return self._writing is None or self._writing[1].done()

    def publish(self, remarks: Callable[[], dict[str, Any]] = dict) -> None:
        """Wait until all ranks have written the rows handed over, if there are any, and commit them. Collective.

        Raises StoreError on every rank if one of them cannot write; earlier commits stay. The record also has
        `remarks()`, which is called after all rows are written.
        """
        if not self._writing:
            return
        (mine, writing), self._writing = self._writing, None
        ranks = self._together(lambda: (mine["step"], mine["draws"], mine["snapshots"], writing.result()))
        if any(each[:-1] != ranks[0][:-1] for each in ranks):
            raise StoreError(f"{self.path}: ranks disagree on the step, draws and snapshots of a commit: "
                             f"{[each[:-1] for each in ranks]}")  # fmt: skip
        record = {
            **mine,
            "time": time.time(),
            "ranks": self.ranks.size,
            "pieces": list(itertools.chain.from_iterable(written.pieces for *_, written in ranks)),
            "state": list(itertools.chain.from_iterable(written.state for *_, written in ranks)),
            **remarks(),
        }
        self._together(lambda: self._publish(record) if self.ranks.rank == 0 else None)
        self.longest = max(self.longest, time.monotonic() - self._since)

    def _together(self, action: Callable[[], T]) -> list[T]:
        """Results of `action` on all ranks. Collective. Raises StoreError on all ranks if one cannot write."""
        result, failure = None, ""
        try:
            self._require_lock(self._held())
            result = action()
        except StoreError as error:
            failure = str(error)
        except OSError as error:
            failure = (f"{self.path}: cannot be written ({error.strerror or error}); its commits are kept: repair that "
                       "and give the same command again")  # fmt: skip
        answers = self.ranks.allgather((result, failure))
        failures = [failed for _, failed in answers if failed]
        if failures:
            # a deleted store fails in many ways; all ranks check before the first one that ends releases the lock
            self._require_lock(all(self.ranks.allgather(self._held())))
            raise StoreError(failures[0])
        return [answer for answer, _ in answers]

    def _held(self) -> bool:
        return not self.lock or self.lock.held()

    def _require_lock(self, held: bool) -> None:
        if not held:
            raise StoreError(f"{self.path}: was deleted or taken over while this run wrote it; nothing more is written")

    def _publish(self, record: dict[str, Any]) -> None:
        commit.write_record(self.path, record)
        if self.lock:
            self.lock.beat()

    def _write(self, place: int, start: dict[Axis, int], rows: Row, checkpoint: Row) -> Written:
        """Write rows (my walkers, rows, ...) that follow the first `start` ones, and the state of my walkers. Force all
        files to the disk."""
        self._require_lock(self._held())
        committed = cache(lambda: Store(self.path))  # opened once, and only if a chunk has already begun
        pieces: list[list[Any]] = []
        for variable in self.schema.variables:
            if variable.name in rows:
                first, values = start[variable.axis], rows[variable.name]
                self._write_rows(variable, first, values, committed)
                pieces += ([variable.name, walker, first, first + len(row), commit.sha256_of_rows(row)]
                           for walker, row in zip(self.walkers, values, strict=True))  # fmt: skip
        state: list[list[Any]] = []
        for key, values in checkpoint.items():
            self._array(f"checkpoint/{place}/{key}")[self.walkers.start : self.walkers.stop] = values
            state += ([key, walker, commit.sha256_of_rows(row)]
                      for walker, row in zip(self.walkers, values, strict=True))  # fmt: skip
        self._files.sync()
        return Written(pieces, state)

    def _array(self, name: str) -> zarr.Array:
        """An array that writes every chunk. By default zarr omits a chunk that is all NaN, and the reader would get
        another NaN than the committed one."""
        found = self._group[name]
        assert isinstance(found, zarr.Array)
        return found.with_config({"write_empty_chunks": True})

    def _write_rows(self, variable: Variable, start: int, values: np.ndarray, committed: Callable[[], Store]) -> None:
        """Write whole chunks. Rows beyond the last commit, left by a killed run, are never read."""
        array, per_chunk = self._array(variable.name), self.schema.rows_per_chunk(variable.axis)
        mine, stop = slice(self.walkers.start, self.walkers.stop), start + values.shape[1]
        first, last = start - start % per_chunk, min(array.shape[1], -(-stop // per_chunk) * per_chunk)
        whole = np.full((len(values), last - first, *variable.shape), variable.missing, variable.dtype)
        if first < start:
            whole[:, : start - first] = [committed().read_rows(variable.name, w, first, start) for w in self.walkers]
        whole[:, start - first : stop - first] = values
        array[mine, first:last] = whole

    def _create_checkpoint(self, place: int, checkpoint: Row) -> None:
        for key, values in checkpoint.items():
            self._group.create_array(
                f"checkpoint/{place}/{key}",
                shape=(self.schema.walkers, *values.shape[1:]),
                chunks=(self.schema.walkers_per_chunk, *values.shape[1:]),
                dtype=values.dtype,
                fill_value=0,
                overwrite=True,
            )
