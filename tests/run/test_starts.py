"""Where walkers start: on one sphere where the norm is held, for others would have other laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protmpi import tasks
from protmpi.config import load
from protmpi.plan import Plan
from protmpi.weights import Weights

CONFIG = """
[data]
task = "kspin"
classes = 3
spins = 8
train = 20
val = 5
test = 5
[model]
kind = "feedforward"
layers = [5]
[sampler]
start = ["random", "ES"]
temperatures = [1e-3, 2e-3]
walkers_per_temperature = 4
rho = 1e-4
"""


def norms2(tmp_path: Path, kind: str, weights: Weights | None) -> np.ndarray:
    """|w|² of the starts of all walkers."""
    path = tmp_path / "c.toml"
    path.write_text(CONFIG)
    config = load(path, [f"sampler.kind={kind}"])
    plan = Plan(config, tasks.build(config), weights, 1)
    starts = np.stack([plan.start(walker).astype(np.float64) for walker in range(plan.walkers)])
    assert len(np.unique(starts[:, 0])) == len(starts) if weights is None else len(np.unique(starts[:, 0])) == 5
    return np.sum(starts**2, axis=1)


def reference() -> Weights:
    es, epoch = np.full((1, 3 * 6 + 5 * 9), 2.0, dtype=np.float32), np.array([1])
    return Weights(es, 2.0 * es, epoch, epoch)


def test_fresh_weights_are_put_on_the_sphere_of_the_first_walker(tmp_path: Path) -> None:
    found = norms2(tmp_path, "constrained", None)
    assert found == pytest.approx(found[0], rel=1e-6)


def test_fresh_weights_beside_trained_ones_are_put_on_their_sphere(tmp_path: Path) -> None:
    assert norms2(tmp_path, "constrained", reference()) == pytest.approx(4.0 * reference().es.size, rel=1e-6)


def test_where_the_norm_is_free_fresh_weights_keep_theirs(tmp_path: Path) -> None:
    found = norms2(tmp_path, "unconstrained", None)
    assert np.ptp(found) > 0.01 * found[0], "else the tests above show nothing"
