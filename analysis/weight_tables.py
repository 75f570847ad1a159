"""Overlaps, gains, contacts and distances as text: tables and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.attention import BEST, blocks_text, numbered
from analysis.cells import plus_minus, table_of
from analysis.equilibrium_tables import temperature_column
from analysis.gains import SIGNIFICANT, deciding, last_block
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
    for layer in last_block(data):
        chances = data["bimodality"].sel(layer=layer).values
        columns.append((f"{layer}: chance\nof one peak", [f"{chance:.2g}" for chance in chances]))
    return table_of(columns)


def gains_remarks(data: xarray.Dataset) -> list[str]:
    """Whether the gains have a peak at zero, and what `protmpi compact` would do."""
    layers = deciding(data, data["elements"].values[0])  # the first layer norm has the size of the embedding
    lines = [f"Two peaks: dip test of |gain| below {SIGNIFICANT:g}, each layer norm by itself. Those of the last block "
             f"({', '.join(layers)}) say which elements are useless."]  # fmt: skip
    small = (data["threshold"].sel(layer=layers) > 0).values
    if small.all(axis=0).any():
        return [*lines, "Elements in the peak at zero can go: `protmpi compact STORE` writes the smaller network; the "
                "larger count decides."]  # fmt: skip
    if small.any():
        return [*lines, "At no temperature all of them have a peak at zero: the larger count, which decides, is all."]
    return [*lines, "No peak at zero at any temperature: all elements remain."]


def contacts_table(data: xarray.Dataset) -> Table:
    """P@L and P'@L of every block and of the best ones at each temperature, and which those are, walker by walker."""
    several = len(numbered(data)) > 1
    columns = [temperature_column(data)]
    for block in data["block"].values if several else [BEST]:
        name = ("best\n" if block == BEST else f"block {block}\n") if several else ""
        tolerant = data["tolerant_precision"].sel({"block": block, "tolerance": data.attrs["tolerance"]})
        columns.append((f"{name}P@L ±", _with_errors(data["precision"].sel(block=block).values)))
        columns.append((f"{name}P'@L ±", _with_errors(tolerant.values)))
    if several:
        columns.append(("best block of\neach walker", [blocks_text(row) for row in data["best_block"].values]))
    columns.append(("maps alike\n(best)" if several else "maps alike",
                    _with_errors(data["self_averaging"].sel(block=BEST).values)))  # fmt: skip
    return table_of(columns)


def contacts_remarks(data: xarray.Dataset) -> list[str]:
    """How precision was counted, and what chance and the reference weights reach."""
    options, several = data.attrs, len(numbered(data)) > 1
    at = {"tolerance": options["tolerance"]}
    lines = [
        "P@L: contacts among the L pairs of highest attention; P'@L: a pair of |i-j| > "
        f"{options['separation']} within {options['tolerance']} sites of a contact counts"
        f"{'; APC' if options['apc'] else ''}. Random scores: "
        f"{data['chance'].item():.3f} and {data['tolerant_chance'].sel(at).item():.3f}."
    ]
    if several:
        lines.append("Best: of each walker, and of each set of ES and OT weights, the block of its highest mean P@L; "
                     "chosen by what it is judged by, it lies a little too high.")  # fmt: skip
    for label in data["weights"].values:
        strict = data["reference_precision"].sel(weights=label, block=BEST).values
        near = data["reference_tolerant_precision"].sel({"weights": label, "block": BEST, **at}).values
        spread = [x.std(ddof=1) if x.size > 1 else np.nan for x in (strict, near)]
        blocks = f", block {blocks_text(data['reference_best_block'].sel(weights=label).values)}" if several else ""
        lines.append(
            f"{label} weights, {strict.size} of them{blocks}: P@L {plus_minus(strict.mean(), spread[0])}, "
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
