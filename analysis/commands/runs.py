"""Commands about whole runs: their numbers, the report, the comparison of two runs, and the watch of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.commands.arguments import Json, StorePath, Strict
from analysis.reading.opening import open_run
from analysis.show.console import print_json, print_table

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run
    from analysis.subjects.checks.check import Check


def thermodynamics(
    store: StorePath,
    json: Json = False,
    strict: Strict = False,
) -> None:
    """Every observable against temperature, with errors, heat capacity and T*; self-checks."""
    from analysis.subjects.checks.checks import checks
    from analysis.subjects.checks.tables import checks_to_json
    from analysis.subjects.thermodynamics.measure import thermodynamics as measured
    from analysis.subjects.thermodynamics.tables import to_json

    run = open_run(store)
    data = measured(run)
    found = checks(run, data)
    if json:
        print_json({**to_json(data), "checks": checks_to_json(found)})
    else:
        _print_tables(run, data, found)
    _exit(found, strict)


def report(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="one store, or several to compare networks")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for the report; made if absent")],
    strict: Strict = False,
    separation: Annotated[int, typer.Option(min=0, help="P'@L: only pairs with |i-j| above this")] = 6,
    tolerance: Annotated[int, typer.Option(min=0, max=3, help="P'@L: largest distance from a contact in sites")] = 1,
    apc: Annotated[bool, typer.Option("--apc", help="average product correction of attention maps")] = False,
) -> None:
    """One HTML page with tables, self-checks and figures; beside it figures (PNG, PDF), numbers (CSV), tables (TEX)."""
    from analysis.reading.run import different_spheres
    from analysis.report.contents import labels_of, report_of
    from analysis.report.writing import write_report
    from analysis.subjects.checks.part import measured as checks_of
    from analysis.subjects.contacts.precision import Options
    from analysis.subjects.thermodynamics.part import measured as thermodynamics_of

    runs = [open_run(store) for store in stores]
    options = Options(separation, tolerance, apc)
    reports = [report_of(run, label, options) for run, label in zip(runs, labels_of(runs), strict=True)]
    written = write_report(reports, out)
    for one in reports:
        if len(reports) > 1:
            print(f"\n{one.label}: {one.run.store.path}\n")
        _print_tables(one.run, one.findings.of(thermodynamics_of), one.findings.of(checks_of))
    for line in different_spheres([(one.label, one.run) for one in reports]):
        print(f"\n{line}\n")
    kinds = (".png", ".pdf", ".csv", ".tex")
    files = ", ".join(f"{sum(path.suffix == kind for path in written)} {kind[1:].upper()}" for kind in kinds)
    print(f"wrote {written[-1]} and beside it {files}")
    _exit([check for one in reports for check in one.findings.of(checks_of)], strict)


def compare(
    first: StorePath,
    second: StorePath,
    strict: Annotated[bool, typer.Option("--strict", help="exit with status 1 when an observable differs")] = False,
) -> None:
    """Test two runs of one problem for equality of every observable at every temperature that both have."""
    from analysis.subjects.thermodynamics.compare import compare as differences_of
    from analysis.subjects.thermodynamics.compare import comparison_remarks, comparison_table

    runs = open_run(first), open_run(second)
    differences = differences_of(*runs)
    names = [f"first: {first}", f"second: {second}"]
    print_table(comparison_table(differences), [*names, *comparison_remarks(*runs, differences)], [])
    if strict and any(d.verdict == "differ" for d in differences):
        raise typer.Exit(1)


def watch(
    store: StorePath,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="time between two looks")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="look once and end")] = False,
) -> None:
    """Redraw a run in the terminal while it goes on. Ctrl-C ends the display, not the run."""
    from analysis.subjects.thermodynamics.watch import watch as look
    from protmpi.terminal import terminal

    look(store, every, terminal(), once or not sys.stdout.isatty())


def _exit(checks: Sequence[Check], strict: bool) -> None:
    if strict and any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)


def _print_tables(run: Run, data: xarray.Dataset, checks: Sequence[Check]) -> None:
    from analysis.subjects.checks import tables as check_tables
    from analysis.subjects.thermodynamics import tables
    from protmpi.terminal import terminal

    console = terminal()
    for table in tables.temperature_tables(data):
        console.print(table)
        console.print()
    for line in tables.remarks(run, data):
        console.print(line, markup=False)
    console.print()
    console.print(check_tables.checks_table(checks), end="\n\n")
    for line in check_tables.checks_remarks(checks):
        console.print(line, markup=False)
