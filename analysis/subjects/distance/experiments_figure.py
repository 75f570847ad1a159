"""Experiments on attention that measures distance, beside the published values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.show.style import BLACK, BLUE, GREEN, GREY, ORANGE, STYLE, VERMILLION, canvas, clear
from analysis.subjects.distance.experiments import PUBLISHED_EXPONENT, PUBLISHED_HEAD

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.subjects.distance.experiments import Experiments, Loss

DIMENSIONS = {1: (BLACK, "o"), 2: (BLUE, "s"), 3: (VERMILLION, "^"), 4: (GREEN, "D")}
"""Dimension -> colour and marker."""
PUBLISHED: Any = {"ls": ":", "lw": 0.8, "mfc": "none", "ms": 3}


def experiments_figure(found: Experiments) -> Figure:
    """Loss against exponent, loss against head size, and learning curves with and without rotated structures."""
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.36, 1, 3)
        drawn = ((found.exponent, _exponents, 5), (found.head, _heads, 30), (found.curves, _rotations, 5))
        for axes, (content, draw, room) in zip(panels[0], drawn, strict=True):
            if content:
                draw(axes, found)
                axes.set_yscale("log")
                axes.set_ylim(top=room * axes.get_ylim()[1])  # for the legend
            else:
                clear(axes)
    return figure


def _runs(axes: Axes, losses: dict[Any, Loss], **style: Any) -> None:
    """The mean over the runs as a curve, each run as a point."""
    x = list(losses)
    axes.plot(x, [loss.validation.mean() for loss in losses.values()], color=style["color"])
    for at, loss in losses.items():
        axes.plot([at] * loss.validation.size, loss.validation, ls="none", **style)


def _exponents(axes: Axes, found: Experiments) -> None:
    axes.plot(list(PUBLISHED_EXPONENT), list(PUBLISHED_EXPONENT.values()), color=GREY, marker="s", **PUBLISHED)
    _runs(axes, found.exponent, color=BLACK, marker="o")
    axes.set(xlabel="exponent e of the attention to learn", ylabel="validation loss (L1)")
    axes.legend(loc="upper right", handles=[
        Line2D([], [], color=BLACK, marker="o", label="here"),
        Line2D([], [], color=GREY, marker="s", label="published", **PUBLISHED),
    ])  # fmt: skip


def _heads(axes: Axes, found: Experiments) -> None:
    handles = []
    for dimension, losses in found.head.items():
        colour, marker = DIMENSIONS[dimension]
        published = PUBLISHED_HEAD[dimension]
        axes.plot(np.arange(len(published)) + 1, published, color=colour, marker=marker, **PUBLISHED)
        _runs(axes, losses, color=colour, marker=marker)
        handles.append(Line2D([], [], color=colour, marker=marker, label=f"dimension {dimension}"))
    handles.append(Line2D([], [], color=GREY, marker="s", label="published", **PUBLISHED))
    axes.set(xlabel="head size = embedding dimension", ylabel="validation loss (L1)")
    axes.legend(loc="upper right", handles=handles)


def _rotations(axes: Axes, found: Experiments) -> None:
    """Draw curves against the fraction of the training: epochs of rotated structures hold many copies of each."""
    for turned, curves in found.curves.items():
        for curve in curves:
            share = curve["epoch"] / curve["epoch"][-1]
            colour = BLUE if turned else ORANGE
            axes.plot(share, curve["val_energy"], color=colour, lw=0.8)
            axes.plot(share, curve["train_energy"], color=colour, lw=0.8, ls="--")
    axes.set(xlabel="fraction of the training", ylabel="loss (L1)")
    axes.legend(loc="upper right", handles=[
        Line2D([], [], color=ORANGE, label="as drawn"), Line2D([], [], color=BLUE, label="rotated copies"),
        Line2D([], [], color=GREY, label="validation"), Line2D([], [], color=GREY, ls="--", label="training"),
    ])  # fmt: skip
