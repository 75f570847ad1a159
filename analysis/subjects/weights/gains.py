"""Gains of the layer norms: useful and useless elements, and the embedding dimension that remains.

A layer norm multiplies each of d elements by its gain. An element whose gain is about zero passes nothing on. If the
gains have two peaks, one of them at zero, the elements of that peak can be left out, and a network of the remaining
dimension should be as good. As in the study, each layer norm has its own distribution: blocks, and the two layer norms
of a block, may need different numbers of elements.

Test of two peaks: the dip of |gain| (Hartigan and Hartigan, Ann. Stat. 13 (1985) 70) of each snapshot is compared with
the dips of equally large samples from a law of one peak fitted to it. The uniform law of their table would be too
insensitive: 64 gains would not show that a fifth of them are useful. Snapshots are correlated, so their p-values are
merged as 2 median(p), which is valid under any dependence (Vovk and Wang, Biometrika 107 (2020) 791). The peak at zero
is found by a mixture of three Gaussians, fitted to the gains and their mirror images. So the middle Gaussian is centred
on zero, and the outer ones are mirror images of each other.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.reading.references import REFERENCES
from analysis.reading.snapshots import Snapshots, parameter_groups
from analysis.reading.stretches import only_sound_errors
from analysis.statistics.chains import Estimate, estimate
from protmpi.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

SIGNIFICANT = 0.05
"""Probability of one peak below which there are two peaks."""
AT_ZERO = 0.9
"""Largest mean |g| / rms g of a peak at zero: 0.80 for a Gaussian centred there, 1 for a narrow peak beside it."""
RESAMPLES = 300
"""Samples from the law of one peak."""
TESTED = 20
"""Most snapshots, evenly spread, whose dip is tested. More snapshots would not change their median."""
FITTED = 20_000
"""Most gains in the fit of a mixture."""
BINS = 120
KINDS = ("gain", "bias")


class Split(NamedTuple):
    """Separation of gains: the probability of one peak only, and |gain| below which an element is useless."""

    chance: float
    threshold: float
    """0 if all elements remain, with one peak only or no peak at zero."""


def unimodal(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A law of one peak within twice the dip of sorted values (element,), and this dip.

    The law is given by quantiles and their probabilities, linear in between. It is the greatest convex minorant of the
    values up to the modal interval of the dip, and the least concave majorant above it.
    """
    from diptest import dipstat

    dip, found = dipstat(values, full_output=True, sort_x=False)
    probability = np.linspace(0.0, 1.0, values.size)
    first, last = int(found["lo"]), int(found["hi"])
    below = _hull(values[: first + 1], probability[: first + 1])
    above = values.size - 1 - _hull(-values[last:][::-1], -probability[last:][::-1])
    corners = np.union1d(below, above)
    return values[corners], probability[corners], float(dip)


