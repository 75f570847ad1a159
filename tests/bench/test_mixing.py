"""`bench mixing` on a problem that is solved: costs, laws and counts; and the whole command on a small data set."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from problems import FOLDING
from scipy import special
from torch import Tensor

from protmpi.bench import mixing, mixing_table
from protmpi.bench.mixing import Chains, Counted, Problem, PseudoLangevin, Trajectories, follow, row, rows
from protmpi.bench.progress import Progress
from protmpi.config import parse
from protmpi.models.layout import Layout

P, SAMPLES, WALKERS, TEMPERATURE = 9, 120, 3, 0.03
METHODS: Sequence[mixing.Method] = (Trajectories(4), Trajectories(10, 0.4), PseudoLangevin(0.01), PseudoLangevin(None))


class Springs:
    """Mean over samples of |w - x_s|²/2: on the sphere the law is that of von Mises and Fisher."""

    def __init__(self) -> None:
        self.x = 0.1 + np.random.default_rng(3).standard_normal((SAMPLES, P))
        self.layout, self.train_size, self.on_device = Layout([("a", (4,)), ("b", (1, 5))]), SAMPLES, True
        self.device, self.check = torch.device("cpu"), lambda: None

    def gradient(self, w: Tensor, indices: Any) -> tuple[Tensor, Tensor]:
        chosen = np.broadcast_to(np.arange(SAMPLES), (len(w), SAMPLES)) if indices is None else np.asarray(indices)
        away = w.unsqueeze(1) - torch.from_numpy(self.x[chosen]).to(w)
        return 0.5 * (away**2).sum(2).mean(1), away.mean(1)

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        energy = self.gradient(w, None)[0].numpy()
        return energy, energy

    def draw_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        return {"energy": self.gradient(w, None)[0].numpy(), "val_error": w[:, 0].numpy()}

    def mean_energy(self) -> float:
        """<U> on |w| = 1, by the Bessel ratio."""
        centre = np.linalg.norm(self.x.mean(0))
        kappa = centre / TEMPERATURE
        along = special.ive(P / 2, kappa) / special.ive(P / 2 - 1, kappa)
        return float(0.5 + 0.5 * (self.x**2).sum(1).mean() - centre * along)


class OnTheSphere(Problem):
    def start(self, temperature: float, store: str | None) -> Tensor:
        w = torch.randn(self.walkers, P, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        return w / w.norm(dim=1, keepdim=True)


def problem(passes: int, **keys: Any) -> OnTheSphere:
    sampler = {"batch": 24, "min_extractions": 50, "max_extractions": 50, "m1": 0.3, "min_adj_step": 10_000,
               "max_adj_step": 10_000, "trajectory": 5, **keys}  # fmt: skip
    return OnTheSphere(parse({"sampler": sampler}, "test"), Counted(Springs()), WALKERS, passes)  # type: ignore[arg-type]


def measured(passes: int = 800, methods: Sequence[mixing.Method] = METHODS) -> dict[str, Any]:
    found = list(rows(problem(passes), [TEMPERATURE], methods, 400, None, Progress("test", speaks=False)))
    return {"rows": found, "train_size": SAMPLES}


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return measured()


def test_every_sampler_gives_the_mean_of_the_law(result: dict[str, Any]) -> None:
    for found in result["rows"]:
        u = found["energy"]
        assert u["known"], found["sampler"]
        assert abs(u["mean"] - Springs().mean_energy()) < 4.0 * u["sem"], found["sampler"]
    said = mixing_table.verdicts(result["rows"])
    assert sum(verdict.startswith("yes") for verdict in said) == len(METHODS) - 1
    assert said.count("is compared with") == 1


def test_a_sampler_at_another_temperature_does_not_agree(result: dict[str, Any]) -> None:
    class Hot(Trajectories):
        def tuned(self, problem: Problem, begin: mixing.Equilibrium, *rest: Any) -> Any:
            return super().tuned(problem, dataclasses.replace(begin, temperature=1.5 * TEMPERATURE), *rest)

    hot = measured(methods=[Hot(10)])["rows"][0]
    assert mixing_table.verdicts([*result["rows"], hot])[-1].startswith("NO")


def test_costs_are_time_by_price(result: dict[str, Any]) -> None:
    """Sequence-gradients of a draw from the samplers' equations, not from the counter."""
    first, second, langevin, auto = result["rows"]
    assert first["samples_per_draw"] == 4 * SAMPLES
    assert second["samples_per_draw"] == 10 * SAMPLES
    assert 0.0 < first["acceptance"] < 1.0
    assert math.isnan(langevin["acceptance"])
    steps, _ = PseudoLangevin(0.01).stretch(problem(800))
    assert langevin["samples_per_draw"] == pytest.approx(steps * 24, rel=0.01)
    assert auto["rho"] != langevin["rho"]
    line = mixing_table.cells({**first, "train_size": SAMPLES}, "")
    cost = first["energy"]["time"] * 4 * SAMPLES
    assert float(line[3].partition("±")[0].strip("( ")) * 10 ** int(line[3].partition("e")[2]) == pytest.approx(
        cost, abs=first["energy"]["time_error"] * 4 * SAMPLES
    )


