"""Figures fit for a paper: colour-blind safe (Okabe and Ito), units on every axis, error bars of one standard error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from analysis.run import REFERENCES, Run
from analysis.tables import exponent_form, exponent_plus_minus

if TYPE_CHECKING:
    import xarray

BLACK, ORANGE, BLUE, VERMILLION, GREY = "#000000", "#E69F00", "#0072B2", "#D55E00", "#999999"

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

ENERGY_CURVE: dict[str, dict[str, Any]] = {"energy": {"color": BLACK, "marker": "o"}}
ERROR_CURVES: dict[str, dict[str, Any]] = {
    "train_error": {"color": BLACK, "marker": "o", "label": "training"},
    # wide and open, because validation and test errors often coincide
    "val_error": {"color": BLUE, "marker": "s", "ms": 6, "mfc": "none", "label": "validation"},
    "test_error": {"color": VERMILLION, "marker": "^", "label": "test"},
}
"""Observable -> how its curve is drawn."""

MARGIN = 1.4
"""Factor in T that is left free on both sides of the ladder."""

POINTS_PER_TRACE = 1_000
"""More points than this cannot be told apart in the width of a page."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the suffix names."""
    with matplotlib.rc_context(STYLE):  # resolution and fonts are looked up now, not when the figure was drawn
        figure.savefig(path)


