"""One run per configuration or swept value: names, files, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc.jobs import Resources
from hpc.launch import Queue
from protmpi.campaign import launch, members
from protmpi.config import load
from protmpi.errors import ConfigError

CONFIG = """
[data]
file = "{data}"
[model]
d = 26
[train]
file = "{folder}/weights.h5"
[execution]
store = "{folder}/store.zarr"
"""


@pytest.fixture
def config(tmp_path: Path, small_data_file: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text(CONFIG.format(data=small_data_file, folder=tmp_path))
    return path


def test_without_a_sweep_a_file_is_a_run(config: Path) -> None:
    (member,) = members([config], [], ["run.seed=4"])
    assert (member.name, member.config, member.trains) == ("a", load(config, ["run.seed=4"]), True)
    member.config.train.file.touch()
    assert not members([config], [], [])[0].trains


def test_each_value_has_files_of_its_own_where_they_depend_on_it(config: Path, tmp_path: Path) -> None:
    for d in (26, 64):
        config.with_name(f"weights-d={d}.h5").touch()
    found = members([config], ["model.d=26,64", "run.seed=1,2"], [])
    assert [member.name for member in found] == [f"a-d={d},seed={seed}" for d in (26, 64) for seed in (1, 2)]
    last = found[-1].config
    assert (last.model.d, last.run.seed) == (64, 2)
    assert last.execution.store == tmp_path / "store-d=64,seed=2.zarr"
    assert last.train.file == tmp_path / "weights-d=64.h5"


def test_what_is_submitted_is_the_whole_configuration(config: Path, tmp_path: Path) -> None:
    (member,) = members([config], ["sampler.temperatures=[1e-4, 0.5]"], [])
    member.write(tmp_path)
    job = member.job(tmp_path)
    assert job.commands == [["train", str(tmp_path / f"{member.name}.toml")], ["run", job.commands[0][1]]]
    assert load(Path(job.commands[0][1])) == member.config


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("model.d", "--sweep model.d: write section.key"),
        ("d=1,2", "--sweep d=1,2: write section.key"),
        ("model.dd=1,2", "unknown key"),
        ("run.steps=1000000,-4", "run.steps"),
        ("run.seed=1,1", "2 jobs would write"),
        ("data.seed=2,3", "data.file: .*seed=2.h5 does not exist: first `protmpi data make .*--set=data.seed=2"),
    ],
)
def test_a_sweep_that_cannot_be(config: Path, sweep: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        members([config], [sweep], [])


def test_runs_that_would_write_one_file_are_refused(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.toml"
    other.write_text(config.read_text())
    with pytest.raises(ConfigError, match=r"execution\.store: 2 jobs would write"):
        members([config, other], [], [])
    with pytest.raises(ConfigError, match=r"train\.file: 2 jobs would write .*; first `protmpi train .*a\.toml"):
        members([config], ["run.seed=1,2"], [])
    (tmp_path / "weights.h5").touch()
    assert len(members([config], ["run.seed=1,2"], [])) == 2


def test_a_dry_run_says_what_it_costs_and_writes_nothing(config: Path, tmp_path: Path) -> None:
    queue, resources = Queue("local", 1, []), Resources(nodes=1, ranks_per_node=1, gpus_per_node=0, minutes=90)
    before = sorted(tmp_path.iterdir())
    jobs, cost = launch(members([config], [], []), tmp_path / "launch", queue, resources, dry_run=True)
    assert [job.store for job in jobs] == [str(tmp_path / "store.zarr")]
    assert "at most 1.5 core-hours" in cost
    assert sorted(tmp_path.iterdir()) == before