@pytest.mark.parametrize("recorded", [False, True], ids=["counted", "recorded"])
def test_every_gradient_of_the_measured_stretch_is_counted_once(recorded: bool) -> None:
    """A recording passes the counter by, estimates of s² do not. The first gradient of all is that of the burn-in."""
    small = problem(20, min_adj_step=30, max_adj_step=30)
    start = small.start(TEMPERATURE, None)
    block = small.build(range(WALKERS), start, TEMPERATURE, small.sampler(False, rho=0.01, adapt_until=30), 1)
    energy = small.energy

    def record(work: Callable[[], None], generators: Any) -> Callable[[], None]:
        def repeat() -> None:
            before = energy.samples
            work()
            energy.samples = before

        return repeat

    block.record = record if recorded else None
    block.initialise()
    block.explore(30)
    chains = follow(small, block, 10, 12, lambda samples: None)
    # s² and its excess, of 50 and of 2 x 16 mini-batches, at steps 60, 90 and 120 of 30 to 150
    assert chains.samples == WALKERS * 24 * (120 + 3 * (50 + 2 * 16))


def test_masses_are_those_of_the_burn_in_and_the_time_step_goes_on_from_there() -> None:
    small = problem(200)
    begin = small.equilibrate(0, TEMPERATURE, 300, None, lambda samples: None)
    block = Trajectories(10, 0.4).tuned(small, begin, 1, lambda samples: None)
    np.testing.assert_array_equal(block.mass.numpy(), begin.arrays["mass"])
    ratio = block.checkpoint()["time_step"] / begin.arrays["time_step"]
    assert (ratio != 1.0).all()
    assert ((ratio > 0.2) & (ratio < 5.0)).all()
    assert block.step == block.config.adapt_until


def chains_of(draws: Sequence[int], tau: float, seed: int = 1) -> Chains:
    """Walkers that end at different draws, lost; energies AR(1) of time tau, weights that stay."""
    random, phi = np.random.default_rng(seed), (tau - 1.0) / (tau + 1.0)
    energy = np.full((max(draws), len(draws)), np.nan)
    for walker, n in enumerate(draws):
        x = random.standard_normal()
        for draw in range(n):
            energy[draw, walker] = x
            x = phi * x + math.sqrt(1.0 - phi**2) * random.standard_normal()
    found = Chains([random.standard_normal((len(draws), P))] * (max(draws) + 1), 1, [*energy], [*energy])
    found.samples, found.seconds = 7_000.0 * energy.size, 14.0 * energy.size
    return found


