"""Noise of the mini-batch gradient, and the masses and white noise that turn it into a thermostat.

Source: docs/method/pseudo-langevin.md section 1 and docs/method/noise.md.

s_i²   variance of the mini-batch gradient of parameter i        v_i = s_i² dt²/4
M_i  = s_i² dt² / (4 rho T m1²)                                  so that v_i = rho M_i T m1²
k_i² = M_i T m1² - v_i                                           white noise that is still missing
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    white_alone: bool = False
    """Whether the white noise is all of the thermal noise, as if mini-batches gave none: directions without noise of
    theirs are then at T, and not below it by the shares that the white noise makes room for; the others are above."""

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
        return replace(self, temperature=self.temperature[list(rows)])


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
    one mini-batch serves two half kicks (docs/method/pseudo-langevin.md section 3). A missing variance below zero is
    taken as zero: then the mini-batch alone overheats the walker, which the kinetic temperature shows. With
    `white_alone` both are sqrt(M T) m1.
    """
    t = thermostat
    v = noise_variance * (0.0 if t.white_alone else t.dt**2 / 4.0)
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


def noise_samples(sample: GradientSample, rows: Sequence[int]) -> Tensor:
    """The noise itself at fixed weights, PAIRS times (rows, PAIRS, P): (g - g')/sqrt(2) of two mini-batches."""
    return torch.stack([(sample(rows) - sample(rows)) / 2.0**0.5 for _ in range(PAIRS)], dim=1)


def collective_excess(samples: Tensor, noise_variance: Tensor, mass: Tensor, thermostat: Thermostat) -> Tensor:
    """How much too hot the directions are in which mini-batch noise is strongest, relative to T, (rows,) float64.

    The white noise completes the mini-batch noise parameter by parameter, as if that were independent between them, so
    that each parameter is at T. But with C the covariance of the mini-batch noise in units of the thermal noise, its
    diagonal the shares rho_i, a direction in which C has more than its diagonal is hotter by r times the difference (r
    as in `Thermostat.repeated`). On average over the noise that is r (tr C² - sum rho_i²)/tr C, which the kinetic
    temperature, a trace, cannot show; r rho (kappa - 1) with kappa = tr(R²)/P, R the correlation matrix, where all
    shares are rho. From `samples` x of `noise_samples`, in the same units, E (x·x')² = tr C².
    """
    found = []
    for x, s2, m, t in zip(samples, noise_variance, mass, thermostat.temperature, strict=True):  # float64 is large
        unit = thermostat.dt**2 / (4.0 * thermostat.m1**2) / (m.double() * t.double())
        share, scaled = s2.double() * unit, x.double() * unit.sqrt()
        products = (scaled @ scaled.T).square()
        trace = (products.sum() - products.diagonal().sum()) / (PAIRS * (PAIRS - 1))
        found.append(thermostat.repeated * (trace - share.square().sum()) / share.sum())
    return torch.stack(found)
