"""Weights files (HDF5): reference weights with learning curves, and the part files of a training in progress."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from protmpi.config import Config
from protmpi.errors import DataError
from protmpi.hdf5 import hdf5_file
from protmpi.tasks import Task
from protmpi.weights_file import CURVES, fell_short, read

SCHEMA = "protmpi-weights-1"


def norm2(w: np.ndarray) -> np.ndarray:
    """|w|² (...), float64, of weights (..., P)."""
    return np.asarray(np.sum(w.astype(np.float64) ** 2, axis=-1))


@dataclass(frozen=True)
class Weights:
    """Reference weights: ES and OT of shape (references, P), float32, and their epochs.

    A training without a second stage has no OT weights; its ES weights are those of the first stage.
    """

    es: np.ndarray
    ot: np.ndarray
    es_epoch: np.ndarray
    ot_epoch: np.ndarray
    norm2: float = 0.0
    """The norm Q at which references are stopped. 0 if the training has no second stage."""

    @property
    def fell_short(self) -> np.ndarray:
        """Whether training ended before |w|² reached Q (references,). The ES weights are then the OT weights."""
        return fell_short(norm2(self.es), self.norm2)

    def require_norm(self, path: Path) -> None:
        """Raise DataError if a reference fell short: its walkers would be on another sphere than the others."""
        for reference in np.flatnonzero(self.fell_short):
            raise DataError(
                f"{path}: reference {reference + 1} never reached the norm Q = {self.norm2:.5g} of early stopping, its "
                f"training ended at |w|² = {norm2(self.es[reference]):.5g}; raise train.over_epochs and choose another "
                "train.file"
            )

    def content_hash(self) -> str:
        """sha256 of the weights themselves."""
        return hashlib.sha256(self.es.tobytes() + self.ot.tobytes()).hexdigest()


def identity(config: Config, task: Task) -> dict[str, str]:
    """Network, training and data that a weights file belongs to."""
    training = {name: value for name, value in config.train.identity().items() if name != "file"}
    return {
        "schema": SCHEMA,
        "model": json.dumps(config.model.identity(), sort_keys=True),
        "train": json.dumps(training, sort_keys=True),
        "data_hash": task.data_hash,
    }


def load(path: Path, config: Config, task: Task) -> Weights:
    """Read a weights file and check that it fits the network and the data.

    Raises DataError if it is missing or damaged, belongs to another network or data set, or a reference fell short.
    """
    found = load_any(path, config, task)
    found.require_norm(path)
    return found


def load_any(path: Path, config: Config, task: Task) -> Weights:
    """Like `load`, but accept references that fell short."""
    arrays = _read(path, {name: value for name, value in identity(config, task).items() if name != "train"})
    try:
        stage = "references" if arrays["references/ES"].size else "inits"
        wanted = float(arrays["norm2"]) if stage == "references" and "norm2" in arrays else 0.0
        found = Weights(arrays[f"{stage}/ES"], arrays["references/OT"],
                        arrays[f"{stage}/ES_epoch"], arrays["references/OT_epoch"], wanted)  # fmt: skip
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]} is missing; delete the file and train again") from None
    for name, weights in (("ES", found.es), ("OT", found.ot)):
        if weights.ndim != 2 or weights.shape[1] != task.layout.size or len(weights) < (name == "ES"):
            raise DataError(f"{path}: {name} has shape {weights.shape}, the network has {task.layout.size} parameters")
        if not np.isfinite(weights).all():
            raise DataError(f"{path}: {name} has values that are not finite; delete the file and train again")
    return found


def write(path: Path, config: Config, task: Task, arrays: dict[str, np.ndarray]) -> None:
    """Write a weights file: its identity, and arrays by name, at least those that `load` reads."""
    notes = {"layout": json.dumps(task.layout.to_json()), "data": json.dumps(config.data.model_dump(mode="json"))}
    _write(path, {**identity(config, task), **notes}, arrays)


class Parts:
    """Part files `FILE.parts/init-0.h5`, one per run and written by one rank each, and the final file made of them."""

    def __init__(self, file: Path, config: Config, task: Task) -> None:
        self.file, self._identity = file, identity(config, task)
        self._folder = file.with_name(file.name + ".parts")
        self._write_file = partial(write, file, config, task)

    def finished(self) -> bool:
        """Whether the final file exists. Raises DataError if it belongs to another configuration."""
        if not self.file.exists():
            return False
        _read(self.file, self._identity)
        return True

    def path(self, stage: str, run: int) -> Path:
        return self._folder / f"{stage}-{run}.h5"

    def save(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        _write(path, self._identity, arrays)

    def load(self, path: Path) -> dict[str, np.ndarray]:
        return _read(path, self._identity)

    def read(self, stage: str, run: int) -> dict[str, np.ndarray]:
        """The marks and curves of a finished run."""
        stored = self.load(self.path(stage, run))
        return {name.removeprefix("mark."): value for name, value in stored.items()}

    def assemble(self, inits: list[dict[str, Any]], references: list[dict[str, Any]], norm2: float) -> None:
        """Write the final file, then delete the part files."""
        size, arrays = inits[0]["ES"].size, {"norm2": np.asarray(norm2)}
        arrays["inits/ES"] = _stack(inits, "ES", np.float32, size)
        arrays["inits/ES_epoch"] = _stack(inits, "ES.epoch", np.int64)
        for mark in ("ES", "OT"):
            arrays[f"references/{mark}"] = _stack(references, mark, np.float32, size)
            arrays[f"references/{mark}_epoch"] = _stack(references, f"{mark}.epoch", np.int64)
        for stage, runs in (("inits", inits), ("references", references)):
            for index, run in enumerate(runs):
                for name in CURVES:
                    arrays[f"{stage}/curves/{index}/{name}"] = run[f"curve.{name}"]
        self._write_file(arrays)
        for part in self._folder.glob("*-*.h5"):
            part.unlink()
        self._folder.rmdir()


def _stack(runs: list[dict[str, Any]], name: str, dtype: type, *shape: int) -> np.ndarray:
    """Stack arrays of this shape to (runs, *shape). The list may be empty."""
    return np.array([run[name] for run in runs], dtype=dtype).reshape(len(runs), *shape)


def _write(path: Path, attributes: dict[str, str], arrays: dict[str, np.ndarray]) -> None:
    with hdf5_file(path) as file:
        file.attrs.update(attributes)
        for name, values in arrays.items():
            file.create_dataset(name, data=values)


def _read(path: Path, expected: dict[str, str]) -> dict[str, np.ndarray]:
    """All arrays of a file, if its attributes are the expected ones. Sizes and types are checked before reading."""

    def judge(attributes: dict[str, Any]) -> None:
        for name, value in expected.items():
            found = attributes[name]
            if not isinstance(found, str) or found != value:
                other = f"another {_subject(name)}: {_difference(found, value)}"
                raise DataError(f"{path}: belongs to {other}; choose another train.file, or delete it")

    return read(path, expected, judge).arrays


def _subject(name: str) -> str:
    return {"schema": "version of this program", "model": "network", "train": "training"}.get(
        name, "data set (data.file)"
    )


def _difference(found: Any, wanted: str) -> str:
    """The keys that differ, old -> new."""
    try:
        old, new = json.loads(found), json.loads(wanted)
        changed = [f"{key} {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(changed) or f"{found} -> {wanted}"
    except (TypeError, ValueError, AttributeError):
        return f"{str(found)[:12]} -> {wanted[:12]}"
