"""A block of walkers on full-batch trajectories of `sampler.trajectory` steps. A step is one gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.burn_in.tuning import Tuning
from protmpi.sampling.kernels import trajectories
from protmpi.sampling.kernels.energy import Energy, full_gradient
from protmpi.sampling.kernels.trajectories import State
from protmpi.sampling.sections import SamplerConfig
from protmpi.sampling.walkers.block import Block, numbers
from protmpi.sampling.walkers.recording import Record, RecordedTrajectories, cuda_graph
from protmpi.variables import Variable

JITTER = 0.2
"""Each trajectory has a time step of h (1 ± JITTER). At a fixed length a mode of that period would not move."""
WINDOW = 3.0
"""Trajectories of |ΔH/T| below this enter <exp(-ΔH/T)>. The mean over all of them rests on rare ones of ΔH << 0."""
MEANS = ("acceptance", "boltzmann_factor", "boltzmann_window", "reversible")


class TrajectoryBlock(Block[State]):
    """Masses and time step are tuned during the burn-in and then stay."""

    def __init__(
        self, walkers: Sequence[int], start: Tensor, temperatures: np.ndarray, energy: Energy, config: SamplerConfig,
        seed: int, anneal: Sequence[Sequence[float]] = (),
    ) -> None:  # fmt: skip
        super().__init__(walkers, start, energy, config, seed)
        self.burn_in: Tuning | None = Tuning(config, start, temperatures, anneal or [()] * len(walkers))
        self.time_step = self.burn_in.time_step
        self.kernel = trajectories.build(
            self.burn_in.temperature(0), torch.ones_like(self.start),
            lambda w: full_gradient(self.energy, self.regulariser, w), self.streams.step_normals, self.norm2,
            self.config.fixman,
        )  # fmt: skip
        self.counts = np.zeros((len(self.walkers), 1 + len(MEANS)))
        """Trajectories since the last draw, and their sums of the quantities in `MEANS`."""
        self.record: Record | None = cuda_graph if self.start.is_cuda and self.energy.on_device else None
        self._recorded: RecordedTrajectories | None = None

    @staticmethod
    def variables(layout: Layout) -> list[Variable]:
        return [
            Variable("acceptance", "draw", "mean acceptance probability since the previous draw", role="way"),
            Variable("boltzmann_factor", "draw", f"mean exp(-ΔH/T) since then, 0 if irreversible or |ΔH/T| > "
                     f"{WINDOW:g}; its exact mean is that of boltzmann_window", role="way", shown=False),
            Variable("boltzmann_window", "draw", "fraction of trajectories since then that are reversible with "
                     f"|ΔH/T| < {WINDOW:g}", role="way", shown=False),
            Variable("reversible", "draw", "fraction of trajectories since then that stayed on the sphere", role="way",
                     shown=False),
            Variable("time_step", "draw", "time step h of the trajectories", role="way"),
        ]  # fmt: skip

    @property
    def temperature(self) -> Tensor:
        return self.kernel.temperature

    @property
    def mass(self) -> Tensor:
        return self.kernel.mass

    def initialise(self) -> None:
        assert self.burn_in is not None
        self._put(self.start.clone(), self._tuned_masses(self.burn_in, self.start))
        self._end_burn_in(0)

    def explore(self, steps: int) -> None:
        end = self.step + steps
        while self.step < end:
            probability = self._trajectory()
            self.step += self.config.trajectory
            if self.burn_in:
                self._tune(self.burn_in, probability)
                self._end_burn_in(self.step)

    def _trajectory(self) -> Tensor:
        """One trajectory of every walker with its Metropolis test; the probability of acceptance (W, 1)."""
        before = self.kernel.start(self.state)
        spread = (1.0 + JITTER * (2.0 * self._uniforms() - 1.0)).to(self.time_step.dtype)
        after = self._follow(before, self.time_step * spread)
        probability = self.kernel.acceptance(after)
        self._state = after.where(self._uniforms() < probability, before)
        arrived = after.reversible & after.error.isfinite()
        window = arrived & (after.error.abs() < WINDOW * self.temperature)
        factor = self.kernel.boltzmann_factor(after).where(window, 0.0)
        columns = (torch.ones_like(probability), probability, factor, window, arrived)
        self.counts += torch.cat([column.double() for column in columns], 1).cpu().numpy()
        return probability

    def _follow(self, state: State, h: Tensor) -> State:
        """The steps of a trajectory, recorded once and repeated if that is faster."""
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

    def _tune(self, tuning: Tuning, probability: Tensor) -> None:
        """Adapt the time step to the acceptance, the temperature to the annealing and, when it is due, masses to s².

        Walkers that have common masses keep them, and their temperature is that of their slot.
        """
        tuning.follow(self.step, probability)
        if self.thermal_mass is None:
            temperature = tuning.temperature(self.step)
            if not torch.equal(temperature, self.temperature):
                ratio = self.temperature / temperature
                tuning.scale(ratio)
                self.kernel.temperature = temperature
                self._put(self.position, self.mass * ratio)
            if tuning.wants_variance(self.step):
                self._put(self.position, self._tuned_masses(tuning, self.position))
        self.time_step = tuning.time_step

    def _tuned_masses(self, tuning: Tuning, position: Tensor) -> Tensor:
        """M (W, P) after one more estimate of s² at `position`. Estimates are short because they are averaged."""
        c = self.config
        fresh = c.batch * self._estimate(position, range(len(self.walkers)), c.min_extractions)
        return tuning.mass(self.step, fresh, self.layout) / self.temperature

    def _end_burn_in(self, step: int) -> None:
        """Forget the tuning once no trajectory that begins at `step` can end within the burn-in."""
        if step + self.config.trajectory > self.config.adapt_until:
            self.burn_in = None

    def _put(self, position: Tensor, mass: Tensor) -> None:
        self.kernel.mass = mass
        self._state = self.kernel.init(position)

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        self.thermal_mass = self._tensor(thermal_mass)
        self._put(self.position, self._shared_masses())

    def _move(self, temperature: Tensor) -> None:
        """Rescale masses with 1/T and time steps with the inverse frequencies, sqrt(T), to keep the acceptance."""
        ratio = self.temperature / temperature
        self.time_step = self.time_step * ratio.sqrt()
        if self.burn_in:
            self.burn_in.scale(ratio)
        self.kernel.temperature = temperature
        self._put(self.position, self._shared_masses())

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
        found = {name: values / np.maximum(count, 1.0) for name, values in zip(MEANS, sums, strict=True)}
        return {**super().observables(), **found, "time_step": numbers(self.time_step.double())}

    def checkpoint(self) -> dict[str, np.ndarray]:
        s = self.state
        tensors = {"position": s.position, "gradient": s.gradient, "energy": s.energy, "potential": s.potential,
                   "time_step": self.time_step}  # fmt: skip
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        tuning = self.burn_in.checkpoint() if self.burn_in else {}
        return {**arrays, **tuning, **self._mass_arrays(), "counts": self.counts.copy(),
                "streams": self.streams.state()}  # fmt: skip

    def stand_in(self, step: int) -> dict[str, np.ndarray]:
        nothing = torch.zeros_like(self.temperature, dtype=torch.float64)
        unknown = torch.ones_like(self.start)
        self._state = State(self.start, unknown, unknown, unknown, nothing, nothing, nothing, nothing.bool())
        self._end_burn_in(step)
        return self.checkpoint()

    def restore(self, step: int, arrays: dict[str, np.ndarray], temperatures: np.ndarray) -> None:
        self.step = step
        self._end_burn_in(step)
        annealing = None if arrays["shared"].all() else self.burn_in
        self.kernel.temperature = annealing.temperature(step) if annealing else self._column(temperatures)
        self.kernel.mass = self._restored_masses(arrays)
        self.time_step = self._tensor(arrays["time_step"])
        if self.burn_in:
            average, variance = self._tensor(arrays["average"]), self._tensor(arrays["variance"])
            self.burn_in.restore(self.time_step, average, variance, int(arrays["estimates"][0]))
        self.counts = arrays["counts"].copy()
        self.streams.restore(arrays["streams"])
        energy, potential = (torch.from_numpy(arrays[name]).to(self.start.device) for name in ("energy", "potential"))
        position, nothing = self._tensor(arrays["position"]), torch.zeros_like(energy)
        self._state = State(position, torch.zeros_like(position), position / self.kernel.mass,
                            self._tensor(arrays["gradient"]), energy, potential, nothing, nothing == 0.0)  # fmt: skip
