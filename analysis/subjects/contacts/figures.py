"""Contacts in attention and in the Jacobian of sampled networks: against temperature, and against dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.show.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    canvas,
    note_open_symbols,
    points,
    reference_strip,
    temperature_axis,
)
from analysis.subjects.contacts.heads import ATTENTION
from analysis.subjects.contacts.sampled import GROUPS
from analysis.subjects.contacts.single_pass import JACOBIAN

if TYPE_CHECKING:
    import xarray

COLOURS = {"best head": BLUE, ATTENTION: BLACK, "regression": ORANGE, JACOBIAN: VERMILLION}
MARKERS = {"best head": "o", ATTENTION: "s", "regression": "D", JACOBIAN: "^"}


def style_of(method: str) -> dict[str, Any]:
    return {"color": COLOURS.get(method, GREEN), "marker": MARKERS.get(method, "v")}


def temperature_figure(data: xarray.Dataset) -> Figure:
    """Every criterion against T: rows of single designed sequences and of their averaged scores, beside ES and OT."""
    temperature, unit = data["temperature"].values, data["temperature"].attrs["unit"]
    criteria = data["criterion"].values
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.66, 2, len(criteria))
        for (row, column), axes in np.ndenumerate(panels):
            group, criterion = GROUPS[row], criteria[column]
            series = []
            for method in data["predictor"].values:
                at = {"predictor": method, "group": group, "criterion": criterion}
                style = style_of(method)
                points(axes, temperature, data["precision"].sel(at).values, **style, label=method)
                values = data["reference_precision"].sel(at)
                found = {str(w): values.sel(weights=w).values for w in data["weights"].values}
                series.append((found, {**style, "ls": "none"}))
            _chance(axes, data["chance"].sel(criterion=criterion).item())
            temperature_axis(axes, temperature, unit)
            axes.set_xlabel(axes.get_xlabel() if row else "")
            axes.set_title(str(criterion), fontsize=7)
            axes.set_ylim(0, max(1.1 * axes.get_ylim()[1], 0.1))
            reference_strip(axes, series)
        count = data.attrs["sequences"]
        panels[0, 0].set_ylabel("precision, single sequences")
        panels[1, 0].set_ylabel(f"precision, scores of {count} sequences\naveraged")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=6)
        note_open_symbols(figure, data)
    return figure


def dimension_figure(networks: Sequence[xarray.Dataset]) -> Figure:
    """Precision against embedding dimension: at the best temperature of each method, and of ES weights (crosses)."""
    criteria = networks[0]["criterion"].values
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.36, 1, len(criteria))
        for axes, criterion in zip(panels.flat, criteria, strict=True):
            for method in (ATTENTION, JACOBIAN):
                at = {"predictor": method, "group": GROUPS[0], "criterion": criterion}
                style = {**style_of(method), "ls": "none"}
                with_method = [each for each in networks if method in each["predictor"].values]
                sampled = [each for each in with_method if each.sizes["temperature"]]
                if sampled:
                    best = [_best(each["precision"].sel(at).values) for each in sampled]
                    points(axes, 0.97 * _dimensions(sampled), np.array(best), **style, label=f"{method}, best T")
                trained = [each for each in with_method if "ES" in each["weights"].values]
                if trained:
                    values = [each["reference_precision"].sel(weights="ES", **at).values for each in trained]
                    spread = np.array([(v.mean(), v.std(ddof=1) if v.size > 1 else np.nan) for v in values])
                    points(axes, 1.03 * _dimensions(trained), spread, **{**style, "marker": "x"}, label=f"{method}, ES")
            _chance(axes, networks[0]["chance"].sel(criterion=criterion).item())
            ticks = np.unique(_dimensions(networks)).astype(int).tolist()
            axes.set(xscale="log", xlabel="embedding dimension d", title=str(criterion))
            axes.set_xticks(ticks, [str(d) for d in ticks])
            axes.set_ylim(bottom=0)
            axes.minorticks_off()
        panels[0, 0].set_ylabel("precision, single sequences")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=5)
        note_open_symbols(figure, *(each for each in networks if each.sizes["temperature"]))
    return figure


def _dimensions(networks: Sequence[xarray.Dataset]) -> np.ndarray:
    return np.array([each.attrs["dimension"] for each in networks], dtype=float)


def _best(values: np.ndarray) -> np.ndarray:
    """The row of (temperature, statistic) with the highest mean; NaN where there is none."""
    known = np.isfinite(values[:, 0])
    return np.asarray(values[np.nanargmax(values[:, 0])] if known.any() else np.full(2, np.nan))


def _chance(axes: Axes, value: float) -> None:
    axes.axhline(value, color=GREY, lw=0.8, ls=":", label="chance")
