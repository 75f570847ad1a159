"""What torch.compile would save: the update of the constrained kernel, without gradient and random numbers.

    python bench/compiled.py

Prints a Markdown table: microseconds of the update as it is and compiled, what share of a whole step the difference
is, and the seconds that compiling takes in a fresh process.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from protmpi.bench import timings
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.sections import PUBLISHED_NETWORKS


def main() -> None:
    torch.set_num_threads(1)
    data = timings.synthetic_data()
    print("| network | update, us | compiled, us | saved of a step | compiling, s |\n|---|---|---|---|---|")
    for network in PUBLISHED_NETWORKS:
        block = timings.product_block(timings.task_of(network, data, "cpu"), 1, "single", "cpu")
        print(row(network, block), flush=True)


def row(network: str, block: LangevinBlock) -> str:
    """The line of one network."""
    kernel, state = block.kernel, block.state
    (step,) = timings.medians(lambda: block.explore(1), device="cpu")
    gradient = torch.from_numpy(np.random.default_rng(1).standard_normal(block.position.shape, np.float32)) * 1e-3
    xi = torch.randn_like(gradient)
    kernel.gradient, kernel.normals = lambda w: gradient, lambda like: xi
    torch.compiler.reset()
    began = time.perf_counter()
    compiled = torch.compile(kernel.step, fullgraph=True)
    compiled(state)
    seconds = time.perf_counter() - began
    eager, fused = timings.medians(lambda: kernel.step(state), lambda: compiled(state), device="cpu")
    return (f"| {network} | {1e6 * eager:.0f} | {1e6 * fused:.0f} | {100 * (eager - fused) / step:.1f} % "
            f"| {seconds:.1f} |")  # fmt: skip


if __name__ == "__main__":
    main()
