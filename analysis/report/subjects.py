"""The table of the subjects of a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part
from analysis.subjects.attention import part as attention
from analysis.subjects.chains import part as chains
from analysis.subjects.checks import part as checks
from analysis.subjects.distance import part as distance
from analysis.subjects.network import part as network
from analysis.subjects.thermodynamics import part as thermodynamics
from analysis.subjects.weights import part as weights


class Subject(Protocol):
    """Interface of a module, or another object, in a report."""

    def applies(self, run: Run) -> bool:
        """Whether the store of a run has the data of this subject."""

    def parts(self, findings: Findings) -> Iterable[Part]:
        """Its parts of the report, in order."""


SUBJECTS: tuple[Subject, ...] = (thermodynamics, checks, weights, attention, distance, chains, network)
"""Subjects in the order of the page. A new subject is added here."""
