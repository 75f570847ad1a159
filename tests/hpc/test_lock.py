"""One run, one writer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpc.lock import NAME, Lock
from protmpi.errors import StoreError


def change(store: Path, **owner: object) -> None:
    path = store / NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **owner}))


def test_a_live_owner_on_this_machine_is_respected(tmp_path: Path) -> None:
    lock, said = Lock.acquire(tmp_path)
    assert said == ""
    with pytest.raises(StoreError, match="is writing this store"):
        Lock.acquire(tmp_path)
    lock.beat()
    assert lock.held()
    lock.release()
    assert not lock.held()
    Lock.acquire(tmp_path)


def test_a_process_that_has_ended_is_followed(tmp_path: Path) -> None:
    program = f"from pathlib import Path; from hpc.lock import Lock; Lock.acquire(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    lock, said = Lock.acquire(tmp_path)
    assert "has ended without releasing the store" in said
    assert lock.held()


def test_a_process_of_the_same_number_that_began_later_is_another_one(tmp_path: Path) -> None:
    Lock.acquire(tmp_path)
    change(tmp_path, started="1")
    assert "has ended" in Lock.acquire(tmp_path)[1]


def test_another_machine_is_not_judged_from_here(tmp_path: Path) -> None:
    Lock.acquire(tmp_path)
    change(tmp_path, host="elsewhere", pid=1)
    with pytest.raises(StoreError, match=r"process 1 on elsewhere holds this store .* delete .*lock.json"):
        Lock.acquire(tmp_path)


def test_a_requeued_job_follows_itself(tmp_path: Path) -> None:
    Lock.acquire(tmp_path, {"SLURM_JOB_ID": "7"})
    change(tmp_path, host="elsewhere")
    for environment in ({"SLURM_JOB_ID": "7"}, {"SLURM_JOB_ID": "8", "SLURM_RESTART_COUNT": "1"}):
        with pytest.raises(StoreError):
            Lock.acquire(tmp_path, environment)
    _, said = Lock.acquire(tmp_path, {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"})
    assert "before it was requeued" in said


def test_a_store_that_is_deleted_or_taken_over_is_no_longer_held(tmp_path: Path) -> None:
    lock, _ = Lock.acquire(tmp_path)
    change(tmp_path, token="another")
    assert not lock.held()
    lock.release()
    assert (tmp_path / NAME).exists(), "another's lock is left alone"
    (tmp_path / NAME).unlink()
    assert not lock.held()


def test_a_damaged_lock_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    with pytest.raises(StoreError):
        Lock.acquire(tmp_path)
