"""Networks as pure functions of a flat parameter vector, for many walkers at once.

layout        name, shape and offset of every array inside the flat vector
transformer   attention blocks
feedforward   plain ReLU network on vectors, not on sequences
pooling       feed-forward network that sees the mean over unmasked sites
encoder       pre-norm blocks of multi-head attention, part of networks with their own embedding and head
layers        common layers with their pullbacks: embedding, layer normalisation, affine maps
attention     attention within each sequence
batch         input of a network: tokens, and the rows at which its output is needed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from protmpi.errors import ConfigError
from protmpi.importing import named
from protmpi.kinds import NETWORKS
from protmpi.models.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from protmpi.models.batch import Batch
    from protmpi.models.layers import Dropout
    from protmpi.sections import ModelConfig


class Network(Protocol):
    """A network with W copies of its P parameters, w of shape (W, P)."""

    layout: Layout
    blocks: int
    """Attention blocks, 0 for a network without attention."""

    width: int
    """Numbers per sequence in the widest array of a gradient. A task chooses the size of its batches by it."""

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,)."""

    def forward(
        self, w: Tensor, batch: Batch, drop: Dropout | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Logits (W, R, V) at the rows of the batch, and the pullback dU/dlogits -> dU/dw (W, P)."""

    def attention(self, w: Tensor, tokens: Tensor) -> Tensor:
        """Attention maps (W, B, blocks, L, L) of tokens (W, B, L)."""


def build(config: ModelConfig, length: int, vocabulary: int = 21) -> Network:
    """Build the network of the section `[model]`, for sequences of `length` tokens.

    Raises ConfigError for a kind that does not read tokens.
    """
    if config.kind not in NETWORKS:
        raise ConfigError(f'model.kind: "{config.kind}" does not read tokens; choose one of {", ".join(NETWORKS)}')
    network: Network = named(NETWORKS[config.kind]).from_config(config, length, vocabulary)
    return network
