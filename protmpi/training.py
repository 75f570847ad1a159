"""Adam (0.9, 0.98), eps 1e-9, learning rate rate d^-1/2 min(t^-1/2, t warmup^-3/2), dropout (METHOD section 9).

At a constant learning rate Adam hovers above the minimum; where a minimum is wanted, training settles at the end: the
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
from protmpi.tasks import Task
from protmpi.weights import CURVES

BETA1, BETA2, EPSILON = 0.9, 0.98, 1e-9


def learning_rate(t: int, d: int, warmup: int) -> float:
    """d^-1/2 min(t^-1/2, t warmup^-3/2) at step t >= 1 (Vaswani et al. 2017)."""
    return float(d**-0.5 * min(t**-0.5, t * warmup**-1.5))


@dataclass
class Trainer:
    """One initialisation under Adam. Everything needed to go on is in these fields."""

    task: Task
    config: TrainConfig
    d: int
    spawn_key: tuple[int, ...]
    w: Tensor
    m: Tensor
    v: Tensor
    t: int = 0
    epoch: int = 0
    settles_at: int = 0
    """The epoch with which the learning rate reaches zero, 0 while training has not begun to settle."""
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})

    @classmethod
    def start(cls, task: Task, config: TrainConfig, d: int, spawn_key: tuple[int, ...], device: str) -> Trainer:
        """A fresh initialisation: its weights come from the stream (train.seed, *spawn_key)."""
        w = torch.as_tensor(task.initial(generator(config.seed, *spawn_key)), dtype=torch.float32, device=device)
        w = w.unsqueeze(0)
        return cls(task, config, d, spawn_key, w, torch.zeros_like(w), torch.zeros_like(w))

    @property
    def norm2(self) -> float:
        return float((self.w.double() ** 2).sum())

    @property
    def rate(self) -> float:
        """Learning rate of the present step; while training settles it falls linearly to zero, epoch by epoch."""
        c = self.config
        if not self.settles_at:
            return c.rate * learning_rate(self.t, self.d, c.warmup)
        steps = (self.settles_at - c.settle_epochs) * -(-self.task.train_size // c.batch)  # when it began
        return c.rate * learning_rate(steps, self.d, c.warmup) * (self.settles_at - self.epoch) / c.settle_epochs

    def run_epoch(self, after_step: Callable[[], None] = lambda: None) -> None:
        """One pass over the training set; its stream belongs to the epoch, so that training can be resumed."""
        stream = generator(self.config.seed, *self.spawn_key, 1 + self.epoch)
        dropout = torch.Generator(self.w.device).manual_seed(int(stream.integers(2**63)))
        order = stream.permutation(self.task.train_size)
        for first in range(0, len(order), self.config.batch):
            self._step(order[None, first : first + self.config.batch], dropout)
            after_step()
        self.epoch += 1
        if self.epoch % self.config.eval_every == 0:
            self._evaluate()

    def _step(self, indices: np.ndarray, dropout: torch.Generator) -> None:
        drop = Dropout(self.config.dropout, dropout) if self.config.dropout else None
        _, g = self.task.gradient(self.w, indices, drop)
        g.add_(self.w, alpha=self.config.lamda)
        self.t += 1
        self.m.lerp_(g, 1.0 - BETA1)
        self.v.lerp_(g * g, 1.0 - BETA2)
        m = self.m / (1.0 - BETA1**self.t)
        v = self.v / (1.0 - BETA2**self.t)
        self.w.addcdiv_(m, v.sqrt_().add_(EPSILON), value=-self.rate)

    def _evaluate(self) -> None:
        train_energy, train_error = self.task.evaluate(self.w, "train")
        val_energy, val_error = self.task.evaluate(self.w, "val")
        row = (self.epoch, train_energy[0], train_error[0], val_energy[0], val_error[0], self.norm2)
        for name, value in zip(CURVES, row, strict=True):
            self.curves[name].append(float(value))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store; `restore` goes on from them."""
        arrays = {name: getattr(self, name)[0].cpu().numpy() for name in ("w", "m", "v")}
        counts = {"t": np.asarray(self.t), "epoch": np.asarray(self.epoch),
                  "settles_at": np.asarray(self.settles_at)}  # fmt: skip
        return {**arrays, **counts, **{f"curve.{name}": np.asarray(c) for name, c in self.curves.items()}}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        for name in ("w", "m", "v"):
            getattr(self, name).copy_(torch.from_numpy(arrays[name]))
        self.t, self.epoch, self.settles_at = (int(arrays[name]) for name in ("t", "epoch", "settles_at"))
        self.curves = {name: [float(x) for x in arrays[f"curve.{name}"]] for name in CURVES}
