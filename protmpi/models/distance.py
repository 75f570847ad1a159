"""Network from points to an attention map: embedding, encoder, and one attention head without normalisation.

Source: docs/method/networks.md section 8.

    X = coordinates/16 Weᵀ + be      N = LN(encoder(X))      S = (N Wqᵀ + bq)(N Wkᵀ)ᵀ / √h      A = exp(S - row maximum)

The head does not divide the weights by their sum. It is the head of Ellmen et al., "Transformers trained on proteins
can learn to attend to Euclidean distance" (TMLR 2025). A bias of the keys would cancel with the row maximum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from protmpi.models.encoder import Encoder
from protmpi.models.layers import Arrays, Dropout, affine, initial_array, layer_norm, linear
from protmpi.models.layout import Layout

SCALE = 1.0 / 16.0  # factor of the coordinates at the input


class Distance:
    """Points of `dimension` coordinates, an encoder of embedding dimension d, and a head of h columns."""

    def __init__(self, dimension: int, encoder: Encoder, head: int) -> None:
        self.dimension, self.encoder, self.head = dimension, encoder, head
        d = encoder.d
        self.layout = Layout([
            ("We", (d, dimension)), ("be", (d,)), *encoder.arrays, ("LN.gain", (d,)), ("LN.bias", (d,)),
            ("Wq", (head, d)), ("bq", (head,)), ("Wk", (head, d)),
        ])  # fmt: skip

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,): uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        arrays = self.encoder.initial(random)
        for entry in self.layout.entries:
            if entry.name not in arrays:
                fan_in = self.dimension if entry.name in ("We", "be") else self.encoder.d
                arrays[entry.name] = initial_array(random, entry.name, entry.shape, fan_in)
        return self.layout.join(arrays)

    def forward(self, w: Tensor, x: Tensor, drop: Dropout | None = None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Attention A (W, B, n, n) of points x (W, B, n, D), and the pullback dU/dA -> dU/dw (W, P)."""
        p = self.layout.split(w)
        embedded, to_embedding = affine(x.flatten(1, 2) * SCALE, p, "We", "be", data=True)
        encoded, to_encoder = self.encoder.forward(p, embedded.view(*x.shape[:3], -1), drop=drop)
        normed, to_norm = layer_norm(encoded.flatten(1, 2), p, "LN")
        a, to_head = self._head(p, normed, x.shape[:3])

        def backward(d_a: Tensor) -> Tensor:
            gradient = torch.empty_like(w)
            g = self.layout.split(gradient)
            dx = to_norm(to_head(d_a, g), g).view(encoded.shape)
            to_embedding(to_encoder(dx, g).flatten(1, 2), g)
            return gradient

        return a, backward

    def _head(self, p: Arrays, x: Tensor, shape: torch.Size) -> tuple[Tensor, Callable[[Tensor, Arrays], Tensor]]:
        """A (W, B, n, n) of rows x (W, B n, d), where `shape` is (W, B, n), and the pullback dA -> dx."""
        q, to_query = affine(x, p, "Wq", "bq")
        k, to_key = linear(x, p, "Wk")
        q, k = q.view(*shape, -1), k.view(*shape, -1)
        scale = self.head**-0.5
        scores = (q @ k.mT).mul_(scale)
        highest, where = scores.max(-1, keepdim=True)
        a = scores.sub_(highest).exp_()

        def pullback(d_a: Tensor, g: Arrays) -> Tensor:
            ds = d_a * a
            ds.scatter_add_(-1, where, -ds.sum(-1, keepdim=True)).mul_(scale)
            return to_query((ds @ k).flatten(1, 2), g).add_(to_key((ds.mT @ q).flatten(1, 2), g))

        return a, pullback
