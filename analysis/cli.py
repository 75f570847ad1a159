"""`protmpi-analysis`: from a store to numbers, tables and figures."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis import contact_commands, open_run
from analysis.console import open_console, print_json, print_table
from protmpi.commands import Commands
from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

    from analysis.check import Check
    from analysis.run import Run

app = Commands(
    help="Offline analysis of protmpi stores; needs neither torch nor MPI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(contact_commands.app, name="contacts")

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store of a run, finished or still growing")]
Json = Annotated[bool, typer.Option("--json", help="numbers for programs instead of the table")]
Figures = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="folder for figures; made if absent")]
Strict = Annotated[bool, typer.Option("--strict", help="exit with status 1 when a check fails")]


@app.command()
def thermodynamics(
    store: StorePath,
    json: Json = False,
    strict: Strict = False,
) -> None:
    """Every observable against temperature, with errors, heat capacity and T*; self-checks."""
    from analysis import check_tables, tables
    from analysis.checks import checks

    run = open_run(store)
    data = run.thermodynamics()
    found = checks(run, data)
    if json:
        print_json({**tables.to_json(data), "checks": check_tables.checks_to_json(found)})
    else:
        _print_tables(run, data, found)
    _exit(found, strict)


@app.command()
def report(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="one store, or several to compare networks")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for the report; made if absent")],
    strict: Strict = False,
    separation: Annotated[int, typer.Option(min=0, help="P'@L: only pairs with |i-j| above this")] = 6,
    tolerance: Annotated[int, typer.Option(min=0, max=3, help="P'@L: sites that a pair may be off a contact")] = 1,
    apc: Annotated[bool, typer.Option("--apc", help="average product correction of attention maps")] = False,
) -> None:
    """One HTML page with tables, self-checks and figures; beside it every figure (PNG, PDF) and number (CSV)."""
    from analysis.contacts import Options
    from analysis.report import labels_of, report_of, write_report
    from analysis.run import different_spheres

    runs = [open_run(store) for store in stores]
    options = Options(separation, tolerance, apc)
    reports = [report_of(run, label, options) for run, label in zip(runs, labels_of(runs), strict=True)]
    written = write_report(reports, out)
    for one in reports:
        if len(reports) > 1:
            print(f"\n{one.label}: {one.run.store.path}\n")
        _print_tables(one.run, one.data, one.checks)
    for line in different_spheres([(one.label, one.run) for one in reports]):
        print(f"\n{line}\n")
    files = ", ".join(f"{sum(p.suffix == s for p in written)} {s[1:].upper()}" for s in (".png", ".pdf", ".csv"))
    print(f"wrote {written[-1]} and beside it {files}")
    _exit([check for one in reports for check in one.checks], strict)


@app.command()
def tempering(store: StorePath, json: Json = False, out: Figures = None) -> None:
    """Replica exchange or simulated tempering: moves, barrier, round trips, flow, and how many slots would do."""
    from analysis import ladder_tables
    from analysis.simulated import simulated
    from analysis.tempering import tempering as exchanged

    run = open_run(store)
    data = simulated(run) if run.alone else exchanged(run)
    written = []
    if out is not None:
        from analysis.figures import ladder
        from analysis.figures.style import write_figures

        figures = {
            "trajectories": ladder.trajectories_figure(run, data),
            "overlap": ladder.overlap_figure(run, data),
            "flow": ladder.flow_figure(data),
        }
        if run.alone:
            figures["visits"] = ladder.visits_figure(run, data)
        written = write_figures(figures, out)
    if json:
        print_json(ladder_tables.simulated_json(data) if run.alone else ladder_tables.tempering_json(data))
    elif run.alone:
        print_table(ladder_tables.simulated_table(data), ladder_tables.simulated_remarks(data), written)
    else:
        print_table(ladder_tables.tempering_table(data), ladder_tables.tempering_remarks(data), written)


@app.command()
def free_energy(
    store: StorePath,
    json: Json = False,
    out: Figures = None,
    method: Annotated[
        str, typer.Option(metavar="auto|mbar|integration", help="auto: MBAR where histograms overlap")
    ] = "auto",
) -> None:
    """Energy, heat capacity, free energy and entropy as continuous curves of T, with errors."""
    from analysis import ladder_tables
    from analysis.free_energy import METHODS, POINTS
    from analysis.free_energy import free_energy as curves

    if method not in METHODS:
        raise ProtmpiError(f"--method: {method!r} is none of {', '.join(METHODS)}")
    run = open_run(store)
    data = curves(run, method)
    written = []
    if out is not None:
        from analysis.figures.ladder import free_energy_figure
        from analysis.figures.style import write_figures

        written = write_figures({"free_energy": free_energy_figure(data)}, out)
    if json:
        print_json(ladder_tables.free_energy_json(data))
    else:
        print_table(ladder_tables.free_energy_table(data, POINTS), ladder_tables.free_energy_remarks(data), written)


@app.command()
def training(
    weights: Annotated[list[Path], typer.Argument(metavar="WEIGHTS...", help="files that `protmpi train` wrote")],
    json: Json = False,
    out: Figures = None,
) -> None:
    """Learning curves of the reference weights; losses, errors, |w|² and epochs of ES and OT."""
    from analysis import training_tables
    from analysis.training import read_trainings

    found = read_trainings(weights)
    written = []
    if out is not None:
        from analysis.figures.style import write_figures
        from analysis.figures.training import training_figure
        from analysis.tables import write_long_csv

        names = [f"training-{re.sub('[^A-Za-z0-9.-]+', '-', one.label).strip('-')}" for one in found]
        written = write_figures({name: training_figure(one) for name, one in zip(names, found, strict=True)}, out)
        for name, one in zip(names, found, strict=True):
            written.append(out / f"{name}.csv")
            write_long_csv(one.curves(), written[-1])
    if json:
        print_json(training_tables.references_json(found))
    else:
        print_table(training_tables.references_table(found), training_tables.references_remarks(found), written)


@app.command()
def structure(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="PDB or mmCIF file (also .gz), or a PDB id")],
    chain: Annotated[str | None, typer.Option(help="author name; the first protein chain if absent")] = None,
    cutoff: Annotated[float, typer.Option(min=0, help="heavy atoms of a contact are closer than this (Å)")] = 4.5,
    min_separation: Annotated[int, typer.Option(min=1, help="smallest |i-j| of a contact")] = 2,
    out: Figures = None,
) -> None:
    """The native structure and its contacts, as `protmpi data` takes them."""
    from analysis.backbone import read_backbone
    from analysis.cells import table_of

    found = read_backbone(source, chain, cutoff, min_separation)
    written = []
    if out is not None:
        from analysis.figures.backbone import backbone_figure
        from analysis.figures.style import write_figures

        written = write_figures({"structure": backbone_figure(found)}, out)
    by_separation = found.structure.pairs_by_separation((min_separation, 6, 12, 24))
    columns = [("chain", [str(found.structure.provenance["chain"])]), ("residues", [str(found.structure.length)]),
               ("without atoms", [str(found.structure.missing)]),
               *((f"contacts\n|i-j| >= {s}", [str(count)]) for s, count in by_separation.items())]  # fmt: skip
    print_table(table_of(columns), [found.structure.sequence], written)


@app.command()
def points(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="weights files in exponent/, head/ and rotation/")],
    out: Figures = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with status 1 when a claim does not hold")] = False,
) -> None:
    """Attention that measures distance: losses of its experiments beside the published ones, and what they show."""
    from analysis.cells import table_of
    from analysis.points import read_experiments

    found = read_experiments(folder)
    written = []
    if out is not None:
        from analysis.figures.points import experiments_figure
        from analysis.figures.style import write_figures

        written = write_figures({"experiments": experiments_figure(found)}, out)
    headings = ("experiment", "setting", "validation L1 ±", "training L1 ±", "published")
    claims = found.claims()
    lines = [f"{'holds' if claim.holds else 'FAILS'}: {claim.meaning} ({claim.found})" for claim in claims]
    print_table(table_of(list(zip(headings, zip(*found.rows(), strict=True), strict=True))), lines, written)
    if strict and not all(claim.holds for claim in claims):
        raise typer.Exit(1)


@app.command()
def compare(
    first: StorePath,
    second: StorePath,
    strict: Annotated[bool, typer.Option("--strict", help="exit with status 1 when an observable differs")] = False,
) -> None:
    """Test two runs of one problem for equality of every observable at every temperature that both have."""
    from analysis.compare import compare as differences_of
    from analysis.compare import comparison_remarks, comparison_table

    runs = open_run(first), open_run(second)
    differences = differences_of(*runs)
    names = [f"first: {first}", f"second: {second}"]
    print_table(comparison_table(differences), [*names, *comparison_remarks(*runs, differences)], [])
    if strict and any(d.verdict == "differ" for d in differences):
        raise typer.Exit(1)


@app.command()
def watch(
    store: StorePath,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="time between two looks")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="look once and end")] = False,
) -> None:
    """Redraw a run in the terminal while it goes on; Ctrl-C ends the watching, not the run."""
    from analysis.watch import watch as look

    look(store, every, open_console(), once or not sys.stdout.isatty())


def _exit(checks: Sequence[Check], strict: bool) -> None:
    if strict and any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)


def _print_tables(run: Run, data: xarray.Dataset, checks: Sequence[Check]) -> None:
    from analysis import check_tables, tables

    console = open_console()
    for table in tables.temperature_tables(data):
        console.print(table)
        console.print()
    for line in tables.remarks(run, data):
        console.print(line, markup=False)
    console.print()
    console.print(check_tables.checks_table(checks), end="\n\n")
    for line in check_tables.checks_remarks(checks):
        console.print(line, markup=False)


def main() -> None:
    """Entry point: a mistake that the user can mend is one line on stderr."""
    try:
        app()
    except ProtmpiError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(error.status) from None
