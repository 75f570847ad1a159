"""Encoder of protein chains, with residues and optionally the coordinates of their Cα as input.

    X = E[token] + PE[site] + F Cᵀ        F = (x, y, z, missing) / 16
    logits = LN(encoder(X)) Woᵀ + bo

(Ellmen, Schneider, Raybould and Deane, TMLR 2025.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi.models.encoder import Encoder
from protmpi.models.layers import (
    Arrays,
    Dropout,
    Positions,
    Pullback,
    affine,
    dropout,
    embed,
    initial_array,
    layer_norm,
    linear,
    uniform_weight,
)
from protmpi.models.layout import Layout

FEATURES = 4
SCALE = 16.0  # unit of coordinates in Å, also used for the flag, as published


@dataclass(frozen=True)
class Chains:
    """B chains for W walkers, padded to L sites."""

    tokens: Tensor
    """(W, B, L)."""

    geometry: Tensor
    """(W, B, L, 4): x, y, z of the Cα in Å and 1 where it is missing."""

    real: Tensor
    """(W, B, L), false at padding."""


class ChainEncoder:
    """V tokens, at most `length` sites, an encoder of `blocks` blocks. It holds W copies of the P parameters."""

    def __init__(self, vocabulary: int, length: int, encoder: Encoder, coordinates: bool) -> None:
        self.vocabulary, self.encoder, self.coordinates = vocabulary, encoder, coordinates
        d = encoder.d
        self.layout = Layout([
            ("E", (vocabulary, d)), *([("C", (d, FEATURES))] if coordinates else []), *encoder.arrays,
            ("LN.gain", (d,)), ("LN.bias", (d,)), ("Wo", (vocabulary, d)), ("bo", (vocabulary,)),
        ])  # fmt: skip
        self._positions = Positions(length, d)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,): normal(0, 1) embedding, uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        d = self.encoder.d
        arrays = {"E": random.standard_normal((self.vocabulary, d)), **self.encoder.initial(random)}
        for entry in self.layout.entries:
            if entry.name == "C":
                arrays["C"] = uniform_weight(random, entry.shape, FEATURES)
            elif entry.name not in arrays:
                arrays[entry.name] = initial_array(random, entry.name, entry.shape, d)
        return self.layout.join(arrays)

    def forward(
        self, w: Tensor, chains: Chains, rows: Tensor, drop: Dropout | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Logits (W, R, V) at `rows` (R,), distinct indices in (B L), and the pullback dU/dlogits -> dU/dw (W, P)."""
        p = self.layout.split(w)
        x, to_embedding = self._embed(p, chains)
        x, to_dropped = dropout(x, drop)
        x, to_input = self.encoder.forward(p, x.unflatten(1, chains.tokens.shape[1:]), chains.real, drop)
        shape = x.shape
        out, to_out = layer_norm(x.flatten(1, 2).index_select(1, rows), p, "LN")
        logits, to_head = affine(out, p, "Wo", "bo")

        def backward(d_logits: Tensor) -> Tensor:
            gradient = torch.empty_like(w)
            g = self.layout.split(gradient)
            d_rows = to_out(to_head(d_logits, g), g)
            dx = d_rows.new_zeros(shape).flatten(1, 2).index_copy_(1, rows, d_rows)
            to_embedding(to_dropped(to_input(dx.view(shape), g).flatten(1, 2)), g)
            return gradient

        return logits, backward

    def attention(self, w: Tensor, chains: Chains) -> Tensor:
        """Attention maps (W, B, blocks, heads, L, L); rows sum to 1."""
        p = self.layout.split(w)
        x, _ = self._embed(p, chains)
        return self.encoder.attention(p, x.unflatten(1, chains.tokens.shape[1:]), chains.real)

    def embedding(self, w: Tensor, chains: Chains) -> Tensor:
        """Embedding that the head reads at every site, (W, B, L, d)."""
        p = self.layout.split(w)
        x, _ = self._embed(p, chains)
        x, _ = self.encoder.forward(p, x.unflatten(1, chains.tokens.shape[1:]), chains.real)
        out, _ = layer_norm(x.flatten(1, 2), p, "LN")
        return out.view(x.shape)

    def _embed(self, p: Arrays, chains: Chains) -> tuple[Tensor, Callable[[Tensor, Arrays], None]]:
        """X (W, B L, d) and its pullback."""
        length = chains.tokens.shape[2]
        x, to_tokens = embed(p, self._positions.like(p["E"])[:length], chains.tokens)
        to_geometry: Pullback | None = None
        if self.coordinates:
            added, to_geometry = linear(chains.geometry.flatten(1, 2) / SCALE, p, "C")
            x = x.add_(added)

        def pullback(dx: Tensor, g: Arrays) -> None:
            to_tokens(dx, g)
            if to_geometry:
                to_geometry(dx, g)

        return x, pullback
