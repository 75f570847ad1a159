"""Attention maps of a run: mean over snapshots, correlation between snapshots, and contact precision.

The store has, at every snapshot, the map of each block averaged over test sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.reading.references import REFERENCES
from analysis.reading.snapshots import counted, pair_estimate, whole_maps
from analysis.reading.stretches import only_sound_errors
from analysis.statistics.chains import estimates
from analysis.subjects.contacts.precision import (
    RANGES,
    Options,
    candidates,
    chance_precision,
    near_contacts,
    precision,
    scores,
    tolerant_precision,
)
from protmpi.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

TOLERANCES = (0, 1, 2, 3)
"""Tolerances at which P'@L is scanned, in residues."""

BEST = "best"
"""Name, among the blocks, of the best block of each walker and of each set of reference weights."""

LISTED = 8
"""Largest number of walkers whose best blocks are listed one by one."""


def attention(run: Run, options: Options | None = None) -> xarray.Dataset:
    """Attention of every block against temperature, with that of the ES and OT weights.

    Dataset over temperature, block ("1", "2", ..., "best"), weights (ES, OT), reference, tolerance, range, statistic =
    mean, sem. Block "best" is the block of highest mean P@L of each walker, over its snapshots that count, and of each
    set of reference weights. As in the study, each sampling has its own.

    map                  mean map over the snapshots that count, A[site, attended] (temperature, block, site, attended)
    reference_map        the same of the ES and OT weights (weights, block, site, attended)
    self_averaging       correlation over pairs of sites between the maps of two snapshots (temperature, block,
                         statistic); 1: a single snapshot shows the mean
    between              the same between independent chains; NaN with one chain
    precision            P@L of single snapshots (temperature, block, statistic)
    precision_of_mean    P@L of the mean map (temperature, block)
    tolerant_precision   P'@L (temperature, block, tolerance, statistic)
    range_precision      of the L/2 best pairs of each class of separations (temperature, block, range, statistic)
    chance, tolerant_chance, range_chance    values for random scores
    best_block           best block of each walker that counts at a temperature, 0 of others (temperature, walker)
    reference_best_block the same of the ES and OT weights (weights, reference)
    reference_...        precisions of the ES and OT weights (weights, reference, block, ...)

    Precisions and block "best" exist if the store has the contact map. Raises StoreError if the network has
    no attention.
    """
    import xarray

    options = options or Options()
    store = run.store
    if "attention" not in store.variables:
        raise StoreError(f"{store.path}: {store.config['model']['name']} has no attention maps")
    contacts = store.read("contact_map").astype(bool) if "contact_map" in store else None
    maps = _read(run, contacts, options.apc)
    data = xarray.Dataset(
        coords={
            "temperature": ("temperature", run.temperature, {"unit": run.observables["energy"].unit}),
            "block": maps.blocks,
            "weights": list(maps.references),
            "tolerance": ("tolerance", list(TOLERANCES), {"unit": "residues"}),
            "range": list(RANGES),
            "statistic": ["mean", "sem"],
        },
        attrs={"separation": options.separation, "tolerance": options.tolerance, "apc": options.apc},
    )

    def add(name: str, dims: tuple[str, ...], values: Any, meaning: str) -> None:
        data[name] = (dims, np.asarray(values), {"unit": "", "long_name": meaning})

    means = np.array([c.mean((0, 1)) if c.size else np.full(c.shape[2:], np.nan) for c in maps.chains])
    sites = ("block", "site", "attended")
    add("map", ("temperature", *sites), means, "mean attention map")
    if maps.references:
        add("reference_map", ("weights", *sites), [m.mean(0) for m in maps.references.values()], "mean attention map")
    alike = np.array([[self_averaging(c[:, :, b], s.samples) for b in range(len(maps.blocks))]
                      for c, s in zip(maps.chains, run.stretches, strict=True)])  # fmt: skip
    add("self_averaging", ("temperature", "block", "statistic"), alike[:, :, 0],
        "correlation of the maps of two snapshots of a chain")  # fmt: skip
    add("between", ("temperature", "block", "statistic"), alike[:, :, 1],
        "correlation of the maps of two independent chains")  # fmt: skip
    if contacts is not None:
        data["contact_map"] = (("site", "attended"), contacts, {"unit": "", "long_name": "native contacts"})
        add("best_block", ("temperature", "walker"), maps.best, "block of the highest P@L")
        if maps.references:
            add("reference_best_block", ("weights", "reference"), maps.reference_best, "block of the highest P@L")
        samples = [stretch.samples for stretch in run.stretches]
        _add_precisions(add, data, contacts, maps.chains, samples, maps.references, options)
    return only_sound_errors(run, data)


