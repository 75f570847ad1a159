"""The K-spin network and its data: gradient, size, full-batch energies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from protmpi.config import load
from protmpi.data.sections import KSpinConfig
from protmpi.errors import ConfigError
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


Drawn = dict[str, tuple[np.ndarray, np.ndarray]]


def by_hand(sizes: dict[str, int], k: int, d: int, flips_first: bool = False, references_thrown: bool = False) -> Drawn:
    """The published recipe in torch's own words, by its global generator; either flag makes a wrong one."""
    drawn = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        references = 2 * torch.randint(0, 2, (k, d)) - 1
        for seed, (split, count) in enumerate(sizes.items()):
            if seed > 0:
                torch.manual_seed(seed)
                if references_thrown:
                    torch.randint(0, 2, (k, d))
            if flips_first:
                flips = torch.rand(count, d) <= 0.355
            classes = torch.randint(0, k, (count,))
            if not flips_first:
                flips = torch.rand(count, d) <= 0.355
            drawn[split] = (references[classes] * torch.where(flips, -1, 1)).numpy(), classes.numpy()
    return drawn


def same(a: Drawn, b: Drawn) -> bool:
    return list(a) == list(b) and all(
        np.array_equal(x, y) for split in a for x, y in zip(a[split], b[split], strict=True)
    )


UNEVEN = {"train": 70, "val": 23, "test": 31}


@pytest.mark.parametrize("wrong", ["flips_first", "references_thrown"])
def test_the_published_recipe_is_that_order_of_draws(wrong: str) -> None:
    drawn = draw(KSpinConfig(recipe="published", classes=4, spins=9, **UNEVEN))
    assert same(drawn, by_hand(UNEVEN, 4, 9))
    assert not same(drawn, by_hand(UNEVEN, 4, 9, **{wrong: True}))
    assert not same(drawn, draw(KSpinConfig(recipe="own", classes=4, spins=9, **UNEVEN)))
    assert not same(drawn, draw(KSpinConfig(recipe="published", classes=4, spins=9, seed=1, **UNEVEN)))


@pytest.mark.parametrize("name", ["kspin", "kspin-hmc"])
def test_the_validation_problem_is_the_published_set(name: str) -> None:
    """Every spin, and what the study states: 100 000 vectors, a tenth in each class, 35.5 % of the spins flipped."""
    config = load(Path(__file__).parents[2] / "configs" / f"{name}.toml").data
    assert isinstance(config, KSpinConfig)
    drawn = draw(config)
    assert same(drawn, by_hand({"train": 100_000, "val": 10_000, "test": 10_000}, 10, 100))
    generator = torch.Generator().manual_seed(0)
    references = 2 * torch.randint(0, 2, (10, 100), generator=generator).numpy() - 1
    for x, classes in drawn.values():
        assert x.dtype == np.int8
        assert set(np.unique(x)) == {-1, 1}
        assert np.abs(np.bincount(classes, minlength=10) / len(x) - 0.1).max() < 4 * np.sqrt(0.1 * 0.9 / len(x))
        for k in range(10):
            assert np.array_equal(np.sign(x[classes == k].sum(0, dtype=np.int64)), references[k])
        flipped = (x != references[classes]).mean()
        assert abs(flipped - 0.355) < 4 * np.sqrt(0.355 * 0.645 / x.size)


@pytest.mark.parametrize(("given", "said"), [("recipe=publish", "data.recipe: "), ("seed=2147483648", "data.seed: ")])
def test_a_recipe_that_is_none_and_a_seed_that_is_too_large_are_refused(given: str, said: str) -> None:
    path = Path(__file__).parents[2] / "configs" / "kspin.toml"
    with pytest.raises(ConfigError, match=said) as refusal:
        load(path, [f"data.{given}"])
    assert "\n" not in str(refusal.value)
