"""The straightforward implementation of norm-constrained pseudo-Langevin, as a user without protmpi would write it.

Parameters in a dict of layers, the loss in a Python loop over the sequences of the mini-batch, logits at all sites,
gradients by autograd, two mini-batches per step (the published scheme), one host synchronisation per layer for the sums
of the constraint. The tests compare the hand-written gradients of the product with these equations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from protmpi.models import Network
from protmpi.models.layout import Layout

MASK = 20
Layers = dict[str, Tensor]
Sample = tuple[Tensor, Tensor]
"""Masked tokens and true residues of a sequence, (L,) each."""


def layers_of(layout: Layout, w: Tensor) -> Layers:
    """The dict of layers of flat weights (P,)."""
    return {entry.name: w[entry.slice].reshape(entry.shape) for entry in layout.entries}


def positions(tokens: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """PE (L, size) for the sites of a sequence."""
    return _positions(len(tokens), size, dtype, tokens.device)


@lru_cache
def _positions(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    table = torch.zeros(length, size, dtype=torch.float64)
    for site in range(length):
        for k in range(size):
            angle = site / 10_000 ** (2 * (k // 2) / size)
            table[site, k] = math.sin(angle) if k % 2 == 0 else math.cos(angle)
    return table.to(device, dtype)


def _norm(x: Tensor, p: Layers, name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], p[f"{name}.gain"], p[f"{name}.bias"], eps=1e-5)


def transformer(network: Network, p: Layers, tokens: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Logits (L, V); `masks` are the dropout factors of the embedding and of both sums of every block."""
    d, m = p["E"].shape[1], p["0.b1"].shape[0]
    x = (p["E"][tokens] + positions(tokens, d, p["E"].dtype)) * masks[0]
    for b in range(network.blocks):
        a = torch.softmax((x @ p[f"{b}.Wqk"].T) @ x.T / math.sqrt(d), dim=1)
        y = _norm(x + (a @ x @ p[f"{b}.Wvc"].T) * masks[2 * b + 1], p, f"{b}.LN1")
        h = torch.relu(functional.linear(y, p[f"{b}.W1"], p[f"{b}.b1"])) + positions(tokens, m, y.dtype)
        x = _norm(y + functional.linear(h, p[f"{b}.W2"], p[f"{b}.b2"]) * masks[2 * b + 2], p, f"{b}.LN2")
    return functional.linear(x, p["Wo"], p["bo"])


def pooling(network: Network, p: Layers, tokens: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Logits (L, V) of the pooling network."""
    d, m = p["E"].shape[1], p["b1"].shape[0]
    x = _norm((p["E"][tokens] + positions(tokens, d, p["E"].dtype)) * masks[0], p, "LN1")
    visible = x[tokens != MASK]
    mean = visible.mean(0) if len(visible) else x.new_zeros(d)
    both = torch.cat([x, mean.expand(len(tokens), d)], dim=1)
    h = torch.relu(functional.linear(both, p["W1"], p["b1"])) + positions(tokens, m, x.dtype)
    f = torch.relu(functional.linear(h, p["W2"], p["b2"])) * masks[1]
    return functional.linear(_norm(f + functional.linear(x, p["Wr"], p["br"]), p, "LN2"), p["Wo"], p["bo"])


def sequence_logits(network: Network, p: Layers, tokens: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
    """Logits (masked sites, V) of one sequence."""
    ones = [torch.ones((), dtype=p["E"].dtype)] * (2 * network.blocks + 2)
    forward = transformer if network.blocks else pooling
    return forward(network, p, tokens, masks or ones)[tokens == MASK]


def energy(network: Network, p: Layers, samples: Sequence[Sample]) -> Tensor:
    """U of a mini-batch, sequence by sequence."""
    total = torch.zeros((), dtype=p["E"].dtype)
    for tokens, truth in samples:
        total = total + functional.cross_entropy(sequence_logits(network, p, tokens), truth[tokens == MASK])
    return total / len(samples)


def gradient(network: Network, p: Layers, samples: Sequence[Sample]) -> Layers:
    """dU/dp of a mini-batch by autograd, layer by layer."""
    leaves = {name: layer.detach().requires_grad_() for name, layer in p.items()}
    return dict(zip(leaves, torch.autograd.grad(energy(network, leaves, samples), list(leaves.values())), strict=True))


@dataclass
class Walker:
    """One walker on the sphere of squared norm `norm2`, layer by layer (docs/method/sphere.md)."""

    network: Network
    samples: Sequence[Sample]
    w: Layers
    p: Layers
    mass: Layers
    noise_variance: Layers
    norm2: float
    temperature: float
    random: np.random.Generator
    m1: float = 0.1
    batch: int = 64

    def _gradient(self) -> Layers:
        chosen = self.random.integers(len(self.samples), size=self.batch)
        return gradient(self.network, self.w, [self.samples[i] for i in chosen])

    def step(self) -> None:
        """One step of the double scheme, dt = 1."""
        c1 = math.sqrt(1.0 - self.m1**2)
        g = self._gradient()
        for name, p in self.p.items():
            v = self.noise_variance[name] / 4.0
            k = (self.mass[name] * self.temperature * self.m1**2 - v).clamp(min=0.0).sqrt()
            self.p[name] = c1 * p - 0.5 * g[name] + k * torch.randn_like(p)
        direction = {name: w / self.mass[name] for name, w in self.w.items()}
        moved = {name: w + self.p[name] / self.mass[name] for name, w in self.w.items()}
        s1 = sum((moved[name] * direction[name]).sum().item() for name in moved)
        s2 = sum((moved[name] ** 2).sum().item() for name in moved)
        s3 = sum((direction[name] ** 2).sum().item() for name in moved)
        root = math.sqrt(s1 * s1 - s3 * (s2 - self.norm2))
        mu = (self.norm2 - s2) / (s1 + math.copysign(root, s1))
        for name in moved:
            self.p[name] = self.p[name] + mu * self.w[name]
            self.w[name] = moved[name] + mu * direction[name]
        g = self._gradient()
        for name, p in self.p.items():
            v = self.noise_variance[name] / 4.0
            k2 = (self.mass[name] * self.temperature * self.m1**2 - v).clamp(min=0.0)
            self.p[name] = c1 * (p - 0.5 * g[name]) + (k2 + self.m1**2 * v).sqrt() * torch.randn_like(p)
        overlap = sum((self.w[name] * self.p[name] / self.mass[name]).sum().item() for name in self.w)
        length = sum((self.w[name] ** 2 / self.mass[name]).sum().item() for name in self.w)
        for name in self.p:
            self.p[name] = self.p[name] - self.w[name] * (overlap / length)
