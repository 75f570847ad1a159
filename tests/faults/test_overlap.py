"""The store is written while walkers go on: what it holds is how they were when it was handed over."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from forked import ForkedRanks, Running
from short_run import load, look, sample

from hpc.stop import Stop
from protmpi.display import Display
from protmpi.ensemble import Ensemble
from protmpi.run import run
from protmpi.store import commit, files
from protmpi.store.writer import Row, Writer, Written
from protmpi.variables import Axis

RANKS = 2


def states(store: Path) -> list[object]:
    """What every commit says of its checkpoint: array, walker, checksum."""
    return [json.loads(path.read_text())["state"] for path in commit.record_paths(store)]


@pytest.mark.parametrize("writes_what_goes_on", [False, True])
def test_what_is_written_is_what_was_handed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writes_what_goes_on: bool
) -> None:
    """On a slow disk, beside a run on a fast one. A state that is taken when it is written would be found out."""
    assert [outcome.status for outcome in Running(sample(folder / "whole.zarr"), RANKS).wait()] == [0] * RANKS
    put, written, write, busy = files.put, Writer.written, Writer._write, [0]
    checkpoint, ensembles = Ensemble.checkpoint, []

    def slowly(path: Path, content: bytes | memoryview) -> None:
        time.sleep(0.01)
        put(path, content)

    def noted(store: Writer) -> bool:
        done = written(store)
        busy[0] += not done
        return done

    def taken_late(store: Writer, place: int, start: dict[Axis, int], rows: Row, state: Row) -> Written:
        time.sleep(0.1)
        return write(store, place, start, rows, {**state, **checkpoint(ensembles[0])})

    monkeypatch.setattr(files, "put", slowly)
    monkeypatch.setattr(Writer, "written", noted)
    if writes_what_goes_on:
        monkeypatch.setattr(Ensemble, "checkpoint", lambda self: ensembles.append(self) or checkpoint(self))
        monkeypatch.setattr(Writer, "_write", taken_late)
    config = load(folder / "store.zarr")

    def program(world: ForkedRanks) -> int:
        assert run(config, world, Stop(world), Display(world.rank, False))
        return busy[0]

    outcomes = Running(program, RANKS).wait()
    assert [outcome.status for outcome in outcomes] == [0] * RANKS, outcomes[0].printed
    assert all(outcome.value > 0 for outcome in outcomes), "no rank went on while it wrote"
    assert look(folder / "store.zarr") == look(folder / "whole.zarr")
    assert (states(folder / "store.zarr") == states(folder / "whole.zarr")) != writes_what_goes_on


def test_a_write_that_fails_beside_the_sampling_ends_all_ranks_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of one rank meets a full disk in its second commit; the first one stands."""
    put = files.put

    def full(path: Path, content: bytes | memoryview) -> None:
        if path.match("energy/c/1/1"):
            raise OSError(28, "No space left on device")
        put(path, content)

    monkeypatch.setattr(files, "put", full)
    outcomes = Running(sample(folder / "store.zarr"), RANKS).wait()
    assert [outcome.status for outcome in outcomes] == [2] * RANKS, outcomes[0].printed
    assert "cannot be written (No space left on device); its commits are kept" in outcomes[0].printed
    assert look(folder / "store.zarr")[2] == 2
