"""K-spin: find which of K random reference vectors a noisy copy comes from.

Source: docs/method/data.md section 4.

A sample is a vector x of d spins ±1 of class k: the reference vector of the class with each spin flipped with
probability p. U is the mean cross-entropy of the classes, err the fraction of wrong ones. This is the validation
problem of the unconstrained sampler: with the regulariser lamda/2 |w|² the norm finds its own equilibrium.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi.config import Config
from protmpi.data.sections import KSpinConfig
from protmpi.models.feedforward import Feedforward
from protmpi.models.layers import Dropout, one_hot
from protmpi.models.memory import keep_freed_memory
from protmpi.tasks.splits import SPLITS, Splits
from protmpi.variables import Constant, Variable

CHUNK = 4_096  # vectors in one pass on a CPU: the arrays of a chunk fit the caches


@dataclass(frozen=True)
class Spins:
    """Spin vectors of one split: x (N, d) of ±1, classes (N,)."""

    x: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.x)


def draw(config: KSpinConfig) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Spins (N, d), int8, and classes (N,) of every split; classes are drawn uniformly."""
    return _published(config) if config.recipe == "published" else _own(config)


def _own(config: KSpinConfig) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """References and splits from separate streams, so that the size of one split does not change another."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(1 + len(SPLITS))]
    references = streams[0].choice(np.array([-1, 1], dtype=np.int8), (config.classes, config.spins))
    drawn = {}
    for split, stream in zip(SPLITS, streams[1:], strict=True):
        count = getattr(config, split)
        classes = stream.integers(config.classes, size=count)
        flipped = stream.random((count, config.spins), dtype=np.float32) < config.flip
        drawn[split] = np.where(flipped, -references[classes], references[classes]), classes
    return drawn


def _published(config: KSpinConfig) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The set of Zambon, Caruso, Zecchina and Tiana (arXiv 2603.15367), by torch's generator on the CPU.

    Seeded with `seed` it gives the references, then classes and flips of the training set. Validation and test set have
    the same references. Seeded with `seed` + 1 and `seed` + 2 the generator gives their classes and flips directly,
    without drawing references first, as in the code of the study.
    """
    references, drawn = None, {}
    for nth, split in enumerate(SPLITS):
        random, count = torch.Generator().manual_seed(config.seed + nth), getattr(config, split)
        if references is None:
            references = 2 * torch.randint(2, (config.classes, config.spins), generator=random) - 1
        classes = torch.randint(config.classes, (count,), generator=random)
        flipped = torch.rand(count, config.spins, generator=random, dtype=torch.float32) <= config.flip
        spins = torch.where(flipped, -references[classes], references[classes])
        drawn[split] = spins.to(torch.int8).numpy(), classes.numpy()
    return drawn


class KSpin(Splits):
    """The K-spin problem of `config`, learned by one feed-forward network."""

    def __init__(self, config: KSpinConfig, network: Feedforward, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        self.network, self.layout, self.device = network, network.layout, torch.device(device)
        keep_freed_memory()
        drawn, digest = draw(config), hashlib.sha256()
        for split, arrays in drawn.items():
            digest.update(split.encode())
            for array in arrays:
                digest.update(np.ascontiguousarray(array, dtype=np.int8).tobytes())
        self.data_hash = digest.hexdigest()
        self.sets = {
            split: Spins(torch.as_tensor(x, dtype=dtype, device=device), torch.as_tensor(classes, device=device))
            for split, (x, classes) in drawn.items()
        }
        self.train_size = len(self.sets["train"])
        self.variables = [
            Variable("energy", "draw", "energy U: full-batch training cost plus the regulariser, if there is one",
                     "nats"),
            Variable("train_error", "draw", "fraction of training vectors in the wrong class"),
            Variable("val_energy", "draw", "full-batch validation cost", "nats"),
            Variable("val_error", "draw", "fraction of validation vectors in the wrong class"),
            Variable("test_energy", "snapshot", "full-batch test cost", "nats"),
            Variable("test_error", "snapshot", "fraction of test vectors in the wrong class"),
        ]  # fmt: skip

    @classmethod
    def from_config(cls, config: Config, device: torch.device | str = "cpu") -> KSpin:
        assert isinstance(config.data, KSpinConfig)
        return cls(config.data, Feedforward(config.data.spins, config.model.layers, config.data.classes), device)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return self.network.initial(random)

    @torch.no_grad()
    def gradient(
        self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) on the training vectors `indices` (W, B), on all if None."""
        batch = self.train_size if indices is None else indices.shape[1]
        energies, gradients = [], []
        for x, classes in self._batches(len(w), indices):
            self.check()
            logits, pullback = self.network.forward(w, x, drop)
            log_probabilities = torch.log_softmax(logits, -1)
            energies.append(_energies(log_probabilities, classes))
            d_logits = log_probabilities.exp_().sub_(one_hot(classes, logits.shape[-1], logits.dtype))
            gradients.append(pullback(d_logits.div_(batch)))
        return torch.stack(energies).sum(0) / batch, torch.stack(gradients).sum(0)

    def _batches(self, walkers: int, indices: np.ndarray | Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Training vectors (W, n, d) and classes (W, n), in batches that suit the device."""
        data, size = self.sets["train"], self._vectors(walkers)
        if indices is None:
            for x, classes in zip(data.x.split(size), data.classes.split(size), strict=True):
                yield x.expand(walkers, -1, -1), classes.expand(walkers, -1)
            return
        for chosen in torch.as_tensor(indices, device=self.device).split(size, 1):
            yield data.x.index_select(0, chosen.flatten()).view(*chosen.shape, -1), data.classes[chosen]

    @torch.no_grad()
    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch cost and error (W,) on a split; sums over vectors in float64."""
        data = self.sets[split]
        sums = torch.zeros(2, len(w), dtype=torch.float64, device=w.device)
        size = self._vectors(len(w))
        for x, classes in zip(data.x.split(size), data.classes.split(size), strict=True):
            self.check()
            logits, _ = self.network.forward(w, x.expand(len(w), -1, -1))
            together = classes.expand(len(w), -1)
            sums[0] += _energies(torch.log_softmax(logits, -1), together)
            sums[1] += (logits.argmax(-1) != together).sum(1)
        energy, error = sums.cpu().numpy() / len(data)
        # weights that are not finite give no guess, but argmax of NaN would still return a class
        return energy, np.where(np.isfinite(energy), error, np.nan)

    def _vectors(self, walkers: int) -> int:
        """Number of vectors in one pass through the network."""
        return self._at_a_time(walkers, max(self.network.sizes)) if self.device.type == "cuda" else CHUNK

    def constants(self) -> list[Constant]:
        return []


def _energies(log_probabilities: Tensor, classes: Tensor) -> Tensor:
    """Sums (W,), float64, of the cross-entropies of rows (W, B, K)."""
    return -log_probabilities.gather(-1, classes[..., None]).sum((1, 2), dtype=torch.float64)
