"""Replica exchange and free energies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.show.cells import exponent_form
from analysis.show.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    TWO_COLUMNS,
    VERMILLION,
    canvas,
    letter,
    note_open_symbols,
    points,
    slot_colours,
    temperature_axis,
    temperature_bar,
)
from analysis.statistics.histograms import ENOUGH_OVERLAP

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

TRIPS_SHOWN = 5
"""Most round trips of a walker across the width of a page. With more, lines merge into a band."""
LADDERS_SHOWN = 4
SLOTS_LABELLED = 8
BINS = 30
"""Bins between the 0.1 % quantiles of each histogram of energies."""


def trajectories_figure(run: Run, data: xarray.Dataset) -> Figure:
    """Temperature of three walkers of each ladder against steps, one panel per ladder.

    All walkers of simulated tempering have one panel.
    """
    steps, top = run.steps("draw"), run.temperature.size
    begin = max(run.burn_in, steps[-1] - TRIPS_SHOWN * data["round_trip_steps"].item())
    shown = steps > begin
    slot = run.store.read("slot")[:, shown]
    together = run.store.schema.walkers if run.alone else top
    track = np.where(slot >= 0, run.temperature[slot], np.nan).reshape(-1, together, slot.shape[1])
    trips = data["round_trips"].values.reshape(len(track), -1).sum(axis=1)
    ladders = min(len(track), LADDERS_SHOWN)
    drawn = {0: "lowest", together // 2: "middle", together - 1: "highest"}
    shown_as = {
        walker: f"walker {walker + 1}" if run.alone else f"began at the {name} T" for walker, name in drawn.items()
    }
    colours = dict(zip(sorted(shown_as), (BLUE, ORANGE, VERMILLION), strict=False))
    labelled = np.arange(0, top, -(-top // SLOTS_LABELLED))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.6 + 1.7 * ladders), layout="constrained")
        panels = figure.subplots(ladders, 1, sharex=True, squeeze=False)[:, 0]
        for ladder, axes in enumerate(panels):
            for temperature in run.temperature:
                axes.axhline(temperature, color="#DDDDDD", lw=0.5, zorder=0)
            for walker, colour in colours.items():
                axes.step(steps[shown], track[ladder, walker], where="mid", color=colour, lw=0.9)
            axes.set(yscale="log", ylabel=f"temperature T ({data['temperature'].attrs['unit']})")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_yticks(run.temperature[labelled], [exponent_form(run.temperature[k]) for k in labelled])
            whose = f"{together} walkers" if run.alone else f"ladder {ladder + 1}"
            axes.set_title(f"{whose}: {trips[ladder]} round trips after the burn-in", loc="left")
        panels[-1].set_xlim(steps[shown][0], steps[-1])
        part = f" (the last {steps[-1] - begin:.0f} of {steps[-1]})" if begin > run.burn_in else ""
        panels[-1].set_xlabel(f"steps{part}")
        handles = [Line2D([], [], color=colour, label=shown_as[walker]) for walker, colour in colours.items()]
        grid = Line2D([], [], color="#BBBBBB", lw=0.5, label="temperatures of the ladder")
        figure.legend(handles=[*handles, grid], loc="outside upper left", ncols=4)
    return figure


def overlap_figure(run: Run, data: xarray.Dataset) -> Figure:
    """Histograms of the energy at each temperature, and the acceptance between neighbours."""
    first, slots = run.store.first_measured["draw"], run.temperature.size
    energies = np.moveaxis(run.by_temperature("energy")[:, :, first:], 1, 0).reshape(slots, -1)
    colours = slot_colours(slots)
    unit = data["temperature"].attrs["unit"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.4 * TWO_COLUMNS), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.6, 1.0))
        middle = np.array([np.nanmean(energy) if np.isfinite(energy).any() else np.nan for energy in energies])
        stretch = bool(np.all(np.diff(middle) > 0))
        for energy, colour in zip(energies, colours, strict=True):
            known = _stretched(energy[np.isfinite(energy)], middle) if stretch else energy[np.isfinite(energy)]
            if known.size and np.ptp(known):
                lowest, highest = np.quantile(known, [0.001, 0.999])
                edges = np.linspace(lowest, highest, min(BINS, max(4, int(known.size**0.5))) + 1)
                height = np.histogram(known, edges)[0]
                left.stairs(height / height.max(), edges, color=colour, fill=True, alpha=0.25)
                left.stairs(height / height.max(), edges, color=colour, lw=0.8)
        if stretch:
            labelled = np.arange(0, slots, -(-slots // 4))
            closest = np.diff(middle[labelled]).min() if labelled.size > 1 else middle[0]
            digits = max(0, int(np.ceil(-np.log10(closest))))
            left.set_xticks(labelled, [f"{middle[k]:.{digits}f}" for k in labelled])
        how = ", stretched: ticks at means ⟨U⟩ of temperatures" if stretch else ""
        left.set(xlabel=f"loss U ({unit}){how}", ylabel="histogram / its maximum", ylim=(0, 1.05))
        letter(left, "a")
        temperature_bar(figure, left, data["temperature"])
        between = np.sqrt(run.temperature[1:] * run.temperature[:-1])
        if run.alone:
            right.plot(between, data["overlap"], color=BLACK, marker="o", ls="none", label="swaps would have")
        else:
            dots: dict[str, Any] = {"color": BLACK, "marker": "o", "ls": "none"}
            points(right, between, data["acceptance"].values, **dots, label="accepted swaps")
            right.plot(
                between, data["expected_acceptance"], color=ORANGE, marker="_", ms=7, lw=0.8, label="expected from U"
            )
        temperature_axis(right, run.temperature, unit)
        right.set(ylim=(0, 1), ylabel="acceptance of neighbours")
        letter(right, "b")
        right.legend(loc="best")
        note_open_symbols(figure, data)
    return figure


def _stretched(energies: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Energies on a scale where the means (slot,) are 0, 1, 2, ..., linear between them and beyond the ends."""
    k = np.clip(np.searchsorted(means, energies) - 1, 0, means.size - 2)
    return np.asarray(k + (energies - means[k]) / (means[k + 1] - means[k]))


