"""What `verify` finds and what `repair` does about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_store import WALKERS, Alone, advance, create, schema, write

from protmpi.errors import StoreError
from protmpi.store import commit, creation
from protmpi.store.reader import Store
from protmpi.store.verify import Examination, examine, repair
from protmpi.store.writer import Writer

COMMITS = {20, 40, 60, 80}  # and 100: numbers 0 to 4, a chunk of draws each


def look(path: Path) -> Examination:
    return examine(path, lambda config: dict(config["sampler"]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "s.zarr", commits=COMMITS).path


def edit(file: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def record(path: Path, number: int) -> Path:
    return commit.path_of(path, number)


def checkpoint(path: Path, number: int) -> Path:
    found = commit.read_record(record(path, number))
    assert found is not None
    return path / "checkpoint" / str(found["checkpoint"]) / "w" / "c" / "1" / "0"


def test_a_whole_store_has_no_flaw_and_nothing_to_repair(path: Path) -> None:
    found = look(path)
    assert (found.flaws, found.commits) == ([], 5)
    before = sorted(path.rglob("*"))
    assert repair(found) == []
    assert sorted(path.rglob("*")) == before


def test_what_a_run_that_was_killed_leaves_behind_is_no_flaw(path: Path) -> None:
    """Rows beyond the last commit, the draft of a file, the checkpoint of the commit that never came."""
    longer = schema(steps=200)
    creation.extend(path, longer, {})
    store = Writer(path, longer, range(WALKERS), Alone())
    advance(store, 100, 120, set())
    record(path, 5).unlink()
    (path / "energy" / "c" / "0" / ".9.draft").write_bytes(b"half")
    assert look(path).flaws == []


HARMS: dict[str, tuple[Callable[[Path], object], str, int | None]] = {
    "altered rows": (lambda p: flip(p / "energy/c/1/4"), "energy", 3),
    "rows altered earlier": (lambda p: flip(p / "parameters/c/1/3/0"), "parameters", 2),
    "truncated rows": (lambda p: (p / "energy/c/1/4").write_bytes((p / "energy/c/1/4").read_bytes()[:9]), "energy", 3),
    "missing rows": (lambda p: (p / "slot/c/2/4").unlink(), "slot", 3),
    "a damaged record": (lambda p: flip(record(p, 4)), "damaged record", 3),
    "an empty record": (lambda p: record(p, 4).write_text(""), "damaged record", 3),
    "two damaged records": (lambda p: (flip(record(p, 4)), flip(record(p, 3))), "damaged record", 2),
    "a damaged checkpoint": (lambda p: flip(checkpoint(p, 4)), "checkpoint", 3),
    "a missing checkpoint": (lambda p: checkpoint(p, 4).unlink(), "checkpoint", 3),
}
"""What is done to a store, what `verify` says, and the commit that `repair` goes back to."""


@pytest.mark.parametrize("harm", HARMS)
def test_repair_goes_back_to_the_newest_whole_commit_and_the_run_to_its_end(path: Path, harm: str) -> None:
    whole = Store(path).digest()
    do_harm, said, back_to = HARMS[harm]
    do_harm(path)
    found = look(path)
    assert said in " ".join(found.flaws)
    files = {file for file in path.rglob("*") if file.is_file()}
    lines = repair(found)
    assert f"back to commit {back_to}" in lines[0]
    gone = {file for file in files if not file.exists()}
    assert gone == {record(path, n) for n in range(back_to + 1, 5)}, "records are renamed, nothing else is touched"
    after = Store(path)
    assert after.record is not None
    assert after.record["commit"] == back_to
    assert look(path).flaws == []
    advance(Writer(path, schema(), range(WALKERS), Alone()), after.record["step"], 100, COMMITS)
    assert look(path).flaws == []
    assert Store(path).digest() == whole


LASTING: dict[str, tuple[Callable[[Path], object], str]] = {
    "rows altered long ago": (lambda p: flip(p / "energy/c/1/0"), "none of the last 3 commits is whole"),
    "every checkpoint": (lambda p: [flip(checkpoint(p, n)) for n in (2, 3, 4)], "none of the last 3 commits is whole"),
}


@pytest.mark.parametrize("harm", LASTING)
def test_what_cannot_be_repaired_is_said_and_left_alone(path: Path, harm: str) -> None:
    do_harm, said = LASTING[harm]
    do_harm(path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    found = look(path)
    assert found.flaws
    with pytest.raises(StoreError, match=f"{said}.*nothing was changed"):
        repair(found)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda p: flip(p / "temperature/c/0"), "temperature"),
        (lambda p: record(p, 1).unlink(), "4 records whose numbers are not 0 to 3"),
        (lambda p: edit(p / "zarr.json", lambda j: j["attributes"]["identity"].update(adapt_until=5)),
         "adapt_until 5 -> 20"),
        (lambda p: edit(p / "zarr.json", lambda j: j["attributes"].pop("identity")), "identity of the run is missing"),
        (lambda p: edit(p / "zarr.json", lambda j: j["consolidated_metadata"]["metadata"]["energy"]
                        .update(shape=[10**9, 20])), "energy has shape"),
    ],
)  # fmt: skip
def test_flaws_that_no_going_back_mends_are_named(path: Path, harm: Callable[[Path], object], said: str) -> None:
    harm(path)
    assert said in " ".join(look(path).flaws)


def test_a_commit_that_counts_other_rows_is_a_flaw(path: Path) -> None:
    """Sealed anew, so that only the counts tell."""
    file = record(path, 3)
    changed = json.loads(file.read_text())
    changed.pop("sha256")
    commit.write_record(path, {**changed, "draws": 15})
    assert "15 draws" in " ".join(look(path).flaws)


def test_ranks_that_wrote_nothing_of_a_walker_are_found(tmp_path: Path) -> None:
    """The seal and the counts hold, but one walker has no rows."""
    made = create(tmp_path / "s.zarr")
    advance(Writer(tmp_path / "s.zarr", made, range(WALKERS - 1), Alone()), 0, 100, COMMITS)
    assert "energy, walker 2, not counted" in " ".join(look(tmp_path / "s.zarr").flaws)
