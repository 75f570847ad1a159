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
from protmpi.models.layers import Dropout, no_dropout
from protmpi.store.schema import Constant, Variable

MASK = 20
VOCABULARY = 21
SPLITS = ("train", "val", "test")
CHUNK = 250  # sequences per forward pass of a full-batch evaluation: fits the cache of a core and any GPU
ATTENTION_SEQUENCES = 1_000  # test sequences that a mean attention map is averaged over


@dataclass(frozen=True)
class MaskedSequences:
    """Masked sequences of one split. Sites are padded to the largest number S of masked sites, with weight 0."""

    tokens: Tensor  # (N, L) residues with the mask token at masked sites
    sites: Tensor  # (N, S) masked sites
    targets: Tensor  # (N, S) the true residues there
    weights: Tensor  # (N, S) 1 / number of masked sites of the sequence, 0 on padding
    count: np.ndarray  # (N,) masked sites, increasing

    @classmethod
    def of(
        cls, sequences: np.ndarray, masked: np.ndarray, device: torch.device | str, dtype: torch.dtype
    ) -> MaskedSequences:
        """From true residues (N, L) and masks (N, L), fewest masked sites first so that chunks pad little."""
        order = np.argsort(masked.sum(1), kind="stable")
        sequences, masked = sequences[order], masked[order]
        count = masked.sum(1, keepdims=True)
        sites = np.argsort(~masked, axis=1, kind="stable")[:, : count.max()]
        padding = np.arange(sites.shape[1]) >= count
        tokens = np.where(masked, MASK, sequences)
        targets = np.where(padding, 0, np.take_along_axis(sequences, sites, axis=1))
        return cls(
            torch.as_tensor(tokens, dtype=torch.int64, device=device),
            torch.as_tensor(np.where(padding, 0, sites), dtype=torch.int64, device=device),
            torch.as_tensor(targets, dtype=torch.int64, device=device),
            torch.as_tensor(np.where(padding, 0.0, 1.0 / count), dtype=dtype, device=device),
            count[:, 0],
        )

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def batch(self, indices: np.ndarray) -> Batch:
        """The sequences `indices` (W, B), one mini-batch per walker, repeats kept."""
        count = self.count[indices]
        valid = np.arange(count.max()) < count[..., None]
        totals = count.sum(1)
        rows = np.zeros((len(indices), totals.max()), dtype=np.int64)
        for row, mask, total in zip(rows, valid, totals, strict=True):
            row[:total] = np.flatnonzero(mask)
            row[total:] = np.flatnonzero(~mask)[: len(row) - total]  # weight 0
        device = self.tokens.device
        chosen, kept = torch.from_numpy(indices).to(device), torch.from_numpy(rows).to(device)

        def at_rows(x: Tensor) -> Tensor:
            return torch.gather(x[:, : valid.shape[2]][chosen].flatten(1), 1, kept)

        sites = self.sites[:, : valid.shape[2]][chosen]
        return Batch(self.tokens[chosen], sites, kept, at_rows(self.targets), at_rows(self.weights))

    def chunks(self, walkers: int) -> Iterator[Batch]:
        """All sequences in chunks, the same for each of `walkers` walkers."""
        for start in range(0, len(self), CHUNK):
            yield self.batch(np.tile(np.arange(start, min(start + CHUNK, len(self))), (walkers, 1)))


@dataclass(frozen=True)
class Batch:
    """Sequences for W walkers, and the R masked sites of each walker as rows: the loss reads these alone."""

    tokens: Tensor  # (W, B, L)
    sites: Tensor  # (W, B, S) masked sites, padded
    rows: Tensor  # (W, R) entries of the flattened sites (W, B S): no padding, but up to the widest walker
    targets: Tensor  # (W, R)
    weights: Tensor  # (W, R)


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
            Variable("energy", "draw", "full-batch training energy U", "nat"),
            Variable("train_error", "draw", "share of masked training sites guessed wrong"),
            Variable("val_energy", "draw", "full-batch validation energy", "nat"),
            Variable("val_error", "draw", "share of masked validation sites guessed wrong"),
            Variable("test_energy", "snapshot", "full-batch test energy", "nat"),
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

    def gradient(self, w: Tensor, indices: np.ndarray, drop: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """Mini-batch energies (W,) and gradients (W, P) on the training sequences `indices` (W, B)."""
        leaves = {name: part.detach().requires_grad_() for name, part in self.layout.split(w).items()}
        batch = self.sets["train"].batch(indices)
        with torch.enable_grad():
            logits = self.network.logits(leaves, batch.tokens, batch.sites, batch.rows, drop or no_dropout)
            energies = _cross_entropy(logits, batch).sum(1) / indices.shape[1]
            gradients = torch.autograd.grad(energies.sum(), list(leaves.values()))
        return energies.detach(), torch.cat([g.flatten(1) for g in gradients], dim=1)

    @torch.no_grad()
    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,) on a split; sums over sequences in float64."""
        parameters = self.layout.split(w)
        energy = torch.zeros(w.shape[0], dtype=torch.float64, device=w.device)
        error = torch.zeros_like(energy)
        for batch in self.sets[split].chunks(w.shape[0]):
            logits = self.network.logits(parameters, batch.tokens, batch.sites, batch.rows, no_dropout)
            wrong = (logits.argmax(-1) != batch.targets) * batch.weights
            energy += _cross_entropy(logits, batch).sum(1, dtype=torch.float64)
            error += wrong.sum(1, dtype=torch.float64)
        size = len(self.sets[split])
        # a network whose weights are not finite guesses nothing: argmax of NaN would still name a residue
        error = torch.where(torch.isfinite(energy), error, torch.nan)
        return (energy / size).cpu().numpy(), (error / size).cpu().numpy()

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
        parameters = self.layout.split(w)
        tokens = self.sets["test"].tokens
        # spread over the set, which is sorted by the number of masked sites
        chosen = torch.linspace(0, len(tokens) - 1, min(len(tokens), ATTENTION_SEQUENCES), device=w.device).long()
        parts = [
            self.network.attention(parameters, tokens[rows].expand(w.shape[0], -1, -1)).sum(1, dtype=torch.float64)
            for rows in chosen.split(CHUNK)
        ]
        return (torch.stack(parts).sum(0) / len(chosen)).to(torch.float32).cpu().numpy()

    def constants(self) -> list[Constant]:
        """The contact map, where the structure is known."""
        if self.contact_map is None:
            return []
        contacts = self.contact_map.astype("uint8")
        return [Constant("contact_map", ("site", "attended"), contacts, "heavy-atom contacts of the native structure")]


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Weighted energies of the rows (W, R)."""
    log_probability = torch.log_softmax(logits, dim=-1)
    return -torch.gather(log_probability, -1, batch.targets[..., None]).squeeze(-1) * batch.weights
