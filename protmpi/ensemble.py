"""The walkers of one rank: their blocks side by side, seen as one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protmpi import sampling
from protmpi.plan import Plan
from protmpi.quarantine import Loss, dump
from protmpi.sampling.block import Block


class Ensemble:
    """Blocks `blocks` of the plan on one device."""

    def __init__(self, plan: Plan, blocks: range, device: str) -> None:
        self.plan, self.walkers = plan, plan.walkers_of(blocks)
        self._blocks = [self._block(plan.walkers_of(range(b, b + 1)), device) for b in blocks]
        self.slot = np.array([plan.slot(walker) for walker in self.walkers])
        self.temperature = np.asarray(plan.config.sampler.temperatures)[self.slot]
        self.energies = np.full(len(self.walkers), np.nan)
        """Full-batch energies at the last draw, (my walkers,)."""
        self._since = time.monotonic()

    def _block(self, walkers: range, device: str) -> Block[Any]:
        plan = self.plan
        start = torch.from_numpy(np.stack([plan.start(walker) for walker in walkers])).to(device)
        temperatures = np.array([plan.config.sampler.temperatures[plan.slot(walker)] for walker in walkers])
        return sampling.build(walkers, start, temperatures, plan.task, plan.config.sampler, plan.config.run.seed)

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

    def quarantine(self, folder: Path, known: set[int]) -> list[Loss]:
        """Write the last good state of every walker that was lost in the last stretch, the `known` ones left out."""
        return [
            dump(folder, self.plan.config, self.plan.task, block, row)
            for block in self._blocks
            for row, finite in enumerate(block.finite())
            if not finite and block.walkers[row] not in known
        ]

    def draw(self) -> dict[str, np.ndarray]:
        """One row of every variable over draws, (my walkers,) each."""
        rows = [
            {**self.plan.observables(block.position, block.regulariser), **block.observables()}
            for block in self._blocks
        ]
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        found = _side_by_side(rows)
        self.energies = found["energy"]
        return {
            **found,
            "slot": self.slot.copy(),
            "slot_temperature": self.temperature.copy(),
            "seconds": np.full(len(self.walkers), seconds),
        }

    def masses(self) -> np.ndarray:
        """Masses (my walkers, P)."""
        return np.concatenate([block.mass.cpu().numpy() for block in self._blocks])

    def move(self, walker: int, slot: int, temperature: float, mass: np.ndarray) -> None:
        """Put a walker at another temperature, with the masses (P,) that belong to it."""
        block = next(block for block in self._blocks if walker in block.walkers)
        block.move(block.walkers.index(walker), temperature, mass)
        row = walker - self.walkers.start
        self.slot[row], self.temperature[row] = slot, temperature

    def snapshot(self) -> dict[str, np.ndarray]:
        """One row of every variable over snapshots, (my walkers, ...) each."""
        rows = []
        for block in self._blocks:
            w = block.position
            rows.append({**self.plan.task.snapshot_observables(w), "parameters": w.cpu().numpy()})
        return _side_by_side(rows)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """Everything needed to go on bit for bit, arrays (my walkers, ...)."""
        return _side_by_side([block.checkpoint() for block in self._blocks])

    def restore(self, step: int, checkpoint: dict[str, np.ndarray], temperatures: np.ndarray) -> None:
        """Go on from a checkpoint taken at `step`, with the walkers at the `temperatures` (slots,) of their slots."""
        first, self.slot = 0, checkpoint["slot"].copy()
        self.temperature = temperatures[self.slot]
        for block in self._blocks:
            rows = slice(first, first + len(block.walkers))
            block.set_temperatures(self.temperature[rows])
            block.restore(step, {name: values[rows] for name, values in checkpoint.items()})
            first = rows.stop


def _side_by_side(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
