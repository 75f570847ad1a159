"""Layers, each with its pullback beside it: the gradient is written by hand, and no graph is recorded.

A layer returns its output y and a pullback. The pullback takes dU/dy, writes dU/d(parameter) of the layer's
parameters into the arrays g and returns dU/dx; it changes neither its argument nor what the layer computed.

Every tensor has a leading walker axis W: activations x (W, n, d) hold n rows, a row is a (sequence, site) pair.
p and g map names to the parameters (W, ...) and to the views of the gradient where they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Arrays = dict[str, Tensor]
Pullback = Callable[[Tensor, Arrays], Tensor]

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Dropout:
    """Sets each number to zero with `probability` and divides the others by 1 - probability."""

    probability: float
    generator: torch.Generator

    def mask(self, x: Tensor) -> Tensor:
        """What x is multiplied with: 0 or 1 / (1 - probability), in the shape of x."""
        keep = 1.0 - self.probability
        kept = torch.rand(x.shape, generator=self.generator, device=x.device, dtype=x.dtype) < keep
        return kept.to(x.dtype).div_(keep)


def dropout(x: Tensor, drop: Dropout | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """x times a random mask; sampling and evaluation (drop = None) drop nothing."""
    if drop is None:
        return x, lambda dy: dy
    mask = drop.mask(x)
    return x * mask, lambda dy: dy * mask


def linear(x: Tensor, p: Arrays, weight: str) -> tuple[Tensor, Pullback]:
    """y = x Aᵀ with A (W, m, d)."""

    def pullback(dy: Tensor, g: Arrays) -> Tensor:
        torch.bmm(dy.mT, x, out=g[weight])
        return torch.bmm(dy, p[weight])

    return torch.bmm(x, p[weight].mT), pullback


def affine(x: Tensor, p: Arrays, weight: str, bias: str) -> tuple[Tensor, Pullback]:
    """y = x Aᵀ + b with A (W, m, d), b (W, m)."""

    def pullback(dy: Tensor, g: Arrays) -> Tensor:
        torch.sum(dy, 1, out=g[bias])
        torch.bmm(dy.mT, x, out=g[weight])
        return torch.bmm(dy, p[weight])

    return torch.baddbmm(p[bias].unsqueeze(1), x, p[weight].mT), pullback


def relu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """y = max(x, 0). Overwrites x."""
    y = x.relu_()
    return y, lambda dy: torch.ops.aten.threshold_backward(dy, y, 0)


def layer_norm(x: Tensor, p: Arrays, name: str) -> tuple[Tensor, Pullback]:
    """y = gain n + bias with n = (x - mean) / √(variance + eps) over the last axis (Ba et al. 2016). Overwrites x.

    dU/dx = (h - mean(h) - n mean(h n)) / √(variance + eps)   with h = gain dU/dy

    Means are matrix products with a vector: several times faster than reductions over short rows.
    """
    d = x.shape[-1]
    gain, bias = p[f"{name}.gain"], p[f"{name}.bias"]
    ones = x.new_full((d, 1), 1.0 / d)
    n = x.sub_(x @ ones)
    scale = (n.square() @ ones).add_(LAYER_NORM_EPS).rsqrt_()
    n.mul_(scale)

    def pullback(dy: Tensor, g: Arrays) -> Tensor:
        weights = gain.unsqueeze(2) / d
        product = dy * n
        torch.sum(product, 1, out=g[f"{name}.gain"])
        torch.sum(dy, 1, out=g[f"{name}.bias"])
        dx = (dy * gain.unsqueeze(1)).sub_(dy @ weights)
        return dx.addcmul_(n, product @ weights, value=-1.0).mul_(scale)

    return torch.addcmul(bias.unsqueeze(1), n, gain.unsqueeze(1)), pullback


def embed(p: Arrays, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Callable[[Tensor, Arrays], None]]:
    """Rows E[token] + PE[site] (W, B L, d) of tokens (W, B, L), with E (W, V, d) and PE (L, d)."""
    walkers, vocabulary, d = p["E"].shape
    first = vocabulary * torch.arange(walkers, device=tokens.device)
    rows = (tokens + first.view(-1, 1, 1)).flatten()
    x = p["E"].reshape(walkers * vocabulary, d).index_select(0, rows).view(*tokens.shape, d).add_(positions)

    def pullback(dx: Tensor, g: Arrays) -> None:
        # a product with one-hot rows: sums over equal tokens in a fixed order, at the speed of matrix products
        one_hot = torch.eye(vocabulary, dtype=dx.dtype, device=dx.device).index_select(0, tokens.flatten())
        torch.bmm(one_hot.view(walkers, -1, vocabulary).mT, dx, out=g["E"])

    return x.view(walkers, -1, d), pullback


def sinusoidal_positions(length: int, size: int) -> np.ndarray:
    """Positions PE (length, size): sin and cos of position / 10000^(2k/size) (Vaswani et al. 2017)."""
    position = np.arange(length)[:, None]
    frequency = 10_000.0 ** (-np.arange(0, size, 2) / size)
    table = np.zeros((length, size))
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency[: size // 2])
    return table


class Positions:
    """The table PE (length, size), held in the type and on the device of whoever asks."""

    def __init__(self, length: int, size: int) -> None:
        self._table = torch.from_numpy(sinusoidal_positions(length, size))
        self._cache: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        key = (x.dtype, x.device)
        if key not in self._cache:
            self._cache[key] = self._table.to(dtype=x.dtype, device=x.device)
        return self._cache[key]


def uniform_weight(random: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Uniform in ±1/√fan_in, for the weights and the bias of a linear map."""
    bound = fan_in**-0.5
    return random.uniform(-bound, bound, size=shape)
