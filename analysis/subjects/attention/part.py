"""Attention and contacts in a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part
from analysis.subjects.attention.measure import attention
from analysis.subjects.attention.tables import contacts_remarks, contacts_table
from analysis.subjects.contacts.precision import Options
from analysis.subjects.thermodynamics.part import shown

if TYPE_CHECKING:
    import xarray


def applies(run: Run) -> bool:
    return "attention" in run.store.variables and run.store.snapshots > 0


def measured(findings: Findings) -> xarray.Dataset:
    return attention(findings.run, findings.option(Options))


def parts(findings: Findings) -> Iterator[Part]:
    from analysis.subjects.attention import figures

    data, (slot, at) = findings.of(measured), shown(findings)
    part = Part("attention", "Attention and contacts")
    caption = (
        f"Mean attention between sites at {at}, symmetrised (below the diagonal), and native contacts (above); last "
        "row, where the best block differs: the map of each walker's best block, named in the title walker by walker."
    )
    part.figures["attention"] = figures.maps_figure(data, slot), caption
    part.numbers["attention"] = data[["map"]].isel(temperature=[slot])
    part.numbers["self_averaging"] = data[["self_averaging", "between"]]
    if "contact_map" in data:
        _add_contacts(part, data)
    else:
        part.remarks.append("The store has no contact map, so there is no precision.")
    yield part


def _add_contacts(part: Part, data: xarray.Dataset) -> None:
    from analysis.subjects.attention import figures

    caption = (
        "(a) P@L and (b) tolerant P'@L of the attention maps, (c) classes of separation (short 6-11, medium 12-23, "
        "long from 24 sites), (d) how alike maps of single snapshots are. Dotted: random scores. Best: each walker, "
        "and each set of reference weights, has its own best block."
    )
    part.figures["contacts"] = figures.contacts_figure(data), caption
    part.tables.append(("Contact precision.", contacts_table(data)))
    part.remarks += contacts_remarks(data)
    part.numbers["best_block"] = data[["best_block"]]
    part.numbers["precision"] = data[["precision", "precision_of_mean", "chance"]]
    part.numbers["tolerant_precision"] = data[["tolerant_precision", "tolerant_chance"]]
    part.numbers["range_precision"] = data[["range_precision", "range_chance"]]
    for name in ("best_block", "precision", "tolerant_precision", "range_precision"):
        if f"reference_{name}" in data:
            part.numbers[f"{name}_reference"] = data[[f"reference_{name}"]]
