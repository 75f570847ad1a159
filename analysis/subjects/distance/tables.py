"""The Gaussian of the distance as text: table and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import means_with_errors, plus_minus, table_of
from analysis.show.equilibrium import temperature_column

if TYPE_CHECKING:
    import xarray
    from rich.table import Table


def distance_table(data: xarray.Dataset) -> Table:
    """Width, amplitude and residual of the Gaussian at each temperature."""
    names = {"width": "width s ±", "amplitude": "amplitude a ±", "residual": "rms left over ±"}
    columns = [(head, means_with_errors(data[name].values)) for name, head in names.items()]
    return table_of([temperature_column(data), *columns])


def distance_remarks(data: xarray.Dataset) -> list[str]:
    """The width to learn, and that of the reference weights."""
    lines = []
    if "target_width" in data:
        lines.append(f"Width to learn: {data['target_width'].item():.4g}.")
    for label in data["weights"].values if "weights" in data.coords else ():
        width = data["reference_width"].sel(weights=label).values
        spread = width.std(ddof=1) if width.size > 1 else np.nan
        lines.append(f"{label} weights, {width.size} of them: width {plus_minus(width.mean(), spread)} (± spread).")
    return lines
