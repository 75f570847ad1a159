"""Sampled weights in a report: their overlaps, and the gains of the layer norms if there are any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part
from analysis.subjects.thermodynamics.part import shown
from analysis.subjects.weights.gains import gains
from analysis.subjects.weights.overlaps import overlaps
from analysis.subjects.weights.tables import gains_remarks, gains_table, overlaps_table
from protmpi.errors import StoreError

if TYPE_CHECKING:
    import xarray


def applies(run: Run) -> bool:
    return "parameters" in run.store.variables and run.store.snapshots > 0


def parts(findings: Findings) -> Iterator[Part]:
    from analysis.subjects.weights import figures

    slot, at = shown(findings)
    data = overlaps(findings.run)
    yield Part(
        "overlaps",
        "Overlaps of sampled weights",
        {
            "overlaps": (
                figures.overlaps_figure(data, slot),
                f"Overlap q = w·w'/(|w||w'|) between snapshots: (a-c) distributions at {at}, (d) mean against T, "
                "(e) decay in time.",
            ),
            "overlaps_layers": (figures.layers_figure(data, slot), f"Distributions of q, array by array, at {at}."),
        },
        [("Mean overlap of all parameters.", overlaps_table(data))],
        numbers={
            "overlaps": data[["q", "q_std"]],
            "overlap_histograms": _some(data, "pairs", slot),
            "overlap_decay": data[["decay"]],
        },
    )
    try:
        data = gains(findings.run)
    except StoreError:  # a network without layer norms
        return
    yield Part(
        "gains",
        "Embedding dimension",
        {
            "gains": (
                figures.gains_figure(data, slot),
                f"Gains of the layer norms of the last block, sampled at {at}, and of the reference weights; last "
                "panel: elements outside of a peak at zero.",
            )
        },
        [("Elements of each layer norm that remain.", gains_table(data))],
        gains_remarks(data),
        {
            "gains": data[["remaining", "bimodality", "threshold"]],
            "gains_reference": data[["reference_remaining", "reference_bimodality"]],
            "gain_histograms": data[["histogram"]],
            "gain_histograms_reference": data[["reference_histogram"]],
        },
    )


def _some(data: xarray.Dataset, name: str, slot: int) -> xarray.Dataset:
    """Histograms at one temperature, without empty bins."""
    found = data[[name]].isel(temperature=[slot])
    return found.isel(q_bin=found[name].values.any(axis=(0, 1, 2)))
