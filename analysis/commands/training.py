"""Commands about trainings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from analysis.commands.arguments import Figures, Json
from analysis.show.console import print_json, print_table


def training(
    weights: Annotated[list[Path], typer.Argument(metavar="WEIGHTS...", help="files that `protmpi train` wrote")],
    json: Json = False,
    out: Figures = None,
) -> None:
    """Learning curves of the reference weights; losses, errors, |w|² and epochs of ES and OT."""
    from analysis.subjects.training import tables
    from analysis.subjects.training.measure import read_trainings

    found = read_trainings(weights)
    written = []
    if out is not None:
        from analysis.show.csv import write_long_csv
        from analysis.show.style import write_figures
        from analysis.subjects.training.figures import training_figure

        names = [f"training-{re.sub('[^A-Za-z0-9.-]+', '-', one.label).strip('-')}" for one in found]
        written = write_figures({name: training_figure(one) for name, one in zip(names, found, strict=True)}, out)
        for name, one in zip(names, found, strict=True):
            written.append(out / f"{name}.csv")
            write_long_csv(one.curves(), written[-1])
    if json:
        print_json(tables.references_json(found))
    else:
        print_table(tables.references_table(found), tables.references_remarks(found), written)


def points(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="weights files in exponent/, head/ and rotation/")],
    out: Figures = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with status 1 when a claim does not hold")] = False,
) -> None:
    """Attention that measures distance: losses of its experiments beside the published ones, and its claims."""
    from analysis.show.cells import table_of
    from analysis.subjects.distance.experiments import read_experiments

    found = read_experiments(folder)
    written = []
    if out is not None:
        from analysis.show.style import write_figures
        from analysis.subjects.distance.experiments_figure import experiments_figure

        written = write_figures({"experiments": experiments_figure(found)}, out)
    headings = ("experiment", "setting", "validation L1 ±", "training L1 ±", "published")
    claims = found.claims()
    lines = [f"{'holds' if claim.holds else 'FAILS'}: {claim.meaning} ({claim.found})" for claim in claims]
    print_table(table_of(list(zip(headings, zip(*found.rows(), strict=True), strict=True))), lines, written)
    if strict and not all(claim.holds for claim in claims):
        raise typer.Exit(1)
