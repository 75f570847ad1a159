"""Two runs of one law are equal, of two laws not; a growing run is watched; a compact network is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import DRAWS_PER_SNAPSHOT, LADDER, ar1, write_store
from test_analysis_cli import demo_store, run_program
from test_gains import SNAPSHOTS, D, two_peaks
from typer.testing import CliRunner

from analysis import open_run
from analysis.subjects.thermodynamics.compare import compare
from analysis.subjects.thermodynamics.watch import BARS, sparkline
from protmpi.cli import app
from protmpi.config import load
from protmpi.errors import StoreError

TEMPERATURES = LADDER[2:6]


def law(path: Path, seed: int, shift: float = 0.0, width: float = 1.0, draws: int = 400) -> Path:
    """Energies T (900 + 30 x) with AR(1) x, at one temperature shifted by `shift` and widened by `width`."""
    noise = ar1(0.5, (2, TEMPERATURES.size, draws), np.random.default_rng(seed))
    noise[:, 1] = shift + width * noise[:, 1]
    energy = (TEMPERATURES[:, None] * (900 + 30 * noise)).reshape(2 * TEMPERATURES.size, draws)
    return write_store(path, TEMPERATURES, energy, val_error=0.4 * energy, overlap=np.full(energy.shape, float(seed)))


def test_runs_of_one_law_are_equal(tmp_path: Path) -> None:
    runs = [open_run(law(tmp_path / f"{seed}.zarr", seed)) for seed in (31, 32)]
    found = compare(*runs)
    assert {d.verdict for d in found} == {"equal"}
    assert {d.name for d in found} == {"energy", "val_error", "heat_capacity"}  # not the overlap with the start
    assert len(found) == 3 * TEMPERATURES.size


@pytest.mark.parametrize(("change", "name"), [({"shift": 0.7}, "energy"), ({"width": 1.6}, "heat_capacity")])
def test_a_run_of_another_law_differs_where_it_does(tmp_path: Path, change: dict[str, float], name: str) -> None:
    """The broken twin: seven tenths of a standard deviation, or fluctuations that are too wide."""
    found = compare(open_run(law(tmp_path / "a.zarr", 33)), open_run(law(tmp_path / "b.zarr", 34, **change)))
    differ = {(d.temperature, d.name) for d in found if d.verdict == "differ"}
    assert (TEMPERATURES[1], name) in differ
    assert {t for t, _ in differ} == {TEMPERATURES[1]}


def test_the_margin_of_equality_holds_the_true_difference(tmp_path: Path) -> None:
    """U is shifted by 1 %, 0.3 of its standard deviation: the margin is above it in 95 of 100 pairs."""
    found = []
    for seed in range(20):
        pair = (law(tmp_path / f"{seed}{name}.zarr", 2 * seed + 100 + bool(shift), shift, draws=200)
                for name, shift in (("a", 0.0), ("b", 0.3)))  # fmt: skip
        found += [d for d in compare(*map(open_run, pair)) if d.name == "energy" and d.temperature == TEMPERATURES[1]]
    margins = np.array([d.within for d in found if d.verdict != "weak"])
    assert len(margins) > 15
    assert np.mean(margins > 0.01) > 0.8
    assert np.median(margins) < 0.025


def test_few_draws_are_weak_not_equal(tmp_path: Path) -> None:
    found = compare(*(open_run(law(tmp_path / f"{seed}.zarr", seed, draws=19)) for seed in (35, 36)))
    assert {d.verdict for d in found} == {"weak"}


def test_compare_in_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = law(tmp_path / "a.zarr", 37), law(tmp_path / "b.zarr", 38), law(tmp_path / "c.zarr", 39, shift=2.0)
    assert run_program(monkeypatch, "compare", a, b, "--strict") == 0
    printed = capsys.readouterr().out
    assert "No significant difference in 12 numbers. Equal, at every temperature, within: energy " in printed
    assert printed.count("equal within") == 12
    assert run_program(monkeypatch, "compare", a, c) == 0
    assert run_program(monkeypatch, "compare", a, c, "--strict") == 1
    assert "DIFFER: energy at T = 2e-4" in capsys.readouterr().out
    other = demo_store(tmp_path / "other.zarr", np.array([5e-5, 7e-5]))
    with pytest.raises(StoreError, match="no temperature in common"):
        compare(open_run(a), open_run(other))


@pytest.mark.parametrize(("draws", "expected"), [(0, "no draw is committed yet"), (5, "burn-in"), (60, "measuring")])
def test_a_growing_run_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], draws: int, expected: str
) -> None:
    store = demo_store(tmp_path / "run.zarr", draws=draws, planned_draws=100)
    assert run_program(monkeypatch, "watch", store, "--once") == 0
    printed = capsys.readouterr().out
    assert expected in printed
    assert max(map(len, printed.splitlines())) <= 120
    assert ("ESS" in printed) == (draws == 60)


def test_sparkline_is_the_shape_of_the_series() -> None:
    assert sparkline(np.linspace(0, 1, 8)[None]) == BARS
    assert sparkline(np.array([[1.0, np.nan, 0.0], [1.0, np.nan, np.nan]])) == "█ ▁"
    assert len(sparkline(np.random.default_rng(1).random((3, 1000)))) == 40
    assert sparkline(np.full((1, 3), np.nan)) == ""


def gains_store(path: Path, useless: list[tuple[int, int]]) -> Path:
    """A network of 64 with so many gains of about zero at the two layer norms of each block, and its configuration."""
    rng = np.random.default_rng(40)
    layers = {f"{b}.{layer}.{kind}": D for b in range(len(useless)) for layer in ("LN1", "LN2")
              for kind in ("gain", "bias")}  # fmt: skip
    parameters = rng.standard_normal((3, SNAPSHOTS, sum(layers.values())))
    for walker in range(3):
        for index, count in enumerate(np.ravel(useless)):
            parameters[walker, :, 2 * D * index : 2 * D * index + D] = two_peaks(rng, count)
    energy = TEMPERATURES[:3, None] * (900 + 30 * rng.standard_normal((3, SNAPSHOTS * DRAWS_PER_SNAPSHOT)))
    sampler = {"temperatures": TEMPERATURES[:3].tolist(), "rho": 1e-3}
    model = {"name": f"transformer-{len(useless)}-64", "blocks": len(useless), "d": D, "m": 4 * D, "layers": [50, 100]}
    return write_store(path, TEMPERATURES[:3], energy, parameters=parameters, layers=layers, sampler=sampler,
                       model=model, more={"train": {"file": "w.h5"}, "execution": {"store": "s.zarr"}})  # fmt: skip


@pytest.mark.parametrize(("useless", "d", "counts"), [
    ([(38, 44)], 26, "0.LN1 26, 0.LN2 20"),
    ([(44, 38)], 26, "0.LN1 20, 0.LN2 26"),
    ([(0, 0), (20, 0), (20, 30), (52, 50)], 14, "3.LN1 12, 3.LN2 14"),
])  # fmt: skip
def test_compact_writes_the_smaller_network(
    tmp_path: Path, useless: list[tuple[int, int]], d: int, counts: str
) -> None:
    """The last block decides, and in it the layer norm of which more remains: 26 and 14 of 64, as in the study."""
    store, target = gains_store(tmp_path / "run.zarr", useless), tmp_path / "small.toml"
    done = CliRunner().invoke(app, ["compact", str(store), "--out", str(target)])
    assert done.exit_code == 0, done.output
    assert counts in done.output.replace(" ± 0.0", "")
    config = load(target)
    assert (config.model.kind, config.model.blocks, config.model.d) == ("transformer", len(useless), d)
    assert config.model.m == 4 * d
    assert config.model.name == f"transformer-{len(useless)}-{d}"
    assert str(config.train.file) == "w-compact.h5"
    assert str(config.execution.store) == "s-compact.zarr"
    assert config.sampler.temperatures == TEMPERATURES[:3].tolist()
    again = CliRunner().invoke(app, ["compact", str(store), "--out", str(target)])
    assert "choose another --out" in str(again.exception)


def test_compact_refuses_where_all_elements_are_useful(tmp_path: Path) -> None:
    for useless in ([(0, 0)], [(38, 0)], [(38, 38), (0, 38)]):
        path = tmp_path / f"{useless}.zarr"
        done = CliRunner().invoke(app, ["compact", str(gains_store(path, useless))])
        assert "no peak at zero" in str(done.exception)
        assert "LN1 64" in str(done.exception) or "LN2 64" in str(done.exception)
    assert list(tmp_path.glob("*.toml")) == []
    store = gains_store(tmp_path / "cut.zarr", [(38, 38)])
    done = CliRunner().invoke(app, ["compact", str(store), "--temperature", "0.5"])
    assert "--temperature: 5e-1 is not in the ladder" in str(done.exception)
