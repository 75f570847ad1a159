"""What rho does: displacement, kinetic temperature and <U> of one walker at several rho.

    python validation/rho.py CONFIG STORE --rho 5e-8 1e-3 --walker 3 [--steps 20000] [--set section.key=value]

All start from the last commit of STORE, a run of CONFIG. Prints a Markdown table: rho, excess temperature of the
directions in which mini-batch noise is strongest, kinetic temperature, mean squared displacement in
one step and over all steps divided by their number, both over |w|², the former per second, and <U> of the second half
with its standard error.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from analysis.show.cells import exponent_form, plus_minus
from analysis.statistics.chains import estimate
from protmpi import tasks
from protmpi.config import Config, load
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.store.reader import Store
from protmpi.tasks import Task

LOOK = 200  # steps between two energies


def row(config: Config, task: Task, store: Store, walker: int, rho: float, steps: int) -> str:
    """The line of the table for one rho."""
    assert store.record is not None
    position = store.read_checkpoint(store.record, range(walker, walker + 1))["position"]
    temperatures = store.read("temperature")
    sampler = config.sampler.model_copy(update={"rho": rho, "adapt_until": 0, "min_adj_step": 5_000,
                                                "max_adj_step": 5_000})  # fmt: skip
    block = LangevinBlock(range(walker, walker + 1), torch.from_numpy(position),
                          temperatures[[walker % len(temperatures)]], task, sampler, config.run.seed + 1)  # fmt: skip
    block.initialise()
    start, norm2 = block.position.double(), float((block.position.double() ** 2).sum())
    single, kinetic, energies, seconds = [], [], [], 0.0
    for _ in range(steps // LOOK):
        began = time.perf_counter()
        block.explore(LOOK - 1)
        seconds += time.perf_counter() - began
        before = block.position
        block.explore(1)
        single.append(float(((block.position - before).double() ** 2).sum()) / norm2)
        kinetic.append(block.kinetic_ratio()[0])
        energies.append(task.evaluate(block.position, "train")[0][0] + block.regularisation()[0])
    whole = float(((block.position.double() - start) ** 2).sum()) / norm2 / steps
    heat = block.collective_excess[0]
    mean = estimate(np.array(energies)[None, len(energies) // 2 :])
    rate = np.mean(single) * len(single) * (LOOK - 1) / seconds
    return (f"| {exponent_form(rho)} | {heat:.2g} | {np.mean(kinetic):.3f} | {np.mean(single):.2g} | {whole:.2g} "
            f"| {rate:.2g} | {plus_minus(*mean)} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rho", type=float, nargs="+", required=True)
    parser.add_argument("--walker", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config, store = load(asked.config, asked.overrides), Store(asked.store)
    task = tasks.build(config)
    print("| rho | collective excess | T_kin/T | displacement² per step | over all steps | per second | U |\n"
          "|---|---|---|---|---|---|---|")  # fmt: skip
    for rho in asked.rho:
        print(row(config, task, store, asked.walker, rho, asked.steps), flush=True)


if __name__ == "__main__":
    main()
