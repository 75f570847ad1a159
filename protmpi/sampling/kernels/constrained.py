"""Pseudo-Langevin on the sphere |w|² = Q, with one multiplier for all parameters.

Source: docs/method/sphere.md sections 1 to 3.

    a = w/M, w~ the unconstrained position:  find mu with |w~ + mu a|² = Q, then w' = w~ + mu a, Pi += (mu/dt) w
    after the second half kick:              p' -= w' (w'·p'/M) / (w'·w'/M)

Target density: exp(-U/T) sqrt(w·w/M) on the sphere; with `fixman` the potential (T/2) log(w·w/M) is added and it is
exp(-U/T). Sums over parameters are accumulated in float64. A step that misses the sphere has a negative discriminant.
Its square root is NaN, and the walker is NaN from then on. This needs no extra test and cannot be overlooked; the other
walkers of the block are not affected.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from protmpi.sampling.kernels.noise import Thermostat
from protmpi.sampling.kernels.pseudo_langevin import (
    Gradient,
    Normals,
    PseudoLangevin,
    State,
    drift,
    half_kick,
    second_half_kick,
)
from protmpi.sampling.kernels.sphere import dot, fixman_slope, project_momentum, return_to_sphere


def build(thermostat: Thermostat, gradient: Gradient, normals: Normals, norm2: Tensor, fixman: bool) -> Constrained:
    """The kernel on the spheres of squared radius `norm2` (W, 1), float64."""
    return Constrained(thermostat, gradient, normals, norm2, fixman)


class Constrained(PseudoLangevin):
    """Norm-constrained kernel."""

    def __init__(
        self, thermostat: Thermostat, gradient: Gradient, normals: Normals, norm2: Tensor, fixman: bool
    ) -> None:
        super().__init__(thermostat, gradient, normals)
        self.norm2, self.fixman = norm2, fixman

    def draw_momentum(self, position: Tensor, mass: Tensor, xi: Tensor, thermostat: Thermostat) -> Tensor:
        """Momenta from N(0, M T) given w·p/M = 0."""
        return project_momentum(super().draw_momentum(position, mass, xi, thermostat), position, position / mass)

    def step(self, state: State) -> State:
        """One step: half kick, drift, back to the sphere, half kick, momentum back to the tangent space."""
        t = self.thermostat
        w, p, mass = state.position, state.momentum, state.mass
        g = self.gradient(w) if state.gradient is None else state.gradient
        direction = w / mass
        half = half_kick(p, self._force(g, w, direction), t.c1, t.dt, state.first_amplitude, self.normals(p))
        w, half, _ = return_to_sphere(drift(w, half, mass, t.dt), half, w, direction, t.dt, self.norm2)

        g = self.gradient(w)
        direction = w / mass
        p = second_half_kick(half, self._force(g, w, direction), t.c1, t.dt, state.second_amplitude, self.normals(p))
        p = project_momentum(p, w, direction)
        return replace(state, position=w, momentum=p, gradient=g if t.scheme == "single" else None)

    def _force(self, g: Tensor, w: Tensor, direction: Tensor) -> Tensor:
        """Gradient of U, and that of the Fixman potential."""
        if not self.fixman:
            return g
        return g + direction * fixman_slope(dot(direction, w), self.thermostat.temperature).to(g.dtype)
