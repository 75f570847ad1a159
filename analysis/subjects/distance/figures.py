"""Attention against distance at every temperature, and the width of its Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.show.style import (
    BLACK,
    GREY,
    STYLE,
    canvas,
    note_open_symbols,
    points,
    reference_strip,
    slot_colours,
    temperature_axis,
    temperature_bar,
)

if TYPE_CHECKING:
    import xarray


def distance_figure(data: xarray.Dataset) -> Figure:
    """Mean attention in bins of the distance, the width and the amplitude of the Gaussian fitted to it against T."""
    temperature, unit = data["temperature"].values, data["temperature"].attrs["unit"]
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.72, 2, 2)
        left = panels[0, 0]
        for colour, curve in zip(slot_colours(temperature.size), data["curve"].values, strict=True):
            left.plot(data["distance"].values, curve, color=colour)
        if "target" in data:
            left.plot(data["distance"].values, data["target"].values, color=BLACK, ls="--", lw=0.8)
            left.legend(handles=[Line2D([], [], color=BLACK, ls="--", lw=0.8, label="to learn")])
        left.set(xlabel="distance", ylabel="mean attention", ylim=(0, None))
        temperature_bar(figure, left, data["temperature"])
        quantities = {"width": "width s of the Gaussian (distance)", "amplitude": "amplitude a of the Gaussian",
                      "residual": "rms deviation from the Gaussian"}  # fmt: skip
        for axes, (name, label) in zip(panels.flat[1:], quantities.items(), strict=True):
            points(axes, temperature, data[name].values, color=BLACK, marker="o")
            if name == "width" and "target_width" in data:
                axes.axhline(data["target_width"].item(), color=GREY, ls="--", lw=0.8, label="to learn")
                axes.legend()
            if "weights" in data.coords:
                found = {w: data[f"reference_{name}"].sel(weights=w).values for w in data["weights"].values}
                reference_strip(axes, [(found, {"color": BLACK, "marker": "o", "ls": "none"})])
            axes.set_ylabel(label)
            temperature_axis(axes, temperature, unit)
        note_open_symbols(figure, data)
    return figure
