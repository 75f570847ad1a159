"""HDF5 files: written so that they are there whole or not at all, read without trust."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from protmpi.errors import DataError

LARGEST = 2**31  # bytes of one array: far above any network of this program, far below what would fill a machine


@contextmanager
def hdf5_file(path: Path) -> Iterator[h5py.File]:
    """Write under a temporary name; on leaving, flush to the disk and rename.

    Raises DataError, one line, where the disk does not take it.
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


def numbers(file: h5py.File, path: Path) -> dict[str, np.ndarray]:
    """All arrays of an open file, by name. Types and sizes are checked before anything is read.

    Raises DataError where one is no array of numbers, or too large.
    """
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.dtype.kind not in "fiu" or item.size * item.dtype.itemsize > LARGEST:
                raise DataError(f"{path}: {name} has type {item.dtype} and {item.size} entries, numbers are expected")
            arrays[name] = np.asarray(item[()])

    file.visititems(collect)
    return arrays
