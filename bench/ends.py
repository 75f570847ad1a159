"""Where the walkers of a run ended, as weights files: the start of another sampler of the same problem.

    python bench/ends.py STORE FOLDER

Writes FOLDER/T.h5 for every temperature: a copy of the weights file that the run started from, with the last snapshots
at that temperature in the place of ES and OT. Where the landscape is a glass, two samplers can be compared only in
one valley: a sampler that is wrong leaves the energies of a right one, wherever it starts.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np

from analysis import open_run
from analysis.cells import exponent_form


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    run = open_run(asked.store)
    ends = run.by_temperature("parameters")[:, :, -1].astype(np.float32)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for slot, temperature in enumerate(run.temperature):
        path = asked.folder / f"{exponent_form(temperature)}.h5"
        shutil.copy(run.store.config["train"]["file"], path)
        with h5py.File(path, "r+") as file:
            for name in ("references/ES", "references/OT"):
                del file[name]
                file[name] = ends[:, slot]
        print(path)


if __name__ == "__main__":
    main()
