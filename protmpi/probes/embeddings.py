"""Embeddings that the head of a frozen network reads, at every site of whole chains without masked sites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from protmpi.tasks.structures import Structures


@dataclass(frozen=True)
class Embedded:
    """One chain: embeddings h (L, d), Cα x (L, 3) in Å and which of them are known (L,)."""

    name: str
    h: np.ndarray
    x: np.ndarray
    known: np.ndarray


@torch.no_grad()
def embed(task: Structures, w: np.ndarray, split: str) -> Iterator[Embedded]:
    """All chains of a split with weights w (P,), shortest first, one batch at a time to limit the memory."""
    found, one = task.sets[split].intact(), torch.tensor(w, device=task.device)[None]
    for chains, batch in found.batches(task.fits, task.device):
        h = task.network.embedding(one, batch.chains)[0].cpu().numpy()
        geometry = batch.chains.geometry[0].cpu().numpy()
        for row, n in enumerate(chains.tolist()):
            sites = slice(int(found.lengths[n]))
            missing = geometry[row, sites, 3] > 0
            yield Embedded(found.names[n], h[row, sites], geometry[row, sites, :3], ~missing)
