"""Walkers that swap with known probabilities: acceptance, round trips, flow; wrong energies and slots must show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from synthetic import BURN_IN_DRAWS, EXCHANGE, RECORD_EVERY, exchange_slots, write_store
from test_analysis_cli import refuse_constant, run_program

from analysis import open_run, thermodynamics
from analysis.reading.run import Run
from analysis.statistics.significance import SIGNIFICANT
from analysis.subjects.ladder.tempering import flow, last_end, round_trip_rate, round_trips, tempering, transitions
from protmpi.errors import ProtmpiError

MODES = 40
LADDER = np.geomspace(1e-4, 4e-4, 6)


def by_walker(energy: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """Energies (ladder, slot, draw) as the walkers (walker, draw) that were there had them."""
    slot = slot.reshape(energy.shape)
    return np.take_along_axis(energy, slot, axis=1).reshape(-1, energy.shape[-1])


def harmonic_exchange(seed: int, ladders: int = 2, draws: int = 800, scheme: str = "even-odd") -> dict[str, Any]:
    """Energies drawn afresh at every temperature and the slots that swaps lead to: arguments of `write_store`."""
    rng = np.random.default_rng(seed)
    energy = 1.3 + LADDER[:, None] * rng.gamma(MODES / 2, size=(ladders, LADDER.size, draws))
    beta = 1.0 / LADDER
    exponent = (beta[:-1] - beta[1:])[:, None] * (energy[:, :-1] - energy[:, 1:])
    chance = np.exp(np.minimum(exponent, 0.0))
    slot = exchange_slots(lambda draw, _: chance[..., draw], ladders, LADDER.size, draws, rng, scheme)
    return {
        "temperature": LADDER,
        "energy": by_walker(energy, slot),
        "slot": slot,
        "tempering": {**EXCHANGE, "scheme": scheme},
    }


def harmonic_run(path: Path, seed: int, **changes: Any) -> Run:
    return open_run(write_store(path, **{**harmonic_exchange(seed), **changes}))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("exchange") / "run.zarr", **harmonic_exchange(1))


def test_round_trips_of_a_given_path() -> None:
    # begins in the middle, visits the top, then bottom -> top -> bottom twice, and is on its way up at the end
    path = np.array([[1, 2, 1, 0, 1, 2, 2, 1, 0, 1, 0, 1, 2, 1, 0, 1, 2]])
    assert last_end(path, 2)[0].tolist() == [-1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1]
    assert round_trips(path, 2).tolist() == [2]
    assert round_trips(np.array([[1, 0, 1, 0, 1]]), 2).tolist() == [0]
    assert flow(path[None], 2)[0] == pytest.approx([0.0, 3 / 7, 1.0])
    assert transitions(path, 2).tolist() == [[0, 4, 0], [4, 0, 4], [0, 3, 1]]


@pytest.mark.parametrize("scheme", ["even-odd", "random"])
def test_constant_probabilities_make_the_round_trips_of_the_closed_form(tmp_path: Path, scheme: str) -> None:
    ladders, draws, chance = 24, 2500, np.array([0.9, 0.5, 0.7, 0.3])
    rng = np.random.default_rng(2)
    slot = exchange_slots(lambda *_: np.broadcast_to(chance, (ladders, 4)), ladders, 5, draws, rng, scheme)
    given = {**EXCHANGE, "scheme": scheme}
    energy = rng.normal(size=slot.shape)
    data = tempering(open_run(write_store(tmp_path / "run.zarr", LADDER[:5], energy, slot=slot, tempering=given)))
    sweeps = draws - BURN_IN_DRAWS - 1
    assert data.attrs["sweeps"] == sweeps
    error = data["acceptance"].values[:, 1]
    assert (error < 0.01).all()
    assert np.abs((data["acceptance"].values[:, 0] - chance) / error).max() < 4
    assert data["barrier"].item() == pytest.approx(1.6, abs=0.02)
    assert data["advice"].item() == 4
    detours = np.sum((1 - chance) / chance)
    closed = sweeps / (2 + 2 * detours) if scheme == "even-odd" else sweeps / (2 * 4 + 2 * detours)
    assert round_trip_rate(chance, scheme) * sweeps == pytest.approx(closed)
    assert data["predicted_round_trips"].item() == pytest.approx(closed, rel=0.02)
    trips = data["round_trips"].values
    # the trips under way at the beginning and the end are not complete: at most one of each walker
    assert -5 - 3 * trips.std() / np.sqrt(ladders) < trips.mean() - closed < 3 * trips.std() / np.sqrt(ladders)
    assert data["round_trip_steps"].item() == pytest.approx(5 * sweeps * RECORD_EVERY / trips.mean(), rel=1e-3)
    mean = data["flow"].values.mean(axis=0)
    assert mean[[0, -1]].tolist() == [0.0, 1.0]
    assert (np.diff(mean) > 0).all()
    # swaps that forget the direction, as those of a broken sampler, are not those of the closed form
    other = round_trip_rate(chance, "random" if scheme == "even-odd" else "even-odd") * sweeps
    assert abs(trips.mean() - other) > 5 + 10 * trips.std() / np.sqrt(ladders)


def test_swaps_follow_from_the_energies(store: Path) -> None:
    data = tempering(open_run(store))
    assert np.abs(data["consistency"].values).max() < 3
    mean, error = data["acceptance"].values.T
    assert np.abs((mean - data["expected_acceptance"].values) / error).max() < 4
    counts = data["transitions"].values
    assert counts.sum() == 2 * LADDER.size * (800 - BURN_IN_DRAWS - 1)
    assert np.triu(counts, 2).sum() == np.tril(counts, -2).sum() == 0
    assert (np.diag(counts, 1) == np.diag(counts, -1)).all()


@pytest.mark.parametrize("broken", ["shuffled", "other ladder", "other turn"])
def test_swaps_that_do_not_follow_from_the_energies_fail(tmp_path: Path, broken: str) -> None:
    made = harmonic_exchange(1)
    if broken == "shuffled":
        energy = made["energy"].copy().reshape(2, LADDER.size, -1)
        np.random.default_rng(3).permuted(energy, axis=1, out=energy)
        made["energy"] = energy.reshape(made["energy"].shape)
    elif broken == "other ladder":
        made["temperature"] = LADDER**2 / LADDER[0]
    else:
        made["slot"], made["energy"] = made["slot"][:, 1:], made["energy"][:, 1:]
    data = tempering(open_run(write_store(tmp_path / "run.zarr", **made)))
    assert np.abs(data["consistency"].values).max() > SIGNIFICANT


def test_a_coin_for_the_turn(tmp_path: Path) -> None:
    made = harmonic_exchange(4, scheme="random")
    data = tempering(open_run(write_store(tmp_path / "run.zarr", **made)))
    assert np.abs(data["consistency"].values).max() < 3
    mean, error = data["acceptance"].values.T
    assert np.abs((mean - data["expected_acceptance"].values) / error).max() < 4


def test_a_ladder_that_was_spaced_anew_counts_as_frozen(tmp_path: Path) -> None:
    made = harmonic_exchange(5)
    history = LADDER[made["slot"]]
    history[:, :15] = (LADDER[0] * np.linspace(1, 4, LADDER.size))[made["slot"][:, :15]]
    burn_in = 20 * RECORD_EVERY
    made["temperature"] = LADDER[0] * np.linspace(1, 4, LADDER.size)
    run = open_run(write_store(tmp_path / "run.zarr", **made, slot_temperature=history, burn_in=burn_in))
    np.testing.assert_array_equal(run.temperature, LADDER)
    assert "slot_temperature" not in run.observables
    assert run.burn_in == burn_in
    data = tempering(run)
    assert data.attrs["sweeps"] == 800 - 20 - 1
    assert np.abs(data["consistency"].values).max() < 3


def test_sweeps_only_after_some_draws(tmp_path: Path) -> None:
    """Two draws between sweeps: the slots move after every second draw."""
    rng = np.random.default_rng(6)
    slot = np.repeat(exchange_slots(lambda *_: np.full((2, 3), 0.6), 2, 4, 300, rng), 2, axis=1)[:, 1:]
    every = {**EXCHANGE, "exchange_every": 2 * RECORD_EVERY}
    # the sweep after draw d (d + 1 steps of RECORD_EVERY) shows in draw d + 1
    slot = np.concatenate([slot[:, :1], slot], axis=1)
    energy = rng.normal(size=slot.shape)
    data = tempering(open_run(write_store(tmp_path / "run.zarr", LADDER[:4], energy, slot=slot, tempering=every)))
    assert data.attrs["sweeps"] == (slot.shape[1] - BURN_IN_DRAWS - 1) // 2
    assert data["acceptance"].values[:, 0] == pytest.approx(0.6, abs=0.1)


def test_a_lost_walker_swaps_no_more_and_the_others_count(tmp_path: Path) -> None:
    made = harmonic_exchange(7)
    slot = made["slot"].reshape(2, LADDER.size, -1)
    stays = slot.copy()
    stays[1, :, 400:] = slot[1, :, 400:401]
    made["slot"] = stays.reshape(made["slot"].shape)
    made["energy"][LADDER.size :, 400:] = np.nan  # the whole second ladder is lost
    data = tempering(open_run(write_store(tmp_path / "run.zarr", **made)))
    assert np.abs(data["consistency"].values).max() < 3
    assert np.isfinite(data["acceptance"].values).all()


def test_no_swap_at_all_is_an_infinite_wait(tmp_path: Path) -> None:
    energy = np.random.default_rng(8).normal(size=(4, 60))
    data = tempering(open_run(write_store(tmp_path / "run.zarr", LADDER[:4], energy + 9.0, tempering=EXCHANGE)))
    assert data["round_trips"].values.tolist() == [0]
    assert data["predicted_rate"].item() == 0.0
    assert data["round_trip_steps"].item() == np.inf
    assert (data["acceptance"].values[:, 1] > 0).all()


@pytest.mark.parametrize("section", [None, {"kind": "none"}])
def test_a_run_without_exchange_is_refused(tmp_path: Path, section: dict[str, Any] | None) -> None:
    energy = np.random.default_rng(9).normal(size=(4, 60))
    with pytest.raises(ProtmpiError, match="no replica exchange in this run"):
        tempering(open_run(write_store(tmp_path / "run.zarr", LADDER[:4], energy, tempering=section)))


def test_program(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(monkeypatch, "tempering", store, "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["ladder"] == LADDER.tolist()
    assert len(tree["round_trips"]) == 2
    assert len(tree["acceptance"]) == LADDER.size - 1
    assert tree["barrier"] == pytest.approx(sum(1 - a for a in tree["acceptance"]))
    assert run_program(monkeypatch, "tempering", store, "--out", tmp_path / "new") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, (line for line in lines if not line.startswith("wrote ")))) <= 120
    assert any("slots are enough" in line for line in lines)
    names = ("trajectories", "overlap", "flow")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {f"{n}.{s}" for n in names for s in ("png", "pdf")}
    for name in names:
        image = imread(tmp_path / "new" / f"{name}.png")[..., :3]
        assert 0.01 < np.mean(image.min(axis=2) < 0.9) < 0.5, "next to nothing, or too much, is drawn"


def test_a_run_without_exchange_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_store(tmp_path / "run.zarr", LADDER[:2], np.random.default_rng(10).normal(size=(2, 60)))
    assert run_program(monkeypatch, "tempering", path, "--out", tmp_path / "new") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_errors_of_exchanged_walkers_know_what_each_keeps(tmp_path: Path) -> None:
    """Walkers with offsets as large as the noise, shuffled at every draw: few independent draws, not hundreds."""
    rng, draws = np.random.default_rng(83), 400
    slot = rng.permuted(np.tile(np.arange(3), (2, draws, 1)), axis=2).transpose(0, 2, 1).reshape(6, draws)
    energy = 1.0 + 0.01 * (rng.normal(size=(6, draws)) + np.tile(rng.normal(size=3), 2)[:, None])
    samples = {}
    for kind in ("exchange", "none"):
        path = write_store(tmp_path / f"{kind}.zarr", LADDER[:3], energy, slot=slot, tempering={"kind": kind})
        samples[kind] = thermodynamics(open_run(path))["effective_samples"].values
    assert (samples["exchange"] < 60).all()
    assert (samples["none"] > 200).all(), "their series alone do not tell"
