"""Several networks in one figure: energies, errors and contact precision, beside those of ES and OT.

Against T/T* where every network has a T*, else against T: one scale for all curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    canvas,
    note_open_symbols,
    points,
    reference_strip,
    temperature_axis,
)
from analysis.subjects.attention.measure import BEST

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

COLOURS = (BLACK, BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
MARKERS = "os^vDP*"


class Network(NamedTuple):
    """A run and its results."""

    label: str
    run: Run
    data: xarray.Dataset
    """Its thermodynamics."""
    attention: xarray.Dataset | None
    """None if there is no attention or no contact map."""


Series = Callable[[Network], tuple[np.ndarray, dict[str, np.ndarray]] | None]
"""Values (temperature, statistic) of a network and those of its reference weights, or None."""


def style_of(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def thermodynamics_figure(networks: Sequence[Network]) -> Figure:
    """Mean loss, specific heat, validation and test error, with a colour for each network (figure 3)."""
    panels_of: list[tuple[str, Series]] = [
        ("mean loss ⟨U⟩ (nats)", lambda n: (n.data["energy"].values, n.run.references("energy"))),
        ("specific heat (d⟨U⟩/dT)/P ($k_\\mathrm{B}$)", _specific_heat),
        ("validation error", lambda n: _observable(n, "val_error")),
        ("test error", lambda n: _observable(n, "test_error")),
    ]
    return _figure(networks, panels_of, 0.74, 2, 2)


def contacts_figure(networks: Sequence[Network]) -> Figure:
    """P@L and P'@L of the best block of each walker of each network against T/T* (figure 7)."""
    with_maps = [n.attention for n in networks if n.attention is not None]
    tolerance, separation = with_maps[0].attrs["tolerance"], with_maps[0].attrs["separation"]
    panels_of: list[tuple[str, Series]] = [
        ("precision P@L", lambda n: _precision(n, "precision", {})),
        (f"tolerant precision P'@L\n(|i-j| > {separation}, ± {tolerance} sites)",
         lambda n: _precision(n, "tolerant_precision", {"tolerance": tolerance})),
    ]  # fmt: skip
    figure = _figure(networks, panels_of, 0.42, 1, 2)
    chance = [with_maps[0]["chance"].item(), with_maps[0]["tolerant_chance"].sel({"tolerance": tolerance}).item()]
    for axes, value in zip(figure.axes, chance, strict=False):
        axes.axhline(value, color=GREY, lw=0.8, ls=":", zorder=0)
    return figure


def _observable(network: Network, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    return (network.data[name].values, network.run.references(name)) if name in network.data else None


def _specific_heat(network: Network) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    parameters = sum(int(np.prod(entry["shape"])) for entry in network.run.store.attributes["parameter_layout"])
    return network.data["heat_capacity_derivative"].values / parameters, {}


def _precision(network: Network, name: str, at: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    if network.attention is None:
        return None
    best = network.attention.sel({"block": BEST, **at})
    references = {w: best[f"reference_{name}"].sel(weights=w).values for w in best["weights"].values}
    return best[name].values, references


def _figure(
    networks: Sequence[Network], panels_of: list[tuple[str, Series]], height: float, rows: int, columns: int
) -> Figure:
    """Panels with a common legend."""
    scaled = all(np.isfinite(network.data["t_star"].item()) for network in networks)
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(height, rows, columns)
        for axes, (label, series_of) in zip(panels.flat, panels_of, strict=True):
            strips = []
            for index, network in enumerate(networks):
                found = series_of(network)
                if found is None:
                    continue
                x = network.data["temperature"].values / (network.data["t_star"].item() if scaled else 1.0)
                points(axes, x, found[0], **style_of(index), label=network.label)
                strips.append((found[1], {**style_of(index), "ls": "none"}))
            reference_strip(axes, strips)
            axes.set_ylabel(label)
            _temperature_scale(axes, networks, scaled)
        handles: dict[str, Any] = {}
        for axes in panels.flat:
            for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(name, handle)
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3)
        note_open_symbols(figure, *(network.data for network in networks))
    return figure


def _temperature_scale(axes: Axes, networks: Sequence[Network], scaled: bool) -> None:
    if not scaled:
        temperature = np.concatenate([network.data["temperature"].values for network in networks])
        temperature_axis(axes, np.sort(temperature), networks[0].data["temperature"].attrs["unit"])
        return
    axes.set(xscale="log", xlabel="temperature T/T*")
    axes.axvline(1.0, color=GREY, lw=0.6, ls="--", zorder=0)
    low, high = axes.get_xlim()
    middle = np.sqrt(low * high)
    axes.set_xlim(min(low, middle / 4), max(high, middle * 4))
