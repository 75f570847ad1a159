"""Doctor: what is wrong with a machine is found before a run begins there."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Command, launch

from hpc import doctor
from hpc.devices import Binding
from hpc.doctor import ERROR, PASS, WARN
from hpc.world import OneRank
from protmpi.errors import WorldError

CPU = Binding(0, "node1", 0, "cpu", "4 cores", 1, (0, 1, 2, 3))
GPU = replace(CPU, device="cuda:0", device_name="H100", uuid="GPU-1")


class Ranks(OneRank):
    """Rank 0 of several, where the others say what `theirs` makes of its own words."""

    def __init__(self, theirs: Any) -> None:
        self.size, self.theirs = 2, theirs

    def allgather(self, item: Any) -> list[Any]:
        return [item, self.theirs(item)]


@pytest.mark.parametrize(
    ("places", "devices", "threads"),
    [
        ([CPU], PASS, "3 of 4 cores stay idle on node1: start more ranks"),
        ([replace(CPU, rank=rank) for rank in range(4)], PASS, "a core for every thread"),
        ([replace(CPU, cores=(0,)) for _ in range(2)], PASS, "2 threads for 1 cores on node1: ranks slow each other"),
        ([GPU, replace(GPU, uuid="GPU-2")], PASS, "a core for every thread"),
        ([GPU, replace(GPU, host="node2")], ERROR, "a core for every thread"),  # one card seen twice
        ([GPU, CPU], ERROR, "a core for every thread"),
    ],
)
def test_devices_and_threads(places: list[Binding], devices: str, threads: str) -> None:
    found = doctor.essentials(places)
    assert found[0].verdict == devices
    assert found[1].detail.startswith(threads)
    if devices == ERROR:
        with pytest.raises(WorldError, match="devices: "):
            doctor.require(found)
    else:
        doctor.require(found)


def test_ranks_of_different_programs_libraries_and_clocks_are_told() -> None:
    same, other = Ranks(lambda item: item), Ranks(lambda item: f"{item} of another")
    assert doctor._library(same).verdict == PASS
    assert doctor._library(other).verdict == ERROR
    assert doctor._programs(same).verdict == PASS
    assert "torch differ" in doctor._programs(Ranks(lambda item: {**item, "torch": "1.0"})).detail
    assert doctor._clocks(Ranks(lambda clock: clock - 60)).verdict == WARN


@pytest.mark.parametrize(
    ("outside", "inside", "verdict"),
    [
        ("5.0.11", "Open MPI v4.1.4", ERROR),
        ("5.0.11", "Open MPI v5.0.3", PASS),
        ("", "Open MPI v4.1.4", PASS),  # mpirun of the image itself, srun, or a series before 5
        ("5.0.11", "", PASS),  # no MPI inside: the world will tell
    ],
)
def test_mpirun_outside_of_a_container_and_the_library_inside(
    outside: str, inside: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_library_version", lambda environment: inside)
    assert doctor._container({"OMPI_VERSION": outside, "APPTAINER_CONTAINER": "/images/p.sif"}).verdict == verdict
    assert doctor._container({"OMPI_VERSION": outside}).verdict == PASS


@pytest.mark.parametrize(
    ("end", "verdict", "said"),
    [
        (None, PASS, "no end of the job is known"),
        ("", PASS, "no end of the job is known"),
        (7230, PASS, "the job ends in 12"),
        (-7230, WARN, "SLURM_JOB_END_TIME is past by 12"),
        ("tomorrow", WARN, "SLURM_JOB_END_TIME = 'tomorrow' is not a time"),
        ("9" * 5000, WARN, "is not a time"),
    ],
)
def test_an_end_of_the_job_that_is_past_or_no_time_is_told(end: object, verdict: str, said: str) -> None:
    if isinstance(end, int):
        end += int(time.time())
    environment = {} if end is None else {"SLURM_JOB_END_TIME": str(end)}
    found = doctor._time_left(environment)
    assert found.verdict == verdict
    assert said in found.detail


def test_the_library_is_asked_without_being_started() -> None:
    assert "MPI" in doctor._library_version(os.environ)
    assert doctor._library_version({"MPI4PY_MPIABI": "none"}) == ""


def test_a_folder_that_other_ranks_do_not_see_is_an_error(tmp_path: Path) -> None:
    store = tmp_path / "runs" / "s.zarr"
    assert doctor._file_system(OneRank(), store).verdict == PASS
    blind = doctor._file_system(Ranks(lambda item: False if item is True else item), store)
    assert blind.verdict == ERROR
    assert "ranks 1 do not see what rank 0 writes there" in blind.detail
    assert not list(tmp_path.iterdir())
    assert doctor._file_system(OneRank(), Path("/proc/s.zarr")).verdict == ERROR


def test_doctor_under_mpirun_shows_every_rank_and_every_check(protmpi: Command) -> None:
    done = protmpi("doctor", "--json", ranks=2)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [place["rank"] for place in found["ranks"]] == [0, 1]
    assert [place["local_rank"] for place in found["ranks"]] == [0, 1]
    checks = {finding["check"]: finding["detail"] for finding in found["findings"]}
    assert checks["world"] == "2 ranks on 1 host"
    assert list(checks) == ["world", "container", "MPI library", "versions", "devices", "threads", "time", "clocks",
                            "file system", "room"]  # fmt: skip


def test_processes_that_each_believe_they_are_rank_0_of_1_are_an_error(protmpi: Command, tmp_path: Path) -> None:
    """As a launcher of another MPI library leaves them: two processes, two worlds of one."""
    name = protmpi("models").args[0]
    environment = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    done = launch([name, "doctor"], environment={**os.environ, **environment})
    assert done.returncode == 1
    assert "the launcher started 2 processes but MPI" in " ".join(done.stdout.split())
    assert "ERROR" in done.stdout
    config = tmp_path / "c.toml"
    config.write_text(f'[execution]\nstore = "{tmp_path}/s.zarr"\n')
    refused = launch([name, "run", str(config)], environment={**os.environ, **environment})
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "the launcher started 2 processes but MPI" in refused.stderr
    assert not (tmp_path / "s.zarr").exists()


def test_a_rank_that_cannot_have_its_device_is_an_error(tmp_path: Path, protmpi: Command) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[execution]\ndevice = "cuda"\n')
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = protmpi("doctor", config)
    assert done.returncode == 1
    assert 'execution.device: "cuda", but rank 0' in " ".join(done.stdout.split())