class Maps(NamedTuple):
    """Maps of a run. If contacts are known, the best block is an additional block."""

    blocks: list[str]
    chains: list[np.ndarray]
    """Maps that count at each temperature (chain, snapshot, block, L, L)."""
    references: dict[str, np.ndarray]
    """Maps of the ES and OT weights (reference, block, L, L)."""
    best: np.ndarray
    """Best block, from 1, of the walkers at a temperature; 0 for others (temperature, walker)."""
    reference_best: np.ndarray
    """The same of the ES and OT weights (weights, reference)."""


def _read(run: Run, contacts: np.ndarray | None, apc: bool) -> Maps:
    store, rows = run.store, run.by_temperature("attention")
    counts = [counted(run, slot) for slot in range(run.temperature.size)]
    measured = [rows[:, slot, count] for slot, count in enumerate(counts)]
    references = {label: store.read(f"{p}_attention") for label, p in REFERENCES.items() if f"{p}_attention" in store}
    blocks = [str(block) for block in range(1, rows.shape[3] + 1)]
    if contacts is None:
        return Maps(blocks, [whole_maps(run, maps) for maps in measured], references, np.empty(0), np.empty(0))
    walkers = [run.walkers("snapshot")[:, slot, count] for slot, count in enumerate(counts)]
    best = best_blocks(measured, walkers, store.schema.walkers, contacts, apc)
    there = np.array([np.isin(np.arange(best.size), walker) for walker in walkers])
    chains = [whole_maps(run, with_best(maps, best[at])) for maps, at in zip(measured, walkers, strict=True)]
    of_weights = {label: at_length(maps, contacts, apc).argmax(1) for label, maps in references.items()}
    joined = {label: with_best(maps, of_weights[label]) for label, maps in references.items()}
    return Maps([*blocks, BEST], chains, joined, np.where(there, best + 1, 0), np.array([*of_weights.values()]) + 1)


def at_length(maps: np.ndarray, contacts: np.ndarray, apc: bool) -> np.ndarray:
    """P@L (...,) of attention maps (..., L, L); NaN for a missing map."""
    return precision(scores(maps, apc), contacts, len(contacts))


def best_blocks(
    measured: list[np.ndarray], walkers: list[np.ndarray], count: int, contacts: np.ndarray, apc: bool
) -> np.ndarray:
    """The block, from 0, of highest mean P@L of each of `count` walkers; -1 for a walker without a snapshot.

    From the maps (replica, snapshot, block, L, L) that count at each temperature, and the walkers (replica, snapshot)
    that made them. A walker that changes its temperature keeps its block, because it keeps its weights.
    """
    total, number = np.zeros((count, measured[0].shape[2])), np.zeros(count)
    for maps, walker in zip(measured, walkers, strict=True):
        found = at_length(maps, contacts, apc)
        known = (walker >= 0) & np.isfinite(found).all(-1)
        np.add.at(total, walker[known], found[known])
        np.add.at(number, walker[known], 1)
    return np.where(number > 0, total.argmax(1), -1)


