"""How much memory and disk this process may still take."""

from __future__ import annotations

import shutil
from pathlib import Path

MEMORY = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> float:
    """Bytes of main memory that are available on this machine, or to this job if its control group allows less.

    Infinity where the system does not say.
    """
    return min(_of_machine(), _of_group())


def free_disk(path: Path) -> float:
    """Bytes that are free where `path` lies, or would be created. Infinity where a file system has no size (/proc)."""
    usage = shutil.disk_usage(folder_of(path))
    return usage.free if usage.total else float("inf")


def folder_of(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def _of_machine() -> float:
    try:
        lines = MEMORY.read_text().splitlines()
    except OSError:
        return float("inf")
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(found[0]) if found else float("inf")


def _of_group() -> float:
    """What control groups of version 2 leave: the limit less what is used."""
    try:
        limit, used = (GROUPS / name for name in ("memory.max", "memory.current"))
        return float(limit.read_text()) - float(used.read_text())  # "max" is no number
    except (OSError, ValueError):
        return float("inf")
