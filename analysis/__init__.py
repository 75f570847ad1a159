"""Offline analysis of protmpi stores: numpy, scipy, xarray and matplotlib, without torch or MPI.

    from analysis import open_run

    run = open_run("runs/demo/store.zarr")
    print(run.thermodynamics())         # and run.overlaps(), run.gains(), run.attention(): xarray datasets

run             a store by temperature instead of by walker;  snapshots  its weights, block by block
chains          correlated series: mean and error, effective samples, R-hat, equilibration
equilibrium     which draws of a temperature count, and whether they are in equilibrium, without which there is no error
thermodynamics  <U>, heat capacity both ways, T* and every observable against T
checks          numbers of a run whose right value is known: pass, weak or fail
overlaps        how alike sampled weights are;  gains  which elements are useless;  compact  the network without them
attention       mean maps of every block;  contacts  how well a map tells the contacts of a structure
structures      perplexity, recovery and attention profiles of networks of protein chains
distance        the Gaussian of the distance that attention follows;  points  experiments on what it can learn
heads           which attention heads show contacts, from a few labelled proteins;  jacobian  the categorical Jacobian
single_pass     both on groups of proteins: precision, passes, time;  sampled_contacts  both against temperature
proteins        sequences with known contacts;  leakage  how alike they are;  backbone  a native structure
language_models, folding_networks   networks that are run again: the only modules that need torch
tempering       replica exchange: acceptance, barrier, round trips, flow
free_energy     <U>, C, free energy and entropy as curves of T;  mbar  reweights;  histograms  say where it may
significance    z-scores of means whose errors are themselves estimates
compare         two runs, observable by observable;  watch  a run as it goes on
figures/        what is drawn;  cells, tables, check_tables, equilibrium_tables, ...  what is printed
report          what a report holds;  page  the report as one HTML page
cli, contact_commands   the program `protmpi-analysis`;  console  how it prints
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.run import Run

__all__ = ["open_run"]


def open_run(path: Path | str) -> Run:
    """Open the store of a run, finished or still growing. Raises StoreError where it is missing or damaged."""
    from analysis.run import Run  # zarr takes a second to import

    return Run(path)
