"""The layout of a weights file (HDF5) and its one reader, for the training and, without torch, for the analysis."""

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
    """What a weights file holds."""

    attributes: dict[str, Any]
    """Those that were asked for; None where the file has none of this name."""
    arrays: dict[str, np.ndarray]


def _accept(attributes: dict[str, Any]) -> None:
    """No attribute is wrong."""


def read(path: Path, names: Iterable[str], judge: Callable[[dict[str, Any]], None] = _accept) -> WeightsFile:
    """The attributes `names` and all arrays of a weights file, or of a part file of a training in progress.

    `judge` sees the attributes before any array is read, and may raise. Raises DataError, one line, where the file is
    missing or damaged.
    """
    if not path.exists():
        raise DataError(f"{path}: no such weights file; `protmpi train CONFIG` writes it (key train.file)")
    with reading(path) as file:
        attributes = {name: file.attrs.get(name) for name in names}
        judge(attributes)
        return WeightsFile(attributes, numbers(file, path))


def fell_short(norms: np.ndarray, norm2: float) -> np.ndarray:
    """Of early-stopped weights of these |w|² (reference,), whether training ended before |w|² reached `norm2`."""
    return np.asarray(norms < (1.0 - ROUNDING) * norm2)
