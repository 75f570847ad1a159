"""Masked folding sequences: guess the masked residues of sequences that fold to one structure.

Source: docs/method/energy.md section 1.

U(w)   = mean over sequences of [ mean over masked sites i of -log softmax(z_i)[a_i] ]
err(w) = mean over sequences of [ fraction of masked sites with argmax(z_i) != a_i ]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi import models
from protmpi.config import Config
from protmpi.data import dataset
from protmpi.data.sections import FoldingConfig
from protmpi.models.batch import Batch as Inputs
from protmpi.models.batch import ChosenRows
from protmpi.models.layers import Dropout, one_hot
from protmpi.models.memory import keep_freed_memory
from protmpi.tasks.splits import SPLITS, Grouped
from protmpi.variables import Constant, Variable

MASK = 20
VOCABULARY = 21
GROUP = 8  # sequences padded to the same number of masked sites on a CPU; more pad more, fewer cost more calls
QUARTERS = 4  # walkers in one pass on a CPU; small groups need little padding
ATTENTION_SEQUENCES = 1_000  # test sequences that a mean attention map is averaged over
ATTENTION_CHUNK = 16  # test sequences in one pass


@dataclass(frozen=True)
class MaskedSequences:
    """Masked sequences of one split, fewest masked sites first.

    Sites are padded to the largest number S of masked sites. Padding is other sites of the sequence, with weight 0.
    """

    tokens: Tensor  # (N, L) residues with the mask token at masked sites
    sites: Tensor  # (N S,) masked sites
    targets: Tensor  # (N S,) the true residues at these sites
    weights: Tensor  # (N S,) 1 / number of masked sites of the sequence, 0 on padding
    count: np.ndarray  # (N,) masked sites, increasing

    @classmethod
    def of(
        cls, sequences: np.ndarray, masked: np.ndarray, device: torch.device | str, dtype: torch.dtype
    ) -> MaskedSequences:
        """The split from true residues (N, L) and masks (N, L)."""
        order = np.argsort(masked.sum(1), kind="stable")
        sequences, masked = sequences[order], masked[order]
        count = masked.sum(1, keepdims=True)
        sites = np.argsort(~masked, axis=1, kind="stable")[:, : count.max()]
        weights = np.where(np.arange(sites.shape[1]) < count, 1.0 / count, 0.0)
        targets = np.take_along_axis(sequences, sites, axis=1)
        tokens = np.where(masked, MASK, sequences)
        return cls(
            torch.as_tensor(tokens, dtype=torch.int64, device=device),
            torch.as_tensor(sites.ravel(), dtype=torch.int64, device=device),
            torch.as_tensor(targets.ravel(), dtype=torch.int64, device=device),
            torch.as_tensor(weights.ravel(), dtype=dtype, device=device),
            count[:, 0],
        )

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def batches(self, indices: np.ndarray, size: int, group: int) -> Iterator[Batch]:
        """The sequences `indices` (W, B), with repeats, up to `size` at a time in groups of up to `group`."""
        indices = np.sort(indices, axis=1)  # by number of masked sites, so that groups pad little
        for part in np.array_split(indices, -(-indices.shape[1] // size), axis=1):
            yield self._batch(part, group)

    def even_batches(self, indices: Tensor, size: int) -> Iterator[Batch]:
        """The same for indices on the device. Every sequence has as many rows, so shapes do not depend on indices."""
        most = len(self.sites) // len(self)
        rank = torch.arange(most, device=indices.device)
        for part in indices.split(size, 1):
            walkers, batch = part.shape
            entries = (part.unsqueeze(2) * most + rank).flatten()
            sequence = torch.arange(walkers * batch, device=indices.device)
            owner = sequence.unsqueeze(1).expand(-1, most).flatten()
            yield self._gathered(part.flatten(), entries, owner, walkers, ((batch, most),))

    def _batch(self, indices: np.ndarray, group: int) -> Batch:
        walkers, batch = indices.shape
        most = len(self.sites) // len(self)
        widest = self.count[indices.max(0)]  # count increases with the index
        starts = range(0, batch, group)
        groups = tuple((min(group, batch - start), int(widest[start : start + group].max())) for start in starts)
        width = np.concatenate([np.full(n, rows) for n, rows in groups])
        owner = np.repeat(np.arange(batch), width)
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(width) - width, width)

        def to_device(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x.ravel()).to(self.tokens.device)

        entries = to_device(indices[:, owner] * most + rank)
        owners = to_device(np.arange(walkers)[:, None] * batch + owner)
        return self._gathered(to_device(indices), entries, owners, walkers, groups)

    def _gathered(
        self, indices: Tensor, entries: Tensor, owner: Tensor, walkers: int, groups: tuple[tuple[int, int], ...]
    ) -> Batch:
        """The sequences `indices` (W B,) and the entries (W R,) of the tables of sites, with the sequence of each."""
        sites, targets, weights = (
            table.index_select(0, entries).view(walkers, -1) for table in (self.sites, self.targets, self.weights)
        )
        length = self.tokens.shape[1]
        tokens = self.tokens.index_select(0, indices).view(walkers, -1, length)
        return Batch(tokens, ChosenRows(groups, sites, owner, length), targets, weights)


@dataclass(frozen=True)
class Batch(Inputs):
    """Sequences for W walkers, and the R masked sites of each walker."""

    targets: Tensor  # (W, R)
    weights: Tensor  # (W, R), 0 on padding


class Folding(Grouped):
    """Masked sequences of one structure, learned by one network; W walkers of P parameters at once."""

    def __init__(self, data: dataset.FoldingData, network: models.Network, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        self.network, self.layout, self.device = network, network.layout, torch.device(device)
        keep_freed_memory()
        self.contact_map = data.contact_map
        self.data_hash = data.data_hash()
        self.sets = {
            split: MaskedSequences.of(
                data.sequences[data.split == code], data.masked[data.split == code], device, dtype
            )
            for code, split in enumerate(SPLITS)
        }
        self.train_size = len(self.sets["train"])
        self._whole: dict[tuple[str, int], list[Batch]] = {}
        length, blocks = data.sequences.shape[1], network.blocks
        self.variables = [
            Variable("energy", "draw", "full-batch training energy U", "nats"),
            Variable("train_error", "draw", "fraction of masked training sites guessed wrong"),
            Variable("val_energy", "draw", "full-batch validation energy", "nats"),
            Variable("val_error", "draw", "fraction of masked validation sites guessed wrong"),
            Variable("test_energy", "snapshot", "full-batch test energy", "nats"),
            Variable("test_error", "snapshot", "fraction of masked test sites guessed wrong"),
        ]
        if blocks:
            self.variables.append(
                Variable("attention", "snapshot", f"attention map, mean over {ATTENTION_SEQUENCES} test sequences",
                         dtype="float32", dims=("block", "site", "attended"), shape=(blocks, length, length))
            )  # fmt: skip

    @classmethod
    def from_config(cls, config: Config, device: torch.device | str = "cpu") -> Folding:
        assert isinstance(config.data, FoldingConfig)
        data = dataset.load(config.data.file)
        return cls(data, models.build(config.model, data.sequences.shape[1], VOCABULARY), device)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return self.network.initial(random)

    def _gradient(self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None) -> tuple[Tensor, Tensor]:
        energies, gradients = [], []
        batches = self._everything("train", len(w)) if indices is None else self._batches("train", indices)
        for batch in batches:
            self.check()
            logits, pullback = self.network.forward(w, batch, drop)
            energy, d_logits = _cross_entropy(logits, batch)
            energies.append(energy)
            gradients.append(pullback(d_logits))
        size = self.train_size if indices is None else indices.shape[1]
        return sum(energies[1:], energies[0]) / size, sum(gradients[1:], gradients[0]) / size

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,) on a split; sums over sequences in float64."""
        energy, error = self._sums_of_all(w, split) / len(self.sets[split])
        # weights that are not finite give no guess, but argmax of NaN would still return a residue
        return energy, np.where(np.isfinite(energy), error, np.nan)

    def _sums(self, w: Tensor, split: str) -> Tensor:
        """Sums of energies and errors over the sequences of a split, (2, W)."""
        sums = torch.zeros(2, len(w), dtype=torch.float64, device=w.device)
        for batch in self._everything(split, len(w)):
            self.check()
            logits, _ = self.network.forward(w, batch)
            sums[0] += _energies(torch.log_softmax(logits, -1), batch).sum(1, dtype=torch.float64)
            wrong = (logits.argmax(-1) != batch.targets) * batch.weights
            sums[1] += wrong.sum(1, dtype=torch.float64)
        return sums

    def _everything(self, split: str, walkers: int) -> list[Batch]:
        """All sequences of a split, in batches that suit the device. They are the same in every pass."""
        if (split, walkers) not in self._whole:
            indices = np.tile(np.arange(len(self.sets[split])), (walkers, 1))
            on_cpu = self.device.type == "cpu"
            if on_cpu and self.network.blocks < 2:  # nothing is multiplied sequence by sequence: rows need no padding
                found = self.sets[split].batches(indices, self._at_a_time(walkers, self.network.width), group=1)
            elif on_cpu and walkers > 1:
                found = self.sets[split].batches(indices, *([-(-indices.shape[1] // QUARTERS)] * 2))
            else:
                found = self._batches(split, indices)
            self._whole[split, walkers] = list(found)
        return self._whole[split, walkers]

    def _numbers(self, split: str) -> int:
        return len(self.sets[split]) * self.network.width

    def _batches(self, split: str, indices: np.ndarray | Tensor) -> Iterator[Batch]:
        """The sequences `indices` (W, B), in batches that suit the device."""
        size = self._at_a_time(len(indices), self.network.width)
        if isinstance(indices, Tensor):
            return self.sets[split].even_batches(indices, size)
        if self.device.type == "cuda":
            return self.sets[split].batches(indices, size, group=size)
        return self.sets[split].batches(indices, max(GROUP, size), GROUP)

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        observables = super().snapshot_observables(w)
        if self.network.blocks:
            observables["attention"] = self.mean_attention(w)
        return observables

    @torch.no_grad()
    def mean_attention(self, w: Tensor) -> np.ndarray:
        """Attention maps (W, blocks, L, L) averaged over test sequences, float32."""
        tokens = self.sets["test"].tokens
        # spread over the set, which is sorted by the number of masked sites
        chosen = torch.linspace(0, len(tokens) - 1, min(len(tokens), ATTENTION_SEQUENCES), device=w.device).long()
        means = torch.stack([self._mean_attention(w[some], tokens[chosen]) for some in self._together(w)])
        return means.flatten(0, 1).to(torch.float32).cpu().numpy()

    def _mean_attention(self, w: Tensor, tokens: Tensor) -> Tensor:
        parts = [
            self.network.attention(w, part.expand(len(w), -1, -1)).sum(1, dtype=torch.float64)
            for part in tokens.split(ATTENTION_CHUNK)
        ]
        return torch.stack(parts).sum(0) / len(tokens)

    def constants(self) -> list[Constant]:
        """The contact map, if the structure is known."""
        if self.contact_map is None:
            return []
        contacts = self.contact_map.astype("uint8")
        return [Constant("contact_map", ("site", "attended"), contacts, "heavy-atom contacts of the native structure")]


def _energies(log_probabilities: Tensor, batch: Batch) -> Tensor:
    """Weighted energies of the rows (W, R)."""
    return log_probabilities.gather(-1, batch.targets[..., None]).squeeze(-1).mul_(batch.weights).neg_()


def _cross_entropy(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Energy (W,), float64, summed over the rows, and its derivative by the logits (W, R, V)."""
    log_probabilities = torch.log_softmax(logits, -1)
    energies = _energies(log_probabilities, batch).sum(1, dtype=torch.float64)
    d_logits = log_probabilities.exp_().sub_(one_hot(batch.targets, logits.shape[-1], logits.dtype))
    return energies, d_logits.mul_(batch.weights[..., None])
