"""Datasets as CSV for spreadsheets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray


def write_csv(data: xarray.Dataset, path: Path) -> None:
    """One row per temperature, every variable with its unit in the header; an empty cell is unknown.

    not_in_equilibrium: why a temperature has no errors.
    """
    header, columns = [], []

    def add(name: str, unit: str, values: np.ndarray) -> None:
        header.append(f"{name} [{unit}]" if unit else name)
        columns.append(["" if value != value else value for value in values.tolist()])

    add("temperature", data["temperature"].attrs["unit"], data["temperature"].values)
    for name, variable in data.data_vars.items():
        unit = variable.attrs["unit"]
        if variable.dims == ("temperature", "statistic"):
            add(str(name), unit, variable.values[:, 0])
            add(f"{name}_sem", unit, variable.values[:, 1])
        elif variable.dims == ("temperature",):
            add(str(name), unit, variable.values)
    add("not_in_equilibrium", "", data["not_in_equilibrium"].values)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))


def write_long_csv(data: xarray.Dataset, path: Path) -> None:
    """Every value on a line of its own with its coordinates; empty cells are unknown."""
    units = {name: variable.attrs.get("unit") for name, variable in data.variables.items()}
    headings = {name: f"{name} [{unit}]" for name, unit in units.items() if unit}
    data.to_dataframe().reset_index().rename(columns=headings).to_csv(path, index=False)
