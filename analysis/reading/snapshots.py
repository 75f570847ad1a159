"""Sampled weights at one temperature, read block by block, so that any store fits the memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.statistics.chains import Estimate, estimate, whole_chains
from protmpi.errors import StoreError

if TYPE_CHECKING:
    from analysis.reading.run import Run


def parameter_groups(run: Run) -> dict[str, slice]:
    """Position of each array of the network in the flat parameter vector: name -> slice, in its order."""
    layout = run.store.attributes["parameter_layout"]
    return {e["name"]: slice(e["offset"], e["offset"] + math.prod(e["shape"])) for e in layout}


def counted(run: Run, slot: int) -> np.ndarray:
    """Whether each snapshot is in equilibrium at a temperature (snapshot,)."""
    return np.asarray(run.steps("snapshot") >= run.stretches[slot].step)


def whole_maps(run: Run, chains: np.ndarray) -> np.ndarray:
    """Maps, or other rows (chain, snapshot, ...), of the chains without missing rows (`Run.chains`)."""
    if not chains.size:
        return chains
    number = np.arange(chains.shape[0] * chains.shape[1], dtype=float).reshape(chains.shape[:2])
    number[~np.isfinite(chains).all(tuple(range(2, chains.ndim)))] = np.nan
    kept = run.chains(number).astype(int)
    return chains.reshape(-1, *chains.shape[2:])[kept]


class Snapshots:
    """The weights that count at one temperature: after burn-in and equilibration, chain by chain."""

    def __init__(self, run: Run, slot: int) -> None:
        if "parameters" not in run.store.variables:
            raise StoreError(f"{run.store.path}: holds no parameters")
        self._store = run.store
        walker = run.walkers("snapshot")[:, slot]
        self.chain, self.row = np.nonzero((walker >= 0) & counted(run, slot))
        """Replica and index of each snapshot (snapshot,), in the order of the chains and of time."""
        self.series = np.zeros_like(self.chain) if run.alone else self.chain
        """Series of each snapshot in the estimate of an error, as in `Run.chains`."""
        self._walker = walker[self.chain, self.row]

    def __len__(self) -> int:
        return int(self.row.size)

    def read(self, first: int, last: int) -> np.ndarray:
        """Parameters of the snapshots first to last - 1, (snapshot, P), float32; NaN for those of a lost walker."""
        walker, row = self._walker[first:last], self.row[first:last]
        parts = {}
        for one in np.unique(walker):  # the rows of a walker are together in the chunks of the store
            mine = row[walker == one]
            start = int(mine.min())
            parts[int(one)] = start, self._store.read_rows("parameters", int(one), start, int(mine.max()) + 1)
        found = [parts[w][1][r - parts[w][0]] for w, r in zip(walker.tolist(), row.tolist(), strict=True)]
        return np.stack(found)


def pair_estimate(partners: np.ndarray, chain: np.ndarray, independent: float) -> Estimate:
    """Mean over pairs and its error, from the mean of each snapshot over its partners, `partners` (snapshot,).

    A mean over pairs is a U-statistic. To leading order it varies as twice the mean of `partners` (Hoeffding, Ann.
    Math. Stat. 19 (1948) 293), whose series along the chains gives the autocorrelation. For one pair it is unknown.
    """
    mean, sem = snapshot_estimate(partners, chain, independent)
    return Estimate(mean, 2.0 * sem if partners.size > 2 else np.nan)


def snapshot_estimate(values: np.ndarray, chain: np.ndarray, independent: float) -> Estimate:
    """Mean of the known `values` (snapshot,) and its error; see `chains.estimate`."""
    chains, length = np.unique(chain), np.bincount(chain).max() if chain.size else 0
    rows = np.full((chains.size, length), np.nan)
    for index, one in enumerate(chains):
        series = values[chain == one]
        rows[index, : series.size] = series
    return estimate(whole_chains(rows), independent) if rows.size else Estimate(np.nan, np.nan)
