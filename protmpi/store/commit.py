"""Commit records: payload first, fsync, then one atomic rename. Only what a record counts exists for readers.

`commits/00000012.json` holds how far the run has come (step, draws, snapshots), which checkpoint goes with it, and a
sha256 of the rows that came since the record before. The record carries its own sha256; one that does not
match is damaged and the record before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "commits"


def sha256_of_rows(rows: np.ndarray) -> str:
    """Hash of the values themselves (C order), whatever the chunking or the compression."""
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def fsync(path: Path) -> None:
    """Force a file or a directory entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_all(paths: Iterable[Path]) -> None:
    """Force files and their directories to the disk."""
    files = list(paths)
    for path in files:
        fsync(path)
    for folder in {path.parent for path in files}:
        fsync(folder)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see either the old one or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    fsync(temporary)
    temporary.rename(path)
    fsync(path.parent)


def write_record(store: Path, record: dict[str, Any]) -> None:
    """Publish commit `record["commit"]`: the moment at which its rows come into being."""
    body = json.dumps(record, sort_keys=True)
    sealed = {**record, "sha256": hashlib.sha256(body.encode()).hexdigest()}
    write_atomically(store / FOLDER / f"{record['commit']:08d}.json", json.dumps(sealed, sort_keys=True))


def read_record(path: Path) -> dict[str, Any] | None:
    """A commit record, or None where it is damaged."""
    try:
        record = json.loads(path.read_text())
        seal = record.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    whole = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest() == seal
    return record if whole else None


def record_paths(store: Path) -> list[Path]:
    """Paths of all commit records, oldest first."""
    return sorted((store / FOLDER).glob("[0-9]*.json"))


def last_record(store: Path) -> dict[str, Any] | None:
    """The newest whole commit record, or None before the first commit."""
    return next((r for path in reversed(record_paths(store)) if (r := read_record(path)) is not None), None)
