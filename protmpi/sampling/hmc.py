"""Full-batch hybrid Monte Carlo, plain and on the sphere |w|² = Q: the yardstick (METHOD section 5).

    p ~ N(0, M T)          n leapfrog steps of size dt with the full-batch gradient          accept with
    probability min(1, exp(-(H' - H)/T)),   H = U(w) + p²/(2M)

On the sphere momenta are drawn tangent and the leapfrog steps are RATTLE steps, with the same two projections as the
constrained pseudo-Langevin kernel; they conserve the volume of phase space and can be reversed, so that the Metropolis
test makes the target exact: exp(-U/T) sqrt(w·w/M) on the sphere, and with `fixman` exp(-U/T) (Duane et al. 1987;
Andersen 1983; Brubaker et al. 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protmpi.sampling.constrained import dot, multiplier, project_momentum
from protmpi.sampling.pseudo_langevin import Normals

EnergyGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Full-batch energies (W, 1), float64, and gradients (W, P) at w (W, P)."""

Uniforms = Callable[[], Tensor]
"""One uniform number per walker, (W, 1) float64."""


@dataclass(frozen=True)
class State:
    """W walkers: position, mass and gradient (W, P), energy (W, 1); whether the last trajectory was accepted, and with
    which probability (W, 1)."""

    position: Tensor
    mass: Tensor
    energy: Tensor
    gradient: Tensor
    accepted: Tensor
    acceptance: Tensor


JITTER = 0.2
"""Each trajectory takes a time step of dt (1 ± JITTER): a mode whose period were its fixed length would not move."""


@dataclass
class HybridMonteCarlo:
    """Kernel at temperatures (W, 1) with time steps dt (W, 1); on the sphere where `norm2` (W, 1), float64, is given.

    One step is one trajectory with its Metropolis test.
    """

    temperature: Tensor
    dt: Tensor
    leapfrog_steps: int
    energy_gradient: EnergyGradient
    normals: Normals
    uniforms: Uniforms
    norm2: Tensor | None = None
    fixman: bool = True

    def init(self, position: Tensor, mass: Tensor) -> State:
        """Walkers at `position`."""
        energy, gradient = self._energy_gradient(position, mass)
        return State(position, mass, energy, gradient, torch.ones_like(energy).bool(), torch.ones_like(energy))

    def step(self, state: State) -> State:
        """Draw momenta, follow the dynamics, accept or stay."""
        w, mass = state.position, state.mass
        p = self.draw_momentum(w, mass)
        start = self._hamiltonian(state.energy, p, mass)
        dt = self.dt * (1.0 + JITTER * (2.0 * self.uniforms() - 1.0)).to(w.dtype)
        moved = state
        for _ in range(self.leapfrog_steps):
            moved, p = self._leapfrog(moved, p, dt)
        end = self._hamiltonian(moved.energy, p, mass)
        # a trajectory that left the sphere's reach is NaN: its probability is 0 and the walker stays
        acceptance = ((start - end) / self.temperature.double()).exp().clamp(max=1.0).nan_to_num(nan=0.0)
        accepted = self.uniforms() < acceptance
        return replace(
            state,
            position=torch.where(accepted, moved.position, w),
            energy=torch.where(accepted, moved.energy, state.energy),
            gradient=torch.where(accepted, moved.gradient, state.gradient),
            accepted=accepted,
            acceptance=acceptance,
        )

    def draw_momentum(self, w: Tensor, mass: Tensor) -> Tensor:
        """Momenta from N(0, M T), tangent to the sphere where there is one."""
        p = (mass * self.temperature).sqrt_().mul_(self.normals(w))
        return p if self.norm2 is None else project_momentum(p, w, w / mass)

    def _leapfrog(self, state: State, p: Tensor, dt: Tensor) -> tuple[State, Tensor]:
        """Half kick, drift, half kick; on the sphere a RATTLE step."""
        w, mass = state.position, state.mass
        half = p.addcmul(state.gradient, dt, value=-0.5)
        position = w + dt * half / mass
        if self.norm2 is not None:
            direction = w / mass
            mu = multiplier(position, direction, self.norm2)
            half = half.addcmul(w, (mu / dt).to(w.dtype))
            position = position.addcmul(direction, mu.to(w.dtype))
        energy, gradient = self._energy_gradient(position, mass)
        p = half.addcmul(gradient, dt, value=-0.5)
        if self.norm2 is not None:
            p = project_momentum(p, position, position / mass)
        return replace(state, position=position, energy=energy, gradient=gradient), p

    def _hamiltonian(self, energy: Tensor, p: Tensor, mass: Tensor) -> Tensor:
        return energy + 0.5 * dot(p, p / mass)

    def _energy_gradient(self, w: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        """U and its gradient, with the Fixman potential (T/2) log(w·w/M) on the sphere where it is asked for."""
        energy, gradient = self.energy_gradient(w)
        if self.norm2 is None or not self.fixman:
            return energy, gradient
        direction = w / mass
        metric = dot(direction, w)
        temperature = self.temperature.double()
        force = direction * (temperature / metric).to(w.dtype)
        return energy + 0.5 * temperature * metric.log(), gradient + force


build = HybridMonteCarlo
