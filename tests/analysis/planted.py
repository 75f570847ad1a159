"""Networks and proteins whose contacts are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.subjects.contacts.proteins import Protein


def random_protein(length: int, seed: int, contacts: int | None = None) -> Protein:
    """A random sequence with 1.5 contacts per residue of |i-j| >= 6, anywhere; all residues have coordinates."""
    random = np.random.default_rng(seed)
    i, j = np.triu_indices(length, 6)
    chosen = random.permutation(i.size)[: contacts or (3 * length) // 2]
    touching = np.zeros((length, length), dtype=bool)
    touching[i[chosen], j[chosen]] = touching[j[chosen], i[chosen]] = True
    tokens = random.integers(20, size=length).astype(np.uint8)
    return Protein(f"protein {seed}", tokens, touching, np.ones(length, dtype=bool))


def sites(length: int, random: np.random.Generator) -> np.ndarray:
    """One number from 1 to 3 per site (L,)."""
    return random.uniform(1.0, 3.0, length)


class PlantedHeads:
    """Attention whose `good` heads hold the contacts of the proteins that it knows; the others noise, 20 times louder.

    A good head sees a contact only in one direction, under a product of factors of sites that are far larger than it:
    without APC the contacts are lost. Proteins are told apart by their residues.
    """

    def __init__(self, proteins: Sequence[Protein], heads: int, good: Sequence[int]) -> None:
        self.heads, self._good = heads, good
        self._contacts = {protein.tokens.tobytes(): protein.contacts for protein in proteins}
        self.asked: list[str] = []

    def attention(self, tokens: np.ndarray) -> np.ndarray:
        self.asked.append("attention")
        random = np.random.default_rng(int(tokens.astype(int).sum()) + 1)
        length = len(tokens)
        factors = np.array([np.outer(u, u) for u in (sites(length, random) for _ in range(self.heads))])
        maps = factors + 0.3 * random.random(factors.shape)
        maps[np.setdiff1d(np.arange(self.heads), self._good)] *= 20.0
        for head in self._good:
            maps[head] += 3.0 * np.triu(self._contacts[tokens.tobytes()])
        return maps

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        self.asked += ["logits"] * len(tokens)
        return np.zeros((*tokens.shape, 20))

    def passes(self, tokens: np.ndarray) -> int:
        return 1


class Potts:
    """Logits of a pairwise model, logits_j(b) = h_j(b) + Σ_i K_ij(s_i, b), K random where i and j touch.

    What no coupling is, is larger than what is: fields, terms of the other site and its residue alone that raise all
    letters alike, and factors of sites in couplings of every pair (`background`). Sites answer with gains of their own,
    logits_j times g_j, ln g_j of standard deviation `gain`: the answer of j to i is not that of i to j.
    """

    heads = 0

    def __init__(
        self, protein: Protein, seed: int, background: float = 0.0, single: float = 0.0, gain: float = 0.0
    ) -> None:
        random = np.random.default_rng(seed)
        length = len(protein.tokens)
        couplings = np.zeros((length, 20, length, 20))
        for i, j in zip(*np.nonzero(np.triu(protein.contacts)), strict=True):
            pair = random.standard_normal((20, 20))
            couplings[i, :, j], couplings[j, :, i] = pair, pair.T
        factor = sites(length, random)
        noise = random.standard_normal(couplings.shape)
        couplings += background * (factor[:, None, None, None] * factor[None, None, :, None]) * noise
        couplings[np.arange(length), :, np.arange(length)] = 0.0
        alone = single * random.standard_normal((length, 20, length, 1))
        self.couplings = np.exp(gain * random.standard_normal(length))[:, np.newaxis] * (couplings + alone)
        self.fields = 5.0 * random.standard_normal((length, 20))
        self.sequences = 0

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        self.sequences += len(tokens)
        length = tokens.shape[1]
        return np.array([self.fields + self.couplings[np.arange(length), one].sum(0) for one in tokens])

    def passes(self, tokens: np.ndarray) -> int:
        return 1
