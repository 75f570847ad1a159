"""Planted attention profiles and recoveries come back, with the temperature that they were planted at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import BURN_IN_DRAWS, DRAWS_PER_SNAPSHOT, LADDER, write_store

from analysis import open_run
from analysis.report.contents import report_of
from analysis.subjects.chains.measure import profiles, residues
from analysis.subjects.chains.tables import profiles_table, residues_remarks, residues_table
from analysis.subjects.contacts.precision import Options
from analysis.subjects.distance.measure import fit_gaussian
from protmpi.errors import StoreError

DISTANCE = np.arange(2.5, 42.0)
PAIRS = np.where(DISTANCE < 30, 1_000.0 * np.exp(-DISTANCE / 8), 0.0)
SITES = np.arange(20.0) * 10  # no test site is an A
WIDTH = np.array([6.0, 8.0, 10.0])


def gaussian(amplitude: float, width: np.ndarray) -> np.ndarray:
    """Profiles (..., distance), unknown where there is no pair."""
    values = amplitude * np.exp(-((DISTANCE / width[..., None]) ** 2))
    return np.where(PAIRS > 0, values, np.nan)


@pytest.fixture
def run(tmp_path: Path):
    """Two replicas at three temperatures, two blocks of three heads; the second block attends evenly."""
    random = np.random.default_rng(4)
    draws = 200
    snapshots = draws // DRAWS_PER_SNAPSHOT
    energy = 1.0 + 0.01 * random.normal(size=(6, draws))
    width = np.tile(WIDTH, 2)[:, None] + 0.1 * random.normal(size=(6, snapshots))
    width[:, : BURN_IN_DRAWS // DRAWS_PER_SNAPSHOT] = 30.0
    heads = [gaussian(a, width) for a in (1.0, 2.0, 3.0)]
    even = gaussian(1.0, np.full((6, snapshots), np.inf))
    profile = np.stack([np.stack(heads, 2), np.stack([even] * 3, 2)], 2)
    level = np.tile([1.0, 1.5, 2.0], 2)[:, None, None]
    residue_energy = np.broadcast_to(level + 0.05 * np.arange(20), (6, snapshots, 20)).copy()
    recovery = np.broadcast_to(0.5 / level + 0.01 * np.arange(20), (6, snapshots, 20)).copy()
    residue_energy[..., 0] = recovery[..., 0] = np.nan
    references = {
        "es_attention_profile": np.stack([profile[0, -1], profile[1, -1]]),
        "es_residue_energy": residue_energy[:2, -1], "es_residue_recovery": recovery[:2, -1],
    }  # fmt: skip
    path = write_store(
        tmp_path / "store.zarr", LADDER[1:4], energy, attention_profile=profile, residue_energy=residue_energy,
        residue_recovery=recovery, references=references,
        pairs={"profile_distance": DISTANCE, "profile_pairs": PAIRS, "residue_sites": SITES},
    )  # fmt: skip
    return open_run(path)


def test_the_width_of_every_head_and_block(run) -> None:
    data = profiles(run)
    assert data["width"].shape == (3, 2, 4, 2)
    for head in ("1", "2", "3", "all"):
        mean, sem = data["width"].sel(block=1, head=head).values.T
        assert (np.abs(mean - WIDTH) < 5 * sem).all()
        assert (sem < 0.05).all()
    assert data["amplitude"].sel(block=1, statistic="mean").values == pytest.approx(
        np.tile([1.0, 2.0, 3.0, 2.0], (3, 1)), rel=1e-4
    )
    assert np.isnan(data["width"].sel(block=2)).all()
    assert data["profile"].sel(block=2).values == pytest.approx(1.0)
    assert data["distance"].values.max() < 30
    assert data["reference_width"].sel(weights="ES", block=1, head="2").values == pytest.approx([6.0, 8.0], abs=0.5)


def test_bins_count_by_their_pairs() -> None:
    """A bin of one pair that is off hardly matters; unweighted, the broken twin, it does."""
    values = np.exp(-((DISTANCE / 8.0) ** 2))
    values[9] = 2.0
    weight = np.where(np.arange(DISTANCE.size) == 9, 1.0, 1e4)
    assert fit_gaussian(DISTANCE, values, weight).width == pytest.approx(8.0, abs=0.05)
    assert abs(fit_gaussian(DISTANCE, values).width - 8.0) > 0.2


def test_perplexity_and_recovery(run) -> None:
    data = residues(run)
    level = np.array([1.0, 1.5, 2.0])
    perplexity = data["perplexity"].sel(statistic="mean")
    assert perplexity.sel(amino_acid="V").values == pytest.approx(np.exp(level + 0.95))
    assert np.isnan(perplexity.sel(amino_acid="A")).all()
    share = SITES / SITES.sum()
    shift = (share * np.arange(20)).sum()
    assert perplexity.sel(amino_acid="all").values == pytest.approx(np.exp(level + 0.05 * shift))
    assert data["recovery"].sel(statistic="mean", amino_acid="all").values == pytest.approx(0.5 / level + 0.01 * shift)
    # broken twin: the mean over amino acids, not over sites
    assert perplexity.sel(amino_acid="all").values != pytest.approx(np.exp(level + 0.05 * np.arange(1, 20).mean()))
    assert data["reference_recovery"].sel(weights="ES", amino_acid="V").values == pytest.approx(
        [0.69, 0.5 / 1.5 + 0.19]
    )


def test_tables_and_report(run) -> None:
    found = residues(run)
    assert residues_table(found, 1).row_count == 21
    assert residues_remarks(found)[1].startswith("Recovery of all sites: 0.6")
    assert profiles_table(profiles(run)).row_count == 4
    parts = {part.name: part for part in report_of(run, "made", Options()).parts}
    assert {"profiles", "residues"} <= parts.keys()
    assert len(parts["profiles"].figures["profiles"][0].axes) >= 6


def test_another_task_is_one_line(tmp_path: Path) -> None:
    energy = np.random.default_rng(1).normal(size=(3, 40))
    other = open_run(write_store(tmp_path / "other.zarr", LADDER[1:4], energy))
    with pytest.raises(StoreError, match="holds no attention profile: no run of the task structures"):
        profiles(other)
