"""Networks as pure functions of a flat parameter vector, for many walkers at once.

layout        name, shape and offset of every array inside the flat vector
transformer   attention blocks
pooling       feed-forward network that sees the mean over unmasked sites
layers        what both share: embedding, positions, layer normalisation, affine maps
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from protmpi.models.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from protmpi.config import ModelConfig
    from protmpi.models.layers import Dropout


class Network(Protocol):
    """A network with W copies of its P parameters, w of shape (W, P)."""

    layout: Layout
    blocks: int
    """Attention blocks, 0 for a network without attention."""

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,)."""

    def logits(
        self, parameters: dict[str, Tensor], tokens: Tensor, sites: Tensor, rows: Tensor, drop: Dropout
    ) -> Tensor:
        """Logits (W, R, V) at the entries `rows` (W, R) of the flattened `sites` (W, B S) of `tokens` (W, B, L)."""

    def attention(self, parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """Attention maps (W, B, blocks, L, L)."""


def build(config: ModelConfig, length: int, vocabulary: int = 21) -> Network:
    """The network that the section `[model]` describes, for sequences of `length` tokens."""
    from protmpi.models.pooling import Pooling
    from protmpi.models.transformer import Transformer

    if config.kind == "transformer":
        return Transformer(vocabulary, length, config.blocks, config.d, config.hidden)
    return Pooling(vocabulary, length, config.d, config.hidden)
