"""Offline analysis of protmpi stores: numpy, scipy, xarray and matplotlib, without torch or MPI.

    from analysis import open_run, thermodynamics

    run = open_run("runs/demo/store.zarr")
    print(thermodynamics(run))          # and overlaps(run), gains(run), attention(run), ...: xarray datasets

reading     a store by temperature instead of by walker, and the rows that count
statistics  correlated series: errors, effective samples, equilibrium, significance; histograms, MBAR, curves of T
show        numbers as text, tables, the style of figures, CSV, pieces of a page
subjects    the parts of a report, each with measure, tables and figures: thermodynamics, ladder, weights, attention,
            distance, chains, contacts, training, network, checks; together: several runs
report      a loop over one table of subjects (`report/subjects.py`), its page and its files
commands    the program `protmpi-analysis`, one file for each group of commands; cli joins them

Each package uses only those above it. Subjects use each other in the order of tests/test_rooms.py. Networks are run
in two modules only, which need torch: `subjects.contacts.language_models` and `subjects.contacts.folding_networks`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from analysis.reading.opening import open_run

if TYPE_CHECKING:
    from analysis.subjects.attention.measure import attention
    from analysis.subjects.chains.measure import profiles, residues
    from analysis.subjects.contacts.precision import Options
    from analysis.subjects.distance.measure import distance
    from analysis.subjects.ladder.free_energy import free_energy
    from analysis.subjects.ladder.simulated import simulated
    from analysis.subjects.ladder.tempering import tempering
    from analysis.subjects.thermodynamics.measure import thermodynamics
    from analysis.subjects.training.measure import read_training
    from analysis.subjects.weights.gains import gains, last_block
    from analysis.subjects.weights.overlaps import overlaps

__all__ = [
    "Options",
    "attention",
    "distance",
    "free_energy",
    "gains",
    "last_block",
    "open_run",
    "overlaps",
    "profiles",
    "read_training",
    "residues",
    "simulated",
    "tempering",
    "thermodynamics",
]

PLACES = {
    "attention.measure": ("attention",),
    "chains.measure": ("profiles", "residues"),
    "contacts.precision": ("Options",),
    "distance.measure": ("distance",),
    "ladder.free_energy": ("free_energy",),
    "ladder.simulated": ("simulated",),
    "ladder.tempering": ("tempering",),
    "thermodynamics.measure": ("thermodynamics",),
    "training.measure": ("read_training",),
    "weights.gains": ("gains", "last_block"),
    "weights.overlaps": ("overlaps",),
}
"""Module below `analysis.subjects` -> names imported from it at their first use: numpy and zarr take a second."""


def __getattr__(name: str) -> object:
    for place, names in PLACES.items():
        if name in names:
            return getattr(import_module(f"analysis.subjects.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
