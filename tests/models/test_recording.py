"""Recorded steps are the steps, to the last bit. A tape stands in for the CUDA graph where there is no GPU: it carries
out the same operations on the same memory, and fails when the host is asked for a number."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import reference_networks as reference
import torch
from problems import sampler
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from protmpi import models
from protmpi.data.sections import KSpinConfig, PointsConfig
from protmpi.models.distance import Distance
from protmpi.models.encoder import Encoder
from protmpi.models.feedforward import Feedforward
from protmpi.sampling.kernels.trajectories import Trajectories
from protmpi.sampling.walkers import recording
from protmpi.sampling.walkers.block import Block
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.sampling.walkers.trajectories import TrajectoryBlock
from protmpi.sections import ModelConfig
from protmpi.tasks import Task
from protmpi.tasks.folding import Folding
from protmpi.tasks.kspin import KSpin
from protmpi.tasks.points import Points

WALKERS, TEMPERATURES = 3, np.array([1e-3, 2e-3, 3e-3])
TO_HOST = ("_local_scalar_dense", "nonzero")


class Tape(TorchDispatchMode):
    """Every operation with its arguments and results, to be carried out again into the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in TO_HOST:
            raise RuntimeError(f"{name} asks the host")
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self.operations:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(result), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():  # neither in place nor a view
                    old.copy_(new)


def _tensors(result: Any) -> list[Tensor]:
    return [x for x in (result if isinstance(result, tuple | list) else [result]) if isinstance(x, Tensor)]


def tape(work: Callable[[], None], generators: Sequence[torch.Generator]) -> recording.Recording:
    """As `recording.cuda_graph`."""
    work()  # what is made at its first use
    recorder = Tape()
    with torch.no_grad(), recorder:
        work()
    return torch.no_grad()(recorder.replay)


def folding(network: str, device: str = "cpu") -> Task:
    built = models.build(ModelConfig(**_NETWORKS[network]), reference.LENGTH, 21)
    return Folding(reference.folding_data(), built, device)


_NETWORKS: dict[str, dict[str, Any]] = {
    "one block": {"kind": "transformer", "blocks": 1, "d": 6},
    "two blocks": {"kind": "transformer", "blocks": 2, "d": 6},
    "pooling": {"kind": "pooling", "d": 6, "m": 10},
}


def kspin(device: str = "cpu") -> Task:
    config = KSpinConfig(task="kspin", spins=12, classes=3, train=50, val=5, test=5)
    return KSpin(config, Feedforward(12, [5], 3), device)


def points(device: str = "cpu") -> Task:
    config = PointsConfig(task="points", train=30, val=5, test=5)
    return Points(config, Distance(3, Encoder(1, 2, 8, 16), 3), device)


TASKS: dict[str, Callable[..., Task]] = {
    **{name: functools.partial(folding, name) for name in _NETWORKS},
    "kspin": kspin,
    "points": points,
}


def block(task: Task, record: recording.Record | None, **keys: Any) -> LangevinBlock:
    keys = {"kind": "constrained", "rho": 1e-3, "batch": 8, "min_extractions": 10, "max_extractions": 10, "m1": 0.3,
            "min_adj_step": 12, "adapt_until": 20, "temperatures": list(TEMPERATURES), **keys}  # fmt: skip
    config = sampler(**keys)
    stream = np.random.default_rng(2)
    start = torch.from_numpy(np.stack([task.initial(stream) for _ in range(WALKERS)])).float().to(task.device)
    made = LangevinBlock(range(WALKERS), start, TEMPERATURES, task, config, 1)
    made.record = record
    made.initialise()
    return made


def on_device_only(task: Task) -> Task:
    """The task with the mini-batches that it makes on the device, whoever asks."""
    gradient = task.gradient
    task.gradient = lambda w, indices, drop=None: gradient(w, torch.as_tensor(indices, device=w.device), drop)  # type: ignore[method-assign]
    return task


