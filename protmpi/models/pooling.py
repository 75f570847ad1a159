"""Pooling feed-forward network: every site sees itself and the mean over unmasked sites (METHOD section 8).

X = LN1(E[token] + PE_d)     g = mean of X over unmasked sites     H = relu(W1 [X_i, g] + b1) + PE_m
F = relu(W2 H + b2)          Z = LN2(F + Wr X + br)                logits = Z Woᵀ + bo
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layers import (
    Dropout,
    Positions,
    affine,
    embed,
    layer_norm,
    no_dropout,
    take,
    uniform_weight,
)
from protmpi.models.layout import Layout


class Pooling:
    """V tokens (the last one is the mask), L sites, embedding dimension d, m hidden units."""

    blocks = 0

    def __init__(self, vocabulary: int, length: int, d: int, m: int) -> None:
        self.vocabulary, self.length, self.d, self.m = vocabulary, length, d, m
        self.layout = Layout([
            ("E", (vocabulary, d)), ("LN1.gain", (d,)), ("LN1.bias", (d,)), ("W1", (m, 2 * d)), ("b1", (m,)),
            ("W2", (m, m)), ("b2", (m,)), ("Wr", (m, d)), ("br", (m,)), ("LN2.gain", (m,)), ("LN2.bias", (m,)),
            ("Wo", (vocabulary, m)), ("bo", (vocabulary,)),
        ])  # fmt: skip
        self._positions = Positions(length, d)
        self._hidden_positions = Positions(length, m)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,): normal(0, 1) embedding, uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        fan_in = {"W1": 2 * self.d, "b1": 2 * self.d, "Wr": self.d, "br": self.d}
        arrays: dict[str, np.ndarray] = {}
        for entry in self.layout.entries:
            if entry.name == "E":
                arrays[entry.name] = random.standard_normal(entry.shape)
            elif entry.name.endswith(("gain", "bias")):
                arrays[entry.name] = np.full(entry.shape, float(entry.name.endswith("gain")))
            else:
                arrays[entry.name] = uniform_weight(random, entry.shape, fan_in.get(entry.name, self.m))
        return self.layout.join(arrays)

    def logits(
        self, parameters: dict[str, Tensor], tokens: Tensor, sites: Tensor, rows: Tensor, drop: Dropout = no_dropout
    ) -> Tensor:
        """Logits (W, R, V) at the entries `rows` (W, R) of the flattened `sites` (W, B S) of `tokens` (W, B, L)."""
        p = parameters
        x = drop(embed(p["E"], tokens) + self._positions.like(p["E"]))
        x = layer_norm(x, p["LN1.gain"], p["LN1.bias"])
        visible = (tokens != self.vocabulary - 1).to(x.dtype)
        mean = ((visible.unsqueeze(2) @ x) / visible.sum(-1).clamp(min=1)[..., None, None]).squeeze(2)
        site, sequence = torch.gather(sites.flatten(1), 1, rows), rows // sites.shape[2]
        at = take(x.flatten(1, 2), sequence * self.length + site)
        both = torch.cat([at, take(mean, sequence)], dim=-1)
        hidden = torch.relu(affine(both, p["W1"], p["b1"])) + self._hidden_positions.like(x)[site]
        forward = drop(torch.relu(affine(hidden, p["W2"], p["b2"])))
        z = layer_norm(forward + affine(at, p["Wr"], p["br"]), p["LN2.gain"], p["LN2.bias"])
        return affine(z, p["Wo"], p["bo"])

    def attention(self, parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """No attention: an empty (W, B, 0, L, L)."""
        walkers, batch, length = tokens.shape
        return parameters["E"].new_zeros((walkers, batch, 0, length, length))
