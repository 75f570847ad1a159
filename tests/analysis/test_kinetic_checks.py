"""Self-checks of kinetic temperatures: broken twins of a healthy run, each with momenta that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from healthy import LAYERS, checked, checks_of, healthy, of_kind, only_failure
from synthetic import BURN_IN_DRAWS, LADDER, ar1, write_store

from analysis.statistics.significance import Mean


def test_hot_momenta(tmp_path: Path) -> None:
    rows = healthy(52)
    rows["kinetic_ratio"][:, 2] *= 1.031 / rows["kinetic_ratio"][:, 2, BURN_IN_DRAWS:].mean()
    check = only_failure(checked(tmp_path, rows), "kinetic temperature", 2)
    assert check.z > 20
    assert check.advice == "kinetic temperature 3.1 % above T at T = 1e-4: take sampler.rho = 3e-4"


def test_hot_momenta_of_an_automatic_step_and_cold_ones_get_no_number(tmp_path: Path) -> None:
    rows = healthy(52)
    rows["kinetic_ratio"][:, 2] *= 1.031 / rows["kinetic_ratio"][:, 2, BURN_IN_DRAWS:].mean()
    automatic = only_failure(checked(tmp_path / "auto", rows, rho="auto"), "kinetic temperature", 2)
    assert automatic.advice.endswith("take a smaller sampler.rho")
    rows["kinetic_ratio"][:, 2] *= 0.98 / 1.031
    cold = only_failure(checked(tmp_path / "cold", rows), "kinetic temperature", 2)
    assert "2.0 % below T at T = 1e-4" in cold.advice
    assert "rho" not in cold.advice


def test_an_excess_below_the_tolerance_is_left_alone(tmp_path: Path) -> None:
    rows = healthy(52)
    rows["kinetic_ratio"] *= 1.007
    found = of_kind(checked(tmp_path, rows), "kinetic temperature")
    assert min(check.z for check in found) > 5
    assert {check.verdict for check in found} == {"pass"}


@pytest.mark.parametrize("layer", ["0.W2", "E"])
def test_one_hot_layer(tmp_path: Path, layer: str) -> None:
    rows = healthy(53)
    rows["kinetic_ratio_layer"][:, 4, :, list(LAYERS).index(layer)] *= 1.03
    check = only_failure(checked(tmp_path, rows), "kinetic temperature by layer", 4)
    assert check.detail == layer
    assert check.advice.startswith(f"kinetic temperature of {layer} ")
    assert "above T at T = 3e-4: take sampler.rho = " in check.advice


def test_a_hot_layer_is_not_hidden_by_one_that_is_more_significant_but_within_the_tolerance(tmp_path: Path) -> None:
    rows = healthy(53)
    rows["kinetic_ratio_layer"][:, 4, :, 1] *= 1.0095
    rows["kinetic_ratio_layer"][:, 4, :, 2] *= 1.025
    check = only_failure(checked(tmp_path, rows), "kinetic temperature by layer", 4)
    assert check.detail == "0.b1"
    assert check.z < Mean.of(rows["kinetic_ratio_layer"][:, 4, BURN_IN_DRAWS:, 1]).z(1.0, len(LAYERS))


@pytest.mark.parametrize(("rho", "verdict"), [(1e-3, "pass"), (3e-3, "weak"), (1e-2, "fail")])
def test_correlated_noise_is_told_by_its_size(tmp_path: Path, rho: float, verdict: str) -> None:
    """An excess of 100 rho along the directions of the noise, which no trace shows."""
    energy = 1.5 + LADDER[:, None] * ar1(0.3, (LADDER.size, 400), np.random.default_rng(1))
    store = write_store(
        tmp_path / "store.zarr", LADDER, energy,
        rho=np.full(energy.shape, rho), collective_excess=np.full(energy.shape, 100 * rho),
    )  # fmt: skip
    found = of_kind(checks_of(store), "collective kinetic temp.")
    assert [check.verdict for check in found] == [verdict] * LADDER.size
    np.testing.assert_allclose([check.value for check in found], 1 + 100 * rho)
    assert all(("sampler.rho = 1.1e-3" in check.advice) == (verdict != "pass") for check in found)
