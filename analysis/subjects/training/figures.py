"""Learning curves: losses, errors and |w|² over the epochs of independent runs."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.show.style import BLACK, BLUE, GREY, STYLE, VERMILLION, canvas
from analysis.subjects.training.measure import Training

PANELS = (
    (("train_energy", BLUE, "training"), ("val_energy", VERMILLION, "validation")),
    (("train_error", BLUE, "training"), ("val_error", VERMILLION, "validation")),
    (("norm2", BLACK, "|w|²"),),
)
LABELS = ("loss U (nats)", "fraction of wrong residues", "|w|²")
MARKS = {"ES": "o", "OT": "s"}


def training_figure(training: Training) -> Figure:
    """One line per run, inits dashed; on the references ES (circles) and OT (squares)."""
    with matplotlib.rc_context(STYLE):
        figure, panels = canvas(0.36, 1, 3)
        for axes, lines, label in zip(panels[0], PANELS, LABELS, strict=True):
            for name, colour, _ in lines:
                for curve in training.inits:
                    axes.plot(curve["epoch"], curve[name], color=colour, ls=":", alpha=0.7)
                for curve in training.references:
                    axes.plot(curve["epoch"], curve[name], color=colour, alpha=0.7)
                _marks(axes, training, name, colour)
            axes.set(xscale="log", xlabel="epoch", ylabel=label)
        panels[0, 2].axhline(training.norm2, color=GREY, lw=0.6, ls="--", zorder=0)
        figure.legend(handles=_legend(), loc="outside upper left", ncols=7)
    return figure


def _marks(axes: Axes, training: Training, name: str, colour: str) -> None:
    found = training.marks()[name]
    for weights, marker in MARKS.items():
        epochs, values = training.epochs[weights], found.sel(weights=weights).values
        axes.plot(epochs, values, ls="none", marker=marker, mfc="white", mec=colour, mew=1.0, zorder=3)


def _legend() -> list[Line2D]:
    def line(label: str, **style: object) -> Line2D:
        return Line2D([], [], label=label, **style)  # type: ignore[arg-type]

    empty = {"ls": "none", "mfc": "white", "mec": BLACK}
    return [
        line("training", color=BLUE), line("validation", color=VERMILLION),
        line("references", color=BLACK), line("inits", color=BLACK, ls=":"),
        *(line(weights, marker=marker, **empty) for weights, marker in MARKS.items()),
        line("Q", color=GREY, lw=0.6, ls="--"),
    ]  # fmt: skip
