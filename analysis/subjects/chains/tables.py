"""Residues and attention profiles of networks of protein chains as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import exponent_form, plus_minus, table_of
from analysis.show.equilibrium import temperature_column
from analysis.subjects.chains.measure import ALL

if TYPE_CHECKING:
    import xarray
    from rich.table import Table


def residues_table(data: xarray.Dataset, slot: int) -> Table:
    """Perplexity and recovery of each amino acid at one temperature and by the reference weights."""
    at = f"T = {temperature_column(data)[1][slot].strip()}"
    columns = [
        ("amino\nacid", [str(acid) for acid in data["amino_acid"].values]),
        ("sites", [f"{count:.0f}" for count in data["sites"].values]),
    ]
    for name in ("perplexity", "recovery"):
        columns.append((f"{name}\n{at} ±", [plus_minus(*pair) for pair in data[name].values[slot]]))
    for label in data["weights"].values:
        for name in ("perplexity", "recovery"):
            found = data[f"reference_{name}"].sel(weights=label).values
            columns.append((f"{name}\n{label}", [plus_minus(*_spread(x)) for x in found.T]))
    return table_of(columns)


def residues_remarks(data: xarray.Dataset) -> list[str]:
    """Perplexity and recovery of all sites against T."""
    lines = []
    for name in ("perplexity", "recovery"):
        values = data[name].sel(amino_acid=ALL).values
        found = [f"{plus_minus(*pair)} at T = {exponent_form(t)}"
                 for t, pair in zip(data["temperature"].values, values, strict=True)]  # fmt: skip
        lines.append(f"{name.capitalize()} of all sites: {', '.join(found)}.")
    return lines


def profiles_table(data: xarray.Dataset) -> Table:
    """Width and amplitude of the mean attention of each block at each temperature, last those of the weights."""
    layer = data.sel(head=ALL)
    labels = [str(label) for label in data["weights"].values]
    heading, temperatures = temperature_column(data)
    columns = [(heading, [*temperatures, *labels])]
    for block in data["block"].values:
        for name, head in (("width", "s ± (Å)"), ("amplitude", "a ±")):
            cells = [plus_minus(*pair) for pair in layer[name].sel(block=block).values]
            for label in labels:
                cells.append(plus_minus(*_spread(layer[f"reference_{name}"].sel(block=block, weights=label).values)))
            columns.append((f"block {block}\n{head}", cells))
    return table_of(columns)


def profiles_remarks() -> list[str]:
    """The definition of the numbers."""
    return [
        "Attention times length of the chain against the Cα distance r, mean over heads, fitted by a exp(-(r/s)²); "
        '1 is uniform attention. "-": attention does not fall with distance in every snapshot. ES, OT: ± spread.'
    ]


def _spread(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation."""
    return float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else np.nan
