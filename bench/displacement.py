"""How far walkers move per step at the rho of a run, beside another rho: the gain of `rho = "auto"`.

    python bench/displacement.py CONFIG STORE [--rho 5e-8] [--steps 2000]

Both start from the last commit of STORE, whose run of CONFIG must be done. Prints a Markdown table of the mean squared
displacement in one step, and over all steps divided by their number, in units of |w|².
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from analysis.tables import exponent_form
from protmpi import tasks
from protmpi.config import load
from protmpi.sampling.langevin import LangevinBlock
from protmpi.store import writer
from protmpi.store.reader import Store


def displacements(block: LangevinBlock, steps: int) -> tuple[float, float]:
    """Mean squared displacement in one step, and over `steps` steps divided by `steps`, over |w|²."""
    start, norm2, single = block.position.double(), float((block.position.double() ** 2).sum()), 0.0
    for _ in range(steps):
        before = block.position
        block.explore(1)
        single += float(((block.position - before).double() ** 2).sum())
    return single / steps / norm2, float(((block.position.double() - start) ** 2).sum()) / steps / norm2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--rho", type=float, default=5e-8)
    parser.add_argument("--steps", type=int, default=2_000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config, store = load(asked.config, asked.overrides), Store(asked.store)
    task, temperatures = tasks.build(config), store.read("temperature")
    assert store.record is not None
    print(
        "| T | rho of the run | per step | per step over all | "
        f"rho = {exponent_form(asked.rho)}: per step | over all | ratios |\n|---|---|---|---|---|---|---|"
    )
    for walker in range(store.schema.walkers):
        arrays = writer.read_checkpoint(store.path, store.record, range(walker, walker + 1))
        rho = float(store.read("rho")[walker, -1])
        found = []
        for chosen in (rho, asked.rho):
            sampler = config.sampler.model_copy(update={"rho": chosen, "adapt_until": 0, "min_adj_step": 10**9,
                                                        "max_adj_step": 10**9})  # fmt: skip
            temperature = temperatures[walker % len(temperatures)]
            block = LangevinBlock(range(walker, walker + 1), torch.from_numpy(arrays["position"]),
                                  np.array([temperature]), task, sampler, config.run.seed + 1)  # fmt: skip
            block.initialise()
            found.append(displacements(block, asked.steps))
        (single, total), (slow_single, slow_total) = found
        print(f"| {exponent_form(temperature)} | {rho:.2g} | {single:.2g} | {total:.2g} | {slow_single:.2g} "
              f"| {slow_total:.2g} | {single / slow_single:.3g}, {total / slow_total:.3g} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
