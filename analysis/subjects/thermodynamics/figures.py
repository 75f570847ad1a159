"""<U>, heat capacity, errors and thermostat against T, and the energy against time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.reading.run import Run
from analysis.show.cells import exponent_plus_minus
from analysis.show.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    TWO_COLUMNS,
    VERMILLION,
    letter,
    note_open_symbols,
    points,
    reference_strip,
    slot_colours,
    temperature_axis,
    temperature_bar,
)

if TYPE_CHECKING:
    import xarray

ENERGY_CURVE: dict[str, dict[str, Any]] = {"energy": {"color": BLACK, "marker": "o"}}
ERROR_CURVES: dict[str, dict[str, Any]] = {
    "train_error": {"color": BLACK, "marker": "o", "label": "training"},
    # wide, because validation and test errors often coincide
    "val_error": {"color": BLUE, "marker": "s", "ms": 5.5, "label": "validation"},
    "test_error": {"color": VERMILLION, "marker": "^", "label": "test"},
}
"""Observable -> how its curve is drawn."""

POINTS_PER_TRACE = 1_000
"""Most points that can be distinguished in the width of a page."""


def thermodynamics_figure(run: Run, data: xarray.Dataset) -> Figure:
    """<U>, heat capacity both ways, errors, and kinetic temperature or acceptance, each against T (four panels)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.72 * TWO_COLUMNS), layout="constrained")
        panels = figure.subplots(2, 2)
        for axes, panel in zip(panels.flat, "abcd", strict=True):
            temperature_axis(axes, data["temperature"].values, data["temperature"].attrs["unit"])
            letter(axes, panel)
        _energy_panel(panels[0, 0], run, data)
        _heat_capacity_panel(panels[0, 1], data)
        _error_panel(panels[1, 0], run, data)
        _thermostat_panel(panels[1, 1], data)
        note_open_symbols(figure, data)
    return figure


def _curve(axes: Axes, data: xarray.Dataset, name: str, **style: Any) -> None:
    points(axes, data["temperature"].values, data[name].values, **style)


def _curves_and_references(axes: Axes, run: Run, data: xarray.Dataset, curves: dict[str, dict[str, Any]]) -> None:
    """Curves against T; beside them mean and spread of the ES and OT reference weights."""
    for name, style in curves.items():
        _curve(axes, data, name, **style)
    reference_strip(axes, [(run.references(name), style) for name, style in curves.items()])


def _energy_panel(axes: Axes, run: Run, data: xarray.Dataset) -> None:
    _curves_and_references(axes, run, data, ENERGY_CURVE)
    axes.set_ylabel(f"mean loss ⟨U⟩ ({data['energy'].attrs['unit']})")


def _heat_capacity_panel(axes: Axes, data: xarray.Dataset) -> None:
    _curve(axes, data, "heat_capacity", color=BLUE, marker="o", ls="none", label="var(U)/T²")
    if data.sizes["temperature"] > 1:
        _curve(axes, data, "heat_capacity_derivative", color=ORANGE, marker="s", label="d⟨U⟩/dT", zorder=1)
    peak, error = data["t_star"].item(), data["t_star_sem"].item()
    if np.isfinite(peak):
        axes.axvline(peak, color=GREY, lw=0.8, ls="--", zorder=0, label=f"T* = {exponent_plus_minus(peak, error)}")
        axes.axvspan(max(peak - error, 0.0), peak + error, color=GREY, alpha=0.2, lw=0, zorder=0)
    axes.set_ylabel("heat capacity C ($k_\\mathrm{B}$)")
    bottom, top = axes.get_ylim()
    bottom, top = min(0.0, bottom), _cut(axes, data, top)
    axes.set_ylim(bottom, top + 0.35 * (top - bottom))  # error bars below, the legend above them
    axes.legend(loc="upper right", frameon=True, facecolor="white", edgecolor="none", framealpha=1.0)


def _cut(axes: Axes, data: xarray.Dataset, top: float) -> float:
    """Upper end of the axis of C. Larger values, from chains out of equilibrium, are marked there."""
    slopes = data["heat_capacity_derivative"].values[:, 0]
    most = 3.0 * np.nanmax(slopes) if np.isfinite(slopes).any() else 0.0
    if not 0.0 < most < top:
        return top
    values = data["heat_capacity"].values[:, 0]
    beyond = values > most
    axes.plot(data["temperature"].values[beyond], np.full(beyond.sum(), most), color=BLUE, marker="$\\uparrow$", ms=7,
              ls="none", label="far above")  # fmt: skip
    return most


def _error_panel(axes: Axes, run: Run, data: xarray.Dataset) -> None:
    curves = {name: style for name, style in ERROR_CURVES.items() if name in data}
    _curves_and_references(axes, run, data, curves)
    axes.set_ylabel("error (fraction of wrong guesses)")
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
    """U against step for every replica at every temperature. Draws that do not count are pale."""
    energies = run.by_temperature("energy")
    steps = run.steps("draw")
    thin = slice(None, None, -(-steps.size // POINTS_PER_TRACE))
    slots = run.temperature.size
    colours = slot_colours(slots)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.5 * TWO_COLUMNS), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(0, run.burn_in, color=GREY, alpha=0.2, lw=0)
        visit: dict[str, Any] = {"marker": ".", "ms": 1.5, "ls": "none"} if run.alone else {}
        for slot in range(slots):
            start = data["equilibrium_step"].values[slot]
            for trace in energies[:, slot]:
                axes.plot(steps[thin], trace[thin], color=colours[slot], alpha=0.3, lw=0.7, **visit)
                counts = steps >= start
                axes.plot(steps[counts][thin], trace[counts][thin], color=colours[slot], lw=0.7, **visit)
        axes.set_xlim(0, steps[-1])
        axes.set_xlabel("steps")
        axes.set_ylabel(f"loss U ({data['energy'].attrs['unit']})")
        temperature_bar(figure, axes, data["temperature"])
        handles = [
            Patch(color=GREY, alpha=0.2, lw=0, label="burn-in"),
            Line2D([], [], color=BLACK, alpha=0.3, label="not counted"),
            Line2D([], [], color=BLACK, label="counted"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
