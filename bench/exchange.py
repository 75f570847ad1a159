"""What a sweep of replica exchange costs a rank of a large run, against the steps between two sweeps.

    python bench/exchange.py [--ranks 1024] [--network transformer-1-26] [--every 500]

One walker per rank; the words of all ranks are made up here, so the time on the wire is missing: a rank says some 200
bytes in a sweep, whatever the network.
"""

from __future__ import annotations

import argparse
import pickle
import time

import numpy as np
import torch

from protmpi.bench import timings
from protmpi.sampling.kernels.noise import Thermostat, white_noise
from protmpi.sampling.temperature.exchange import Exchange

LADDERS, REPEATS = 2, 20


def sweep_seconds(ranks: int, size: int) -> float:
    """Best time of unpacking all energies, the swaps of all ladders, the digests, and the new masses of a walker."""
    random = np.random.default_rng(1)
    slots = ranks // LADDERS
    walk = Exchange(np.geomspace(1e-4, 2e-4, slots), np.tile(np.arange(slots), LADDERS), 1, "even-odd")
    energies = [pickle.dumps(np.array([1.0 + 1e-3 * random.standard_normal()])) for _ in range(ranks)]
    digests = [pickle.dumps(bytes(32)) for _ in range(ranks)]
    thermal = torch.ones(1, size)
    times = []
    for number in range(REPEATS):
        began = time.perf_counter()
        walk.sweep(number, np.concatenate([pickle.loads(words) for words in energies]), learn=True)
        assert len({pickle.loads(words) for words in digests}) == 1
        temperature = torch.full((1, 1), float(walk.temperatures[walk.slot[0]]))
        white_noise(thermal, thermal / temperature, Thermostat(temperature, 0.1, 1.0, "single"))
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=1_024)
    parser.add_argument("--network", default="transformer-1-26")
    parser.add_argument("--every", type=int, default=500, help="steps between two sweeps")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = timings.task_of(asked.network, timings.synthetic_data(), "cpu")
    steps = asked.every * timings.gradient(task, 1, "cpu").seconds
    sweep = sweep_seconds(asked.ranks, task.layout.size)
    print(f"{asked.ranks} ranks, {asked.network} ({task.layout.size:,} parameters): {1e3 * sweep:.2f} ms for a sweep, "
          f"{steps:.3g} s for the gradients of {asked.every} steps: {100 * sweep / (sweep + steps):.2f} %")  # fmt: skip


if __name__ == "__main__":
    main()
