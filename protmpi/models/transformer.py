"""Transformer of `blocks` attention blocks, one head, no attention bias.

Source: docs/method/networks.md section 2.

    A  = softmax((X Wqkᵀ) Xᵀ / √d)      Y  = LN1(X + A X Wvcᵀ)
    H  = relu(Y W1ᵀ + b1) + PE_m        X' = LN2(Y + H W2ᵀ + b2)        logits = X' Woᵀ + bo

The loss reads only the masked sites, so the last block and the head are evaluated at `sites` alone. The result is the
same, for a fraction of the work.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from protmpi.models.attention import attend, attend_embedded
from protmpi.models.batch import Batch, Rows, every_site
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
    relu,
)
from protmpi.models.layout import Layout
from protmpi.sections import ModelConfig

ToInput = Callable[[Tensor, Arrays], None]


class Transformer:
    """V tokens, L sites, `blocks` blocks of embedding dimension d with m hidden units."""

    def __init__(self, vocabulary: int, length: int, blocks: int, d: int, m: int) -> None:
        self.vocabulary, self.length, self.blocks, self.d, self.m = vocabulary, length, blocks, d, m
        arrays: list[tuple[str, tuple[int, ...]]] = [("E", (vocabulary, d))]
        for b in range(blocks):
            arrays += [
                (f"{b}.Wqk", (d, d)), (f"{b}.Wvc", (d, d)), (f"{b}.LN1.gain", (d,)), (f"{b}.LN1.bias", (d,)),
                (f"{b}.W1", (m, d)), (f"{b}.b1", (m,)), (f"{b}.W2", (d, m)), (f"{b}.b2", (d,)),
                (f"{b}.LN2.gain", (d,)), (f"{b}.LN2.bias", (d,)),
            ]  # fmt: skip
        self.layout = Layout([*arrays, ("Wo", (vocabulary, d)), ("bo", (vocabulary,))])
        self.width = length * (max(m, length) if blocks > 1 else d)
        self._positions = Positions(length, d)
        self._hidden_positions = Positions(length, m)

    @classmethod
    def from_config(cls, config: ModelConfig, length: int, vocabulary: int) -> Transformer:
        return cls(vocabulary, length, config.blocks, config.d, config.hidden)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,): normal(0, 1) embedding, uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        arrays: dict[str, np.ndarray] = {}
        for entry in self.layout.entries:
            kind = entry.name.split(".", 1)[-1]
            if kind == "E":
                arrays[entry.name] = random.standard_normal(entry.shape)
            else:
                fan_in = self.m if kind in ("W2", "b2") else self.d
                arrays[entry.name] = initial_array(random, kind, entry.shape, fan_in)
        return self.layout.join(arrays)

    def forward(
        self, w: Tensor, batch: Batch, drop: Dropout | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Logits (W, R, V) at the rows of the batch, and the pullback dU/dlogits -> dU/dw (W, P)."""
        p = self.layout.split(w)
        if self.blocks == 1 and drop is None:
            out, to_input = self._only_block(p, batch)
        else:
            out, to_input = self._all_blocks(p, batch, drop)
        logits, to_out = affine(out, p, "Wo", "bo")

        def backward(d_logits: Tensor) -> Tensor:
            gradient = torch.empty_like(w)
            g = self.layout.split(gradient)
            to_input(to_out(d_logits, g), g)
            return gradient

        return logits, backward

    def attention(self, w: Tensor, tokens: Tensor) -> Tensor:
        """Attention maps (W, B, blocks, L, L) of tokens (W, B, L), rows sum to 1."""
        p = self.layout.split(w)
        rows = every_site(tokens)
        x, _ = embed(p, self._positions.like(w), tokens)
        maps = []
        for b in range(self.blocks):
            x, _, a = self._block(p, b, x, rows, None)
            maps.append(a.view(*tokens.shape, self.length))
        return torch.stack(maps, dim=2)

    def _only_block(self, p: Arrays, batch: Batch) -> tuple[Tensor, ToInput]:
        """The output (W, R, d) of a network of one block without dropout."""
        x, mixed, to_attention = attend_embedded(
            p, "0.Wqk", self.d**-0.5, self._positions.like(p["E"]), batch.tokens, batch.wanted
        )
        out, to_mixed = self._after_attention(p, 0, x, mixed, batch.wanted, None)

        def pullback(d_out: Tensor, g: Arrays) -> None:
            to_attention(*to_mixed(d_out, g), g)

        return out, pullback

    def _all_blocks(self, p: Arrays, batch: Batch, drop: Dropout | None) -> tuple[Tensor, ToInput]:
        """The output (W, R, d) of the last block, evaluated only at the rows of the batch."""
        x, to_embedding = embed(p, self._positions.like(p["E"]), batch.tokens)
        x, to_dropped = dropout(x, drop)
        everywhere = every_site(batch.tokens)
        pullbacks = []
        for b in range(self.blocks):
            x, pullback, _ = self._block(p, b, x, batch.wanted if b == self.blocks - 1 else everywhere, drop)
            pullbacks.append(pullback)

        def pullback_all(dx: Tensor, g: Arrays) -> None:
            for pullback in reversed(pullbacks):
                dx = pullback(dx, g)
            to_embedding(to_dropped(dx), g)

        return x, pullback_all

    def _block(self, p: Arrays, b: int, x: Tensor, rows: Rows, drop: Dropout | None) -> tuple[Tensor, Pullback, Tensor]:
        """X' (W, R, d) at `rows` from x (W, B L, d), its pullback, and the attention A (W, R, L)."""
        scale = self.d**-0.5
        at_rows = rows.take(x)
        q, to_query = linear(at_rows, p, f"{b}.Wqk")
        mixed, a, to_attention = attend(x.unflatten(1, (-1, self.length)), q.mul_(scale), rows)
        out, to_mixed = self._after_attention(p, b, at_rows, mixed, rows, drop)

        def pullback(d_out: Tensor, g: Arrays) -> Tensor:
            d_rows, d_mixed = to_mixed(d_out, g)
            dq, dx = to_attention(d_mixed)
            return rows.add_to(dx.flatten(1, 2), to_query(dq.mul_(scale), g).add_(d_rows))

        return out, pullback, a

    def _after_attention(
        self, p: Arrays, b: int, x: Tensor, mixed: Tensor, rows: Rows, drop: Dropout | None
    ) -> tuple[Tensor, Callable[[Tensor, Arrays], tuple[Tensor, Tensor]]]:
        """X' (W, R, d) from X and M = A X at `rows`, and the pullback dX' -> (dX, dM)."""
        v, to_mixed = linear(mixed, p, f"{b}.Wvc")
        v, to_value = dropout(v, drop)
        y, to_first_sum = layer_norm(v.add_(x), p, f"{b}.LN1")
        z, to_y = affine(y, p, f"{b}.W1", f"{b}.b1")
        z, to_z = relu(z)
        f, to_hidden = affine(z + rows.at_sites(self._hidden_positions.like(z)), p, f"{b}.W2", f"{b}.b2")
        f, to_forward = dropout(f, drop)
        out, to_second_sum = layer_norm(f.add_(y), p, f"{b}.LN2")

        def pullback(d_out: Tensor, g: Arrays) -> tuple[Tensor, Tensor]:
            d_second = to_second_sum(d_out, g)
            dy = to_y(to_z(to_hidden(to_forward(d_second), g)), g).add_(d_second)
            d_first = to_first_sum(dy, g)
            return d_first, to_mixed(to_value(d_first), g)

        return out, pullback
