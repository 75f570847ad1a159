"""Two runs of the same problem by two samplers: every observable must agree at every temperature.

    python validation/yardstick.py STORE STORE [observable ...]

Prints a Markdown table: both means with their errors, z-score of the difference, difference in per cent. Where a run is
not in equilibrium there is neither error nor z-score. Exits with 1 when a z-score is beyond 4, or none is known. The
heat capacity var(U)/T² stands for the variance of U.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from analysis import open_run, thermodynamics
from analysis.show.cells import exponent_form, number_or_dash, plus_minus
from protmpi.errors import StoreError

OBSERVABLES = ("energy", "heat_capacity", "train_error", "val_error")
LIMIT = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", type=Path, nargs=2, metavar="STORE")
    parser.add_argument("observables", nargs="*", default=OBSERVABLES)
    asked = parser.parse_args()
    runs = [open_run(store) for store in asked.stores]
    first, second = (thermodynamics(run) for run in runs)
    if not np.array_equal(first["temperature"], second["temperature"]):
        raise StoreError(f"{asked.stores[0]} and {asked.stores[1]}: the temperatures differ")
    kinds = [run.store.config["sampler"]["kind"] for run in runs]
    print(f"| T | observable | {kinds[0]} | {kinds[1]} | z | difference | ESS |\n|---|---|---|---|---|---|---|")
    scores = []
    for slot, temperature in enumerate(first["temperature"].values):
        ess = " / ".join(f"{data['effective_samples'].values[slot]:.0f}" for data in (first, second))
        for name in asked.observables:
            (a, da), (b, db) = first[name].values[slot], second[name].values[slot]
            z = (a - b) / np.hypot(da, db)
            scores.append(abs(z))
            deviation = number_or_dash(z, "+.1f")
            print(f"| {exponent_form(temperature)} | {name} | {plus_minus(a, da)} | {plus_minus(b, db)} | {deviation} "
                  f"| {100 * (a / b - 1):+.2f} % | {ess} |")  # fmt: skip
    known = [z for z in scores if np.isfinite(z)]
    sys.exit(int(not known or max(known) > LIMIT))


if __name__ == "__main__":
    main()
