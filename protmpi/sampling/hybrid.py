"""A block of hybrid Monte Carlo walkers: masses from s², time step from the acceptance, both frozen after burn-in.

Momenta are drawn anew at every step, so masses may be set anew whenever s² is estimated; the log of the time step
follows the acceptance with gain n^-0.6 in the n-th step (Robbins and Monro 1951).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from protmpi.sampling import adaptation, hmc
from protmpi.sampling.block import Block
from protmpi.sampling.energy import full_gradient

GAIN = 0.6  # exponent of Robbins and Monro: any number in (1/2, 1] converges, small ones are fast at first


class HybridBlock(Block[hmc.State]):
    """One step is one trajectory of `leapfrog_steps` full-batch gradients with its Metropolis test."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kernel = self._kernel(torch.full_like(self.thermostat.temperature, self.config.dt))
        self.accepted = np.zeros((len(self.walkers), 2))  # steps and acceptance summed since the last draw

    def _kernel(self, dt: Tensor) -> hmc.HybridMonteCarlo:
        c, rows = self.config, range(len(self.walkers))
        return hmc.build(
            self.thermostat.temperature, dt, c.leapfrog_steps,
            lambda w: full_gradient(self.energy, self.regulariser, w),
            self.streams.step_normals,
            lambda: torch.tensor([[self.streams.uniform("metropolis", row)] for row in rows],
                                 dtype=torch.float64, device=self.start.device),
            self.norm2, c.fixman,
        )  # fmt: skip

    def initialise(self) -> None:
        rows = range(len(self.walkers))
        noise_variance = self._estimate(self.start, rows)
        self._state = self.kernel.init(self.start.clone(), self._masses(noise_variance))

    def _masses(self, noise_variance: Tensor) -> Tensor:
        shares = np.array([self.config.rho_at(t) for t in self.thermostat.temperature.squeeze(1).tolist()])
        rho = self._tensor(shares).unsqueeze(1)
        return adaptation.fresh_masses(noise_variance, rho, self.thermostat, self.config, self.layout)

    def explore(self, steps: int) -> None:
        for _ in range(steps):
            if self.step < self.config.adapt_until and (self.schedule.due <= self.step).any():
                self._adapt()
            self._state = self.kernel.step(self.state)
            self.step += 1
            acceptance = self.state.acceptance
            self.accepted[:, 0] += 1.0
            self.accepted[:, 1:] += acceptance.cpu().numpy()
            if self.step <= self.config.adapt_until:
                wanted = self.config.acceptance
                surplus = (acceptance - wanted) / (2.0 * wanted * (1.0 - wanted))
                self.kernel.dt = self.kernel.dt * (surplus * self.step**-GAIN).exp().to(self.kernel.dt.dtype)

    def _adapt(self) -> None:
        """Masses follow s² at the present weights; all walkers of the block together."""
        noise_variance = self._estimate(self.position, range(len(self.walkers)))
        self._state = self.kernel.init(self.position, self._masses(noise_variance))
        for row in range(len(self.walkers)):
            self.schedule.advance(row, True, self.step, self.config)

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        self.thermal_mass = self._tensor(thermal_mass)
        self._state = self.kernel.init(self.position, self._shared_masses())

    def move(self, temperatures: np.ndarray) -> None:
        before = self.thermostat.temperature
        self.set_temperatures(temperatures)
        self.kernel.temperature = self.thermostat.temperature
        # M goes with 1/T and frequencies with sqrt(T): the time step keeps its acceptance
        self.kernel.dt = self.kernel.dt * (before / self.kernel.temperature).sqrt()
        self._state = self.kernel.init(self.position, self._shared_masses())

    def thermal_state(self) -> str:
        return f"U = {float(self.state.energy):.4g}"

    def complaint(self) -> str:
        return f"the energy is {float(self.state.energy)}"

    def finite(self) -> np.ndarray:
        total = self.position.sum(1, dtype=torch.float64) + self.state.energy.squeeze(1)
        return np.asarray(torch.isfinite(total).cpu().numpy())

    def observables(self) -> dict[str, np.ndarray]:
        """Geometry, the mean acceptance since the last draw and the time step, (W,) float64 each."""
        acceptance = self.accepted[:, 1] / np.maximum(self.accepted[:, 0], 1.0)
        self.accepted = np.zeros_like(self.accepted)
        dt = self.kernel.dt.squeeze(1).double().cpu().numpy()
        return {**super().observables(), "acceptance": acceptance, "time_step": dt}

    def checkpoint(self) -> dict[str, np.ndarray]:
        s = self.state
        tensors = {"position": s.position, "dt": self.kernel.dt, "gradient": s.gradient, "energy": s.energy}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return {**arrays, **self._mass_arrays(), "accepted": self.accepted.copy(), "streams": self.streams.state(),
                **self.schedule.arrays()}  # fmt: skip

    def stand_in(self) -> dict[str, np.ndarray]:
        unknown = torch.ones_like(self.start)
        energy = torch.zeros_like(self.thermostat.temperature, dtype=torch.float64)
        self._state = hmc.State(self.start, unknown, energy, unknown, energy.bool(), energy)
        return self.checkpoint()

    def restore(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        energy = torch.from_numpy(arrays["energy"]).to(self.start.device)
        nothing = torch.ones_like(energy)
        self._state = hmc.State(
            self._tensor(arrays["position"]), self._restored_masses(arrays), energy, self._tensor(arrays["gradient"]),
            nothing.bool(), nothing,
        )  # fmt: skip
        self.kernel = self._kernel(self._tensor(arrays["dt"]))
        self.accepted = arrays["accepted"].copy()
        self.streams.restore(arrays["streams"])
        self.schedule = adaptation.Schedule(arrays["streak"].copy(), arrays["due"].copy())
        self.step = step
