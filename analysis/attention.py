"""Attention maps of a run: their mean over snapshots, how alike they are between snapshots, and the contacts in them.

The store has, at every snapshot, the map of each block averaged over test sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.chains import estimate
from analysis.contacts import (
    RANGES,
    Options,
    candidates,
    chance_precision,
    near_contacts,
    precision,
    scores,
    tolerant_precision,
)
from analysis.equilibrium import only_sound_errors
from analysis.run import REFERENCES
from analysis.snapshots import counted, pair_estimate
from protmpi.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run

TOLERANCES = (0, 1, 2, 3)
"""Tolerances at which P'@L is scanned, in residues."""


def attention(run: Run, options: Options | None = None) -> xarray.Dataset:
    """Attention of every block against temperature, with that of the ES and OT weights.

    Dataset over temperature, block (from 1), weights (ES, OT), reference, tolerance, range, statistic = mean, sem:

    map                  mean map over the snapshots that count, A[site, attended] (temperature, block, site, attended)
    reference_map        the same of the ES and OT weights (weights, block, site, attended)
    self_averaging       correlation over pairs of sites between the maps of two snapshots (temperature, block,
                         statistic); 1: a single snapshot shows the mean
    between              the same between independent chains; NaN with one chain
    precision            P@L of single snapshots (temperature, block, statistic)
    precision_of_mean    P@L of the mean map (temperature, block)
    tolerant_precision   P'@L (temperature, block, tolerance, statistic)
    range_precision      of the L/2 best pairs of each class of separations (temperature, block, range, statistic)
    chance, tolerant_chance, range_chance    what random scores would reach
    best_block           block with the highest mean of P@L over temperatures
    reference_...        precisions of the ES and OT weights (weights, reference, block, ...)

    Precisions are there when the store knows the contact map. Raises StoreError when the network has no attention.
    """
    import xarray

    options = options or Options()
    store = run.store
    if "attention" not in store.variables:
        raise StoreError(f"{store.path}: {store.config['model']['name']} has no attention maps")
    rows = run.by_temperature("attention")
    slots, blocks = run.temperature.size, rows.shape[3]
    chains = [whole_maps(run, rows[:, slot, counted(run, slot)]) for slot in range(slots)]
    references = {label: store.read(f"{p}_attention") for label, p in REFERENCES.items() if f"{p}_attention" in store}
    data = xarray.Dataset(
        coords={
            "temperature": ("temperature", run.temperature, {"unit": run.observables["energy"].unit}),
            "block": np.arange(1, blocks + 1),
            "weights": list(references),
            "tolerance": ("tolerance", list(TOLERANCES), {"unit": "residues"}),
            "range": list(RANGES),
            "statistic": ["mean", "sem"],
        },
        attrs={"separation": options.separation, "tolerance": options.tolerance, "apc": options.apc},
    )

    def add(name: str, dims: tuple[str, ...], values: Any, meaning: str) -> None:
        data[name] = (dims, np.asarray(values), {"unit": "", "long_name": meaning})

    means = np.array([c.mean((0, 1)) if c.size else np.full(c.shape[2:], np.nan) for c in chains])
    sites = ("block", "site", "attended")
    add("map", ("temperature", *sites), means, "mean attention map")
    if references:
        add("reference_map", ("weights", *sites), [m.mean(0) for m in references.values()], "mean attention map")
    alike = np.array([[self_averaging(c[:, :, b], s.samples) for b in range(blocks)]
                      for c, s in zip(chains, run.stretches, strict=True)])  # fmt: skip
    add("self_averaging", ("temperature", "block", "statistic"), alike[:, :, 0],
        "correlation of the maps of two snapshots of a chain")  # fmt: skip
    add("between", ("temperature", "block", "statistic"), alike[:, :, 1],
        "correlation of the maps of two independent chains")  # fmt: skip
    if "contact_map" in store:
        contacts = store.read("contact_map").astype(bool)
        data["contact_map"] = (("site", "attended"), contacts, {"unit": "", "long_name": "native contacts"})
        samples = [stretch.samples for stretch in run.stretches]
        _add_precisions(add, data, contacts, chains, samples, references, options)
    return only_sound_errors(run, data)


def whole_maps(run: Run, chains: np.ndarray) -> np.ndarray:
    """Maps, or any other rows (chain, snapshot, ...), of the chains that miss none (`Run.chains`)."""
    if not chains.size:
        return chains
    number = np.arange(chains.shape[0] * chains.shape[1], dtype=float).reshape(chains.shape[:2])
    number[~np.isfinite(chains).all(tuple(range(2, chains.ndim)))] = np.nan
    kept = run.chains(number).astype(int)
    return chains.reshape(-1, *chains.shape[2:])[kept]


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


def estimates(series: np.ndarray, independent: float) -> np.ndarray:
    """Mean and error (..., statistic) of every quantity of (chain, snapshot, ...); NaN where unknown."""
    result = np.full((*series.shape[2:], 2), np.nan)
    for index in np.ndindex(result.shape[:-1]):
        one = series[(..., *index)]
        if np.isfinite(one).all():
            result[index] = estimate(one, independent)
    return result


def _add_precisions(
    add: Any,
    data: xarray.Dataset,
    contacts: np.ndarray,
    chains: list[np.ndarray],
    samples: list[float],
    references: dict[str, np.ndarray],
    options: Options,
) -> None:
    """Precisions of snapshots, of the mean map, of reference weights, and those of random scores."""
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
    average = np.nanmean(data["precision"].values[..., 0], axis=0)
    add("best_block", (), data["block"].values[int(np.nanargmax(average))], "block of the highest P@L")
