"""When to stop: a signal on any rank, or the end of its time, stops all ranks at the same step.

Ranks work in attempts of about a second and agree after each whether to go on. Within an attempt `check` is asked
before every pass through a network; where this rank has received a signal, or another one tells that it has, the
attempt is given up, and so is that of every other rank: what was before it is what gets committed.
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
"""Exit status of a run that stopped early, committed and wants to be started again (EX_TEMPFAIL of sysexits.h)."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
WALL_TIME = "wall time"  # the reason of a stop that is no signal
PIECE = 1.0  # seconds that an attempt should take
MARGIN = 5.0  # seconds left at a deadline beside the time of two commits


def time_left(environment: Mapping[str, str]) -> float | None:
    """Seconds to the end of the Slurm job by SLURM_JOB_END_TIME, None where it says none."""
    end = number(environment, "SLURM_JOB_END_TIME")
    return None if end is None else end - time.time()


class Interrupted(Exception):  # noqa: N818 - no error
    """Ends an attempt from within."""


class Stop:
    """Turns SIGTERM, SIGUSR1, SIGINT and the end of the time into the end of an attempt. A SIGINT after it kills.

    The time ends after `wall_time` seconds and before SLURM_JOB_END_TIME, unless that is past already.
    """

    def __init__(
        self, world: World, wall_time: float | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.world = world
        self.received: str | None = None
        self.commit_seconds = 0.0  # of the longest commit so far, which the run tells
        self._since = 0.0  # when it was received
        self._told = self._trying = False
        self._pace, self._steps, self._seconds = 1, 1, 0.0  # steps of an attempt; of the last one, and its time
        lasts = [wall_time] if wall_time is not None else []
        left = time_left(environment)
        if left is not None and left > 0:  # one that is past has been left by another job
            lasts.append(left)
        self._deadline = time.monotonic() + min(lasts, default=float("inf"))
        for known in SIGNALS:
            signal.signal(known, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # batch scripts repeat it until the run has ended
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who presses Ctrl-C again will not wait
        self._note(signal.Signals(number).name)

    def _note(self, reason: str) -> None:
        if self.received is None:
            self.received, self._since = reason, time.monotonic()

    def listen(self) -> bool:
        """Whether this rank or another one has been told to stop; the others are told."""
        if self.received is None and time.monotonic() > self._deadline - MARGIN - 2.0 * self.commit_seconds:
            self._note(WALL_TIME)
        if self.received and not self._told:
            self._told = True
            self.world.shout()
        return self._told or self.world.heard()

    def check(self) -> None:
        """Raise Interrupted where the attempt that is going on, if any, is to be given up."""
        if self._trying and self.listen():
            raise Interrupted

    def attempt(self, action: Callable[[int], T], most: int = 1) -> T | None:
        """What `action(steps)` returns, for at most `most` steps that take about a second; None if it was given up."""
        self._steps, began, self._trying = min(most, self._pace), time.monotonic(), True
        try:
            self.check()
            return action(self._steps)
        except Interrupted:
            return None
        finally:
            self._trying, self._seconds = False, time.monotonic() - began

    def requested(self) -> str | None:
        """What stopped the last attempt on any rank, None if all completed theirs. Collective."""
        return self.agree()[0]

    def agree(self, ready: bool = True) -> tuple[str | None, bool]:
        """What stopped the last attempt on any rank, None if all completed theirs; whether all are ready. Collective.

        A rank that waits here still hears signals, and those that work are told of them.
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
        """What a commit record keeps of a stop: why, and how many seconds after the first signal."""
        return {"stop": {"reason": reason, "seconds": time.monotonic() - self._since}}
