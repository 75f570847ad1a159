"""One walker's Monte Carlo in sequence and temperature, compiled.

A sweep tries L Metropolis moves of the sequence at the temperature of the walker. After every few of them it tries one
move to a neighbouring temperature. Joint law: p(s, k) ∝ exp(-E(s)/T_k + g_k).

Every walker has its own random stream (xoshiro256++, Blackman and Vigna 2019), so its path depends neither on the other
walkers nor on the thread that advances it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MOVES_PER_TEMPERATURE_MOVE = 8


@njit(inline="always")
def _next(state):  # type: ignore[no-untyped-def]
    total = state[0] + state[3]
    value = ((total << np.uint64(23)) | (total >> np.uint64(41))) + state[0]
    shifted = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return value


@njit(inline="always")
def _uniform(state):  # type: ignore[no-untyped-def]
    return (_next(state) >> np.uint64(11)) * 2.0**-53


@njit(inline="always")
def _accept(state, x):  # type: ignore[no-untyped-def]
    """True with probability min(1, exp(-x)). The cubic is below exp(x), so most rejections need no exponential."""
    u = _uniform(state)
    return x <= 0.0 or (u * (1.0 + x * (1.0 + x * (0.5 + x / 6.0))) < 1.0 and u < np.exp(-x))


@njit
def _add(row, change):  # type: ignore[no-untyped-def]
    for letter in range(len(row)):  # a separate function, because numba then vectorises the loop
        row[letter] += change[letter]


@njit
def _changes(couplings):  # type: ignore[no-untyped-def]
    """Change of the field of a neighbour when residue a becomes b: [a, b, letter]."""
    letters = len(couplings)
    change = np.empty((letters, letters, letters))
    for a in range(letters):
        for b in range(letters):
            change[a, b] = couplings[b] - couplings[a]
    return change


@njit
def _fill(field, sequence, couplings, neighbours, degrees):  # type: ignore[no-untyped-def]
    """Fill field[i, a], the energy of residue a at site i, and return the energy of the sequence."""
    energy = 0.0
    for i in range(len(sequence)):
        field[i] = 0.0
        for n in range(degrees[i]):
            field[i] += couplings[sequence[neighbours[i, n]]]
        energy += 0.5 * field[i, sequence[i]]
    return energy


@njit(nogil=True, cache=True)
def advance(  # type: ignore[no-untyped-def]
    first,
    last,
    sequences,
    rungs,
    streams,
    energies,
    came_from_top,
    couplings,
    neighbours,
    degrees,
    touching,
    swap,
    inverse_temperatures,
    weights,
    sweeps,
    visits,
    energy_sums,
    round_trips,
):
    """Advance walkers first..last-1 in place by a number of sweeps.

    sequences (W, L) uint8, rungs (W,) int64, streams (W, 4) uint64, energies (W,), came_from_top (W,) bool;
    couplings J (20, 20), neighbours (L, max degree) uint32, degrees (L,), touching C (L, L) bool; swap: exchange the
    residues of two sites, else replace the residue of one; inverse_temperatures and weights g (K,), from the hottest to
    the coldest; counted per walker and rung after every sweep: visits (W, K), energy_sums (W, K), and round_trips (W,).

    The field of every residue at every site is stored, so a move costs four look-ups. Accepted moves update the field.
    """
    length, letters, coldest = sequences.shape[1], len(couplings), len(weights) - 1
    sites, half = np.uint64(length), np.uint64(32)
    low = np.uint64(0xFFFFFFFF)
    change = _changes(couplings)
    field = np.empty((length, letters))
    state = np.empty(4, np.uint64)
    for walker in range(first, last):
        sequence, k = sequences[walker], rungs[walker]
        state[:] = streams[walker]
        energy = _fill(field, sequence, couplings, neighbours, degrees)
        for _ in range(sweeps):
            for move in range(length):
                draw = _next(state)
                i = ((draw >> half) * sites) >> half
                a = sequence[i]
                if swap:
                    j = ((draw & low) * sites) >> half
                    b = sequence[j]
                    increase = field[i, b] - field[i, a] + field[j, a] - field[j, b]
                    if touching[i, j]:  # the contact between the two sites is in both fields and does not change
                        increase -= couplings[a, a] + couplings[b, b] - 2.0 * couplings[a, b]
                else:
                    j = i
                    b = np.uint8(((draw & low) * np.uint64(letters)) >> half)
                    increase = field[i, b] - field[i, a]
                if a != b and _accept(state, increase * inverse_temperatures[k]):
                    energy += increase
                    sequence[i] = b
                    for n in range(degrees[i]):
                        _add(field[neighbours[i, n]], change[a, b])
                    if swap:
                        sequence[j] = a
                        for n in range(degrees[j]):
                            _add(field[neighbours[j, n]], change[b, a])
                if move % MOVES_PER_TEMPERATURE_MOVE == 0 and coldest > 0:
                    new = k + 1 if _uniform(state) < 0.5 else k - 1
                    if 0 <= new <= coldest and _accept(
                        state,
                        (inverse_temperatures[new] - inverse_temperatures[k]) * energy + weights[k] - weights[new],
                    ):
                        k = new
                        if k == 0:
                            came_from_top[walker] = True
                        elif k == coldest and came_from_top[walker]:
                            came_from_top[walker] = False
                            round_trips[walker] += 1
            visits[walker, k] += 1
            energy_sums[walker, k] += energy
        rungs[walker], energies[walker] = k, energy
        streams[walker] = state
