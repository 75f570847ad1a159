"""SIGKILL at random times of a run that is given again each time: no committed row is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from forked import Running
from short_run import look, sample

from protmpi.store import commit

RANKS = 2
KILLS = 100 if "PROTMPI_KILLS" in os.environ else 8
LONGER = ("run.steps=1000", "run.record_every=50", "run.snapshot_every=100", "tempering.exchange_every=50",
          "tempering.burn_in=100")  # fmt: skip
"""A run of 10 commits."""


def records(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in commit.record_paths(store)}


@pytest.mark.slow
def test_no_committed_row_is_lost_by_kills_at_random_times(folder: Path) -> None:
    began = time.monotonic()
    Running(sample(folder / "whole.zarr", *LONGER), RANKS).wait()
    duration = time.monotonic() - began
    whole, flaws, _ = look(folder / "whole.zarr")
    assert flaws == []
    chance, kills, finished, store = random.Random(KILLS), 0, 0, folder / "store.zarr"
    while kills < KILLS or not finished:
        before = records(store)
        running = Running(sample(store, *LONGER), RANKS)
        if kills < KILLS:
            time.sleep(chance.uniform(0, duration / 4))
            victims = chance.choice([[0], [1], [0, 1]])
            for victim in victims:  # one that has ended is still there to be waited for
                os.kill(running.pids[victim], signal.SIGKILL)
        statuses = [outcome.status for outcome in running.wait()]
        kills += -signal.SIGKILL in statuses
        print(f"{kills} kills", end="\r", flush=True)
        after = records(store)
        assert before.items() <= after.items(), "a commit was lost or changed"
        if not store.exists():
            continue
        digest, flaws, _ = look(store)
        assert flaws == []
        if statuses == [0, 0]:
            assert digest == whole
            shutil.rmtree(store)
            finished += 1
    print(f"{kills} kills, {kills} resumes, {finished} runs to their end, each with the digest of one never killed")
