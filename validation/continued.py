"""Walkers of one sampler that another one takes over: what was wrong with their law goes, what is only slow stays.

    protmpi run OTHER --set 'sampler.temperatures=[T]' --set sampler.start=STORE \\
        --set sampler.walkers_per_temperature=3 --store CONTINUED      for each T; as many walkers as STORE has at it
    python validation/continued.py STORE CONTINUED ...

Prints a Markdown table: the means over the walkers of `energy`, of the last quarter of STORE and after the burn-in of
CONTINUED, and the mean of the differences with its standard error, from the walkers, which are independent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from analysis.show.cells import exponent_form, plus_minus
from protmpi.errors import StoreError
from protmpi.store.reader import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("continued", type=Path, nargs="+")
    asked = parser.parse_args()
    before = Store(asked.store)
    energy, temperatures, slot = (before.read(name) for name in ("energy", "temperature", "slot"))
    last = energy[:, -(energy.shape[1] // 4) :].mean(1)
    print("| T | walkers | first sampler | then the other | difference | in per cent |\n|---|---|---|---|---|---|")
    for path in asked.continued:
        after = Store(path)
        (temperature,) = after.read("temperature")
        here = last[np.isclose(temperatures[slot[:, -1]], temperature)]
        there = after.read("energy")[:, after.first_measured["draw"] :].mean(1)
        if len(here) != len(there) or len(here) < 2:
            raise StoreError(f"{path}: has {len(there)} walkers at T = {temperature:g}, {asked.store} has {len(here)}; "
                             "as many are wanted, two or more")  # fmt: skip
        change = here - there
        mean, error = change.mean(), change.std(ddof=1) / len(change) ** 0.5
        print(f"| {exponent_form(temperature)} | {len(here)} | {here.mean():.4f} | {there.mean():.4f} "
              f"| {plus_minus(mean, error)} | {100 * mean / there.mean():+.2f} ± {100 * error / there.mean():.2f} "
              "|")  # fmt: skip


if __name__ == "__main__":
    main()
