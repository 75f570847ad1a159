"""Overlap q = w·w' / (|w| |w'|) of sampled weights between all pairs of snapshots, for each array.

Pairs of one chain show how far a walker has moved, and q(t) shows how fast. Pairs of independent chains show whether
they sample the same region. If a chain is long compared with the decay of q(t), both distributions are equal.

Snapshots are read in blocks, each pair of blocks once, and only counts are kept. So the memory holds at most two blocks
and a few matrices of their products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from analysis.reading.snapshots import Snapshots, pair_estimate, parameter_groups
from analysis.reading.stretches import only_sound_errors

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

WHOLE = "all"
"""Name of the group of all parameters."""
RELATIONS = ("within", "between")
"""Pairs of one chain, and of two independent ones."""
BINS = 2_000
"""Bins of q from -1 to 1, 0.001 each. Figures merge neighbours."""
BLOCK_BYTES = 2**28
"""Largest block of snapshots, 256 MiB: two of them are in memory."""
BLOCK_ROWS = 1_000
"""Most snapshots in a block, so that the products of two blocks are also small."""


class Rows(Protocol):
    """Parameter vectors that need not fit in memory."""

    chain: np.ndarray
    row: np.ndarray

    def __len__(self) -> int: ...
    def read(self, first: int, last: int) -> np.ndarray: ...


class Tally:
    """Sums over pairs, for each group of parameters and for pairs within (0) and between (1) chains."""

    def __init__(self, groups: int, snapshots: int, lags: int) -> None:
        self.histogram = np.zeros((groups, 2, BINS), dtype=np.int64)
        self.square = np.zeros((groups, 2))
        self.partner_sum = np.zeros((groups, 2, snapshots))
        """Sum of q over the partners of each snapshot."""
        self.partners = np.zeros((groups, 2, snapshots))
        self.decay_sum, self.decay_pairs = np.zeros((groups, lags)), np.zeros((groups, lags))
        """Sum and number of pairs of one chain by the distance of their rows."""

    def add(self, group: int, q: np.ndarray, first: int, second: int, pairs: tuple[np.ndarray, ...],
            lag: np.ndarray) -> None:  # fmt: skip
        """Add the overlaps q (n, n') of two blocks that begin at snapshots `first` and `second`."""
        known = np.isfinite(q)
        for relation, wanted in enumerate(pairs):
            i, j = np.nonzero(wanted & known)
            values = q[i, j].astype(np.float64)
            bins = np.clip(((values + 1.0) * (BINS / 2)).astype(int), 0, BINS - 1)
            self.histogram[group, relation] += np.bincount(bins, minlength=BINS)
            self.square[group, relation] += values @ values
            for begin, index, size in ((first, i, q.shape[0]), (second, j, q.shape[1])):
                some = slice(begin, begin + size)
                self.partner_sum[group, relation, some] += np.bincount(index, values, size)
                self.partners[group, relation, some] += np.bincount(index, minlength=size)
            if relation == 0:
                lags = lag[i, j]
                self.decay_sum[group] += np.bincount(lags, values, self.decay_sum.shape[1])
                self.decay_pairs[group] += np.bincount(lags, minlength=self.decay_sum.shape[1])


def tally(rows: Rows, groups: dict[str, slice], size: int) -> Tally:
    """Overlaps of all pairs of snapshots; `size` is the number of parameters."""
    per_block = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (4 * size)))
    lags = int(np.ptp(rows.row)) + 1 if len(rows) else 1
    found = Tally(len(groups) + 1, len(rows), lags)
    starts = range(0, len(rows), per_block)
    for first in starts:
        block = rows.read(first, first + per_block)
        for second in starts[first // per_block :]:
            other = block if second == first else rows.read(second, second + per_block)
            pairs, lag = _pairs(rows, first, len(block), second, len(other))
            for group, q in enumerate(_products(block, other, groups)):
                found.add(group, q, first, second, pairs, lag)
            del other
    return found


def _pairs(
    rows: Rows, first: int, n: int, second: int, others: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Masks of the products of two blocks (n, n') within and between chains, each pair once, and the lag of pairs."""
    here, there = slice(first, first + n), slice(second, second + others)
    same = np.equal.outer(rows.chain[here], rows.chain[there])
    once = np.less.outer(np.arange(first, first + n), np.arange(second, second + others))
    return (same & once, ~same & once), np.abs(np.subtract.outer(rows.row[here], rows.row[there]))


def _products(block: np.ndarray, other: np.ndarray, groups: dict[str, slice]) -> Iterator[np.ndarray]:
    """q (n, n') of every group, then of all parameters; NaN if a vector vanishes or is unknown."""
    whole = np.zeros((len(block), len(other)), dtype=np.float64)
    norms = np.zeros(len(block)), np.zeros(len(other))
    with np.errstate(divide="ignore", invalid="ignore"):
        for where in groups.values():
            a, b = block[:, where], other[:, where]
            dot = (a @ b.T).astype(np.float64)
            norm2 = [np.einsum("ij,ij->i", x, x, dtype=np.float64) for x in (a, b)]
            yield dot / np.sqrt(np.multiply.outer(*norm2))
            whole += dot
            for total, part in zip(norms, norm2, strict=True):
                total += part
        yield whole / np.sqrt(np.multiply.outer(*norms))


def overlaps(run: Run) -> xarray.Dataset:
    """Overlaps between snapshots at every temperature.

    Dataset over group (the arrays of the network, then "all"), temperature, relation (within a chain, between chains):

    q         mean and error (group, temperature, relation, statistic)
    q_std     standard deviation over pairs (group, temperature, relation)
    pairs     histogram of q (group, temperature, relation, q_bin), number of pairs in each bin
    decay     q(t), mean over pairs of one chain a time t = `lag` apart (group, temperature, lag); lag in steps

    Raises StoreError if the store has no parameters or too few measured draws.
    """
    import xarray

    snapshots = [Snapshots(run, slot) for slot in range(run.temperature.size)]
    groups, slots = parameter_groups(run), len(snapshots)
    names = [*groups, WHOLE]
    size = max(where.stop for where in groups.values())
    mean = np.full((len(names), slots, 2, 2), np.nan)
    std = np.full((len(names), slots, 2), np.nan)
    pairs = np.zeros((len(names), slots, 2, BINS), dtype=np.int64)
    decay = np.full((len(names), slots, max(1, run.store.snapshots)), np.nan)
    for slot, rows in enumerate(snapshots):
        found = tally(rows, groups, size)
        pairs[:, slot] = found.histogram
        with np.errstate(divide="ignore", invalid="ignore"):
            partner = found.partner_sum / found.partners
            count = found.partners.sum(2)
            average = found.partner_sum.sum(2) / count
            variance = 2.0 * found.square / count - average**2
            decay[:, slot, : found.decay_sum.shape[1]] = found.decay_sum / found.decay_pairs
        mean[:, slot, :, 0] = average
        std[:, slot] = np.sqrt(np.maximum(variance, 0.0))
        for group, relation in np.ndindex(mean.shape[0], 2):
            series = partner[group, relation]
            known = np.isfinite(series)
            if known.any():
                mean[group, slot, relation, 1] = pair_estimate(
                    series[known], rows.series[known], run.stretches[slot].samples
                ).sem
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    lag = run.store.schema.snapshot_every * np.arange(decay.shape[2])
    dims = ("group", "temperature", "relation")
    data = xarray.Dataset(
        {
            "q": ((*dims, "statistic"), mean, {"unit": "", "long_name": "mean overlap of pairs of snapshots"}),
            "q_std": (dims, std, {"unit": "", "long_name": "standard deviation of the overlap over pairs"}),
            "pairs": ((*dims, "q_bin"), pairs, {"unit": "", "long_name": "pairs with an overlap in this bin"}),
            "decay": (("group", "temperature", "lag"), decay,
                      {"unit": "", "long_name": "mean overlap of two snapshots of one chain a time apart"}),
        },
        coords={
            "group": names,
            "temperature": ("temperature", run.temperature, {"unit": run.observables["energy"].unit}),
            "relation": list(RELATIONS),
            "statistic": ["mean", "sem"],
            "q_bin": (edges[1:] + edges[:-1]) / 2.0,
            "lag": ("lag", lag, {"unit": "steps"}),
        },
    )  # fmt: skip
    return only_sound_errors(run, data)
