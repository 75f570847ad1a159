"""Convergence of the tempering: two independent runs are compared with each other and with plain Metropolis.

Sequences of one walker are correlated, walkers are independent. So whole walkers are exchanged between the two runs at
random. If both runs sample the same law, the observed difference is typical of the differences after exchange.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from protmpi.data.energy import FoldingEnergy, energies
from protmpi.data.tempering import TemperingRun, Walkers

EXCHANGES = 2_000
ENERGY_BINS = 64
LAGS = 10
PAIRS = 20_000
METROPOLIS_WALKERS, METROPOLIS_SWEEPS = 128, 1_000
SMALLEST_P, LARGEST_Z, FEWEST_ROUND_TRIPS, SMALLEST_VISITS = 0.002, 3.5, 0.5, 0.5


@dataclass(frozen=True)
class Check:
    """One line of the table: the measured quantity, the significance of its deviation, and the verdict."""

    name: str
    measured: str
    significance: str
    passed: bool


def measure(
    problem: FoldingEnergy, runs: list[TemperingRun], seed: np.random.SeedSequence, pool: ThreadPoolExecutor
) -> dict[str, np.ndarray]:
    """Quantities stored beside the sequences of two runs. Names are those of the group `convergence` of the data file.

    Shapes: K rungs (padded with nan to the longer ladder), N sequences, 2 runs. Energies in units of the std of J.
    """
    start, exchange_seed, pair_seed = seed.spawn(3)
    energy = [energies(run.sequences, problem.couplings, problem.contact_map) for run in runs]
    measured = _ladders(runs)
    measured |= _two_runs(runs, energy, np.random.default_rng(exchange_seed))
    measured |= _metropolis(problem, runs, start, pool)
    measured["energy_mean"] = np.array([values.mean() for values in energy])
    random = np.random.default_rng(pair_seed)
    identity = [_pair_identity(run.sequences, random) for run in runs]
    measured["identity_mean"] = np.array([values.mean() for values in identity])
    measured["identity_std"] = np.array([values.std() for values in identity])
    along = [_along_walkers(values, run) for values, run in zip(energy, runs, strict=True)]
    measured["energy_autocorrelation"] = np.stack([correlation for correlation, _ in along])
    measured["identity_along_walker"] = np.stack([identity for _, identity in along])
    measured["run"] = np.repeat(np.arange(len(runs)), [len(run.sequences) for run in runs])
    measured["walker"] = np.concatenate([run.walkers for run in runs])
    measured["freezing_temperature"] = np.array(problem.freezing_temperature)
    return measured


def checks(measured: dict[str, np.ndarray]) -> list[Check]:
    """The table of verdicts, from the result of `measure`."""

    def both(name: str, form: str) -> str:
        return ", ".join(format(value, form) for value in measured[name])

    def compared(name: str, shown: str, label: str) -> Check:
        z, p = float(measured[f"{label}_z"]), float(measured[f"{label}_p"])
        return Check(name, shown, f"z {z:+.1f}, p {p:.3f}", p >= SMALLEST_P)

    identity = f"{both('identity_mean', '.3f')} (std {measured['identity_std'].mean():.2f})"
    trips, visits = measured["round_trips_per_sequence"], measured["visits"]
    fewest, most = float(np.nanmin(visits)), float(np.nanmax(visits))
    z = float(measured["metropolis_z"])
    return [
        compared("energies", both("energy_mean", ".2f"), "energy"),
        compared("site profiles", f"distance {measured['profile_distance']:.4f}", "profile"),
        compared("pair identity", identity, "identity"),
        Check(
            f"Metropolis at T = {measured['metropolis_temperature']:.2f}",
            f"{measured['tempering_energy']:.2f}, {measured['metropolis_energy']:.2f}",
            f"z {z:+.1f}",
            abs(z) <= LARGEST_Z,
        ),
        Check(
            "round trips / sequence",
            both("round_trips_per_sequence", ".2f"),
            f"at least {FEWEST_ROUND_TRIPS:g}",
            bool(trips.min() >= FEWEST_ROUND_TRIPS),
        ),
        Check(
            "visits / even share",
            f"{fewest:.2f} to {most:.2f}",
            f"at least {SMALLEST_VISITS:g}",
            fewest >= SMALLEST_VISITS,
        ),
    ]


def _ladders(runs: list[TemperingRun]) -> dict[str, np.ndarray]:
    rungs = max(run.ladder.rungs for run in runs)

    def padded(rows: list[np.ndarray]) -> np.ndarray:
        return np.stack([np.concatenate([row, np.full(rungs - len(row), np.nan)]) for row in rows])

    tallies = [run.tally for run in runs]
    return {
        "temperatures": padded([1 / run.ladder.inverse_temperatures for run in runs]),
        "weights": padded([run.ladder.weights for run in runs]),
        "visits": padded(
            [run.ladder.rungs * t.visits.sum(axis=0) / t.visits.sum() for run, t in zip(runs, tallies, strict=True)]
        ),
        "mean_energies": padded([t.energy_sums.sum(axis=0) / np.maximum(t.visits.sum(axis=0), 1) for t in tallies]),
        "round_trips_per_sequence": np.array([run.tally.round_trips.sum() / len(run.sequences) for run in runs]),
        "sweeps_per_round_trip": np.array([t.sweeps_per_round_trip for t in tallies]),
        "sweeps_learning": np.array([run.learning_sweeps for run in runs]),
        "sweeps_between_takes": np.array([run.interval for run in runs]),
    }


def _two_runs(runs: list[TemperingRun], energy: list[np.ndarray], random: np.random.Generator) -> dict[str, np.ndarray]:
    """Observed differences of the two runs, their z and p among random exchanges of walkers."""
    length = runs[0].sequences.shape[1]
    edges = np.quantile(np.concatenate(energy), np.linspace(0, 1, ENERGY_BINS + 1)[1:-1])
    letters, bins = [], []  # for each walker: number of sequences with each letter at each site, and in each energy bin
    for run, values in zip(runs, energy, strict=True):
        owners, walkers = run.walkers, run.tally.visits.shape[0]
        cells = np.arange(length) * 20 + run.sequences
        for walker in range(walkers):
            own = owners == walker
            letters.append(np.bincount(cells[own].ravel(), minlength=20 * length))
            bins.append(np.bincount(np.searchsorted(edges, values[own]), minlength=ENERGY_BINS))
    member = np.zeros(len(letters))
    member[: runs[0].tally.visits.shape[0]] = 1
    groups = np.stack([member] + [random.permutation(member) for _ in range(EXCHANGES)])
    first, second = (_frequencies(side, np.stack(letters), np.stack(bins), length) for side in (groups, 1 - groups))
    differences = {
        "energy": np.abs(np.cumsum(first["bins"] - second["bins"], axis=1)).max(axis=1),
        "profile": ((first["letters"] - second["letters"]) ** 2).sum(axis=1) / length,
        "identity": np.abs(first["identity"] - second["identity"]),
    }
    result = {}
    for name, values in differences.items():
        observed, others = values[0], values[1:]
        spread = max(others.std(), np.finfo(float).tiny)
        result[f"{name}_distance"] = np.array(observed)
        result[f"{name}_z"] = np.array((observed - others.mean()) / spread)
        result[f"{name}_p"] = np.array((1 + np.sum(others >= observed)) / (1 + EXCHANGES))
    return result


def _frequencies(groups: np.ndarray, letters: np.ndarray, bins: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """Letter frequencies (R, L * 20), energy histograms (R, bins), pair identity (R,) of groups of walkers (R, W)."""
    n = np.maximum(groups @ bins.sum(axis=1), 2)[:, None]
    frequencies = groups @ letters / n
    chance = (frequencies**2).sum(axis=1) / length
    return {"letters": frequencies, "bins": groups @ bins / n, "identity": (n[:, 0] * chance - 1) / (n[:, 0] - 1)}


def _metropolis(
    problem: FoldingEnergy, runs: list[TemperingRun], seed: np.random.SeedSequence, pool: ThreadPoolExecutor
) -> dict[str, np.ndarray]:
    """Mean energy of the hottest rung of the first run, compared with plain Metropolis from random sequences."""
    ladder, tally = runs[0].ladder, runs[0].tally
    hottest = ladder.single(0)
    crowd = Walkers(problem, METROPOLIS_WALKERS, seed, pool)
    crowd.advance(hottest, METROPOLIS_SWEEPS)
    plain = crowd.advance(hottest, METROPOLIS_SWEEPS)
    expected, expected_error = _mean_and_error(plain.energy_sums[:, 0], plain.visits[:, 0])
    mean, error = _mean_and_error(tally.energy_sums[:, 0], tally.visits[:, 0])
    return {
        "metropolis_temperature": np.array(1 / ladder.inverse_temperatures[0]),
        "metropolis_energy": np.array(expected),
        "tempering_energy": np.array(mean),
        "metropolis_z": np.array((mean - expected) / max(np.hypot(error, expected_error), np.finfo(float).tiny)),
    }


def _mean_and_error(sums: np.ndarray, visits: np.ndarray) -> tuple[float, float]:
    """Ratio of sums over independent walkers, with its standard error."""
    mean = sums.sum() / visits.sum()
    return float(mean), float(np.sqrt(((sums - mean * visits) ** 2).sum()) / visits.sum())


def _pair_identity(sequences: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Fraction of equal sites in random pairs of different sequences."""
    first = random.integers(len(sequences), size=PAIRS)
    second = (first + random.integers(1, len(sequences), size=PAIRS)) % len(sequences)
    return (sequences[first] == sequences[second]).mean(axis=1)


def _along_walkers(values: np.ndarray, run: TemperingRun) -> tuple[np.ndarray, np.ndarray]:
    """Energy autocorrelation and pair identity of the sequences of one walker (LAGS + 1,) by lag; nan if unknown."""
    centred, walkers, sequences = values - values.mean(), run.walkers, run.sequences
    correlation, identity = np.full(LAGS + 1, np.nan), np.full(LAGS + 1, np.nan)
    for lag in range(min(LAGS + 1, len(values))):
        earlier, later = slice(0, len(values) - lag), slice(lag, None)
        same = walkers[earlier] == walkers[later]
        if same.any() and values.var() > 0:
            correlation[lag] = np.mean((centred[earlier] * centred[later])[same]) / values.var()
            identity[lag] = np.mean((sequences[earlier] == sequences[later])[same])
    return correlation, identity
