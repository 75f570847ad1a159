"""Layers, each with its pullback: gradients are written by hand, without a recorded graph.

A layer returns its output y and a pullback. The pullback takes dU/dy, writes dU/d(parameter) of the layer's
parameters into the arrays g and returns dU/dx. It changes neither its argument nor the results of the layer.

Every tensor has a leading walker axis W: activations x (W, n, d) hold n rows, a row is a (sequence, site) pair.
p maps names to the parameters (W, ...), g maps names to the views of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

Arrays = dict[str, Tensor]
Pullback = Callable[[Tensor, Arrays], Tensor]

LAYER_NORM_EPS = 1e-5
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward


@dataclass(frozen=True)
class Dropout:
    """Sets each number to zero with `probability` and divides the others by 1 - probability.

    A gradient with dropout belongs to training. A task may draw its other random numbers from the same generator.
    """

    probability: float
    generator: torch.Generator

    def mask(self, x: Tensor) -> Tensor:
        """Factors of x: 0 or 1 / (1 - probability), in the shape of x."""
        keep = 1.0 - self.probability
        kept = torch.rand(x.shape, generator=self.generator, device=x.device, dtype=x.dtype) < keep
        return kept.to(x.dtype).div_(keep)


def dropout(x: Tensor, drop: Dropout | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """x times a random mask. Sampling and evaluation have no dropout (drop = None)."""
    if drop is None or drop.probability == 0.0:
        return x, lambda dy: dy
    mask = drop.mask(x)
    return x * mask, lambda dy: dy * mask


def linear(x: Tensor, p: Arrays, weight: str) -> tuple[Tensor, Pullback]:
    """y = x Aᵀ with A (W, m, d)."""

    def pullback(dy: Tensor, g: Arrays) -> Tensor:
        torch.bmm(dy.mT, x, out=g[weight])
        return torch.bmm(dy, p[weight])

    return torch.bmm(x, p[weight].mT), pullback


def affine(x: Tensor, p: Arrays, weight: str, bias: str, data: bool = False) -> tuple[Tensor, Pullback]:
    """y = x Aᵀ + b with A (W, m, d), b (W, m). dU/dx is not needed if x is data."""

    def pullback(dy: Tensor, g: Arrays) -> Tensor:
        torch.sum(dy, 1, out=g[bias])
        torch.bmm(dy.mT, x, out=g[weight])
        return dy if data else torch.bmm(dy, p[weight])

    return torch.baddbmm(p[bias].unsqueeze(1), x, p[weight].mT), pullback


def relu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """y = max(x, 0). Overwrites x."""
    y = x.relu_()
    return y, lambda dy: torch.ops.aten.threshold_backward(dy, y, 0)


def gelu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """y = x Φ(x), Φ the distribution function of N(0, 1) (Hendrycks and Gimpel 2016). dy/dx = Φ(x) + x φ(x), φ = Φ'."""
    return torch.nn.functional.gelu(x), lambda dy: torch.ops.aten.gelu_backward(dy, x)


ACTIVATIONS = {"relu": relu, "gelu": gelu}


def layer_norm(x: Tensor, p: Arrays, name: str) -> tuple[Tensor, Pullback]:
    """y = gain n + bias with n = (x - mean) / √(variance + eps) over the last axis (Ba et al. 2016). Overwrites x.

    dU/dx = (h - mean(h) - n mean(h n)) / √(variance + eps)   with h = gain dU/dy
    """
    gain, bias = p[f"{name}.gain"], p[f"{name}.bias"]
    shape = x.shape[-1:]
    centred = x.sub_(x.mean(-1, keepdim=True))
    scale = (centred * centred).mean(-1, keepdim=True).add_(LAYER_NORM_EPS).rsqrt_()
    n = centred * scale

    def pullback(dy: Tensor, g: Arrays) -> Tensor:
        torch.sum(dy * n, 1, out=g[f"{name}.gain"])
        torch.sum(dy, 1, out=g[f"{name}.bias"])
        h, no_mean = dy * gain.unsqueeze(1), torch.zeros_like(scale)
        return _layer_norm_backward(h, centred, shape, no_mean, scale, None, None, (True, False, False))[0]

    return torch.addcmul(bias.unsqueeze(1), n, gain.unsqueeze(1)), pullback


def one_hot(tokens: Tensor, vocabulary: int, dtype: torch.dtype) -> Tensor:
    """Rows (W, n, V) with a one at tokens (W, n)."""
    return _unit(vocabulary, dtype, tokens.device).index_select(0, tokens.flatten()).view(*tokens.shape, vocabulary)


@lru_cache(maxsize=8)
def _unit(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)


def select(table: Tensor, keys: Tensor) -> Tensor:
    """Rows (W, n, d) of table (W, K, d) at keys (W, n)."""
    return table.reshape(-1, table.shape[2]).index_select(0, _flat(keys, table.shape[1])).view(*keys.shape, -1)


def sum_by(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    """Sums (W, K, d) of the rows (W, n, d) with equal keys (W, n), K = size: the pullback of `select`."""
    if rows.is_cuda:  # index_add_ adds in random order on a GPU
        return one_hot(keys, size, rows.dtype).mT @ rows
    sums = rows.new_zeros(rows.shape[0] * size, rows.shape[2])
    return sums.index_add_(0, _flat(keys, size), rows.flatten(0, 1)).view(rows.shape[0], size, -1)


def _flat(keys: Tensor, size: int) -> Tensor:
    """Keys (W, n) as rows (W n,) of a matrix with `size` rows for each walker."""
    if len(keys) == 1:
        return keys[0]
    return (keys + size * torch.arange(len(keys), device=keys.device).unsqueeze(1)).flatten()


def embed(p: Arrays, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Callable[[Tensor, Arrays], None]]:
    """Rows E[token] + PE[site] (W, B L, d) of tokens (W, B, L), with E (W, V, d) and PE (L, d)."""
    keys = tokens.flatten(1)
    x = select(p["E"], keys).unflatten(1, tokens.shape[1:]).add_(positions).flatten(1, 2)

    def pullback(dx: Tensor, g: Arrays) -> None:
        g["E"].copy_(sum_by(keys, dx, p["E"].shape[1]))

    return x, pullback


def sinusoidal_positions(length: int, size: int) -> np.ndarray:
    """Positions PE (length, size): sin and cos of position / 10000^(2k/size) (Vaswani et al. 2017)."""
    position = np.arange(length)[:, None]
    frequency = 10_000.0 ** (-np.arange(0, size, 2) / size)
    table = np.zeros((length, size))
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency[: size // 2])
    return table


class Positions:
    """The table PE (length, size), in the type and on the device of its user."""

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


def initial_array(random: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """A fresh array: gain 1 and bias 0 of a layer norm, uniform ±1/√fan_in of a linear map."""
    if name.endswith(("gain", "bias")):
        return np.full(shape, float(name.endswith("gain")))
    return uniform_weight(random, shape, fan_in)