def trajectories(
    make: Callable[..., Task], record: recording.Record | None, device: str = "cpu", **keys: Any
) -> TrajectoryBlock:
    """A block that changes masses, time step and temperature as it goes; the second of its walkers is annealed."""
    task = make(device)
    config = sampler(**{"kind": "constrained-trajectories", "batch": 8, "min_extractions": 10, "trajectory": 3,
                              "max_extractions": 10, "min_adj_step": 6, "adapt_until": 24, **keys})  # fmt: skip
    stream = np.random.default_rng(2)
    start = torch.from_numpy(np.stack([task.initial(stream) for _ in range(WALKERS)])).float().to(task.device)
    made = TrajectoryBlock(range(WALKERS), start, TEMPERATURES, task, config, 1, anneal=[(), (5e-3, 4e-3), ()])
    assert made.burn_in
    made.burn_in.config = config.model_copy(update={"anneal_steps": 6})
    made.record = record
    made.initialise()
    return made


def same(one: Block[Any], other: Block[Any]) -> bool:
    a, b = one.checkpoint(), other.checkpoint()
    return all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


OTHERS = {
    "double scheme": {"scheme": "double"},
    "no Fixman force": {"fixman": False},
    "unconstrained": {"kind": "unconstrained", "lamda": 1e-3, "gamma": 1e-3},
}
CASES = [
    *(pytest.param(make, {}, id=name) for name, make in TASKS.items()),
    *(pytest.param(TASKS["one block"], keys, id=name) for name, keys in OTHERS.items()),
]


@pytest.mark.parametrize(("make", "keys"), CASES)
def test_recorded_steps_are_the_steps(make: Callable[[], Task], keys: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(recording, "STRETCH", 4)
    blocks = [block(on_device_only(make()), record, **keys) for record in (None, tape)]
    for steps in (3, 1, 18):  # estimates of s² in between, stretches that are no multiple of 4
        for each in blocks:
            each.explore(steps)
        assert same(*blocks)


def test_recorded_steps_follow_swaps_and_restarts(monkeypatch: Any) -> None:
    monkeypatch.setattr(recording, "STRETCH", 8)
    blocks = [block(on_device_only(folding("one block")), record) for record in (None, tape)]
    for each in blocks:
        each.explore(30)
        each.share_masses(np.asarray((each.mass * each.temperature).amax(0)))
        each.move(TEMPERATURES[::-1].copy())
        each.explore(11)
    kept = blocks[1].checkpoint()
    assert same(*blocks)
    for each in blocks:
        each.explore(9)
    assert same(*blocks)
    blocks[1].restore(41, kept, np.asarray(blocks[1].temperature.squeeze(1)))
    blocks[1].explore(9)
    assert same(*blocks)


def swapped(blocks: Sequence[TrajectoryBlock]) -> bool:
    """Whether blocks are the same after the burn-in, a sweep of temperatures, and some more trajectories."""
    for each in blocks:
        each.explore(27)
        each.share_masses(np.asarray((each.mass * each.temperature).amax(0)))
        each.move(TEMPERATURES[::-1].copy())
        each.explore(6)
    return same(*blocks)


FULL_OTHERS = {
    "no Fixman force": {"fixman": False},
    "unconstrained": {"kind": "trajectories", "lamda": 1e-3, "gamma": 1e-3},
}


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        *(pytest.param(make, {}, id=name) for name, make in TASKS.items()),
        *(pytest.param(kspin, keys, id=name) for name, keys in FULL_OTHERS.items()),
    ],
)
@pytest.mark.parametrize("kept", [1.0, 0.9])
def test_recorded_trajectories_are_the_trajectories(
    make: Callable[..., Task], keys: dict[str, Any], kept: float
) -> None:
    blocks = [trajectories(make, record, momentum_kept=kept, **keys) for record in (None, tape)]
    for steps in (3, 12):
        for each in blocks:
            each.explore(steps)
        assert same(*blocks)
    assert swapped(blocks)


