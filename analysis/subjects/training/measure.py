"""Learning curves of the reference weights, and the ends of early stopping (ES) and over-training (OT).

They are in the weights file of `protmpi train`. Inits are stopped at their lowest validation loss and give the norm Q.
References are stopped where they reach Q (ES) and where training has saturated (OT).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from analysis.reading.references import REFERENCES
from protmpi import weights_file
from protmpi.errors import DataError

CURVES = {
    "train_energy": "training loss (nats)",
    "val_energy": "validation loss (nats)",
    "train_error": "training error",
    "val_error": "validation error",
    "norm2": "|w|²",
}
"""Recorded quantities over the epochs, and their labels."""

Curve = dict[str, np.ndarray]
"""`epoch` and every name of CURVES, (points,) each."""


@dataclass(frozen=True, repr=False)
class Training:
    """The independent runs of one network."""

    label: str
    parameters: int
    norm2: float
    """The norm Q, which is also that of the sphere of the walkers."""
    inits: list[Curve]
    references: list[Curve]
    epochs: dict[str, np.ndarray]
    """ES, OT -> epoch at which each reference was stopped, (reference,)."""
    norms: dict[str, np.ndarray]
    """ES, OT -> |w|² of the weights themselves, (reference,)."""
    model: dict[str, Any]
    """The section [model] of the network."""
    data: dict[str, Any]
    """The section [data], empty if the file has none."""

    def __repr__(self) -> str:
        return (f"<Training {self.label}: {self.parameters:,} parameters, {len(self.inits)} initialisations, "
                f"{len(self.references)} references, |w|² = {self.norm2:.4g}>")  # fmt: skip

    @property
    def fell_short(self) -> np.ndarray:
        """Whether the training of each reference ended before |w|² reached Q, so that its ES are its OT weights."""
        return weights_file.fell_short(self.norms["ES"], self.norm2)

    def marks(self) -> xarray.Dataset:
        """Losses, errors, |w|² and epoch (weights, reference). Losses are interpolated between two evaluations."""
        names = [name for name in CURVES if name != "norm2"]
        found = {
            name: np.array([
                [np.interp(at, curve["epoch"], curve[name])
                 for at, curve in zip(self.epochs[w], self.references, strict=True)]
                for w in REFERENCES
            ])
            for name in names
        }  # fmt: skip
        found["norm2"] = np.array([self.norms[w] for w in REFERENCES])
        found["epoch"] = np.array([self.epochs[w] for w in REFERENCES], dtype=float)
        units = {"train_energy": "nats", "val_energy": "nats"}
        return xarray.Dataset(
            {name: (("weights", "reference"), values, {"unit": units.get(name, "")}) for name, values in found.items()},
            coords={"weights": list(REFERENCES)},
        )

    def curves(self) -> xarray.Dataset:
        """All curves in long form, along `point`, with the stage and the run of each."""
        stages = {"init": self.inits, "reference": self.references}
        rows = [(stage, run, curve) for stage, curves in stages.items() for run, curve in enumerate(curves)]
        sizes = [curve["epoch"].size for _, _, curve in rows]
        columns = {name: np.concatenate([curve[name] for _, _, curve in rows]) for name in ("epoch", *CURVES)}
        columns["stage"] = np.repeat([stage for stage, _, _ in rows], sizes)
        columns["run"] = np.repeat([run for _, run, _ in rows], sizes)
        return xarray.Dataset({name: ("point", values) for name, values in columns.items()})


def read_trainings(paths: Sequence[Path]) -> list[Training]:
    """The curves of several weights files; networks of one name are numbered."""
    found = [read_training(path) for path in paths]
    labels = [one.label for one in found]
    return [
        one if labels.count(one.label) == 1 else replace(one, label=f"{one.label} ({1 + labels[:k].count(one.label)})")
        for k, one in enumerate(found)
    ]


def read_training(path: Path) -> Training:
    """The curves of a weights file. Raises DataError, one line, if it is not a weights file."""
    attributes, arrays = weights_file.read(path, ("model", "data"))
    sections = {name: "{}" if value is None else str(value) for name, value in attributes.items()}
    try:
        model, data = (json.loads(section) for section in sections.values())
        label = str(model["name"])
        weights = {w: arrays[f"references/{w}"].astype(np.float64) for w in REFERENCES}
        epochs = {w: np.atleast_1d(arrays[f"references/{w}_epoch"]) for w in REFERENCES}
        references = _curves(arrays, "references", len(weights["ES"]))
        inits = _curves(arrays, "inits", len(arrays["inits/ES"]))
        norm2 = float(arrays["norm2"])
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a weights file of `protmpi train` ({' '.join(str(error).split())})") from None
    if any(len(epochs[w]) != len(references) or weights[w].ndim != 2 for w in REFERENCES):
        raise DataError(f"{path}: has another number of weights than of learning curves; train again")
    norms = {w: np.sum(weights[w] ** 2, axis=1) for w in REFERENCES}
    return Training(label, weights["ES"].shape[1], norm2, inits, references, epochs, norms, model, data)


def _curves(arrays: dict[str, np.ndarray], stage: str, runs: int) -> list[Curve]:
    found = [{name: arrays[f"{stage}/curves/{run}/{name}"] for name in ("epoch", *CURVES)} for run in range(runs)]
    if any(not curve["epoch"].size or len({values.shape for values in curve.values()}) > 1 for curve in found):
        raise ValueError(f"{stage}: curves of different lengths")
    return found
