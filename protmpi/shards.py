"""A mini-batch cut into shards that the ranks divide. The gradient is bit for bit the same on any number of ranks.

Gradients are gathered and summed in the order of the shards. With every gradient the ranks also exchange whether they
must stop, so that all stop at the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpc.stop import Interrupted
from hpc.world import World
from protmpi.errors import WorldError
from protmpi.models.layers import Dropout
from protmpi.tasks import Task

Evaluation = tuple[np.ndarray, np.ndarray]
"""Full-batch energy and error (W,) on a split."""


def evaluate_all(task: Task, w: Tensor, splits: tuple[str, ...]) -> list[Evaluation]:
    """Full-batch energy and error at w (W, P) on each of the splits."""
    return [task.evaluate(w, split) for split in splits]


@dataclass(frozen=True)
class Shards:
    """`count` shards of every mini-batch, dealt to the ranks of `world` in turn."""

    world: World
    count: int
    told: Callable[[], bool]
    """Whether this rank has received a request to stop."""

    @classmethod
    def of(cls, world: World, count: int, told: Callable[[], bool]) -> Shards:
        """Raises WorldError if there are more ranks than shards."""
        if world.size > count:
            raise WorldError(f"{world.size} ranks for train.shards = {count}: start at most {count} ranks, or raise it")
        return cls(world, count, told)

    def evaluate(self, task: Task, w: Tensor, splits: tuple[str, ...]) -> list[Evaluation]:
        """`evaluate_all` with the splits divided among the ranks. All ranks get the same result. Collective."""
        mine = evaluate_all(task, w, splits[self.world.rank :: self.world.size])
        everyone = self.world.allgather(mine)
        return [everyone[n % self.world.size][n // self.world.size] for n in range(len(splits))]

    def gradient(self, task: Task, w: Tensor, indices: np.ndarray, drop: Callable[[int], Dropout | None]) -> Tensor:
        """Gradient (1, P) at w (1, P) on the training samples `indices` (1, B). Collective.

        drop(s) gives the random numbers of shard s. Raises Interrupted on all ranks if one of them must stop.
        """
        parts = np.array_split(indices, self.count, axis=1)
        mine = {}
        for shard in range(self.world.rank, self.count, self.world.size):
            part = parts[shard]
            if part.size:
                _, g = task.gradient(w, part, drop(shard))
                mine[shard] = g.mul_(part.size / indices.size).cpu().numpy()
        everyone = self.world.allgather((self.told(), mine))
        if any(told for told, _ in everyone):
            raise Interrupted
        gathered = {shard: g for _, found in everyone for shard, g in found.items()}
        total = gathered[0]
        for shard in range(1, len(gathered)):  # array_split makes the first shards larger
            total = total + gathered[shard]
        return torch.from_numpy(total).to(w.device)
