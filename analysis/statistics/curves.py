"""<U>, C, β F and S as curves of T, between temperatures with known energies.

Results are arrays (..., 2 + draw): [value, error of the shape, response to each draw of all slots]. They keep their
correlations. `sem` computes their errors. Curves are `reweighted` by MBAR or `integrated` from means, and `joined`.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from analysis.statistics.histograms import Slot
from analysis.statistics.mbar import Mbar

POINTS = 12
"""Points of the curves per interval of the ladder."""


def sem(results: np.ndarray, ladder: list[Slot]) -> np.ndarray:
    """Errors of results (..., 2 + draw): [value, error of the shape, response to each draw of all slots].

    Each slot adds the scatter of its responses, times its draws per effective sample, scaled to the error of its mean.
    A shape adds its whole error. Results that depend on a slot out of equilibrium are NaN.
    """
    total = results[..., 1] ** 2
    ends = np.cumsum([2] + [s.draws for s in ladder])
    for slot, start, stop in zip(ladder, ends, ends[1:], strict=False):
        scatter = results[..., start:stop].var(axis=-1)
        error2 = slot.widening**2 * slot.draws**2 / slot.samples * scatter
        total = total + np.where(scatter > 0.0, error2, 0.0)
    return np.sqrt(total)


def means(ladder: list[Slot]) -> np.ndarray:
    """<U> of each slot from its own draws, as results (slot, 2 + draw)."""
    results = np.zeros((len(ladder), 2 + sum(s.draws for s in ladder)))
    start = 2
    for row, slot in zip(results, ladder, strict=True):
        stop = start + slot.draws
        row[0] = slot.energies.mean()
        row[start:stop] = (slot.energies - row[0]) / slot.draws
        start = stop
    return results


def integrated(
    temperature: np.ndarray, energy: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change of β F since the first of the temperatures `grid`, <U> and C there, from <U> at some `temperature`.

    Results (point, 2 + draw) each; linear in the results `energy` (temperature, 2 + draw).
    """
    from scipy.interpolate import CubicHermiteSpline, make_interp_spline

    identity = np.eye(temperature.size)
    degree: Literal[1, 2] = 2 if temperature.size > 2 else 1
    cubic = CubicHermiteSpline(temperature, identity, np.gradient(identity, temperature, axis=0, edge_order=degree))
    straight = make_interp_spline(temperature, identity, k=1)
    # ∫ U dβ = -∫ U/T d ln T, by Gauss's rule between neighbouring points: exact to rounding for these short steps
    node, weight = np.polynomial.legendre.leggauss(6)
    log, half = np.log(grid), np.diff(np.log(grid)) / 2.0
    between = np.exp(log[:-1, None] + half[:, None] * (1.0 + node))
    results = []
    for shape in (cubic, straight):
        pieces = -np.einsum("pn,pnk->pk", half[:, None] * weight / between, shape(between))
        free = np.concatenate([np.zeros((1, temperature.size)), np.cumsum(pieces, axis=0)])
        results.append([free @ energy, shape(grid) @ energy, shape.derivative()(grid) @ energy])
    for smooth, edged in zip(*results, strict=True):
        smooth[:, 1] = smooth[:, 0] - edged[:, 0]
    free, mean, capacity = results[0]
    return free, mean, capacity


def reweighted(
    ladder: list[Slot], first: int, last: int, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same at the temperatures `grid` from slot `first` to slot `last`, by MBAR of the draws of these slots."""
    block = ladder[first : last + 1]
    mbar = Mbar(np.array([1.0 / s.temperature for s in block]), [s.energies for s in block])
    start = 2 + sum(s.draws for s in ladder[:first])
    results = np.zeros((3, grid.size, 2 + sum(s.draws for s in ladder)))
    for point, temperature in enumerate(grid):
        for result, found in zip(results[:, point], mbar.at(1.0 / temperature), strict=True):
            result[0] = found[0]
            result[start : start + found.size - 1] = found[1:]
    free, energy, variance = results
    return free, energy, variance / grid[:, None] ** 2


def joined(ladder: list[Slot], by_mbar: np.ndarray, grid: np.ndarray) -> dict[str, np.ndarray]:
    """The curves of all blocks of intervals of one method, one after the other.

    Where two blocks meet, β F is continuous. <U> there comes from MBAR, and the integration starts from it.
    """
    free, energy, capacity = np.zeros((3, grid.size, 2 + sum(s.draws for s in ladder)))
    steps, mean = np.zeros_like(free[:-1]), means(ladder)
    temperature = np.array([s.temperature for s in ladder])
    ends = np.flatnonzero(np.diff(by_mbar, prepend=not by_mbar[0], append=not by_mbar[-1]))
    blocks = list(itertools.pairwise(ends.tolist()))
    for first, last in sorted(blocks, key=lambda block: not by_mbar[block[0]]):  # MBAR blocks first
        points = slice(first * POINTS, last * POINTS + 1)
        if by_mbar[first]:
            found = reweighted(ladder, first, last, grid[points])
            mean[first : last + 1] = found[1][::POINTS]
            keep = slice(None)
        else:
            found = integrated(temperature, mean, grid[points])
            keep = slice(int(first > 0), -1 if last < by_mbar.size else None)
        steps[points.start : points.stop - 1] = np.diff(found[0], axis=0)
        energy[points][keep], capacity[points][keep] = found[1][keep], found[2][keep]
    free[1:] = np.cumsum(steps, axis=0)
    beta = 1.0 / grid[:, None]
    entropy = beta * energy - beta[0] * energy[0] - free
    free[0] = entropy[0] = 0.0  # exactly, by definition
    return {"energy": energy, "heat_capacity": capacity, "free_energy": free, "entropy": entropy}
