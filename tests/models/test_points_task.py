"""The points task: its data, and its energy and gradient against automatic differentiation of the equations."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from test_encoder import torch_layer
from torch import Tensor

from protmpi import config as configuration
from protmpi.data import points
from protmpi.data.sections import PointsConfig
from protmpi.errors import ConfigError
from protmpi.models.distance import Distance
from protmpi.models.encoder import Encoder
from protmpi.tasks import splits
from protmpi.tasks.points import MEASURED, Points

SMALL = PointsConfig(points=4, dimension=3, exponent=1.5, train=30, val=12, test=210)
INDICES = np.random.default_rng(3).integers(0, 30, size=(2, 17))


def task_and_weights(dtype: torch.dtype = torch.float64) -> tuple[Points, Tensor]:
    """The task and weights (W, P) with gains and biases away from 1 and 0."""
    task = Points(SMALL, Distance(3, Encoder(2, 3, 6, 24), 5), dtype=dtype)
    random = np.random.default_rng(1)
    w = np.stack([task.initial(random) for _ in range(2)])
    return task, torch.from_numpy(w + 0.1 * random.standard_normal(w.shape)).to(dtype)


def attention(task: Points, w: Tensor, x: Tensor) -> Tensor:
    """A (B, n, n) of structures x (B, n, D) and weights (P,), by torch's own layers."""
    p = {e.name: w[e.slice].view(e.shape) for e in task.layout.entries}
    linear, encoder = torch.nn.functional.linear, task.network.encoder
    h = linear(x / 16, p["We"], p["be"])
    for b in range(encoder.blocks):
        h, _ = torch_layer(encoder, p, b, h, None)
    h = torch.nn.functional.layer_norm(h, (encoder.d,), p["LN.gain"], p["LN.bias"])
    scores = linear(h, p["Wq"], p["bq"]) @ linear(h, p["Wk"]).mT / task.network.head**0.5
    return torch.exp(scores - scores.amax(-1, keepdim=True))


def targets(x: Tensor) -> Tensor:
    return torch.exp(-((torch.cdist(x, x) / 200) ** SMALL.exponent))


def disagreement(task: Points, w: Tensor) -> tuple[float, float]:
    """Largest differences of energies, and relative distance of gradients, to automatic differentiation."""
    energies, gradients = task.gradient(w, INDICES)
    leaf = w.double().clone().requires_grad_()
    x = task.sets["train"].x.double()
    expected = torch.stack([
        (attention(task, row, x[chosen]) - targets(x[chosen])).abs().mean()
        for row, chosen in zip(leaf, INDICES, strict=True)
    ])  # fmt: skip
    gradient = torch.autograd.grad(expected.sum(), leaf)[0]
    return float((energies - expected.detach()).abs().max()), float((gradients - gradient).norm() / gradient.norm())


@pytest.fixture(params=["as on a CPU", "as on a GPU", "in small parts"])
def arrangement(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "as on a GPU":
        monkeypatch.setattr(Points, "_together", lambda self, w, whole="": [slice(0, len(w))])
    if request.param == "in small parts":
        monkeypatch.setattr(splits, "CACHE", 500)


@pytest.mark.usefixtures("arrangement")
def test_energy_and_gradient_equal_automatic_differentiation() -> None:
    energy, gradient = disagreement(*task_and_weights())
    assert energy < 1e-12
    assert gradient < 1e-10


def test_single_precision() -> None:
    energy, gradient = disagreement(*task_and_weights(torch.float32))
    assert energy < 1e-6
    assert gradient < 1e-3


def test_a_maximum_taken_for_a_constant_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "scatter_add_", lambda self, dim, index, added: self)
    assert disagreement(*task_and_weights())[1] > 1e-3


def test_full_batch_is_the_mean_over_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "CACHE", 500)  # several passes
    task, w = task_and_weights()
    np.testing.assert_allclose(task.evaluate(w, "train")[0], task.gradient(w, np.tile(np.arange(30), (2, 1)))[0])
    x = task.sets["val"].x
    error = [float((attention(task, row, x) - targets(x)).square().mean().sqrt()) for row in w]
    np.testing.assert_allclose(task.evaluate(w, "val")[1], error)


def test_walkers_alone_equal_walkers_in_company() -> None:
    task, w = task_and_weights(torch.float32)
    energies, gradients = task.gradient(w, INDICES)
    for walker in range(2):
        energy, gradient = task.gradient(w[walker : walker + 1], INDICES[walker : walker + 1])
        assert torch.equal(energy[0], energies[walker])
        assert torch.equal(gradient[0], gradients[walker])


def test_a_walker_that_is_not_finite_touches_no_other() -> None:
    task, w = task_and_weights()
    lost = w.clone()
    lost[0] = torch.nan
    energy, error = task.evaluate(lost, "val")
    assert np.isnan([energy[0], error[0]]).all()
    np.testing.assert_array_equal(energy[1], task.evaluate(w, "val")[0][1])


