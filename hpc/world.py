"""The world of MPI ranks. `Serial` is a world of one rank; the same code runs both.

Global sizes are cut into blocks, and blocks are dealt to ranks in order. So the walkers of a rank are a contiguous
range, and every global index has exactly one owner, which every rank knows without messages.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from protmpi.errors import ProtmpiError, WorldError

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

POLL = 0.002  # seconds between two checks whether all ranks have arrived

SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables in which launchers give the size of the world."""
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
SILENT = "PMIX_RANK"  # set by prterun and other launchers with PMIx alone, which give no size


class World(Protocol):
    """Ranks that act together. Every method except `shout`, `heard` and `abort` is collective."""

    rank: int
    size: int
    library: str

    def allgather(self, item: Any) -> list[Any]: ...
    def maximum(self, array: np.ndarray) -> np.ndarray: ...
    def barrier(self) -> None: ...
    def meet(self, meanwhile: Callable[[], object]) -> None: ...
    def shout(self) -> None: ...
    def heard(self) -> bool: ...
    def abort(self, status: int) -> None: ...


class OneRank:
    """A world of one rank, without MPI."""

    rank, size, library = 0, 1, "none: one rank without a launcher"

    def allgather(self, item: T) -> list[T]:
        return [item]

    def maximum(self, array: np.ndarray) -> np.ndarray:
        return array

    def barrier(self) -> None:
        """One rank has nothing to wait for."""

    def meet(self, meanwhile: Callable[[], object]) -> None:
        """One rank has nothing to wait for."""

    def shout(self) -> None:
        """One rank has no other to notify."""

    def heard(self) -> bool:
        return False

    def abort(self, status: int) -> None:
        os._exit(status)


class MpiRanks:
    """The ranks of MPI_COMM_WORLD."""

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise WorldError(
                f"started by an MPI launcher, but mpi4py does not load ({error}); install protmpi[sample,mpi], "
                "or install mpi4py against the MPI library of this machine"
            ) from None
        self._mpi, self._communicator = MPI, MPI.COMM_WORLD
        self.rank, self.size = self._communicator.Get_rank(), self._communicator.Get_size()
        self._side = MPI.COMM_WORLD.Dup()
        self._shouts: list[Any] = []  # pending messages, kept until they are received
        self.library = MPI.Get_library_version().split("\n")[0].split(",")[0].strip()

    def allgather(self, item: T) -> list[T]:
        return list(self._communicator.allgather(item))

    def maximum(self, array: np.ndarray) -> np.ndarray:
        """Elementwise maximum over ranks. Unlike a sum, it is exact in any order of the ranks."""
        largest = array.copy()
        self._communicator.Allreduce(self._mpi.IN_PLACE, largest, op=self._mpi.MAX)
        return largest

    def barrier(self) -> None:
        self._communicator.Barrier()

    def meet(self, meanwhile: Callable[[], object]) -> None:
        """Wait for all ranks and call `meanwhile` at intervals. Unlike in `barrier`, signals are handled."""
        arrival = self._communicator.Ibarrier()
        began = time.monotonic()
        while not arrival.Test():
            meanwhile()
            time.sleep(0.0 if time.monotonic() - began < POLL else POLL)

    def shout(self) -> None:
        """Make `heard` true on all other ranks soon."""
        self._shouts = [self._side.isend(None, rank) for rank in range(self.size) if rank != self.rank]

    def heard(self) -> bool:
        """Whether another rank has shouted."""
        return bool(self._side.Iprobe())

    def abort(self, status: int) -> None:
        self._communicator.Abort(status)


