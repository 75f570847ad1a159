"""The task around the networks: sizes, mini-batches, evaluation, attention maps, and walkers that do not meet."""

from __future__ import annotations

import numpy as np
import pytest
import reference_networks as reference
import torch

from protmpi.bench import baseline
from protmpi.models import Network
from protmpi.models.pooling import Pooling
from protmpi.models.transformer import Transformer
from protmpi.tasks import folding, splits
from protmpi.tasks.folding import Folding

L, V = reference.LENGTH, reference.VOCABULARY
NETWORKS = {
    "one block": Transformer(V, L, 1, 6, 24),
    "two blocks": Transformer(V, L, 2, 6, 24),
    "pooling": Pooling(V, L, 6, 10),
}
INDICES = np.random.default_rng(2).integers(0, 30, size=(3, 21))

each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


@pytest.mark.parametrize(
    ("network", "parameters", "norm2"),
    [
        (Transformer(21, 86, 1, 26, 104), 8_107, None),
        (Transformer(21, 86, 1, 64, 256), 44_245, 1_655),
        (Transformer(21, 86, 4, 14, 56), 8_953, None),
        (Transformer(21, 86, 4, 64, 256), 168_853, 2_507),
        (Pooling(21, 86, 64, 320), 173_653, 2_061),
    ],
)
def test_published_sizes_and_initial_norms(network: Network, parameters: int, norm2: float | None) -> None:
    w = network.initial(np.random.default_rng(0))
    assert network.layout.size == len(w) == parameters
    if norm2:
        assert (w**2).sum() == pytest.approx(norm2, rel=0.05)


@each_network
def test_a_sample_drawn_twice_counts_twice(network: Network) -> None:
    task, w = reference.task_and_weights(network, walkers=1)
    _, both = task.gradient(w, np.array([[3, 17, 3]]))
    _, first = task.gradient(w, np.array([[3]]))
    _, second = task.gradient(w, np.array([[17]]))
    torch.testing.assert_close(both, (2 * first + second) / 3)


@each_network
def test_order_of_a_mini_batch_does_not_matter(network: Network) -> None:
    task, w = reference.task_and_weights(network, dtype=torch.float32)
    energies, gradients = task.gradient(w, INDICES)
    again = task.gradient(w, INDICES[:, ::-1].copy())
    assert torch.equal(energies, again[0])
    assert torch.equal(gradients, again[1])


@each_network
def test_fewest_and_most_masked_sites_in_one_mini_batch(network: Network) -> None:
    task, w = reference.task_and_weights(network, walkers=1)
    count = task.sets["train"].count
    assert count[0] == 1
    assert count[-1] == L
    _, both = task.gradient(w, np.array([[0, 29]]))
    _, few = task.gradient(w, np.array([[0]]))
    _, all_sites = task.gradient(w, np.array([[29]]))
    torch.testing.assert_close(both, (few + all_sites) / 2)


@each_network
def test_results_depend_neither_on_earlier_calls_nor_on_freed_memory(network: Network) -> None:
    task, w = reference.task_and_weights(network, dtype=torch.float32)
    energies, gradients = task.gradient(w, INDICES)
    kept = energies.clone(), gradients.clone()
    task.gradient(w + 1.0, INDICES[:, :5])
    for size in range(1, 20_000, 37):
        torch.full((size,), torch.nan)  # freed at once: the next arrays lie where these lay
    again = task.gradient(w, INDICES)
    for before, now, kept_copy in zip((energies, gradients), again, kept, strict=True):
        assert torch.equal(before, kept_copy)
        assert torch.equal(now, kept_copy)


@each_network
@pytest.mark.parametrize("together", [False, True])
def test_a_walker_that_is_not_finite_touches_no_other(
    network: Network, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if together:
        monkeypatch.setattr(Folding, "_together", lambda self, w, whole="": [slice(0, len(w))])
        monkeypatch.setattr(Folding, "_batches", lambda self, split, indices: self.sets[split].batches(indices, 64, 64))
    task, w = reference.task_and_weights(network)
    energies, gradients = task.gradient(w, INDICES)
    lost = w.clone()
    lost[1] = torch.nan
    now = task.gradient(lost, INDICES)
    assert torch.isnan(now[0][1])
    assert torch.isnan(now[1][1]).any()
    for walker in (0, 2):
        assert torch.equal(now[0][walker], energies[walker])
        assert torch.equal(now[1][walker], gradients[walker])
    energy, error = task.evaluate(lost, "val")
    assert np.isnan([energy[1], error[1]]).all()
    assert np.isfinite([energy[[0, 2]], error[[0, 2]]]).all()


@each_network
def test_walkers_alone_equal_walkers_in_company(network: Network) -> None:
    task, w = reference.task_and_weights(network, dtype=torch.float32)
    _, gradients = task.gradient(w, INDICES)
    for walker in range(3):
        _, alone = task.gradient(w[walker : walker + 1], INDICES[walker : walker + 1])
        assert torch.equal(alone[0], gradients[walker])


@each_network
def test_full_batch_is_the_mean_over_sequences(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "CACHE", 0)  # several passes
    task, w = reference.task_and_weights(network)
    for code, split in enumerate(folding.SPLITS):
        energy, error = task.evaluate(w, split)
        for walker in range(3):
            each = [reference.sequence_energy(network, w[walker], *sample) for sample in reference.sequences_of(code)]
            assert energy[walker] == pytest.approx(np.mean([float(u) for u, _ in each]), rel=1e-12)
            assert error[walker] == pytest.approx(np.mean([float(e) for _, e in each]), rel=1e-12)


def test_attention_maps() -> None:
    network = NETWORKS["two blocks"]
    task, w = reference.task_and_weights(network)
    tokens = torch.stack([tokens for tokens, _ in reference.sequences_of(2)])
    maps = network.attention(w, tokens.expand(3, -1, -1))
    assert maps.shape == (3, 20, 2, L, L)
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 20, 2, L, dtype=w.dtype))

    p = {entry.name: w[1, entry.slice].reshape(entry.shape) for entry in network.layout.entries}
    x = p["E"][tokens[7]] + baseline.positions(tokens[7], network.d, torch.float64)
    expected = torch.softmax(x @ p["0.Wqk"].T @ x.T / network.d**0.5, dim=1)
    torch.testing.assert_close(maps[1, 7, 0], expected)

    mean = task.mean_attention(w)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, maps.mean(1).numpy(), rtol=1e-6)


def test_network_without_attention_has_no_maps() -> None:
    task, w = reference.task_and_weights(NETWORKS["pooling"])
    assert NETWORKS["pooling"].attention(w, torch.zeros(3, 4, L, dtype=torch.int64)).shape == (3, 4, 0, L, L)
    assert "attention" not in task.snapshot_observables(w)
