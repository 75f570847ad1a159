"""The sequence sampler against exact enumeration, with twins that are wrong on purpose."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from protmpi.data import convergence, tempering
from protmpi.data.energy import FoldingEnergy, draw_couplings, energies

SEED = 20240501
# sites 0-1, 2-3 and 4-5 are neighbours that also swap with each other; site 3 has three contacts
PAIRS = [(0, 1), (1, 3), (2, 3), (3, 4), (4, 5), (0, 5)]
TEMPERATURE = 0.8


def contact_map(length, pairs):
    touching = np.zeros((length, length), dtype=bool)
    for i, j in pairs:
        touching[i, j] = touching[j, i] = True
    return touching


def couplings(letters, seed=SEED):
    drawn = draw_couplings("gaussian", np.random.default_rng(seed))
    return np.ascontiguousarray(drawn[:letters, :letters])


def swap_problem():
    return FoldingEnergy(couplings(3), contact_map(6, PAIRS), np.array([0, 0, 1, 1, 2, 2], np.uint8), "swap")


def mutate_problem():
    ring = contact_map(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    return FoldingEnergy(couplings(3), ring, np.zeros(4, np.uint8), "mutate")


def states(problem):
    if problem.moves == "swap":
        return np.array(sorted(set(itertools.permutations(problem.native.tolist()))), dtype=np.uint8)
    return np.array(list(itertools.product(range(len(problem.couplings)), repeat=problem.length)), dtype=np.uint8)


def log_weights(problem, temperature):
    """-E/T of every state."""
    bonds = list(zip(*np.nonzero(np.triu(problem.contact_map)), strict=True))
    return -np.array([sum(problem.couplings[s[i], s[j]] for i, j in bonds) for s in states(problem)]) / temperature


def which(problem, sequences):
    """Index of each sequence among `states`."""
    place = {state.tobytes(): index for index, state in enumerate(states(problem))}
    return np.array([place[sequence.tobytes()] for sequence in sequences])


def chi_square(counts, law):
    """z of the chi-square of counts against a law."""
    expected, freedom = counts.sum() * law / law.sum(), len(law) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def deviation(exact, moved_by):
    """z between the joint law of state and rung, exp(-E/T + g), and walkers moved by another (or the same) problem."""
    temperatures = np.array([2.0, 1.2, TEMPERATURE])
    joint = np.stack([log_weights(exact, temperature) for temperature in temperatures])
    ladder = tempering.Ladder(1 / temperatures, -np.log(np.exp(joint).sum(axis=1)))
    law = np.exp(joint + ladder.weights[:, None]).ravel()
    counts = np.zeros(len(law))
    with tempering.threads() as pool:
        crowd = tempering.Walkers(moved_by, 256, np.random.SeedSequence(SEED), pool)
        crowd.advance(ladder, 200)
        for _ in range(120):
            crowd.advance(ladder, 20)
            counts += np.bincount(crowd.rungs * joint.shape[1] + which(exact, crowd.sequences), minlength=len(law))
    return chi_square(counts, law)


@pytest.mark.parametrize("problem", [swap_problem(), mutate_problem()], ids=["swap", "mutate"])
def test_states_and_rungs_have_their_weights(problem):
    assert abs(deviation(problem, problem)) < 4


def test_wrong_sign_is_seen():
    right = swap_problem()
    assert deviation(right, FoldingEnergy(-right.couplings, right.contact_map, right.native, "swap")) > 50


def test_double_counted_bond_of_swapped_neighbours_is_seen():
    right = swap_problem()
    wrong = FoldingEnergy(right.couplings, np.zeros_like(right.contact_map), right.native, "swap")
    wrong.__dict__.update(neighbours=right.neighbours, degrees=right.degrees)  # fields as they are, own bond forgotten
    assert deviation(right, wrong) > 50


@pytest.mark.parametrize("problem", [swap_problem(), mutate_problem()], ids=["swap", "mutate"])
def test_drawn_sequences_have_their_weights(problem):
    with tempering.threads() as pool:
        run = tempering.run(problem, TEMPERATURE, 6_000, np.random.SeedSequence(SEED), pool)
    law = np.exp(log_weights(problem, TEMPERATURE))
    # a walker's next sequence is about one round trip away, not many: allow for some correlation
    assert abs(chi_square(np.bincount(which(problem, run.sequences), minlength=len(law)), law)) < 5


def larger_problem():
    rng = np.random.default_rng(SEED)
    pairs = [(i, j) for i in range(20) for j in range(i + 2, 20) if rng.random() < 0.25]
    return FoldingEnergy(couplings(20), contact_map(20, pairs), np.arange(20, dtype=np.uint8) // 2, "swap")


def test_walkers_keep_energy_and_composition():
    problem = larger_problem()
    with ThreadPoolExecutor(2) as pool:
        crowd = tempering.Walkers(problem, 16, np.random.SeedSequence(SEED), pool)
        crowd.advance(tempering.Ladder(np.array([0.5, 1.0]), np.zeros(2)), 200)
    assert np.allclose(crowd.energies, energies(crowd.sequences, problem.couplings, problem.contact_map), atol=1e-10)
    assert np.array_equal(np.sort(crowd.sequences, axis=1), np.sort(np.tile(problem.native, (16, 1)), axis=1))


def test_threads_do_not_change_a_draw():
    problem, drawn = larger_problem(), []
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            drawn.append(tempering.run(problem, 1.0, 200, np.random.SeedSequence(SEED), pool).sequences)
    assert np.array_equal(*drawn)


def test_energy_of_a_sequence():
    sequences = np.array([[0, 1, 2], [2, 2, 0]])
    matrix = np.arange(9.0).reshape(3, 3) + np.arange(9.0).reshape(3, 3).T
    assert energies(sequences, matrix, contact_map(3, [(0, 2), (1, 2)])).tolist() == [
        matrix[0, 2] + matrix[1, 2],
        2 * matrix[2, 0],
    ]


@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_couplings(law):
    drawn = np.stack([draw_couplings(law, np.random.default_rng(seed)) for seed in range(200)])
    assert np.array_equal(drawn, drawn.transpose(0, 2, 1))
    assert abs(drawn.mean()) < 0.03
    assert abs(drawn.var() - 1) < 0.03
    assert bool(np.abs(drawn).max() > 2) is (law == "gaussian")


def verdicts(problem, temperatures):
    seeds = np.random.SeedSequence(SEED).spawn(3)
    with tempering.threads() as pool:
        runs = [
            tempering.run(problem, temperature, 1_500, seed, pool)
            for temperature, seed in zip(temperatures, seeds, strict=False)
        ]
        measured = convergence.measure(problem, runs, seeds[2], pool)
    assert measured["visits"].shape == measured["weights"].shape == measured["temperatures"].shape
    assert measured["energy_autocorrelation"][:, 0] == pytest.approx(1)
    assert measured["identity_along_walker"][:, 0] == pytest.approx(1)
    return {check.name: check.passed for check in convergence.checks(measured)}


def test_two_equal_runs_agree():
    assert all(verdicts(larger_problem(), [1.0, 1.0]).values())


def test_runs_at_different_temperatures_disagree():
    found = verdicts(larger_problem(), [1.0, 1.4])
    assert not found["energies"]
    assert not found["site profiles"]


def test_walkers_that_never_mix_are_seen():
    """Quenched walkers, each stuck in its own state: the two halves agree by chance only, the round trips tell."""
    problem = larger_problem()
    with tempering.threads() as pool:
        run = tempering.run(problem, 1.0, 500, np.random.SeedSequence(SEED), pool)
        stuck = tempering.TemperingRun(
            run.sequences,
            run.walkers,
            run.ladder,
            tempering.Tally(run.tally.visits, run.tally.energy_sums, np.zeros(len(run.tally.round_trips))),
            0,
            run.interval,
        )
        measured = convergence.measure(problem, [stuck, stuck], np.random.SeedSequence(SEED), pool)
    failed = [check.name for check in convergence.checks(measured) if not check.passed]
    assert failed == ["round trips / sequence"]
