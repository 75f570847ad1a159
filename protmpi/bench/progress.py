"""One line on stderr with the progress of a long command and its remaining time."""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta
from types import TracebackType

EVERY = 20.0  # seconds between two lines if the output is not a terminal
WATCHED = 1.0  # the same on a terminal, where the line is written over


class Progress:
    """Print `what` at once, then, until closed, the stage, the fraction of the work done and the time left.

    A separate thread prints, because a stage may take minutes.
    """

    def __init__(self, what: str, speaks: bool = True) -> None:
        self._what, self._stage, self._speaks = what, "", speaks
        self._done = self._total = 0.0
        self._began = time.monotonic()
        self._closed = threading.Event()
        self._watched = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> Progress:
        if self._speaks:
            self._say()
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()
        if self._speaks:
            self._thread.join()
            if self._watched:
                print(file=sys.stderr)

    def plan(self, total: float) -> None:
        """Set the amount of work, in any unit. The time left is estimated from here."""
        self._total, self._began = total, time.monotonic()

    def stage(self, name: str) -> None:
        self._stage = name

    def advance(self, amount: float) -> None:
        self._done += amount

    def line(self) -> str:
        parts = [f"{self._what}: {self._stage}" if self._stage else self._what]
        if self._total:
            share = min(1.0, self._done / self._total)
            left = timedelta(seconds=round((time.monotonic() - self._began) * (1.0 / share - 1.0))) if share else "?"
            parts.append(f"{100 * share:.0f} %, ETA {left}")
        return ", ".join(parts)

    def _speak(self) -> None:
        while not self._closed.wait(WATCHED if self._watched else EVERY):
            self._say()

    def _say(self) -> None:
        text = f"\r\x1b[2K{self.line()}" if self._watched else f"{self.line()}\n"
        sys.stderr.write(text)
        sys.stderr.flush()
