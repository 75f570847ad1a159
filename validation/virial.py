"""Configurational temperature over T of every array of an unconstrained run: where weights are too hot or too cold.

    python validation/virial.py STORE [--first STEP] [--last STEP]

In equilibrium <w_i dU/dw_i> = T for every parameter (integration by parts), so that <w·dU/dw>/(P T) is 1 over any of
them. Unlike the kinetic temperature this is a property of the weights, which a slow mode keeps for as long as it takes
to relax. Prints a Markdown table, one line per temperature: the mean over the snapshots from step `first` (the end of
the burn-in) to `last`, with its standard error over snapshots, which must be far enough apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from analysis import open_run
from analysis.show.cells import exponent_form, plus_minus
from protmpi import tasks
from protmpi.config import parse_stored
from protmpi.errors import StoreError
from protmpi.sampling.kernels.energy import Regulariser, full_gradient


def virial(task: tasks.Task, regulariser: Regulariser, w: torch.Tensor) -> np.ndarray:
    """w·dU/dw (W, arrays) at weights w (W, P), for each array of the network."""
    product = (full_gradient(task, regulariser, w)[1] * w).double()
    return np.stack([product[:, entry.slice].sum(1).cpu().numpy() for entry in task.layout.entries], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--first", type=int)
    parser.add_argument("--last", type=int)
    asked = parser.parse_args()
    run = open_run(asked.store)
    config = parse_stored(run.store.config, f"{asked.store}: stored configuration")
    if config.sampler.constrained or config.sampler.gamma:
        raise StoreError(f"{asked.store}: the virial is that of a run without constraint and without tether")
    task = tasks.build(config)
    sizes = np.array([entry.size for entry in task.layout.entries])
    steps = run.store.read("snapshot_step")
    first = run.burn_in if asked.first is None else asked.first
    chosen = (steps >= first) & (steps <= (asked.last or steps[-1]))
    names = [entry.name for entry in task.layout.entries]
    print(f"| T | snapshots | all | {' | '.join(names)} |\n{'|---' * (3 + len(names))}|")
    snapshots = run.by_temperature("parameters")
    for slot, temperature in enumerate(run.temperature):
        found = []
        for w in snapshots[:, slot, chosen[: snapshots.shape[2]]].reshape(-1, snapshots.shape[-1]):
            if np.isfinite(w).all():
                here = torch.from_numpy(w.astype(np.float32))[None]
                found.append(virial(task, Regulariser(config.sampler.lamda, 0.0, here), here)[0])
        if len(found) < 2:
            raise StoreError(f"{asked.store}: fewer than two snapshots at T = {exponent_form(temperature)} to count")
        per_array = np.array(found)
        ratios = np.column_stack([per_array.sum(1) / sizes.sum(), per_array / sizes]) / temperature
        mean, error = ratios.mean(0), ratios.std(0, ddof=1) / len(ratios) ** 0.5
        cells = " | ".join(plus_minus(*both) for both in zip(mean, error, strict=True))
        print(f"| {exponent_form(temperature)} | {len(ratios)} | {cells} |")


if __name__ == "__main__":
    main()
