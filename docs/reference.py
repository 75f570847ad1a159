"""The pages of the reference, made from the code: keys of a configuration and variables of a store.

    python docs/reference.py [FOLDER]        writes configuration.md and store.md, into docs/reference if absent

`make docs` runs it. The pages are not committed, so they cannot differ from the code.
"""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from protmpi import config as configuration
from protmpi import tasks
from protmpi.config import Config
from protmpi.data import chains, dataset
from protmpi.keys import explain
from protmpi.plan import Plan
from protmpi.store.schema import Variable

Row = tuple[str, str, str, str, str]

PAGES = ("configuration.md", "store.md")
HEAD = "<!-- made by docs/reference.py -->\n"

SECTIONS = {
    "data": "What is sampled: the task and its samples. A data file enters the identity of a run by its content.",
    "model": "The network.",
    "train": "Training of starting points. Weights enter the identity of a run by their content.",
    "sampler": "The sampler.",
    "tempering": "Walkers that move in temperature.",
    "run": "Length and cadence. `run.steps` may be raised later.",
    "execution": "Where and how fast. These keys are not in the identity of a run.",
}

NETWORKS: dict[str, dict[str, Any]] = {
    "folding": {"kind": "transformer", "blocks": 1, "d": 4},
    "kspin": {"kind": "feedforward", "layers": [3]},
    "points": {"kind": "encoder", "blocks": 1, "heads": 1, "d": 8},
    "structures": {"kind": "encoder", "blocks": 1, "heads": 1, "d": 8},
}
DATA: dict[str, dict[str, Any]] = {
    "folding": {},
    "kspin": {"spins": 4, "classes": 2, "train": 8, "val": 4, "test": 4},
    "points": {"train": 4, "val": 2, "test": 2},
    "structures": {},
}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in zip(PAGES, (configuration_page(), store_page()), strict=True):
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
        (folder / name).write_text(f"{HEAD}{text.rstrip()}\n", encoding="utf-8")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table."""
    heads = list(heads)
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def configuration_page() -> Iterator[str]:
    """Every key of every section, with type, default, unit and meaning."""
    yield "# Keys of a configuration"
    yield ""
    yield "A configuration is a TOML file. `--set section.key=value` replaces a key on the command line."
    for section, rows in itertools.groupby(explain(), key=lambda row: row[0].split(".")[0]):
        yield ""
        yield f"## `[{section}]`"
        yield ""
        yield SECTIONS[section]
        written = data_tables if section == "data" else keys_table
        yield from written(rows)


def data_tables(rows: Iterable[Row]) -> Iterator[str]:
    """A table for each task."""
    for task, some in itertools.groupby(rows, key=lambda row: row[4].rsplit('(task = "')[-1].rstrip('")')):
        yield ""
        yield f'### `task = "{task}"`'
        yield from keys_table((*row[:4], row[4].rsplit(" (task = ")[0]) for row in some)


def keys_table(rows: Iterable[Row]) -> Iterator[str]:
    cells = ((f"`{key}`", meaning, f"`{default}`", unit, kind) for key, kind, default, unit, meaning in rows)
    return table(("key", "meaning", "default", "unit", "type"), cells)


def store_page() -> Iterator[str]:
    """Every variable and constant of a store, task by task and sampler by sampler."""
    plans = {name: Plan(small(name), task, None, 1) for name, task in built().items()}
    learned = {v.name for plan in plans.values() for v in plan.task.variables}
    shared = [v for v in sampled(None) if v.name not in learned]
    samplers = {
        "trajectories": sampled("constrained-trajectories"),
        "pseudo-Langevin": sampled("constrained"),
        "a regulariser": sampled("unconstrained", lamda=1e-3),
        "simulated tempering": sampled("constrained", simulated=True),
    }
    yield "# Variables of a store"
    yield ""
    yield "A store opens with `xarray.open_zarr(STORE)`. A variable has the axes (walker, draw) or (walker, snapshot),"
    yield "and then those of the table. Rows that are not committed are NaN, -1 or 0."
    yield ""
    yield "## All stores"
    yield from variables_table(shared)
    yield "Constants of all stores:"
    yield from constants_table(next(iter(plans.values())), only=lambda name: name in ("temperature", "sphere_norm2"))
    yield ""
    yield "Constants with the names `es_NAME` and `ot_NAME` hold NAME of the early-stopped and over-trained weights."
    seen = learned | {v.name for v in shared}
    for name, variables in samplers.items():
        yield ""
        yield f"## Stores with {name}"
        yield from variables_table(v for v in variables if v.name not in seen)
        seen |= {v.name for v in variables}
    for name, plan in plans.items():
        yield ""
        yield f"## Stores of the task `{name}`"
        yield from variables_table(plan.task.variables)
        if plan.task.constants():
            yield "Constants:"
            yield from constants_table(plan, only=lambda constant: constant not in ("temperature", "sphere_norm2"))


def variables_table(variables: Iterable[Variable]) -> Iterator[str]:
    rows = ((f"`{v.name}`", v.meaning, v.unit, v.axis, ", ".join(v.dims), v.dtype) for v in variables)
    return table(("variable", "meaning", "unit", "kept by", "axes", "type"), rows)


def constants_table(plan: Plan, only: Any) -> Iterator[str]:
    rows = ((f"`{c.name}`", c.meaning, c.unit, ", ".join(c.dims)) for c in plan.constants() if only(c.name))
    return table(("constant", "meaning", "unit", "axes"), rows)


def sampled(kind: str | None, lamda: float = 0.0, simulated: bool = False) -> tuple[Variable, ...]:
    """Variables of a run of K-spin by a kind of sampler; without one, those that belong to no sampler."""
    config = small("kspin", kind or "constrained", lamda, simulated)
    plan = Plan(config, tasks.build(config), None, 1)
    if kind is not None:
        return plan.schema.variables
    others = Plan(small("kspin", "constrained-trajectories"), plan.task, None, 1).schema.variables
    return tuple(v for v in plan.schema.variables if v.name in {other.name for other in others})


def small(task: str, kind: str = "constrained", lamda: float = 0.0, simulated: bool = False) -> Config:
    """A configuration of the task with the smallest data."""
    given: dict[str, Any] = {
        "data": {"task": task, **DATA[task]},
        "model": NETWORKS[task],
        "sampler": {"kind": kind, "start": "random", "lamda": lamda},
    }
    if simulated:
        given["tempering"] = {"kind": "simulated"}
    return configuration.parse(given, "docs/reference.py")


def built() -> dict[str, tasks.Task]:
    """Every task, on made-up data of a few samples."""
    random, found = np.random.default_rng(1), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in DATA:
            config = small(name)
            path = Path(folder) / f"{name}.h5"
            if name == "folding":
                residues, masked = random.integers(20, size=(6, 8)), np.zeros((6, 8), dtype=bool)
                masked[:, ::4] = True
                split = np.repeat([0, 1, 2], 2).astype(np.uint8)
                touching = np.eye(8, k=3, dtype=bool) | np.eye(8, k=-3, dtype=bool)
                dataset.save(path, dataset.FoldingData(residues.astype(np.uint8), masked, split, contact_map=touching))
            elif name == "structures":
                lengths, sites = np.full(6, 8, dtype=np.int32), 48
                chains.save(path, chains.ChainData(
                    tuple(f"made_{n}" for n in range(6)), lengths, np.arange(6, dtype=np.int32),
                    np.repeat([0, 1, 2], 2).astype(np.uint8), random.integers(20, size=sites).astype(np.uint8),
                    random.normal(size=(sites, 3)).astype(np.float32), np.zeros(sites, dtype=np.uint8),
                ))  # fmt: skip
            if path.exists():
                data = config.data.model_copy(update={"file": path})
                config = config.model_copy(update={"data": data})
            found[name] = tasks.build(config)
    return found


if __name__ == "__main__":
    main()
