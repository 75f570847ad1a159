"""Is this machine fit for a run? Ranks, devices, threads, clocks and the file system, one verdict each.

`protmpi doctor` runs all checks. A run makes only the cheap ones (`essentials`) and refuses to begin on an ERROR.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from hpc.devices import Binding, Device, bind
from hpc.room import folder_of, free_disk
from hpc.stop import time_left
from hpc.world import OneRank, World, connect, together
from protmpi.errors import WorldError

Verdict = Literal["PASS", "WARN", "ERROR"]
PASS: Final = "PASS"
WARN: Final = "WARN"
ERROR: Final = "ERROR"
CLOCKS = 5.0  # largest difference of clocks, in seconds, for which lock ages and deadlines are reliable
SLOW_DISK = 1.0  # acceptable seconds to force one small file to the disk; a commit waits for some files of every walker
ROOM = 1 << 30  # free bytes below which even a small run may not finish
PACKAGES = ("protmpi", "torch", "numpy", "zarr", "mpi4py")


@dataclass(frozen=True)
class Finding:
    """Result of one check, and what to do if it did not pass."""

    check: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Report:
    """Hosts and devices of all ranks, and all findings. The same on every rank."""

    places: list[Binding]
    findings: list[Finding]

    @property
    def fit(self) -> bool:
        return all(finding.verdict != ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {"ranks": [place.to_json() for place in self.places], "fit": self.fit,
                "findings": [asdict(finding) for finding in self.findings]}  # fmt: skip


def examine(device: Device, threads: int | str, store: Path) -> Report:
    """All checks for a run that writes `store`. Collective among the ranks that found each other."""
    container = _container()
    if container.verdict == ERROR:  # MPI would end this process with an unhelpful message
        return Report([], [container])
    try:
        world, meeting = connect(), None
    except WorldError as error:
        world, meeting = OneRank(), Finding("world", ERROR, str(error))
    try:
        places = world.allgather(together(world, lambda: bind(world, device, threads)))
    except WorldError as error:
        return Report([], [meeting or _world(world), Finding("devices", ERROR, str(error))])
    findings = [meeting or _world(world), container, _library(world), _programs(world), *essentials(places),
                _clocks(world), _file_system(world, store), _room(world, store)]  # fmt: skip
    return Report(places, findings)


def essentials(places: list[Binding]) -> list[Finding]:
    """The checks that a run makes before it begins. They cost nothing."""
    return [_devices(places), _threads(places), _time_left()]


def require(findings: list[Finding]) -> None:
    """Raise WorldError for the first ERROR."""
    for finding in findings:
        if finding.verdict == ERROR:
            raise WorldError(f"{finding.check}: {finding.detail}; `protmpi doctor` reports more")


def _container(environment: Mapping[str, str] = os.environ) -> Finding:
    """Check before MPI starts that mpirun outside a container and the MPI library inside are of the same series."""
    image = environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER")
    if not image:
        return Finding("container", PASS, "none")
    outside = environment.get("OMPI_VERSION", "")  # mpirun of Open MPI sets it since version 5.0
    inside = _library_version(environment) if outside else ""
    series = re.search(r"Open MPI v(\d+)", inside)
    if series and series[1] != outside.partition(".")[0]:
        return Finding("container", ERROR, f"mpirun outside is Open MPI {outside}, {image} has {inside}: their ranks "
                       "cannot meet; use srun --mpi=pmix, an mpirun of the same series, or the mpirun in the image: "
                       "apptainer exec IMAGE mpirun")  # fmt: skip
    return Finding("container", PASS, Path(image).name)


def _library_version(environment: Mapping[str, str]) -> str:
    """Name and version of the MPI library, found without starting it; "" if there is none."""
    question = ("import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
                "print(MPI.Get_library_version().split(',')[0])")  # fmt: skip
    asked = subprocess.run([sys.executable, "-c", question], env=dict(environment), capture_output=True, text=True)
    return asked.stdout.strip()


def _world(world: World) -> Finding:
    hosts = len(set(world.allgather(socket.gethostname())))
    return Finding("world", PASS, f"{world.size} rank{'s' * (world.size > 1)} on {hosts} host{'s' * (hosts > 1)}")


def _library(world: World) -> Finding:
    libraries = sorted(set(world.allgather(world.library)))
    if len(libraries) > 1:
        return Finding("MPI library", ERROR, f"differs between ranks: {'; '.join(libraries)}")
    return Finding("MPI library", PASS, libraries[0])


def _programs(world: World) -> Finding:
    """Check that all ranks run the same program. Otherwise their sums, and so their swaps, would differ."""
    versions = {name: _version(name) for name in PACKAGES}
    everyone = world.allgather(versions)
    differing = [name for name in PACKAGES if len({theirs[name] for theirs in everyone}) > 1]
    if differing:
        return Finding(
            "versions", ERROR, f"{', '.join(differing)} differ between ranks: use one environment everywhere"
        )
    return Finding("versions", PASS, ", ".join(f"{name} {version}" for name, version in versions.items()))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _devices(places: list[Binding]) -> Finding:
    import torch

    cards = [place.uuid for place in places if place.uuid]
    shared = sorted({card for card in cards if cards.count(card) > 1})
    if shared:
        return Finding("devices", ERROR, f"several ranks share GPU {', '.join(shared)}: start one rank per GPU")
    if 0 < len(cards) < len(places):
        return Finding("devices", ERROR, f"{len(cards)} of {len(places)} ranks have a GPU, the others have none: they "
                       "would wait for each other; take one GPU per rank, or execution.device = \"cpu\"")  # fmt: skip
    if Path("/dev/nvidia0").exists() and not torch.cuda.is_available():
        return Finding("devices", WARN, "this machine has a GPU, but torch does not see it: the CPU is used; check the "
                       "driver and CUDA_VISIBLE_DEVICES, or apptainer --nv")  # fmt: skip
    return Finding("devices", PASS, f"{len(cards)} GPUs, one per rank" if cards else "CPU")


def _threads(places: list[Binding]) -> Finding:
    """Compare ranks and threads with the cores that the launcher gives them."""
    crowded, idle = [], []
    for host in dict.fromkeys(place.host for place in places):
        here = [place for place in places if place.host == host]
        cores = len({core for place in here for core in place.cores})
        wanted = sum(place.threads for place in here)
        if wanted > cores:
            crowded.append(f"{wanted} threads for {cores} cores on {host}")
        if wanted < cores and not any(place.uuid for place in here):
            idle.append(f"{cores - wanted} of {cores} cores stay idle on {host}")
    if crowded:
        return Finding("threads", WARN, f"{'; '.join(crowded)}: ranks slow each other; start fewer, or let the "
                       "launcher bind less (mpirun --bind-to none)")  # fmt: skip
    if idle:
        return Finding("threads", WARN, f"{'; '.join(idle)}: start more ranks")
    return Finding("threads", PASS, "a core for every thread")


def _clocks(world: World) -> Finding:
    world.barrier()
    clocks = world.allgather(time.time())
    spread = max(clocks) - min(clocks)
    verdict: Verdict = WARN if spread > CLOCKS else PASS
    return Finding("clocks", verdict, f"{spread:.1f} s apart" + (": set them right (NTP)" if verdict == WARN else ""))


def _file_system(world: World, store: Path) -> Finding:
    """Check the folder of the store: every rank must see a file that rank 0 renames and forces to the disk."""
    folder = folder_of(store)
    token = world.allgather(uuid.uuid4().hex)[0]
    shown = folder / f".protmpi-doctor.{token}"
    began, failure = time.monotonic(), ""
    if world.rank == 0:
        try:
            _publish(shown, token)
        except OSError as error:
            failure = f"{folder}: cannot be written: {error.strerror}; choose another execution.store"
    seconds = time.monotonic() - began
    failure = world.allgather(failure)[0]
    blind = [rank for rank, sees in enumerate(world.allgather(_sees(shown, token))) if not sees]
    seconds = world.allgather(seconds)[0]
    if world.rank == 0:
        shown.unlink(missing_ok=True)
    if failure:
        return Finding("file system", ERROR, failure)
    if blind:
        return Finding("file system", ERROR, f"{folder}: ranks {', '.join(map(str, blind))} do not see what rank 0 "
                       "writes there; choose an execution.store on a shared file system")  # fmt: skip
    if seconds > SLOW_DISK:
        return Finding("file system", WARN, f"{folder}: a file takes {seconds:.1f} s to reach the disk; commits will "
                       "be slow: raise run.draws_per_chunk")  # fmt: skip
    return Finding("file system", PASS, f"{folder}: rename and fsync in {1e3 * seconds:.0f} ms, seen by every rank")


def _publish(path: Path, token: str) -> None:
    """Write a draft, force it to the disk, rename it and force the folder to the disk, as a commit does."""
    draft = path.with_name(f"{path.name}.draft")
    try:
        with draft.open("w") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)


def _sees(path: Path, token: str) -> bool:
    try:
        return path.read_text() == token
    except OSError:
        return False


def _room(world: World, store: Path) -> Finding:
    free = world.allgather(free_disk(store))[0]
    verdict: Verdict = WARN if free < ROOM else PASS
    return Finding("room", verdict, f"{free / 1e9:.3g} GB free" + (": a run may fill it" if verdict == WARN else ""))


def _time_left(environment: Mapping[str, str] = os.environ) -> Finding:
    name = "SLURM_JOB_END_TIME"
    left = time_left(environment)
    if left is not None and left > 0:
        return Finding("time", PASS, f"the job ends in {left / 60:.0f} min")
    if not environment.get(name):
        return Finding("time", PASS, "no end of the job is known; execution.wall_time sets one")
    wrong = f"= {environment[name]!r} is not a time" if left is None else f"is past by {-left / 60:,.0f} min"
    return Finding("time", WARN, f"{name} {wrong}: another job left it and it is ignored; unset it; "
                   "execution.wall_time sets an end")  # fmt: skip
