"""`protmpi-analysis`: from a store to numbers, tables and figures."""

from __future__ import annotations

from analysis.commands import contacts, ladder, runs, structures, training
from protmpi import commands
from protmpi.commands import Commands

app = Commands(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
@app.callback()
def program(version: commands.Version = False) -> None:
    """Offline analysis of protmpi stores; needs neither torch nor MPI."""


app.add_typer(contacts.app, name="contacts")
for command in (runs.thermodynamics, runs.report, ladder.tempering, ladder.free_energy, training.training,
                structures.structure, training.points, runs.compare, runs.watch):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Entry point: a mistake that the user can mend is one line on stderr."""
    commands.main(app, "protmpi-analysis")
