"""`protmpi-analysis`: from a store to numbers, tables and figures."""

from __future__ import annotations

import sys

from analysis.commands import contacts, ladder, runs, structures, training
from protmpi.commands import Commands
from protmpi.errors import ProtmpiError

app = Commands(
    help="Offline analysis of protmpi stores; needs neither torch nor MPI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(contacts.app, name="contacts")
for command in (runs.thermodynamics, runs.report, ladder.tempering, ladder.free_energy, training.training,
                structures.structure, training.points, runs.compare, runs.watch):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Entry point. A mistake that the user can correct is one line on stderr."""
    try:
        app()
    except ProtmpiError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(error.status) from None
