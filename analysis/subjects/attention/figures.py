"""Attention maps beside the contact map, and their contact precision."""

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
    STYLE,
    VERMILLION,
    canvas,
    note_open_symbols,
    points,
    reference_strip,
    temperature_axis,
)
from analysis.subjects.attention.measure import BEST, blocks_text, numbered
from analysis.subjects.contacts.precision import candidates, scores

if TYPE_CHECKING:
    import xarray

BLOCK_COLOURS = (BLACK, BLUE, VERMILLION, GREEN, ORANGE)
BRIGHTEST = 0.995
"""Quantile of the scores at which the colour scale ends."""
MAPS_ACROSS = 4


def maps_figure(data: xarray.Dataset, slot: int) -> Figure:
    """Symmetrised mean maps (below the diagonal) and contacts (above): every block, coldest, best and hottest T, ES.

    If best blocks differ between walkers, the last row has the mean of the best blocks, with the block of each walker.
    """
    slots = sorted({0, slot, data.sizes["temperature"] - 1})
    columns = [(f"T = {exponent_form(data['temperature'].values[k])}", data["map"].isel(temperature=k),
                data["best_block"].values[k] if "best_block" in data else np.zeros(1)) for k in slots]  # fmt: skip
    if "ES" in data["weights"].values:
        best = data["reference_best_block"].sel(weights="ES").values if "reference_best_block" in data else np.zeros(1)
        columns.append(("ES weights", data["reference_map"].sel(weights="ES"), best))
    columns = columns[:MAPS_ACROSS]
    alike = all(np.unique(best[best > 0]).size <= 1 for _, _, best in columns)
    rows = numbered(data) if alike else data["block"].values.tolist()
    contacts = data["contact_map"].values if "contact_map" in data else None
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.3 * len(rows), len(rows), len(columns))
        for row, block in enumerate(rows):
            of_block = scores(np.array([maps.sel(block=block).values for _, maps, _ in columns]), data.attrs["apc"])
            for column, (axes, (at, _, best)) in enumerate(zip(panels[row], columns, strict=True)):
                axes.set_title("", loc="left")
                axes.set_title(_map_title(at, block, best, len(rows)), loc="center", fontsize=7)
                image = _map(axes, of_block[column], contacts, _range(of_block))
                axes.set_xlabel("site" if block == rows[-1] else "")
                axes.set_ylabel("" if column else "site")
            figure.colorbar(image, ax=panels[row].tolist(), pad=0.01, aspect=25, label="mean attention")
        if contacts is not None:
            label = "contact (above the diagonal)"
            figure.legend(handles=[Line2D([], [], color=VERMILLION, marker="s", ms=2, ls="none", label=label)],
                          loc="outside upper left")  # fmt: skip
    return figure


def _map_title(at: str, block: str, best: np.ndarray, rows: int) -> str:
    """Title of a map: its block, marked if it is the best one of all walkers, or the best block of each walker."""
    if rows == 1:
        return at
    found = blocks_text(best)
    if block == BEST:
        return f"best block {found}, {at}"
    return f"block {block}{' (best)' if found == block else ''}, {at}"


def _range(maps: np.ndarray) -> tuple[float, float]:
    """Lowest and highest score of some maps (map, L, L), for a common colour bar."""
    values = maps[(..., *candidates(maps.shape[-1]))]
    known = values[np.isfinite(values)]
    return (float(known.min()), float(np.quantile(known, BRIGHTEST))) if known.size else (0.0, 1.0)


def _map(axes: Axes, score: np.ndarray, contacts: np.ndarray | None, ends: tuple[float, float]) -> Any:
    length, (low, high) = len(score), ends
    shown = np.where(np.tril(np.ones_like(score), -1) > 0, score, np.nan)
    edges = (0.5, length + 0.5, length + 0.5, 0.5)
    image = axes.imshow(shown, cmap="Greys", vmin=low, vmax=high, extent=edges, interpolation="nearest")
    if contacts is not None:
        above = np.triu(contacts)
        row, column = np.nonzero(above)
        size = (72 * axes.get_window_extent().width / axes.figure.dpi / length) ** 2 * 0.6
        axes.scatter(column + 1, row + 1, s=size, marker="s", color=VERMILLION, lw=0)
    axes.plot([0.5, length + 0.5], [0.5, length + 0.5], color=GREY, lw=0.5)
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_xticks([1, *range(20, length + 1, 20)])
    axes.set_yticks([1, *range(20, length + 1, 20)])
    return image


