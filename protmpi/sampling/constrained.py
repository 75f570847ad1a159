"""Pseudo-Langevin on the sphere |w|² = Q, with one multiplier for all parameters.

Source: docs/method/sphere.md sections 1 to 3.

    a = w/M, w~ the unconstrained position:  find mu with |w~ + mu a|² = Q, then w' = w~ + mu a, Pi += (mu/dt) w
    after the second half kick:              p' -= w' (w'·p'/M) / (w'·w'/M)

Target density: exp(-U/T) sqrt(w·w/M) on the sphere; with `fixman` the potential (T/2) log(w·w/M) is added and it is
exp(-U/T). Sums over parameters are accumulated in float64. A step out of the sphere's reach has a negative
discriminant: its square root is NaN and so is the walker from then on, which costs nothing to carry and which
nobody can overlook; the other walkers of the block are untouched.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from protmpi.sampling.noise import Thermostat
from protmpi.sampling.pseudo_langevin import (
    Gradient,
    Normals,
    PseudoLangevin,
    State,
    drift,
    half_kick,
    second_half_kick,
)


def build(thermostat: Thermostat, gradient: Gradient, normals: Normals, norm2: Tensor, fixman: bool) -> Constrained:
    """The kernel on the spheres of squared radius `norm2` (W, 1), float64."""
    return Constrained(thermostat, gradient, normals, norm2, fixman)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Sum over parameters (W, 1) in float64."""
    return (x * y).sum(-1, keepdim=True, dtype=torch.float64)


def multiplier(unconstrained: Tensor, direction: Tensor, norm2: Tensor) -> Tensor:
    """mu (W, 1) of smallest magnitude with |w~ + mu a|² = Q; NaN where there is none.

    Solves S3 mu² + 2 S1 mu + (S2 - Q) = 0 in the form that does not cancel.
    """
    s1, s2, s3 = dot(unconstrained, direction), dot(unconstrained, unconstrained), dot(direction, direction)
    root = (s1 * s1 - s3 * (s2 - norm2)).sqrt()
    return (norm2 - s2) / (s1 + torch.copysign(root, s1))


def project_momentum(p: Tensor, w: Tensor, direction: Tensor) -> Tensor:
    """Remove from p its part normal to the sphere in the metric of M, so that w·p/M = 0; direction = w/M."""
    return p - w * (dot(direction, p) / dot(direction, w)).to(p.dtype)


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
        unconstrained = drift(w, half, mass, t.dt)
        mu = multiplier(unconstrained, direction, self.norm2)
        half = half.addcmul_(w, (mu / t.dt).to(w.dtype))
        w = unconstrained.addcmul_(direction, mu.to(w.dtype))

        g = self.gradient(w)
        direction = w / mass
        p = second_half_kick(half, self._force(g, w, direction), t.c1, t.dt, state.second_amplitude, self.normals(p))
        p = project_momentum(p, w, direction)
        return replace(state, position=w, momentum=p, gradient=g if t.scheme == "single" else None)

    def _force(self, g: Tensor, w: Tensor, direction: Tensor) -> Tensor:
        """Gradient of U plus that of the Fixman potential (T/2) log(w·w/M), which is T (w/M) / (w·w/M)."""
        if not self.fixman:
            return g
        return g + direction * (self.thermostat.temperature / dot(direction, w)).to(g.dtype)
