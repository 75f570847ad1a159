"""Memory and disk that are free: the machine's, or less where a control group says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc import room


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        ("5000", "2000", 3000.0),
        ("max", "2000", 2048.0 * 1024),
        ("9999999999", "1", 2048.0 * 1024),
        (None, None, 2048.0 * 1024),
    ],
)
def test_the_smaller_of_machine_and_control_group(
    limit: str | None, used: str | None, expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8192 kB\nMemFree: 100 kB\nMemAvailable: 2048 kB\n")
    if limit is not None and used is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
    monkeypatch.setattr(room, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(room, "GROUPS", tmp_path)
    assert room.free_memory() == expected


def test_a_system_that_says_nothing_has_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MEMORY", tmp_path / "none")
    monkeypatch.setattr(room, "GROUPS", tmp_path)
    assert room.free_memory() == float("inf")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no file system without a size")
def test_a_file_system_without_a_size_sets_no_limit() -> None:
    assert room.free_disk(Path("/proc/s.zarr")) == float("inf")


def test_free_disk_of_what_is_not_there_yet(tmp_path: Path) -> None:
    assert room.free_disk(tmp_path / "a" / "b.zarr") == pytest.approx(room.free_disk(tmp_path), rel=0.01)
