"""Timings of the product, of the baseline and of the machine, all in one process and one after the other.

Every time is the median of REPEATS repetitions after a warm-up; the repetitions of product and baseline alternate, so
that a machine that slows down slows both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, bmm_flop

from hpc.world import OneRank
from protmpi import models
from protmpi.bench import baseline
from protmpi.config import parse
from protmpi.data.dataset import FoldingData
from protmpi.sampling.sections import SamplerConfig
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.sampling.walkers.recording import cuda_graph
from protmpi.sections import ModelConfig
from protmpi.store import creation
from protmpi.store.schema import Schema
from protmpi.store.writer import Writer
from protmpi.tasks.folding import Folding
from protmpi.variables import Variable

LENGTH, MASK_PROBABILITY, SPLIT = 86, 0.15, (1_000, 1_000, 13_000)  # the published sizes
BATCH, TEMPERATURE, RHO = 64, 1e-4, 1e-4
REPEATS = 5
OBSERVABLES = 40  # numbers of a walker in a draw, at least as many as any task has
SHORTEST = 0.3  # least seconds of a repetition
NEVER = 10**9
GPU_STEPS = 32  # steps timed together on a GPU: between two draws a run makes some hundred without the host
IN_PLACE = {torch.ops.aten.baddbmm_: lambda added, a, b, **_: bmm_flop(a, b)}  # torch does not count it
Scheme = Literal["single", "double"]


@dataclass(frozen=True)
class Timing:
    """Median seconds, and the FLOP of the matrix products in this time."""

    seconds: float
    flop: float = 0.0


def synthetic_data(seed: int = 1) -> FoldingData:
    """Random sequences of the published sizes. The cost of a step does not depend on their content."""
    random = np.random.default_rng(seed)
    sequences = random.integers(0, 20, (sum(SPLIT), LENGTH)).astype(np.uint8)
    masked = random.random(sequences.shape) < MASK_PROBABILITY
    masked[~masked.any(1), 0] = True
    return FoldingData(sequences, masked, np.repeat([0, 1, 2], SPLIT).astype(np.uint8))


def task_of(network: str, data: FoldingData, device: str) -> Folding:
    """The masked-sequence task of a published network."""
    return Folding(data, models.build(ModelConfig(name=network), LENGTH), device)


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def repeat(work: Callable[[], object], device: str) -> Callable[[], float]:
    """A repetition of `work`, with enough calls to take SHORTEST seconds. It returns the seconds of one call."""
    work()  # warm-up: memory, lazy initialisation
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    calls = max(1, round(SHORTEST / (time.perf_counter() - began)))

    def once() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            work()
        synchronise(device)
        return (time.perf_counter() - began) / calls

    return once


def medians(*work: Callable[[], object], device: str) -> list[float]:
    """Median seconds of each of several works, whose repetitions alternate."""
    once = [repeat(each, device) for each in work]
    times = [[each() for each in once] for _ in range(REPEATS)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def matrix_rate(device: str, size: int = 1024) -> float:
    """FLOP/s of float32 matrix products of this size: the limit of the machine on this device and thread count."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    (seconds,) = medians(lambda: a @ b, device=device)
    return 2.0 * size**3 / seconds


def gradient(task: Folding, walkers: int, device: str) -> Timing:
    """One mini-batch gradient of `walkers` walkers, on a GPU recorded as it is within a step."""
    w, random = weights(task, walkers, device), np.random.default_rng(2)
    fixed = torch.from_numpy(random.integers(task.train_size, size=(walkers, BATCH))).to(device)

    def work() -> None:
        task.gradient(w, fixed if w.is_cuda else random.integers(task.train_size, size=(walkers, BATCH)))

    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        for _ in range(REPEATS):
            work()
    timed = cuda_graph(work, []) if w.is_cuda else work
    return Timing(medians(timed, device=device)[0], counter.get_total_flops() / REPEATS)


def weights(task: Folding, walkers: int, device: str) -> Tensor:
    """Fresh weights (walkers, P), float32."""
    random = np.random.default_rng(3)
    return torch.from_numpy(np.stack([task.initial(random) for _ in range(walkers)])).float().to(device)