def with_best(maps: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Maps (..., block, L, L), with the maps of the blocks `best` (...,), from 0, as an additional block."""
    chosen = np.take_along_axis(maps, best[..., np.newaxis, np.newaxis, np.newaxis], axis=-3)
    return np.concatenate([maps, chosen], axis=-3)


def numbered(data: xarray.Dataset) -> list[str]:
    """The blocks of the network, without "best"."""
    return [block for block in data["block"].values.tolist() if block != BEST]


def blocks_text(best: np.ndarray) -> str:
    """Best blocks (walker,) as text, 0 for walkers that do not count: one number if all agree, else all numbers."""
    known = best[best > 0].tolist()
    if len(set(known)) > 1 and len(known) > LISTED:
        return ", ".join(f"{block} ({known.count(block)} walkers)" for block in sorted(set(known)))
    return " ".join(map(str, known if len(set(known)) > 1 else known[:1])) or "-"


def self_averaging(maps: np.ndarray, independent: float) -> np.ndarray:
    """Pearson correlation between symmetrised maps of two snapshots, maps (chain, snapshot, L, L).

    Mean over pairs within chains and between chains, each with its error (relation, statistic). The mean over
    the partners of a snapshot is its product with the sum of the others: no matrix of pairs is needed.
    """
    chains, snapshots, length = maps.shape[:3]
    if not maps.size:
        return np.full((2, 2), np.nan)
    i, j = candidates(length)
    z = scores(maps)[..., i, j]
    z -= z.mean(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        z /= np.linalg.norm(z, axis=-1, keepdims=True)
        own = z.sum(1, keepdims=True)
        within = ((z * own).sum(-1) - 1.0) / (snapshots - 1)
        between = (z * (own.sum(0, keepdims=True) - own)).sum(-1) / (snapshots * (chains - 1))
    chain = np.repeat(np.arange(chains), snapshots)
    return np.array([pair_estimate(partners.ravel(), chain, independent) for partners in (within, between)])


def _add_precisions(
    add: Any,
    data: xarray.Dataset,
    contacts: np.ndarray,
    chains: list[np.ndarray],
    samples: list[float],
    references: dict[str, np.ndarray],
    options: Options,
) -> None:
    """Precisions of snapshots, of the mean map, of reference weights and of random scores."""
    length = len(contacts)

    def all_precisions(maps: np.ndarray) -> dict[str, np.ndarray]:
        s = scores(maps, options.apc)
        return {
            "precision": precision(s, contacts, length),
            "tolerant_precision": np.stack(
                [tolerant_precision(s, contacts, length, options.separation, t) for t in TOLERANCES], axis=-1
            ),
            "range_precision": np.stack(
                [precision(s, contacts, length // 2, *separations) for separations in RANGES.values()], axis=-1
            ),
        }

    more = {"precision": (), "tolerant_precision": ("tolerance",), "range_precision": ("range",)}
    meaning = {"precision": "P@L", "tolerant_precision": "P'@L", "range_precision": "precision of the L/2 best pairs"}
    found = [all_precisions(maps) for maps in chains]
    for name, extra in more.items():
        means = [estimates(one[name], independent) for one, independent in zip(found, samples, strict=True)]
        add(name, ("temperature", "block", *extra, "statistic"), means, meaning[name])
        if references:
            values = [all_precisions(maps)[name] for maps in references.values()]
            add(f"reference_{name}", ("weights", "reference", "block", *extra), values, meaning[name])
    add("precision_of_mean", ("temperature", "block"), all_precisions(data["map"].values)["precision"],
        "P@L of the mean map")  # fmt: skip
    add("chance", (), chance_precision(contacts), "P@L of random scores")
    near = [chance_precision(near_contacts(contacts, t), options.separation + 1) for t in TOLERANCES]
    add("tolerant_chance", ("tolerance",), near, "P'@L of random scores")
    by_range = [chance_precision(contacts, *separations) for separations in RANGES.values()]
    add("range_chance", ("range",), by_range, "precision of random scores")
