"""Plain feed-forward network: ReLU after every layer, also the output layer (docs/method/networks.md section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layers import Arrays, Dropout, Pullback, affine, dropout, relu, uniform_weight
from protmpi.models.layout import Layout


class Feedforward:
    """`inputs` numbers in, hidden layers of the given sizes, `outputs` logits; W copies of the P parameters at once."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        self.sizes = [inputs, *hidden, outputs]
        self.layers = [(f"W{n}", f"b{n}") for n in range(1, len(self.sizes))]
        self.layout = Layout(
            entry
            for (weight, bias), fan_in, size in zip(self.layers, self.sizes[:-1], self.sizes[1:], strict=True)
            for entry in ((weight, (size, fan_in)), (bias, (size,)))
        )

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,), uniform ±1/√fan_in."""
        fan_in = {name: size for names, size in zip(self.layers, self.sizes[:-1], strict=True) for name in names}
        return self.layout.join({e.name: uniform_weight(random, e.shape, fan_in[e.name]) for e in self.layout.entries})

    def forward(self, w: Tensor, x: Tensor, drop: Dropout | None = None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Logits (W, B, outputs) of inputs x (W, B, inputs), and the pullback dU/dlogits -> dU/dw (W, P)."""
        p = self.layout.split(w)
        pullbacks: list[Pullback] = []
        for weight, bias in self.layers:
            first = not pullbacks
            x, to_dropped = dropout(x, None if first else drop)
            x, to_input = affine(x, p, weight, bias, data=first)
            x, to_sum = relu(x)
            pullbacks.append(lambda d, g, a=to_sum, b=to_input, c=to_dropped: c(b(a(d), g)))  # type: ignore[misc]

        def backward(d_logits: Tensor) -> Tensor:
            gradient, d = torch.empty_like(w), d_logits
            g: Arrays = self.layout.split(gradient)
            for pullback in reversed(pullbacks):
                d = pullback(d, g)
            return gradient

        return x, backward