@pytest.mark.parametrize("frozen", ["temperature", "mass", "time step", "state"])
def test_a_recording_that_keeps_what_it_was_made_with_fails(frozen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = recording.RecordedTrajectories.__call__

    def stale(self: recording.RecordedTrajectories, kernel: Trajectories, state: Any, h: Tensor, steps: int) -> Any:
        if frozen == "time step":
            return advance(self, kernel, state, self._h.clone(), steps)
        if frozen == "state":
            return advance(self, kernel, type(state)(**{k: v.clone() for k, v in self._state.items()}), h, steps)
        return advance(self, replace(kernel, **{frozen: getattr(self._kernel, frozen).clone()}), state, h, steps)

    monkeypatch.setattr(recording.RecordedTrajectories, "__call__", stale)
    assert not swapped([trajectories(kspin, record, momentum_kept=0.9) for record in (None, tape)])


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS.keys())
def test_all_samples_are_a_mini_batch_of_each_once_with_sums_in_double_precision(make: Callable[..., Task]) -> None:
    task, stream = make(), np.random.default_rng(2)
    w = torch.from_numpy(np.stack([task.initial(stream) for _ in range(WALKERS)])).float()
    everyone = np.stack([stream.permutation(task.train_size) for _ in range(WALKERS)])
    energy, gradient = task.gradient(w, None)
    torch.testing.assert_close(gradient, task.gradient(w, everyone)[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(energy.numpy(), task.evaluate(w, "train")[0], rtol=1e-6)
    assert energy.dtype is torch.float64
    assert (energy.float().double() != energy).any(), "it has more digits than single precision"


def test_even_batches_have_the_same_gradient() -> None:
    task, w = reference.task_and_weights(models.build(ModelConfig(**_NETWORKS["two blocks"]), reference.LENGTH, 21))
    indices = np.random.default_rng(1).integers(task.train_size, size=(len(w), 9))
    for even, grouped in zip(task.gradient(w, torch.from_numpy(indices)), task.gradient(w, indices), strict=True):
        torch.testing.assert_close(even, grouped)


def test_a_step_that_draws_its_minibatch_on_the_host_fails(monkeypatch: Any) -> None:
    blocks = [block(on_device_only(folding("one block")), record) for record in (None, tape)]
    for each in blocks:
        each.explore(1)
    assert same(*blocks)

    def drawn_on_the_host(self: recording.RecordedSteps, w: Tensor) -> Tensor:
        return self._gradient_at(w, torch.from_numpy(self._indices(1)[0]))

    monkeypatch.setattr(recording.RecordedSteps, "_gradient", drawn_on_the_host)
    blocks = [block(on_device_only(folding("one block")), record) for record in (None, tape)]
    for each in blocks:
        each.explore(5)
    assert not same(*blocks)


def test_a_stretch_of_recorded_steps_can_be_given_up(monkeypatch: Any) -> None:
    monkeypatch.setattr(recording, "STRETCH", 4)
    task = folding("one block")
    walkers = block(task, tape, min_adj_step=1_000, adapt_until=0)
    walkers.explore(4)

    def stop() -> None:
        raise InterruptedError

    task.check = stop
    with pytest.raises(InterruptedError):
        walkers.explore(4)


def test_a_step_that_asks_the_host_fails() -> None:
    task = kspin()
    gradient = task.gradient

    def asks(w: Tensor, indices: np.ndarray | Tensor, drop: None = None) -> tuple[Tensor, Tensor]:
        assert float(w.abs().max()) < np.inf
        return gradient(w, indices, drop)

    task.gradient = asks  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="asks the host"):
        block(task, tape).explore(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS.keys())
def test_a_cuda_graph_gives_the_steps(make: Callable[..., Task]) -> None:
    eager, recorded = (block(on_device_only(make("cuda")), record) for record in (None, recording.cuda_graph))
    for each in (eager, recorded):
        each.explore(10)
    torch.testing.assert_close(recorded.position, eager.position)
    assert np.array_equal(recorded.streams.state(), eager.streams.state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS.keys())
def test_a_cuda_graph_gives_the_trajectories(make: Callable[..., Task]) -> None:
    eager, recorded = (trajectories(make, r, "cuda", momentum_kept=0.9) for r in (None, recording.cuda_graph))
    for each in (eager, recorded):
        each.explore(9)
    torch.testing.assert_close(recorded.position, eager.position)
    assert np.array_equal(recorded.streams.state(), eager.streams.state())
