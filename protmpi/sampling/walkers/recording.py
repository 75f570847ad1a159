"""Steps that are recorded once and then repeated, on a GPU as a CUDA graph with its random numbers.

A step is some hundred GPU kernels of microseconds each, and Python cannot launch them as fast. A recording repeats the
same kernels on the same memory. So everything that changes from step to step is on the device: state, temperatures, the
mini-batches of the next STRETCH steps and the index of the step. The results equal those of unrecorded steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from protmpi.sampling.kernels import trajectories
from protmpi.sampling.kernels.pseudo_langevin import PseudoLangevin, State

STRETCH = 256  # steps whose mini-batches are sent to the device together

Recording = Callable[[], None]
"""Function that repeats the recorded work."""
Record = Callable[[Callable[[], None], Sequence[torch.Generator]], Recording]
"""Records work that reads and writes tensors in place and draws from the generators. It may execute the work."""


def cuda_graph(work: Callable[[], None], generators: Sequence[torch.Generator]) -> Recording:
    """`work` as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()  # libraries and tables must be initialised before a graph is recorded
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class RecordedSteps:
    """Recorded steps of `kernel` for walkers like those of `state`, with mini-batches of `batch` samples.

    `gradient` takes weights (W, P) and sample indices (W, B), both on the device; `indices` draws the mini-batches
    (n, W, B) of the next n gradients, on the host.
    """

    def __init__(
        self,
        record: Record,
        kernel: PseudoLangevin,
        state: State,
        batch: int,
        gradient: Callable[[Tensor, Tensor], Tensor],
        indices: Callable[[int], np.ndarray],
        generators: Sequence[torch.Generator],
    ) -> None:
        self._gradient_at, self._indices = gradient, indices
        self._held = {name: value.clone() for name, value in vars(state).items() if value is not None}
        self._moved = [name for name in ("position", "momentum", "gradient") if name in self._held]
        self._temperature = kernel.thermostat.temperature.clone()
        self._each = 1 if kernel.thermostat.scheme == "single" else 2  # gradients of a step
        w = state.position
        self._table = torch.zeros(STRETCH * self._each, len(w), batch, dtype=torch.int64, device=w.device)
        self._next = torch.zeros(1, dtype=torch.int64, device=w.device)
        self._kernel = copy(kernel)
        self._kernel.gradient = self._gradient
        self._kernel.thermostat = replace(kernel.thermostat, temperature=self._temperature)
        self._recording = _undrawn(record, self._step, generators)

    def __call__(self, state: State, temperature: Tensor, steps: int) -> State:
        """`state` after `steps` steps at `temperature` (W, 1). In the single scheme `state` must have a gradient."""
        for name, held in self._held.items():
            held.copy_(getattr(state, name))
        self._temperature.copy_(temperature)
        for first in range(0, steps, STRETCH):
            count = min(STRETCH, steps - first)
            self._table[: count * self._each].copy_(torch.from_numpy(self._indices(count * self._each)))
            self._next.zero_()
            for _ in range(count):
                self._recording()
        return replace(state, **{name: self._held[name].clone() for name in self._moved})

    def _step(self) -> None:
        after = self._kernel.step(State(**self._held))
        for name in self._moved:
            self._held[name].copy_(getattr(after, name))

    def _gradient(self, w: Tensor) -> Tensor:
        indices = self._table.index_select(0, self._next).squeeze(0)
        self._next.add_(1)
        return self._gradient_at(w, indices)


class RecordedTrajectories:
    """Recorded steps of trajectories of `kernel` for walkers like those of `state`, each followed by a refreshment.

    The refreshment keeps the fraction `kept` of the momentum. It also acts on the fresh momenta of a new trajectory,
    which preserves their law.
    """

    def __init__(
        self,
        record: Record,
        kernel: trajectories.Trajectories,
        state: trajectories.State,
        h: Tensor,
        kept: float,
        generators: Sequence[torch.Generator],
    ) -> None:
        self._state = {name: value.clone() for name, value in vars(state).items()}
        self._h, self._kept, self._kernel = h.clone(), kept, copy(kernel)
        self._kernel.temperature, self._kernel.mass = kernel.temperature.clone(), kernel.mass.clone()
        self._recording = _undrawn(record, self._step, generators)

    def __call__(
        self, kernel: trajectories.Trajectories, state: trajectories.State, h: Tensor, steps: int
    ) -> trajectories.State:
        """`state` after `steps` steps of size h (W, 1) at the temperatures and masses of `kernel`."""
        for name, held in self._state.items():
            held.copy_(getattr(state, name))
        self._h.copy_(h)
        self._kernel.temperature.copy_(kernel.temperature)
        self._kernel.mass.copy_(kernel.mass)
        for _ in range(steps):
            self._recording()
        return trajectories.State(**{name: held.clone() for name, held in self._state.items()})

    def _step(self) -> None:
        state = trajectories.State(**self._state)
        if self._kept < 1.0:
            state = self._kernel.refresh(state, self._kept)
        after = self._kernel.step(state, self._h)
        for name, held in self._state.items():
            held.copy_(getattr(after, name))


def _undrawn(record: Record, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Recording:
    """A recording of `work` that leaves the random streams as they were."""
    before = [generator.get_state() for generator in generators]
    recording = record(work, generators)
    for generator, kept in zip(generators, before, strict=True):
        generator.set_state(kept)
    return recording
