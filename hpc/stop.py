"""When to stop: a signal on any rank, or the end of its time, stops all ranks at the same step.

Ranks work in attempts of about a second and agree after each one whether to go on. Within an attempt, `check` is called
before every pass through a network. If this rank or another one has received a signal, all ranks abandon the attempt.
The state before the attempt is then committed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TypeVar

from hpc.world import World, number

T = TypeVar("T")

EXIT_INTERRUPTED = 75
"""Exit status of a run that stopped early and committed, and should be started again (EX_TEMPFAIL of sysexits.h)."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
WALL_TIME = "wall time"  # the reason of a stop without a signal
PIECE = 1.0  # target duration of an attempt in seconds
MARGIN = 5.0  # seconds before a deadline, in addition to the time of two commits


def time_left(environment: Mapping[str, str]) -> float | None:
    """Seconds to the end of the Slurm job from SLURM_JOB_END_TIME. None if it is not set."""
    end = number(environment, "SLURM_JOB_END_TIME")
    return None if end is None else end - time.time()


class Interrupted(Exception):  # noqa: N818 - no error
    """Exception that ends an attempt from within."""


class Stop:
    """Turn SIGTERM, SIGUSR1, SIGINT and the end of the time into the end of an attempt. A second SIGINT kills.

    The time ends after `wall_time` seconds and before SLURM_JOB_END_TIME, unless that time is already past.
    """

    def __init__(
        self, world: World, wall_time: float | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.world = world
        self.received: str | None = None
        self.commit_seconds = 0.0  # of the longest commit so far, set by the run
        self._since = 0.0  # when it was received
        self._told = self._trying = False
        self._pace, self._steps, self._seconds = 1, 1, 0.0  # steps of the next attempt; of the last one, and its time
        lasts = [wall_time] if wall_time is not None else []
        left = time_left(environment)
        if left is not None and left > 0:  # a time in the past was left by another job
            lasts.append(left)
        self._deadline = time.monotonic() + min(lasts, default=float("inf"))
        for known in SIGNALS:
            signal.signal(known, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # batch scripts repeat it until the run has ended
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
        self._note(signal.Signals(number).name)

    def _note(self, reason: str) -> None:
        if self.received is None:
            self.received, self._since = reason, time.monotonic()

    def listen(self) -> bool:
        """Whether this rank or another one must stop. The other ranks are notified."""
        if self.received is None and time.monotonic() > self._deadline - MARGIN - 2.0 * self.commit_seconds:
            self._note(WALL_TIME)
        if self.received and not self._told:
            self._told = True
            self.world.shout()
        return self._told or self.world.heard()

    def check(self) -> None:
        """Raise Interrupted if the present attempt must be abandoned."""
        if self._trying and self.listen():
            raise Interrupted

    def attempt(self, action: Callable[[int], T], most: int = 1) -> T | None:
        """Result of `action(steps)`, for at most `most` steps that take about a second. None if it was abandoned."""
        self._steps, began, self._trying = min(most, self._pace), time.monotonic(), True
        try:
            self.check()
            return action(self._steps)
        except Interrupted:
            return None
        finally:
            self._trying, self._seconds = False, time.monotonic() - began

    def requested(self) -> str | None:
        """The reason why any rank abandoned the last attempt, None if all completed it. Collective."""
        return self.agree()[0]

    def agree(self, ready: bool = True) -> tuple[str | None, bool]:
        """The reason why any rank abandoned the last attempt, or None; and whether all are ready. Collective.

        A rank that waits here still receives signals, and passes them on to the ranks that work.
        """
        self.world.meet(self.listen)
        age = time.monotonic() - self._since
        reports = self.world.allgather((self.received, age, self._seconds / self._steps, ready))
        self._pace = max(1, int(PIECE / max(1e-9, *(seconds for _, _, seconds, _ in reports))))
        all_ready = all(ready for *_, ready in reports)
        first = max(((age, reason) for reason, age, *_ in reports if reason), default=None)
        if first is None:
            return None, all_ready
        self._since = time.monotonic() - first[0]
        return first[1], all_ready

    def remark(self, reason: str) -> dict[str, object]:
        """Entry of a stop in a commit record: its reason, and the seconds since the first signal."""
        return {"stop": {"reason": reason, "seconds": time.monotonic() - self._since}}
