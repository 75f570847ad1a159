"""A block of walkers on full-batch trajectories: masses from s², time step from the acceptance, frozen after burn-in.

M = m/T, m the variance of the gradient of one sample, averaged over the estimates of the burn-in: it differs by orders
of magnitude between weights that are sampled alike, and masses of one moment halve the stable time step. The average
begins anew at half of the burn-in. The log of the time step follows the acceptance with gain n^-0.6 in the n-th
trajectory since then (Robbins and Monro 1951); the burn-in ends with its average, with weights n^-0.75, for one
trajectory says little of the acceptance (Hoffman and Gelman 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protmpi.sampling import adaptation, trajectories
from protmpi.sampling.block import Block
from protmpi.sampling.energy import full_gradient
from protmpi.sampling.replay import Record, RecordedTrajectories, cuda_graph
from protmpi.sampling.trajectories import State

GAIN = 0.6  # exponent of Robbins and Monro: any number in (1/2, 1] converges, small ones are fast at first
MEMORY = 0.75  # exponent of the average that follows: the larger, the longer it remembers
FIRST = 0.01  # time step that the search begins with, in units of T^-1/2: small ones are accepted and grow
JITTER = 0.2
"""Each trajectory takes a time step of h (1 ± JITTER): a mode whose period were its fixed length would not move."""


class TrajectoryBlock(Block[State]):
    """A step is a full-batch gradient; every `trajectory` of them pass one Metropolis test."""

    def __init__(self, *arguments: Any, anneal: Sequence[Sequence[float]] = ()) -> None:
        super().__init__(*arguments)
        self.anneal = anneal or [()] * len(self.walkers)
        """Temperatures that a walker is led through before its own, for each walker."""
        temperature = self._present_temperature()
        self.kernel = trajectories.build(
            temperature, torch.ones_like(self.start), lambda w: full_gradient(self.energy, self.regulariser, w),
            self.streams.step_normals, self.norm2, self.config.fixman,
        )  # fmt: skip
        self.time_step = FIRST / temperature.sqrt()
        self.average = self.time_step  # of the time step, geometric
        self.variance = torch.zeros_like(self.start)  # mean of the estimates of m since the average began
        self.estimates = 0
        self.counts = np.zeros((len(self.walkers), 4))
        """Since the last draw: trajectories, and their sums of acceptance, exp(-ΔH/T) and reversibility."""
        self.record: Record | None = cuda_graph if self.start.is_cuda and self.energy.on_device else None
        self._recorded: RecordedTrajectories | None = None

    def initialise(self) -> None:
        self._estimate_masses(self.start.clone())

    def explore(self, steps: int) -> None:
        end = self.step + steps
        while self.step < end:
            probability = self._trajectory()
            self.step += self.config.trajectory
            if self.step <= self.config.adapt_until:
                self._follow_acceptance(probability)
                self._adapt()

    def _trajectory(self) -> Tensor:
        """One trajectory of every walker with its Metropolis test; the probability of acceptance (W, 1)."""
        before = self.kernel.start(self.state)
        spread = (1.0 + JITTER * (2.0 * self._uniforms() - 1.0)).to(self.time_step.dtype)
        after = self._follow(before, self.time_step * spread)
        probability = self.kernel.acceptance(after)
        self._state = after.where(self._uniforms() < probability, before)
        arrived = after.reversible & after.error.isfinite()
        factor = self.kernel.boltzmann_factor(after).where(arrived, 0.0)
        columns = (torch.ones_like(probability), probability, factor, arrived)
        self.counts += torch.cat([column.double() for column in columns], 1).cpu().numpy()
        return probability

    def _follow(self, state: State, h: Tensor) -> State:
        """The steps of a trajectory, recorded once and replayed where that is worth it."""
        c = self.config
        if self.record is not None:
            if self._recorded is None:
                self._recorded = RecordedTrajectories(
                    self.record, self.kernel, state, h, c.momentum_kept, self.streams.every_step
                )
            return self._recorded(self.kernel, state, h, c.trajectory)
        for _ in range(c.trajectory):
            if c.momentum_kept < 1.0:
                state = self.kernel.refresh(state, c.momentum_kept)
            state = self.kernel.step(state, h)
        return state

    def _uniforms(self) -> Tensor:
        drawn = [[self.streams.uniform("metropolis", row)] for row in range(len(self.walkers))]
        return torch.tensor(drawn, dtype=torch.float64, device=self.start.device)

    def _follow_acceptance(self, probability: Tensor) -> None:
        wanted, since = self.config.acceptance, self._turn if self.step > self._turn else 0
        number = max(1, (self.step - since) // self.config.trajectory)
        surplus = (probability - wanted) / (2.0 * wanted * (1.0 - wanted))
        self.time_step = self.time_step * (number**-GAIN * surplus).exp().to(self.time_step.dtype)
        self.average = (self.average.log().lerp(self.time_step.log(), number**-MEMORY)).exp()
        if self.step + self.config.trajectory > self.config.adapt_until:
            self.time_step = self.average

    @property
    def _turn(self) -> int:
        """Half of the burn-in, in whole trajectories."""
        return self.config.adapt_until // 2 // self.config.trajectory * self.config.trajectory

    def _adapt(self) -> None:
        """Follow the annealing, and estimate masses where that is due."""
        temperature = self._present_temperature()
        if not torch.equal(temperature, self.kernel.temperature):
            self._set_temperature(temperature)
        if self.step < self.config.adapt_until and self._due():
            if self.step - self.config.trajectory < self._turn <= self.step:
                self.estimates = 0
            self._estimate_masses(self.position)

    def _due(self) -> bool:
        """Whether a multiple of `min_adj_step`, or half of the burn-in, lies within the last trajectory."""
        last, every = self.step - self.config.trajectory, self.config.min_adj_step
        return self.step // every > last // every or last < self._turn <= self.step

    def _estimate_masses(self, position: Tensor) -> None:
        """One more estimate of m at `position`, a short one, for they are averaged, and the masses that follow."""
        c = self.config
        fresh = c.batch * self._estimate(position, range(len(self.walkers)), c.min_extractions)
        self.estimates += 1
        self.variance = self.variance.lerp(fresh, 1.0 / self.estimates)
        means = adaptation.layer_means(self.variance, self.layout)
        mass = means if c.layer_mean else torch.maximum(self.variance, c.mass_floor * means)
        self._put(position, mass / self.kernel.temperature)

    def _put(self, position: Tensor, mass: Tensor) -> None:
        self.kernel.mass = mass
        self._state = self.kernel.init(position)

    def _present_temperature(self) -> Tensor:
        """Temperature (W, 1) of each walker at this step: that of its annealing, then its own."""
        now, own = self.step // self.config.anneal_steps, self.thermostat.temperature.squeeze(1).tolist()
        steps = zip(self.anneal, own, strict=True)
        return torch.tensor([[stages[now] if now < len(stages) else t] for stages, t in steps],
                            dtype=self.start.dtype, device=self.start.device)  # fmt: skip

    def _set_temperature(self, temperature: Tensor) -> None:
        """Weights stay. M goes with 1/T and frequencies with sqrt(T): the time step keeps its acceptance."""
        ratio = self.kernel.temperature / temperature
        self.kernel.temperature = temperature
        self.time_step, self.average = self.time_step * ratio.sqrt(), self.average * ratio.sqrt()
        self._put(self.position, self.kernel.mass * ratio if self.thermal_mass is None else self._shared_masses())

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        self.thermal_mass = self._tensor(thermal_mass)
        self._put(self.position, self._shared_masses())

    def move(self, temperatures: np.ndarray) -> None:
        self.set_temperatures(temperatures)
        self._set_temperature(self.thermostat.temperature)

    @property
    def mass(self) -> Tensor:
        return self.kernel.mass

    def thermal_state(self) -> str:
        return f"U = {float(self.state.energy):.4g}"

    def complaint(self) -> str:
        return f"the energy is {float(self.state.energy)}"

    def finite(self) -> np.ndarray:
        total = self.position.sum(1, dtype=torch.float64) + self.state.energy.squeeze(1)
        return np.asarray(torch.isfinite(total).cpu().numpy())

    def observables(self) -> dict[str, np.ndarray]:
        """Geometry, the time step, and means over the trajectories since the last draw, (W,) float64 each."""
        count, *sums = self.counts.T
        self.counts = np.zeros_like(self.counts)
        means = zip(("acceptance", "boltzmann_factor", "reversible"), sums, strict=True)
        found = {name: values / np.maximum(count, 1.0) for name, values in means}
        return {**super().observables(), **found, "time_step": self.time_step.squeeze(1).double().cpu().numpy()}

    def checkpoint(self) -> dict[str, np.ndarray]:
        s, rows = self.state, len(self.walkers)
        tensors = {"position": s.position, "gradient": s.gradient, "energy": s.energy, "potential": s.potential,
                   "time_step": self.time_step, "average": self.average, "variance": self.variance}  # fmt: skip
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return {**arrays, **self._mass_arrays(), "estimates": np.full(rows, self.estimates),
                "counts": self.counts.copy(), "streams": self.streams.state()}  # fmt: skip

    def stand_in(self) -> dict[str, np.ndarray]:
        nothing = torch.zeros_like(self.thermostat.temperature, dtype=torch.float64)
        unknown = torch.ones_like(self.start)
        self._state = State(self.start, unknown, unknown, unknown, nothing, nothing, nothing, nothing.bool())
        return self.checkpoint()

    def restore(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        self.step = step
        self.kernel.temperature = self._present_temperature()
        self.kernel.mass = self._restored_masses(arrays)
        self.time_step, self.average = self._tensor(arrays["time_step"]), self._tensor(arrays["average"])
        self.variance = self._tensor(arrays["variance"])
        self.estimates = int(arrays["estimates"][0])
        self.counts = arrays["counts"].copy()
        self.streams.restore(arrays["streams"])
        energy, potential = (torch.from_numpy(arrays[name]).to(self.start.device) for name in ("energy", "potential"))
        position, nothing = self._tensor(arrays["position"]), torch.zeros_like(energy)
        self._state = State(position, torch.zeros_like(position), position / self.kernel.mass,
                            self._tensor(arrays["gradient"]), energy, potential, nothing, nothing == 0.0)  # fmt: skip
