"""HDF5 files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from protmpi.errors import DataError


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
