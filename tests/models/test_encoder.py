"""The encoder and its hand-written gradient against torch's own encoder layers and automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from protmpi.models import attention, encoder, layers
from protmpi.models.encoder import Encoder
from protmpi.models.layout import Layout

WALKERS, BATCH, LENGTH = 2, 3, 7
NETWORKS = {
    "one block, one head": Encoder(1, 1, 4, 16),
    "two blocks, three heads": Encoder(2, 3, 6, 24),
    "three blocks, odd": Encoder(3, 5, 5, 7),
    "two blocks, gelu": Encoder(2, 3, 6, 24, "gelu"),
    "three blocks, odd, gelu": Encoder(3, 5, 5, 7, "gelu"),
}

each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


def inputs(network: Encoder) -> tuple[Layout, Tensor, Tensor, Tensor, Tensor]:
    """Layout, weights (W, P) away from gain 1 and bias 0, sequences (W, B, L, d), which sites are real, dU/dX'."""
    random = np.random.default_rng(4)
    layout = Layout(network.arrays)
    w = np.stack([layout.join(network.initial(random)) for _ in range(WALKERS)])
    w += 0.2 * random.standard_normal(w.shape)
    shape = (WALKERS, BATCH, LENGTH, network.d)
    length = random.integers(1, LENGTH, size=(WALKERS, BATCH, 1))
    real = torch.from_numpy(np.arange(LENGTH) < length)
    x, dx = random.standard_normal((2, *shape))
    return layout, torch.from_numpy(w), torch.from_numpy(x), real, torch.from_numpy(dx)


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """relu, or gelu written out, so that its derivative is automatic as well."""
    return torch.relu if name == "relu" else lambda x: x * 0.5 * (1.0 + torch.erf(x / 2**0.5))


def torch_layer(
    network: Encoder, p: dict[str, Tensor], b: int, x: Tensor, real: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Block b of one walker by torch, and its attention maps (B, heads, L, L)."""
    layer = torch.nn.TransformerEncoderLayer(
        network.d, network.heads, network.m, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64,
        activation=activation(network.activation),
    )  # fmt: skip
    bq, of = p[f"{b}.bq"], lambda name: p[f"{b}.{name}"]
    given = {
        "self_attn.in_proj_weight": torch.cat([of("Wq"), of("Wk"), of("Wv")]),
        "self_attn.in_proj_bias": torch.cat([bq, torch.zeros_like(bq), torch.zeros_like(bq)]),
        "self_attn.out_proj.weight": of("Wo"), "self_attn.out_proj.bias": of("bo"),
        "linear1.weight": of("W1"), "linear1.bias": of("b1"), "linear2.weight": of("W2"), "linear2.bias": of("b2"),
        "norm1.weight": of("LN1.gain"), "norm1.bias": of("LN1.bias"),
        "norm2.weight": of("LN2.gain"), "norm2.bias": of("LN2.bias"),
    }  # fmt: skip
    padding = None if real is None else ~real
    attended = {name.removeprefix("self_attn."): value for name, value in given.items() if name.startswith("self")}
    n = torch.nn.functional.layer_norm(x, (network.d,), of("LN1.gain"), of("LN1.bias"))
    _, maps = functional_call(layer.self_attn, attended, (n, n, n),
                              {"key_padding_mask": padding, "average_attn_weights": False})  # fmt: skip
    return functional_call(layer, given, (x,), {"src_key_padding_mask": padding}), maps


def by_torch(network: Encoder, padded: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, gradient by the weights, gradient by the input, attention maps."""
    layout, w, x, real, d_out = inputs(network)
    w, x = w.requires_grad_(), x.requires_grad_()
    outputs, maps = [], []
    for walker in range(WALKERS):
        y, walker_maps = x[walker], []
        p = {e.name: w[walker, e.slice].view(e.shape) for e in layout.entries}
        for b in range(network.blocks):
            y, of_block = torch_layer(network, p, b, y, real[walker] if padded else None)
            walker_maps.append(of_block)
        outputs.append(y)
        maps.append(torch.stack(walker_maps, 1))
    out = torch.stack(outputs)
    return out.detach(), *torch.autograd.grad((out * d_out).sum(), (w, x)), torch.stack(maps).detach()


def by_hand(network: Encoder, padded: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layout, w, x, real, d_out = inputs(network)
    mask, p, gradient = real if padded else None, layout.split(w), torch.full_like(w, torch.nan)
    kept, d_kept = x.clone(), d_out.clone()
    out, pullback = network.forward(p, x, mask)
    dx = pullback(d_out, layout.split(gradient))
    assert torch.equal(x, kept)
    assert torch.equal(d_out, d_kept)
    return out, gradient, dx, network.attention(p, x, mask)


def disagreement(network: Encoder, padded: bool = True) -> list[float]:
    """Relative distance to torch of output, gradients by weights and by input, and attention maps."""
    pairs = zip(by_hand(network, padded), by_torch(network, padded), strict=True)
    return [float((hand - expected).norm() / expected.norm()) for hand, expected in pairs]


@pytest.mark.parametrize("padded", [False, True])
@each_network
def test_output_gradients_and_maps_equal_those_of_torch(network: Encoder, padded: bool) -> None:
    assert max(disagreement(network, padded)) < 1e-12


@each_network
def test_what_stands_at_padding_changes_nothing_elsewhere(network: Encoder) -> None:
    layout, w, x, real, _ = inputs(network)
    p = layout.split(w)
    other = torch.where(real[..., None], x, 100.0)
    out, again = network.forward(p, x, real)[0], network.forward(p, other, real)[0]
    assert torch.equal(out[real], again[real])
    assert (network.attention(p, x, real).movedim(-1, 2)[~real] == 0).all()
    assert not torch.allclose(network.forward(p, x)[0][real], network.forward(p, other)[0][real])


@each_network
def test_dropout_gradient_by_finite_differences(network: Encoder) -> None:
    layout, w, x, real, d_out = inputs(network)

    def forward(weights: Tensor) -> tuple[Tensor, layers.Pullback]:
        drop = layers.Dropout(0.3, torch.Generator().manual_seed(3))  # the same masks every time
        return network.forward(layout.split(weights), x, real, drop)

    gradient = torch.empty_like(w)
    out, pullback = forward(w)
    pullback(d_out, layout.split(gradient))
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(w.shape))
    step = 1e-8 * direction  # short, so that hardly any relu crosses its kink on the way
    slope = ((forward(w + step)[0] - forward(w - step)[0]) * d_out).sum() / 2e-8
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)
    assert not torch.allclose(out, network.forward(layout.split(w), x, real)[0])