def test_snapshots_hold_the_attention_at_each_distance() -> None:
    task, w = task_and_weights()
    found = task.snapshot_observables(w)["pair_attention"]
    assert found.shape == (2, MEASURED * 4 * 3)
    distance, target = task.constants()
    x = task.sets["test"].x[:MEASURED]
    apart = ~torch.eye(4, dtype=torch.bool)
    np.testing.assert_allclose(distance.values, torch.cdist(x, x)[:, apart].flatten(), rtol=1e-6)
    np.testing.assert_allclose(target.values, targets(x)[:, apart].flatten(), rtol=1e-6)
    np.testing.assert_allclose(found[1], attention(task, w[1], x)[:, apart].flatten(), rtol=1e-5)


# data


def test_points_fill_the_box_and_are_centred() -> None:
    x = points.draw(PointsConfig(train=4_000, val=1, test=1, points=5, dimension=2))["train"]
    assert x.shape == (4_000, 5, 2)
    np.testing.assert_allclose(x.mean(1), 0, atol=1e-10)
    variance = 200**2 / 12 * (1 - 1 / 5)  # the centre takes a fifth
    assert x.var() == pytest.approx(variance, rel=0.02)


def test_points_at_the_side_of_the_box_are_near_by_one_part_in_e() -> None:
    x = np.array([[[0.0, 0.0], [200.0, 0.0], [0.0, 100.0]]])
    for exponent in (0.5, 1.0, 2.0, 4.0):
        near = points.nearness(x, exponent)[0]
        np.testing.assert_allclose(np.diag(near), 1)
        assert near[0, 1] == near[1, 0] == pytest.approx(np.exp(-1))
        assert near[0, 2] == pytest.approx(np.exp(-(0.5**exponent)))


@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_rotations_are_uniform_and_keep_distances(dimension: int) -> None:
    config = PointsConfig(train=3, val=2, test=2, dimension=dimension, rotations=2_000)
    plain = points.draw(config.model_copy(update={"rotations": 0}))
    drawn = points.draw(config)
    x = drawn["train"].reshape(3, 2_000, 5, dimension)
    expected = points.distances(plain["train"])
    np.testing.assert_allclose(points.distances(drawn["train"]).reshape(3, 2_000, 5, 5)[:, 7], expected)
    np.testing.assert_array_equal(drawn["val"], plain["val"])
    inertia = np.einsum("srni,srnj->sij", x, x) / 2_000  # isotropic on average
    trace = (plain["train"] ** 2).sum((1, 2))
    np.testing.assert_allclose(
        inertia / trace[:, None, None], np.tile(np.eye(dimension) / dimension, (3, 1, 1)), atol=0.04
    )
    if dimension == 3:  # the sense of three vectors tells a rotation from a reflection
        before, after = (np.linalg.det(y[..., :3, :] - y[..., 3:4, :]) for y in (plain["train"], x))
        np.testing.assert_allclose(after, np.repeat(before[:, None], 2_000, 1), rtol=1e-6)


def test_each_split_is_drawn_alone_and_from_the_seed() -> None:
    few, more = (points.draw(PointsConfig(train=n, val=4, test=4)) for n in (5, 9))
    np.testing.assert_array_equal(few["train"], more["train"][:5])
    np.testing.assert_array_equal(few["val"], more["val"])
    assert not np.isin(few["val"], few["test"]).any()
    network = partial(Distance, 3, Encoder(1, 1, 2, 2), 1)
    changes = ({}, {"seed": 2}, {"exponent": 2.0}, {"rotations": 1})
    hashes = [Points(SMALL.model_copy(update=change), network()).data_hash for change in changes]
    assert len(set(hashes)) == len(changes)
    assert Points(SMALL, network()).data_hash == hashes[0]


# configuration


@pytest.mark.parametrize(
    ("section", "keys", "message"),
    [
        ("data", {"dimension": 5}, "data.dimension: input should be less than or equal to 4, not 5"),
        ("data", {"exponent": 0}, "data.exponent: input should be greater than 0, not 0"),
        ("data", {"dimension": 1, "rotations": 3}, "data.rotations: there is none in one dimension"),
        ("data", {"file": "x.h5"}, "data.file: unknown key; valid: dimension, exponent, points"),
        ("model", {"heads": 7}, "model.heads: 7 must divide d = 16"),
        ("model", {"kind": "pooling"}, 'model.kind: "pooling" cannot learn data.task = "points", it takes "encoder"'),
        ("train", {"references": 0, "over_epochs": 3}, 'train.references: 0 leaves no over-trained weights'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(section: str, keys: dict[str, object], message: str) -> None:
    given: dict[str, dict[str, object]] = {
        "data": {"task": "points"}, "model": {"kind": "encoder", "d": 16}, "sampler": {"start": "OT"},
    }  # fmt: skip
    given.setdefault(section, {}).update(keys)
    with pytest.raises(ConfigError) as raised:
        configuration.parse(given, "test")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_keys_that_came_later_leave_older_identities_as_they_were() -> None:
    plain = configuration.Config().physics()
    assert not {"model.heads", "model.head"} & set(plain)
    sized = configuration.parse({"data": {"task": "points"}, "model": {"kind": "encoder", "d": 16, "head": 3}}, "test")
    assert sized.physics()["model.head"] == 3
    assert configuration.Config().train.identity().keys() == sized.train.identity().keys()
    assert "rate" not in sized.train.identity()
