"""SIGKILL before, within and after every write, every rename and every collective of a run: the same digest each time.

A kill leaves what the program has handed to the system. That a power cut leaves no less is what fsync is for, which no
test here can prove.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from forked import Files, ForkedRanks, Running
from short_run import look, sample

from protmpi.store import files

RANKS = 2
SAMPLE = os.environ.get("PROTMPI_KILLS", "12")
"""At how many moments a run is killed, or "all"."""


class Scene:
    """A store before and after a piece of a run."""

    def __init__(self, folder: Path, before: str | None, after: str) -> None:
        folder.mkdir()
        self.store, self._copy, self.goal = folder / "store.zarr", folder.with_name(f"{folder.name}-copy"), after
        if before:
            self._finish(f"run.steps={before}")
            shutil.copytree(folder, self._copy)
        else:
            self._copy.mkdir()
        self.moments = self._finish_and_count()
        self.digest, flaws, self.draws = look(self.store)
        assert flaws == []

    def _finish(self, change: str, ranks: int = RANKS) -> None:
        outcomes = Running(sample(self.store, change), ranks).wait()
        assert [o.status for o in outcomes] == [0] * ranks, "\n".join(o.printed for o in outcomes)

    def _kill(self, rank: int | None, moment: int | str | None) -> list[object]:
        """Run, and kill a rank at a moment. What became of each rank."""
        go = sample(self.store, f"run.steps={self.goal}")

        def program(world: ForkedRanks) -> list[str]:
            found = Files(self.store.parent, moment if world.rank == rank else None)
            world.at = found.moment
            go(world)
            return found.moments

        outcomes = Running(program, RANKS).wait()
        if rank is None:
            assert [o.status for o in outcomes] == [0] * RANKS, "\n".join(o.printed for o in outcomes)
            return [o.value for o in outcomes]
        return [o.status for o in outcomes]

    def _finish_and_count(self) -> list[tuple[int, int, str]]:
        moments = self._kill(None, None)
        return [(rank, 1 + n, name) for rank, names in enumerate(moments) for n, name in enumerate(names)]  # type: ignore[arg-type, var-annotated]

    def kill_and_go_on(self, rank: int, moment: int | str, ranks: int = RANKS) -> str:
        """What is wrong after a kill at a moment and the same command again on `ranks`, "" if nothing is."""
        shutil.rmtree(self.store.parent)
        shutil.copytree(self._copy, self.store.parent)
        statuses = self._kill(rank, moment)
        if statuses[rank] != -9:
            return f"was not killed: {statuses}"
        outcomes = Running(sample(self.store, f"run.steps={self.goal}"), ranks).wait()
        if any(o.status for o in outcomes):
            return outcomes[0].printed
        digest, flaws, draws = look(self.store)
        return "" if (digest, flaws, draws) == (self.digest, [], self.draws) else f"{digest} {flaws} {draws}"


def chosen(scene: Scene) -> list[tuple[int, int, str]]:
    return scene.moments if SAMPLE == "all" else random.Random(1).sample(scene.moments, int(SAMPLE))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(None, "20"), ("25", "40")], ids=["from nothing", "lengthened"])
def test_a_kill_at_any_moment_changes_no_bit_of_the_result(folder: Path, before: str | None, after: str) -> None:
    scene = Scene(folder / "run", before, after)
    kinds = {name.split()[0] for _, _, name in scene.moments}
    assert {"open", "torn", "os.rename", "before", "within", "after"} <= kinds
    wrong = []
    points = chosen(scene)
    for rank, moment, name in points:
        if said := scene.kill_and_go_on(rank, moment, 1 + moment % 2):
            wrong.append(f"rank {rank} at {name} ({moment}): {said}")
    print(f"killed at {len(points)} of {len(scene.moments)} moments: {len(wrong)} with another result")
    assert not wrong, "\n".join(wrong)


def test_writing_in_place_would_be_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without draft and rename a kill within the write of a chunk takes the committed rows in it along."""

    def put(path: Path, content: bytes | memoryview) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(files, "put", put)
    scene = Scene(folder / "run", "25", "40")
    assert "energy/c/0/2: is damaged" in scene.kill_and_go_on(0, "torn /store.zarr/energy/c/0/2")
