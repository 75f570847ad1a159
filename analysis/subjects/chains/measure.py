"""Networks of protein chains against T: perplexity and recovery of residues, and attention against distance.

The store has, at every snapshot, energy and recovery of the masked test sites of each amino acid, and the attention of
each head averaged over the pairs of sites in bins of their Cα distance, times the length of the chain: 1 is attention
spread evenly over the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.reading.references import REFERENCES
from analysis.reading.snapshots import counted, whole_maps
from analysis.reading.stretches import only_sound_errors
from analysis.statistics.chains import estimates
from analysis.subjects.distance.measure import fit_gaussian
from protmpi.data.alphabet import AMINO_ACIDS
from protmpi.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

ALL = "all"
"""Name of all amino acids together, and of the mean over the heads of a block."""
FIT = ("amplitude", "width")


def _chains(run: Run, name: str) -> list[np.ndarray]:
    """Rows (chain, snapshot, ...) of a variable that count, temperature by temperature."""
    if name not in run.store.variables:
        raise StoreError(f"{run.store.path}: holds no {name.replace('_', ' ')}: no run of the task structures")
    rows = run.by_temperature(name)
    return [rows[:, slot, counted(run, slot)] for slot in range(run.temperature.size)]


def _estimates(run: Run, chains: list[np.ndarray]) -> np.ndarray:
    """Means and errors (temperature, ..., statistic) of rows (chain, snapshot, ...)."""
    return np.array([estimates(c, stretch.samples) for c, stretch in zip(chains, run.stretches, strict=True)])


def _references(run: Run, name: str) -> dict[str, np.ndarray]:
    """Values (reference, ...) of the reference weights in the store."""
    return {label: run.store.read(f"{p}_{name}") for label, p in REFERENCES.items() if f"{p}_{name}" in run.store}


def _dataset(run: Run, labels: list[str], **coordinates: object) -> xarray.Dataset:
    import xarray

    temperature = ("temperature", run.temperature, {"unit": run.observables["energy"].unit})
    return xarray.Dataset(
        coords={"temperature": temperature, "weights": labels, "statistic": ["mean", "sem"], **coordinates}
    )


def residues(run: Run) -> xarray.Dataset:
    """Perplexity and recovery of masked test residues, by the true amino acid and over all sites.

    Dataset over temperature, amino_acid (one-letter codes, "all"), weights (ES, OT), reference, statistic = mean, sem:

    perplexity, recovery               of single snapshots (temperature, amino_acid, statistic)
    reference_perplexity, ..._recovery of the reference weights (weights, reference, amino_acid)
    sites                              number of sites (amino_acid)
    """
    sites = run.store.read("residue_sites").astype(float) if "residue_sites" in run.store else np.zeros(20)
    asked = sites > 0

    def with_all(values: np.ndarray) -> np.ndarray:
        everything = (values[..., asked] * sites[asked]).sum(-1, keepdims=True) / sites.sum()
        return np.concatenate([values, everything], axis=-1)

    references = _references(run, "residue_energy")
    data = _dataset(run, list(references), amino_acid=[*AMINO_ACIDS, ALL])
    for name, source, turn in (("perplexity", "residue_energy", np.exp), ("recovery", "residue_recovery", np.asarray)):
        chains = []
        for rows in _chains(run, source):
            rows[..., ~asked] = 0.0  # an amino acid without sites must not exclude a snapshot
            values = turn(with_all(whole_maps(run, rows)))
            values[..., :-1][..., ~asked] = np.nan
            chains.append(values)
        data[name] = (("temperature", "amino_acid", "statistic"), _estimates(run, chains), {"unit": ""})
        found = [turn(with_all(values)) for values in _references(run, source).values()]
        if found:
            data[f"reference_{name}"] = (("weights", "reference", "amino_acid"), np.array(found), {"unit": ""})
    data["sites"] = ("amino_acid", [*sites, sites.sum()], {"unit": ""})
    return only_sound_errors(run, data)


def profiles(run: Run) -> xarray.Dataset:
    """Attention against Cα distance r and the Gaussian a exp(-(r/s)²) fitted to it, snapshot by snapshot.

    Dataset over temperature, block (from 1), head (from 1; "all": their mean), distance (Å), weights, reference:

    profile                            mean of the snapshots (temperature, block, head, distance)
    amplitude, width                   of the Gaussian (temperature, block, head, statistic); width in Å; NaN if
                                       attention does not fall with distance in some snapshot
    reference_profile, _amplitude, _width  of the reference weights (weights, reference, block, head, ...)
    pairs                              of test sites in each bin, the weights of the fit (distance)
    """
    chains, references = _chains(run, "attention_profile"), _references(run, "attention_profile")
    distance, pairs = (run.store.read(f"profile_{name}").astype(float) for name in ("distance", "pairs"))
    known = pairs > 0
    distance, pairs = distance[known], pairs[known]

    def with_mean(rows: np.ndarray) -> np.ndarray:
        found = rows[..., known]
        return np.concatenate([found, found.mean(-2, keepdims=True)], axis=-2)

    def fits(profile: np.ndarray) -> np.ndarray:
        """(..., quantity) of (..., distance)."""
        found = [fit_gaussian(distance, one, pairs)[: len(FIT)] for one in profile.reshape(-1, distance.size)]
        return np.array(found).reshape(*profile.shape[:-1], len(FIT))

    whole = [whole_maps(run, with_mean(rows)) for rows in chains]
    blocks, heads = whole[0].shape[2:4]
    data = _dataset(run, list(references), block=np.arange(1, blocks + 1),
                    head=[*map(str, range(1, heads)), ALL], distance=("distance", distance, {"unit": "Å"}))  # fmt: skip
    each = ("block", "head")
    means = [c.mean((0, 1)) if c.size else np.full(c.shape[2:], np.nan) for c in whole]
    data["profile"] = (("temperature", *each, "distance"), np.array(means), {"unit": ""})
    data["pairs"] = ("distance", pairs, {"unit": ""})
    found = _estimates(run, [fits(c) for c in whole])
    for index, (name, unit) in enumerate(zip(FIT, ("", "Å"), strict=True)):
        data[name] = (("temperature", *each, "statistic"), found[..., index, :], {"unit": unit})
    if references:
        of_weights = np.array([with_mean(rows) for rows in references.values()])
        data["reference_profile"] = (("weights", "reference", *each, "distance"), of_weights, {"unit": ""})
        for index, (name, unit) in enumerate(zip(FIT, ("", "Å"), strict=True)):
            fitted = fits(of_weights)[..., index]
            data[f"reference_{name}"] = (("weights", "reference", *each), fitted, {"unit": unit})
    return only_sound_errors(run, data)
