"""Attention against Cα distance, its width against T, and the recovery of residues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.show.cells import exponent_form
from analysis.show.style import (
    BLACK,
    BLUE,
    GREY,
    STYLE,
    VERMILLION,
    canvas,
    note_open_symbols,
    points,
    reference_strip,
    slot_colours,
    temperature_axis,
    temperature_bar,
)
from analysis.subjects.chains.measure import ALL

if TYPE_CHECKING:
    import xarray

FEWEST_PAIRS = 1e-3
"""Bins with less than this fraction of the fullest one are not drawn."""


def profiles_figure(data: xarray.Dataset) -> Figure:
    """A row for each block: attention against distance, and width and amplitude of its Gaussian against T."""
    temperature, unit = data["temperature"].values, data["temperature"].attrs["unit"]
    blocks, heads = data.sizes["block"], [head for head in data["head"].values if head != ALL]
    drawn = data["pairs"].values > FEWEST_PAIRS * data["pairs"].values.max()
    distance = data["distance"].values[drawn]
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.3 * blocks, blocks, 3)
        for row, block in zip(panels, data["block"].values, strict=True):
            of_block = data.sel(block=block)
            layer = of_block.sel(head=ALL)
            for colour, profile in zip(slot_colours(temperature.size), layer["profile"].values, strict=True):
                row[0].plot(distance, profile[drawn], color=colour)
            if "ES" in data["weights"].values:
                row[0].plot(distance, layer["reference_profile"].sel(weights="ES").mean("reference").values[drawn],
                            color=BLACK, ls="--", lw=0.8)  # fmt: skip
            row[0].axhline(1.0, color=GREY, lw=0.7, ls=":")
            row[0].set(xlabel="Cα distance r (Å)", ylabel=f"block {block}: attention × length", ylim=(0, None))
            for axes, (name, label) in zip(
                row[1:], (("width", "width s (Å)"), ("amplitude", "amplitude a")), strict=True
            ):
                for head in heads:
                    points(
                        axes, temperature, of_block[name].sel(head=head).values, color=GREY, lw=0.6, ms=2, marker="o"
                    )
                points(axes, temperature, layer[name].values, color=BLACK, marker="o")
                found = {label: layer[f"reference_{name}"].sel(weights=label).values
                         for label in data["weights"].values}  # fmt: skip
                reference_strip(axes, [(found, {"color": BLACK, "marker": "o", "ls": "none"})])
                known = of_block[name].sel(statistic="mean").notnull()
                if not known.any():
                    axes.text(0.5, 0.5, "no fall with distance", transform=axes.transAxes, ha="center", color=GREY)
                highest = axes.get_ylim()[1] if known.any() else 1.0
                # the width of a nearly flat head is larger than any distance and would hide the others
                axes.set(ylabel=label, ylim=(0, min(highest, distance[-1]) if name == "width" else highest))
                temperature_axis(axes, temperature, unit)
        temperature_bar(figure, panels.ravel().tolist(), data["temperature"])
        figure.legend(
            handles=[
                Line2D([], [], color=BLACK, marker="o", label="mean over heads"),
                Line2D([], [], color=GREY, marker="o", ms=2, label="each head"),
                Line2D([], [], color=BLACK, ls="--", lw=0.8, label="ES weights (left)"),
            ],
            loc="outside upper center",
            ncols=3,
        )
        note_open_symbols(figure, data)
    return figure


def residues_figure(data: xarray.Dataset, slot: int) -> Figure:
    """Perplexity and recovery against T, and amino acid by amino acid at one temperature beside the ES weights."""
    temperature, unit = data["temperature"].values, data["temperature"].attrs["unit"]
    acids = [str(acid) for acid in data["amino_acid"].values if acid != ALL]
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.6, 2, 2)
        for (left, right), name in zip(panels, ("perplexity", "recovery"), strict=True):
            everything = data.sel(amino_acid=ALL)
            points(left, temperature, everything[name].values, color=BLACK, marker="o")
            found = {label: everything[f"reference_{name}"].sel(weights=label).values
                     for label in data["weights"].values}  # fmt: skip
            reference_strip(left, [(found, {"color": BLACK, "marker": "o", "ls": "none"})])
            left.set_ylabel(f"{name} of all test sites")
            temperature_axis(left, temperature, unit)
            each, at = data.sel(amino_acid=acids), np.arange(len(acids))
            series: list[tuple[np.ndarray, dict[str, Any]]] = [
                (
                    each[name].values[slot],
                    {"color": BLUE, "marker": "o", "label": f"T = {exponent_form(temperature[slot])}"},
                )
            ]
            if "ES" in data["weights"].values:
                means = each[f"reference_{name}"].sel(weights="ES").mean("reference").values
                series.append((np.stack([means, np.full_like(means, np.nan)], -1),
                               {"color": VERMILLION, "marker": "x", "label": "ES weights"}))  # fmt: skip
            for values, style in series:
                points(right, at, values, ls="none", **style)
            right.set_xticks(at, acids)
            right.set(xlabel="true amino acid", ylabel=name)
        panels[0, 1].set_yscale("log")
        panels[0, 1].set_ylim(top=4.0 * panels[0, 1].get_ylim()[1])  # room for the legend
        panels[0, 1].legend(ncols=2, loc="upper right")
        note_open_symbols(figure, data)
    return figure
