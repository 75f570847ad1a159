"""Sampled weights: overlaps between snapshots, gains of the layer norms and the dimension that remains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.show.cells import exponent_form
from analysis.show.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    canvas,
    clear,
    note_open_symbols,
    points,
    reference_strip,
    slot_colours,
    temperature_axis,
    temperature_bar,
)
from analysis.subjects.weights.gains import last_block
from analysis.subjects.weights.overlaps import WHOLE

if TYPE_CHECKING:
    import xarray

COLOURS = (BLACK, BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY)
KINDS = {"E": BLACK, "Wqk": BLUE, "LN1.gain": VERMILLION, "LN2.gain": GREEN, "Wo": ORANGE, WHOLE: PURPLE}
"""Arrays whose mean overlap is drawn against T, each in its colour."""
PANELS = {
    "output, Wqk": {"Wo": ORANGE, "Wqk": BLUE, "bo": GREY},
    "embedding, Wvc": {"E": BLACK, "Wvc": SKY},
    "layer norms": {"LN1.gain": VERMILLION, "LN2.gain": GREEN},
}
"""Panels of the study: the arrays in each panel, and their colours."""
LEAST_BINS, MOST_BINS = 25, 120
"""Bins over the width of a distribution, and over the whole panel."""


def kind_of(group: str) -> str:
    """ "0.LN1.gain" -> "LN1.gain": the array, without its block."""
    head, _, tail = group.partition(".")
    return tail if head.isdigit() else group


def overlaps_figure(data: xarray.Dataset, slot: int) -> Figure:
    """Distributions of q at one temperature, as in the study, the mean of q against T and its decay in time."""
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.62, 2, 3)
        for axes, (title, kinds) in zip(panels[0], PANELS.items(), strict=True):
            groups = [g for g in data["group"].values if kind_of(g) in kinds]
            _distributions(axes, data, slot, groups, kinds)
            axes.set_title(title, loc="center")
        panels[0, 0].set_ylabel(f"density, T = {exponent_form(data['temperature'].values[slot])}")
        _against_temperature(panels[1, 0], data)
        _decay(figure, panels[1, 1], data)
        clear(panels[1, 2])
        handles, labels = panels[1, 0].get_legend_handles_labels()
        lines = [Line2D([], [], color=BLACK), Line2D([], [], color=BLACK, ls="--")]
        panels[1, 2].legend([*lines, *handles], ["pairs of one chain", "pairs of independent chains", *labels],
                            loc="center")  # fmt: skip
        note_open_symbols(figure, data)
    return figure


def layers_figure(data: xarray.Dataset, slot: int) -> Figure:
    """Distributions of q of every array at one temperature, a panel for each kind, a colour for each block."""
    groups = [str(g) for g in data["group"].values]
    kinds = list(dict.fromkeys(map(kind_of, groups)))
    blocks = sorted({g.partition(".")[0] for g in groups if g.partition(".")[0].isdigit()})
    columns = 4
    rows = -(-len(kinds) // columns)
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.2 * rows, rows, columns)
        for axes in panels.flat[len(kinds) :]:
            clear(axes)
        for axes, kind in zip(panels.flat, kinds, strict=False):
            for group in groups:
                if kind_of(group) == kind:
                    block = group.partition(".")[0]
                    colour = COLOURS[blocks.index(block)] if block in blocks else BLACK
                    _distributions(axes, data, slot, [group], {kind: colour}, legend=False)
            axes.set_title(kind if kind != WHOLE else "all parameters", loc="center")
        handles = [Line2D([], [], color=COLOURS[i], label=f"block {int(b) + 1}") for i, b in enumerate(blocks)]
        handles.append(Line2D([], [], color=GREY, ls="--", label="independent chains"))
        figure.legend(handles=handles, loc="outside upper left", ncols=5)
    return figure


def _distributions(axes: Axes, data: xarray.Dataset, slot: int, groups: list[str], colours: dict[str, Any],
                   legend: bool = True) -> None:  # fmt: skip
    """Densities of q, arrays of the same kind in different blocks in the same colour."""
    drawn = [
        (group, relation, data["pairs"].sel(group=group, relation=relation).values[slot])
        for group in groups
        for relation in ("within", "between")
    ]
    drawn = [(group, relation, counts) for group, relation, counts in drawn if counts.sum()]
    axes.set_xlabel("overlap q")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if not drawn:
        axes.text(0.5, 0.5, "too few snapshots", transform=axes.transAxes, ha="center", color=GREY)
        return
    q = data["q_bin"].values
    total = sum(counts for _, _, counts in drawn)
    seen = np.flatnonzero(total)
    margin = max(5, (seen[-1] - seen[0]) // 20)
    first, last = max(0, seen[0] - margin), seen[-1] + margin
    widths = [np.ptp(np.flatnonzero(counts)) + 1 for _, _, counts in drawn]
    merge = max(1, min(int(np.median(widths)) // LEAST_BINS, (last - first) // LEAST_BINS),
                (last - first) // MOST_BINS)  # fmt: skip
    edges = np.arange(first, min(last, q.size - 1) + 1, merge)
    bin_width = q[1] - q[0]
    x = np.append(q[edges], q[edges[-1]] + merge * bin_width) - bin_width / 2.0
    for group, relation, counts in drawn:
        heights = np.add.reduceat(counts, edges)
        kind, within = kind_of(group), relation == "within"
        label = kind if within and group in (kind, f"0.{kind}") else None  # once for all blocks
        axes.stairs(heights / heights.max(), x, color=colours[kind], ls="-" if within else "--", label=label)
    axes.set_xlim(q[first], q[0] + bin_width * last)
    axes.set_ylim(0, 1.25)
    if legend:
        axes.legend(loc="upper left", ncols=3, handlelength=1.0, columnspacing=0.7, borderaxespad=0.1)


def _against_temperature(axes: Axes, data: xarray.Dataset) -> None:
    """Mean q of a few kinds against T, averaged over blocks, within and between chains."""
    temperature = data["temperature"].values
    for kind, colour in KINDS.items():
        groups = [g for g in data["group"].values if kind_of(g) == kind]
        if not groups:
            continue
        mean = data["q"].sel(group=groups).mean("group")
        for relation, line in (("within", "-"), ("between", "--")):
            points(axes, temperature, mean.sel(relation=relation).values, color=colour, marker="o", ms=2.5, ls=line,
                   label=kind if relation == "within" else None)  # fmt: skip
    temperature_axis(axes, temperature, data["temperature"].attrs["unit"])
    axes.set_ylabel("mean overlap ⟨q⟩")


def _decay(figure: Figure, axes: Axes, data: xarray.Dataset) -> None:
    """q(t) of all parameters, a line for each temperature."""
    decay, lag = data["decay"].sel(group=WHOLE).values, data["lag"].values
    for values, colour in zip(decay, slot_colours(len(decay)), strict=True):
        known = np.isfinite(values)
        axes.plot(np.append(0, lag[known]), np.append(1.0, values[known]), color=colour, lw=0.9)
    axes.set(xlabel="time between snapshots t (steps)", ylabel="q(t), all parameters")
    temperature_bar(figure, axes, data["temperature"])


def gains_figure(data: xarray.Dataset, slot: int) -> Figure:
    """Distributions of the gains of each layer norm of the last block, and the elements that remain against T.

    At one temperature, and those of the ES and OT weights.
    """
    layers = last_block(data)
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.36, 1, len(layers) + 1)
        value = data["value"].values
        for axes, layer in zip(panels[0], layers, strict=False):
            pick: dict[str, Any] = {"kind": "gain", "layer": layer}
            sampled = data["histogram"].sel(pick).values[slot]
            series = [(f"sampled, T = {exponent_form(data['temperature'].values[slot])}", sampled, BLUE)]
            for label, colour in (("ES", BLACK), ("OT", ORANGE)):
                if label in data["weights"].values:
                    counted = data["reference_histogram"].sel({**pick, "weights": label}).values
                    series.append((label, counted, colour))
            for label, counts, colour in series:
                _density(axes, value, counts, color=colour, label=label, fill=colour == BLUE)
            least = data["threshold"].sel(layer=layer).values[slot]
            if least > 0:
                for side in (-least, least):
                    axes.axvline(side, color=GREY, lw=0.8, ls="--", label="useless between" if side < 0 else None)
            axes.set(xlabel=f"gain of {layer}", ylabel="density", ylim=(0, None))
            axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
            axes.legend(loc="upper left")
        _remaining(panels[0, -1], data)
        note_open_symbols(figure, data)
    return figure


def _density(axes: Axes, value: np.ndarray, counts: np.ndarray, fill: bool, **style: Any) -> None:
    """A histogram as a density. Neighbouring bins with few counts are merged."""
    if not counts.sum():
        return
    merge = max(1, int(value.size // max(12, min(60, 2.5 * counts.sum() ** (1 / 3)))))
    edges = np.arange(0, value.size, merge)
    width = value[1] - value[0]
    x = np.append(value[edges] - width / 2, value[-1] + width / 2)
    height = np.add.reduceat(counts, edges) / counts.sum() / np.diff(x)
    if fill:
        axes.stairs(height, x, fill=True, alpha=0.25, color=style["color"])
    axes.stairs(height, x, lw=1.0, **style)


def _remaining(axes: Axes, data: xarray.Dataset) -> None:
    """Elements outside of the peak at zero against T, beside those of ES and OT."""
    temperature, series = data["temperature"].values, []
    many = data.sizes["layer"] > 4
    for index, layer in enumerate(data["layer"].values):
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "marker": "os^vDP*X"[index % 8], "ms": 3}
        points(axes, temperature, data["remaining"].values[index], **style, label=str(layer))
        found = {label: data["reference_remaining"].sel(layer=layer, weights=label, statistic=["mean"]).values
                 for label in data["weights"].values}  # fmt: skip
        series.append((found, {**style, "ls": "none"}))
    temperature_axis(axes, temperature, data["temperature"].attrs["unit"])
    axes.set(ylabel="elements that remain", ylim=(0, 1.45 * data["elements"].values.max()))
    axes.legend(loc="upper left", ncols=4 if many else 2, fontsize=5.5 if many else 7, columnspacing=0.6,
                handlelength=1.0)  # fmt: skip
    reference_strip(axes, series)