def of_chains(chains: Chains, walkers: int) -> tuple[dict[str, Any], list[str]]:
    small = dataclasses.replace(problem(10), walkers=walkers)
    block = small.build(range(2), small.start(TEMPERATURE, None)[:2], TEMPERATURE, small.sampler(True), 1)
    found = row(small, Trajectories(7), block, TEMPERATURE, chains)
    line = mixing_table.cells({**found, "train_size": 1_000}, mixing_table.verdicts([found])[0])
    return found, line


def test_gradients_per_effective_sample_are_those_of_planted_chains() -> None:
    found, line = of_chains(chains_of((6_000, 6_000, 2_100), 9.0), 3)
    cost, error = (found["energy"][name] * found["samples_per_draw"] for name in ("time", "time_error"))
    assert found["samples_per_draw"] == 7_000.0
    assert cost == pytest.approx(9.0 * 7_000.0, rel=0.15)
    assert abs(cost - 9.0 * 7_000.0) < 3.0 * error
    assert found["lost"] == 1
    assert line[-1] == "is compared with, 1 lost"
    assert all("±" in line[i] for i in (2, 3, 4, 5, 6, 9))
    assert abs(float(line[4].split()[0]) - 9.0 * 14.0) < 20.0  # 14 s a draw


def test_too_few_samples_are_a_bound_without_an_error() -> None:
    found, line = of_chains(chains_of((60, 40), 50.0), 2)
    assert found["energy"]["effective"] < 20
    assert not any("±" in cell for cell in line)
    assert line[3] == "> 3.5e4"  # 100 draws of 7000 over 20
    assert line[2] == "> 35"
    assert line[-1] == "too short, 1 lost"


def test_a_sampler_that_loses_all_walkers_has_a_line_of_its_own() -> None:
    found, line = of_chains(chains_of((1, 0), 3.0), 2)
    assert "energy" not in found
    assert line == ["trajectories of 7", "-", *["-"] * 8, "too short, 1 lost"]


CONFIG = (
    FOLDING
    + """blocks = 1
d = 4
[sampler]
start = "random"
temperatures = [1e-3, 5e-3, 2e-2]
adapt_until = 200
trajectory = 20
batch = 16
[run]
steps = 1000
record_every = 20
snapshot_every = 100
"""
)


def test_the_whole_command(protmpi: Command, tmp_path: Path, small_data_file: Path) -> None:
    config, out = tmp_path / "c.toml", tmp_path / "mixing.json"
    config.write_text(CONFIG.format(data=small_data_file))
    done = protmpi("bench", "mixing", config, "--quick", "--gradients", 40, "--out", out, "--rho", "auto",
                   "--rho", "5e-8")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    names = ["pseudo-Langevin, rho auto", "pseudo-Langevin, rho 5e-08", "trajectories of 10"]
    assert [each["sampler"] for each in found["rows"]] == names
    assert {each["temperature"] for each in found["rows"]} == {5e-3}
    assert all(name in done.stdout for name in (*names, "T = 5e-3", "40 measured"))
    assert done.stderr.startswith("bench mixing\n")
    trajectories = found["rows"][-1]
    assert trajectories["samples"] == 40 * 30 * 2  # passes, training sequences, walkers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rho", "fast"], '--rho fast: is neither a number nor "auto"'),
        (["--rho", "0.9"], "--rho 0.9: not between 0 and"),
        (["--kept", "1.5"], "--kept 1.5: is a fraction of the momentum"),
        (["--temperature", "-1"], "--temperature -1: is not a positive number"),
        (["--from", "ends.h5"], "--from ends.h5: is not a store"),
        (["--out", "nowhere/x.json"], "--out nowhere/x.json: its folder does not exist"),
        (["--out", __file__], f"--out {__file__}: exists; choose another file"),
        (["--set", "sampler.kind='unconstrained'", "--set", "sampler.gamma=1.0"], "sampler.gamma: 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    options: list[str], said: str, tmp_path: Path, small_data_file: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from protmpi import cli

    config = tmp_path / "c.toml"
    config.write_text(CONFIG.format(data=small_data_file))
    monkeypatch.setattr("sys.argv", ["protmpi", "bench", "mixing", str(config), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == [config]