def contacts_figure(data: xarray.Dataset) -> Figure:
    """P@L, P'@L, classes of separation and self-averaging against T, with the ES and OT weights."""
    tolerance, separation = data.attrs["tolerance"], data.attrs["separation"]
    temperature, unit = data["temperature"].values, data["temperature"].attrs["unit"]
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.72, 2, 2)
        _precision(panels[0, 0], data, "precision", data["chance"].item())
        panels[0, 0].set_ylabel("precision P@L")
        at = {"tolerance": tolerance}
        _precision(panels[0, 1], data.sel(at), "tolerant_precision", data["tolerant_chance"].sel(at).item())
        panels[0, 1].set_ylabel(f"tolerant precision P'@L\n(|i-j| > {separation}, ± {tolerance} sites)")
        best = data.sel(block=BEST)
        series = []
        for name, colour, marker in zip(data["range"].values, (BLUE, ORANGE, VERMILLION), "os^", strict=True):
            style: dict[str, Any] = {"color": colour, "marker": marker}
            points(panels[1, 0], temperature, best["range_precision"].sel(range=name).values, **style, label=name)
            panels[1, 0].axhline(data["range_chance"].sel(range=name).item(), color=colour, lw=0.7, ls=":")
            found = {w: best["reference_range_precision"].sel(weights=w, range=name).values
                     for w in data["weights"].values}  # fmt: skip
            series.append((found, {**style, "ls": "none"}))
        reference_strip(panels[1, 0], series)
        of_block = " of the best blocks" if len(numbered(data)) > 1 else ""
        panels[1, 0].set(ylabel=f"precision{of_block}, L/2 pairs")
        panels[1, 0].legend(title="separation |i-j|; dots: chance", ncols=3)
        for b, block in enumerate(numbered(data)):
            colour = BLOCK_COLOURS[b % len(BLOCK_COLOURS)]
            for name, marker, line in (("self_averaging", "o", "-"), ("between", "s", "--")):
                values = data[name].sel(block=block).values
                points(panels[1, 1], temperature, values, color=colour, marker=marker, ls=line, ms=3)
        panels[1, 1].set(ylabel="correlation of two snapshots' maps")
        panels[1, 1].legend(handles=[
            Line2D([], [], color=BLACK, marker="o", ms=3, label="of one chain"),
            Line2D([], [], color=BLACK, marker="s", ms=3, ls="--", label="of independent chains"),
        ], loc="upper right")  # fmt: skip
        for axes in panels.flat:
            temperature_axis(axes, temperature, unit)
        for axes in panels.flat[:3]:
            axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
        low, high = panels[1, 1].get_ylim()
        panels[1, 1].set_ylim(low, high + 0.35 * (high - low))  # room for the legend
        note_open_symbols(figure, data)
    return figure


def _precision(axes: Axes, data: xarray.Dataset, name: str, chance: float) -> None:
    """A precision of every block against T, and that of the best block of each walker."""
    temperature, series, blocks = data["temperature"].values, [], numbered(data)
    for b, block in enumerate([*blocks, BEST] if len(blocks) > 1 else blocks):
        style: dict[str, Any] = {"color": BLOCK_COLOURS[b % len(BLOCK_COLOURS)], "marker": "os^vD"[b % 5]}
        label = f"block {block}" if len(blocks) > 1 else "attention"
        if block == BEST:
            style, label = {"color": PURPLE, "marker": "*"}, "best"
        points(axes, temperature, data[name].sel(block=block).values, **style, label=label)
        reference = f"reference_{name}"
        found = {w: data[reference].sel(weights=w, block=block).values for w in data["weights"].values}
        series.append((found, {**style, "ls": "none"}))
    axes.axhline(chance, color=GREY, lw=0.8, ls=":", label="chance")
    axes.legend(ncols=3)
    reference_strip(axes, series)
