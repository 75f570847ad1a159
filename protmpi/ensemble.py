"""The walkers of one rank: their blocks side by side, seen as one."""

from __future__ import annotations

import time

import numpy as np
import torch

from protmpi.plan import Plan
from protmpi.sampling.block import Block


class Ensemble:
    """Blocks `blocks` of the plan on one device."""

    def __init__(self, plan: Plan, blocks: range, device: str) -> None:
        self.plan, self.walkers = plan, plan.walkers_of(blocks)
        self._blocks = [self._block(plan.walkers_of(range(b, b + 1)), device) for b in blocks]
        self._since = time.monotonic()

    def _block(self, walkers: range, device: str) -> Block:
        plan, task = self.plan, self.plan.task
        start = torch.from_numpy(np.stack([plan.start(walker) for walker in walkers])).to(device)
        temperatures = np.array([plan.config.sampler.temperatures[plan.slot(walker)] for walker in walkers])
        return Block(
            walkers, start, temperatures, lambda w, indices: task.gradient(w, indices)[1], task.train_size,
            task.layout, plan.config.sampler, plan.config.run.seed,
        )  # fmt: skip

    @property
    def step(self) -> int:
        return self._blocks[0].step

    def initialise(self) -> None:
        """Estimate s² and draw momenta at the starting weights."""
        for block in self._blocks:
            block.initialise()

    def explore(self, steps: int) -> None:
        """Advance every walker."""
        for block in self._blocks:
            block.explore(steps)

    def finite(self) -> np.ndarray:
        """Which walkers are still on their sphere, bool (my walkers,)."""
        return np.concatenate([block.finite() for block in self._blocks])

    def draw(self) -> dict[str, np.ndarray]:
        """One row of every variable over draws, (my walkers,) each."""
        rows = [{**self.plan.task.draw_observables(b.state.position), **b.observables()} for b in self._blocks]
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return {
            **_side_by_side(rows),
            "slot": np.array([self.plan.slot(walker) for walker in self.walkers]),
            "seconds": np.full(len(self.walkers), seconds),
        }

    def snapshot(self) -> dict[str, np.ndarray]:
        """One row of every variable over snapshots, (my walkers, ...) each."""
        rows = []
        for block in self._blocks:
            w = block.state.position
            rows.append({**self.plan.task.snapshot_observables(w), "parameters": w.cpu().numpy()})
        return _side_by_side(rows)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """Everything needed to go on bit for bit, arrays (my walkers, ...)."""
        return _side_by_side([block.checkpoint() for block in self._blocks])

    def restore(self, step: int, checkpoint: dict[str, np.ndarray]) -> None:
        """Go on from a checkpoint taken at `step`."""
        first = 0
        for block in self._blocks:
            rows = slice(first, first + len(block.walkers))
            block.restore(step, {name: values[rows] for name, values in checkpoint.items()})
            first = rows.stop


def _side_by_side(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