def _hull(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the corners of the greatest convex function below the points, x in ascending order."""
    kept: list[int] = []
    for k in range(x.size):
        while len(kept) > 1:
            i, j = kept[-2:]
            if (y[j] - y[i]) * (x[k] - x[i]) < (y[k] - y[i]) * (x[j] - x[i]):
                break
            kept.pop()
        kept.append(k)
    return np.array(kept)


def dip_chance(values: np.ndarray, random: np.random.Generator) -> float:
    """Probability of a dip as deep as that of the values (element,), under a law of one peak fitted to them."""
    from diptest import dipstat

    quantile, probability, dip = unimodal(np.sort(values))
    drawn = np.interp(random.random((RESAMPLES, values.size)), probability, quantile)
    deeper = sum(dipstat(sample) >= dip for sample in drawn)
    return (1 + deeper) / (1 + RESAMPLES)


def bimodality(gains: np.ndarray) -> float:
    """Probability of so deep a dip if |gain| has one peak, from snapshots (snapshot, element)."""
    random = np.random.default_rng(0)
    some = np.unique(np.linspace(0, max(0, len(gains) - 1), TESTED).astype(int))[: len(gains)]
    chances = [dip_chance(np.abs(one).astype(np.float64), random) for one in gains[some] if one.size >= 4]
    return min(1.0, 2.0 * float(np.median(chances))) if chances else np.nan


def zero_threshold(gains: np.ndarray) -> float:
    """|gain| at which an element is as likely in the peak at zero as outside; 0 without a peak at zero."""
    from sklearn.mixture import GaussianMixture

    size = np.abs(gains.astype(np.float64)).ravel()[:: -(-gains.size // FITTED)]
    typical = float(np.quantile(size, 0.95))  # the gain of a useful element, unless nearly all are useless
    if typical <= 0.0:
        return 0.0
    # the whole start is given: otherwise k-means would set it without the mirror symmetry
    precisions = np.full((3, 1, 1), (4.0 / typical) ** 2)
    mixture = GaussianMixture(3, means_init=[[-typical], [0.0], [typical]], weights_init=[0.25, 0.5, 0.25],
                              precisions_init=precisions, random_state=0, reg_covar=1e-6 * typical**2)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mixture that has not converged still has a boundary
        mixture.fit(np.concatenate([size, -size])[:, np.newaxis])
    grid = np.linspace(0.0, typical, 2_000)
    outside = np.flatnonzero(mixture.predict(grid[:, np.newaxis]) != 1)
    threshold = float(grid[outside[0]]) if outside.size else 0.0
    inside = size[size < threshold]
    at_zero = inside.size > 0 and inside.mean() < AT_ZERO * np.sqrt(np.mean(inside**2))
    return threshold if at_zero else 0.0


def split(gains: np.ndarray) -> Split:
    """The separation of the gains of one layer norm at one temperature (snapshot, element)."""
    chance = bimodality(gains)
    return Split(chance, zero_threshold(gains) if chance < SIGNIFICANT else 0.0)


def gains(run: Run) -> xarray.Dataset:
    """Gains and biases of every layer norm, sampled and of the ES and OT weights, and the elements that remain.

    Dataset over layer (0.LN1, ...), temperature, weights (ES, OT), kind (gain, bias):

    histogram, reference_histogram     values in bins of `value` (kind, layer, temperature or weights, value)
    bimodality, reference_bimodality   probability of one peak only (layer, temperature or weights)
    threshold                          |gain| below which an element is in the peak at zero, 0: no such peak; likewise
    remaining, reference_remaining     elements outside of the peak at zero, mean and error (statistic) over
                                       snapshots or over reference weights
    elements                           elements of each layer norm (layer,)

    Raises StoreError if the network has no layer norm, or the store has no parameters or too few measured draws.
    """
    groups = parameter_groups(run)
    layers = [name.removesuffix(".gain") for name in groups if name.endswith(".gain")]
    if not layers:
        raise StoreError(f"{run.store.path}: a {run.store.config['model']['kind']} network has no layer norm")
    wanted = {(layer, kind): groups[f"{layer}.{kind}"] for layer in layers for kind in KINDS}
    snapshots = [Snapshots(run, slot) for slot in range(run.temperature.size)]
    sampled = [_read(rows, wanted) for rows in snapshots]
    known = [label for label, prefix in REFERENCES.items() if f"{prefix}_parameters" in run.store]
    references = {
        label: {key: weights[:, where] for key, where in wanted.items()}
        for label in known
        for weights in (run.store.read(f"{REFERENCES[label]}_parameters"),)
    }
    edges = _edges([*sampled, *references.values()])
    return _dataset(run, layers, sampled, [rows.series for rows in snapshots], references, edges)


def _read(rows: Snapshots, wanted: dict[tuple[str, str], slice]) -> dict[tuple[str, str], np.ndarray]:
    """Each array at the finite snapshots (snapshot, element)."""
    parts: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in wanted}
    for first in range(0, len(rows), 100):
        block = rows.read(first, first + 100)
        for key, where in wanted.items():
            parts[key].append(block[:, where])
    empty = {key: np.empty((0, where.stop - where.start), np.float32) for key, where in wanted.items()}
    return {key: np.concatenate([empty[key], *part]) for key, part in parts.items()}


def _edges(series: list[dict[tuple[str, str], np.ndarray]]) -> np.ndarray:
    """Bins for all gains and biases, symmetric about zero."""
    largest = max((float(np.nanmax(np.abs(x), initial=0.0)) for one in series for x in one.values()), default=1.0)
    return np.linspace(-largest, largest, BINS + 1) if largest > 0 else np.linspace(-1.0, 1.0, BINS + 1)


def _remaining(gains: np.ndarray, chain: np.ndarray, threshold: float, samples: float) -> Estimate:
    """Elements outside of the peak at zero, from snapshots (snapshot, element) of some chains."""
    series = (np.abs(gains) >= threshold).sum(axis=1).astype(float)
    counts = [series[chain == one] for one in np.unique(chain)]
    shortest = min((one.size for one in counts), default=0)
    return estimate(np.array([one[:shortest] for one in counts]), samples) if shortest else Estimate(np.nan, np.nan)


def _dataset(
    run: Run,
    layers: list[str],
    sampled: list[dict[tuple[str, str], np.ndarray]],
    chains: list[np.ndarray],
    references: dict[str, dict[tuple[str, str], np.ndarray]],
    edges: np.ndarray,
) -> xarray.Dataset:
    import xarray

    slots, labels = len(sampled), list(references)

    def histograms(series: list[dict[tuple[str, str], np.ndarray]]) -> np.ndarray:
        return np.array(
            [[[np.histogram(one[layer, kind], edges)[0] for one in series] for layer in layers] for kind in KINDS]
        ).reshape(2, len(layers), len(series), BINS)

    elements = np.array([sampled[0][layer, "gain"].shape[1] for layer in layers])
    chance, threshold = np.full((2, len(layers), slots), np.nan)
    remaining = np.full((len(layers), slots, 2), np.nan)
    reference_chance = np.full((len(layers), len(labels)), np.nan)
    reference_remaining = np.full((len(layers), len(labels), 2), np.nan)
    for index, layer in enumerate(layers):
        for slot, one in enumerate(sampled):
            finite = np.isfinite(one[layer, "gain"]).all(axis=1)
            if finite.any():
                values, samples = one[layer, "gain"][finite], run.stretches[slot].samples
                found = split(values)
                chance[index, slot], threshold[index, slot] = found
                remaining[index, slot] = _remaining(values, chains[slot][finite], found.threshold, samples)
        for position, label in enumerate(labels):
            values = references[label][layer, "gain"]
            reference_chance[index, position], least = split(values)
            alone = np.zeros(len(values))
            reference_remaining[index, position] = _remaining(values, alone, least, len(values))
    ln, at, to = ("layer", "temperature"), ("layer", "weights"), ("statistic",)
    variables = {
        "histogram": (("kind", *ln, "value"), histograms(sampled), "values of the layer norms, counted"),
        "reference_histogram": (("kind", *at, "value"), histograms(list(references.values())), "the same of ES and OT"),
        "bimodality": (ln, chance, "probability that |gain| has one peak only (dip test)"),
        "reference_bimodality": (at, reference_chance, "the same of ES and OT"),
        "threshold": (ln, threshold, "|gain| below which an element is in the peak at zero; 0: there is none"),
        "remaining": ((*ln, *to), remaining, "elements outside of the peak at zero"),
        "reference_remaining": ((*at, *to), reference_remaining, "the same of ES and OT"),
        "elements": (("layer",), elements, "elements of the layer norm"),
    }
    data = xarray.Dataset(
        {name: (dims, values, {"unit": "", "long_name": text}) for name, (dims, values, text) in variables.items()},
        coords={
            "layer": layers,
            "temperature": ("temperature", run.temperature, {"unit": run.observables["energy"].unit}),
            "weights": labels,
            "kind": list(KINDS),
            "statistic": ["mean", "sem"],
            "value": (edges[1:] + edges[:-1]) / 2.0,
        },
    )
    return only_sound_errors(run, data)


def last_block(data: xarray.Dataset) -> list[str]:
    """The layer norms of the last block (3.LN1 and 3.LN2 of four blocks), and those outside blocks."""
    layers = data["layer"].values.tolist()
    last = max((int(layer.partition(".")[0]) for layer in layers if "." in layer), default=0)
    return [layer for layer in layers if "." not in layer or layer.startswith(f"{last}.")]


def deciding(data: xarray.Dataset, size: int) -> list[str]:
    """The layer norms that decide how many of `size` elements remain: those of this size in the last block."""
    return [layer for layer in last_block(data) if data["elements"].sel(layer=layer) == size]
