"""The walkers of one rank: several blocks that act as one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protmpi import sampling
from protmpi.plan import Plan
from protmpi.quarantine import Loss, dump
from protmpi.sampling.walkers.block import Block


class Ensemble:
    """The given `blocks` of the plan on one device."""

    def __init__(self, plan: Plan, blocks: range, device: str) -> None:
        self.plan, self.walkers = plan, plan.walkers_of(blocks)
        self._blocks = [self._block(plan.walkers_of(range(b, b + 1)), device) for b in blocks]
        self.energies = np.full(len(self.walkers), np.nan)
        """Full-batch energies at the last draw, (my walkers,)."""
        self._since = time.monotonic()

    def _block(self, walkers: range, device: str) -> Block[Any]:
        plan = self.plan
        start = torch.tensor(np.stack([plan.starts.of(walker) for walker in walkers]), device=device)
        config = plan.config
        temperatures = np.array([config.temperature_of(walker) for walker in walkers])
        anneal = [config.annealing(walker) for walker in walkers]
        return sampling.build(walkers, start, temperatures, plan.task, config.sampler, config.run.seed, anneal)

    @property
    def step(self) -> int:
        return self._blocks[0].step

    def keep(self) -> None:
        """Keep the state of every walker, for `last_good` and in case a walker is lost in the next steps."""
        for block in self._blocks:
            block.keep()

    def explore(self, steps: int) -> None:
        """Advance every walker. Before the first step, estimate s² and draw momenta."""
        if self.step == 0:
            for block in self._blocks:
                block.initialise()
            self.keep()
        for block in self._blocks:
            block.explore(steps)

    def quarantine(self, folder: Path, known: set[int]) -> list[Loss]:
        """Write the last good state of every walker that was lost since the last `keep`, except the `known` ones."""
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
        return {**found, "seconds": np.full(len(self.walkers), seconds)}

    @property
    def shares_masses(self) -> bool:
        return self._blocks[0].thermal_mass is not None

    def thermal_mass(self) -> np.ndarray:
        """Largest M T of my walkers for each parameter, (P,); lost walkers have none."""
        largest = [
            (block.mass * block.temperature).nan_to_num(0.0, posinf=0.0).amax(0) for block in self._blocks
        ]
        return np.asarray(torch.stack(largest).amax(0).cpu().numpy())

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        """Set M = thermal_mass / T for every walker from now on. thermal_mass (P,) is the same on every rank."""
        for block in self._blocks:
            block.share_masses(thermal_mass)

    def move(self, temperatures: np.ndarray) -> None:
        """Put my walkers at `temperatures` (my walkers,)."""
        for block, rows in zip(self._blocks, self._rows(), strict=True):
            block.move(temperatures[rows])

    def _rows(self) -> list[slice]:
        """The rows of each block among my walkers."""
        first = self.walkers.start
        return [slice(block.walkers[0] - first, block.walkers[-1] + 1 - first) for block in self._blocks]

    def snapshot(self) -> dict[str, np.ndarray]:
        """One row of every variable over snapshots, (my walkers, ...) each."""
        rows = []
        for block in self._blocks:
            w = block.position
            rows.append({**self.plan.task.snapshot_observables(w), "parameters": w.cpu().numpy()})
        return _side_by_side(rows)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """The state from which a run continues bit for bit: arrays (my walkers, ...)."""
        return _side_by_side([block.checkpoint() for block in self._blocks])

    def last_good(self) -> tuple[int, dict[str, np.ndarray]]:
        """Step and checkpoint of the last `keep`. At step 0 there is nothing worth keeping."""
        return self._blocks[0].last_good[0], _side_by_side([block.last_good[1] for block in self._blocks])

    def stand_in(self, step: int) -> dict[str, np.ndarray]:
        """An example of a checkpoint taken at `step`: names, shapes and types."""
        return _side_by_side([block.stand_in(step) for block in self._blocks])

    def restore(self, step: int, checkpoint: dict[str, np.ndarray], temperatures: np.ndarray) -> None:
        """Continue from a checkpoint taken at `step`, with my walkers at `temperatures` (my walkers,)."""
        for block, rows in zip(self._blocks, self._rows(), strict=True):
            block.restore(step, {name: values[rows] for name, values in checkpoint.items()}, temperatures[rows])


def _side_by_side(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
