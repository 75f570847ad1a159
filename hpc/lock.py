"""One writer per store: a lock file in the store names its owner.

The lock names host, process and job of its owner and is touched at every commit. A lock is taken over if its owner is
certainly gone: a process of this machine that has ended, or this Slurm job before it was requeued. The lock of another
machine is never taken over, because a lost node cannot be told from a slow one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpc.world import number
from protmpi.errors import StoreError

NAME = "lock.json"


class Lock:
    """The lock of a store. Rank 0 holds it. The other ranks know its `token` and check that the file still has it."""

    def __init__(self, store: Path, token: str) -> None:
        self.path, self.token = store / NAME, token

    @classmethod
    def acquire(cls, store: Path, environment: Mapping[str, str] = os.environ) -> tuple[Lock, str]:
        """Acquire the lock of a store. Returns it, and a line about the dead owner it was taken from, or "".

        Raises StoreError if another run holds it, or may hold it.
        """
        lock, said = cls(store, uuid.uuid4().hex), ""
        owner = {
            "token": lock.token, "host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(),
            "started": _started(os.getpid()), "job": environment.get("SLURM_JOB_ID"),
            "restart": number(environment, "SLURM_RESTART_COUNT") or 0,
        }  # fmt: skip
        draft = store / f".{NAME}.{lock.token}"
        draft.write_text(json.dumps(owner))
        try:
            while True:
                try:
                    os.link(draft, lock.path)  # the lock appears with its content or not at all
                    return lock, said
                except FileExistsError:
                    said = _why_dead(lock.path, owner)
                    lock.path.unlink(missing_ok=True)
        finally:
            draft.unlink()

    def held(self) -> bool:
        """Whether the store still exists and this run still holds its lock."""
        return _read(self.path).get("token") == self.token

    def beat(self) -> None:
        """Touch the lock, to show that the owner is alive."""
        os.utime(self.path)

    def release(self) -> None:
        with contextlib.suppress(OSError):  # the disk is full or gone: the next run finds that this process has ended
            if self.held():
                self.path.unlink()


def _boot() -> list[str]:
    """Boot and process table of this machine. Process numbers have a meaning only within them."""
    try:
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        return ["", ""]


def _started(pid: int) -> str | None:
    """Start time of a process, which tells it from a later one of the same number. None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _why_dead(path: Path, me: dict[str, Any]) -> str:
    """The evidence that the owner of a lock is gone. Raises StoreError if it is alive or may be alive."""
    owner = _read(path)
    try:
        age = max(0.0, time.time() - path.stat().st_mtime)  # clocks of machines differ
    except OSError:
        return ""  # the owner released it meanwhile
    who = f"process {owner.get('pid')} on {owner.get('host')}"
    if owner.get("job") and owner["job"] == me["job"] and owner.get("restart", 0) < me["restart"]:
        return f"this job ran before it was requeued ({who}); continuing from its last commit"
    boot, namespace = owner.get("boot") or me["boot"]
    if owner.get("host") == me["host"] and boot != me["boot"][0]:
        return f"{who} ended when that machine was rebooted; continuing from its last commit"
    if owner.get("host") == me["host"] and namespace == me["boot"][1]:
        if _started(int(owner.get("pid") or 0)) != owner.get("started"):
            return f"{who} has ended without releasing the store; continuing from its last commit"
        raise StoreError(f"{path.parent}: {who} is writing this store; choose another --store, or wait for it")
    raise StoreError(f"{path.parent}: {who} holds this store and last committed {age:,.0f} s ago; if that run is gone, "
                     f"delete {path} and give the command again")  # fmt: skip
