"""`protmpi bench`: rows of timings, as a table for people and as JSON for programs."""

from __future__ import annotations

import itertools
import json
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from rich.table import Table

from hpc.devices import Device, bind
from hpc.world import World
from protmpi.bench import timings
from protmpi.bench.progress import Progress
from protmpi.data.dataset import FoldingData
from protmpi.sections import PUBLISHED_NETWORKS
from protmpi.terminal import terminal

SCHEMES: tuple[timings.Scheme, ...] = ("single", "double")
COLUMNS = {
    "network": "network", "scheme": "scheme", "walkers": "walkers", "ranks": "ranks",
    "ms_per_gradient": "ms / gradient", "walker_steps_per_s": "walker-steps / s", "baseline_ratio": "x baseline",
    "gemm_fraction": "of matrix rate", "evaluation_share": "evaluation", "store_share": "store",
}  # fmt: skip
PERCENT = ("gemm_fraction", "evaluation_share", "store_share")


def measure(
    world: World, device: Device, networks: Sequence[str], walkers: Sequence[int], progress: Progress
) -> dict[str, Any]:
    """Time every network. Collective. Each row is measured with one rank and with all ranks at work: weak scaling."""
    binding = bind(world, device, 1)
    kind = binding.device.partition(":")[0]
    data, rate = timings.synthetic_data(), timings.matrix_rate(kind)
    progress.plan(len(networks) * len(SCHEMES) * len(walkers) * len({1, world.size}))
    rows = []
    for network in networks:
        progress.stage(network)
        for row in rows_of(network, data, rate, world, kind, walkers):
            rows.append(row)
            progress.advance(1)
    return {"machine": f"{binding.host}: {binding.device_name}", "processor": processor(), "device": kind,
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "matrix_gflops": rate / 1e9, "rows": rows}  # fmt: skip


def rows_of(
    network: str, data: FoldingData, rate: float, world: World, device: str, walkers: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """The rows of one network: schemes, numbers of walkers, one rank and all. Collective."""
    task = timings.task_of(network, data, device)
    # walkers that go through the network together: one on a CPU, all on a GPU
    sizes = {count: count if device == "cuda" else 1 for count in walkers}
    gradients = {size: timings.gradient(task, size, device) for size in set(sizes.values())}
    others = {size: (timings.evaluation(task, size, device), timings.store(task, size, device)) for size in gradients}
    for scheme, count, ranks in itertools.product(SCHEMES, walkers, sorted({1, world.size})):
        each, slow = np.inf, np.inf  # seconds of a walker-step; a waiting rank does none
        world.barrier()
        if world.rank < ranks:
            block = timings.product_block(task, count, scheme, device)
            steps = timings.GPU_STEPS if device == "cuda" else max(1, 16 // count)
            fast, slow = timings.medians(
                lambda block=block, steps=steps: block.explore(steps),  # type: ignore[misc]
                timings.baseline_step(task, data, device),
                device=device,
            )
            each = fast / (steps * count)
        everyone, baseline = (sum(world.allgather(1.0 / seconds)) for seconds in (each, slow))
        gradient, (evaluation, store) = gradients[sizes[count]], others[sizes[count]]
        total = world.allgather(each)[0] + evaluation + store
        yield {
            "network": network, "scheme": scheme, "walkers": count, "ranks": ranks,
            "ms_per_gradient": 1e3 * gradient.seconds / sizes[count], "walker_steps_per_s": everyone,
            "baseline_ratio": everyone / baseline, "gemm_fraction": gradient.flop / gradient.seconds / rate,
            "evaluation_share": evaluation / total, "store_share": store / total,
        }  # fmt: skip


def processor() -> str:
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            found = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor()
    fields = {key.strip(): value.strip() for key, value in found.items()}
    return f"{fields.get('model name', platform.processor())} (family {fields.get('cpu family', '?')}, " \
           f"model {fields.get('model', '?')})"  # fmt: skip


def cell(name: str, value: Any) -> str:
    """A number as the table shows it."""
    if name in PERCENT:
        return f"{100 * value:.1f} %" if name != "gemm_fraction" else f"{100 * value:.0f} %"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def title(result: dict[str, Any]) -> str:
    gpu = f"{result['machine'].partition(': ')[2]}, " if result["device"] == "cuda" else ""
    return (f"{gpu}{result['processor']}, {result['threads']} thread per rank, torch {result['torch']}, "
            f"matrix products {result['matrix_gflops']:,.0f} GFLOP/s per rank")  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """The table on the terminal."""
    table = Table(*COLUMNS.values(), box=None, header_style="bold", title=title(result), title_justify="left")
    for row in result["rows"]:
        table.add_row(*(cell(name, row[name]) for name in COLUMNS))
    terminal(140).print(table)


def to_json(result: dict[str, Any]) -> str:
    return json.dumps(result, indent=1)


DEFAULT_NETWORKS = tuple(PUBLISHED_NETWORKS)
