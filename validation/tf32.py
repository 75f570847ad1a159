"""What TF32 does to <U>, told without a GPU: matrix products of operands cut to TF32's ten bits of mantissa.

    python validation/tf32.py CONFIG STORE [--rho 1e-3] [--steps 12000] [--set section.key=value]

All walkers go on from the last commit of STORE, a run of CONFIG, with the mini-batches and normals of one seed: once in
float32, once with every product as tensor cores make it, which leave out the other bits of both factors and add up in
float32. Prints a Markdown table: <U> of the second half both ways with standard errors, the z-score of the difference,
what TF32 changes in U at the same weights, and by how much it changes a mini-batch gradient, in units of its noise.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.show.cells import exponent_form, plus_minus
from analysis.statistics.chains import estimate
from protmpi import tasks
from protmpi.config import Config, load
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.store.reader import Store
from protmpi.tasks import Task

LOOK = 200  # steps between two energies
FACTORS = {"bmm": slice(0, 2), "mm": slice(0, 2), "baddbmm": slice(1, 3), "baddbmm_": slice(1, 3), "addmm": slice(1, 3)}
KEPT = -(1 << 13)  # of the bits of a float32: sign, exponent, ten of mantissa


class Tensorfloat(TorchDispatchMode):
    """Matrix products in TF32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if where := FACTORS.get(func.overloadpacket.__name__):
            args = (*args[: where.start], *map(cut, args[where]), *args[where.stop :])
        return func(*args, **(kwargs or {}))


def cut(x: Tensor) -> Tensor:
    """x to ten bits of mantissa; products in float64 stay what they are."""
    return x if x.dtype != torch.float32 else x.view(torch.int32).bitwise_and(KEPT).view(torch.float32)


Mode = AbstractContextManager[Any]


def energies(
    config: Config, task: Task, position: Tensor, temperatures: np.ndarray, steps: int, mode: Mode
) -> tuple[np.ndarray, LangevinBlock]:
    """U (walkers, looks) of `steps` steps, and the walkers where they end."""
    walkers = range(len(position))
    block = LangevinBlock(walkers, position, temperatures, task, config.sampler, config.run.seed + 1)
    block.initialise()
    found = []
    with mode:
        for _ in range(steps // LOOK):
            block.explore(LOOK)
            found.append(task.evaluate(block.position, "train")[0])
    return np.stack(found, axis=1), block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rho", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config, store = load(asked.config, asked.overrides), Store(asked.store)
    sampler = config.sampler.model_copy(update={"rho": asked.rho, "adapt_until": 0, "min_adj_step": 5_000,
                                                "max_adj_step": 5_000})  # fmt: skip
    config, task = config.model_copy(update={"sampler": sampler}), tasks.build(config)
    assert store.record is not None
    position = torch.from_numpy(store.read_checkpoint(store.record, range(store.schema.walkers))["position"])
    slots = store.read("slot")[:, -1]
    temperatures = store.read("temperature")[slots]
    plain, block = energies(config, task, position, temperatures, asked.steps, nullcontext())
    short, _ = energies(config, task, position, temperatures, asked.steps, Tensorfloat())
    indices = np.random.default_rng(1).integers(task.train_size, size=(len(position), sampler.batch))
    u, g = task.evaluate(block.position, "train")[0], task.gradient(block.position, indices)[1]
    with Tensorfloat():
        shift = task.evaluate(block.position, "train")[0] - u
        error = task.gradient(block.position, indices)[1] - g
    noise = (error.square().sum(1) / block.state.noise_variance.sum(1)).sqrt().numpy()
    print("| T | U, float32 | U, TF32 | z | U at the same weights | gradient, of its noise |\n"
          "|---|---|---|---|---|---|")  # fmt: skip
    for temperature in np.unique(temperatures):
        mine = temperatures == temperature
        (a, da), (b, db) = (estimate(series[mine, series.shape[1] // 2 :]) for series in (plain, short))
        print(f"| {exponent_form(temperature)} | {plus_minus(a, da)} | {plus_minus(b, db)} "
              f"| {(b - a) / np.hypot(da, db):+.1f} | {shift[mine].mean():+.1g} "
              f"| {noise[mine].mean():.1g} |")  # fmt: skip


if __name__ == "__main__":
    main()
