"""Masked residues of protein chains, guessed from the other residues and, if visible, the positions of the Cα.

U(w)   = mean over chains of [ mean over chosen sites i of -log softmax(z_i)[a_i] ]
err(w) = mean over chains of [ fraction of chosen sites with argmax(z_i) != a_i ]

(Ellmen, Schneider, Raybould and Deane, TMLR 2025.) For evaluation and sampling, the chosen sites and the tokens shown
there are fixed. Training may choose them again each time and rotate each chain at random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from protmpi.config import Config
from protmpi.data import chains as chain_files
from protmpi.data.alphabet import AMINO_ACIDS
from protmpi.data.sections import StructuresConfig
from protmpi.models.chain_encoder import ChainEncoder, Chains
from protmpi.models.encoder import Encoder
from protmpi.models.layers import Dropout, one_hot
from protmpi.models.memory import keep_freed_memory
from protmpi.tasks.chain_set import Batch, ChainSet, Fits
from protmpi.tasks.splits import CACHE, MEMORY, SPLITS, Splits
from protmpi.variables import Constant, Variable

ACIDS = len(AMINO_ACIDS)
PROFILE_CHAINS = 100  # test chains over which attention against distance is averaged
DISTANCE = np.arange(2.5, 42.0)  # Å: middles of bins of 1 Å; neighbours along the chain are 3.8 Å apart


class Structures(Splits):
    """Masked residues of chains, learned by one encoder with or without coordinates."""

    on_device = False  # chains are cut and padded on the host
    augments = True

    def __init__(self, data: chain_files.ChainData, network: ChainEncoder, config: StructuresConfig,
                 device: torch.device | str = "cpu") -> None:  # fmt: skip
        self.network, self.layout, self.device = network, network.layout, torch.device(device)
        self.config = config
        keep_freed_memory()
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(len(SPLITS))]
        self.sets = {
            split: ChainSet.of(data, code, config.mask_probability, stream)
            for code, (split, stream) in enumerate(zip(SPLITS, streams, strict=True))
        }
        seen = f"{config.coordinates} {config.mask_probability} {config.seed}"
        self.data_hash = hashlib.sha256(f"{data.data_hash()} {seen}".encode()).hexdigest()
        self.train_size = len(self.sets["train"])
        encoder = network.encoder
        self.fits = Fits(MEMORY if self.device.type == "cuda" else CACHE, encoder.m, encoder.heads)
        profile = (encoder.blocks, encoder.heads, len(DISTANCE))
        self.variables = [
            Variable("energy", "draw", "full-batch training energy U", "nats"),
            Variable("train_error", "draw", "fraction of chosen training sites guessed wrong"),
            Variable("val_energy", "draw", "full-batch validation energy", "nats"),
            Variable("val_error", "draw", "fraction of chosen validation sites guessed wrong"),
            Variable("test_energy", "snapshot", "full-batch test energy", "nats"),
            Variable("test_error", "snapshot", "fraction of chosen test sites guessed wrong"),
            Variable("residue_energy", "snapshot", "mean of -log p over test sites of each amino acid", "nats",
                     dims=("amino_acid",), shape=(ACIDS,)),
            Variable("residue_recovery", "snapshot", "fraction of test sites of each amino acid guessed right",
                     dims=("amino_acid",), shape=(ACIDS,)),
            Variable("attention_profile", "snapshot", "attention times length at a Cα distance; 1: even attention",
                     dims=("block", "head", "distance_bin"), shape=profile),
        ]  # fmt: skip

    @classmethod
    def from_config(cls, config: Config, device: torch.device | str = "cpu") -> Structures:
        assert isinstance(config.data, StructuresConfig)
        data, model = chain_files.load(config.data.file), config.model
        encoder = Encoder(model.blocks, model.heads, model.d, model.hidden, model.activation)
        network = ChainEncoder(ACIDS + 1, int(data.lengths.max()), encoder, config.data.coordinates)
        return cls(data, network, config.data, device)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return self.network.initial(random)

    @torch.no_grad()
    def gradient(
        self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) on the training chains `indices` (W, B), on all if None."""
        if indices is None:
            indices = np.tile(np.arange(self.train_size), (len(w), 1))
        energies, gradients = torch.zeros(len(w), dtype=torch.float64, device=w.device), torch.zeros_like(w)
        for i, chains in enumerate(indices):
            one, chosen = w[i : i + 1], self.sets["train"].take(chains)
            if drop and self.config.augment:
                chosen = chosen.anew(self.config.mask_probability, _stream(drop))
            for _, batch in chosen.batches(self.fits, self.device):
                self.check()
                logits, pullback = self.network.forward(one, batch.chains, batch.rows, drop)
                log_probabilities = torch.log_softmax(logits, -1)
                energies[i] += _energies(log_probabilities, batch).sum()
                d_logits = log_probabilities.exp_().sub_(one_hot(batch.targets, ACIDS + 1, logits.dtype))
                gradients[i] += pullback(d_logits.mul_(batch.weights[..., None]))[0]
        size = indices.shape[1]
        return energies / size, gradients / size

    @torch.no_grad()
    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,) on a split; sums over chains in float64."""
        sums = torch.zeros(2, len(w), dtype=torch.float64, device=w.device)
        for i, batch, logits in self._passes(w, split):
            sums[0, i] += _energies(torch.log_softmax(logits, -1), batch).sum()
            sums[1, i] += ((logits.argmax(-1) != batch.targets) * batch.weights).sum(dtype=torch.float64)
        energy, error = sums.cpu().numpy() / len(self.sets[split])
        # weights that are not finite give no guess, but argmax of NaN would still return a residue
        return energy, np.where(np.isfinite(energy), error, np.nan)

    @torch.no_grad()
    def by_residue(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums of -log p and of right guesses over the chosen sites of each amino acid (W, 20); their number (20,)."""
        sums = torch.zeros(2, len(w), ACIDS, dtype=torch.float64, device=w.device)
        for i, batch, logits in self._passes(w, split):
            energies = -torch.log_softmax(logits, -1).gather(-1, batch.targets[..., None])[..., 0]
            by_acid = one_hot(batch.targets, ACIDS, torch.float64)[0]
            sums[0, i] += energies[0].double() @ by_acid
            sums[1, i] += (logits.argmax(-1) == batch.targets)[0].double() @ by_acid
        energy, right = sums.cpu().numpy()
        return energy, right, self._sites_by_residue(split)

    def _sites_by_residue(self, split: str) -> np.ndarray:
        found = self.sets[split]
        return np.bincount(found.tokens[found.chosen], minlength=ACIDS)

    def _passes(self, w: Tensor, split: str) -> Iterator[tuple[int, Batch, Tensor]]:
        """(walker, batch, logits) over a whole split."""
        for _, batch in self.sets[split].batches(self.fits, self.device):
            for i in range(len(w)):
                self.check()
                logits, _ = self.network.forward(w[i : i + 1], batch.chains, batch.rows)
                yield i, batch, logits

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        energy, right, count = self.by_residue(w, "test")
        with np.errstate(invalid="ignore"):  # an amino acid without a chosen site
            residues = {"residue_energy": energy / count, "residue_recovery": right / count}
        return {**super().snapshot_observables(w), **residues, "attention_profile": self.attention_profile(w)}

    @torch.no_grad()
    def attention_profile(self, w: Tensor) -> np.ndarray:
        """Attention times length (W, blocks, heads, bins), mean over the pairs of sites at a distance in each bin."""
        encoder = self.network.encoder
        sums = np.zeros((len(w), encoder.blocks, encoder.heads, len(DISTANCE)))
        for batch, pairs, bins in self._profile_pairs():
            for i in range(len(w)):
                self.check()
                maps = self.network.attention(w[i : i + 1], batch.chains)[0, 0].cpu().numpy()
                for block, head in np.ndindex(maps.shape[:2]):
                    found = np.bincount(bins, maps[block, head][pairs], len(DISTANCE))
                    sums[i, block, head] += found * maps.shape[-1]
        with np.errstate(invalid="ignore"):  # no pair at this distance
            return np.asarray(sums / self._pair_counts())

    def _pair_counts(self) -> np.ndarray:
        return np.asarray(sum(np.bincount(bins, minlength=len(DISTANCE)) for _, _, bins in self._profile_pairs()))

    def _profile_pairs(self) -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
        """Test chains spread over the set: each chain, its pairs of sites (L, L) that count, and their bins."""
        found = self.sets["test"].intact()
        for n in np.linspace(0, len(found) - 1, min(len(found), PROFILE_CHAINS)).astype(int):
            ((_, batch),) = found.take(np.array([n])).batches(self.fits, self.device)
            pairs, bins = _distance_bins(batch.chains)
            yield batch, pairs, bins

    def constants(self) -> list[Constant]:
        """Distances and numbers of pairs of the attention profile."""
        return [
            Constant("profile_distance", ("distance_bin",), DISTANCE, "Cα distance in the middle of the bin", "Å"),
            Constant("residue_sites", ("amino_acid",), self._sites_by_residue("test"), "test sites by amino acid"),
            Constant("profile_pairs", ("distance_bin",), self._pair_counts(), "pairs of test sites in the bin"),
        ]


def _distance_bins(chains: Chains) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of different sites (L, L) of a chain whose distance lies in a bin, and the bins of these pairs."""
    x, missing = chains.geometry[0, 0, :, :3].double().cpu().numpy(), chains.geometry[0, 0, :, 3].cpu().numpy() > 0
    width = DISTANCE[1] - DISTANCE[0]
    bins = np.floor((np.linalg.norm(x[:, None] - x, axis=-1) - DISTANCE[0]) / width + 0.5).astype(int)
    pairs = (bins >= 0) & (bins < len(DISTANCE)) & ~missing & ~missing[:, None] & ~np.eye(len(x), dtype=bool)
    return pairs, bins[pairs]


def _energies(log_probabilities: Tensor, batch: Batch) -> Tensor:
    """Weighted energies of the rows (1, R), float64."""
    return -log_probabilities.gather(-1, batch.targets[..., None])[..., 0].double() * batch.weights


def _stream(drop: Dropout) -> np.random.Generator:
    """The random stream of one gradient for everything except dropout."""
    seed = torch.randint(2**62, (1,), generator=drop.generator, device=drop.generator.device)
    return np.random.default_rng(int(seed))
