"""`protmpi structures`: probes of trained networks of protein chains, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from protmpi.commands import Commands
from protmpi.errors import ConfigError

if TYPE_CHECKING:
    from protmpi.probes.embeddings import Embedded
    from protmpi.tasks.structures import Structures

app = Commands(no_args_is_help=True, help="What trained networks of protein chains know.")

Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="TOML files of trained networks")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
SEED = 1  # seed of the drawn pairs and of the bootstrap


@app.command()
def score(configs: Configs, split: Annotated[str, typer.Option(help="train, val or test")] = "test",
          as_json: AsJson = False) -> None:  # fmt: skip
    """Perplexity and recovery of masked residues by amino acid: mean over the ES weights, ± their spread."""
    from protmpi.data.alphabet import AMINO_ACIDS
    from protmpi.probes.score import composition
    from protmpi.probes.score import score as score_of
    from protmpi.tasks.splits import SPLITS

    if split not in SPLITS:
        raise ConfigError(f"--split: {split!r} is none of {', '.join(SPLITS)}")
    columns: list[tuple[str, list[str]]] = [("amino acid", [*AMINO_ACIDS, "all"])]
    tree: dict[str, Any] = {}
    for path in configs:
        task, w, name = _trained(path)
        found = score_of(task, w, split)
        if len(columns) == 1:
            columns.append(("sites", [*map(str, found.count), str(found.count.sum())]))
        columns.append((f"{name}\nperplexity", [_with_spread(x) for x in found.perplexity.T]))
        columns.append((f"{name}\nrecovery", [_with_spread(x) for x in found.recovery.T]))
        tree[str(path)] = {"perplexity": _json(found.perplexity), "recovery": _json(found.recovery),
                           "composition": composition(task, split)}  # fmt: skip
    if as_json:
        print(json.dumps({"split": split, "amino_acids": AMINO_ACIDS, "networks": tree}))
        return
    _show(columns)
    print(f"{split} chains; guessing by the composition of the training chains: perplexity "
          f"{tree[str(configs[0])]['composition']:.2f}")  # fmt: skip


@app.command()
def contacts(configs: Configs, as_json: AsJson = False) -> None:
    """Contact head on frozen embeddings (Cα < 8 Å, |i-j| >= 6), trained on training chains, measured on test chains."""
    from protmpi.probes import contacts as head

    rows = {}
    for path in configs:
        task, w, name = _trained(path)
        random = np.random.default_rng(SEED)
        found = head.fit(_embedded(task, w, "train"), task.train_size, random)
        rows[name] = head.measure(found, _embedded(task, w, "test"), random)
    if as_json:
        print(json.dumps({name: asdict(row) for name, row in rows.items()}))
        return
    _show([
        ("network", list(rows)), ("chains", [str(r.chains) for r in rows.values()]),
        ("P@L ±", [_with_error(*r.at_length) for r in rows.values()]),
        ("P@L/5 ±", [_with_error(*r.at_fifth) for r in rows.values()]),
        ("average precision ±", [_with_error(*r.average) for r in rows.values()]),
        ("chance", [f"{r.chance:.3f}" for r in rows.values()]),
    ])  # fmt: skip


@app.command()
def functions(
    configs: Configs,
    labels: Annotated[Path, typer.Option(metavar="TABLE", help="CSV or TSV with columns chain, term")],
    as_json: AsJson = False,
) -> None:
    """Head that predicts labels of chains (GO terms) from the mean frozen embedding: Fmax and AUPR on test chains."""
    from protmpi.probes.functions import probe, read_labels

    truth, rows = read_labels(labels), {}
    for path in configs:
        task, w, name = _trained(path)
        rows[name] = probe(truth, _embedded(task, w, "train"), _embedded(task, w, "test"))
    if as_json:
        print(json.dumps({name: asdict(row) for name, row in rows.items()}))
        return
    _show([
        ("network", list(rows)), ("chains", [str(r.chains) for r in rows.values()]),
        ("terms", [str(r.terms) for r in rows.values()]), ("Fmax", [f"{r.f_max:.3f}" for r in rows.values()]),
        ("at", [f"{r.threshold:.2f}" for r in rows.values()]),
        ("AUPR (micro)", [f"{r.aupr_micro:.3f}" for r in rows.values()]),
        ("AUPR (macro)", [f"{r.aupr_macro:.3f}" for r in rows.values()]),
        ("chance", [f"{r.chance:.3f}" for r in rows.values()]),
    ])  # fmt: skip


def _trained(path: Path) -> tuple[Structures, np.ndarray, str]:
    """Task, ES weights (R, P) and name of the network of a configuration."""
    from hpc.devices import bind
    from hpc.world import OneRank
    from protmpi import tasks, weights
    from protmpi.config import load
    from protmpi.tasks.structures import Structures

    config = load(path)
    device = bind(OneRank(), config.execution.device, config.execution.threads_per_rank).device
    task = tasks.build(config, device)
    if not isinstance(task, Structures):
        raise ConfigError(f'{path}: data.task: must be "structures", not "{config.data.task}"')
    seen = "coordinates" if task.network.coordinates else "sequence"
    return task, weights.load(config.train.file, config, task).es, f"{path.stem}, {seen}"


def _embedded(task: Structures, w: np.ndarray, split: str) -> Iterator[Embedded]:
    from protmpi.probes.embeddings import embed

    return embed(task, w[0], split)


def _with_spread(values: np.ndarray) -> str:
    return _with_error(float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else np.nan)


def _with_error(mean: float, error: float) -> str:
    return f"{mean:.3f}" if np.isnan(error) else f"{mean:.3f} ± {error:.3f}"


def _json(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(x) else float(x) for x in row] for row in values]


def _show(columns: list[tuple[str, list[str]]]) -> None:
    from rich.table import Table

    from protmpi.terminal import terminal

    table = Table(box=None, header_style="bold")
    for head, _ in columns:
        table.add_column(head, justify="left" if head in ("network", "amino acid") else "right")
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    terminal().print(table)
