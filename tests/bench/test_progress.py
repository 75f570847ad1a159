"""A bench says at once that it runs, and then how far it is, also where no terminal is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpc.world import OneRank
from protmpi.bench import progress, speed, timings
from protmpi.bench.progress import Progress


def test_lines_come_while_a_stage_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.02)
    with Progress("work") as shown:
        assert capsys.readouterr().err == "work\n"
        shown.plan(4.0)
        shown.stage("first")
        shown.advance(1.0)
        time.sleep(0.3)  # nobody calls in the meantime
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert set(lines) <= {"work: first, 25 %, ETA 0:00:00", "work: first, 25 %, ETA 0:00:01"}


def test_the_time_left_is_that_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown = Progress("work", speaks=False)
    now[0] = 1_000.0  # before the plan, which does not count
    shown.plan(8.0)
    assert shown.line() == "work, 0 %, ETA ?"
    now[0] += 60.0
    shown.advance(2.0)
    assert shown.line() == "work, 25 %, ETA 0:03:00"
    shown.advance(6.0)
    assert shown.line() == "work, 100 %, ETA 0:00:00"


def test_other_ranks_are_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with Progress("work", speaks=False):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_the_bench_of_speed_tells_its_network_and_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks, both schemes, three numbers of walkers: twelve rows."""
    shown, lines = Progress("bench", speaks=False), []

    def rows_of(network: str, *rest: Any) -> Iterator[dict[str, Any]]:
        for _ in range(6):
            lines.append(shown.line().partition(", ETA")[0])
            yield {}

    monkeypatch.setattr(speed, "rows_of", rows_of)
    monkeypatch.setattr(timings, "synthetic_data", lambda: None)
    monkeypatch.setattr(timings, "matrix_rate", lambda device: 1.0)
    speed.measure(OneRank(), "cpu", ["a", "b"], [1, 4, 16], shown)
    assert [lines[0], lines[3], lines[7]] == ["bench: a, 0 %", "bench: a, 25 %", "bench: b, 58 %"]


def test_the_first_line_comes_before_slow_modules_are_imported() -> None:
    arguments = [str(Path(sys.executable).with_name("protmpi")), "bench", "--network", "transformer-1-26"]
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.stderr is not None
    try:
        before = []
        for line in process.stderr:
            if line == "bench\n":
                break
            before.append(line.rpartition("|")[2].strip())
        assert "typer" in before, "else the imports are not seen"
        assert not {"torch", "scipy", "zarr"} & set(before)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
