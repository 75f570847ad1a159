"""Contacts from single passes and from Jacobians as text: tables, remarks, and records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.show.cells import exponent_form, none_for_nan, plus_minus, table_of
from analysis.show.equilibrium import equilibrium_remarks, temperature_column
from analysis.subjects.contacts.heads import ATTENTION
from analysis.subjects.contacts.sampled import GROUPS
from analysis.subjects.contacts.single_pass import JACOBIAN

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

    from analysis.subjects.contacts.leakage import Groups

SHOWN = ("P@L", "|i-j| >= 24")
"""Criteria in the table of a run."""

HEADINGS = {GROUPS[0]: "designed", GROUPS[1]: "averaged", GROUPS[2]: "native"}


def _share(mean: float, sem: float) -> str:
    """A precision with its error. It has three digits without an error, or if the error is only rounding."""
    return plus_minus(mean, sem) if sem > 1e-9 or not mean >= 0 else f"{mean:.3f}"


def structures_table(data: xarray.Dataset) -> Table:
    """One row for each method and group of proteins."""
    rows = [(g, m) for g in data["group"].values for m in data["predictor"].values
            if data["proteins"].sel(group=g).values.any()]  # fmt: skip
    cells = [data.sel(group=g, predictor=m) for g, m in rows]
    columns = [("proteins", [g for g, _ in rows]), ("predictor", [m for _, m in rows])]
    for name in data["criterion"].values:
        columns.append((f"{name} ±", [_share(*cell["precision"].sel(criterion=name).values) for cell in cells]))
    columns.append(("passes", [f"{cell['passes'].item():,.0f}" for cell in cells]))
    columns.append(("seconds", [f"{cell['seconds'].item():.2g}" for cell in cells]))
    return table_of(columns)


def structures_remarks(data: xarray.Dataset, groups: Groups, limit: float) -> list[str]:
    """The definition of precision, the values of random scores, and the identity of the proteins."""
    lines = [
        "P@L: contacts among the L best pairs; |i-j| >= s: among the L/2 best of that separation. ± bootstrap over "
        "proteins. Passes and seconds: of one protein on average, on this machine.",
    ]
    if "head_precision" in data:
        best = int(data["head_precision"].values.argmax())
        lines.append(f"Heads were chosen by {data.attrs['labelled']} labelled proteins, one pass each; the best of "
                     f"{data.sizes['head']} is head {best + 1}.")  # fmt: skip
    for name in data["group"].values:
        counts, chance = (data[what].sel(group=name).values for what in ("proteins", "chance"))
        if counts.any():
            reached = ", ".join(f"{value:.3f}" for value in chance if np.isfinite(value))
            lines.append(f"{name}: {counts[0]} proteins ({counts[-1]} with |i-j| >= 24); random scores: {reached}.")
    if groups.held_out:
        highest = max(groups.identity[protein.name] for protein in groups.held_out)
        lines.append(f"held-out: at most {highest:.0%} identical with a protein seen; below {limit:.0%} was asked for.")
    if groups.leaks:
        lines.append(f"Leaks, counted as train-like because they are at least {limit:.0%} identical with one of the "
                     f"structures: {', '.join(groups.leaks)}.")  # fmt: skip
    return lines


def sampled_table(data: xarray.Dataset) -> Table:
    """One row for each method at each temperature, and of the ES and OT weights."""
    import xarray

    sampled = temperature_column(data)[1] if data.sizes["temperature"] else []
    networks = [(at, data["precision"].isel(temperature=k)) for k, at in enumerate(sampled)]
    references = data["reference_precision"]
    spread = xarray.concat([references.mean("reference"), references.std("reference", ddof=1)], data["statistic"])
    networks += [(str(w), spread.sel(weights=w)) for w in data["weights"].values]
    rows = [(label, m, found.sel(predictor=m)) for label, found in networks for m in data["predictor"].values]
    columns = [("T", [label for label, _, _ in rows]), ("predictor", [m for _, m, _ in rows])]
    for group in data["group"].values:
        for name in SHOWN:
            cells = [found.sel(group=group, criterion=name).values for _, _, found in rows]
            columns.append((f"{HEADINGS[group]}\n{name} ±", [_share(*cell) for cell in cells]))
    return table_of(columns)


def sampled_remarks(data: xarray.Dataset) -> list[str]:
    """The meaning of the columns, the values of random scores, the cost of each method, and the best temperature."""
    attributes = data.attrs
    chance = ", ".join(f"{name} {value:.3f}" for name, value in
                       zip(data["criterion"].values, data["chance"].values, strict=True))  # fmt: skip
    counts = data["evaluated"].values.tolist()
    over = f"over snapshots ({' '.join(map(str, counts))} of them); of ES and OT their spread" if counts else "spread"
    lines = [
        f"designed: {attributes['sequences']} test sequences one by one; averaged: the mean of their scores; native: "
        f"the native protein. All have the same contacts. ± {over}. Random scores: {chance}.",
        "Highest identity with a labelled sequence, on average: " + ", ".join(
            f"{name} {attributes[f'identity_{name}']:.0%}" for name in ("designed", "native")
            if f"identity_{name}" in attributes) + ".",
        "Passes and seconds of a sequence: " + ", ".join(
            f"{m} {data['passes'].sel(predictor=m).item():,.0f}, {data['seconds'].sel(predictor=m).item():.2g} s"
            for m in data["predictor"].values) + "; heads: besides, "
        f"{attributes['labelled']} labelled sequences once.",
    ]  # fmt: skip
    return [*lines, *(equilibrium_remarks(data) if counts else []), *best_temperatures(data)]


def best_temperatures(data: xarray.Dataset) -> list[str]:
    """The temperatures at which attention and Jacobian are best, and their rank correlation."""
    from scipy.stats import spearmanr

    lines: list[str] = []
    if data.sizes["temperature"] < 3 or ATTENTION not in data["predictor"].values:
        return lines
    for name in data["criterion"].values:
        curves = [data["precision"].sel(predictor=m, group=GROUPS[0], criterion=name).values
                  for m in (ATTENTION, JACOBIAN)]  # fmt: skip
        if not all(np.isfinite(curve[:, 0]).all() for curve in curves):
            continue
        best = [f"{exponent_form(data['temperature'].values[k])} ({_share(*curve[k])})"
                for curve in curves for k in [int(curve[:, 0].argmax())]]  # fmt: skip
        rank = spearmanr(curves[0][:, 0], curves[1][:, 0])
        lines.append(
            f"{name}, designed: attention is best at T = {best[0]}, the Jacobian at T = {best[1]}; over temperatures "
            f"their rank correlation is {rank.statistic:.2f} (p = {rank.pvalue:.2g})."
        )
    return lines


def records(data: xarray.Dataset, names: Sequence[str]) -> list[dict[str, Any]]:
    """Variables as plain objects with their coordinates and statistics. Unknown values are None."""
    found: list[dict[str, Any]] = []
    for name in names:
        series = data[name].to_series()
        frame = (series.unstack("statistic") if "statistic" in data[name].dims else series).reset_index()
        found += [{"quantity": name, **{key: none_for_nan(value) for key, value in row.items()}}
                  for row in frame.to_dict("records")]  # fmt: skip
    return found
