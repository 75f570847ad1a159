"""Self-checks as text: the table on the terminal, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.show.cells import (
    VERDICT_COLOURS,
    empty_table,
    exponent_form,
    none_for_nan,
    number_or_dash,
    percent,
    plus_minus,
)
from analysis.subjects.checks.check import Check, severity

if TYPE_CHECKING:
    from rich.table import Table


def checks_table(checks: Sequence[Check]) -> Table:
    """One line per kind of check: its worst temperature, and the number of temperatures with the same verdict."""
    from rich.text import Text

    table = empty_table()
    for heading in ("check", "worst at T", "value ±", "expected", "z", "sees", "verdict"):
        table.add_column(heading, justify="left" if heading in ("check", "verdict") else "right", no_wrap=True)
    for worst, of_kind in worst_checks(checks):
        alike = sum(check.verdict == worst.verdict for check in of_kind)
        count = "" if worst.verdict == "pass" else f" {alike} of {len(of_kind)}"
        table.add_row(
            worst.name,
            " ".join(filter(None, (exponent_form(worst.temperature), worst.detail))),
            plus_minus(worst.value, worst.sem),
            number_or_dash(worst.expected, ".4g"),
            number_or_dash(worst.z, ".1f"),
            percent(worst.sees),
            Text(worst.verdict + count, style=VERDICT_COLOURS[worst.verdict]),
        )
    return table


def worst_checks(checks: Sequence[Check]) -> list[tuple[Check, list[Check]]]:
    """The worst check of each kind, in order, and all checks of this kind."""
    kinds: dict[str, list[Check]] = {}
    for check in checks:
        kinds.setdefault(check.name, []).append(check)
    return [(max(of_kind, key=severity), of_kind) for of_kind in kinds.values()]


def checks_fact(checks: Sequence[Check]) -> str:
    """All verdicts in a line, those that did not pass with their names."""
    failed, weak = ([check.name for check in checks if check.verdict == verdict] for verdict in ("fail", "weak"))
    if not failed and not weak:
        return f"all {len(checks)} pass"
    parts = [f"{len(names)} of {len(checks)} {verdict} ({', '.join(dict.fromkeys(names))})"
             for names, verdict in ((failed, "fail"), (weak, "weak")) if names]  # fmt: skip
    return "; ".join(parts)


def checks_remarks(checks: Sequence[Check]) -> list[str]:
    """The meaning of the verdicts. For each kind of check that fails, what to do and where else it fails."""
    lines = [
        "sees: the smallest deviation that would have failed, of the expected value or of U. "
        "weak: not in equilibrium (then without ±), or it cannot see what matters: run longer.",
    ]
    for worst, of_kind in worst_checks(checks):
        if worst.verdict == "fail":
            others = [exponent_form(c.temperature) for c in of_kind if c.verdict == "fail" and c is not worst]
            lines.append(f"FAIL {worst.advice}" + (f" (fails too at {', '.join(others)})" if others else "") + ".")
    return lines


def write_checks_csv(checks: Sequence[Check], path: Path) -> None:
    """One row per check and temperature; an empty cell is unknown."""
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, fieldnames=Check._fields)
        rows.writeheader()
        rows.writerows(checks_to_json(checks))


def checks_to_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Plain objects, {"name": "kinetic temperature", "temperature": 1e-4, ..., "verdict": "pass", "advice": ""}."""
    return [{key: none_for_nan(value) for key, value in check._asdict().items()} for check in checks]
