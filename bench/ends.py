"""Where the walkers of a run ended, as weights files: the start of another sampler of the same problem.

    python bench/ends.py STORE FOLDER

Writes FOLDER/T.h5 for every temperature, with the last snapshots at that temperature as ES and as OT. Where the
landscape is a glass, two samplers can be compared only in one valley: a sampler that is wrong leaves the energies of a
right one, wherever it starts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from analysis import open_run
from analysis.cells import exponent_form
from protmpi import tasks, weights
from protmpi.config import parse_stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    run = open_run(asked.store)
    config = parse_stored(run.store.config, str(asked.store))
    task = tasks.build(config)
    ends = run.by_temperature("parameters")[:, :, -1].astype(np.float32)
    epochs = np.zeros(len(ends), dtype=np.int64)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for slot, temperature in enumerate(run.temperature):
        here = ends[:, slot]
        arrays: dict[str, np.ndarray] = {
            "references/ES": here, "references/ES_epoch": epochs, "references/OT": here, "references/OT_epoch": epochs,
        }  # fmt: skip
        path = asked.folder / f"{exponent_form(temperature)}.h5"
        weights.write(path, config, task, arrays)
        print(path)


if __name__ == "__main__":
    main()