def product_block(task: Folding, walkers: int, scheme: Scheme, device: str, rho: float = RHO) -> LangevinBlock:
    """`walkers` walkers of the product, without adaptation."""
    config = SamplerConfig(
        scheme=scheme, rho=rho, batch=BATCH, min_extractions=10, max_extractions=10, min_adj_step=NEVER,
        max_adj_step=NEVER, adapt_until=0,
    )  # fmt: skip
    block = LangevinBlock(
        range(walkers), weights(task, walkers, device), np.full(walkers, TEMPERATURE), task, config, 1
    )
    block.initialise()
    return block


def baseline_step(task: Folding, data: FoldingData, device: str) -> Callable[[], object]:
    """One step of one walker of the baseline."""
    truth = torch.from_numpy(data.sequences[data.split == 0].astype(np.int64))
    masked = torch.from_numpy(data.masked[data.split == 0])
    samples = [(tokens.to(device), each.to(device)) for tokens, each in zip(
        torch.where(masked, baseline.MASK, truth), truth, strict=True)]  # fmt: skip
    flat = weights(task, 1, device)[0]
    w = baseline.layers_of(task.layout, flat)
    variance = {name: torch.full_like(layer, 1e-4) for name, layer in w.items()}
    mass = {name: s2 / (4.0 * RHO * TEMPERATURE * 0.1**2) for name, s2 in variance.items()}
    p = {name: (m * TEMPERATURE).sqrt() * torch.randn_like(m) for name, m in mass.items()}
    walker = baseline.Walker(task.network, samples, w, p, mass, variance, float((flat.double() ** 2).sum()),
                             TEMPERATURE, np.random.default_rng(4), batch=BATCH)  # fmt: skip
    return walker.step


def evaluation(task: Folding, walkers: int, device: str) -> float:
    """Seconds of evaluation per step of one of `walkers` walkers, at the default cadence."""
    run, w = parse({}, "defaults").run, weights(task, walkers, device)
    draw, snapshot = medians(lambda: task.draw_observables(w), lambda: task.snapshot_observables(w), device=device)
    return (draw / run.record_every + snapshot / run.snapshot_every) / walkers


def store(task: Folding, walkers: int, device: str) -> float:
    """Seconds that the store adds per step of one of `walkers` walkers while they go on. The walkers are a block."""
    block, steps = product_block(task, walkers, "single", device), GPU_STEPS if device == "cuda" else 1

    def work() -> None:
        block.explore(steps)
        synchronise(device)

    run = parse({}, "defaults").run
    lost = commit(lambda: handed_over(block), work)
    return max(0.0, lost) / (run.draws_per_chunk * run.record_every * walkers)


def handed_over(block: LangevinBlock) -> dict[str, np.ndarray]:
    """The checkpoint of a rank with this block alone. Arrays are copied because the walkers go on."""
    return {name: values.copy() for name, values in block.checkpoint().items()}


def commit(checkpoint: Callable[[], dict[str, np.ndarray]], work: Callable[[], object] | None) -> float:
    """Median seconds by which a commit delays `work` that runs beside it, compared with the same work right after it.
    Without work, the whole time of a commit.

    A chunk of draws and its snapshots at the default cadence, and a checkpoint (walkers, ...) with the `position`.
    """
    run, (walkers, size) = parse({}, "defaults").run, checkpoint()["position"].shape
    schema = Schema(walkers, run.steps, run.record_every, run.snapshot_every, run.draws_per_chunk, (
        *(Variable(f"observable_{i}", "draw", "") for i in range(OBSERVABLES)),
        Variable("parameters", "snapshot", "", dtype="float32", dims=("parameter",), shape=(size,)),
    ), walkers)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        creation.create(Path(folder) / "store.zarr", schema, [], {"config": {}})
        rows = Writer(Path(folder) / "store.zarr", schema, range(walkers), OneRank())
        times = []
        for number in range(1, REPEATS + 4):
            for _ in range(run.draws_per_chunk):
                rows.append("draw", {f"observable_{i}": np.ones(walkers) for i in range(OBSERVABLES)})
            for _ in range(schema.snapshots_per_chunk):
                rows.append("snapshot", {"parameters": checkpoint()["position"]})
            began, works = time.perf_counter(), 0
            rows.hand_over(number * run.draws_per_chunk * run.record_every, checkpoint())
            while work and not rows.written():
                work()
                works += 1
            rows.publish()
            took, again = time.perf_counter() - began, time.perf_counter()
            for _ in range(works):
                work()  # type: ignore[misc]  # without work the list is empty
            times.append(took - (time.perf_counter() - again))
    # the first three commits make the checkpoints
    return statistics.median(times[3:])
