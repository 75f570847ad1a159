"""Sequences at a low temperature by adaptive simulated tempering.

A walker moves over a ladder of temperatures, from a hot one, where it forgets its sequence within a few sweeps, down to
the target: p(s, k) ∝ exp(-E(s)/T_k + g_k). The rungs and the weights g are learned, then frozen, so that production
samples exactly this law (Marinari and Parisi 1992; ladder of equal steps in std(E) d(1/T)).

Sequences are taken at fixed times, from all walkers that are at the target. One sequence from each round trip target ->
top -> target would be more independent but biased: a long stay in a deep minimum would count as much as a short trip.
Instead the interval between two takes is so long that there are about `ROUND_TRIPS_PER_SEQUENCE` round trips per
sequence. The remaining correlation along a walker is measured (data.convergence).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from protmpi.data.energy import FoldingEnergy
from protmpi.data.moves import advance
from protmpi.errors import DataError

WALKERS = 128
WALKERS_PER_THREAD_CALL = 8
TOP = 2.2  # hottest rung, in freezing temperatures of a random-energy model ...
TOP_OVER_TARGET = 1.5  # ... but at least this factor above the target ...
HOTTER, FORGOTTEN = 1.15, 0.04  # ... and raised while sequences keep this excess identity with their past
RUNG_STEP = 1.0  # std(E) times the step in 1/T between rungs: about half of the moves between them succeed
ANNEALING_STEPS, ANNEALING_SWEEPS = 40, 100
FIRST_ROUND, MOST_LEARNING = 250, 32_000  # sweeps of the first learning round, and of all together
REACHED = 0.1  # a rung counts as reached with this fraction of its expected visits
FLAT = 0.7  # learning ends when every rung has this fraction ...
ROUND_TRIPS_LEARNED = 2  # ... and a walker made this many round trips in the round
ROUND_TRIPS_PER_SEQUENCE = 1.0
MAX_SWEEPS_PER_SEQUENCE = 2_200  # limit for landscapes so glassy that round trips hardly happen

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Ladder:
    """Inverse temperatures (K,), hottest first, and the logarithmic weights g (K,) of the rungs."""

    inverse_temperatures: np.ndarray
    weights: np.ndarray

    @property
    def rungs(self) -> int:
        return len(self.weights)

    def single(self, rung: int) -> Ladder:
        """The ladder of this rung alone: plain Metropolis."""
        return Ladder(self.inverse_temperatures[rung : rung + 1], np.zeros(1))


@dataclass(frozen=True)
class Tally:
    """Counts after every sweep, per walker: visits and summed energies (W, K), and round trips (W,)."""

    visits: np.ndarray
    energy_sums: np.ndarray
    round_trips: np.ndarray

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.visits + other.visits, self.energy_sums + other.energy_sums, self.round_trips + other.round_trips
        )

    @property
    def sweeps_per_round_trip(self) -> float:
        trips = self.round_trips.sum()
        return float(self.visits.sum() / trips) if trips else math.inf


class Walkers:
    """W walkers: sequences (W, L) uint8, rungs (W,), energies (W,) and a random stream each."""

    def __init__(self, problem: FoldingEnergy, count: int, seed: np.random.SeedSequence, pool: ThreadPoolExecutor):
        start, *streams = seed.spawn(count + 1)
        self.problem, self.pool, self.count = problem, pool, count
        self.sequences = problem.random_sequences(count, np.random.default_rng(start))
        self.streams = np.stack([stream.generate_state(4, np.uint64) for stream in streams])
        self.rungs = np.zeros(count, dtype=np.int64)
        self.energies = np.zeros(count)
        self.came_from_top = np.zeros(count, dtype=bool)

    def advance(self, ladder: Ladder, sweeps: int) -> Tally:
        """Let every walker make `sweeps` sweeps. The result does not depend on the number of threads."""
        problem, shape = self.problem, (self.count, ladder.rungs)
        tally = Tally(np.zeros(shape), np.zeros(shape), np.zeros(self.count))

        def some(first: int) -> None:
            advance(
                first,
                min(first + WALKERS_PER_THREAD_CALL, self.count),
                self.sequences,
                self.rungs,
                self.streams,
                self.energies,
                self.came_from_top,
                problem.couplings,
                problem.neighbours,
                problem.degrees,
                problem.contact_map,
                problem.moves == "swap",
                ladder.inverse_temperatures,
                ladder.weights,
                sweeps,
                tally.visits,
                tally.energy_sums,
                tally.round_trips,
            )

        list(self.pool.map(some, range(0, self.count, WALKERS_PER_THREAD_CALL)))
        return tally


@dataclass(frozen=True)
class TemperingRun:
    """Result of one run: sequences (n, L), the walker (n,) of each, the frozen ladder and the production tally."""

    sequences: np.ndarray
    walkers: np.ndarray
    ladder: Ladder
    tally: Tally
    learning_sweeps: int
    interval: int


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """One thread per core that this process may use. The compiled moves release the interpreter lock."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        yield pool


