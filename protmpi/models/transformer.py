"""Transformer of `blocks` attention blocks, one head, no attention bias (METHOD section 8).

    A  = softmax((X Wqkᵀ) Xᵀ / √d)      Y  = LN1(X + A X Wvcᵀ)
    H  = relu(Y W1ᵀ + b1) + PE_m        X' = LN2(Y + H W2ᵀ + b2)        logits = X' Woᵀ + bo

The loss reads only the masked sites, so the last block and the head are evaluated at `sites` alone: the same
numbers at a fraction of the work.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layers import (
    Dropout,
    Positions,
    affine,
    at_sites,
    embed,
    layer_norm,
    linear,
    no_dropout,
    take,
    uniform_weight,
)
from protmpi.models.layout import Layout


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
        self._positions = Positions(length, d)
        self._hidden_positions = Positions(length, m)

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,): normal(0, 1) embedding, uniform ±1/√fan_in linear maps, gain 1, bias 0."""
        arrays: dict[str, np.ndarray] = {}
        for entry in self.layout.entries:
            kind = entry.name.split(".", 1)[-1]
            if kind == "E":
                arrays[entry.name] = random.standard_normal(entry.shape)
            elif kind.endswith(("gain", "bias")):
                arrays[entry.name] = np.full(entry.shape, float(kind.endswith("gain")))
            else:
                fan_in = self.m if kind in ("W2", "b2") else self.d
                arrays[entry.name] = uniform_weight(random, entry.shape, fan_in)
        return self.layout.join(arrays)

    def logits(
        self, parameters: dict[str, Tensor], tokens: Tensor, sites: Tensor, rows: Tensor, drop: Dropout = no_dropout
    ) -> Tensor:
        """Logits (W, R, V) at the entries `rows` (W, R) of the flattened `sites` (W, B S) of `tokens` (W, B, L)."""
        x = drop(embed(parameters["E"], tokens) + self._positions.like(parameters["E"]))
        for b in range(self.blocks - 1):
            x = self._block(parameters, b, x, self._mix(parameters, b, x, x), self._hidden_positions.like(x), drop)
        queries = at_sites(x, sites)
        mixed = self._mix(parameters, self.blocks - 1, x, queries)
        positions = self._hidden_positions.like(x)[torch.gather(sites.flatten(1), 1, rows)]
        x = self._block(
            parameters,
            self.blocks - 1,
            take(queries.flatten(1, 2), rows),
            take(mixed.flatten(1, 2), rows),
            positions,
            drop,
        )
        return affine(x, parameters["Wo"], parameters["bo"])

    def attention(self, parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """Attention maps (W, B, blocks, L, L), rows sum to 1."""
        x = embed(parameters["E"], tokens) + self._positions.like(parameters["E"])
        maps = []
        for b in range(self.blocks):
            maps.append(self._attend(parameters, b, x, x))
            x = self._block(parameters, b, x, maps[-1] @ x, self._hidden_positions.like(x), no_dropout)
        return torch.stack(maps, dim=2)

    def _attend(self, parameters: dict[str, Tensor], b: int, x: Tensor, queries: Tensor) -> Tensor:
        """Attention of `queries` (W, B, S, d) to all sites of x (W, B, L, d): (W, B, S, L)."""
        scores = linear(queries, parameters[f"{b}.Wqk"]) @ x.transpose(-1, -2)
        return torch.softmax(scores * self.d**-0.5, dim=-1)

    def _mix(self, parameters: dict[str, Tensor], b: int, x: Tensor, queries: Tensor) -> Tensor:
        """A X, of the shape of `queries`."""
        return self._attend(parameters, b, x, queries) @ x

    def _block(
        self, parameters: dict[str, Tensor], b: int, x: Tensor, mixed: Tensor, positions: Tensor, drop: Dropout
    ) -> Tensor:
        """What follows attention, row by row: x and mixed = A X (W, ..., d), positions PE_m of the rows."""
        p = {name: parameters[f"{b}.{name}"] for name in ("Wvc", "W1", "b1", "W2", "b2")}
        y = x + drop(linear(mixed, p["Wvc"]))
        y = layer_norm(y, parameters[f"{b}.LN1.gain"], parameters[f"{b}.LN1.bias"])
        hidden = torch.relu(affine(y, p["W1"], p["b1"])) + positions
        forward = affine(hidden, p["W2"], p["b2"])
        return layer_norm(y + drop(forward), parameters[f"{b}.LN2.gain"], parameters[f"{b}.LN2.bias"])