def thermodynamics_figure(run: Run, data: xarray.Dataset) -> Figure:
    """<U>, heat capacity both ways, errors, and kinetic temperature or acceptance, each against T (four panels)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.72 * TWO_COLUMNS), layout="constrained")
        panels = figure.subplots(2, 2)
        lowest, highest = data["temperature"].values[[0, -1]]
        margin = max(MARGIN, np.sqrt(10.0 * lowest / highest))  # a decade at least, for a labelled tick
        edges = (lowest / margin, highest * margin)
        for axes, letter in zip(panels.flat, "abcd", strict=True):
            axes.set(xscale="log", xlim=edges)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(f"temperature T ({data['temperature'].attrs['unit']})")
            axes.set_title(f"({letter})", loc="left", fontweight="bold")
        _energy_panel(panels[0, 0], run, data)
        _heat_capacity_panel(panels[0, 1], data)
        _error_panel(panels[1, 0], run, data)
        _thermostat_panel(panels[1, 1], data)
    return figure


def _curve(axes: Axes, data: xarray.Dataset, name: str, **style: Any) -> None:
    mean, sem = data[name].values.T
    known = np.isfinite(mean)
    axes.errorbar(data["temperature"].values[known], mean[known], np.nan_to_num(sem[known]), **style)


def _curves_and_references(axes: Axes, run: Run, data: xarray.Dataset, curves: dict[str, dict[str, Any]]) -> None:
    """Curves against T; beside them, on the same scale, mean and spread of the ES and OT reference weights."""
    for name, style in curves.items():
        _curve(axes, data, name, **style)
    found = {name: run.references(name) for name in curves}
    labels = [label for label in REFERENCES if any(label in values for values in found.values())]
    if not labels:
        return
    strip = axes.inset_axes((1.03, 0, 0.1 * len(labels), 1), sharey=axes)
    beside = np.linspace(-0.2, 0.2, len(curves)) if len(curves) > 1 else [0.0]
    for (name, values), shift in zip(found.items(), beside, strict=True):
        for label, points in values.items():
            spread = points.std(ddof=1) if points.size > 1 else 0.0
            strip.errorbar(labels.index(label) + shift, points.mean(), spread, **curves[name])
    strip.set_xticks(range(len(labels)), labels)
    strip.set_xlim(-0.6, len(labels) - 0.4)
    strip.tick_params(left=False, labelleft=False)
    strip.spines["left"].set_visible(False)


def _energy_panel(axes: Axes, run: Run, data: xarray.Dataset) -> None:
    _curves_and_references(axes, run, data, ENERGY_CURVE)
    axes.set_ylabel(f"mean loss ⟨U⟩ ({data['energy'].attrs['unit']})")


def _heat_capacity_panel(axes: Axes, data: xarray.Dataset) -> None:
    _curve(axes, data, "heat_capacity", color=BLUE, marker="o", ls="none", label="var(U)/T²")
    if data.sizes["temperature"] > 1:
        _curve(axes, data, "heat_capacity_derivative", color=ORANGE, marker="s", label="d⟨U⟩/dT", zorder=1)
    peak, error = data["t_star"].item(), data["t_star_sem"].item()
    if np.isfinite(peak) and not data["t_star_at_edge"].item():
        axes.axvline(peak, color=GREY, lw=0.8, ls="--", zorder=0, label=f"T* = {exponent_plus_minus(peak, error)}")
        if np.isfinite(error):
            axes.axvspan(max(peak - error, 0.0), peak + error, color=GREY, alpha=0.2, lw=0, zorder=0)
    axes.set_ylabel("heat capacity C ($k_\\mathrm{B}$)")
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(0.0, bottom), top + 0.35 * (top - min(0.0, bottom)))  # error bars below, the legend above them
    axes.legend(loc="upper right", frameon=True, facecolor="white", edgecolor="none", framealpha=1.0)


def _error_panel(axes: Axes, run: Run, data: xarray.Dataset) -> None:
    curves = {name: style for name, style in ERROR_CURVES.items() if name in data}
    _curves_and_references(axes, run, data, curves)
    axes.set_ylabel("error (share of wrong guesses)")
    if curves:
        axes.legend()


def _thermostat_panel(axes: Axes, data: xarray.Dataset) -> None:
    """Kinetic temperature, or the acceptance of a sampler that draws its momenta anew."""
    if "acceptance" in data:
        _curve(axes, data, "acceptance", color=BLACK, marker="o", ls="none")
        axes.set_ylabel("acceptance probability")
        axes.set_ylim(0, 1)
        return
    axes.axhline(1.0, color=GREY, lw=0.8, zorder=0)
    if "kinetic_ratio" in data:
        _curve(axes, data, "kinetic_ratio", color=BLACK, marker="o", ls="none")
    axes.set_ylabel("kinetic temperature / T")


def energy_traces_figure(run: Run, data: xarray.Dataset) -> Figure:
    """U against step for every replica at every temperature; pale where a draw does not count."""
    energies = run.by_temperature("energy")
    steps = run.steps("draw")
    thin = slice(None, None, -(-steps.size // POINTS_PER_TRACE))
    slots = run.temperature.size
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, slots))  # its last yellow is too pale on white
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.5 * TWO_COLUMNS), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(0, run.burn_in, color=GREY, alpha=0.2, lw=0)
        for slot in range(slots):
            start = data["equilibrium_step"].values[slot]
            for trace in energies[:, slot]:
                axes.plot(steps[thin], trace[thin], color=colours[slot], alpha=0.3, lw=0.7)
                counts = steps >= start
                axes.plot(steps[counts][thin], trace[counts][thin], color=colours[slot], lw=0.7)
        axes.set_xlim(0, steps[-1])
        axes.set_xlabel("steps")
        axes.set_ylabel(f"loss U ({data['energy'].attrs['unit']})")
        temperature_bar(figure, axes, run, colours)
        handles = [
            Patch(color=GREY, alpha=0.2, lw=0, label="burn-in"),
            Line2D([], [], color=BLACK, alpha=0.3, label="not counted"),
            Line2D([], [], color=BLACK, label="in equilibrium"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def temperature_bar(figure: Figure, axes: Axes, run: Run, colours: np.ndarray) -> None:
    """A colour bar with the temperature of each slot, `colours` (slot, rgba)."""
    slots = run.temperature.size
    scale = matplotlib.cm.ScalarMappable(BoundaryNorm(np.arange(slots + 1) - 0.5, slots), ListedColormap(colours))
    bar = figure.colorbar(scale, ax=axes, pad=0.02, aspect=30)
    shown = np.arange(0, slots, -(-slots // 16))  # more labels than this would touch
    bar.set_ticks(shown.tolist(), labels=[exponent_form(run.temperature[slot]) for slot in shown])
    bar.ax.tick_params(which="both", length=0)
    bar.outline.set_visible(False)
    bar.set_label(f"temperature T ({run.observables['energy'].unit})")
