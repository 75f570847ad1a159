"""The layout of a weights file (HDF5) and its reader, which training and analysis use. It does not need torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from protmpi.errors import DataError
from protmpi.hdf5 import numbers, reading

ROUNDING = 1e-9  # of |w|² in float64
CURVES = ("epoch", "train_energy", "train_error", "val_energy", "val_error", "norm2")


class WeightsFile(NamedTuple):
    """The content of a weights file."""

    attributes: dict[str, Any]
    """The requested attributes. None for a name that the file lacks."""
    arrays: dict[str, np.ndarray]


def _accept(attributes: dict[str, Any]) -> None:
    """Accept any attributes."""


def read(path: Path, names: Iterable[str], judge: Callable[[dict[str, Any]], None] = _accept) -> WeightsFile:
    """Read the attributes `names` and all arrays of a weights file, or of a part file of a training in progress.

    `judge` is called with the attributes before any array is read, and may raise. Raises DataError, one line, if the
    file is missing or damaged.
    """
    if not path.exists():
        raise DataError(f"{path}: no such weights file; `protmpi train CONFIG` writes it (key train.file)")
    with reading(path) as file:
        attributes = {name: file.attrs.get(name) for name in names}
        judge(attributes)
        return WeightsFile(attributes, numbers(file, path))


def fell_short(norms: np.ndarray, norm2: float) -> np.ndarray:
    """Whether training ended before |w|² reached `norm2`, from the |w|² of early-stopped weights (reference,)."""
    return np.asarray(norms < (1.0 - ROUNDING) * norm2)
