"""Noise of the mini-batch gradient, and the masses and white noise that turn it into a thermostat (METHOD 2, 4).

s_i²   variance of the mini-batch gradient of parameter i        v_i = s_i² dt²/4
M_i  = s_i² dt² / (4 rho T m1²)                                  so that v_i = rho M_i T m1²
k_i² = M_i T m1² - v_i                                           white noise that is still missing
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GradientSample = Callable[[Sequence[int]], Tensor]
"""One mini-batch gradient (len(rows), P) for each of the walkers `rows`."""


@dataclass(frozen=True)
class Thermostat:
    """Constants of the thermostat: temperature (W, 1), friction m1, time step dt, scheme "double" or "single"."""

    temperature: Tensor
    m1: float
    dt: float
    scheme: str

    @property
    def c1(self) -> float:
        """Share of the momentum that a half kick keeps, c1² = 1 - m1²."""
        return (1.0 - self.m1**2) ** 0.5

    @property
    def repeated(self) -> float:
        """How often over rho the mini-batch noise counts in the momenta: twice in the single scheme, which reuses it.

        There p = c1 (Pi - (dt/2) g) with Pi' = c1² Pi - (1 + c1²)(dt/2) g: mini-batches supply 2 c1² rho M T of M T.
        """
        return 1.0 if self.scheme == "double" else 2.0 * self.c1**2

    def rows(self, rows: Sequence[int]) -> Thermostat:
        """The thermostat of some of the walkers."""
        return Thermostat(self.temperature[list(rows)], self.m1, self.dt, self.scheme)


def masses(noise_variance: Tensor, rho: Tensor | float, thermostat: Thermostat) -> Tensor:
    """Masses M (W, P) with which mini-batches of gradient variance s² supply the share rho of the thermal noise."""
    t = thermostat
    return noise_variance * (t.dt**2 / (4.0 * t.m1**2)) / (rho * t.temperature)


def noise_share(noise_variance: Tensor, mass: Tensor, thermostat: Thermostat) -> Tensor:
    """rho (W, P): share of the thermal noise that mini-batches supply at the masses M."""
    t = thermostat
    return noise_variance * (t.dt**2 / (4.0 * t.m1**2)) / (mass * t.temperature)


def white_noise(noise_variance: Tensor, mass: Tensor, thermostat: Thermostat) -> tuple[Tensor, Tensor]:
    """Amplitudes (W, P) of the white noise in the first and in the second half kick.

    The second is sqrt(k² + m1² v). The first is k in the double scheme, sqrt(k² - 2 c1² v) in the single scheme, where
    one mini-batch serves two half kicks (METHOD 2). A missing variance below zero is taken as zero: then the
    mini-batch alone overheats the walker, which the kinetic temperature shows.
    """
    t = thermostat
    v = noise_variance * (t.dt**2 / 4.0)
    missing = mass * (t.temperature * t.m1**2) - v
    first = missing if t.scheme == "double" else missing - 2.0 * t.c1**2 * v
    second = missing + t.m1**2 * v
    return first.clamp(min=0.0).sqrt(), second.clamp(min=0.0).sqrt()


class _Welford:
    """Running mean and variance over mini-batches; E[g²] - E[g]² would cancel in float32."""

    def __init__(self, like: Tensor) -> None:
        self.count = 0
        self.mean = torch.zeros_like(like)
        self.squares = torch.zeros_like(like)

    def add(self, sample: Tensor, rows: Sequence[int]) -> None:
        chosen = list(rows)
        self.count += 1
        delta = sample - self.mean[chosen]
        self.mean[chosen] += delta / self.count
        self.squares[chosen] += delta * (sample - self.mean[chosen])

    def variance(self) -> Tensor:
        return self.squares / (self.count - 1)


def estimate_variance(
    sample: GradientSample, like: Tensor, min_extractions: int, max_extractions: int, threshold: float, floor: float
) -> Tensor:
    """Variance s² (rows, P) of the mini-batch gradient at fixed weights, floored at `floor`.

    `min_extractions` mini-batches, then as many again until s moves by less than `threshold` (relative, for all
    parameters of a walker) or `max_extractions` are drawn. Each walker stops on its own, so that its draws
    depend on no other. `like` (rows, P) gives the number of walkers, type and device.
    """
    open_rows = list(range(like.shape[0]))
    moments, result, drawn = _Welford(like), torch.empty_like(like), 0
    while True:
        goal = min(drawn + min_extractions, max_extractions)
        for _ in range(goal - drawn):
            moments.add(sample(open_rows), open_rows)
        previous, drawn = result.clone(), goal
        result[open_rows] = moments.variance()[open_rows].clamp(min=floor)
        if drawn >= max_extractions:
            return result
        if drawn > min_extractions:
            change = (result / previous).sqrt().sub(1.0).abs().amax(dim=1)
            open_rows = [row for row in open_rows if not change[row] <= threshold]
        if not open_rows:
            return result


PAIRS = 16
"""Independent samples of the noise that its correlation is told from: to about a quarter of its value."""


def noise_correlation(sample: GradientSample, noise_variance: Tensor) -> Tensor:
    """How collective the mini-batch noise is at fixed weights: kappa = tr(R²)/P (rows,), R its correlation matrix.

    Independent noise has kappa = 1. The white noise completes the mini-batch noise parameter by parameter, so that each
    parameter is at temperature T; but along an eigenvector of R of eigenvalue l it is T (1 + r rho (l - 1)), r as in
    `Thermostat.repeated`. Weighted by the noise itself these directions are on average at T (1 + r rho (kappa - 1)),
    which the kinetic temperature, a trace, cannot show. From x = (g - g')/sqrt(2 s²) of PAIRS pairs of mini-batches,
    E (x·x')² = tr(R²).
    """
    rows = list(range(len(noise_variance)))
    scale = (2.0 * noise_variance).sqrt()
    x = torch.stack([(sample(rows) - sample(rows)) / scale for _ in range(PAIRS)], dim=1).double()
    products = (x @ x.mT).square()
    across = products.sum((1, 2)) - products.diagonal(dim1=1, dim2=2).sum(1)
    return across / (PAIRS * (PAIRS - 1) * noise_variance.shape[1])