def flow_figure(data: xarray.Dataset) -> Figure:
    """Fraction of walkers that come from the top against T."""
    temperature, shares = data["temperature"].values, data["flow"].values
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS / 2, 0.4 * TWO_COLUMNS), layout="constrained")
        axes = figure.subplots()
        axes.plot(temperature, np.linspace(0, 1, temperature.size), color=GREY, ls="--", lw=0.8, label="equal steps")
        several = len(shares) > 1
        for number, share in enumerate(shares if several else ()):
            axes.plot(temperature, share, color=BLUE, alpha=0.5, lw=0.7, label="" if number else "each ladder")
        mean = np.ma.masked_invalid(shares).mean(axis=0).filled(np.nan)
        axes.plot(temperature, mean, color=BLACK, marker="o", label="mean of ladders" if several else "all walkers")
        temperature_axis(axes, temperature, data["temperature"].attrs["unit"])
        axes.set(ylim=(-0.03, 1.03), ylabel="flow f: fraction from the top")
        axes.legend(loc="upper left")
    return figure


def visits_figure(run: Run, data: xarray.Dataset) -> Figure:
    """Visits of each temperature of simulated tempering, and the learning of its weight."""
    temperature, slots = data["temperature"], data.sizes["slot"]
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.4, 1, 2)
        left, right = panels[0]
        left.axhline(1.0 / slots, color=GREY, ls="--", lw=0.8, label="even share")
        points(left, temperature.values, data["visits"].values, color=BLACK, marker="o", ls="none", label="visits")
        left.plot(temperature, data["expected_visits"], color=ORANGE, marker="_", ms=7, lw=0.8, label="expected from U")
        temperature_axis(left, temperature.values, temperature.attrs["unit"])
        left.set(ylabel="fraction of the draws", ylim=(0, None))
        left.legend(loc="best")
        right.axvspan(0, run.burn_in, color=GREY, alpha=0.2, lw=0, label="learned; frozen from here on")
        learned = data["log_weight_history"].values - data["log_weight"].values
        for history, colour in zip(learned.T, slot_colours(slots), strict=True):
            right.plot(data["step"], history, color=colour, lw=0.7)
        right.set(xlabel="steps", ylabel="weight g - frozen g", xlim=(0, run.steps("draw")[-1]))
        right.xaxis.set_major_locator(MaxNLocator(4))
        right.legend(loc="best")
        temperature_bar(figure, right, temperature)
        note_open_symbols(figure, data)
    return figure


