"""Which device and how many threads a rank takes, and the table that shows it."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpc.world import World, local_position
from protmpi.errors import WorldError

Device = Literal["auto", "cpu", "cuda"]
"""Requested device; auto: a GPU if there is one."""


@dataclass(frozen=True)
class Binding:
    """Host, device and threads of one rank."""

    rank: int
    host: str
    local_rank: int
    device: str
    device_name: str
    threads: int
    cores: tuple[int, ...]
    """Cores that the launcher lets this rank use."""
    uuid: str = ""
    """Name of the GPU, "" on a CPU."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "cores": len(self.cores)}


def available_cores() -> tuple[int, ...]:
    """Cores that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0)))


def gpu_index(local_rank: int, local_ranks: int, visible: int) -> int:
    """Index of the GPU of a rank. A single visible device has index 0: the launcher has already bound the rank to it.

    Raises WorldError if a machine has more ranks than GPUs.
    """
    if visible == 1:
        return 0
    if local_ranks > visible:
        raise WorldError(f"{local_ranks} ranks on {socket.gethostname()} for {visible} GPUs: start one rank per GPU, "
                         "or set execution.device = \"cpu\"")  # fmt: skip
    return local_rank


def cpu_threads(asked: int | str, local_ranks: int, cores: int) -> int:
    """Threads of a CPU rank: the requested number, or an equal part of the cores of the machine."""
    return max(1, cores // local_ranks) if asked == "divide" else int(asked)


def bind(world: World, device: Device, threads: int | str, tf32: bool = False) -> Binding:
    """Choose device and threads of this rank and set them in torch. Collective."""
    import torch

    local_rank, local_ranks = local_position(world)
    host, cores = socket.gethostname(), available_cores()
    visible = torch.cuda.device_count() if device != "cpu" else 0
    if device == "cuda" and visible == 0:
        raise WorldError(f'execution.device: "cuda", but rank {world.rank} on {host} sees no GPU; take "auto" or "cpu"')
    if visible:
        index = gpu_index(local_rank, local_ranks, visible)
        torch.cuda.set_device(index)
        torch.set_num_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        card = torch.cuda.get_device_properties(index)
        return Binding(world.rank, host, local_rank, f"cuda:{index}", card.name, 1, cores, str(card.uuid))
    count = cpu_threads(threads, local_ranks, len(cores))
    torch.set_num_threads(count)
    return Binding(world.rank, host, local_rank, "cpu", f"{len(cores)} cores", count, cores)
