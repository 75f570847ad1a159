"""The networks and the energy straight from their equations: one sequence at a time, all sites, automatic gradients."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from protmpi.data.dataset import FoldingData
from protmpi.models import Network
from protmpi.models.pooling import Pooling
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


def positions(length: int, size: int) -> Tensor:
    table = torch.zeros(length, size, dtype=torch.float64)
    for site in range(length):
        for k in range(size):
            angle = site / 10_000 ** (2 * (k // 2) / size)
            table[site, k] = math.sin(angle) if k % 2 == 0 else math.cos(angle)
    return table


def norm(x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    mean = x.sum(-1, keepdim=True) / x.shape[-1]
    variance = ((x - mean) ** 2).sum(-1, keepdim=True) / x.shape[-1]
    return p[f"{name}.gain"] * (x - mean) / (variance + 1e-5).sqrt() + p[f"{name}.bias"]


def transformer_logits(network: Network, p: dict[str, Tensor], tokens: Tensor, masks: list[Tensor]) -> Tensor:
    d, m = p["E"].shape[1], p["0.b1"].shape[0]
    x = (p["E"][tokens] + positions(len(tokens), d)) * masks[0]
    for b in range(network.blocks):
        a = torch.softmax((x @ p[f"{b}.Wqk"].T) @ x.T / math.sqrt(d), dim=1)
        y = norm(x + (a @ x @ p[f"{b}.Wvc"].T) * masks[2 * b + 1], p, f"{b}.LN1")
        h = torch.relu(y @ p[f"{b}.W1"].T + p[f"{b}.b1"]) + positions(len(tokens), m)
        x = norm(y + (h @ p[f"{b}.W2"].T + p[f"{b}.b2"]) * masks[2 * b + 2], p, f"{b}.LN2")
    return x @ p["Wo"].T + p["bo"]


def pooling_logits(network: Network, p: dict[str, Tensor], tokens: Tensor, masks: list[Tensor]) -> Tensor:
    d, m = p["E"].shape[1], p["b1"].shape[0]
    x = norm((p["E"][tokens] + positions(len(tokens), d)) * masks[0], p, "LN1")
    visible = x[tokens != MASK]
    mean = visible.mean(0) if len(visible) else torch.zeros(d, dtype=x.dtype)
    both = torch.cat([x, mean.expand(len(tokens), d)], dim=1)
    h = torch.relu(both @ p["W1"].T + p["b1"]) + positions(len(tokens), m)
    f = torch.relu(h @ p["W2"].T + p["b2"]) * masks[1]
    return norm(f + x @ p["Wr"].T + p["br"], p, "LN2") @ p["Wo"].T + p["bo"]


def sequence_energy(
    network: Network, w: Tensor, tokens: Tensor, truth: Tensor, masks: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Energy and error of one masked sequence: means over its masked sites; w (P,), `masks` of the dropout."""
    p = {entry.name: w[entry.slice].reshape(entry.shape) for entry in network.layout.entries}
    logits = pooling_logits if isinstance(network, Pooling) else transformer_logits
    ones = [torch.ones((), dtype=w.dtype)] * (2 * network.blocks + 2)
    sites = tokens == MASK
    z = logits(network, p, tokens, masks or ones)[sites]
    losses = torch.logsumexp(z, dim=1) - z[torch.arange(len(z)), truth[sites]]
    return losses.mean(), (z.argmax(1) != truth[sites]).double().mean()


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
