"""How many walkers go through the network together. The fastest number is measured on the device of the run."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from protmpi.config import Config
from protmpi.store.reader import Store
from protmpi.tasks import Task

REPEATS = 5
WORTH = 1.05  # a block twice as large must be at least this much faster


def block_size(config: Config, task: Task, ranks: int) -> int:
    """`run.walkers_per_block`. "auto" is 1 on a CPU; on a GPU the fastest size that leaves a block for each rank.

    Full batches fill a GPU in chunks of their own (`Splits._at_a_time`), so all walkers of a rank form one block.

    The last bits of a sum may depend on how many walkers are summed together, and a chunk of the store holds a block.
    On a CPU larger blocks gain little, so a block is one walker and the bits do not depend on the number of ranks.
    On a GPU a run keeps the block size that it began with.
    """
    asked, store = config.run.walkers_per_block, config.execution.store
    if asked != "auto":
        return asked
    if task.device.type == "cpu":
        return 1
    if store.exists():
        return Store(store).schema.walkers_per_block
    if config.sampler.full_batch:
        return -(-config.walkers // ranks)
    return fastest(task, config.sampler.batch, max(1, config.walkers // ranks))


def fastest(task: Task, batch: int, most: int) -> int:
    """The number of walkers (`most`, a half, a quarter ... of it) with the cheapest mini-batch gradient per walker."""
    sizes = sorted({-(-most // 2**halvings) for halvings in range(most.bit_length())})
    best, seconds = sizes[0], _seconds_each(task, batch, sizes[0]) if most > 1 else 0.0
    for size in sizes[1:]:
        larger = _seconds_each(task, batch, size)
        if larger * WORTH > seconds:
            break
        best, seconds = size, larger
    return best


def _seconds_each(task: Task, batch: int, walkers: int) -> float:
    """Median seconds of a joint gradient of several walkers, divided by their number."""
    random = np.random.default_rng(0)
    w = torch.from_numpy(np.stack([task.initial(random) for _ in range(walkers)])).float().to(task.device)
    times = []
    for _ in range(REPEATS + 1):
        indices = random.integers(task.train_size, size=(walkers, batch))
        began = time.perf_counter()
        task.gradient(w, indices)
        if w.is_cuda:
            torch.cuda.synchronize(w.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) / walkers
