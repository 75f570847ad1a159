"""Contacts in attention maps as text: table and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import means_with_errors, plus_minus, table_of
from analysis.show.equilibrium import temperature_column
from analysis.subjects.attention.measure import BEST, blocks_text, numbered

if TYPE_CHECKING:
    import xarray
    from rich.table import Table


def contacts_table(data: xarray.Dataset) -> Table:
    """P@L and P'@L of every block and of the best blocks at each temperature, with the best block of each walker."""
    several = len(numbered(data)) > 1
    columns = [temperature_column(data)]
    for block in data["block"].values if several else [BEST]:
        name = ("best\n" if block == BEST else f"block {block}\n") if several else ""
        tolerant = data["tolerant_precision"].sel({"block": block, "tolerance": data.attrs["tolerance"]})
        columns.append((f"{name}P@L ±", means_with_errors(data["precision"].sel(block=block).values)))
        columns.append((f"{name}P'@L ±", means_with_errors(tolerant.values)))
    if several:
        columns.append(("best block of\neach walker", [blocks_text(row) for row in data["best_block"].values]))
    columns.append(("maps alike\n(best)" if several else "maps alike",
                    means_with_errors(data["self_averaging"].sel(block=BEST).values)))  # fmt: skip
    return table_of(columns)


def contacts_remarks(data: xarray.Dataset) -> list[str]:
    """The definition of precision, and the values of random scores and reference weights."""
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
