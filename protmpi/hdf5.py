"""HDF5 files: a file is written whole or not at all, and its content is checked before use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from protmpi.errors import DataError

LARGEST = 2**31  # bytes of all arrays of a file: far above any network, far below the memory of a machine


@contextmanager
def hdf5_file(path: Path) -> Iterator[h5py.File]:
    """Write under a temporary name. On leaving the context, flush to the disk and rename.

    Raises DataError, one line, if the disk refuses the file.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(draft, "w") as file:
            yield file
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.rename(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {' '.join(str(error).split())}") from error
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """An open file. Raises DataError, one line, if it is missing or damaged."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable HDF5 file ({' '.join(str(error).split())})") from None


def numbers(file: h5py.File, path: Path) -> dict[str, np.ndarray]:
    """All arrays of an open file, by name. Types and sizes are checked before any array is read.

    Links are not followed. Raises DataError if an item is not an array of numbers or lies in another file, or if all
    arrays together are too large.
    """
    arrays: dict[str, np.ndarray] = {}
    room = LARGEST

    def collect(name: str, item: Any) -> None:
        nonlocal room
        if isinstance(item, h5py.Dataset):
            if item.shape is None or item.dtype.kind not in "fiu":
                raise DataError(f"{path}: {name} has type {item.dtype}, numbers are expected")
            if item.external or item.is_virtual:
                raise DataError(f"{path}: {name} lies in another file, which is not opened")
            room -= item.size * item.dtype.itemsize
            if room < 0:
                raise DataError(f"{path}: has more than {LARGEST} bytes of numbers")
            arrays[name] = np.asarray(item[()])

    file.visititems(collect)
    return arrays
