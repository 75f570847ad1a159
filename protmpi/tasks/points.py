"""Attention that measures distance: find how near the points of a structure are to one another.

Source: docs/method/data.md section 5.

A sample is a structure of n points; the network sees their coordinates. With A_ij = exp(-(|x_i - x_j|/200)^e) and the
attention Â of the network,

    U = mean over structures and pairs (i, j), i = j included, of |Â_ij - A_ij|      err = √( mean of (Â_ij - A_ij)² )
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi.config import Config
from protmpi.data import points
from protmpi.data.sections import PointsConfig
from protmpi.models.distance import Distance
from protmpi.models.encoder import Encoder
from protmpi.models.layers import Dropout
from protmpi.models.memory import keep_freed_memory
from protmpi.tasks.splits import Grouped
from protmpi.variables import Constant, Variable

MEASURED = 200  # test structures whose attention is kept in a snapshot


@dataclass(frozen=True)
class PointSet:
    """Structures of one split: coordinates x (N, n, D), targets A (N, n, n)."""

    x: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, chosen: Tensor) -> PointSet:
        """The structures `chosen` (W, B), with leading axes W, B."""
        return PointSet(self.x[chosen], self.target[chosen])


class Points(Grouped):
    """Structures of points, learned by one network; W walkers of P parameters at once."""

    def __init__(self, config: PointsConfig, network: Distance, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        self.network, self.layout, self.device = network, network.layout, torch.device(device)
        keep_freed_memory()
        drawn, digest = points.draw(config), hashlib.sha256(f"exponent {config.exponent!r}\n".encode())
        for split, x in drawn.items():
            digest.update(f"{split} {x.shape}\n".encode())
            digest.update(x.tobytes())
        self.data_hash = digest.hexdigest()
        self.sets = {
            split: PointSet(
                torch.as_tensor(x, dtype=dtype, device=device),
                torch.as_tensor(points.nearness(x, config.exponent), dtype=dtype, device=device),
            )
            for split, x in drawn.items()
        }
        self.train_size = len(self.sets["train"])
        self.width = config.points * network.encoder.m
        self._pairs = ~np.eye(config.points, dtype=bool)
        measured = drawn["test"][:MEASURED]
        self._pair_distance = points.distances(measured)[:, self._pairs].ravel()
        self._pair_target = points.nearness(measured, config.exponent)[:, self._pairs].ravel()
        self.variables = [
            Variable("energy", "draw", "energy U: full-batch mean |attention - target| in training", "L1"),
            Variable("train_error", "draw", "root mean square of attention - target in training"),
            Variable("val_energy", "draw", "full-batch mean |attention - target| in validation", "L1"),
            Variable("val_error", "draw", "root mean square of attention - target in validation"),
            Variable("test_energy", "snapshot", "full-batch mean |attention - target| in the test set", "L1"),
            Variable("test_error", "snapshot", "root mean square of attention - target in the test set"),
            Variable("pair_attention", "snapshot", f"attention between the points of {MEASURED} test structures",
                     dtype="float32", dims=("pair",), shape=self._pair_distance.shape),
        ]  # fmt: skip

    @classmethod
    def from_config(cls, config: Config, device: torch.device | str = "cpu") -> Points:
        assert isinstance(config.data, PointsConfig)
        m = config.model
        encoder = Encoder(m.blocks, m.heads, m.d, m.hidden, m.activation)
        return cls(config.data, Distance(config.data.dimension, encoder, m.head_size), device)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return self.network.initial(random)

    def _gradient(self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None) -> tuple[Tensor, Tensor]:
        energies, gradients = [], []
        chosen = self._everything("train", w) if indices is None else torch.as_tensor(indices, device=self.device)
        for batch in self._batches("train", chosen):
            self.check()
            a, pullback = self.network.forward(w, batch.x, drop)
            difference = a - batch.target
            energies.append(difference.abs().sum((1, 2, 3), dtype=torch.float64))
            gradients.append(pullback(difference.sign_()))
        pairs = chosen.shape[1] * self._pairs.size
        return sum(energies[1:], energies[0]) / pairs, sum(gradients[1:], gradients[0]).div_(pairs)

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and root mean square error (W,) on a split; sums in float64."""
        energy, square = self._sums_of_all(w, split) / (len(self.sets[split]) * self._pairs.size)
        return energy, np.sqrt(square)

    def _sums(self, w: Tensor, split: str) -> Tensor:
        """Sums of |Â - A| and (Â - A)² over a split, (2, W)."""
        sums = torch.zeros(2, len(w), dtype=torch.float64, device=w.device)
        for batch in self._batches(split, self._everything(split, w)):
            self.check()
            difference = self.network.forward(w, batch.x)[0].sub_(batch.target)
            sums[0] += difference.abs().sum((1, 2, 3), dtype=torch.float64)
            sums[1] += difference.square_().sum((1, 2, 3), dtype=torch.float64)
        return sums

    def _numbers(self, split: str) -> int:
        return len(self.sets[split]) * self.width

    def _everything(self, split: str, w: Tensor) -> Tensor:
        """Indices (W, N) of all structures of a split."""
        return torch.arange(len(self.sets[split]), device=w.device).expand(len(w), -1)

    def _batches(self, split: str, chosen: Tensor) -> Iterator[PointSet]:
        """The structures `chosen` (W, B), in batches that suit the device."""
        for part in chosen.split(self._at_a_time(len(chosen), self.width), 1):
            yield self.sets[split].batch(part)

    @torch.no_grad()
    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        x = self.sets["test"].x[:MEASURED]
        maps = torch.cat(
            [self.network.forward(w[some], x.expand(len(w[some]), *x.shape))[0] for some in self._together(w)]
        )
        pairs = maps.float().cpu().numpy()[:, :, self._pairs].reshape(len(w), -1)
        return {**super().snapshot_observables(w), "pair_attention": pairs}

    def constants(self) -> list[Constant]:
        """Distances of the pairs of `pair_attention`, and the attention to learn."""
        of = f"the points of {MEASURED} test structures"
        return [
            Constant("pair_distance", ("pair",), self._pair_distance, f"distance between {of}"),
            Constant("pair_target", ("pair",), self._pair_target, f"attention to learn between {of}"),
        ]
