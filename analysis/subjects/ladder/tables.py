"""Walkers that move in temperature, and free energies: tables with remarks for the terminal, objects for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.show.cells import exponent_form, none_for_nan, plus_minus, table_of
from analysis.show.equilibrium import PLUS_MINUS, equilibrium_remarks, temperature_column
from analysis.statistics.significance import SIGNIFICANT

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

HIDDEN = 0.9
"""Rejection above which the barrier of a pair is only a lower bound, because a rate cannot exceed 1."""
RARE = 0.2
"""Fraction of the visits at ideal weights below which a temperature of simulated tempering is hardly visited."""
FORGETTING = 0.7
"""Fraction of the predicted round trips below which walkers remember their energy from sweep to sweep."""


def _form(values: np.ndarray, form: str) -> list[str]:
    return [format(value, form) if math.isfinite(value) else "-" for value in values.tolist()]


def _joined(values: np.ndarray, form: str) -> str:
    return ", ".join(_form(values, form))


def tempering_table(data: xarray.Dataset) -> Table:
    """One row per slot. Values of a pair of neighbours are in the row of the lower slot."""
    flow = np.ma.masked_invalid(data["flow"].values).mean(axis=0).filled(np.nan)
    return table_of(
        [
            temperature_column(data),
            ("accepted ±\n(to next T)", [plus_minus(mean, sem) for mean, sem in data["acceptance"].values] + [""]),
            ("expected\nfrom U", [*_form(data["expected_acceptance"].values, ".3f"), ""]),
            ("z", [*_form(data["consistency"].values, "z.1f"), ""]),
            ("flow f\n(from top)", _form(flow, ".2f")),
        ]
    )


def tempering_remarks(data: xarray.Dataset) -> list[str]:
    """Round trips, the barrier, the number of slots that is enough, and all warnings, one line each."""
    trips, sweeps = data["round_trips"].values, data.attrs["sweeps"]
    predicted, steps = data["predicted_round_trips"].item(), data["round_trip_steps"].item()
    long = f"; {steps:.3g} steps of a walker for each" if math.isfinite(steps) else ""
    slots, total, most = data.sizes["slot"], data["barrier"].item(), data["limit_rate"].item() * sweeps
    lines = [
        "expected: mean Metropolis probability; z: swaps against it; flow: fraction of walkers that come from the top.",
        *equilibrium_remarks(data),
        f"Round trips by ladder: {_joined(trips, 'd')} in {sweeps} sweeps{long}.",
        f"Predicted: {predicted:.3g} with these slots, at most {most:.3g} = sweeps / (2 + 2Λ) with others, "
        "if a sweep forgets U.",
        f"Barrier Λ = {total:.2f}, {data['predicted_barrier'].item():.2f} predicted from C: about "
        f"{data['advice'].item()} slots are enough; there are {slots}.",
    ]
    if data.attrs["scheme"] != "even-odd":
        lines.append("Pairs were tried at random: even-odd turns make more round trips.")
    rejected = 1.0 - data["acceptance"].values[:, 0]
    if rejected.max() > HIDDEN:
        k = int(np.argmax(rejected))
        lines.append(
            f"{100 * rejected[k]:.0f} % of the swaps above T = {exponent_form(data['temperature'].values[k])} are "
            "rejected: Λ and the number of slots are lower bounds."
        )
    if not trips.any():
        lines.append("No walker has made a round trip: the ends of the ladder are not connected yet.")
    elif trips.mean() < FORGETTING * predicted:
        lines.append("Fewer round trips than predicted: U outlasts a sweep; rarer sweeps would make fewer still.")
    return lines + _inconsistent(data, "swaps at")


def simulated_table(data: xarray.Dataset) -> Table:
    """One row per slot of simulated tempering. The overlap is that with the next slot."""
    return table_of(
        [
            temperature_column(data),
            ("visits ±", [plus_minus(*share) for share in data["visits"].values]),
            ("expected\nfrom U", _form(data["expected_visits"].values, ".3f")),
            ("z", _form(data["consistency"].values, "z.1f")),
            ("weight g\n(from lowest T)", _form(data["log_weight"].values, ".2f")),
            ("βF ±\n(from lowest T)", [plus_minus(*value) for value in data["free_energy"].values]),
            ("overlap a\n(to next T)", [*_form(data["overlap"].values, ".2g"), ""]),
            ("flow f\n(from top)", _form(data["flow"].values[0], ".2f")),
        ]
    )


def simulated_remarks(data: xarray.Dataset) -> list[str]:
    """Round trips, the barrier, the number of slots that is enough, and all warnings, one line each."""
    trips, steps = data["round_trips"].values, data["round_trip_steps"].item()
    long = f"; {steps:.3g} steps of a walker for each" if math.isfinite(steps) else ""
    lines = [
        "visits: fraction of the draws; expected: mean P(k|U); z: jumps against it; a: swap acceptance that U implies.",
        *equilibrium_remarks(data),
        f"Round trips by walker: {_joined(trips, 'd')} in {data.attrs['sweeps']} sweeps{long}.",
        f"Barrier Λ = {data['barrier'].item():.2f}, {data['predicted_barrier'].item():.2f} predicted from C: about "
        f"{data['advice'].item()} slots are enough; there are {data.sizes['slot']}.",
    ]
    if not trips.any():
        lines.append("No walker has made a round trip: the ends of the ladder are not connected yet.")
    uneven = np.flatnonzero(data["visits"].values[:, 0] * data.sizes["slot"] < RARE)
    if uneven.size:
        at = ", ".join(exponent_form(t) for t in data["temperature"].values[uneven])
        lines.append(f"Hardly visited: T = {at}. The weights were frozen too early: raise tempering.burn_in.")
    return lines + _inconsistent(data, "jumps to")


def _inconsistent(data: xarray.Dataset, moves: str) -> list[str]:
    """A line about the worst move that does not follow from the energies, if there is one."""
    z = data["consistency"].values
    worst = int(np.nanargmax(np.abs(z))) if np.isfinite(z).any() else 0
    if not abs(z[worst]) > SIGNIFICANT:
        return []
    return [
        f"FAIL {moves} T = {exponent_form(data['temperature'].values[worst])} do not follow from the energies "
        f"(z = {z[worst]:.1f}): slots, energies or the ladder of the store are wrong."
    ]


def simulated_json(data: xarray.Dataset) -> dict[str, Any]:
    """Plain numbers: {"round_trips": [per walker], "visits": [per slot], "barrier": Λ, "ladder": [T], ...}."""
    tree: dict[str, Any] = {"kind": "simulated", "ladder": data["temperature"].values.tolist()}
    for name, variable in data.data_vars.items():
        values = variable.values
        if "statistic" in variable.dims:
            tree[f"{name}_sem"] = values[..., 1].tolist()
            values = values[..., 0]
        tree[str(name)] = values.tolist()
    tree |= {"step": data["step"].values.tolist(), "sweeps": data.attrs["sweeps"]}
    tree["not_in_equilibrium"] = data["not_in_equilibrium"].values.tolist()
    return {key: none_for_nan(value) for key, value in tree.items()}


def tempering_json(data: xarray.Dataset) -> dict[str, Any]:
    """Plain numbers: {"round_trips": [per ladder], "acceptance": [per pair], "barrier": Λ, "ladder": [T], ...}."""
    tree = {
        "kind": "exchange",
        "round_trips": data["round_trips"].values.tolist(),
        "acceptance": data["acceptance"].values[:, 0].tolist(),
        "barrier": data["barrier"].item(),
        "ladder": data["temperature"].values.tolist(),
        "not_in_equilibrium": data["not_in_equilibrium"].values.tolist(),
        "acceptance_sem": data["acceptance"].values[:, 1].tolist(),
        "acceptance_by_ladder": data["acceptance_by_ladder"].values.tolist(),
        "limit_round_trips": data["limit_rate"].item() * data.attrs["sweeps"],
        **{
            name: data[name].values.tolist()
            for name in (
                "predicted_barrier",
                "expected_acceptance",
                "consistency",
                "predicted_round_trips",
                "round_trip_steps",
                "flow",
                "transitions",
                "advice",
            )
        },
        "sweeps": data.attrs["sweeps"],
        "scheme": data.attrs["scheme"],
    }
    return {key: none_for_nan(value) for key, value in tree.items()}


def free_energy_table(data: xarray.Dataset, points: int) -> Table:
    """The curves at the temperatures of the ladder (every `points`-th of the grid), and the interval to the next."""
    columns = [temperature_column(data)]
    headings = [
        ("energy", "U ±"),
        ("heat_capacity", "C ±"),
        ("free_energy", "βF ±\n(from lowest T)"),
        ("entropy", "S ±\n(from lowest T)"),
    ]
    for name, heading in headings:
        columns.append((heading, [plus_minus(mean, sem) for mean, sem in data[name].values[::points]]))
    if "free_energy_of_visits" in data:
        visits = data["free_energy_of_visits"].values
        columns.append(("βF ± by\nvisits", [plus_minus(mean, sem) for mean, sem in visits]))
    slopes = [plus_minus(mean, sem) for mean, sem in data["histogram_ratio"].values]
    columns += [
        ("overlap a\n(to next T)", [*_form(data["overlap"].values, ".2g"), ""]),
        ("by", [*data["method"].values.tolist(), ""]),
        ("slope ±", [*slopes, ""]),
        ("z", [*_form(data["consistency"].values, "z.1f"), ""]),
    ]
    return table_of(columns)


def free_energy_remarks(data: xarray.Dataset) -> list[str]:
    """The meaning of the columns, and the intervals whose energies do not belong to the temperatures."""
    unit = data["temperature"].attrs["unit"]
    lines = [
        f"T, U in {unit}; C, S in k_B; a: swap acceptance that two histograms of U imply. {PLUS_MINUS}.",
        "slope: difference in 1/T that two histograms show over the one given, 1 under exp(-U/T); z: from 1.",
        *equilibrium_remarks(data),
    ]
    if "integration" in data["method"].values:
        lines.append("integration: too few draws in common for MBAR; ± includes the difference to straight lines in T.")
    wrong = np.flatnonzero(np.abs(data["consistency"].values) > SIGNIFICANT)
    if wrong.size:
        at = ", ".join(exponent_form(t) for t in data["slot_temperature"].values[wrong])
        lines.append(f"FAIL histograms above T = {at} are not those of exp(-U/T): the ladder or the sampling is wrong.")
    return lines


def free_energy_json(data: xarray.Dataset) -> dict[str, Any]:
    """Plain numbers: {"temperature": [...], "energy": {"mean": [...], "sem": [...]}, ..., "method": [...]}."""
    tree: dict[str, Any] = {"temperature": data["temperature"].values.tolist()}
    tree["ladder"] = data["slot_temperature"].values.tolist()
    tree["not_in_equilibrium"] = data["not_in_equilibrium"].values.tolist()
    for name, variable in data.data_vars.items():
        values = none_for_nan(variable.values.T.tolist())
        tree[str(name)] = dict(zip(("mean", "sem"), values, strict=True)) if "statistic" in variable.dims else values
    return tree
