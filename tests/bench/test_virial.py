"""Equipartition in a network: <w·dU/dw> = P T for both samplers without constraint, full-batch and mini-batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.virial import virial
from protmpi import tasks
from protmpi.config import load
from protmpi.ensemble import Ensemble
from protmpi.plan import Plan
from protmpi.sampling.energy import Regulariser

CONFIG = """
[data]
task = "kspin"
classes = 3
spins = 8
train = 64
val = 16
test = 16
[model]
kind = "feedforward"
layers = [5, 4]
[sampler]
kind = "{kind}"
start = "random"
temperatures = [1e-2]
walkers_per_temperature = 8
lamda = 2e-2
rho = 2e-3
batch = 16
adapt_until = 600
[run]
steps = 10000
record_every = 100
snapshot_every = 1000
[execution]
device = "cpu"
"""


@pytest.mark.parametrize(("kind", "between"), [("hmc", 4), ("unconstrained", 200)])
def test_weights_are_at_temperature(tmp_path: Path, kind: str, between: int) -> None:
    """For all parameters and for both large matrices; a temperature off by two fifths would be seen."""
    path = tmp_path / "kspin.toml"
    path.write_text(CONFIG.format(kind=kind))
    config = load(path)
    task = tasks.build(config)
    ensemble = Ensemble(Plan.of(config, task, 8), range(1), "cpu")
    (block,) = ensemble._blocks
    ensemble.explore(1000)
    found = []
    for _ in range(60):
        ensemble.explore(between)
        found.append(virial(task, Regulariser(config.sampler.lamda, 0.0, block.position), block.position))
    sizes = np.array([entry.size for entry in task.layout.entries])
    products = np.array(found).mean(0) / 1e-2  # (walker, array)
    for ratio in (products.sum(1) / sizes.sum(), products[:, 0] / sizes[0], products[:, 2] / sizes[2]):
        mean, error = ratio.mean(), ratio.std(ddof=1) / 8**0.5
        assert abs(mean - 1.0) < 5 * error
        assert error < 0.08
