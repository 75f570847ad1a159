"""Acceptance of the leapfrog and of a two-stage integrator at equal numbers of gradients.

    python validation/integrators.py configs/demo.toml runs/demo/store.zarr                        ten minutes of a core

Walkers are the last snapshots of a store in equilibrium. Masses are one estimate of s² at each temperature, averaged
over its walkers. The two-stage integrator is that of Blanes, Casas and Sanz-Serna (SIAM J. Sci. Comput. 36 (2014)
A1556): kicks of b, 1 - 2b and b with half a drift between them. A step has two gradients, so it is twice as long.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from protmpi import tasks
from protmpi.config import load
from protmpi.sampling.kernels.energy import Regulariser, full_gradient
from protmpi.sampling.kernels.trajectories import State, Trajectories
from protmpi.store.reader import Store

B = 0.21178
GRADIENTS, TRAJECTORIES = 48, 100
LENGTHS = (0.002, 0.003, 0.004, 0.005)  # h sqrt(T) for each gradient
BATCH, ESTIMATES, FLOOR = 16, 60, 1e-3
JITTER = 0.2


class TwoStage(Trajectories):
    """Kick b h, drift h/2, kick (1 - 2b) h, drift h/2, kick b h."""

    def step(self, state: State, h: Tensor) -> State:
        before = self._hamiltonian(state)
        for kick in (B, 1.0 - 2.0 * B):
            state = self._drift(self._half_kick(state, 2.0 * kick * h), 0.5 * h)
        state = self._half_kick(state, 2.0 * B * h)
        return replace(state, error=state.error + (self._hamiltonian(state) - before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("store", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = tasks.build(load(asked.config))
    store = Store(asked.store)
    ladder = np.asarray(store.config["sampler"]["temperatures"])
    w = torch.tensor(store.read("parameters")[:, -1])
    temperature = torch.tensor(np.tile(ladder, len(w) // len(ladder)), dtype=w.dtype).unsqueeze(1)
    mass = masses(task, w, len(ladder)) / temperature
    norm2 = w.square().sum(1, keepdim=True, dtype=torch.float64)
    regulariser, random = Regulariser(0.0, 0.0, w), torch.Generator().manual_seed(0)

    print("| h sqrt(T) for each gradient | leapfrog | two-stage |\n|---|---|---|")
    for length in LENGTHS:
        means = []
        for integrator, gradients in ((Trajectories, 1), (TwoStage, 2)):
            kernel = integrator(
                temperature, mass, lambda x: full_gradient(task, regulariser, x),
                lambda like: torch.randn(like.shape, generator=random), norm2,
            )  # fmt: skip
            means.append(acceptance(kernel, w, gradients * length / temperature.sqrt(), GRADIENTS // gradients, random))
        print(f"| {length} | {means[0]} | {means[1]} |", flush=True)


def masses(task: tasks.Task, w: Tensor, slots: int) -> Tensor:
    """M T (W, P): the variance of the gradient of a sample, the mean over the walkers at each temperature."""
    random = np.random.default_rng(0)
    size = (len(w), BATCH)
    found = torch.stack([task.gradient(w, random.integers(task.train_size, size=size))[1] for _ in range(ESTIMATES)])
    variance = BATCH * found.var(0)
    variance = torch.maximum(variance, FLOOR * variance.mean(1, keepdim=True))
    return variance.view(-1, slots, w.shape[1]).mean(0).repeat(len(w) // slots, 1)


def acceptance(kernel: Trajectories, w: Tensor, h: Tensor, steps: int, random: torch.Generator) -> str:
    """Mean acceptance and its error between walkers."""
    state, seen = kernel.init(w), []
    for _ in range(TRAJECTORIES):
        before = after = kernel.start(state)
        spread = 1.0 + JITTER * (2.0 * torch.rand(h.shape, generator=random) - 1.0)
        for _ in range(steps):
            after = kernel.step(after, h * spread)
        seen.append(kernel.acceptance(after))
        state = after.where(torch.rand(h.shape, generator=random) < seen[-1], before)
    each = torch.stack(seen).mean(0)
    return f"{float(each.mean()):.3f} ± {float(each.std() / len(each) ** 0.5):.3f}"


if __name__ == "__main__":
    main()
