"""Pre-norm encoder: blocks of multi-head attention and a feed-forward network on embedded sequences.

    N = LN1(X)      Q = N Wqᵀ + bq      K = N Wkᵀ      V = N Wvᵀ
    Y  = X + concat[ softmax(Q_h K_hᵀ / √(d/heads)) V_h of each head h ] Woᵀ + bo
    X' = Y + f(LN2(Y) W1ᵀ + b1) W2ᵀ + b2        f = relu or gelu

(Vaswani et al. 2017; layer norms before each part as in Xiong et al. 2020.) Keys and values have no bias: a bias of the
keys cancels in softmax, and a bias of the values is part of bo. The encoder is used like a layer, by a network that
owns the flat vector and the embedding. No layer norm follows the last block, because the head begins with one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from protmpi.models.attention import attend_heads
from protmpi.models.layers import (
    ACTIVATIONS,
    Arrays,
    Dropout,
    Pullback,
    affine,
    dropout,
    initial_array,
    layer_norm,
    linear,
)


class Encoder:
    """`blocks` blocks of `heads` heads, embedding dimension d (a multiple of heads), m hidden units, relu or gelu."""

    def __init__(self, blocks: int, heads: int, d: int, m: int, activation: str = "relu") -> None:
        self.blocks, self.heads, self.d, self.m = blocks, heads, d, m
        self.activation = activation
        self.arrays: list[tuple[str, tuple[int, ...]]] = []
        """Name and shape of each parameter array, for the layout of the network around it."""
        for b in range(blocks):
            self.arrays += [
                (f"{b}.LN1.gain", (d,)), (f"{b}.LN1.bias", (d,)), (f"{b}.Wq", (d, d)), (f"{b}.bq", (d,)),
                (f"{b}.Wk", (d, d)), (f"{b}.Wv", (d, d)), (f"{b}.Wo", (d, d)), (f"{b}.bo", (d,)),
                (f"{b}.LN2.gain", (d,)), (f"{b}.LN2.bias", (d,)), (f"{b}.W1", (m, d)), (f"{b}.b1", (m,)),
                (f"{b}.W2", (d, m)), (f"{b}.b2", (d,)),
            ]  # fmt: skip

    def initial(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Fresh arrays by name: uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        return {
            name: initial_array(random, name, shape, self.m if name.endswith(("W2", "b2")) else self.d)
            for name, shape in self.arrays
        }

    def forward(
        self, p: Arrays, x: Tensor, real: Tensor | None = None, drop: Dropout | None = None
    ) -> tuple[Tensor, Pullback]:
        """X' (W, B, L, d) of embedded sequences x (W, B, L, d), and its pullback.

        `real` (W, B, L) is false at padding, which no site attends to. At least one site of each sequence is real.
        Dropout acts on both sums of every block.
        """
        pullbacks = []
        for b in range(self.blocks):
            x, pullback, _ = self._block(p, b, x, real, drop)
            pullbacks.append(pullback)

        def pullback_all(dx: Tensor, g: Arrays) -> Tensor:
            for pullback in reversed(pullbacks):
                dx = pullback(dx, g)
            return dx

        return x, pullback_all

    def attention(self, p: Arrays, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Attention maps (W, B, blocks, heads, L, L) of embedded sequences x (W, B, L, d); rows sum to 1."""
        maps = []
        for b in range(self.blocks):
            x, _, a = self._block(p, b, x, real, None)
            maps.append(a)
        return torch.stack(maps, dim=2)

    def _block(
        self, p: Arrays, b: int, x: Tensor, real: Tensor | None, drop: Dropout | None
    ) -> tuple[Tensor, Pullback, Tensor]:
        """X' (W, B, L, d), its pullback, and the attention A (W, B, heads, L, L)."""
        shape, x = x.shape, x.flatten(1, 2)
        n, to_x = layer_norm(x.clone(), p, f"{b}.LN1")
        q, to_query = affine(n, p, f"{b}.Wq", f"{b}.bq")
        k, to_key = linear(n, p, f"{b}.Wk")
        v, to_value = linear(n, p, f"{b}.Wv")
        mixed, a, to_heads = attend_heads(q.view(shape), k.view(shape), v.view(shape), self.heads, real)
        z, to_mixed = affine(mixed.flatten(1, 2), p, f"{b}.Wo", f"{b}.bo")
        z, to_z = dropout(z, drop)
        y = z.add_(x)
        f, to_y = layer_norm(y.clone(), p, f"{b}.LN2")
        f, to_second_norm = affine(f, p, f"{b}.W1", f"{b}.b1")
        f, to_activation = ACTIVATIONS[self.activation](f)
        f, to_hidden = affine(f, p, f"{b}.W2", f"{b}.b2")
        f, to_f = dropout(f, drop)

        def pullback(d_out: Tensor, g: Arrays) -> Tensor:
            d_out = d_out.flatten(1, 2)
            dy = to_y(to_second_norm(to_activation(to_hidden(to_f(d_out), g)), g), g).add_(d_out)
            dq, dk, dv = (d.flatten(1, 2) for d in to_heads(to_mixed(to_z(dy), g).view(shape)))
            dn = to_query(dq, g).add_(to_key(dk, g)).add_(to_value(dv, g))
            return to_x(dn, g).add_(dy).view(shape)

        return f.add_(y).view(shape), pullback, a
