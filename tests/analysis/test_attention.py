"""Attention maps and contacts: precisions known by hand, planted maps, self-averaging of noise of known size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import DRAWS_PER_SNAPSHOT, EXCHANGE, LADDER, write_store

from analysis import attention, open_run
from analysis.subjects.attention.figures import maps_figure
from analysis.subjects.attention.measure import BEST, blocks_text, self_averaging
from analysis.subjects.attention.tables import contacts_remarks, contacts_table
from analysis.subjects.contacts import precision as contacts
from analysis.subjects.contacts.precision import Options
from protmpi.errors import StoreError

L, SNAPSHOTS = 20, 12


def pairs(*chosen: tuple[int, int]) -> np.ndarray:
    found = np.zeros((L, L), dtype=bool)
    for i, j in chosen:
        found[i, j] = found[j, i] = True
    return found


def test_precision_known_by_hand() -> None:
    """Five pairs score, three of them are contacts; the best four hold two."""
    native = pairs((0, 5), (1, 9), (2, 12), (3, 17))
    score = np.zeros((L, L))
    for rank, (i, j) in enumerate([(0, 5), (4, 8), (1, 9), (6, 11), (2, 12)]):
        score[i, j] = score[j, i] = 1.0 - rank / 10
    assert contacts.precision(score, native, 1) == 1.0
    assert contacts.precision(score, native, 4) == 0.5
    assert contacts.precision(score, native, 5) == pytest.approx(0.6)
    # of |i-j| >= 8 only (1, 9) and (2, 12) score
    assert contacts.precision(score, native, 2, least=8) == 1.0
    # of |i-j| from 4 to 5: (0, 5), (4, 8), (6, 11), one of them a contact
    assert contacts.precision(score, native, 3, 4, 5) == pytest.approx(1 / 3)


def test_only_pairs_i_below_j_count_once_and_never_the_diagonal() -> None:
    score = np.eye(L) * 100 + pairs((0, 7)) * 1.0
    assert contacts.precision(score, pairs((0, 7)), 1) == 1.0
    assert len(contacts.candidates(L)[0]) == L * (L - 1) // 2
    assert contacts.chance_precision(pairs((0, 7), (1, 8))) == pytest.approx(2 / 190)


def test_tolerance_counts_near_misses_along_both_sequences() -> None:
    native = pairs((2, 12))
    for i, j, needed in ((2, 12, 0), (3, 11, 1), (3, 13, 1), (2, 14, 2), (4, 15, 3)):
        score = pairs((i, j)) * 1.0
        for tolerance in range(4):
            found = contacts.tolerant_precision(score, native, 1, 6, tolerance)
            assert found == float(tolerance >= needed), (i, j, tolerance)
    near = pairs((0, 6)) * 2.0 + pairs((2, 12)) * 1.0  # |i-j| = 6 is not above 6
    assert contacts.tolerant_precision(near, native, 1, 6, 0) == 1.0
    assert contacts.tolerant_precision(near, native, 1, 5, 0) == 0.0


def test_average_product_correction_removes_what_belongs_to_sites() -> None:
    rng = np.random.default_rng(12)
    site = 1.0 + rng.random(L)
    background = np.multiply.outer(site, site)
    native = pairs((0, 5), (3, 14), (8, 19))
    raw = background + 0.3 * native
    assert contacts.precision(contacts.scores(raw), native, 3) < 1.0
    assert contacts.precision(contacts.scores(raw, apc=True), native, 3) == 1.0


def test_attention_is_symmetrised_then_corrected_then_its_diagonal_goes() -> None:
    """By explicit loops over a map of which nothing is symmetric; the broken twins take the steps in other orders."""
    random = np.random.default_rng(16)
    maps = np.exp(random.standard_normal((7, 7)))
    both = [[(maps[i, j] + maps[j, i]) / 2 for j in range(7)] for i in range(7)]
    row = [sum(both[i]) for i in range(7)]
    expected = [[0.0 if i == j else both[i][j] - row[i] * row[j] / sum(row) for j in range(7)] for i in range(7)]
    np.testing.assert_allclose(contacts.scores(maps, apc=True), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(contacts.scores(maps), np.where(np.eye(7), 0.0, both), rtol=0, atol=1e-14)
    late = contacts.symmetrised(contacts.average_product_corrected(maps))
    early = contacts.average_product_corrected(contacts.scores(maps))
    for broken in (late, early):
        assert np.abs((broken - expected)[~np.eye(7, dtype=bool)]).max() > 0.01


def test_products_of_two_factors_of_sites_vanish() -> None:
    """A map need not be symmetric: rows and columns may have factors of their own."""
    left, right = np.random.default_rng(17).uniform(0.5, 2.0, (2, L))
    whole = np.stack([np.multiply.outer(left, right), np.zeros((L, L))])
    np.testing.assert_allclose(contacts.average_product_corrected(whole), 0.0, atol=1e-12)


def test_maps_are_symmetrised_before_pairs_are_ranked() -> None:
    one_sided = np.zeros((L, L))
    one_sided[9, 1] = 1.0
    assert contacts.precision(contacts.scores(one_sided), pairs((1, 9)), 1) == 1.0


def test_self_averaging_of_noise_of_known_size() -> None:
    """Maps = mean + noise of equal variance: correlation 1/2 of a pair; and 0 between chains of different means."""
    rng = np.random.default_rng(13)
    size = 60
    upper = np.triu(rng.standard_normal((2, 1, size, size)), 1)
    noise = np.triu(rng.standard_normal((2, 30, size, size)), 1)
    maps = upper + noise
    within, between = self_averaging(maps + np.swapaxes(maps, -1, -2), np.nan)
    assert abs(within[0] - 0.5) < 0.03
    assert abs(between[0]) < 0.06
    alike = self_averaging((upper[:1] + noise)[:, :, :, :], np.nan)
    assert abs(alike[1, 0] - 0.5) < 0.03, "two chains about one mean are alike"
    assert np.isnan(self_averaging(maps[:1], np.nan)[1, 0]), "one chain has no other"
    mean, sem = self_averaging(maps[:1, :2], 10.0)[0]
    assert np.isfinite(mean)
    assert np.isnan(sem), "a single pair does not show its error"


def planted_store(path: Path, good: int, references: bool = True) -> tuple[Path, np.ndarray]:
    """Block 2 of two shows `good` of L contacts among its L best pairs, block 1 none of them."""
    rng = np.random.default_rng(14)
    i, j = np.triu_indices(L, 2)
    order = rng.permutation(len(i))
    native = pairs(*zip(i[order[:30]], j[order[:30]], strict=True))
    best = np.concatenate([order[:good], order[30 : 30 + L - good]])
    maps = np.zeros((2, L, L))
    maps[1][i[best], j[best]] = 1.0
    maps[0][i[order[40 : 40 + L]], j[order[40 : 40 + L]]] = 1.0
    noisy = maps + 0.01 * rng.random((4, SNAPSHOTS, 2, L, L))
    energy = rng.standard_normal((4, SNAPSHOTS * DRAWS_PER_SNAPSHOT))
    es = {"es_attention": maps[None].repeat(3, 0), "es_energy": np.ones(3)} if references else {}
    write_store(path, LADDER[:2], energy, attention=noisy, contacts=native, references=es)
    return path, maps


@pytest.mark.parametrize("good", [4, 15])
def test_planted_contacts_of_a_store(tmp_path: Path, good: int) -> None:
    path, maps = planted_store(tmp_path / "run.zarr", good)
    data = attention(open_run(path))
    assert data["block"].values.tolist() == ["1", "2", BEST]
    np.testing.assert_allclose(data["precision"].sel(statistic="mean").values, [[0.0, good / L, good / L]] * 2)
    np.testing.assert_allclose(data["precision_of_mean"].values, [[0.0, good / L, good / L]] * 2)
    np.testing.assert_allclose(data["reference_precision"].sel(weights="ES").values, [[0.0, good / L, good / L]] * 3)
    assert data["best_block"].values.tolist() == [[2, 0, 2, 0], [0, 2, 0, 2]]
    assert data["reference_best_block"].values.tolist() == [[2, 2, 2]]
    assert data["chance"].item() == pytest.approx(30 / 190)
    shown = maps[[0, 1, 1]] + 0.005
    np.testing.assert_allclose(data["map"].values, np.broadcast_to(shown, (2, 3, L, L)), atol=0.01)
    assert (data["self_averaging"].sel(statistic="mean") > 0.99).all()
    strict, near = data["tolerant_precision"].sel(block="2", statistic="mean").values[0, :2]
    assert near >= strict
    assert data["precision"].sel(statistic="sem").values.max() < 1e-12


GOOD = {"walkers": [(12, 1), (3, 8), (2, 9), (16, 4), (0, 5), (7, 6)], "ES": [(2, 11), (14, 3)], "OT": [(9, 1), (1, 5)]}
"""Contacts among the L best pairs of blocks 1 and 2, of each walker and of each set of reference weights."""


def planted_maps(rng: np.random.Generator, native: np.ndarray, good: list[tuple[int, int]]) -> np.ndarray:
    """Maps (map, block, L, L) that hold so many contacts among their L best pairs, in one direction only."""
    i, j = np.triu_indices(L, 2)
    true, false = np.flatnonzero(native[i, j]), np.flatnonzero(~native[i, j])
    maps = np.zeros((len(good), 2, L, L))
    for index, counts in enumerate(good):
        for block, count in enumerate(counts):
            best = np.concatenate([rng.permutation(true)[:count], rng.permutation(false)[: L - count]])
            maps[index, block, j[best], i[best]] = 1.0
    return maps


def walkers_that_differ(path: Path, exchanged: bool = False) -> tuple[Path, np.ndarray, dict[str, np.ndarray]]:
    """Three replicas at two temperatures, each walker with a best block of its own."""
    rng = np.random.default_rng(18)
    i, j = np.triu_indices(L, 2)
    native = pairs(*((int(i[k]), int(j[k])) for k in rng.permutation(i.size)[:30]))
    maps = planted_maps(rng, native, GOOD["walkers"])
    noisy = maps[:, None] + 0.01 * rng.random((6, SNAPSHOTS, 2, L, L))
    references = {label: planted_maps(rng, native, GOOD[label]) for label in ("ES", "OT")}
    draws = SNAPSHOTS * DRAWS_PER_SNAPSHOT
    slot = np.broadcast_to((np.arange(6) % 2)[:, None], (6, draws))
    if exchanged:  # each replica swaps its two walkers, and back, snapshot by snapshot
        slot = (slot + np.arange(draws) // DRAWS_PER_SNAPSHOT) % 2
    write_store(path, LADDER[:2], rng.standard_normal((6, draws)), slot=slot, attention=noisy, contacts=native,
                tempering=EXCHANGE if exchanged else None,
                references={f"{label.lower()}_attention": m for label, m in references.items()})  # fmt: skip
    return path, maps, references


def test_every_walker_and_reference_has_its_best_block(tmp_path: Path) -> None:
    """The broken twin takes the block that is best on average for all: it is below in every number."""
    path, maps, references = walkers_that_differ(tmp_path / "run.zarr")
    data = attention(open_run(path))
    assert data["best_block"].values.tolist() == [[1, 0, 2, 0, 2, 0], [0, 2, 0, 1, 0, 1]]
    assert data["reference_best_block"].values.tolist() == [[2, 1], [1, 2]]
    found = data["precision"].sel(statistic="mean")
    np.testing.assert_allclose(found.sel(block=BEST), [(12 + 9 + 5) / 3 / L, (8 + 16 + 7) / 3 / L])
    np.testing.assert_allclose(data["reference_precision"].sel(block=BEST), np.array([[11, 14], [9, 5]]) / L)
    shared = found.sel(block=["1", "2"]).mean("temperature").idxmax("block").item()
    assert (found.sel(block=shared) < found.sel(block=BEST) - 0.05).all()
    assert (data["reference_precision"].sel(block=shared).mean("reference")
            < data["reference_precision"].sel(block=BEST).mean("reference") - 0.05).all()  # fmt: skip
    mean = (maps[0, 0] + maps[2, 1] + maps[4, 1]) / 3 + 0.005
    np.testing.assert_allclose(data["map"].isel(temperature=0).sel(block=BEST), mean, atol=0.01)
    es = (references["ES"][0, 1] + references["ES"][1, 0]) / 2
    np.testing.assert_allclose(data["reference_map"].sel(weights="ES", block=BEST), es, atol=1e-6)
    tolerant = data["tolerant_precision"].sel({"statistic": "mean", "tolerance": 0})
    assert (tolerant.sel(block=BEST) != tolerant.sel(block=shared)).all()


def test_a_walker_keeps_its_best_block_when_it_changes_temperature(tmp_path: Path) -> None:
    path, maps, _ = walkers_that_differ(tmp_path / "run.zarr", exchanged=True)
    data = attention(open_run(path))
    assert data["best_block"].values.tolist() == [[1, 2, 2, 1, 2, 1]] * 2
    expected = np.mean([12, 8, 9, 16, 5, 7]) / L
    np.testing.assert_allclose(data["precision"].sel(statistic="mean", block=BEST), expected, atol=0.03)
    mean = np.mean([maps[k, b] for k, b in enumerate([0, 1, 1, 0, 1, 0])], axis=0)
    assert np.abs(data["map"].sel(block=BEST) - mean).max() < 0.1


def test_the_report_says_which_blocks_are_best(tmp_path: Path) -> None:
    data = attention(open_run(walkers_that_differ(tmp_path / "run.zarr")[0]))
    table = contacts_table(data)
    cells = next(list(column.cells) for column in table.columns if "each walker" in str(column.header))
    assert cells == ["1 2 2", "2 1 1"]
    remarks = " ".join(contacts_remarks(data))
    assert "ES weights, 2 of them, block 2 1: P@L 0.6" in remarks
    titles = [axes.get_title() for axes in maps_figure(data, 0).axes]
    assert "best block 1 2 2, T = 1e-5" in titles
    assert "best block 2 1, ES weights" in titles
    alike = attention(open_run(planted_store(tmp_path / "alike.zarr", 10)[0]))
    titles = [axes.get_title() for axes in maps_figure(alike, 0).axes]
    assert "block 2 (best), T = 1e-5" in titles
    assert not [title for title in titles if title.startswith(("best", "block 1 (best)"))]
    assert blocks_text(np.array([0, 3, 0, 3])) == "3"
    assert blocks_text(np.array([0, 0])) == "-"
    assert blocks_text(np.repeat([3, 1, 0], [7, 2, 4])) == "1 (2 walkers), 3 (7 walkers)"


def test_without_contacts_no_block_is_best(tmp_path: Path) -> None:
    rng = np.random.default_rng(19)
    maps = rng.random((2, SNAPSHOTS, 2, L, L))
    path = write_store(tmp_path / "run.zarr", LADDER[:2], rng.standard_normal((2, SNAPSHOTS * DRAWS_PER_SNAPSHOT)),
                       attention=maps)  # fmt: skip
    data = attention(open_run(path))
    assert data["block"].values.tolist() == ["1", "2"]
    assert "best_block" not in data
    assert "block 1, T = 1e-5" in [axes.get_title() for axes in maps_figure(data, 0).axes]


def test_options_change_what_is_counted(tmp_path: Path) -> None:
    path, _ = planted_store(tmp_path / "run.zarr", 10)
    loose, strict = (attention(open_run(path), Options(separation=s)) for s in (1, 12))
    assert loose.attrs["separation"] == 1
    assert not np.allclose(loose["tolerant_precision"], strict["tolerant_precision"])


def test_a_network_without_attention_is_named(tmp_path: Path) -> None:
    path = write_store(tmp_path / "run.zarr", LADDER[:2], np.random.default_rng(15).standard_normal((2, 120)),
                       model={"name": "pooling-64-320"})  # fmt: skip
    with pytest.raises(StoreError, match="pooling-64-320 has no attention maps"):
        attention(open_run(path))
