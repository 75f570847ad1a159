"""`protmpi-analysis contacts`: contacts in attention maps and Jacobians of networks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.commands.arguments import Json
from analysis.show.console import print_json, print_table
from protmpi.commands import Commands

if TYPE_CHECKING:
    import xarray

app = Commands(no_args_is_help=True, help="Contacts from attention and from the categorical Jacobian.")

Labelled = Annotated[int, typer.Option(min=1, help="number of labelled proteins, by which heads are chosen")]


@app.command()
def structures(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of PDB or mmCIF files (also .gz)")],
    plm: Annotated[Path, typer.Option(metavar="MODEL", help="protein language model: local directory or hub name")],
    held_out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="proteins that the model has not seen, unlike those of DIR")
    ] = None,
    labelled: Labelled = 10,
    top: Annotated[int, typer.Option(min=1, help="number of best heads that are averaged")] = 10,
    identity: Annotated[
        float, typer.Option(min=0, max=1, help="least identity with a seen protein that makes a protein train-like")
    ] = 0.3,
    cutoff: Annotated[float, typer.Option(min=0, help="heavy atoms of a contact are closer than this (Å)")] = 4.5,
    seed: Annotated[int, typer.Option(min=0, help="seed that draws the labelled proteins")] = 1,
    allow_causal: Annotated[bool, typer.Option("--allow-causal", help="accept a causal model as well")] = False,
    json: Json = False,
) -> None:
    """Heads of a protein language model against its Jacobian, on structures."""
    from analysis.show.cells import none_for_nan
    from analysis.subjects.contacts import tables
    from analysis.subjects.contacts.language_models import load
    from analysis.subjects.contacts.leakage import grouped
    from analysis.subjects.contacts.proteins import read_structures
    from analysis.subjects.contacts.single_pass import benchmark

    given = read_structures(held_out, cutoff) if held_out else []
    groups = grouped(read_structures(folder, cutoff), given, labelled, identity, seed)
    network = load(str(plm), allow_causal)
    tested = {"train-like": groups.train_like, "held-out": groups.held_out}
    data = benchmark(network, groups.labelled, tested, top)
    if json:
        about = {"model": str(plm), "labelled": [p.name for p in groups.labelled], "identity": groups.identity,
                 "leaks": groups.leaks}  # fmt: skip
        values = tables.records(data, ["precision"])
        costs = {name: none_for_nan(data[name].values.tolist()) for name in ("passes", "seconds")}
        print_json({**about, "predictor": data["predictor"].values.tolist(), "group": list(tested), **costs,
                     "precision": values})  # fmt: skip
    else:
        remarks = tables.structures_remarks(data, groups, identity)
        print_table(tables.structures_table(data), remarks, [])


@app.command()
def networks(
    sources: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="stores, or weights files (.h5); several: against d")
    ],
    data: Annotated[Path | None, typer.Option(help="their data set, if it is not at the path in the store")] = None,
    labelled: Labelled = 10,
    sequences: Annotated[int, typer.Option(min=1, help="number of test sequences")] = 8,
    snapshots: Annotated[int, typer.Option(min=1, help="most snapshots of each temperature")] = 8,
    json: Json = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="folder for figures and CSV; made if absent")] = None,
) -> None:
    """Attention against Jacobian in the networks of a run, by temperature; for several runs also by dimension."""
    from analysis.show.style import write_figures
    from analysis.subjects.contacts import tables
    from analysis.subjects.contacts.folding_networks import open_source
    from analysis.subjects.contacts.sampled import Options, sampled_contacts, weights_to_ask

    options = Options(labelled, sequences, snapshots)
    opened = [open_source(path, data) for path in sources]
    total = sum(weights_to_ask(source, options) for source in opened)
    if out is not None:
        write_figures({}, out)  # a folder that cannot be made is reported before the work, not after it
    with _progress(total) as tick:
        found = [sampled_contacts(source, options, tick) for source in opened]
    for each, label in zip(found, _labels([source.label for source in opened]), strict=True):
        each.attrs["network"] = label
    written = _write(found, out) if out is not None else []
    if json:
        values = [tables.records(each, ["precision", "reference_precision"]) for each in found]
        print_json({"networks": [{**each.attrs, "precision": v} for each, v in zip(found, values, strict=True)]})
        return
    for path, each in zip(sources, found, strict=True):
        if len(found) > 1:
            print(f"\n{each.attrs['network']}: {path}\n")
        remarks = tables.sampled_remarks(each)
        print_table(tables.sampled_table(each), remarks, written if each is found[-1] else [])


def _labels(names: Sequence[str]) -> list[str]:
    """Names of networks, numbered if they are equal."""
    return [n if names.count(n) == 1 else f"{n}-{1 + names[:k].count(n)}" for k, n in enumerate(names)]


def _write(found: Sequence[xarray.Dataset], folder: Path) -> list[Path]:
    """Figures and numbers of every network, and of all networks together."""
    from analysis.show.csv import write_long_csv
    from analysis.show.style import write_figures
    from analysis.subjects.contacts import figures

    drawn, labels = {}, [str(each.attrs["network"]) for each in found]
    for label, each in zip(labels, found, strict=True):
        if each.sizes["temperature"]:
            drawn[f"contacts-{label}"] = figures.temperature_figure(each)
    if len(set(labels)) > 1:
        drawn["contacts-dimension"] = figures.dimension_figure(found)
    written = write_figures(drawn, folder)
    for label, each in zip(labels, found, strict=True):
        written.append(folder / f"contacts-{label}.csv")
        write_long_csv(each[["precision"]] if each.sizes["temperature"] else each[["reference_precision"]], written[-1])
    return written


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal, and the function that advances it by one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("networks"), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("networks", total=total)
        yield lambda: bar.advance(task)
