"""Overlaps, gains, contacts and distances as text: tables and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.cells import plus_minus, table_of
from analysis.equilibrium_tables import temperature_column
from analysis.gains import SIGNIFICANT
from analysis.overlaps import WHOLE

if TYPE_CHECKING:
    import xarray
    from rich.table import Table


def _with_errors(values: np.ndarray) -> list[str]:
    return [plus_minus(mean, sem) for mean, sem in values]


def overlaps_table(data: xarray.Dataset) -> Table:
    """Mean overlap of all parameters at each temperature, within and between chains."""
    whole = data["q"].sel(group=WHOLE)
    return table_of([
        temperature_column(data),
        ("q ±\n(one chain)", _with_errors(whole.sel(relation="within").values)),
        ("q ±\n(independent chains)", _with_errors(whole.sel(relation="between").values)),
    ])  # fmt: skip


def gains_table(data: xarray.Dataset) -> Table:
    """Elements that remain of every layer norm at each temperature."""
    columns = [temperature_column(data)]
    for index, (layer, size) in enumerate(zip(data["layer"].values, data["elements"].values, strict=True)):
        columns.append((f"{layer}\n(of {size})", _with_errors(data["remaining"].values[index])))
    columns.append(("chance of\none peak", [f"{p:.2g}" for p in np.nanmin(data["bimodality"].values, axis=0)]))
    return table_of(columns)


def gains_remarks(data: xarray.Dataset) -> list[str]:
    """Whether the gains have a peak at zero, and what `protmpi compact` would do."""
    lines = [f"Two peaks: dip test of |gain| below {SIGNIFICANT:g}, the layer norms of one size together."]
    if (data["threshold"] > 0).any():
        return [*lines, "Elements in the peak at zero can go: `protmpi compact STORE` writes the smaller network."]
    return [*lines, "No peak at zero at any temperature: all elements remain."]


def contacts_table(data: xarray.Dataset) -> Table:
    """P@L and P'@L of every block at each temperature."""
    columns = [temperature_column(data)]
    for block in data["block"].values:
        name = f"block {block}\n" if data.sizes["block"] > 1 else ""
        tolerant = data["tolerant_precision"].sel({"block": block, "tolerance": data.attrs["tolerance"]})
        columns.append((f"{name}P@L ±", _with_errors(data["precision"].sel(block=block).values)))
        columns.append((f"{name}P'@L ±", _with_errors(tolerant.values)))
    columns.append(("maps alike\n(best block)", _with_errors(
        data["self_averaging"].sel(block=data["best_block"].item()).values)))  # fmt: skip
    return table_of(columns)


def contacts_remarks(data: xarray.Dataset) -> list[str]:
    """How precision was counted, and what chance and the reference weights reach."""
    options, best = data.attrs, data["best_block"].item()
    at = {"tolerance": options["tolerance"]}
    lines = [
        "P@L: contacts among the L pairs of highest attention; P'@L: a pair of |i-j| > "
        f"{options['separation']} within {options['tolerance']} sites of a contact counts"
        f"{'; APC' if options['apc'] else ''}. Random scores: "
        f"{data['chance'].item():.3f} and {data['tolerant_chance'].sel(at).item():.3f}."
    ]
    for label in data["weights"].values:
        strict = data["reference_precision"].sel(weights=label, block=best).values
        near = data["reference_tolerant_precision"].sel({"weights": label, "block": best, **at}).values
        spread = [x.std(ddof=1) if x.size > 1 else np.nan for x in (strict, near)]
        lines.append(
            f"{label} weights, {strict.size} of them, block {best}: P@L {plus_minus(strict.mean(), spread[0])}, "
            f"P'@L {plus_minus(near.mean(), spread[1])} (± spread)."
        )
    return lines


def distance_table(data: xarray.Dataset) -> Table:
    """Width, amplitude and residual of the Gaussian at each temperature."""
    names = {"width": "width s ±", "amplitude": "amplitude a ±", "residual": "rms left over ±"}
    columns = [(head, _with_errors(data[name].values)) for name, head in names.items()]
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
