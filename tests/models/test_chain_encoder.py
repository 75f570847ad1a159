"""The network of protein chains: its gradient, its blindness for padding, and what it does with coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protmpi.models.chain_encoder import ChainEncoder, Chains
from protmpi.models.encoder import Encoder
from protmpi.models.layers import Dropout

WALKERS, LENGTHS, LONGEST, V = 2, (5, 8, 3), 8, 21
BOTH = pytest.mark.parametrize("coordinates", [True, False])


def network(coordinates: bool) -> ChainEncoder:
    return ChainEncoder(V, 10, Encoder(blocks=2, heads=2, d=6, m=10), coordinates)


def weights(net: ChainEncoder) -> torch.Tensor:
    random = np.random.default_rng(2)
    return torch.tensor(np.stack([net.initial(random) for _ in range(WALKERS)]))


def chains(seed: int = 3) -> Chains:
    """Chains of LENGTHS, the same for every walker; what stands in the padding is wild."""
    random = np.random.default_rng(seed)
    real = np.arange(LONGEST) < np.array(LENGTHS)[:, None]
    tokens = random.integers(V, size=real.shape)
    geometry = random.normal(0.0, 10.0, (*real.shape, 4))
    geometry[..., 3] = random.random(real.shape) < 0.2
    return Chains(*(torch.as_tensor(x).expand(WALKERS, *x.shape) for x in (tokens, geometry, real)))


def rows() -> torch.Tensor:
    """Some real sites of every chain."""
    return torch.tensor([1, 4, LONGEST, LONGEST + 7, 2 * LONGEST + 2])


@BOTH
@pytest.mark.parametrize("dropped", [False, True])
def test_the_pullback_is_the_derivative(coordinates: bool, dropped: bool) -> None:
    net, batch = network(coordinates), chains()
    w = weights(net)
    towards = torch.tensor(np.random.default_rng(4).normal(size=(WALKERS, len(rows()), V)))
    direction = torch.tensor(np.random.default_rng(5).normal(size=w.shape))

    def drop() -> Dropout | None:
        return Dropout(0.2, torch.Generator().manual_seed(6)) if dropped else None

    def value(at: torch.Tensor) -> torch.Tensor:
        return (net.forward(at, batch, rows(), drop())[0] * towards).sum((1, 2))

    step = 1e-6
    slope = (value(w + step * direction) - value(w - step * direction)) / (2 * step)
    gradient = net.forward(w, batch, rows(), drop())[1](towards)
    assert torch.allclose((gradient * direction).sum(1), slope, rtol=1e-6, atol=1e-6)
    # every array takes part, but for the bias-free ones of nothing
    for entry in net.layout.entries:
        assert (gradient[:, entry.slice] != 0).any(), entry.name


@BOTH
def test_a_chain_alone_is_a_chain_in_company(coordinates: bool) -> None:
    net, batch = network(coordinates), chains()
    w = weights(net)
    together = net.embedding(w, batch)
    for n, length in enumerate(LENGTHS):
        alone = Chains(*(x[:, n : n + 1, :length] for x in (batch.tokens, batch.geometry, batch.real)))
        assert torch.allclose(net.embedding(w, alone)[:, 0], together[:, n, :length], atol=1e-12)
    # broken twin: padding that is taken for real changes what the chains are
    unmasked = Chains(batch.tokens, batch.geometry, torch.ones_like(batch.real))
    assert not torch.allclose(net.embedding(w, unmasked)[:, 0, :3], together[:, 0, :3], atol=1e-3)


def test_logits_are_the_head_of_the_embedding() -> None:
    net, batch = network(True), chains()
    w = weights(net)
    p = net.layout.split(w)
    wanted = net.embedding(w, batch).flatten(1, 2)[:, rows()]
    expected = torch.einsum("wrd,wvd->wrv", wanted, p["Wo"]) + p["bo"][:, None]
    assert torch.allclose(net.forward(w, batch, rows())[0], expected, atol=1e-12)


def test_coordinates_are_seen_only_where_they_are_to_be() -> None:
    batch, moved = chains(), chains()
    moved = Chains(batch.tokens, batch.geometry + 1.0, batch.real)
    for coordinates in (True, False):
        net = network(coordinates)
        w = weights(net)
        same = torch.equal(net.forward(w, batch, rows())[0], net.forward(w, moved, rows())[0])
        assert same is not coordinates
    assert network(True).layout.size - network(False).layout.size == 4 * 6


def test_attention_rows_sum_to_one_over_real_sites() -> None:
    net, batch = network(True), chains()
    maps = net.attention(weights(net), batch)
    assert maps.shape == (WALKERS, len(LENGTHS), 2, 2, LONGEST, LONGEST)
    assert torch.allclose(maps.sum(-1), torch.ones(()).double())
    assert (maps[:, 0, ..., LENGTHS[0] :] == 0).all()
