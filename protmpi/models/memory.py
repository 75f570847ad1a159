"""Memory that is freed and asked for again a thousand times a second."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let the process keep what it frees instead of handing it back to the kernel.

    By default every array above 128 kB may come as fresh pages, whose first touch costs ten times the arithmetic
    on them. Only glibc has the switch, and its largest threshold is 32 MB; elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
        mallopt(M_TOP_PAD, 64 << 20)
