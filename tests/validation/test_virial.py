"""Equipartition in a network: <w·dU/dw> = P T for both samplers without constraint, full-batch and mini-batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from problems import KSPIN
from virial import virial

from protmpi import tasks
from protmpi.config import load
from protmpi.ensemble import Ensemble
from protmpi.plan import Plan
from protmpi.sampling.kernels.energy import Regulariser

CONFIG = (
    KSPIN
    + """
[sampler]
kind = "{kind}"
start = "random"
temperatures = [1e-2]
walkers_per_temperature = 8
lamda = 2e-2
batch = 16
{own}
adapt_until = 600
[run]
steps = 10000
record_every = 100
snapshot_every = 1000
[execution]
device = "cpu"
"""
)


@pytest.mark.parametrize(
    ("kind", "own", "between"), [("trajectories", "trajectory = 10", 40), ("unconstrained", "rho = 2e-3", 200)]
)
def test_weights_are_at_temperature(tmp_path: Path, kind: str, own: str, between: int) -> None:
    """For all parameters and for both large matrices; a temperature off by two fifths would be seen, as U without
    its regulariser is."""
    path = tmp_path / "kspin.toml"
    path.write_text(CONFIG.format(kind=kind, own=own))
    config = load(path)
    task = tasks.build(config)
    ensemble = Ensemble(Plan.of(config, task, 8), range(1), "cpu")
    (block,) = ensemble._blocks
    ensemble.explore(1000)
    found: dict[float, list[np.ndarray]] = {config.sampler.lamda: [], 0.0: []}
    for _ in range(60):
        ensemble.explore(between)
        for lamda, products in found.items():
            products.append(virial(task, Regulariser(lamda, 0.0, block.position), block.position))
    sizes = np.array([entry.size for entry in task.layout.entries])
    (true, false) = (np.array(products).mean(0) / 1e-2 for products in found.values())  # (walker, array)
    for of in (slice(None), slice(0, 1), slice(2, 3)):
        ratio, broken = (products[:, of].sum(1) / sizes[of].sum() for products in (true, false))
        error = ratio.std(ddof=1) / 8**0.5
        assert abs(ratio.mean() - 1.0) < 5 * error
        assert error < 0.08
        assert abs(broken.mean() - 1.0) > 5 * broken.std(ddof=1) / 8**0.5
