"""Trainings as tables: sizes of the networks, and the epochs at which their reference weights were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.show.cells import none_for_nan, plus_minus, table_of
from analysis.subjects.training.measure import Training

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = {
    "epoch": "epoch",
    "norm2": "|w|²",
    "train_energy": "U train",
    "val_energy": "U val",
    "train_error": "error\ntrain",
    "val_error": "error\nval",
}


def references_table(trainings: Sequence[Training]) -> Table:
    """One row for the ES and one for the OT weights of each network: mean and spread over its references."""
    rows = [(training, w) for training in trainings for w in training.epochs]
    columns = [
        ("network", [training.label for training, _ in rows]),
        ("P", [f"{training.parameters:,}" for training, _ in rows]),
        ("weights", [w for _, w in rows]),
        ("n", [str(training.epochs[w].size) for training, w in rows]),
    ]
    for name, heading in HEADINGS.items():
        found = [training.marks()[name].sel(weights=w).values for training, w in rows]
        columns.append((heading, [plus_minus(values.mean(), _spread(values)) for values in found]))
    return table_of(columns)


def references_remarks(trainings: Sequence[Training]) -> list[str]:
    """Remarks below the table, in particular the references that are not early-stopped."""
    lines = ["U in nats; P: parameters; n: independent runs; ± their standard deviation, not the error of the mean."]
    for training in trainings:
        for reference in np.flatnonzero(training.fell_short):
            lines.append(
                f"{training.label}: reference {reference + 1} never reached Q = {training.norm2:.5g} "
                f"(|w|² = {training.norms['ES'][reference]:.5g}): its ES are not early-stopped weights."
            )
    return lines


def references_json(trainings: Sequence[Training]) -> dict[str, Any]:
    """{"transformer-1-26": {"parameters": P, "norm2": Q, "ES": {"epoch": [...], ...}, "OT": {...}}, ...}."""
    return {
        training.label: {
            "parameters": training.parameters,
            "norm2": training.norm2,
            **{w: {name: none_for_nan(training.marks()[name].sel(weights=w).values.tolist()) for name in HEADINGS}
               for w in training.epochs},
        }
        for training in trainings
    }  # fmt: skip


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")
