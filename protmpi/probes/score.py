"""Perplexity and recovery of masked residues, amino acid by amino acid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from protmpi.tasks.structures import Structures


@dataclass(frozen=True)
class Score:
    """Of the guesses of R reference weights at the chosen sites of a split, by the true amino acid."""

    energy: np.ndarray
    """(R, 20) sums of -log p, in nats."""

    right: np.ndarray
    """(R, 20) sites guessed right: the most probable residue is the true one."""

    count: np.ndarray
    """(20,) sites."""

    @property
    def perplexity(self) -> np.ndarray:
        """(R, 21) exp of the mean of -log p over the sites of each amino acid, and over all; NaN without a site."""
        return np.exp(_means(self.energy, self.count))

    @property
    def recovery(self) -> np.ndarray:
        """(R, 21) share guessed right of the sites of each amino acid, and of all."""
        return _means(self.right, self.count)


def score(task: Structures, w: np.ndarray, split: str) -> Score:
    """Score weights w (R, P) on a split."""
    return Score(*task.by_residue(torch.tensor(w, device=task.device), split))


def composition(task: Structures, split: str) -> float:
    """Perplexity of who guesses by the amino acid composition of the training chains."""
    found, train = task.sets[split], task.sets["train"].tokens
    count = np.bincount(found.tokens[found.chosen], minlength=20)[:20]
    share = (np.bincount(train[train < 20], minlength=20) + 1.0) / ((train < 20).sum() + 20.0)  # one more of each
    return float(np.exp(-(count * np.log(share)).sum() / count.sum()))


def _means(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(R, 21) of sums (R, 20)."""
    with np.errstate(invalid="ignore"):
        everything = sums.sum(1, keepdims=True) / count.sum()
        return np.concatenate([sums / count, everything], axis=1)