def free_energy_figure(data: xarray.Dataset) -> Figure:
    """<U>, C, β F and S against T, S against U, and the overlap that decides between MBAR and integration."""
    unit, grid = data["temperature"].attrs["unit"], data["temperature"].values
    ladder, every = data["slot_temperature"].values, (grid.size - 1) // (data.sizes["slot"] - 1)
    panels_of: list[tuple[str, str]] = [
        ("energy", f"mean loss ⟨U⟩ ({unit})"),
        ("heat_capacity", "heat capacity C ($k_\\mathrm{B}$)"),
        ("free_energy", "Δ(βF) from the lowest T"),
        ("entropy", "ΔS from the lowest T ($k_\\mathrm{B}$)"),
    ]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TWO_COLUMNS, 0.62 * TWO_COLUMNS), layout="constrained")
        panels = figure.subplots(2, 3)
        for axes, panel in zip(panels.flat, "abcdef", strict=True):
            letter(axes, panel)
        for axes, (name, label) in zip(panels.flat, panels_of, strict=False):
            _band(axes, grid, data[name].values, every)
            axes.set_ylabel(label)
        _band(panels[1, 1], data["energy"].values[:, 0], data["entropy"].values, every)
        panels[1, 1].set(xlabel=f"mean loss ⟨U⟩ ({unit})", ylabel=panels_of[3][1])
        panels[1, 1].xaxis.set_major_locator(MaxNLocator(4))
        between = np.sqrt(ladder[1:] * ladder[:-1])
        panels[1, 2].plot(between, data["overlap"].values, color=BLACK, marker="o", ls="none")
        panels[1, 2].axhline(ENOUGH_OVERLAP, color=GREY, ls="--", lw=0.8, label="least for MBAR")
        panels[1, 2].set(ylim=(-0.03, 1), ylabel="overlap a of neighbours")
        panels[1, 2].legend(loc="upper left")
        for axes in (*panels.flat[:4], panels[1, 2]):
            temperature_axis(axes, ladder, unit)
            for lower, upper, method in zip(ladder, ladder[1:], data["method"].values, strict=False):
                if method == "integration":
                    axes.axvspan(lower, upper, color=ORANGE, alpha=0.15, lw=0, zorder=0)
        bottom, top = panels[0, 1].get_ylim()
        panels[0, 1].set_ylim(min(0.0, bottom), top)
        handles: list[Any] = [
            Line2D([], [], color=BLACK, marker="o", ms=2.5, label="temperatures of the run, curve between them"),
            Patch(color=BLUE, alpha=0.3, lw=0, label="± of 68 %"),
        ]
        if "integration" in data["method"].values:
            handles.append(Patch(color=ORANGE, alpha=0.15, lw=0, label="integrated: too few draws in common for MBAR"))
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
        note_open_symbols(figure, data)
    return figure


def _band(axes: Axes, x: np.ndarray, values: np.ndarray, every: int) -> None:
    """A curve with its error as a band, and a dot at every temperature of the run, open if there is no error."""
    mean, error = values.T
    axes.fill_between(x, mean - error, mean + error, color=BLUE, alpha=0.3, lw=0)
    axes.plot(x, mean, color=BLACK, lw=0.9)
    for sound, fill in ((np.isfinite(error), BLACK), (np.isnan(error), "white")):
        at = np.flatnonzero(sound[::every]) * every
        axes.plot(x[at], mean[at], color=BLACK, mfc=fill, marker="o", ms=2.5, ls="none")
