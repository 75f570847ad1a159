"""Perplexity and recovery of masked residues, amino acid by amino acid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from protmpi.tasks.structures import Structures


@dataclass(frozen=True)
class Score:
    """Scores of the guesses of R reference weights at the chosen sites of a split, by the true amino acid."""

    energy: np.ndarray
    """(R, 20) sums of -log p, in nats."""

    right: np.ndarray
    """(R, 20) number of sites whose most probable residue is the true one."""

    count: np.ndarray
    """(20,) number of sites."""

    @property
    def perplexity(self) -> np.ndarray:
        """(R, 21) exp of the mean of -log p over the sites of each amino acid and over all; NaN without a site."""
        return np.exp(_means(self.energy, self.count))

    @property
    def recovery(self) -> np.ndarray:
        """(R, 21) fraction of the sites of each amino acid, and of all sites, that is guessed right."""
        return _means(self.right, self.count)


def score(task: Structures, w: np.ndarray, split: str) -> Score:
    """Score weights w (R, P) on a split."""
    return Score(*task.by_residue(torch.tensor(w, device=task.device), split))


def composition(task: Structures, split: str) -> float:
    """Perplexity of guesses by the amino acid composition of the training chains."""
    found, train = task.sets[split], task.sets["train"].tokens
    count = np.bincount(found.tokens[found.chosen], minlength=20)[:20]
    share = (np.bincount(train[train < 20], minlength=20) + 1.0) / ((train < 20).sum() + 20.0)  # add one count of each
    return float(np.exp(-(count * np.log(share)).sum() / count.sum()))


def _means(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Sums (R, 20) with the sum over all amino acids appended, (R, 21)."""
    with np.errstate(invalid="ignore"):
        everything = sums.sum(1, keepdims=True) / count.sum()
        return np.concatenate([sums / count, everything], axis=1)
