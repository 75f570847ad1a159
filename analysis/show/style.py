"""Style of figures for a paper: colour-blind safe (Okabe and Ito), units on every axis, error bars that hold the mean
with 68 % (`analysis.statistics.chains`), open symbols without error bars out of equilibrium."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from analysis.show.cells import exponent_form
from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

BLACK, ORANGE, BLUE, VERMILLION, GREY = "#000000", "#E69F00", "#0072B2", "#D55E00", "#999999"
GREEN, PURPLE, SKY = "#009E73", "#CC79A7", "#56B4E9"

TWO_COLUMNS = 7.0  # inches, the text width of a journal page
STYLE: Any = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "errorbar.capsize": 1.5,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text stays text in a vector editor
}

MARGIN, MOST_MARGIN = 0.08, 1.4
"""Free margin on both sides of a ladder: a fraction of its range in ln T, and the largest factor in T."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the suffix names."""
    with matplotlib.rc_context(STYLE):  # matplotlib reads resolution and fonts when it saves, not when it draws
        figure.savefig(path)


def write_figures(figures: dict[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as NAME.png and NAME.pdf. Raises ProtmpiError when the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProtmpiError(f"{folder}: no figures can be written here: {error.strerror}") from None
    paths = [folder / f"{name}.{suffix}" for name in figures for suffix in ("png", "pdf")]
    for path in paths:
        save(figures[path.stem], path)
    return paths


def letter(axes: Axes, panel: str) -> None:
    """Write (a), (b), ... above the left corner of a panel."""
    axes.set_title(f"({panel})", loc="left", fontweight="bold")


def temperature_axis(axes: Axes, temperature: np.ndarray, unit: str) -> None:
    """Set a logarithmic x axis, a little wider than the ladder, with at least three ticks."""
    margin = min(MOST_MARGIN, (temperature[-1] / temperature[0]) ** MARGIN) if temperature.size > 1 else MOST_MARGIN
    low, high = temperature[0] / margin, temperature[-1] * margin
    axes.set(xscale="log", xlim=(low, high), xlabel=f"temperature T ({unit})")
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = _few_ticks(low, high)
    if ticks.size:
        axes.set_xticks(ticks, [exponent_form(t) for t in ticks])
        axes.xaxis.set_minor_locator(NullLocator())


def _few_ticks(low: float, high: float) -> np.ndarray:
    """Ticks of a range without two whole powers of ten: 1, 2, 5 in each decade, or equal steps in narrower ranges."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    if np.sum((low <= decades) & (decades <= high)) >= 2:
        return np.array([])
    equal = np.asarray(MaxNLocator(3, min_n_ticks=3).tick_values(low, high))
    for ticks in (np.outer(decades, (1, 2, 5)).ravel(), equal):
        found = ticks[(low <= ticks) & (ticks <= high)]
        if found.size >= 3:
            break
    return found


def slot_colours(slots: int) -> np.ndarray:
    """One colour for each temperature, cold to hot (slot, rgba)."""
    return np.asarray(matplotlib.colormaps["viridis"](np.linspace(0, 0.92, slots)))  # the last yellow is too pale


def temperature_bar(figure: Figure, axes: Any, temperature: xarray.DataArray) -> None:
    """A colour bar with the temperature and the colour of each slot."""
    slots = temperature.size
    scale = matplotlib.cm.ScalarMappable(
        BoundaryNorm(np.arange(slots + 1) - 0.5, slots), ListedColormap(slot_colours(slots))
    )
    bar = figure.colorbar(scale, ax=axes, pad=0.02, aspect=30)
    shown = np.arange(0, slots, -(-slots // 16))  # more labels would touch
    bar.set_ticks(shown.tolist(), labels=[exponent_form(temperature.values[slot]) for slot in shown])
    bar.ax.tick_params(which="both", length=0)
    bar.outline.set_visible(False)
    bar.set_label(f"temperature T ({temperature.attrs['unit']})")


def canvas(height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure as wide as a page, its height `height` times its width, and its panels (row, column) with letters."""
    figure = Figure(figsize=(TWO_COLUMNS, height * TWO_COLUMNS), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(panels.flat, "abcdefghijklmnopqrstuvwxyz", strict=False):
        letter(axes, panel)
    return figure, panels


def clear(axes: Axes) -> None:
    """Leave a panel empty."""
    axes.axis("off")
    axes.set_title("", loc="left")


def points(axes: Axes, x: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """Draw a curve through means with their errors, `values` (x, statistic). Points without an error are open.

    Unknown means are left out.
    """
    mean, sem = values.T
    known, sound = np.isfinite(mean), np.isfinite(mean) & np.isfinite(sem)
    line = {key: value for key, value in style.items() if key in ("color", "ls", "lw", "zorder", "alpha")}
    symbol = {key: value for key, value in style.items() if key not in ("ls", "label")} | {"ls": "none"}
    axes.plot(x[known], mean[known], **line)
    above = {"zorder": symbol.get("zorder", 2) + 0.5}  # another curve must not hide it
    axes.plot(x[known & ~sound], mean[known & ~sound], mfc="white", **symbol | above)
    axes.errorbar(x[sound], mean[sound], sem[sound], **symbol)
    if "label" in style:
        axes.plot([], [], **style)


def note_open_symbols(figure: Figure, *datasets: xarray.Dataset) -> None:
    """Explain open symbols in the legend, if some of the data are not in equilibrium."""
    if any((data["not_in_equilibrium"] != "").any() for data in datasets):
        symbol = Line2D([], [], color=BLACK, marker="o", mfc="white", ls="none", label="not in equilibrium: no error")
        figure.legend(handles=[symbol], loc="outside lower right")


def reference_strip(axes: Axes, series: list[tuple[dict[str, np.ndarray], dict[str, Any]]]) -> None:
    """Draw mean and spread of the values of reference weights beside a panel, on its scale.

    `series`: for each curve of the panel its values, label (ES, OT) -> (reference,), and how it is drawn.
    """
    from analysis.reading.references import REFERENCES

    labels = [label for label in REFERENCES if any(label in values for values, _ in series)]
    if not labels:
        return
    strip = axes.inset_axes((1.03, 0, 0.13 * len(labels), 1), sharey=axes)
    beside = np.linspace(-0.25, 0.25, len(series)) if len(series) > 1 else [0.0]
    for (values, style), shift in zip(series, beside, strict=True):
        for label, found in values.items():
            spread = found.std(ddof=1) if found.size > 1 else 0.0
            strip.errorbar(labels.index(label) + shift, found.mean(), spread, **style)
    strip.set_xticks(range(len(labels)), labels)
    strip.set_xlim(-0.6, len(labels) - 0.4)
    strip.tick_params(left=False, labelleft=False)
    strip.spines["left"].set_visible(False)
