"""Data for the tests of networks, and their energies by the baseline of the bench: sequence by sequence, autograd."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from protmpi.bench import baseline
from protmpi.data.dataset import FoldingData
from protmpi.models import Network
from protmpi.tasks.folding import Folding

LENGTH, MASK, VOCABULARY = 19, 20, 21


def folding_data(sizes: tuple[int, int, int] = (30, 12, 20), seed: int = 0) -> FoldingData:
    """Random sequences whose numbers of masked sites go from 1 to all."""
    random = np.random.default_rng(seed)
    count = sum(sizes)
    share = random.choice([0.02, 0.15, 0.15, 0.5, 1.0], size=(count, 1))
    masked = random.random((count, LENGTH)) < share
    masked[np.arange(count), random.integers(LENGTH, size=count)] = True
    sequences = random.integers(0, MASK, size=(count, LENGTH)).astype(np.uint8)
    return FoldingData(sequences, masked, np.repeat([0, 1, 2], sizes).astype(np.uint8))


def task_and_weights(network: Network, walkers: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Folding, Tensor]:
    """A task on `folding_data` and weights (W, P) with gains and biases away from 1 and 0."""
    random = np.random.default_rng(5)
    w = np.stack([network.initial(random) for _ in range(walkers)])
    w += 0.2 * random.standard_normal(w.shape)
    return Folding(folding_data(), network, dtype=dtype), torch.from_numpy(w).to(dtype)


def sequence_energy(
    network: Network, w: Tensor, tokens: Tensor, truth: Tensor, masks: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Energy and error of one masked sequence: means over its masked sites; w (P,), `masks` of the dropout."""
    z, wanted = baseline.sequence_logits(network, baseline.layers_of(network.layout, w), tokens, masks), tokens == MASK
    losses = torch.logsumexp(z, dim=1) - z[torch.arange(len(z)), truth[wanted]]
    return losses.mean(), (z.argmax(1) != truth[wanted]).double().mean()


def sequences_of(split: int) -> list[tuple[Tensor, Tensor]]:
    """Masked tokens and true residues of a split, fewest masked sites first like the task."""
    data = folding_data()
    sequences, masked = data.sequences[data.split == split], data.masked[data.split == split]
    order = np.argsort(masked.sum(1), kind="stable")
    truth = torch.from_numpy(sequences[order].astype(np.int64))
    return [(torch.where(torch.from_numpy(m), MASK, t), t) for t, m in zip(truth, masked[order], strict=True)]


def gradient(network: Network, w: Tensor, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """Energies (W,) and gradients (W, P) of the mini-batches `indices` (W, B)."""
    samples, energies, gradients = sequences_of(0), [], []
    for walker, batch in zip(w.double(), indices, strict=True):
        leaf = walker.clone().requires_grad_()
        energy = sum(sequence_energy(network, leaf, *samples[i])[0] for i in batch) / len(batch)
        energies.append(energy.detach())
        gradients.append(torch.autograd.grad(energy, leaf)[0])
    return torch.stack(energies), torch.stack(gradients)
