"""Chains of one split as a network sees them, in padded batches of similar length, fixed or drawn at random again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from protmpi.data.alphabet import MASK
from protmpi.data.chains import ChainData
from protmpi.data.corruption import corrupt
from protmpi.models.chain_encoder import Chains


@dataclass(frozen=True)
class Batch:
    """B chains of one walker, and their R chosen sites."""

    chains: Chains
    rows: Tensor
    """(R,) places of the chosen sites in (B L)."""

    targets: Tensor
    """(1, R) the true residues at the chosen sites."""

    weights: Tensor
    """(1, R) 1 / number of chosen sites of the chain."""


@dataclass(frozen=True)
class ChainSet:
    """N chains, their S sites side by side."""

    names: tuple[str, ...]
    lengths: np.ndarray
    """(N,) sites."""

    tokens: np.ndarray
    """(S,) true residues, 20 where unknown."""

    geometry: np.ndarray
    """(S, 4) x, y, z of the Cα in Å and 1 where it is missing, float32."""

    chosen: np.ndarray
    """(S,) the sites to guess."""

    shown: np.ndarray
    """(S,) the tokens that the network sees."""

    @classmethod
    def of(cls, data: ChainData, split: int, probability: float, random: np.random.Generator) -> ChainSet:
        """The chains of a split. Each known site is chosen with `probability`."""
        mine = np.nonzero(data.split == split)[0]
        sites = np.repeat(data.split == split, data.lengths)
        missing = data.missing[sites].astype(np.float32)[:, None]
        lengths, tokens = data.lengths[mine], data.tokens[sites]
        chosen, shown = corrupt(tokens, np.repeat(np.arange(len(mine)), lengths), probability, random)
        names = tuple(data.names[n] for n in mine)
        return cls(names, lengths, tokens, np.concatenate([data.coordinates[sites], missing], 1), chosen, shown)

    def __len__(self) -> int:
        return len(self.lengths)

    def intact(self) -> ChainSet:
        """The same chains with no site hidden."""
        return replace(self, shown=self.tokens)

    def take(self, chains: np.ndarray) -> ChainSet:
        """The given chains in this order, with repeats."""
        first = np.cumsum(self.lengths) - self.lengths
        sites = np.concatenate([np.arange(first[n], first[n] + self.lengths[n]) for n in chains])
        of_sites = {name: getattr(self, name)[sites] for name in ("tokens", "geometry", "chosen", "shown")}
        return ChainSet(tuple(self.names[n] for n in chains), self.lengths[chains], **of_sites)

    def anew(self, probability: float, random: np.random.Generator) -> ChainSet:
        """Every chain rotated at random, with new sites to guess."""
        chain = np.repeat(np.arange(len(self)), self.lengths)
        turns = Rotation.random(len(self), random).as_matrix().astype(np.float32)[chain]
        turned = np.einsum("sij,sj->si", turns, self.geometry[:, :3])
        chosen, shown = corrupt(self.tokens, chain, probability, random)
        geometry = np.concatenate([turned, self.geometry[:, 3:]], axis=1)
        return replace(self, geometry=geometry, chosen=chosen, shown=shown)

    def batches(self, fits: Fits, device: torch.device) -> Iterator[tuple[np.ndarray, Batch]]:
        """Pairs (chains, batch) over all chains, shortest first. `fits` limits the size of a batch."""
        order = np.argsort(self.lengths, kind="stable")
        start = 0
        for end in range(1, len(order) + 1):
            if end == len(order) or not fits(end + 1 - start, int(self.lengths[order[end]])):
                yield order[start:end], self.take(order[start:end])._batch(device)
                start = end

    def _batch(self, device: torch.device) -> Batch:
        """All chains in one batch."""
        real = np.arange(self.lengths.max()) < self.lengths[:, None]
        tokens, chosen, targets = np.full(real.shape, MASK), np.zeros(real.shape, dtype=bool), np.zeros(real.shape, int)
        geometry, weights = np.zeros((*real.shape, 4), dtype=np.float32), np.zeros(real.shape, dtype=np.float32)
        tokens[real], chosen[real], targets[real], geometry[real] = self.shown, self.chosen, self.tokens, self.geometry
        weights[:] = 1.0 / chosen.sum(1, keepdims=True)

        def to_device(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x).to(device)

        chains = Chains(to_device(tokens[None]), to_device(geometry[None]), to_device(real[None]))
        rows = np.nonzero(chosen.ravel())[0]
        return Batch(chains, to_device(rows), to_device(targets[chosen][None]), to_device(weights[chosen][None]))


class Fits:
    """Function that says whether this number of chains of this length go through a network together."""

    def __init__(self, numbers: int, hidden: int, heads: int) -> None:
        self._numbers, self._hidden, self._heads = numbers, hidden, heads

    def __call__(self, chains: int, length: int) -> bool:
        """Whether the widest array of a pass has at most `numbers` numbers."""
        return chains * length * max(self._hidden, self._heads * length) <= self._numbers
