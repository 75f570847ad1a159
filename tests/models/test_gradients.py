"""The hand-written gradient against automatic differentiation of the equations, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import reference_networks as reference
import torch
from torch import Tensor

from protmpi.models import Network, attention, layers, transformer
from protmpi.models.pooling import Pooling
from protmpi.models.transformer import Transformer
from protmpi.tasks import splits
from protmpi.tasks.folding import Folding

L, V = reference.LENGTH, reference.VOCABULARY
NETWORKS = {
    "one block": Transformer(V, L, 1, 6, 24),
    "one block, odd": Transformer(V, L, 1, 5, 7),
    "three blocks": Transformer(V, L, 3, 6, 24),
    "three blocks, odd": Transformer(V, L, 3, 7, 11),
    "pooling": Pooling(V, L, 6, 10),
    "pooling, odd": Pooling(V, L, 5, 9),
}
INDICES = np.random.default_rng(1).integers(0, 30, size=(3, 21))

each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


@pytest.fixture(params=["as on a CPU", "as on a GPU", "in small parts"])
def arrangement(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How walkers and sequences go through the network: each device has its own way."""
    if request.param == "as on a CPU":
        return
    size = 64 if request.param == "as on a GPU" else 4
    monkeypatch.setattr(Folding, "_together", lambda self, w, whole="": [slice(0, len(w))])
    monkeypatch.setattr(Folding, "_batches", lambda self, split, indices: self.sets[split].batches(indices, size, size))


def disagreement(network: Network, dtype: torch.dtype = torch.float64, whole: bool = False) -> tuple[float, float]:
    """Largest difference of the energies, and relative distance of the gradients, to the reference. `whole`: of the
    whole training set, for which a CPU has its own arrangement."""
    task, w = reference.task_and_weights(network, dtype=dtype)
    chosen = np.tile(np.arange(task.train_size), (3, 1)) if whole else INDICES
    energies, gradients = task.gradient(w, None if whole else INDICES)
    expected_energies, expected = reference.gradient(network, w, chosen)
    assert energies.shape == (3,)
    assert gradients.shape == w.shape
    distance = (gradients - expected).norm(dim=1) / expected.norm(dim=1)
    return float((energies - expected_energies).abs().max()), float(distance.max())


@each_network
@pytest.mark.usefixtures("arrangement")
def test_gradient_of_masked_sites_equals_reference_of_all_sites(network: Network) -> None:
    energy, gradient = disagreement(network)
    assert energy < 1e-12
    assert gradient < 1e-10


@each_network
@pytest.mark.parametrize("cache", [800_000, 2_000, 1])
def test_gradient_of_the_whole_training_set(network: Network, cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All walkers together, in a few passes, and one sequence at a time. Sequences have unequal numbers of masks."""
    monkeypatch.setattr(splits, "CACHE", cache)
    energy, gradient = disagreement(network, whole=True)
    assert energy < 1e-12
    assert gradient < 1e-10


@each_network
def test_single_precision(network: Network) -> None:
    energy, gradient = disagreement(network, torch.float32)
    assert energy < 1e-5
    assert gradient < 1e-4


@each_network
def test_finite_differences(network: Network) -> None:
    task, w = reference.task_and_weights(network)
    _, gradient = task.gradient(w, INDICES)
    for seed in range(3):
        direction = torch.from_numpy(np.random.default_rng(seed).standard_normal(w.shape))
        step = 1e-7 * direction  # short, so that hardly any relu crosses its kink on the way
        slope = (task.gradient(w + step, INDICES)[0] - task.gradient(w - step, INDICES)[0]) / 2e-7
        torch.testing.assert_close((gradient * direction).sum(1), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_network
def test_gpu_agrees_with_cpu(network: Network) -> None:
    task, w = reference.task_and_weights(network)
    on_gpu = Folding(reference.folding_data(), network, device="cuda", dtype=torch.float64)
    for got, expected in zip(on_gpu.gradient(w.cuda(), INDICES), task.gradient(w, INDICES), strict=True):
        torch.testing.assert_close(got.cpu(), expected, rtol=1e-10, atol=1e-12)


class RecordedDropout:
    """Dropout that remembers its masks."""

    def __init__(self) -> None:
        self.probability = 0.3
        self.masks: list[Tensor] = []
        self._drop = layers.Dropout(self.probability, torch.Generator().manual_seed(3))

    def mask(self, x: Tensor) -> Tensor:
        self.masks.append(self._drop.mask(x))
        return self.masks[-1]


@each_network
def test_dropout_gradient(network: Network) -> None:
    task, w = reference.task_and_weights(network, walkers=1)
    sample = 15
    tokens, truth = reference.sequences_of(0)[sample]
    drop = RecordedDropout()
    energy, gradient = task.gradient(w, np.array([[sample]]), drop)  # type: ignore[arg-type]

    masks = [mask[0] for mask in drop.masks]
    for i, mask in enumerate(masks):
        if len(mask) != L:  # the last masks cover the masked sites alone
            masks[i] = torch.ones(L, mask.shape[1], dtype=mask.dtype)
            masks[i][tokens == reference.MASK] = mask
    assert len(masks) == (2 * network.blocks + 1 if network.blocks else 2)
    leaf = w[0].clone().requires_grad_()
    expected, _ = reference.sequence_energy(network, leaf, tokens, truth, masks)
    torch.testing.assert_close(energy[0], expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient[0], torch.autograd.grad(expected, leaf)[0], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(energy, task.gradient(w, np.array([[sample]]))[0])


def test_dropout_keeps_the_mean() -> None:
    drop = layers.Dropout(0.1, torch.Generator().manual_seed(0))
    mask = drop.mask(torch.empty(1, 1000, 100, dtype=torch.float64))
    assert set(mask.unique().tolist()) == {0.0, 1.0 / 0.9}
    assert abs(float(mask.mean()) - 1.0) < 5e-3


# a comparison that cannot fail proves nothing: each mistake below must be seen by it


@each_network
def test_layer_norm_without_its_mean_terms_is_noticed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_means(h: Tensor, centred: Tensor, shape: object, mean: Tensor, scale: Tensor, *_: object) -> list:
        return [h * scale]

    monkeypatch.setattr(layers, "_layer_norm_backward", without_means)
    assert disagreement(network)[1] > 1e-3


def test_attention_without_its_keys_and_values_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def queries_alone(*arguments):
        mixed, a, pullback = attention.attend(*arguments)
        return mixed, a, lambda dm: (pullback(dm)[0], torch.zeros_like(arguments[0]))

    monkeypatch.setattr(transformer, "attend", queries_alone)
    assert disagreement(NETWORKS["three blocks"])[1] > 1e-3


def test_embedded_attention_without_its_scores_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "sum_by", lambda keys, rows, size: 0.0 * layers.sum_by(keys, rows, size))
    assert disagreement(NETWORKS["one block"])[1] > 1e-3


def test_sum_by_equals_the_product_that_gpus_use() -> None:
    random = np.random.default_rng(0)
    keys = torch.from_numpy(random.integers(0, 5, size=(3, 40)))
    rows = torch.from_numpy(random.standard_normal((3, 40, 4)))
    torch.testing.assert_close(layers.sum_by(keys, rows, 5), layers.one_hot(keys, 5, rows.dtype).mT @ rows)
