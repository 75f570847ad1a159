"""What a power cut leaves: contents are on the disk before they get their name, rows before the record counts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_store import WALKERS, Alone, advance, create

from protmpi.store import files
from protmpi.store.writer import Writer

Event = tuple[str, str]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """("sync", path) and ("name", path), in the order in which the disk sees them."""
    seen: list[Event] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        seen.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def noted_replace(self: Path, target: Path | str) -> Path:
        seen.append(("name", str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return seen


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files")
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, events: list[Event]) -> None:
    files.publish(tmp_path / "note.json", "text")
    draft, place = str(tmp_path / ".note.json.draft"), str(tmp_path / "note.json")
    assert events == [("sync", draft), ("name", place), ("sync", str(tmp_path))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files")
def test_a_record_comes_after_everything_that_it_counts(tmp_path: Path, events: list[Event]) -> None:
    path = tmp_path / "run.zarr"
    made = create(path)
    writer = Writer(path, made, range(WALKERS), Alone())
    for first, last in ((0, 20), (20, 40)):
        before = {file for file in path.rglob("*") if file.is_file()}
        events.clear()
        advance(writer, first, last, set())
        new = {file for file in path.rglob("*") if file.is_file()} - before
        (record,) = (file for file in new if file.parent.name == "commits")
        named = events.index(("name", str(record)))
        synced_before = [place for kind, place in events[:named] if kind == "sync"]
        chunks = [file for file in new if file != record]
        assert len(chunks) > WALKERS
        for file in chunks:
            assert ("name", str(file)) in events[:named]
            draft = events.index(("sync", str(file.with_name(f".{file.name}.draft"))))
            assert draft < events.index(("name", str(file)))
            assert str(file.parent) in synced_before, "the folder of a chunk"
        assert events[named:] == [("name", str(record)), ("sync", str(record.parent))]
