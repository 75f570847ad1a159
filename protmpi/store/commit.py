"""Commit records: payload first, fsync, then one atomic rename. Readers see only the rows that a record counts.

`commits/00000012.json` holds the progress of the run (step, draws, snapshots), the name of its checkpoint, and a sha256
of the rows since the previous record. A record carries its own sha256. A record that does not match it is damaged, and
the previous record is used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from protmpi.errors import StoreError
from protmpi.store import files

FOLDER = "commits"
KEYS = {"commit": int, "step": int, "checkpoint": int, "draws": int, "snapshots": int, "ranks": int,
        "seconds": float, "time": float, "lost": list, "pieces": list, "state": list}  # fmt: skip
"""Keys and types of every record."""


def sha256_of_rows(rows: np.ndarray) -> str:
    """Hash of the values (C order), independent of chunks and compression."""
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def path_of(store: Path, number: int) -> Path:
    """Path of the record of commit `number`."""
    return store / FOLDER / f"{number:08d}.json"


def write_record(store: Path, record: dict[str, Any]) -> None:
    """Publish commit `record["commit"]`. From this moment readers see its rows."""
    body = json.dumps(record, sort_keys=True)
    sealed = {**record, "sha256": hashlib.sha256(body.encode()).hexdigest()}
    files.publish(path_of(store, record["commit"]), json.dumps(sealed, sort_keys=True))


def read_record(path: Path) -> dict[str, Any] | None:
    """A commit record, or None if it is damaged."""
    try:
        record = json.loads(files.read(path, files.LARGEST_METADATA))
        seal = record.pop("sha256")
        whole = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest() == seal
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError, StoreError):
        return None
    typed = all(isinstance(record.get(key), kind) for key, kind in KEYS.items())
    return record if whole and typed and path.name == f"{record['commit']:08d}.json" else None


def record_paths(store: Path) -> list[Path]:
    """Paths of all commit records, oldest first."""
    return sorted((store / FOLDER).glob("[0-9]*.json"))


def last_record(store: Path) -> dict[str, Any] | None:
    """The newest whole commit record, or None before the first commit."""
    return next((r for path in reversed(record_paths(store)) if (r := read_record(path)) is not None), None)


def damaged_after(store: Path, number: int) -> list[Path]:
    """Records newer than commit `number`. They are damaged if `number` is the newest whole commit."""
    return [path for path in record_paths(store) if path.name > path_of(store, number).name]


def pass_over(store: Path) -> list[str]:
    """Rename the damaged records after the newest whole one, so that no new record overwrites them. A line for each."""
    last = last_record(store)
    number = last["commit"] if last else -1
    after = f"commit {number}" if last else "the beginning"
    return [f"{path} is damaged and was renamed to {set_aside(path).name}; continuing from {after}"
            for path in damaged_after(store, number)]  # fmt: skip


def set_aside(path: Path) -> Path:
    """Rename a record so that it no longer counts; nothing is deleted or overwritten."""
    aside = next(p for n in range(10**6) if not (p := path.with_name(f"{path.name}.set-aside-{n}")).exists())
    path.rename(aside)
    files.sync_folders([path.parent])
    return aside
