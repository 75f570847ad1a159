"""Numbers for people and for programs, and tables in the style of all reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table


TERMINAL, GAP = 80, 2
"""Width of a narrow terminal, and of the gap between two columns of a table, in characters."""

VERDICT_COLOURS = {"pass": "green", "weak": "yellow", "fail": "red"}
"""Verdict of a check -> colour of its cell."""


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
    """Mean ± error, one digit of the error."""
    return " ± ".join(part for part in rounded(mean, sem) if part)


def exponent_plus_minus(mean: float, sem: float) -> str:
    """The same with a common power of ten: (9.5 ± 0.2)e-5."""
    if not math.isfinite(sem) or sem <= 0:
        return exponent_form(mean)
    exponent = math.floor(math.log10(mean))
    return f"({plus_minus(mean / 10.0**exponent, sem / 10.0**exponent)})e{exponent}"


def aligned(cells: Sequence[str]) -> list[str]:
    """Pad numbers so that their decimal points are aligned."""
    halves = [cell.partition(".") for cell in cells]
    before = max(len(whole) for whole, _, _ in halves)
    after = max(len(point + fraction) for _, point, fraction in halves)
    return [f"{whole:>{before}}{point + fraction:<{after}}" for whole, point, fraction in halves]


def number_or_dash(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def percent(fraction: float) -> str:
    """Rounded up to one digit, two above 10 %: a bound that is not exceeded."""
    if not math.isfinite(fraction):
        return "-"
    size = 100.0 * abs(fraction)
    unit = 1.0 if size > 10.0 or not size else 10.0 ** math.floor(math.log10(size))
    return f"{math.ceil(size / unit - 1e-9) * unit:.3g} %"


def with_errors(values: np.ndarray) -> list[str]:
    means, errors = zip(*(rounded(mean, sem) for mean, sem in values), strict=True)
    signs = [" ± " if error else "   " for error in errors]
    return [mean + sign + error for mean, sign, error in zip(aligned(means), signs, aligned(errors), strict=True)]


def means_with_errors(values: np.ndarray) -> list[str]:
    """Means (row, statistic) with their errors, each cell formatted separately."""
    return [plus_minus(mean, sem) for mean, sem in values]


def empty_table() -> Table:
    """A table without columns, in the style of all reports."""
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


def tables_of(first: tuple[str, Sequence[str]], columns: Sequence[tuple[str, Sequence[str]]]) -> list[Table]:
    """Tables at most `TERMINAL` characters wide. Each begins with `first`; the other `columns` follow in order."""
    from protmpi.terminal import blocks

    whole = [first, *columns]
    return [table_of([whole[index] for index in block]) for block in blocks(list(map(_width, whole)), GAP, TERMINAL)]


def _width(column: tuple[str, Sequence[str]]) -> int:
    heading, cells = column
    return max(map(len, [*heading.split("\n"), *cells]))


def none_for_nan(values: Any) -> Any:
    """Replace NaN by None, because strict JSON has no NaN."""
    if isinstance(values, list):
        return [none_for_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
