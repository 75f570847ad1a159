"""A native structure: the trace of its Cα atoms, and its contact map (figure 1 of the study)."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.show.style import BLACK, GREY, STYLE, canvas
from analysis.subjects.contacts.backbone import Backbone

FINE = 12
"""Pieces of the smooth line through two neighbouring Cα atoms."""
NEAR, FAR = 4.5, 1.8
"""Width of the trace, in points, towards the reader and away from her."""
EDGE = 1.6
"""Width of the white edge beside a piece of the trace, in points."""
SCALE = 10.0
"""Length of the scale bar (Å)."""


def backbone_figure(backbone: Backbone) -> Figure:
    """(a) the chain from N (dark) to C (pale), seen along its shortest axis; (b) its contacts."""
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.48, 1, 2)
        _trace(panels[0, 0], backbone.coordinates)
        _contacts(panels[0, 1], backbone)
    return figure


def _trace(axes: Axes, coordinates: np.ndarray) -> None:
    known = np.flatnonzero(np.isfinite(coordinates).all(axis=1))
    pieces, places = [], []
    for one in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):  # a gap in the chain is left open
        if one.size > 1:
            points, place = _smooth(one, coordinates[one])
            pieces.append(np.stack([points[:-2], points[1:-1], points[2:]], axis=1))  # they overlap, without seams
            places.append(place[:-2])
    segments, place = np.concatenate(pieces), np.concatenate(places)
    depth = segments[:, :, 2].mean(axis=1)
    order = np.argsort(depth)  # from far to near: nearer pieces cover those behind them
    width = np.interp(depth[order], (depth.min(), depth.max()), (FAR, NEAR))
    colours = matplotlib.colormaps["viridis"](place[order] / len(coordinates))
    # a white edge below each piece, so that a strand in front cuts the one behind
    axes.add_collection(
        LineCollection(
            list(np.repeat(segments[order][:, :, :2], 2, axis=0)),
            colors=np.stack([np.ones_like(colours), colours], axis=1).reshape(-1, 4),
            linewidths=np.stack([width + EDGE, width], axis=1).ravel(),
            capstyle="butt",
        )
    )
    for end, name in ((known[0], "N"), (known[-1], "C")):
        x, y, _ = coordinates[end]
        axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", fontweight="bold")
    (left, right), (low, high) = ((values.min(), values.max()) for values in coordinates[known][:, :2].T)
    axes.plot([left, left + SCALE], [low - 4, low - 4], color=BLACK, lw=1.5)
    axes.text(left + SCALE / 2, low - 4.6, f"{SCALE:.0f} Å", ha="center", va="top")
    axes.set(aspect="equal", xlim=(left - 3, right + 5), ylim=(low - 8, high + 3))
    axes.axis("off")


def _smooth(position: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A smooth line through points (n, 3), and the position along the chain at each of its points."""
    from scipy.interpolate import CubicSpline

    place = np.linspace(position[0], position[-1], FINE * (position.size - 1) + 1)
    return (CubicSpline(position, points)(place) if position.size > 2 else
            np.array([np.interp(place, position, axis) for axis in points.T]).T), place  # fmt: skip


def _contacts(axes: Axes, backbone: Backbone) -> None:
    limits = (0.5, backbone.structure.length + 0.5)
    axes.imshow(backbone.structure.contact_map(), cmap="Greys", origin="lower", extent=(*limits, *limits))
    axes.plot(limits, limits, color=GREY, lw=0.6)
    axes.set(xlabel="residue i", ylabel="residue j")
