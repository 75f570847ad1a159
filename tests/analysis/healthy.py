"""Runs in equilibrium, by their rows, and what the self-checks say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from synthetic import LADDER, ar1, write_store
from test_thermodynamics import harmonic

from analysis import open_run, thermodynamics
from analysis.subjects.checks.check import Check
from analysis.subjects.checks.checks import checks

LAYERS = {"E": 546, "0.W1": 2704, "0.b1": 104, "0.W2": 2704, "0.LN.gain": 26}
PARAMETERS = sum(LAYERS.values())
REPLICAS, DRAWS, SLOTS = 3, 800, LADDER.size
KINDS = (
    "kinetic temperature",
    "kinetic temperature by layer",
    "heat capacity",
    "split R-hat of U",
    "effective samples of U",
    "difference of starts",
    "drift of U",
)
STARTS: dict[str, Any] = {"start": ["ES", "OT"], "rho": 1e-3}

Rows = dict[str, np.ndarray]


def healthy(
    seed: int, replicas: int = REPLICAS, draws: int = DRAWS, phi: float = 0.6, temperature: np.ndarray = LADDER
) -> Rows:
    """Rows (replica, slot, draw, ...) of a harmonic run in equilibrium, with momenta at their temperature."""
    rng = np.random.default_rng(seed)
    shape = (replicas, temperature.size, draws)
    of_layers = [1 + np.sqrt(2 / n) * ar1(0.2, shape, rng) for n in LAYERS.values()]
    return {
        "energy": harmonic(temperature, shape, rng, phi),
        "kinetic_ratio": 1 + np.sqrt(2 / PARAMETERS) * ar1(0.2, shape, rng),
        "kinetic_ratio_layer": np.stack(of_layers, axis=-1),
    }


def store_of(path: Path, rows: Rows, temperature: np.ndarray = LADDER, **settings: Any) -> Path:
    walkers = {name: values.reshape(-1, *values.shape[2:]) for name, values in rows.items()}
    return write_store(path, temperature, sampler=STARTS | settings, layers=LAYERS, **walkers)


def checked(path: Path, rows: Rows, temperature: np.ndarray = LADDER, **settings: Any) -> list[Check]:
    return checks_of(store_of(path / "run.zarr", rows, temperature, **settings))


def checks_of(store: Path) -> list[Check]:
    run = open_run(store)
    return checks(run, thermodynamics(run))


def failed(found: list[Check]) -> list[Check]:
    return [check for check in found if check.verdict == "fail"]


def of_kind(found: list[Check], name: str) -> list[Check]:
    return [check for check in found if check.name == name]


def only_failure(found: list[Check], name: str, slot: int) -> Check:
    """The one failed check, which must be of this name and at this temperature."""
    assert [(check.name, check.temperature) for check in failed(found)] == [(name, LADDER[slot])]
    return failed(found)[0]
