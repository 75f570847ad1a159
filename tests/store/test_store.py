"""The store: write-once metadata, committed rows only, one writer per chunk, digests of content."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray

from protmpi.errors import StoreError
from protmpi.store import commit, creation
from protmpi.store.reader import Store
from protmpi.store.schema import Schema
from protmpi.store.writer import Writer, Written
from protmpi.variables import Constant, Variable

VARIABLES = (
    Variable("energy", "draw", "U", "nat"),
    Variable("slot", "draw", "temperature index", dtype="int32"),
    Variable("seconds", "draw", "wall time", "s", physics=False),
    Variable("parameters", "snapshot", "w", dtype="float32", dims=("parameter",), shape=(7,)),
)
WALKERS = 3


class Alone:
    """A world of one rank."""

    rank, size = 0, 1

    def allgather(self, item: object) -> list[object]:
        return [item]


def schema(steps: int = 100, draws_per_chunk: int = 4) -> Schema:
    return Schema(WALKERS, steps, 5, 10, draws_per_chunk, VARIABLES)


def create(path: Path, **sizes: int) -> Schema:
    made = schema(**sizes)
    temperature = Constant("temperature", ("ladder",), np.arange(1.0, 4.0), "T")
    physics = {"adapt_until": 20}
    creation.create(path, made, [temperature], {"config": {"sampler": physics}, "identity": physics})
    return made


def rows(step: int, walkers: range) -> dict[str, np.ndarray]:
    """What walker w has at a step, whoever writes it."""
    w = np.arange(walkers.start, walkers.stop)
    return {
        "energy": step + 0.1 * w, "slot": w, "seconds": np.random.default_rng().random(len(w)),
        "parameters": step + w[:, None] + np.zeros((1, 7)),
    }  # fmt: skip


def advance(store: Writer, first: int, last: int, commits: set[int]) -> None:
    """Steps first + 5 ... last, committing after the steps `commits` and at the end."""
    for step in range(first + 5, last + 1, 5):
        store.append("draw", rows(step, store.walkers))
        if step % 10 == 0:
            store.append("snapshot", rows(step, store.walkers))
        if step in commits or step == last:
            store.commit(step, {"w": np.full((len(store.walkers), 2), step)})


def write(path: Path, last: int = 100, commits: set[int] | None = None, **sizes: int) -> Store:
    made = create(path, **sizes)
    advance(Writer(path, made, range(WALKERS), Alone()), 0, last, commits or set())
    return Store(path)


def test_committed_rows_come_back(tmp_path: Path) -> None:
    store = write(tmp_path / "s.zarr", commits={20, 35, 60})
    assert (store.draws, store.snapshots) == (20, 10)
    steps = np.arange(5, 101, 5)
    np.testing.assert_allclose(store.read("energy"), steps + 0.1 * np.arange(WALKERS)[:, None])
    assert store.read("parameters").shape == (WALKERS, 10, 7)
    assert store.first_measured == {"draw": 4, "snapshot": 2}


def test_rows_that_were_not_committed_do_not_exist(tmp_path: Path) -> None:
    made = create(tmp_path / "s.zarr")
    store = Writer(tmp_path / "s.zarr", made, range(WALKERS), Alone())
    advance(store, 0, 30, {20})
    store.append("draw", rows(35, store.walkers))
    found = Store(tmp_path / "s.zarr")
    assert found.draws == 6
    assert found.dataset().sizes["draw"] == 6


def test_xarray_opens_it_with_dimension_names(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr")
    found = xarray.open_zarr(tmp_path / "s.zarr")
    assert found["energy"].dims == ("walker", "draw")
    assert found["parameters"].dims == ("walker", "snapshot", "parameter")
    assert found["energy"].attrs["unit"] == "nat"
    assert found["step"].values.tolist() == list(range(5, 101, 5))


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    """Equal for other chunks, other commits and other wall times; another for one other number."""
    one = write(tmp_path / "a.zarr")
    other = write(tmp_path / "b.zarr", commits={5, 45, 50}, draws_per_chunk=7)
    assert one.digest() == other.digest()
    made = create(tmp_path / "c.zarr")
    changed = Writer(tmp_path / "c.zarr", made, range(WALKERS), Alone())
    advance(changed, 0, 95, set())
    changed.append("draw", {**rows(100, changed.walkers), "energy": np.array([100.0, 100.1, 100.2 + 1e-12])})
    changed.append("snapshot", rows(100, changed.walkers))
    changed.commit(100, {"w": np.zeros((WALKERS, 2))})
    assert Store(tmp_path / "c.zarr").digest() != one.digest()


def test_every_bit_of_a_nan_comes_back(tmp_path: Path) -> None:
    """A lost walker has rows of NaN, and NaN has many bit patterns: zarr would keep but one."""
    made = create(tmp_path / "s.zarr")
    store = Writer(tmp_path / "s.zarr", made, range(WALKERS), Alone())
    strange = np.full(WALKERS, np.uint64(0xFFF8000000000123)).view(np.float64)
    for step in range(5, 25, 5):
        store.append("draw", {**rows(step, store.walkers), "energy": strange})
    store.commit(20, {"w": np.zeros((WALKERS, 2))})
    assert (Store(tmp_path / "s.zarr").read("energy").view(np.uint64) == strange.view(np.uint64)[:, None]).all()


@pytest.mark.parametrize("stop", [5, 35, 40, 100])
def test_resumed_writing_gives_the_same_store(tmp_path: Path, stop: int) -> None:
    """Stopped in the middle of a chunk, at its end and at the end of the run."""
    made = create(tmp_path / "s.zarr")
    advance(Writer(tmp_path / "s.zarr", made, range(WALKERS), Alone()), 0, stop, set())
    advance(Writer(tmp_path / "s.zarr", made, range(WALKERS), Alone()), stop, 100, set())
    assert Store(tmp_path / "s.zarr").digest() == write(tmp_path / "whole.zarr").digest()


def test_a_finished_store_can_be_lengthened(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", last=50, steps=50)
    longer = schema(steps=100)
    creation.extend(tmp_path / "s.zarr", longer, {})
    advance(Writer(tmp_path / "s.zarr", longer, range(WALKERS), Alone()), 50, 100, set())
    assert Store(tmp_path / "s.zarr").digest() == write(tmp_path / "whole.zarr").digest()
    assert xarray.open_zarr(tmp_path / "s.zarr").sizes["draw"] == 20


def test_a_damaged_commit_record_is_passed_over(tmp_path: Path) -> None:
    store = write(tmp_path / "s.zarr", commits={50})
    newest = commit.record_paths(store.path)[-1]
    record = json.loads(newest.read_text())
    newest.write_text(json.dumps({**record, "draws": 19}))
    assert Store(store.path).draws == 10
    newest.write_text("{")
    assert Store(store.path).draws == 10


def test_checkpoints_of_the_last_two_commits_are_whole(tmp_path: Path) -> None:
    store = write(tmp_path / "s.zarr", commits={40, 60, 80})
    last, before = [json.loads(path.read_text()) for path in commit.record_paths(store.path)[:-3:-1]]
    for record in (last, before):
        state = store.read_checkpoint(record, range(1, 3))
        assert (state["w"] == record["step"]).all()
        assert state["w"].shape == (2, 2)


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_harmed_checkpoint_is_named_and_nothing_is_deleted(tmp_path: Path, harm: str) -> None:
    """An earlier code deleted all files of a run when one was missing; zarr would read a missing chunk as zeros."""
    store = write(tmp_path / "s.zarr")
    record = commit.last_record(store.path)
    assert record is not None
    chunk = store.path / "checkpoint" / str(record["checkpoint"]) / "w" / "c" / "1" / "0"
    if harm == "missing":
        chunk.unlink()
    else:
        content = chunk.read_bytes()
        chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before = sorted(store.path.rglob("*"))
    assert store.read_checkpoint(record, range(2, 3))["w"].tolist() == [[100, 100]]
    with pytest.raises(StoreError, match="damaged"):
        store.read_checkpoint(record, range(0, 3))
    assert sorted(store.path.rglob("*")) == before


def test_seconds_are_wall_time(tmp_path: Path) -> None:
    """An earlier code reported CPU time: a run that waits for its disk would seem fast."""
    made = create(tmp_path / "s.zarr")
    store = Writer(tmp_path / "s.zarr", made, range(WALKERS), Alone())
    time.sleep(0.3)
    advance(store, 0, 20, set())
    assert Store(tmp_path / "s.zarr").status()["seconds"] >= 0.3


def test_every_chunk_has_one_writer() -> None:
    """Chunks hold one walker, and walkers belong to one rank: no chunk is written by two."""
    made = schema()
    assert all(made.chunk_shape(variable)[0] == 1 for variable in made.variables)
    assert made.files() == WALKERS * (5 + 5 + 5 + 5)


def test_another_process_reads_while_it_grows(tmp_path: Path) -> None:
    made = create(tmp_path / "s.zarr")
    store = Writer(tmp_path / "s.zarr", made, range(WALKERS), Alone())
    code = (
        "import sys; from protmpi.store.reader import Store; "
        "store = Store(sys.argv[1]); print(store.draws, store.read('energy').sum())"
    )
    advance(store, 0, 20, set())
    found = subprocess.run(
        [sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(found[0]) == 4
    assert float(found[1]) == pytest.approx(Store(tmp_path / "s.zarr").read("energy").sum())
    advance(store, 20, 40, set())
    assert Store(tmp_path / "s.zarr").draws == 8


def test_ranks_that_disagree_on_the_rows_are_refused(tmp_path: Path) -> None:
    class OutOfStep(Alone):
        def allgather(self, item: object) -> list[object]:
            return [item, ((5, 2, 0, Written([], [])), "")]

    made = create(tmp_path / "s.zarr")
    store = Writer(tmp_path / "s.zarr", made, range(WALKERS), OutOfStep())
    store.append("draw", rows(5, store.walkers))
    with pytest.raises(StoreError, match="ranks disagree"):
        store.commit(5, {"w": np.zeros((WALKERS, 2))})
    assert Store(tmp_path / "s.zarr").draws == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "s.zarr").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        create(tmp_path / "s.zarr")


@pytest.mark.parametrize("content", [None, "text", "group"])
def test_what_is_no_store_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "s.zarr"
    if content == "text":
        path.write_text("no store")
    if content == "group":
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"schema": "other"}}')
    with pytest.raises(StoreError, match=r"s\.zarr"):
        Store(path)