def number(environment: Mapping[str, str], name: str) -> int | None:
    """A count in an environment variable. None if the variable is not set or is not a count."""
    text = environment.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def launched_size(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """The variable in which the launcher gives the number of its processes, and the number. None if there is none."""
    # sbatch alone also sets SLURM_NTASKS for the batch script itself; only srun sets a step's task count and procid
    step = ("SLURM_STEP_NUM_TASKS",) if "SLURM_PROCID" in environment else ()
    told = ((name, number(environment, name)) for name in (*SIZE_VARIABLES, *step))
    return next(((name, size) for name, size in told if size is not None), None)


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Rank from the environment of the launcher, known even if MPI did not start. 0 without a launcher."""
    if not launched_size(environment) and SILENT not in environment:
        return 0  # the rank variables of a shell within a job do not refer to this process
    ranks = (number(environment, name) for name in RANK_VARIABLES)
    return next((rank for rank in ranks if rank is not None), 0)


def connect(environment: Mapping[str, str] = os.environ) -> World:
    """The world that this process was launched into.

    Raises WorldError if the launcher started N processes and MPI sees another number. Each process would then take
    itself for rank 0 of 1, and all would write the same store. A world of 1 is also refused if N is not known.
    """
    told = launched_size(environment)
    if not told and SILENT not in environment:
        return OneRank()
    world = MpiRanks()
    if not told and world.size == 1:
        raise WorldError(
            f"started by prterun or another launcher that does not say how many processes it started, and MPI "
            f"({world.library}) sees a world of 1; use the mpirun of that library, or no launcher with {SILENT} unset"
        )
    name, expected = told or ("", world.size)
    if world.size != expected:
        raise WorldError(
            f"the launcher started {expected} processes but MPI ({world.library}) sees a world of {world.size}: they "
            f"do not belong together; use the mpirun of that library, or srun --mpi=pmix, or no launcher with {name} "
            "unset"
        )
    return world


def owner_of_block(block: int, blocks: int, ranks: int) -> int:
    """The rank that advances a block. Ranks have contiguous blocks, equally many up to one; needs blocks >= ranks."""
    return block * ranks // blocks


def my_blocks(blocks: int, world: World) -> range:
    """The blocks of this rank. Raises WorldError if there are more ranks than blocks."""
    if world.size > blocks:
        raise WorldError(
            f"{world.size} ranks for {blocks} blocks of walkers: start at most {blocks} ranks, or make more blocks "
            "(sampler.walkers_per_temperature up, run.walkers_per_block down)"
        )
    mine = [b for b in range(blocks) if owner_of_block(b, blocks, world.size) == world.rank]
    return range(mine[0], mine[-1] + 1)


def local_position(world: World) -> tuple[int, int]:
    """(index of this rank among the ranks of this machine, their number)."""
    hosts = world.allgather(socket.gethostname())
    return hosts[: world.rank].count(hosts[world.rank]), hosts.count(hosts[world.rank])


def together(world: World, action: Callable[[], T], meanwhile: Callable[[], object] | None = None) -> T:
    """Run `action` on every rank. If it fails on any, all ranks raise the error of the first that failed.

    So an error of one rank alone (a file missing on one machine) ends all ranks and is reported once. Ranks that are
    done call `meanwhile` at intervals, if it is given.
    """
    result, failure = None, None
    try:
        result = action()
    except ProtmpiError as error:
        failure = error
    except (MemoryError, RuntimeError) as error:  # the latter from torch, which has no error of its own on a CPU
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        failure = ProtmpiError(f"not enough memory: {' '.join(str(error).split()) or 'none is left'}; take a smaller "
                               "network, data set, or number of walkers")  # fmt: skip
    if meanwhile:
        world.meet(meanwhile)
    failures = [error for error in world.allgather(failure) if error is not None]
    if failures:
        raise failures[0]
    return result  # type: ignore[return-value]


class AbortOnException:
    """Context in which an exception on one rank ends all ranks with its traceback, instead of leaving them waiting."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, (ProtmpiError, SystemExit)) or self.world.size == 1:
            return
        print(f"rank {self.world.rank} of {self.world.size} on {socket.gethostname()} failed:", file=sys.stderr)
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
        self.world.abort(1)
