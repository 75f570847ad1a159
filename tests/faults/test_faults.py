"""What happens to a run on a machine that fails, or in a store that was harmed (docs/developer/reliability.md)."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from forked import ForkedRanks, Outcome, Running, alone
from short_run import load, look, sample

from hpc.lock import Lock
from hpc.stop import Stop
from hpc.world import OneRank
from protmpi import references, tasks, weights
from protmpi.cli import main
from protmpi.errors import DataError
from protmpi.store import commit
from protmpi.store.reader import Store
from protmpi.store.verify import examine, repair

SHORT, LONG = "run.steps=25", "run.steps=40"


def finish(store: Path, steps: str, ranks: int = 1, *changes: str) -> list[Outcome]:
    return Running(sample(store, steps, *changes), ranks).wait()


def refusal(outcomes: list[Outcome]) -> str:
    """The one line that all ranks end with."""
    assert [outcome.status for outcome in outcomes] == [2] * len(outcomes), outcomes
    errors = {line for outcome in outcomes for line in outcome.printed.splitlines() if "error: " in line}
    assert len(errors) == 1
    assert not any("Traceback" in outcome.printed for outcome in outcomes)
    return errors.pop()


@pytest.fixture
def store(folder: Path) -> Path:
    """A store with three commits, the last one within a chunk."""
    assert finish(folder / "store.zarr", SHORT)[0].status == 0
    return folder / "store.zarr"


@pytest.fixture
def whole(folder: Path) -> str:
    """The digest of a run that nothing happened to."""
    assert finish(folder / "whole.zarr", LONG)[0].status == 0
    return look(folder / "whole.zarr")[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_full_disk_ends_all_ranks_in_one_line_and_nothing_committed_is_lost(disk: Path, whole: str) -> None:
    store, filler = disk / "store.zarr", disk / "filler"
    assert finish(store, SHORT)[0].status == 0
    free = shutil.disk_usage(disk).free
    filler.write_bytes(bytes(free - 20_000))  # room for the lock and for some chunks
    said = refusal(finish(store, LONG, 2))
    assert "No space left on device" in said
    assert "give the same command again" in said
    assert look(store)[1:] == ([], 5)
    filler.unlink()
    assert [outcome.status for outcome in finish(store, LONG, 2)] == [0, 0]
    assert look(store)[:2] == (whole, [])


def test_a_disk_that_takes_no_writes_is_said_in_one_line(disk: Path) -> None:
    assert finish(disk / "store.zarr", SHORT)[0].status == 0
    going_on, fresh = sample(disk / "store.zarr", LONG), sample(disk / "fresh.zarr", LONG)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for program in (going_on, fresh):
        assert "Read-only file system" in refusal(Running(program, 2).wait())
    assert look(disk / "store.zarr")[1] == []


def test_an_error_of_the_disk_on_one_rank_ends_all(store: Path, monkeypatch: pytest.MonkeyPatch, whole: str) -> None:
    from protmpi.store import files

    def put(path: Path, content: bytes) -> None:
        if path.parts[-3:-1] == ("c", "1"):  # chunks of walker 1, which belong to rank 1
            raise OSError(5, "Input/output error")
        put_down(path, content)

    put_down = files.put
    with monkeypatch.context() as patched:
        patched.setattr(files, "put", put)
        assert "cannot be written (Input/output error)" in refusal(finish(store, LONG, 2))
    assert look(store)[1:] == ([], 5)
    finish(store, LONG)
    assert look(store)[0] == whole


def newest(store: Path) -> Path:
    return commit.record_paths(store)[-1]


def test_a_damaged_commit_is_named_and_the_one_before_it_goes_on(store: Path, whole: str) -> None:
    damaged = newest(store)
    damaged.write_bytes(damaged.read_bytes()[:-7])
    content = damaged.read_bytes()
    (outcome,) = finish(store, LONG)
    assert outcome.status == 0
    told = " ".join(outcome.printed.split())
    assert "00000002.json is damaged and was renamed to 00000002.json.set-aside-0; continuing from commit 1" in told
    assert damaged.with_name("00000002.json.set-aside-0").read_bytes() == content
    assert look(store)[:2] == (whole, [])


def test_a_damaged_checkpoint_is_named_and_repair_goes_back(store: Path, whole: str) -> None:
    record = json.loads(newest(store).read_text())
    chunk = store / f"checkpoint/{record['checkpoint']}/position/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    before = [path.read_bytes() for path in commit.record_paths(store)]
    assert "of commit 2 is damaged for walker 0; `protmpi repair` goes back" in refusal(finish(store, LONG))
    assert [path.read_bytes() for path in commit.record_paths(store)] == before
    assert "back to commit 1" in alone(lambda: repair(examine(store, lambda config: {})))[0]
    assert finish(store, LONG)[0].status == 0
    assert look(store)[0] == whole


def test_a_truncated_chunk_that_the_run_goes_on_in_is_named(store: Path) -> None:
    chunk = store / "energy/c/0/2"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    assert "energy" in refusal(finish(store, LONG))
    assert any("energy" in flaw for flaw in alone(lambda: examine(store, lambda config: {}).flaws))


def test_the_state_of_another_version_is_said_in_one_line(store: Path) -> None:
    """One that has no array `learned`, and one whose counts are of another type."""
    record = json.loads(newest(store).read_text())
    record.pop("sha256")
    place = store / f"checkpoint/{record['checkpoint']}"
    commit.write_record(store, {**record, "state": [row for row in record["state"] if row[0] != "learned"]})
    assert "another version of protmpi: learned is missing; go on with the one" in refusal(finish(store, LONG))
    commit.write_record(store, record)
    alone(lambda: zarr.create_array(place / "streak", shape=(2, 3), dtype="int32", overwrite=True) and None)
    assert "streak has shape (3,) and type int32, not () and int64" in refusal(finish(store, LONG))


def test_a_clock_that_goes_backwards_changes_nothing(folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backwards, began = itertools.count(), time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: began - 3600.0 * next(backwards))
        assert finish(folder / "store.zarr", SHORT)[0].status == 0
        assert finish(folder / "store.zarr", LONG)[0].status == 0
    assert look(folder / "store.zarr")[:2] == (whole, [])
    status = alone(lambda: Store(folder / "store.zarr").status())
    assert status["seconds"] > 0


def test_a_walker_that_is_no_longer_finite_is_set_aside_and_the_others_go_on(
    folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walker 1 takes NaN into its weights at step 20; no draw of walker 0 changes but through exchange, so without."""
    from protmpi.ensemble import Ensemble

    explore = Ensemble.explore

    def harmed(self: Ensemble, steps: int) -> None:
        explore(self, steps)
        if self.step == 20:
            self._blocks[-1].position[-1] = np.nan

    alone_changes = ("tempering.kind=none", "sampler.adapt_until=5", "sampler.rho=1e-4")
    assert finish(folder / "healthy.zarr", LONG, 1, *alone_changes)[0].status == 0
    with monkeypatch.context() as patched:
        patched.setattr(Ensemble, "explore", harmed)
        (outcome,) = finish(folder / "harmed.zarr", LONG, 1, *alone_changes)
    assert outcome.status == 0, outcome.printed
    assert "walker 1 lost at step 20" in outcome.printed
    names = ("healthy.zarr", "harmed.zarr")
    energies = alone(lambda: [Store(folder / name).read("energy") for name in names])
    np.testing.assert_array_equal(energies[0][0], energies[1][0])
    assert np.isnan(energies[1][1, 3:]).all()
    assert look(folder / "harmed.zarr")[1] == []


