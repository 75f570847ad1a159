"""Thermodynamics and checks as text: the table on the terminal, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.chains import FEW_SAMPLES

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

    from analysis.checks import Check
    from analysis.run import Run

VERDICT_COLOURS = {"pass": "green", "weak": "yellow", "fail": "red"}


def exponent_form(number: float) -> str:
    """Short decimal exponent form, as temperatures are written in a configuration: 0.00045 -> 4.5e-4."""
    mantissa, exponent = f"{number:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def rounded(mean: float, sem: float) -> tuple[str, str]:
    """Mean and error, cut at the first digit of the error; four digits of a mean without one; "-" for none."""
    if not math.isfinite(mean):
        return "-", ""
    if not math.isfinite(sem) or sem <= 0:
        return f"{mean:.4g}", ""
    first_digit = math.floor(math.log10(sem))
    decimals = -math.floor(math.log10(round(sem, -first_digit)))  # 0.096 is 0.1, one digit less
    places = max(0, decimals)
    return f"{round(mean, decimals):.{places}f}", f"{round(sem, decimals):.{places}f}"


def plus_minus(mean: float, sem: float) -> str:
    """Mean ± standard error, one digit of the error."""
    return " ± ".join(part for part in rounded(mean, sem) if part)


def exponent_plus_minus(mean: float, sem: float) -> str:
    """The same with a common power of ten: (9.5 ± 0.2)e-5."""
    if not math.isfinite(sem) or sem <= 0:
        return exponent_form(mean)
    exponent = math.floor(math.log10(mean))
    return f"({plus_minus(mean / 10.0**exponent, sem / 10.0**exponent)})e{exponent}"


def _aligned(cells: Sequence[str]) -> list[str]:
    """Pad numbers so that their decimal points stand above each other."""
    halves = [cell.partition(".") for cell in cells]
    before = max(len(whole) for whole, _, _ in halves)
    after = max(len(point + fraction) for _, point, fraction in halves)
    return [f"{whole:>{before}}{point + fraction:<{after}}" for whole, point, fraction in halves]


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _with_errors(values: np.ndarray) -> list[str]:
    means, errors = zip(*(rounded(mean, sem) for mean, sem in values), strict=True)
    signs = [" ± " if error else "   " for error in errors]
    return [mean + sign + error for mean, sign, error in zip(_aligned(means), signs, _aligned(errors), strict=True)]


def empty_table() -> Table:
    """A table without columns, in the one style of all reports."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def table_of(columns: Sequence[tuple[str, Sequence[str]]]) -> Table:
    """A table of (heading, cells), aligned to the right."""
    table = empty_table()
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    return table


def temperature_table(data: xarray.Dataset) -> Table:
    """The table of the report, one row per temperature; observables that the task lacks have no column."""
    columns = [("T", [exponent_form(t) for t in data["temperature"].values])]
    for name, heading in (
        ("energy", "U ±"),
        ("heat_capacity", "C ±\n(fluct.)"),
        ("heat_capacity_derivative", "C ±\n(dU/dT)"),
    ):
        columns.append((heading, _with_errors(data[name].values)))
    for name in ("train_error", "val_error", "test_error"):
        if name in data:
            columns.append((name.replace("_", "\n"), [_number(mean, ".3f") for mean in data[name].values[:, 0]]))
    if "kinetic_ratio" in data:
        columns.append(("T_kin/T ±", _with_errors(data["kinetic_ratio"].values)))
    if "norm2_drift" in data:
        columns.append(("|w|²\ndrift", [_number(drift, ".0e") for drift in data["norm2_drift"].values]))
    columns.append(("ESS", [_number(samples, ".0f") for samples in data["effective_samples"].values]))

    return table_of(columns)


def remarks(run: Run, data: xarray.Dataset) -> list[str]:
    """What a reader of the table must know besides: units, T*, and every reason for care, one line each."""
    unit = data["temperature"].attrs["unit"]
    lines = [
        f"T, U in {unit}; C in k_B; ± one standard error; |w|² drift: max ||w|²/Q - 1|; ESS: effective samples of U.",
        _peaks(data),
    ]
    dropped = int(data["discarded"].max())
    then = f", then up to {dropped} draws until U is in equilibrium" if dropped else ""
    lines.append(f"Left out: {run.burn_in} steps of burn-in{then}.")
    if run.unfinished:
        lines.append(f"The run is unfinished: {data.attrs['step']} of {data.attrs['steps']} steps, analysed as it is.")
    missing = data["missing"].values
    if missing.any():
        lines.append(
            f"Walkers with missing draws are left out, or end there: {missing.sum()} draws {_at(data, missing > 0)}."
        )
    few = ~(data["effective_samples"].values >= FEW_SAMPLES)
    if few.any():
        lines.append(f"Fewer than {FEW_SAMPLES} effective samples {_at(data, few)}: too short for sound error bars.")
    return lines


def _peaks(data: xarray.Dataset) -> str:
    found = []
    for name, source in (("t_star", "fluctuations"), ("t_star_derivative", "dU/dT")):
        if math.isfinite(data[name].item()):
            if data[f"{name}_at_edge"].item():
                value = f"{exponent_form(data[name].item())} (an end of the ladder: a bound)"
            else:
                value = exponent_plus_minus(data[name].item(), data[f"{name}_sem"].item())
            found.append(f"{value} from {source}")
    if not found:
        return "T*: a maximum of C takes at least three temperatures."
    return f"T* = {', '.join(found)}; ± does not know how coarse the ladder is."


def _at(data: xarray.Dataset, where: np.ndarray) -> str:
    return "at T = " + ", ".join(exponent_form(t) for t in data["temperature"].values[where])


