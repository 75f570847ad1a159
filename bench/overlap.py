"""What a commit costs a run whose steps are made by a device: the host writes meanwhile.

    python bench/overlap.py [--network transformer-1-26] [--walkers 64] [--ms 2.8]

A step of `--ms` milliseconds (2.8 is what an H200 takes for 64 walkers of that network) is a sleep here: what is seen
is the share of the host and of the disk under the folder for temporary files ($TMPDIR), none of a GPU.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from protmpi.bench import timings
from protmpi.config import parse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="transformer-1-26")
    parser.add_argument("--walkers", type=int, default=64)
    parser.add_argument("--ms", type=float, default=2.8)
    asked = parser.parse_args()
    size = timings.task_of(asked.network, timings.synthetic_data(), "cpu").layout.size
    random = np.random.default_rng(1)
    state = {name: random.standard_normal((asked.walkers, size), dtype=np.float32)
             for name in ("position", "momentum", "mass", "noise_variance", "gradient")}  # fmt: skip

    def work() -> None:
        for _ in range(timings.GPU_STEPS):
            time.sleep(asked.ms / 1e3)

    waiting, beside = timings.commit(lambda: state, None), timings.commit(lambda: state, work)
    run = parse({}, "defaults").run
    chunk = run.draws_per_chunk * run.record_every * asked.ms / 1e3
    print(f"{asked.network}, {asked.walkers} walkers, commits after {chunk:.1f} s of steps of {asked.ms:g} ms: "
          f"{waiting:.2f} s ({waiting / chunk:.1%}) if the run waits, {beside:.2f} s ({beside / chunk:.1%}) "
          "beside it")  # fmt: skip


if __name__ == "__main__":
    main()
