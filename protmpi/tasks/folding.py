"""Masked folding sequences: guess the masked residues of sequences that fold to one structure (METHOD section 1).

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
from protmpi.models.batch import Batch as Inputs
from protmpi.models.batch import Rows
from protmpi.models.layers import Dropout
from protmpi.store.schema import Constant, Variable

MASK = 20
VOCABULARY = 21
SPLITS = ("train", "val", "test")
CACHE = 400_000  # numbers in the widest array of a pass on a CPU, one walker at a time: its arrays fit the caches
MEMORY = 2**26  # the same on a GPU, all walkers together: a pass holds about 20 arrays of this size
GROUP = 16  # sequences padded to the same number of masked sites on a CPU; more pad more, fewer cost more calls
ATTENTION_SEQUENCES = 1_000  # test sequences that a mean attention map is averaged over


@dataclass(frozen=True)
class MaskedSequences:
    """Masked sequences of one split, fewest masked sites first.

    Sites are padded to the largest number S of masked sites with other sites of the sequence, of weight 0.
    """

    tokens: Tensor  # (N, L) residues with the mask token at masked sites
    sites: Tensor  # (N S,) masked sites
    targets: Tensor  # (N S,) the true residues there
    weights: Tensor  # (N S,) 1 / number of masked sites of the sequence, 0 on padding
    count: np.ndarray  # (N,) masked sites, increasing

    @classmethod
    def of(
        cls, sequences: np.ndarray, masked: np.ndarray, device: torch.device | str, dtype: torch.dtype
    ) -> MaskedSequences:
        """From true residues (N, L) and masks (N, L)."""
        order = np.argsort(masked.sum(1), kind="stable")
        sequences, masked = sequences[order], masked[order]
        count = masked.sum(1, keepdims=True)
        sites = np.argsort(~masked, axis=1, kind="stable")[:, : count.max()]
        weights = np.where(np.arange(sites.shape[1]) < count, 1.0 / count, 0.0)
        targets = np.take_along_axis(sequences, sites, axis=1)
        tokens = np.where(masked, MASK, sequences)
        integers = (torch.as_tensor(x, dtype=torch.int64, device=device) for x in (tokens, sites, targets))
        tokens_, sites_, targets_ = integers
        return cls(
            tokens_,
            sites_.flatten(),
            targets_.flatten(),
            torch.as_tensor(weights, dtype=dtype, device=device).flatten(),
            count[:, 0],
        )

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def batches(self, indices: np.ndarray, size: int, group: int) -> Iterator[Batch]:
        """The sequences `indices` (W, B), repeats kept, `size` at a time in groups of up to `group`."""
        indices = np.sort(indices, axis=1)  # by number of masked sites, so that groups pad little
        for start in range(0, indices.shape[1], size):
            yield self._batch(indices[:, start : start + size], group)

    def _batch(self, indices: np.ndarray, group: int) -> Batch:
        walkers, batch = indices.shape
        length, most = self.tokens.shape[1], len(self.sites) // len(self)
        starts = range(0, batch, group)
        groups = tuple((min(group, batch - a), int(self.count[indices[:, a : a + group]].max())) for a in starts)
        width = np.concatenate([np.full(n, s) for n, s in groups])
        first = np.cumsum(width) - width
        sequence = np.repeat(np.arange(batch), width)
        slot = np.arange(len(sequence)) - first[sequence]
        device = self.tokens.device
        entries = torch.from_numpy(indices[:, sequence] * most + slot).to(device)
        sites = self.sites[entries]
        place = np.arange(walkers)[:, None] * batch + sequence
        index = torch.from_numpy(place * length).to(device).add_(sites).flatten()
        tokens = self.tokens[torch.from_numpy(indices).to(device)]
        return Batch(tokens, Rows(groups, sites, index), self.targets[entries], self.weights[entries])


@dataclass(frozen=True)
class Batch(Inputs):
    """Sequences for W walkers, and the R masked sites of each walker."""

    targets: Tensor  # (W, R)
    weights: Tensor  # (W, R), 0 on padding


class Folding:
    """Masked sequences of one structure, learned by one network; W walkers of P parameters at once."""

    def __init__(self, data: dataset.FoldingData, network: models.Network, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        self.network, self.layout, self.dtype = network, network.layout, dtype
        self.contact_map = data.contact_map
        self.data_hash = data.data_hash()
        self.sets = {
            split: MaskedSequences.of(
                data.sequences[data.split == code], data.masked[data.split == code], device, dtype
            )
            for code, split in enumerate(SPLITS)
        }
        self.train_size = len(self.sets["train"])
        length, blocks = data.sequences.shape[1], network.blocks
        self.variables = [
            Variable("energy", "draw", "full-batch training energy U", "nats"),
            Variable("train_error", "draw", "share of masked training sites guessed wrong"),
            Variable("val_energy", "draw", "full-batch validation energy", "nats"),
            Variable("val_error", "draw", "share of masked validation sites guessed wrong"),
            Variable("test_energy", "snapshot", "full-batch test energy", "nats"),
            Variable("test_error", "snapshot", "share of masked test sites guessed wrong"),
        ]
        if blocks:
            self.variables.append(
                Variable("attention", "snapshot", f"attention map, mean over {ATTENTION_SEQUENCES} test sequences",
                         dtype="float32", dims=("block", "site", "attended"), shape=(blocks, length, length))
            )  # fmt: skip

    @classmethod
    def from_config(cls, config: Config, device: torch.device | str = "cpu") -> Folding:
        data = dataset.load(config.data.file)
        return cls(data, models.build(config.model, data.sequences.shape[1], VOCABULARY), device)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return self.network.initial(random)

    @torch.no_grad()
    def gradient(self, w: Tensor, indices: np.ndarray, drop: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """Mini-batch energies (W,) and gradients (W, P) on the training sequences `indices` (W, B)."""
        parts = [self._gradient(w[chunk], indices[chunk], drop) for chunk in self._walkers(w)]
        energies, gradients = zip(*parts, strict=True)
        return torch.cat(energies), torch.cat(gradients)

    def _gradient(self, w: Tensor, indices: np.ndarray, drop: Dropout | None) -> tuple[Tensor, Tensor]:
        energies, gradient = 0, 0
        for batch in self._batches("train", indices):
            logits, backward = self.network.forward(w, batch, drop)
            energy, d_logits = _cross_entropy(logits, batch)
            gradient += backward(d_logits.div_(indices.shape[1]))
            energies += energy / indices.shape[1]
        return energies, gradient

    @torch.no_grad()
    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,) on a split; sums over sequences in float64."""
        parts = [self._evaluate(w[chunk], split) for chunk in self._walkers(w)]
        energy, error = torch.cat(parts, dim=1).cpu().numpy() / len(self.sets[split])
        # a network whose weights are not finite guesses nothing: argmax of NaN would still name a residue
        return energy, np.where(np.isfinite(energy), error, np.nan)

    def _evaluate(self, w: Tensor, split: str) -> Tensor:
        """Sums of energies and errors over the sequences of a split, (2, W)."""
        sums = torch.zeros(2, len(w), dtype=torch.float64, device=w.device)
        everything = np.tile(np.arange(len(self.sets[split])), (len(w), 1))
        for batch in self._batches(split, everything):
            logits, _ = self.network.forward(w, batch)
            sums[0] += _energies(torch.log_softmax(logits, -1), batch).sum(1, dtype=torch.float64)
            wrong = (logits.argmax(-1) != batch.targets) * batch.weights
            sums[1] += wrong.sum(1, dtype=torch.float64)
        return sums

    def _walkers(self, w: Tensor) -> list[slice]:
        """Walkers that go through the network together."""
        size = 1 if w.device.type == "cpu" else max(1, MEMORY // (64 * self.network.width))
        return [slice(start, start + size) for start in range(0, len(w), size)]

    def _batches(self, split: str, indices: np.ndarray) -> Iterator[Batch]:
        cpu = self.sets[split].tokens.device.type == "cpu"
        size = max(GROUP, CACHE // self.network.width) if cpu else max(1, MEMORY // (len(indices) * self.network.width))
        return self.sets[split].batches(indices, size, GROUP if cpu else size)

    def draw_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        energy, train_error = self.evaluate(w, "train")
        val_energy, val_error = self.evaluate(w, "val")
        return {"energy": energy, "train_error": train_error, "val_energy": val_energy, "val_error": val_error}

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        test_energy, test_error = self.evaluate(w, "test")
        observables = {"test_energy": test_energy, "test_error": test_error}
        if self.network.blocks:
            observables["attention"] = self.mean_attention(w)
        return observables

    @torch.no_grad()
    def mean_attention(self, w: Tensor) -> np.ndarray:
        """Attention maps (W, blocks, L, L) averaged over the first test sequences, float32."""
        tokens = self.sets["test"].tokens
        # spread over the set, which is sorted by the number of masked sites
        chosen = torch.linspace(0, len(tokens) - 1, min(len(tokens), ATTENTION_SEQUENCES), device=w.device).long()
        parts = [
            self.network.attention(w, tokens[rows].expand(w.shape[0], -1, -1)).sum(1, dtype=torch.float64)
            for rows in chosen.split(64)
        ]
        return (torch.stack(parts).sum(0) / len(chosen)).to(torch.float32).cpu().numpy()

    def constants(self) -> list[Constant]:
        """The contact map, where the structure is known."""
        if self.contact_map is None:
            return []
        contacts = self.contact_map.astype("uint8")
        return [Constant("contact_map", ("site", "attended"), contacts, "heavy-atom contacts of the native structure")]


def _energies(log_probabilities: Tensor, batch: Batch) -> Tensor:
    """Weighted energies of the rows (W, R)."""
    return log_probabilities.gather(-1, batch.targets[..., None]).squeeze(-1).mul_(batch.weights).neg_()


def _cross_entropy(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Energy (W,), summed over the rows, and its derivative by the logits (W, R, V)."""
    log_probabilities = torch.log_softmax(logits, -1)
    energies = _energies(log_probabilities, batch).sum(1)
    d_logits = log_probabilities.exp_()
    targets = batch.targets[..., None]
    d_logits.scatter_add_(-1, targets, torch.full_like(targets, -1, dtype=logits.dtype))
    return energies, d_logits.mul_(batch.weights[..., None])
