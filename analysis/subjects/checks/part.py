"""Self-checks in a report."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part
from analysis.subjects.checks import tables
from analysis.subjects.checks.check import Check
from analysis.subjects.checks.checks import checks
from analysis.subjects.thermodynamics.part import measured as thermodynamics


def applies(run: Run) -> bool:
    return True


def measured(findings: Findings) -> list[Check]:
    return checks(findings.run, findings.of(thermodynamics))


def _failed(found: list[Check]) -> list[Check]:
    """The worst failure of each kind."""
    return [worst for worst, _ in tables.worst_checks(found) if worst.verdict == "fail"]


def parts(findings: Findings) -> Iterator[Part]:
    found = findings.of(measured)
    yield Part(
        "checks",
        "Self-checks",
        tables=[("Numbers whose correct value is known.", tables.checks_table(found))],
        remarks=tables.checks_remarks(found),
        files={"checks.csv": partial(tables.write_checks_csv, found)},
        facts=[("self-checks", tables.checks_fact(found)), *(("FAIL", check.advice) for check in _failed(found)[:3])],
    )
