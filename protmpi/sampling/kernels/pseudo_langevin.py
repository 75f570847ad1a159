"""Pseudo-Langevin: the mini-batch noise is part of the thermostat.

Source: docs/method/pseudo-langevin.md sections 1 to 3.

    Pi  = c1 p - (dt/2) g_a(w) + k xi_1
    w'  = w + dt Pi / M
    p'  = c1 (Pi - (dt/2) g_b(w')) + sqrt(k² + m1² v) xi_2

Target density: exp(-U(w)/T) in w and N(0, M T) in p. Double scheme: g_a and g_b come from two independent
mini-batches. Single scheme: g_b of a step is g_a of the next, and the white noise of the first half kick
is reduced to sqrt(k² - 2 c1² v), so that p keeps the same law with half the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from protmpi.sampling.kernels.noise import Thermostat, white_noise

Gradient = Callable[[Tensor], Tensor]
"""Function that returns a fresh mini-batch gradient (W, P) at w (W, P)."""

Normals = Callable[[Tensor], Tensor]
"""Function that returns standard normals in the shape of its argument."""


@dataclass(frozen=True)
class State:
    """W walkers: arrays (W, P). The next step reuses `gradient`; it is None in the double scheme."""

    position: Tensor
    momentum: Tensor
    mass: Tensor
    noise_variance: Tensor
    first_amplitude: Tensor
    second_amplitude: Tensor
    gradient: Tensor | None = None


def build(thermostat: Thermostat, gradient: Gradient, normals: Normals) -> PseudoLangevin:
    """The kernel for given thermostat, gradient and random numbers."""
    return PseudoLangevin(thermostat, gradient, normals)


def half_kick(p: Tensor, g: Tensor, c1: float, dt: float, amplitude: Tensor, xi: Tensor) -> Tensor:
    """First half kick: c1 p - (dt/2) g + amplitude xi."""
    return (c1 * p).sub_(g, alpha=0.5 * dt).addcmul_(amplitude, xi)


def second_half_kick(p: Tensor, g: Tensor, c1: float, dt: float, amplitude: Tensor, xi: Tensor) -> Tensor:
    """Second half kick: c1 (p - (dt/2) g) + amplitude xi."""
    return p.sub(g, alpha=0.5 * dt).mul_(c1).addcmul_(amplitude, xi)


def drift(w: Tensor, p: Tensor, mass: Tensor, dt: float) -> Tensor:
    """w + dt p / M."""
    return w.addcdiv(p, mass, value=dt)


class PseudoLangevin:
    """Unconstrained kernel."""

    def __init__(self, thermostat: Thermostat, gradient: Gradient, normals: Normals) -> None:
        self.thermostat, self.gradient, self.normals = thermostat, gradient, normals

    def init(self, position: Tensor, mass: Tensor, noise_variance: Tensor) -> State:
        """Walkers at `position` with momenta from N(0, M T)."""
        momentum = self.draw_momentum(position, mass, self.normals(position), self.thermostat)
        return self.with_noise(State(position, momentum, mass, noise_variance, mass, mass))

    def with_noise(self, state: State) -> State:
        """The state with the white noise that follows from its masses and its s²."""
        first, second = white_noise(state.noise_variance, state.mass, self.thermostat)
        return replace(state, first_amplitude=first, second_amplitude=second)

    def draw_momentum(self, position: Tensor, mass: Tensor, xi: Tensor, thermostat: Thermostat) -> Tensor:
        """Momenta from N(0, M T), xi standard normal."""
        return (mass * thermostat.temperature).sqrt_().mul_(xi)

    def step(self, state: State) -> State:
        """One step: half kick, drift, half kick."""
        t = self.thermostat
        w, p = state.position, state.momentum
        g = self.gradient(w) if state.gradient is None else state.gradient
        half = half_kick(p, g, t.c1, t.dt, state.first_amplitude, self.normals(p))
        w = drift(w, half, state.mass, t.dt)
        g = self.gradient(w)
        p = second_half_kick(half, g, t.c1, t.dt, state.second_amplitude, self.normals(p))
        return replace(state, position=w, momentum=p, gradient=g if t.scheme == "single" else None)