CHANGES: dict[str, str] = {
    "sampler.rho=2e-3": "sampler.rho 0.001 -> 0.002",
    "data.seed=7": "data.file ",
    "run.seed=7": "run.seed 1 -> 7",
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_physics_are_refused_old_and_new(store: Path, change: str) -> None:
    before = look(store)
    assert CHANGES[change] in refusal(finish(store, LONG, 1, change))
    assert look(store) == before


def test_other_weights_are_refused_by_their_key(folder: Path) -> None:
    file, store = folder / "weights.h5", folder / "store.zarr"
    given = (f'train.file="{file}"', 'sampler.start="ES"', "train.inits=1", "train.references=1", "train.max_epochs=2",
             "train.over_epochs=400", "train.warmup=5", "train.eval_every=1")  # fmt: skip

    def train(*changes: str) -> None:
        config, world = load(store, *given, *changes), OneRank()
        alone(lambda: references.train(config, tasks.build(config), world, Stop(world), "cpu", lambda line: None))

    train()
    assert finish(store, SHORT, 1, *given)[0].status == 0
    file.unlink()
    assert "no such weights file" in refusal(finish(store, LONG, 2, *given))
    train("train.seed=2")
    assert "train.file " in refusal(finish(store, LONG, 2, *given, "train.seed=2"))


def test_a_rank_that_cannot_save_its_training_ends_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(folder / "store.zarr", f'train.file="{folder}/weights.h5"', "train.max_epochs=5", "train.inits=2")

    def save(parts: weights.Parts, path: Path, arrays: dict[str, np.ndarray]) -> None:
        if path.name == "init-1.h5":
            raise DataError(f"{path}: cannot be written: No space left on device")

    def program(world: ForkedRanks) -> bool:
        return references.train(config, tasks.build(config), world, Stop(world), "cpu", lambda line: None)

    monkeypatch.setattr(weights.Parts, "save", save)
    assert "init-1.h5: cannot be written: No space left" in refusal(Running(program, 2).wait())


def command(*arguments: object) -> Outcome:
    def program(_: object) -> None:
        sys.argv = ["protmpi", *map(str, arguments)]
        main()

    return Running(program).wait()[0]


def test_verify_and_repair_from_the_command_line(store: Path) -> None:
    said = command("verify", store)
    assert (said.status, said.printed.strip()) == (0, f"{store}: 3 commits, 5 draws, 2 snapshots: whole")
    newest(store).write_text("{")
    said = command("verify", store)
    assert said.status == 1
    assert said.printed.splitlines()[0] == "commits/00000002.json: damaged record"
    assert json.loads(command("verify", store, "--json").printed)["flaws"] == ["commits/00000002.json: damaged record"]
    lock, _ = Lock.acquire(store)
    assert "is writing this store" in refusal([command("repair", store)])
    lock.release()
    said = command("repair", store)
    assert said.status == 0
    assert "back to commit 1, step 20" in said.printed
    assert command("verify", store).status == 0
    assert "nothing to go back from" in command("repair", store).printed
    assert "no_store.zarr: not a Zarr store" in refusal([command("verify", store.with_name("no_store.zarr"))])


def test_another_way_of_running_is_taken(store: Path, whole: str) -> None:
    """More steps, another number of ranks, a wall time, another share of walkers that may be lost."""
    assert [o.status for o in finish(store, LONG, 2, "execution.wall_time=1000", "run.max_lost=0.9")] == [0, 0]
    assert look(store)[0] == whole
