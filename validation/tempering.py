"""Replica exchange against independent walkers of the same network: <U>(T) must agree.

    python validation/tempering.py EXCHANGE_STORE INDEPENDENT_STORE

Prints a Markdown table: <U> at the temperatures of the independent walkers, theirs and that of the exchange, reweighted
to the same T (`analysis.free_energy`), with errors and z-scores, both where the chains are in equilibrium.
Exits with 1 when a z-score is beyond 4, or none is known.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from analysis import free_energy, open_run, thermodynamics
from analysis.show.cells import exponent_form, number_or_dash, plus_minus

LIMIT = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("exchange", type=Path)
    parser.add_argument("independent", type=Path)
    asked = parser.parse_args()
    curve, alone = free_energy(open_run(asked.exchange)), thermodynamics(open_run(asked.independent))
    grid, (mean, sem) = curve["temperature"].values, curve["energy"].values.T
    print("| T | <U> independent | ESS | <U> exchange | z |\n|---|---|---|---|---|")
    scores = []
    samples = alone["effective_samples"].values
    for t, (a, da), ess in zip(alone["temperature"].values, alone["energy"].values, samples, strict=True):
        b, db = np.interp(t, grid, mean), np.interp(t, grid, sem)
        z = (a - b) / np.hypot(da, db)
        scores.append(abs(z))
        deviation = number_or_dash(z, "+.1f")
        print(f"| {exponent_form(t)} | {plus_minus(a, da)} | {ess:.0f} | {plus_minus(b, db)} | {deviation} |")
    known = [z for z in scores if np.isfinite(z)]
    sys.exit(int(not known or max(known) > LIMIT))


if __name__ == "__main__":
    main()
