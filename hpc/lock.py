"""One run, one writer: a file in the store says who writes it.

The lock names host, process and job of its owner and is touched at every commit. A lock whose owner is provably gone
is taken over: a process of this machine that has ended, or the earlier life of this very Slurm job, which was requeued.
One of another machine is never broken by itself: from here a lost node looks like a slow one.
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
    """Held by rank 0; the other ranks know its `token` and look whether the file still has it."""

    def __init__(self, store: Path, token: str) -> None:
        self.path, self.token = store / NAME, token

    @classmethod
    def acquire(cls, store: Path, environment: Mapping[str, str] = os.environ) -> tuple[Lock, str]:
        """Take the lock of a store. Returns it, and a line about a dead owner it was taken from, or "".

        Raises StoreError when another run holds it, or may hold it.
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
                    os.link(draft, lock.path)  # with its content, or not at all
                    return lock, said
                except FileExistsError:
                    said = _why_dead(lock.path, owner)
                    lock.path.unlink(missing_ok=True)
        finally:
            draft.unlink()

    def held(self) -> bool:
        """Whether the store is still there and still ours."""
        return _read(self.path).get("token") == self.token

    def beat(self) -> None:
        """Say that the owner lives."""
        os.utime(self.path)

    def release(self) -> None:
        with contextlib.suppress(OSError):  # of a disk that is full or gone: who comes next sees that we have ended
            if self.held():
                self.path.unlink()


def _boot() -> list[str]:
    """Which start of which kernel, and which table of processes in it: elsewhere process numbers mean nothing."""
    try:
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        return ["", ""]


def _started(pid: int) -> str | None:
    """When a process of this machine began: no later one of the same number did. None if there is none."""
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
    """Why the owner of a lock is gone. Raises StoreError when it is not, or nobody can tell."""
    owner = _read(path)
    try:
        age = max(0.0, time.time() - path.stat().st_mtime)  # clocks of machines differ
    except OSError:
        return ""  # released in this moment
    who = f"process {owner.get('pid')} on {owner.get('host')}"
    if owner.get("job") and owner["job"] == me["job"] and owner.get("restart", 0) < me["restart"]:
        return f"this job ran before it was requeued ({who}); going on from its last commit"
    boot, namespace = owner.get("boot") or me["boot"]
    if owner.get("host") == me["host"] and boot != me["boot"][0]:
        return f"{who} ended when that machine was started anew; going on from its last commit"
    if owner.get("host") == me["host"] and namespace == me["boot"][1]:
        if _started(int(owner.get("pid") or 0)) != owner.get("started"):
            return f"{who} has ended without releasing the store; going on from its last commit"
        raise StoreError(f"{path.parent}: {who} is writing this store; choose another --store, or wait for it")
    raise StoreError(f"{path.parent}: {who} holds this store and last committed {age:,.0f} s ago; if that run is gone, "
                     f"delete {path} and give the command again")  # fmt: skip
