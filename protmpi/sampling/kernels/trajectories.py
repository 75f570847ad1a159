"""Full-batch trajectories with a Metropolis test: Langevin dynamics, on the sphere |w|² = Q or not, exact at any step.

Source: docs/method/trajectories.md sections 1 to 3.

    p ~ N(0, M T), made tangent                                                            a fresh momentum
    n times:   p -= (h/2) g;   w~ = w + h M⁻¹p,  w' = w~ + mu a,  |w'|² = Q,  p += (mu/h) w;   p -= (h/2) g'
    between:   p <- c p + sqrt(1 - c²) N(0, M T), made tangent                             partial refreshment
    accept with min(1, exp(-ΔH/T)),   H = U(w) + (T/2) log(w·a) + p²/(2M),   a = M⁻¹w

g is the gradient of U and of the Fixman potential (T/2) log(w·a), made tangent, so that momenta stay tangent (RATTLE).
ΔH is summed over the steps of the second line alone, because refreshment preserves the law of p. Target density:
exp(-U/T) on the sphere, and exp(-U/T) sqrt(w·a) without `fixman`. With c = 1 this is hybrid Monte Carlo. With c < 1 it
is Langevin dynamics with one Metropolis test for n steps.

A drift along the tangent ends outside of the sphere, |w~|² = Q + |h M⁻¹p|². Where the line along a meets the sphere,
both mu are negative, and the smallest |mu| is that with w'·a > 0. Since w·a' = w'·a, the reverse drift finds w by the
same rule: every drift that ends on the sphere can be reversed. If the line misses the sphere, the walker is NaN and its
trajectory is rejected.

Duane et al. 1987; Andersen 1983; Brubaker et al. 2012; Riou-Durand and Vogrinc, arXiv 2202.13230; Lelièvre, Rousset and
Stoltz, arXiv 1807.02356.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from protmpi.sampling.kernels.pseudo_langevin import Normals
from protmpi.sampling.kernels.sphere import (
    dot,
    fixman_potential,
    fixman_slope,
    normal_part,
    project_momentum,
    return_to_sphere,
)

EnergyGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Full-batch energies (W, 1), float64, and gradients (W, P) at w (W, P)."""


@dataclass(frozen=True)
class State:
    """W walkers on their trajectories.

    Position, tangent momentum, direction a = M⁻¹w and tangent gradient g, (W, P) each; energy U, potential
    U + (T/2) log(w·a) and error ΔH since the start of the trajectory, (W, 1) float64; whether every step since then
    ended on the sphere and so can be reversed, (W, 1) bool.
    """

    position: Tensor
    momentum: Tensor
    direction: Tensor
    gradient: Tensor
    energy: Tensor
    potential: Tensor
    error: Tensor
    reversible: Tensor

    def where(self, condition: Tensor, other: State) -> State:
        """This state where `condition` (W, 1) is true, `other` elsewhere."""
        return State(*(torch.where(condition, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


@dataclass
class Trajectories:
    """Kernel at temperatures (W, 1) with masses M (W, P). It is on the sphere if `norm2` (W, 1), float64, is given."""

    temperature: Tensor
    mass: Tensor
    energy_gradient: EnergyGradient
    normals: Normals
    norm2: Tensor | None = None
    fixman: bool = True

    def init(self, position: Tensor) -> State:
        """Walkers at rest at `position`."""
        rest, nothing = torch.zeros_like(position), torch.zeros_like(self.temperature, dtype=torch.float64)
        direction = position / self.mass
        state = State(position, rest, direction, rest, nothing, nothing, nothing, nothing == 0.0)
        return self._with_forces(state)

    def start(self, state: State) -> State:
        """Begin a new trajectory with fresh momenta and error zero."""
        return replace(self.refresh(state, 0.0), error=torch.zeros_like(state.error),
                       reversible=torch.ones_like(state.reversible))  # fmt: skip

    def refresh(self, state: State, kept: float) -> State:
        """p <- c p + sqrt(1 - c²) N(0, M T) with c = `kept`, made tangent."""
        fresh = ((1.0 - kept**2) * self.temperature * self.mass).sqrt_().mul_(self.normals(state.position))
        if self.norm2 is not None:
            fresh = project_momentum(fresh, state.position, state.direction)
        return replace(state, momentum=fresh.add(state.momentum, alpha=kept))

    def step(self, state: State, h: Tensor) -> State:
        """Half kick, drift, half kick with time steps h (W, 1)."""
        before = self._hamiltonian(state)
        state = self._half_kick(self._drift(self._half_kick(state, h), h), h)
        return replace(state, error=state.error + (self._hamiltonian(state) - before))

    def acceptance(self, state: State) -> Tensor:
        """Probability (W, 1), float64, to accept a trajectory that ends in `state`.

        A trajectory that missed the sphere is NaN. Its probability is 0 and the walker stays.
        """
        probability = self.boltzmann_factor(state).clamp(max=1.0).nan_to_num(nan=0.0)
        return probability * state.reversible

    def boltzmann_factor(self, state: State) -> Tensor:
        """exp(-ΔH/T) (W, 1), float64. Its mean is 1 at any time step, also over those of |ΔH| < c."""
        return (-state.error / self.temperature.double()).exp()

    def _half_kick(self, state: State, h: Tensor) -> State:
        return replace(state, momentum=state.momentum.addcmul(state.gradient, h, value=-0.5))

    def _drift(self, state: State, h: Tensor) -> State:
        """Free motion for a time h, and the forces at its end."""
        w, a, p = state.position, state.direction, state.momentum
        moved = w + h * p / self.mass
        if self.norm2 is None:
            return self._with_forces(replace(state, position=moved, direction=moved / self.mass))
        moved, p, mu = return_to_sphere(moved, p, w, a, h, self.norm2)
        a = moved / self.mass
        p = p.addcmul(moved, normal_part(p, moved, a).to(w.dtype), value=-1.0)
        return self._with_forces(replace(state, position=moved, momentum=p, direction=a,
                                         reversible=state.reversible & mu.isfinite()))  # fmt: skip

    def _with_forces(self, state: State) -> State:
        w, a = state.position, state.direction
        energy, gradient = self.energy_gradient(w)
        if self.norm2 is None:
            return replace(state, energy=energy, potential=energy, gradient=gradient)
        potential = energy
        if self.fixman:
            metric, temperature = dot(a, w), self.temperature.double()
            potential = energy + fixman_potential(metric, temperature)
            gradient = gradient.addcmul(a, fixman_slope(metric, temperature).to(w.dtype))
        return replace(state, energy=energy, potential=potential, gradient=project_momentum(gradient, w, a))

    def _hamiltonian(self, state: State) -> Tensor:
        return state.potential + 0.5 * dot(state.momentum, state.momentum / self.mass)


build = Trajectories
