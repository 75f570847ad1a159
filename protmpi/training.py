"""Adam (0.9, 0.98), eps 1e-9, learning rate rate d^-1/2 min(t^-1/2, t warmup^-3/2), dropout.

Source: docs/method/training.md section 1.

At a constant learning rate Adam hovers above the minimum. To reach a minimum, training settles at its end: the learning
rate falls to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layers import Dropout
from protmpi.sampling.streams import generator
from protmpi.sections import TrainConfig
from protmpi.shards import Shards, evaluate_all
from protmpi.tasks import Task
from protmpi.weights import CURVES

BETA1, BETA2, EPSILON = 0.9, 0.98, 1e-9


def learning_rate(t: int, d: int, warmup: int) -> float:
    """d^-1/2 min(t^-1/2, t warmup^-3/2) at step t >= 1 (Vaswani et al. 2017)."""
    return float(d**-0.5 * min(t**-0.5, t * warmup**-1.5))


@dataclass
class Trainer:
    """One initialisation trained by Adam. Training can continue from these fields alone."""

    task: Task
    config: TrainConfig
    d: int
    spawn_key: tuple[int, ...]
    w: Tensor
    m: Tensor
    v: Tensor
    shards: Shards | None = None
    """The division of every mini-batch among ranks. None: this rank computes whole mini-batches."""
    t: int = 0
    epoch: int = 0
    settles_at: int = 0
    """The epoch at whose end the learning rate reaches zero. 0 before training begins to settle."""
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})

    @classmethod
    def start(
        cls, task: Task, config: TrainConfig, d: int, spawn_key: tuple[int, ...], device: str,
        shards: Shards | None = None,
    ) -> Trainer:  # fmt: skip
        """A fresh initialisation: its weights come from the stream (train.seed, *spawn_key)."""
        w = torch.as_tensor(task.initial(generator(config.seed, *spawn_key)), dtype=torch.float32, device=device)
        w = w.unsqueeze(0)
        return cls(task, config, d, spawn_key, w, torch.zeros_like(w), torch.zeros_like(w), shards)

    @property
    def norm2(self) -> float:
        return float((self.w.double() ** 2).sum())

    @property
    def rate(self) -> float:
        """Learning rate of the present step. While training settles, it falls linearly to zero, epoch by epoch."""
        c = self.config
        if not self.settles_at:
            return c.rate * learning_rate(self.t, self.d, c.warmup)
        steps = (self.settles_at - c.settle_epochs) * -(-self.task.train_size // c.batch)  # when it began
        return c.rate * learning_rate(steps, self.d, c.warmup) * (self.settles_at - self.epoch) / c.settle_epochs

    def run_epoch(self, after_step: Callable[[], None] = lambda: None) -> None:
        """One pass over the training set. Each epoch has its own random stream, so that training can be resumed."""
        stream = generator(self.config.seed, *self.spawn_key, 1 + self.epoch)
        dropout = torch.Generator(self.w.device).manual_seed(int(stream.integers(2**63)))
        order = stream.permutation(self.task.train_size)
        for first in range(0, len(order), self.config.batch):
            self._step(self._gradient(order[None, first : first + self.config.batch], stream, dropout))
            after_step()
        self.epoch += 1
        if self.epoch % self.config.eval_every == 0:
            self._evaluate()

    def _gradient(self, indices: np.ndarray, stream: np.random.Generator, dropout: torch.Generator) -> Tensor:
        """Gradient (1, P) on the training samples `indices` (1, B)."""
        if self.shards is None:
            return self.task.gradient(self.w, indices, self._random(dropout))[1]
        seeds = stream.integers(2**63, size=self.shards.count)

        def of_shard(shard: int) -> Dropout | None:
            return self._random(torch.Generator(self.w.device).manual_seed(int(seeds[shard])))

        return self.shards.gradient(self.task, self.w, indices, of_shard)

    def _random(self, generator: torch.Generator) -> Dropout | None:
        """The random numbers of a gradient. None if the gradient has none."""
        probability = self.config.dropout
        return Dropout(probability, generator) if probability or self.task.augments else None

    def _step(self, g: Tensor) -> None:
        g.add_(self.w, alpha=self.config.lamda)
        self.t += 1
        self.m.lerp_(g, 1.0 - BETA1)
        self.v.lerp_(g * g, 1.0 - BETA2)
        m = self.m / (1.0 - BETA1**self.t)
        v = self.v / (1.0 - BETA2**self.t)
        self.w.addcdiv_(m, v.sqrt_().add_(EPSILON), value=-self.rate)

    def _evaluate(self) -> None:
        evaluate = self.shards.evaluate if self.shards else evaluate_all
        (train_energy, train_error), (val_energy, val_error) = evaluate(self.task, self.w, ("train", "val"))
        row = (self.epoch, train_energy[0], train_error[0], val_energy[0], val_error[0], self.norm2)
        for name, value in zip(CURVES, row, strict=True):
            self.curves[name].append(float(value))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store. `restore` continues from them."""
        arrays = {name: getattr(self, name)[0].cpu().numpy() for name in ("w", "m", "v")}
        counts = {"t": np.asarray(self.t), "epoch": np.asarray(self.epoch),
                  "settles_at": np.asarray(self.settles_at)}  # fmt: skip
        return {**arrays, **counts, **{f"curve.{name}": np.asarray(c) for name, c in self.curves.items()}}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        for name in ("w", "m", "v"):
            getattr(self, name).copy_(torch.from_numpy(arrays[name]))
        self.t, self.epoch, self.settles_at = (int(arrays[name]) for name in ("t", "epoch", "settles_at"))
        self.curves = {name: [float(x) for x in arrays[f"curve.{name}"]] for name in CURVES}
