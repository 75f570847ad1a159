"""Axes of temperature: a ladder fills its axis, however narrow, and its ticks can be told apart."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.show.style import STYLE, temperature_axis


@pytest.mark.parametrize(
    "ends", [(1.6e-3, 2.4e-3), (2e-4, 3e-4), (9e-4, 1.1e-3), (1e-4, 8e-4), (1e-5, 1e-3), (1.0, 4.0)]
)
def test_a_ladder_fills_its_axis_and_has_ticks(ends: tuple[float, float]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.3, 2.0), layout="constrained")  # a third of a page
        axes = figure.subplots()
        temperature_axis(axes, np.geomspace(*ends, 6), "nats")
        figure.canvas.draw()
    low, high = axes.get_xlim()
    assert np.log(ends[1] / ends[0]) > 0.8 * np.log(high / low)
    labels = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    shown = [label for label in labels if low <= label.get_position()[0] <= high]
    assert len({label.get_text() for label in shown}) == len(shown) >= 2
    boxes = sorted((label.get_window_extent().x0, label.get_window_extent().x1) for label in shown)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(boxes)), "labels touch"


def test_a_single_temperature_has_an_axis_around_it() -> None:
    axes = Figure().subplots()
    temperature_axis(axes, np.array([2.3e-5]), "nats")
    low, high = axes.get_xlim()
    assert low < 2.3e-5 < high
