"""`protmpi data`: contact maps and data sets from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from protmpi import config as configuration
from protmpi.commands import Commands, Overrides
from protmpi.data.alphabet import MASK, MAX_LENGTH
from protmpi.data.sections import FoldingConfig
from protmpi.errors import DataError

if TYPE_CHECKING:
    from protmpi.data.dataset import FoldingData
    from protmpi.data.structure import Structure

app = Commands(no_args_is_help=True, help="Structures, contact maps and data sets.")
console = Console(highlight=False, soft_wrap=True)

OPTIONS = FoldingConfig.model_fields


@app.command()
def contacts(
    source: Annotated[Path, typer.Argument(metavar="STRUCTURE", help="PDB or mmCIF file (also .gz), or a PDB id")],
    cutoff: Annotated[float, typer.Option(min=0, help=f"{OPTIONS['cutoff'].description} (Å)")] = 4.5,
    min_separation: Annotated[int, typer.Option(min=1, help=OPTIONS["min_separation"].description)] = 2,
    chain: Annotated[str | None, typer.Option(help=OPTIONS["chain"].description)] = None,
    model: Annotated[int, typer.Option(min=1, help=OPTIONS["model"].description)] = 1,
    out: Annotated[Path | None, typer.Option(help="contact list (JSON); without it, only the table is printed")] = None,
) -> None:
    """Heavy-atom contact map of a protein chain."""
    from protmpi.data.contacts import contact_map

    structure = contact_map(str(source), cutoff=cutoff, min_separation=1, chain=chain, model=model)
    console.print(
        f"{structure.provenance['file']}, model {model}, chain {structure.provenance['chain']}: "
        f"L = {structure.length}, {structure.missing} without coordinates, cutoff {cutoff:g} Å, "
        f"positions by {structure.provenance['numbering']}"
    )
    for note in ("unknown_residues", "atoms_without_place", "molecules_of_chain"):
        if note in structure.provenance:
            console.print(f"{note.replace('_', ' ')}: {structure.provenance[note]}")
    table = Table("|i-j| at least", "pairs", box=SIMPLE)
    for separation, pairs in structure.pairs_by_separation().items():
        table.add_row(str(separation), str(pairs))
    console.print(table)
    if out is not None:
        kept = structure.at_separation(min_separation)
        kept.save(out)
        console.print(f"{len(kept.contacts)} contacts with |i-j| >= {min_separation} written to {out}")


@app.command()
def structures(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="PDB and mmCIF files (also .gz), in folders or not")],
    out: Annotated[Path, typer.Option(help="data file (HDF5), the key data.file")],
    clusters: Annotated[
        Path | None, typer.Option(help="table with columns chain (FILE_CHAIN), cluster, split (or only one of these)")
    ] = None,
    max_length: Annotated[int, typer.Option(min=2, max=MAX_LENGTH, help="longer chains are left out")] = 512,
    val: Annotated[float, typer.Option(min=0, max=1, help="fraction of the chains for validation")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="fraction for the test set; the rest is trained on")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="seed of a split that no table gives")] = 1,
) -> None:
    """Sequences and Cα coordinates of all protein chains of a folder, split by clusters."""
    from rich.progress import track

    from protmpi.data import chains, collect

    if out.exists():
        raise DataError(f"{out}: exists; choose another --out or delete it")
    if val + test >= 1:
        raise DataError(f"--val + --test = {val + test:g} leaves no training chains; the sum must be below 1")

    def progress(files: list[Path]) -> Iterable[Path]:
        bar = Console(stderr=True)
        return track(files, "reading", console=bar, disable=not bar.is_terminal)

    data = collect.collect(folder, clusters, max_length, (val, test), seed, progress)
    chains.save(out, data)
    table = Table("split", "chains", "clusters", "residues", "unknown", "without coordinates", box=SIMPLE)
    for code, name in enumerate(("train", "validation", "test")):
        chosen = data.split == code
        sites = np.repeat(chosen, data.lengths)
        unknown = (data.tokens[sites] == MASK).sum()
        counts = (chosen.sum(), len(np.unique(data.cluster[chosen])), sites.sum(), unknown, data.missing[sites].sum())
        table.add_row(name, *map(str, counts))
    console.print(table)
    left_out = ", ".join(f"{count} {reason}" for reason, count in data.attributes["left_out"].items())
    console.print(f"{out}: {len(data)} chains; left out: {left_out}\ndata hash {data.data_hash()}")


@app.command("make")
def make_data(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="TOML; optional with --sequences")] = None,
    out: Annotated[Path | None, typer.Option(help="data file (HDF5); data.file of CONFIG if absent")] = None,
    sequences: Annotated[
        Path | None,
        typer.Option(help="your own sequences: FASTA, A3M, Stockholm, Clustal, PHYLIP, SELEX, or one per line"),
    ] = None,
    structure: Annotated[str | None, typer.Option(help=OPTIONS["structure"].description)] = None,
    overrides: Overrides = None,
) -> None:
    """Draw folding sequences, or take your own, mask and split them, and write the data file."""
    from protmpi.data import alignments, dataset, make

    if config is None and sequences is None:
        raise DataError("CONFIG is missing; give a TOML file, or your own sequences with --sequences FILE")
    changes = [*(overrides or []), *([f"data.structure={json.dumps(structure)}"] if structure is not None else [])]
    # an empty file gives the defaults
    chosen = configuration.load(config or Path(os.devnull), changes).data
    if not isinstance(chosen, FoldingConfig):
        raise DataError(f'{config}: data.task = "{chosen.task}" draws its data from data.seed, no file is needed')
    named = "structure" in chosen.model_fields_set
    own = alignments.read(sequences) if sequences is not None else None
    # the default structure does not belong to a user's own sequences
    native = make.native_structure(chosen) if own is None or named else None
    path = out or chosen.file
    if path.exists():
        data = dataset.load(path)
        differing = _differences(data.attributes.get("parameters"), make.parameters(chosen, native, own))
        if differing:
            raise DataError(f"{path}: exists with other {', '.join(differing)}; choose another --out or delete it")
        console.print(f"{path} is there already, made with the same parameters")
    else:
        data = make.given(chosen, own, native) if own is not None else _drawn_with_progress(chosen, native)
        dataset.save(path, data)
    _print_summary(data, path)


def _differences(stored: object, wanted: dict[str, object]) -> list[str]:
    if not isinstance(stored, dict):
        return ["parameters"]
    return [key for key in sorted(stored.keys() | wanted.keys()) if stored.get(key) != wanted.get(key)]


def _drawn_with_progress(chosen: FoldingConfig, native: Structure | None) -> FoldingData:
    from protmpi.data import make

    if native is None:
        raise DataError("data.structure: missing")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars = [progress.add_task(f"run {index + 1}: waiting", total=1.0, start=False) for index in range(make.RUNS)]

        def report(index: int, stage: str, share: float) -> None:
            progress.start_task(bars[index])
            progress.update(bars[index], description=f"run {index + 1}: {stage}", completed=share)

        return make.drawn(chosen, native, report)


def _print_summary(data: FoldingData, path: Path) -> None:
    from protmpi.data.convergence import checks

    train, val, test = (int((data.split == part).sum()) for part in range(3))
    count, length = data.sequences.shape
    console.print(
        f"{path}: {count} sequences of length {length} ({train} train, {val} validation, {test} test), "
        f"{data.masked.sum() / count:.2f} masked sites each"
    )
    counts = data.attributes.get("read")
    if counts:
        console.print(", ".join(f"{name}: {value}" for name, value in counts.items()))
    if data.convergence:
        table = Table("tempering", "run 1, run 2", "deviation", "verdict", box=SIMPLE)
        try:
            verdicts = checks(data.convergence)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: convergence: incomplete ({error})") from error
        for check in verdicts:
            table.add_row(check.name, check.measured, check.significance, "ok" if check.passed else "NOT CONVERGED")
        console.print(table)
    console.print(f"data hash {data.data_hash()}")
