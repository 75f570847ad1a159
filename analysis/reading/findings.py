"""Results of measures on a run. Each measure is taken once and its result is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from analysis.reading.run import Run

Found = TypeVar("Found")


class Findings:
    """A run, the settings of its measures, and the results so far."""

    def __init__(self, run: Run, *options: object) -> None:
        """`options`: settings of measures, at most one of each class. A measure uses the one of its own class."""
        self.run = run
        self._options = options
        self._found: dict[Callable[[Findings], object], Any] = {}

    def option(self, kind: type[Found]) -> Found:
        """The settings of a class, or its defaults."""
        return next((option for option in self._options if isinstance(option, kind)), None) or kind()

    def of(self, measure: Callable[[Findings], Found]) -> Found:
        """The result of `measure(self)`, which is called the first time only."""
        if measure not in self._found:
            self._found[measure] = measure(self)
        found: Found = self._found[measure]
        return found
