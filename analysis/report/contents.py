"""Contents of a report: for each run the parts of every subject that applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.report import subjects
from analysis.show.part import Part


@dataclass
class RunReport:
    """All parts of one run."""

    label: str
    findings: Findings
    parts: list[Part]

    @property
    def run(self) -> Run:
        return self.findings.run


def report_of(run: Run, label: str, *options: object) -> RunReport:
    """All parts that a store allows, with the given settings of measures (`Findings`)."""
    findings = Findings(run, *options)
    parts = [part for subject in subjects.SUBJECTS if subject.applies(run) for part in subject.parts(findings)]
    return RunReport(label, findings, parts)


def labels_of(runs: Sequence[Run]) -> list[str]:
    """A unique name for each run: its network, or else its network and its store."""
    names = [str(run.store.config.get("model", {}).get("name", "run")) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({run.store.path.stem})"
        for name, run in zip(names, runs, strict=True)
    ]
