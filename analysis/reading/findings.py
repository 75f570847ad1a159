"""What has been found in a run so far: each measure is taken once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from analysis.reading.run import Run

Found = TypeVar("Found")


class Findings:
    """A run, how its measures are to be taken, and those that have been taken."""

    def __init__(self, run: Run, *options: object) -> None:
        """`options`: settings of measures, at most one of each class; a measure takes the one of its own class."""
        self.run = run
        self._options = options
        self._found: dict[Callable[[Findings], object], Any] = {}

    def option(self, kind: type[Found]) -> Found:
        """The settings of a class; its defaults where none were given."""
        return next((option for option in self._options if isinstance(option, kind)), None) or kind()

    def of(self, measure: Callable[[Findings], Found]) -> Found:
        """What `measure(self)` returns; it is called the first time only."""
        if measure not in self._found:
            self._found[measure] = measure(self)
        found: Found = self._found[measure]
        return found
