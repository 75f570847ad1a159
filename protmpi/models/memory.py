"""Memory that is freed and allocated again a thousand times a second."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let the process keep freed memory instead of returning it to the kernel.

    By default every array above 128 kB may consist of fresh pages. Their first access costs ten times the arithmetic
    on them. Only glibc has this switch, with a largest threshold of 32 MB. Elsewhere the function does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
        mallopt(M_TOP_PAD, 64 << 20)