def test_fresh_weights() -> None:
    network = Encoder(1, 2, 64, 256)
    arrays = network.initial(np.random.default_rng(0))
    assert [name for name, _ in network.arrays] == list(arrays)
    assert (arrays["0.LN1.gain"] == 1).all()
    assert (arrays["0.LN2.bias"] == 0).all()
    for name, fan_in in (("0.Wq", 64), ("0.W1", 64), ("0.W2", 256)):
        assert np.abs(arrays[name]).max() == pytest.approx(fan_in**-0.5, rel=1e-3)


# a comparison that cannot fail proves nothing: each mistake below must be seen by it

NETWORK = NETWORKS["two blocks, three heads"]


def test_attention_without_its_keys_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def keyless(*arguments):
        mixed, a, pullback = attention.attend_heads(*arguments)
        return mixed, a, lambda dm: [d * factor for d, factor in zip(pullback(dm), (1, 0, 1), strict=True)]

    monkeypatch.setattr(encoder, "attend_heads", keyless)
    out, by_weights, by_input, _ = disagreement(NETWORK)
    assert out < 1e-12
    assert min(by_weights, by_input) > 1e-3


def test_attention_that_ignores_padding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "attend_heads", lambda q, k, v, heads, _: attention.attend_heads(q, k, v, heads))
    assert min(disagreement(NETWORK)) > 1e-3


def test_one_head_in_place_of_three_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_head(q, k, v, heads, real):
        mixed, a, pullback = attention.attend_heads(q, k, v, 1, real)
        return mixed, a.expand(-1, -1, heads, -1, -1), pullback

    monkeypatch.setattr(encoder, "attend_heads", one_head)
    assert min(disagreement(NETWORK)) > 1e-3


GELU = NETWORKS["two blocks, gelu"]


def test_gelu_is_not_its_approximation_by_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    def tanh(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = torch.nn.functional.gelu(x, approximate="tanh")
        return y, lambda dy: torch.ops.aten.gelu_backward(dy, x, approximate="tanh")

    monkeypatch.setitem(layers.ACTIVATIONS, "gelu", tanh)
    assert min(disagreement(GELU)[:3]) > 1e-6


def test_gelu_whose_slope_lacks_the_density_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return torch.nn.functional.gelu(x), lambda dy: dy * 0.5 * (1.0 + torch.erf(x / 2**0.5))

    monkeypatch.setitem(layers.ACTIVATIONS, "gelu", half)
    out, by_weights, by_input, _ = disagreement(GELU)
    assert out < 1e-12
    assert min(by_weights, by_input) > 1e-3


def test_relu_in_place_of_gelu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layers.ACTIVATIONS, "gelu", layers.relu)
    assert min(disagreement(GELU)) > 1e-3


def test_layer_norm_without_its_mean_terms_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_layer_norm_backward", lambda h, centred, shape, mean, scale, *_: [h * scale])
    assert min(disagreement(NETWORK)[1:3]) > 1e-3
