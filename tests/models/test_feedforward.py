"""The K-spin network and its data: gradient, size, full-batch energies."""

from __future__ import annotations

import numpy as np
import torch

from protmpi.data.sections import KSpinConfig
from protmpi.models.feedforward import Feedforward
from protmpi.tasks.kspin import KSpin, draw

SMALL = KSpinConfig(classes=4, spins=9, flip=0.2, train=70, val=20, test=20)


def task_and_weights() -> tuple[KSpin, torch.Tensor]:
    task = KSpin(SMALL, Feedforward(9, [7, 5], 4), dtype=torch.float64)
    return task, torch.from_numpy(np.stack([task.initial(np.random.default_rng(seed)) for seed in (1, 2)]))


def by_autograd(task: KSpin, w: torch.Tensor, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The equations again, by torch's own layers."""
    w = w.clone().requires_grad_()
    energies = []
    for row, chosen in zip(w, indices, strict=True):
        x, offset = task.sets["train"].x[chosen], 0
        for fan_in, size in ((9, 7), (7, 5), (5, 4)):
            weight = row[offset : offset + size * fan_in].view(size, fan_in)
            offset += size * fan_in
            x = torch.relu(torch.nn.functional.linear(x, weight, row[offset : offset + size]))
            offset += size
        energies.append(torch.nn.functional.cross_entropy(x, task.sets["train"].classes[chosen]))
    energy = torch.stack(energies)
    return energy.detach(), torch.autograd.grad(energy.sum(), w)[0]


def test_gradient_equals_automatic_differentiation() -> None:
    task, w = task_and_weights()
    indices = np.random.default_rng(3).integers(0, 70, size=(2, 31))
    energy, gradient = task.gradient(w, indices)
    expected_energy, expected = by_autograd(task, w, indices)
    torch.testing.assert_close(energy, expected_energy)
    torch.testing.assert_close(gradient, expected)


def test_the_published_network_has_11160_parameters() -> None:
    assert Feedforward(100, [50, 100], 10).layout.size == 11_160


def test_full_batch_energy_is_that_of_all_training_vectors() -> None:
    task, w = task_and_weights()
    energy, _ = task.gradient(w, np.tile(np.arange(70), (2, 1)))
    np.testing.assert_allclose(task.evaluate(w, "train")[0], energy.numpy())


def test_spins_flip_with_the_probability_that_is_asked_for() -> None:
    """A class of its own for each reference: the majority of its vectors is the reference."""
    x, classes = draw(SMALL.model_copy(update={"train": 20_000, "flip": 0.3}))["train"]
    assert set(np.unique(x)) == {-1, 1}
    agreement = np.concatenate([
        (x[classes == k] == np.sign(x[classes == k].sum(0, dtype=np.int64))).ravel() for k in range(4)
    ])  # fmt: skip
    error = np.sqrt(0.3 * 0.7 / agreement.size)
    assert abs(agreement.mean() - 0.7) < 4 * error
    assert abs(np.bincount(classes).max() / 20_000 - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20_000)
