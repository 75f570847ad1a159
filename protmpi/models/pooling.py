"""Pooling feed-forward network: every site sees itself and the mean over unmasked sites.

Source: docs/method/networks.md section 3.

X = LN1(E[token] + PE_d)     g = mean of X over unmasked sites     H = relu(W1 [X_i, g] + b1) + PE_m
F = relu(W2 H + b2)          Z = LN2(F + Wr X + br)                logits = Z Woᵀ + bo
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from protmpi.models.batch import Batch
from protmpi.models.layers import (
    Arrays,
    Dropout,
    Positions,
    affine,
    dropout,
    embed,
    initial_array,
    layer_norm,
    linear,
    relu,
)
from protmpi.models.layout import Layout
from protmpi.sections import ModelConfig


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
        self.width = length * d
        self._positions = Positions(length, d)
        self._hidden_positions = Positions(length, m)

    @classmethod
    def from_config(cls, config: ModelConfig, length: int, vocabulary: int) -> Pooling:
        return cls(vocabulary, length, config.d, config.hidden)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,): normal(0, 1) embedding, uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        fan_in = {"W1": 2 * self.d, "b1": 2 * self.d, "Wr": self.d, "br": self.d}
        arrays: dict[str, np.ndarray] = {}
        for entry in self.layout.entries:
            if entry.name == "E":
                arrays[entry.name] = random.standard_normal(entry.shape)
            else:
                arrays[entry.name] = initial_array(random, entry.name, entry.shape, fan_in.get(entry.name, self.m))
        return self.layout.join(arrays)

    def forward(
        self, w: Tensor, batch: Batch, drop: Dropout | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Logits (W, R, V) at the rows of the batch, and the pullback dU/dlogits -> dU/dw (W, P)."""
        p, rows, sequences = self._split(w), batch.wanted, batch.tokens.shape[1]
        x, to_embedding = embed(p, self._positions.like(w), batch.tokens)
        x, to_dropped = dropout(x, drop)
        x, to_sum = layer_norm(x, p, "LN1")
        share = self._share(batch.tokens, x.dtype)
        mean = (share @ x.unflatten(1, (sequences, -1))).squeeze(2)
        at_rows = rows.take(x)
        # W1 [x, g] = W1x x + W1g g, and g is the same in all rows of a sequence
        u, to_mean = affine(mean, p, "W1g", "b1")
        z, to_rows = linear(at_rows, p, "W1x")
        z, to_z = relu(z.add_(rows.owners(u)))
        f, to_hidden = affine(z + rows.at_sites(self._hidden_positions.like(z)), p, "W2", "b2")
        f, to_f = relu(f)
        f, to_forward = dropout(f, drop)
        skip, to_skip = affine(at_rows, p, "Wr", "br")
        out, to_second_sum = layer_norm(skip.add_(f), p, "LN2")
        logits, to_head = affine(out, p, "Wo", "bo")

        def backward(d_logits: Tensor) -> Tensor:
            gradient = torch.empty_like(w)
            g = self._split(gradient)
            d_second = to_second_sum(to_head(d_logits, g), g)
            dz = to_z(to_hidden(to_f(to_forward(d_second)), g))
            d_mean = to_mean(rows.sum_per_sequence(dz, sequences), g)
            d_rows = to_rows(dz, g).add_(to_skip(d_second, g))
            dx = (share.mT * d_mean.unsqueeze(2)).flatten(1, 2)
            to_embedding(to_dropped(to_sum(rows.add_to(dx, d_rows), g)), g)
            return gradient

        return logits, backward

    def _split(self, w: Tensor) -> Arrays:
        """The named arrays, with W1 = [W1x, W1g] split into its two halves of columns."""
        p = self.layout.split(w)
        p["W1x"], p["W1g"] = p["W1"].split(self.d, -1)
        return p

    def _share(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """Weight (W, B, 1, L) of every site in the mean over unmasked sites."""
        visible = (tokens != self.vocabulary - 1).to(dtype)
        return visible.div_(visible.sum(-1, keepdim=True).clamp_(min=1)).unsqueeze(2)

    def attention(self, w: Tensor, tokens: Tensor) -> Tensor:
        """This network has no attention: an empty (W, B, 0, L, L)."""
        walkers, batch, length = tokens.shape
        return w.new_zeros((walkers, batch, 0, length, length))
