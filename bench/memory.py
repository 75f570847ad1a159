"""Peak memory of a rank with many walkers: the largest network and 64 of them, unless told otherwise.

    python bench/memory.py [--network transformer-4-64] [--walkers 64]

Prints how much the process grew from before the walkers were made, over 2 steps, an evaluation and commits that are
written while the walkers go on.
"""

from __future__ import annotations

import argparse
import resource

import torch

from protmpi.bench import timings


def peak() -> float:
    """Largest resident size of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="transformer-4-64")
    parser.add_argument("--walkers", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = timings.task_of(asked.network, timings.synthetic_data(), "cpu")
    before = peak()
    block = timings.product_block(task, asked.walkers, "single", "cpu")
    block.explore(2)
    task.draw_observables(block.position)
    block.keep()
    timings.commit(lambda: timings.handed_over(block), lambda: block.explore(1))
    grown, numbers = peak() - before, block.position.numel() * 4 / 1e9
    print(f"{asked.network}, {asked.walkers} walkers: {grown:.2f} GB, {grown / numbers:.1f} arrays of walkers x P")


if __name__ == "__main__":
    main()
