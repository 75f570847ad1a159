"""Noise of the mini-batch gradient, with the masses and the white noise that make it a thermostat.

Source: docs/method/pseudo-langevin.md section 1 and docs/method/noise.md.

s_i²   variance of the mini-batch gradient of parameter i        v_i = s_i² dt²/4
M_i  = s_i² dt² / (4 rho T m1²)                                  so that v_i = rho M_i T m1²
k_i² = M_i T m1² - v_i                                           the missing white noise
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

GradientSample = Callable[[Sequence[int]], Tensor]
"""Function that returns one mini-batch gradient for each of the walkers `rows`, (len(rows), P)."""


@dataclass(frozen=True)
class Thermostat:
    """Constants of the thermostat: temperature (W, 1), friction m1, time step dt, scheme "double" or "single"."""

    temperature: Tensor
    m1: float
    dt: float
    scheme: str
    white_alone: bool = False
    """Whether the white noise is all of the thermal noise, as if mini-batches added none. Directions without
    mini-batch noise are then at T instead of below it; the other directions are above T."""

    @property
    def c1(self) -> float:
        """Factor c1 of the momentum in a half kick, c1² = 1 - m1²."""
        return (1.0 - self.m1**2) ** 0.5

    @property
    def repeated(self) -> float:
        """Factor from rho to the mini-batch noise in the momenta: 2 c1² in the single scheme, which reuses gradients.

        There p = c1 (Pi - (dt/2) g) with Pi' = c1² Pi - (1 + c1²)(dt/2) g: mini-batches supply 2 c1² rho M T of M T.
        """
        return 1.0 if self.scheme == "double" else 2.0 * self.c1**2

    def rows(self, rows: Sequence[int]) -> Thermostat:
        """The thermostat of the walkers `rows`."""
        return replace(self, temperature=self.temperature[list(rows)])


def masses(noise_variance: Tensor, rho: Tensor | float, thermostat: Thermostat) -> Tensor:
    """Masses M (W, P) for which mini-batches of gradient variance s² supply the fraction rho of the thermal noise."""
    t = thermostat
    return noise_variance * (t.dt**2 / (4.0 * t.m1**2)) / (rho * t.temperature)


def noise_share(noise_variance: Tensor, mass: Tensor, thermostat: Thermostat) -> Tensor:
    """rho (W, P): fraction of the thermal noise that mini-batches supply at the masses M."""
    t = thermostat
    return noise_variance * (t.dt**2 / (4.0 * t.m1**2)) / (mass * t.temperature)


def white_noise(noise_variance: Tensor, mass: Tensor, thermostat: Thermostat) -> tuple[Tensor, Tensor]:
    """Amplitudes (W, P) of the white noise in the first and in the second half kick.

    The second is sqrt(k² + m1² v). The first is k in the double scheme, sqrt(k² - 2 c1² v) in the single scheme, where
    one mini-batch serves two half kicks (docs/method/pseudo-langevin.md section 3). A negative missing variance is set
    to zero. The mini-batch noise alone then overheats the walker, and the kinetic temperature shows it. With
    `white_alone` both amplitudes are sqrt(M T) m1.
    """
    t = thermostat
    v = noise_variance * (0.0 if t.white_alone else t.dt**2 / 4.0)
    missing = mass * (t.temperature * t.m1**2) - v
    first = missing if t.scheme == "double" else missing - 2.0 * t.c1**2 * v
    second = missing + t.m1**2 * v
    return first.clamp(min=0.0).sqrt(), second.clamp(min=0.0).sqrt()


class _Welford:
    """Running mean and variance over mini-batches. E[g²] - E[g]² would cancel in float32."""

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

    The estimate adds `min_extractions` mini-batches at a time. It ends when s changes by less than `threshold`
    (relative, for all parameters of a walker) or after `max_extractions`. Each walker ends on its own, so its draws do
    not depend on other walkers. `like` (rows, P) gives the number of walkers, type and device.
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
"""Independent samples of the noise that estimate its correlation, to about a quarter of its value."""


def noise_samples(sample: GradientSample, rows: Sequence[int]) -> Tensor:
    """Samples of the noise at fixed weights (rows, PAIRS, P): (g - g')/sqrt(2) of two mini-batches, PAIRS times."""
    return torch.stack([(sample(rows) - sample(rows)) / 2.0**0.5 for _ in range(PAIRS)], dim=1)


def collective_excess(samples: Tensor, noise_variance: Tensor, mass: Tensor, thermostat: Thermostat) -> Tensor:
    """Excess temperature, over T, of the directions of strongest mini-batch noise, (rows,) float64.

    The white noise completes the mini-batch noise parameter by parameter, as if the noise were independent between
    parameters, so each parameter is at T. Let C be the covariance of the mini-batch noise in units of the thermal
    noise. Its diagonal holds the fractions rho_i. A direction in which C exceeds its diagonal is hotter by r times the
    difference (r as in `Thermostat.repeated`). The average over the noise is r (tr C² - sum rho_i²)/tr C. The kinetic
    temperature is a trace and cannot show it. If all fractions are rho, the average is r rho (kappa - 1) with kappa =
    tr(R²)/P and R the correlation matrix. For `samples` x of `noise_samples`, in the same units, E (x·x')² = tr C².
    """
    found = []
    for x, s2, m, t in zip(samples, noise_variance, mass, thermostat.temperature, strict=True):  # float64 is large
        unit = thermostat.dt**2 / (4.0 * thermostat.m1**2) / (m.double() * t.double())
        share, scaled = s2.double() * unit, x.double() * unit.sqrt()
        products = (scaled @ scaled.T).square()
        trace = (products.sum() - products.diagonal().sum()) / (PAIRS * (PAIRS - 1))
        found.append(thermostat.repeated * (trace - share.square().sum()) / share.sum())
    return torch.stack(found)
