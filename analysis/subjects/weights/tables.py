"""Overlaps and gains as text: tables and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.show.cells import means_with_errors, table_of
from analysis.show.equilibrium import temperature_column
from analysis.subjects.weights.gains import SIGNIFICANT, deciding, last_block
from analysis.subjects.weights.overlaps import WHOLE

if TYPE_CHECKING:
    import xarray
    from rich.table import Table


def overlaps_table(data: xarray.Dataset) -> Table:
    """Mean overlap of all parameters at each temperature, within and between chains."""
    whole = data["q"].sel(group=WHOLE)
    return table_of([
        temperature_column(data),
        ("q ±\n(one chain)", means_with_errors(whole.sel(relation="within").values)),
        ("q ±\n(independent chains)", means_with_errors(whole.sel(relation="between").values)),
    ])  # fmt: skip


def gains_table(data: xarray.Dataset) -> Table:
    """Elements that remain of every layer norm at each temperature."""
    columns = [temperature_column(data)]
    for index, (layer, size) in enumerate(zip(data["layer"].values, data["elements"].values, strict=True)):
        columns.append((f"{layer}\n(of {size})", means_with_errors(data["remaining"].values[index])))
    for layer in last_block(data):
        chances = data["bimodality"].sel(layer=layer).values
        columns.append((f"{layer}: chance\nof one peak", [f"{chance:.2g}" for chance in chances]))
    return table_of(columns)


def gains_remarks(data: xarray.Dataset) -> list[str]:
    """Whether the gains have a peak at zero, and the effect of `protmpi compact`."""
    layers = deciding(data, data["elements"].values[0])  # the first layer norm has the size of the embedding
    lines = [f"Two peaks: dip test of |gain| below {SIGNIFICANT:g}, each layer norm by itself. Those of the last block "
             f"({', '.join(layers)}) say which elements are useless."]  # fmt: skip
    small = (data["threshold"].sel(layer=layers) > 0).values
    if small.all(axis=0).any():
        return [*lines, "Elements in the peak at zero can go: `protmpi compact STORE` writes the smaller network; the "
                "larger count decides."]  # fmt: skip
    if small.any():
        return [*lines, "All of them have a peak at zero at no temperature, so the larger count is all elements."]
    return [*lines, "No peak at zero at any temperature: all elements remain."]
