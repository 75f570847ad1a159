"""When to stop: a signal on any rank stops all ranks at the same step."""

from __future__ import annotations

import signal
from types import FrameType

from hpc.world import World

EXIT_INTERRUPTED = 75
"""Exit status of a run that stopped early, committed and wants to be started again (EX_TEMPFAIL of sysexits.h)."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stop:
    """Turns SIGTERM, SIGUSR1 and SIGINT into a flag that the loop asks for. A second SIGINT ends at once."""

    def __init__(self) -> None:
        self.received: str | None = None
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        self.received = signal.Signals(number).name
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # batch scripts repeat it until the run has ended

    def requested(self, world: World) -> str | None:
        """Name of the first signal that any rank has received, None if none has. Collective."""
        return next((name for name in world.allgather(self.received) if name), None)