def peaks_table(networks: Sequence[tuple[str, xarray.Dataset]]) -> Table:
    """T* of several networks, both ways, and their lowest validation error."""

    def peak(data: xarray.Dataset, name: str) -> str:
        edge = " (a bound)" if data[f"{name}_at_edge"].item() else ""
        value, sem = data[name].item(), data[f"{name}_sem"].item()
        return exponent_plus_minus(value, np.nan if edge else sem) + edge if math.isfinite(value) else "-"

    columns = [("network", [label for label, _ in networks])]
    for name, heading in (("t_star", "T* ±\n(fluct.)"), ("t_star_derivative", "T* ±\n(dU/dT)")):
        columns.append((heading, [peak(data, name) for _, data in networks]))
    if all("val_error" in data for _, data in networks):
        best = [int(np.nanargmin(data["val_error"].values[:, 0])) for _, data in networks]
        columns.append(
            (
                "lowest\nval error ±",
                [plus_minus(*data["val_error"].values[k]) for k, (_, data) in zip(best, networks, strict=True)],
            )
        )
        columns.append(
            (
                "at T",
                [exponent_form(data["temperature"].values[k]) for k, (_, data) in zip(best, networks, strict=True)],
            )
        )
    return table_of(columns)


def checks_table(checks: Sequence[Check]) -> Table:
    """One line per kind of check: its worst temperature, and at how many temperatures the verdict is that."""
    from rich.text import Text

    table = empty_table()
    for heading in ("check", "worst at T", "value ±", "expected", "z", "verdict"):
        table.add_column(heading, justify="left" if heading in ("check", "verdict") else "right", no_wrap=True)
    for worst, of_kind in worst_checks(checks):
        alike = sum(check.verdict == worst.verdict for check in of_kind)
        count = "" if worst.verdict == "pass" else f" {alike} of {len(of_kind)}"
        table.add_row(
            worst.name,
            " ".join(filter(None, (exponent_form(worst.temperature), worst.detail))),
            plus_minus(worst.value, worst.sem),
            _number(worst.expected, ".4g"),
            _number(worst.z, ".1f"),
            Text(worst.verdict + count, style=VERDICT_COLOURS[worst.verdict]),
        )
    return table


def worst_checks(checks: Sequence[Check]) -> list[tuple[Check, list[Check]]]:
    """For each kind of check, in order, its worst one and all of them."""
    from analysis.checks import severity

    kinds: dict[str, list[Check]] = {}
    for check in checks:
        kinds.setdefault(check.name, []).append(check)
    return [(max(of_kind, key=severity), of_kind) for of_kind in kinds.values()]


def checks_remarks(checks: Sequence[Check]) -> list[str]:
    """What the verdicts mean, and for each kind of check that fails what to do and where else it fails."""
    lines = [
        "weak: too few effective samples for a deviation to show, run longer; z knows how many numbers were looked at."
    ]
    for worst, of_kind in worst_checks(checks):
        if worst.verdict == "fail":
            others = [exponent_form(c.temperature) for c in of_kind if c.verdict == "fail" and c is not worst]
            lines.append(f"FAIL {worst.advice}" + (f" (fails too at {', '.join(others)})" if others else "") + ".")
    return lines


def _variables(data: xarray.Dataset) -> list[tuple[str, xarray.DataArray]]:
    return [(str(name), variable) for name, variable in data.data_vars.items()]


def write_csv(data: xarray.Dataset, path: Path) -> None:
    """One row per temperature, every variable with its unit in the header; an empty cell is unknown."""
    header, columns = [], []

    def add(name: str, unit: str, values: np.ndarray) -> None:
        header.append(f"{name} [{unit}]" if unit else name)
        columns.append(["" if value != value else value for value in values.tolist()])

    add("temperature", data["temperature"].attrs["unit"], data["temperature"].values)
    for name, variable in _variables(data):
        unit = variable.attrs["unit"]
        if variable.dims == ("temperature", "statistic"):
            add(name, unit, variable.values[:, 0])
            add(f"{name}_sem", unit, variable.values[:, 1])
        elif variable.dims == ("temperature",):
            add(name, unit, variable.values)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))


def write_long_csv(data: xarray.Dataset, path: Path) -> None:
    """Every value on a line of its own with its coordinates; empty cells are unknown."""
    units = {name: variable.attrs.get("unit") for name, variable in data.variables.items()}
    headings = {name: f"{name} [{unit}]" for name, unit in units.items() if unit}
    data.to_dataframe().reset_index().rename(columns=headings).to_csv(path, index=False)


def write_checks_csv(checks: Sequence[Check], path: Path) -> None:
    """One row per check and temperature; an empty cell is unknown."""
    from analysis.checks import Check

    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, fieldnames=Check._fields)
        rows.writeheader()
        rows.writerows(checks_to_json(checks))


def checks_to_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Plain objects, {"name": "kinetic temperature", "temperature": 1e-4, ..., "verdict": "pass", "advice": ""}."""
    return [{key: none_for_nan(value) for key, value in check._asdict().items()} for check in checks]


def to_json(data: xarray.Dataset) -> dict[str, Any]:
    """Plain lists and numbers: {"temperature": [...], "energy": {"mean": [...], "sem": [...]}, ..., "t_star": x}.

    Unknown values are None, so that the result is strict JSON.
    """
    tree: dict[str, Any] = {"temperature": data["temperature"].values.tolist()}
    for name, variable in _variables(data):
        values = none_for_nan(variable.values.T.tolist())
        tree[name] = dict(zip(("mean", "sem"), values, strict=True)) if "statistic" in variable.dims else values
    return {**tree, **data.attrs}


def none_for_nan(values: Any) -> Any:
    """Strict JSON has no NaN."""
    if isinstance(values, list):
        return [none_for_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
