"""A network as a chain of boxes, with the arrays and the number of parameters of each (figure 2 of the study)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from analysis.show.style import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, STYLE, TWO_COLUMNS, VERMILLION


class Step(NamedTuple):
    """One operation on the values of a site, and its arrays."""

    title: str
    arrays: tuple[str, ...]
    width: str
    """Number of values of a site afterwards, in terms of the model: d, 2d or m. It is not shown if empty."""
    colour: str


class Bypass(NamedTuple):
    """A sum: values after step `begin`, times `arrays` if any, are added to the values after step `end`."""

    begin: int
    end: int
    arrays: tuple[str, ...] = ()


class Plan(NamedTuple):
    """Steps in their order. The steps of `repeated` form a block, whose number begins the names of their arrays."""

    steps: tuple[Step, ...]
    bypasses: tuple[Bypass, ...]
    repeated: range


EMBEDDING = Step("embedding\n+ positions", ("E",), "d", GREY)
PLANS = {
    "transformer": Plan(
        (
            EMBEDDING,
            Step("attention", ("Wqk", "Wvc"), "d", BLUE),
            Step("layer norm", ("LN1.gain", "LN1.bias"), "d", GREEN),
            Step("relu\n+ positions", ("W1", "b1"), "m", ORANGE),
            Step("linear", ("W2", "b2"), "d", ORANGE),
            Step("layer norm", ("LN2.gain", "LN2.bias"), "d", GREEN),
            Step("output", ("Wo", "bo"), "", VERMILLION),
        ),
        (Bypass(0, 1), Bypass(2, 4)),
        range(1, 6),
    ),
    "pooling": Plan(
        (
            EMBEDDING,
            Step("layer norm", ("LN1.gain", "LN1.bias"), "d", GREEN),
            Step("and mean of\nknown sites", (), "2d", SKY),
            Step("relu\n+ positions", ("W1", "b1"), "m", ORANGE),
            Step("relu", ("W2", "b2"), "m", ORANGE),
            Step("layer norm", ("LN2.gain", "LN2.bias"), "m", GREEN),
            Step("output", ("Wo", "bo"), "", VERMILLION),
        ),
        (Bypass(1, 4, ("Wr", "br")),),
        range(0),
    ),
}
"""Kind of model -> its diagram."""
HALF, HEIGHT = 0.37, 0.42


def arrays_drawn(kind: str) -> set[str]:
    """Names of the arrays in the diagram of this kind of model, for the first block; none without a diagram."""
    if kind not in PLANS:
        return set()
    plan = PLANS[kind]
    names = {f"0.{name}" if place in plan.repeated else name
             for place, step in enumerate(plan.steps) for name in step.arrays}  # fmt: skip
    return names | {name for bypass in plan.bypasses for name in bypass.arrays}


def diagram_figure(model: Mapping[str, Any], layout: Sequence[Mapping[str, Any]]) -> Figure:
    """`model`: the section of a configuration; `layout`: name and shape of every array, all of `arrays_drawn`."""
    plan = PLANS[model["kind"]]
    shapes = {str(entry["name"]): tuple(entry["shape"]) for entry in layout}
    widths = {"d": model["d"], "2d": 2 * model["d"], "m": model["m"]}
    with matplotlib.rc_context({**STYLE, "font.size": 7}):
        figure = Figure(figsize=(TWO_COLUMNS, 0.2 * TWO_COLUMNS), layout="constrained")
        axes = figure.subplots()
        axes.set(xlim=(-1.15, len(plan.steps) + 0.15), ylim=(-0.85, 0.95))
        axes.axis("off")
        axes.text(-0.9, 0, "masked\nsequence", ha="center", va="center")
        for place, step in enumerate(plan.steps):
            names = [f"0.{name}" if place in plan.repeated else name for name in step.arrays]
            _box(axes, place, step, [(name, shapes[name]) for name in names])
            _arrow(axes, place - 1, place)
            if step.width:
                axes.text(place + 0.5, -0.09, f"{widths[step.width]}", ha="center", va="top", fontsize=6,
                          bbox={"facecolor": "white", "lw": 0, "pad": 0.5})  # fmt: skip
        last = len(plan.steps) - 1
        _arrow(axes, last, last + 1)
        axes.text(last + 0.87, 0, "amino\nacids", ha="center", va="center")
        for bypass in plan.bypasses:
            _bypass(axes, bypass, [(name, shapes[name]) for name in bypass.arrays])
        if plan.repeated:
            _frame(axes, plan.repeated, model["blocks"])
    return figure


def _box(axes: Axes, x: float, step: Step, arrays: list[tuple[str, tuple[int, ...]]]) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - HALF, -HEIGHT / 2), 2 * HALF, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=(*matplotlib.colors.to_rgb(step.colour), 0.22), edgecolor=step.colour, lw=0.8,
        )
    )  # fmt: skip
    axes.text(x, 0, step.title, ha="center", va="center", fontsize=6.5)
    axes.text(x, -HEIGHT / 2 - 0.06, _arrays(arrays), ha="center", va="top", fontsize=5.5, color="#444444")


def _arrays(arrays: list[tuple[str, tuple[int, ...]]]) -> str:
    """Names and shapes, one line each, and the count of their numbers."""
    lines = [f"{name.removeprefix('0.')}  {' × '.join(map(str, shape))}" for name, shape in arrays]
    total = sum(int(np.prod(shape)) for _, shape in arrays)
    return "\n".join([*lines, f"{total:,}"] if arrays else [])


def _arrow(axes: Axes, begin: int, end: int) -> None:
    axes.annotate("", (end - HALF, 0), (begin + HALF, 0), arrowprops={"arrowstyle": "-|>", "lw": 0.7, "color": BLACK,
                  "shrinkA": 1, "shrinkB": 1, "mutation_scale": 6})  # fmt: skip


def _bypass(axes: Axes, bypass: Bypass, arrays: list[tuple[str, tuple[int, ...]]]) -> None:
    """Draw a line from the arrow after one box, over the others, to a plus on the arrow after the last one."""
    begin, end, top = bypass.begin + 0.54, bypass.end + 0.47, 0.44
    axes.plot([begin, begin, end, end], [0, top, top, 0.07], color=BLACK, lw=0.7)
    axes.plot(end, 0, "o", ms=7, mfc="white", mec=BLACK, mew=0.7, zorder=3)
    axes.text(end, -0.005, "+", ha="center", va="center", zorder=4)
    if arrays:
        text = "linear   " + _arrays(arrays).replace("\n", "   ")
        axes.text((begin + end) / 2, top + 0.04, text, ha="center", va="bottom", fontsize=5.5, color="#444444")


def _frame(axes: Axes, steps: range, blocks: int) -> None:
    left, right = steps[0] - 0.54, steps[-1] + 0.47
    axes.add_patch(FancyBboxPatch((left, -0.74), right - left, 1.36, boxstyle="round,pad=0,rounding_size=0.08",
                   facecolor="none", edgecolor=GREY, lw=0.8, ls="--"))  # fmt: skip
    text = f"{blocks} blocks, one after the other" if blocks > 1 else "one block"
    axes.text((left + right) / 2, 0.67, text, ha="center", va="bottom", fontsize=6.5)
