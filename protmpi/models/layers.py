"""What the networks share. Every tensor has a leading walker axis W; rows are (sequence, site) pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Dropout = Callable[[Tensor], Tensor]

LAYER_NORM_EPS = 1e-5


def no_dropout(x: Tensor) -> Tensor:
    """Sampling and evaluation drop nothing."""
    return x


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


def embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Rows of table (W, V, d) at tokens (W, B, L): (W, B, L, d)."""
    walkers, vocabulary, d = table.shape
    offset = vocabulary * torch.arange(walkers, device=tokens.device).view(-1, 1, 1)
    return functional.embedding(tokens + offset, table.reshape(walkers * vocabulary, d))


def at_sites(x: Tensor, sites: Tensor) -> Tensor:
    """Rows of x (W, B, L, d) at sites (W, B, S): (W, B, S, d)."""
    return torch.gather(x, 2, sites[..., None].expand(*sites.shape, x.shape[-1]))


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of x (W, n, d) at rows (W, R): (W, R, d)."""
    return torch.gather(x, 1, rows[..., None].expand(*rows.shape, x.shape[-1]))


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (W, ..., n) times weight (W, m, n) transposed: (W, ..., m), one matrix product per walker."""
    return (x.flatten(1, -2) @ weight.transpose(1, 2)).unflatten(1, x.shape[1:-1])


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """linear(x, weight) + bias, bias (W, m)."""
    rows = torch.baddbmm(bias[:, None, :], x.flatten(1, -2), weight.transpose(1, 2))
    return rows.unflatten(1, x.shape[1:-1])


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation over the last axis with a gain and a bias (W, d) per walker (Ba et al. 2016)."""
    normal = functional.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
    shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    return torch.addcmul(bias.view(shape), normal, gain.view(shape))


def uniform_weight(random: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Uniform in ±1/sqrt(fan_in), for the weights and the bias of a linear map."""
    bound = fan_in**-0.5
    return random.uniform(-bound, bound, size=shape)
