"""A block: walkers that are advanced together in one batch, with their streams, masses and adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from protmpi.config import SamplerConfig
from protmpi.models.layout import Layout
from protmpi.sampling import adaptation, constrained
from protmpi.sampling.constrained import dot
from protmpi.sampling.noise import Thermostat, estimate_variance, masses
from protmpi.sampling.pseudo_langevin import State
from protmpi.sampling.streams import Streams

MiniBatchGradient = Callable[[Tensor, np.ndarray], Tensor]
"""Gradient (W, P) at w (W, P) on the samples `indices` (W, B)."""


class Block:
    """Walkers of global indices `walkers`, starting at `start` (W, P) at `temperatures` (W,).

    `gradient` is the mini-batch gradient of a task with `train_size` samples and parameter layout `layout`.
    """

    def __init__(
        self,
        walkers: Sequence[int],
        start: Tensor,
        temperatures: np.ndarray,
        gradient: MiniBatchGradient,
        train_size: int,
        layout: Layout,
        config: SamplerConfig,
        seed: int,
    ) -> None:
        self.walkers, self.start, self.layout, self.config = walkers, start, layout, config
        self._gradient, self._train_size = gradient, train_size
        self.streams = Streams(seed, walkers)
        temperature = torch.as_tensor(temperatures, dtype=start.dtype, device=start.device).unsqueeze(1)
        self.thermostat = Thermostat(temperature, config.m1, config.dt, config.scheme)
        self.norm2 = dot(start, start)
        self.kernel = constrained.build(
            self.thermostat,
            lambda w: self._sample(w, "minibatch", None),
            lambda like: self.streams.normals("momentum", like),
            self.norm2,
            config.fixman,
        )
        self.step = 0
        self.schedule = adaptation.Schedule.start(len(walkers), config)
        self._state: State | None = None

    @property
    def state(self) -> State:
        if self._state is None:
            raise RuntimeError("a block must be started or restored before it is asked for its state")
        return self._state

    def initialise(self) -> None:
        """Estimate s² at the starting weights, set the masses, draw the momenta."""
        noise_variance = self._estimate(self.start, range(len(self.walkers)))
        mass = masses(noise_variance, self.config.rho, self.thermostat)
        self._state = self.kernel.init(self.start.clone(), mass, noise_variance)

    def explore(self, steps: int) -> None:
        """Advance every walker by `steps` steps, estimating s² when it is due."""
        end = self.step + steps
        while self.step < end:
            due = [row for row in range(len(self.walkers)) if self.schedule.due[row] <= self.step]
            if due:
                self._adapt(due)
            goal = min(end, int(self.schedule.due.min()))
            for _ in range(goal - self.step):
                self._state = self.kernel.step(self.state)
            self.step = goal

    def finite(self) -> np.ndarray:
        """Which walkers are still on their sphere, bool (W,)."""
        state = self.state
        total = state.position.sum(1, dtype=torch.float64) + state.momentum.sum(1, dtype=torch.float64)
        return torch.isfinite(total).cpu().numpy()

    def observables(self) -> dict[str, np.ndarray]:
        """Geometry and thermostat, (W,) float64 each."""
        w, p, start = self.state.position.double(), self.state.momentum.double(), self.start.double()
        kinetic = dot(p, p / self.state.mass) / ((self.layout.size - 1) * self.thermostat.temperature)
        norm2 = dot(w, w)
        overlap = dot(w, start) / (norm2 * dot(start, start)).sqrt()
        distance = dot(w - start, w - start).sqrt()
        columns = {"kinetic_ratio": kinetic, "norm2": norm2, "overlap": overlap, "distance": distance}
        return {name: column.squeeze(1).cpu().numpy() for name, column in columns.items()}

    def checkpoint(self) -> dict[str, np.ndarray]:
        """Everything the walkers need to go on bit for bit: arrays (W, ...)."""
        s = self.state
        gradient = torch.zeros_like(s.position) if s.gradient is None else s.gradient
        tensors = {"position": s.position, "momentum": s.momentum, "mass": s.mass,
                   "noise_variance": s.noise_variance, "gradient": gradient}  # fmt: skip
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        arrays["has_gradient"] = np.full(len(self.walkers), s.gradient is not None, dtype=np.uint8)
        return {**arrays, "streams": self.streams.state(), "streak": self.schedule.streak, "due": self.schedule.due}

    def restore(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Go on from `checkpoint`, taken at `step`."""

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(arrays[name]).to(self.start)

        state = State(tensor("position"), tensor("momentum"), tensor("mass"), tensor("noise_variance"),
                      self.start, self.start, tensor("gradient") if arrays["has_gradient"].all() else None)  # fmt: skip
        self._state = self.kernel.with_noise(state)
        self.streams.restore(arrays["streams"])
        self.schedule = adaptation.Schedule(arrays["streak"].copy(), arrays["due"].copy())
        self.step = step

    def _sample(self, w: Tensor, purpose: str, rows: Sequence[int] | None) -> Tensor:
        """A mini-batch gradient with fresh samples of the stream `purpose`."""
        indices = self.streams.integers(purpose, self._train_size, self.config.batch, rows)
        return self._gradient(w, indices)

    def _estimate(self, w: Tensor, rows: Sequence[int]) -> Tensor:
        """s² of the walkers `rows` at w (rows, P)."""

        def sample(open_rows: Sequence[int]) -> Tensor:
            return self._sample(w[list(open_rows)], "variance", [rows[row] for row in open_rows])

        c = self.config
        floor = 10.0**c.log_zerovar
        estimate = estimate_variance(sample, w, c.min_extractions, c.max_extractions, c.threshold_est, floor)
        return adaptation.layer_means(estimate, self.layout) if c.layer_mean else estimate

    def _adapt(self, rows: list[int]) -> None:
        """Estimate s² of the walkers `rows`; during burn-in let masses and momenta follow."""
        c, s = self.config, self.state
        position, mass, momentum = s.position[rows], s.mass[rows], s.momentum[rows]
        noise_variance = self._estimate(position, rows)
        same = adaptation.agrees(noise_variance, s.noise_variance[rows], self.layout, c.threshold_adj)
        for row, agreed in zip(rows, same, strict=True):
            self.schedule.advance(row, agreed, self.step, c)
        if self.step < c.adapt_until:
            reset = [self.streams.uniform("reset", row) < c.p_reset for row in rows]
            thermostat = self.thermostat.rows(rows)
            mass, redrawn = adaptation.new_masses(mass, noise_variance, thermostat, c, reset)
            fresh = self.kernel.draw_momentum(position, mass, self.streams.normals("reset", mass, rows), thermostat)
            kept = torch.where(redrawn, fresh, momentum)
            momentum = constrained.project_momentum(kept, position, position / mass)
        put = torch.tensor(rows, device=position.device)
        self._state = self.kernel.with_noise(
            replace(
                s,
                momentum=s.momentum.index_copy(0, put, momentum),
                mass=s.mass.index_copy(0, put, mass),
                noise_variance=s.noise_variance.index_copy(0, put, noise_variance),
            )
        )