def run(
    problem: FoldingEnergy,
    temperature: float,
    count: int,
    seed: np.random.SeedSequence,
    pool: ThreadPoolExecutor,
    report: Report = lambda stage, share: None,
    walkers: int = WALKERS,
) -> TemperingRun:
    """Draw `count` sequences at `temperature`: anneal, learn, produce. Raises DataError if that is not possible."""
    production_seed, walkers_seed = seed.spawn(2)
    crowd = Walkers(problem, walkers, walkers_seed, pool)
    report("annealing", 0.0)
    ladder = spaced_ladder(crowd, temperature)
    ladder, round_tally, learning_sweeps = learn(crowd, ladder, report)
    due = ROUND_TRIPS_PER_SEQUENCE * round_tally.sweeps_per_round_trip
    interval = math.ceil(min(due, MAX_SWEEPS_PER_SEQUENCE) / ladder.rungs)
    return produce(crowd, ladder, count, interval, learning_sweeps, np.random.default_rng(production_seed), report)


def spaced_ladder(crowd: Walkers, temperature: float) -> Ladder:
    """Anneal from the hottest rung to the target, and place the rungs at equal steps of std(E) d(1/T).

    The first weights are the thermodynamic integral g = int <E> d(1/T) of the annealed energies.
    """
    hottest = max(TOP * crowd.problem.freezing_temperature, TOP_OVER_TARGET * temperature)
    while not _forgets(crowd, hottest):
        hottest *= HOTTER
    fine = np.linspace(1 / hottest, 1 / temperature, ANNEALING_STEPS)
    means = np.empty(ANNEALING_STEPS)
    for step, inverse_temperature in enumerate(fine):
        tally = crowd.advance(Ladder(np.array([inverse_temperature]), np.zeros(1)), ANNEALING_SWEEPS)
        means[step] = tally.energy_sums.sum() / tally.visits.sum()
    # std(E)² = -d<E>/d(1/T)
    steps = np.sqrt(np.maximum(-np.diff(means) * np.diff(fine), 1e-6))
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    integral = np.concatenate([[0.0], np.cumsum(np.diff(fine) * (means[1:] + means[:-1]) / 2)])
    rungs = max(2, 1 + math.ceil(distance[-1] / RUNG_STEP))
    places = np.interp(np.linspace(0, distance[-1], rungs), distance, fine)
    crowd.rungs = np.arange(crowd.count) % rungs
    return Ladder(places, np.interp(places, fine, integral))


def _forgets(crowd: Walkers, temperature: float) -> bool:
    """True if the sequences of walkers, after as many sweeps as an annealing step has, are no more like their former
    selves than like the sequences of other walkers."""
    ladder = Ladder(np.array([1 / temperature]), np.zeros(1))
    crowd.advance(ladder, ANNEALING_SWEEPS)
    before = crowd.sequences.copy()
    crowd.advance(ladder, ANNEALING_SWEEPS)
    own = np.mean(before == crowd.sequences)
    others = np.mean([np.mean(np.roll(before, shift, axis=0) == crowd.sequences) for shift in range(1, 9)])
    return bool(own - others < FORGOTTEN)


def learn(crowd: Walkers, ladder: Ladder, report: Report) -> tuple[Ladder, Tally, int]:
    """Learn the weights in rounds, g_k <- g_k - log(visits_k), until all rungs are visited equally often.

    Once every rung is visited, each round is twice as long as the last. Before that, short rounds learn faster.
    """
    sweeps, total = FIRST_ROUND, 0
    while True:
        report("learning", min(1.0, total / MOST_LEARNING))
        tally = crowd.advance(ladder, sweeps)
        total += sweeps
        share = tally.visits.sum(axis=0) / tally.visits.sum() * ladder.rungs
        # the weight of a rarely visited rung rises by a bounded amount, because its fraction is not known
        ladder = replace(ladder, weights=ladder.weights - np.log(np.maximum(share, REACHED / 2)))
        settled = share.min() > FLAT and tally.round_trips.mean() >= ROUND_TRIPS_LEARNED
        if settled or total >= MOST_LEARNING:
            return ladder, tally, total
        if share.min() > REACHED:
            sweeps = min(2 * sweeps, MOST_LEARNING - total)


def produce(
    crowd: Walkers,
    ladder: Ladder,
    count: int,
    interval: int,
    learning_sweeps: int,
    random: np.random.Generator,
    report: Report,
) -> TemperingRun:
    """With the ladder frozen, take the sequences that are at the target every `interval` sweeps."""
    taken: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    tally = Tally(*(np.zeros(shape) for shape in (2 * [(crowd.count, ladder.rungs)] + [(crowd.count,)])))
    crowd.came_from_top[:] = False
    found, most_takes = 0, 10 + 8 * math.ceil(count * ladder.rungs / crowd.count)
    while found < count:
        if len(taken) == most_takes:
            raise DataError(
                f"data.temperature: {1 / ladder.inverse_temperatures[-1]:g} is too cold: tempering reached "
                f"it too rarely for {count} sequences; raise it (freezing is expected near "
                f"{crowd.problem.freezing_temperature:.2g})"
            )
        tally += crowd.advance(ladder, interval)
        at_target = np.nonzero(crowd.rungs == ladder.rungs - 1)[0]
        taken.append(crowd.sequences[at_target])
        owners.append(at_target)
        found += len(at_target)
        report("drawing", min(1.0, found / count))
    sequences, walkers = np.concatenate(taken), np.concatenate(owners)
    kept = np.sort(random.choice(found, count, replace=False))
    in_walker_order = kept[np.argsort(walkers[kept], kind="stable")]
    return TemperingRun(sequences[in_walker_order], walkers[in_walker_order], ladder, tally, learning_sweeps, interval)
