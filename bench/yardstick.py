"""Pseudo-Langevin against hybrid Monte Carlo on the same network, data and sphere: <U>, var U and error must agree.

    python bench/yardstick.py CONFIG STORE [--minutes 10]

STORE is a run of CONFIG. At three of its temperatures constrained full-batch HMC starts from the run's last snapshot,
with masses proportional to the run's, tunes its step in the first fifth of the time and samples in the rest. Prints a
Markdown table with z-scores; exits with 1 when one is beyond 4.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from analysis.chains import equilibration, estimate
from protmpi import tasks
from protmpi.config import Config, load
from protmpi.sampling import hmc
from protmpi.sampling.constrained import dot
from protmpi.sampling.streams import Streams
from protmpi.store import writer
from protmpi.store.reader import Store
from protmpi.tasks import Task

LEAPFROG_STEPS = 25
ACCEPTANCE = 0.8  # aimed at while tuning


def hybrid_monte_carlo(config: Config, task: Task, store: Store, walker: int, minutes: float) -> dict[str, np.ndarray]:
    """Energies, validation errors and acceptances after tuning, one per trajectory."""
    record = store.record
    assert record is not None
    state = writer.read_checkpoint(store.path, record, range(walker, walker + 1))
    temperature = torch.tensor([[store.read("temperature")[walker % len(store.read("temperature"))]]])
    position, mass = torch.from_numpy(state["position"]), torch.from_numpy(state["mass"])
    streams, everything = Streams(config.run.seed + 1, [walker]), np.arange(task.train_size)[None]

    def energy_gradient(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        energy, gradient = task.gradient(w, everything)
        return energy.double().unsqueeze(1), gradient

    kernel = hmc.build(
        temperature.float(), 1.0, LEAPFROG_STEPS, energy_gradient,
        lambda like: streams.normals("momentum", like),
        lambda: torch.tensor([[streams.uniform("reset", 0)]], dtype=torch.float64),
        dot(position, position), config.sampler.fixman,
    )  # fmt: skip
    walkers, began = kernel.init(position, mass), time.monotonic()
    rows: list[tuple[float, float, float]] = []
    while time.monotonic() - began < 60 * minutes:
        walkers = kernel.step(walkers)
        if time.monotonic() - began < 12 * minutes:
            kernel.dt *= np.exp(0.2 * (float(walkers.accepted) - ACCEPTANCE))
            continue
        observed = task.draw_observables(walkers.position)
        rows.append((float(observed["energy"][0]), float(observed["val_error"][0]), float(walkers.accepted)))
    return dict(zip(("energy", "val_error", "accepted"), np.array(rows).T, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--slots", type=int, nargs="+", default=[0, 1, 2], help="temperatures to compare")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each temperature")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config, store = load(asked.config), Store(asked.store)
    task, first = tasks.build(config), store.first_measured["draw"]
    print("| T | observable | pseudo-Langevin | HMC | z | HMC acceptance |\n|---|---|---|---|---|---|")
    worst = 0.0
    for slot in asked.slots:
        reference = hybrid_monte_carlo(config, task, store, slot, asked.minutes)
        for name, power in (("energy", 1), ("energy", 2), ("val_error", 1)):
            series = [store.read(name)[slot, first:], reference[name]]
            chains = [chain[None, equilibration(chain[None]) :] for chain in series]
            if power == 2:
                chains = [(chain - chain.mean()) ** 2 for chain in chains]
            (a, da), (b, db) = map(estimate, chains)
            z = (a - b) / np.hypot(da, db)
            worst = max(worst, abs(z))
            temperature = f"{store.read('temperature')[slot]:.2e}"
            label = name if power == 1 else f"variance of {name}"
            both = f"{a:.4g} ± {da:.1g} | {b:.4g} ± {db:.1g}"
            print(f"| {temperature} | {label} | {both} | {z:+.1f} | {reference['accepted'].mean():.2f} |", flush=True)
    sys.exit(int(worst > 4))


if __name__ == "__main__":
    main()
