"""Commands about ladders of temperatures."""

from __future__ import annotations

from typing import Annotated

import typer

from analysis.commands.arguments import Figures, Json, StorePath
from analysis.reading.opening import open_run
from analysis.show.console import print_json, print_table
from protmpi.errors import ProtmpiError


def tempering(store: StorePath, json: Json = False, out: Figures = None) -> None:
    """Replica exchange or simulated tempering: moves, barrier, round trips, flow, and the number of slots to use."""
    from analysis.subjects.ladder import tables
    from analysis.subjects.ladder.simulated import simulated
    from analysis.subjects.ladder.tempering import tempering as exchanged

    run = open_run(store)
    data = simulated(run) if run.alone else exchanged(run)
    written = []
    if out is not None:
        from analysis.show.style import write_figures
        from analysis.subjects.ladder import figures

        drawn = {
            "trajectories": figures.trajectories_figure(run, data),
            "overlap": figures.overlap_figure(run, data),
            "flow": figures.flow_figure(data),
        }
        if run.alone:
            drawn["visits"] = figures.visits_figure(run, data)
        written = write_figures(drawn, out)
    if json:
        print_json(tables.simulated_json(data) if run.alone else tables.tempering_json(data))
    elif run.alone:
        print_table(tables.simulated_table(data), tables.simulated_remarks(data), written)
    else:
        print_table(tables.tempering_table(data), tables.tempering_remarks(data), written)


def free_energy(
    store: StorePath,
    json: Json = False,
    out: Figures = None,
    method: Annotated[
        str, typer.Option(metavar="auto|mbar|integration", help="auto: MBAR if histograms overlap")
    ] = "auto",
) -> None:
    """Energy, heat capacity, free energy and entropy as continuous curves of T, with errors."""
    from analysis.subjects.ladder import tables
    from analysis.subjects.ladder.free_energy import METHODS, POINTS
    from analysis.subjects.ladder.free_energy import free_energy as curves

    if method not in METHODS:
        raise ProtmpiError(f"--method: {method!r} is none of {', '.join(METHODS)}")
    run = open_run(store)
    data = curves(run, method)
    written = []
    if out is not None:
        from analysis.show.style import write_figures
        from analysis.subjects.ladder.figures import free_energy_figure

        written = write_figures({"free_energy": free_energy_figure(data)}, out)
    if json:
        print_json(tables.free_energy_json(data))
    else:
        print_table(tables.free_energy_table(data, POINTS), tables.free_energy_remarks(data), written)
