"""`protmpi-analysis`: from a store to numbers, tables and figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis import open_run
from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run

TABLE_WIDTH = 120
"""Columns of the table where the output is no terminal."""

app = typer.Typer(
    help="Offline analysis of protmpi stores; needs neither torch nor MPI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store of a run, finished or still growing")]


@app.command()
def thermodynamics(
    store: StorePath,
    json: Annotated[bool, typer.Option("--json", help="numbers for programs instead of the table")] = False,
) -> None:
    """Every observable against temperature, with errors, heat capacity and T*."""
    from analysis import tables

    run = open_run(store)
    data = run.thermodynamics()
    if json:
        from json import dumps

        print(dumps(tables.to_json(data), allow_nan=False))
        return
    _print_table(run, data)


@app.command()
def report(
    store: StorePath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for CSV and figures; made if absent")],
) -> None:
    """Table, thermodynamics.csv and figures."""
    from analysis.report import write_report

    run = open_run(store)
    data = run.thermodynamics()
    written = write_report(run, data, out)
    _print_table(run, data)
    print("\n".join(f"wrote {path}" for path in written))


def _print_table(run: Run, data: xarray.Dataset) -> None:
    from rich.console import Console

    from analysis import tables

    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH, highlight=False)
    console.print(tables.temperature_table(data), end="\n\n")
    for line in tables.remarks(run, data):
        console.print(line, markup=False)


def main() -> None:
    """Entry point: a mistake that the user can mend is one line on stderr."""
    try:
        app()
    except ProtmpiError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(error.status) from None
