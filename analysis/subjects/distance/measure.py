"""Attention against distance: the Gaussian a exp(-(r/s)²) fitted to it, and its width s against T.

Attention can express a Gaussian of the distance exactly, because |x - y|² is bilinear in x, y and their squares (Ellmen
et al., TMLR 2025). If a network measures distance, the width of the Gaussian is what it has learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.reading.references import REFERENCES
from analysis.reading.snapshots import counted, whole_maps
from analysis.reading.stretches import only_sound_errors
from analysis.statistics.chains import estimates
from protmpi.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

BINS = 30
"""Bins of the distance in which attention is averaged for figures. The fit uses every pair."""
FIT = ("amplitude", "width", "residual")


class Gaussian(NamedTuple):
    """a exp(-(r/s)²): amplitude a, width s in the unit of the distance, root mean square of the residual."""

    amplitude: float
    width: float
    residual: float


def fit_gaussian(distance: np.ndarray, attention: np.ndarray, weight: np.ndarray | None = None) -> Gaussian:
    """Least squares over all pairs (pair,); NaN where attention is not finite or does not fall with distance.

    `weight` (pair,): number of pairs that each one stands for.
    """
    from scipy.optimize import curve_fit

    unknown = Gaussian(np.nan, np.nan, np.nan)
    if not np.isfinite(attention).all() or np.ptp(attention) == 0:
        return unknown
    scale = float(np.sqrt(np.average(distance**2, weights=weight)))
    r2 = (distance / scale) ** 2

    def model(r2: np.ndarray, a: float, inverse: float) -> np.ndarray:
        return np.asarray(a * np.exp(-r2 * inverse))

    try:
        sigma = None if weight is None else weight**-0.5
        (a, inverse), _ = curve_fit(model, r2, attention.astype(np.float64), (float(attention.max()), 1.0), sigma)
    except RuntimeError:  # no minimum found
        return unknown
    if inverse <= 0:
        return unknown
    residual = np.sqrt(np.average((attention - model(r2, a, inverse)) ** 2, weights=weight))
    return Gaussian(float(a), scale * float(inverse**-0.5), float(residual))


def distance(run: Run) -> xarray.Dataset:
    """The Gaussian learned, against temperature, and that of the ES and OT weights.

    Dataset over temperature, distance (centres of bins), weights (ES, OT), reference, statistic = mean, sem:

    amplitude, width, residual    of the Gaussian fitted to single snapshots (temperature, statistic)
    curve                         attention against distance, mean of the snapshots (temperature, distance)
    reference_...                 the same of the reference weights (weights, reference, ...)
    target, target_width          the attention to learn (distance), and the width of its Gaussian, if it is known

    Raises StoreError when the store holds no attention between pairs of known distance.
    """
    import xarray

    store = run.store
    if "pair_attention" not in store.variables or "pair_distance" not in store:
        raise StoreError(f"{store.path}: {store.config['model']['name']} has no attention at known distances")
    r = store.read("pair_distance").astype(np.float64)
    edges = np.linspace(0.0, r.max(), BINS + 1)
    bins = np.clip(np.digitize(r, edges) - 1, 0, BINS - 1)
    pairs = np.bincount(bins, minlength=BINS)

    def curve(attention: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.bincount(bins, attention, BINS) / pairs)

    rows, temperatures = run.by_temperature("pair_attention"), range(run.temperature.size)
    chains = [rows[:, slot, counted(run, slot)] for slot in temperatures]
    data = xarray.Dataset(
        coords={
            "temperature": ("temperature", run.temperature, {"unit": run.observables["energy"].unit}),
            "distance": 0.5 * (edges[1:] + edges[:-1]),
            "statistic": ["mean", "sem"],
        }
    )
    fits = [np.array([[fit_gaussian(r, snapshot) for snapshot in chain] for chain in one]) for one in chains]
    means = [_means(run, fit, stretch.samples) for fit, stretch in zip(fits, run.stretches, strict=True)]
    for index, name in enumerate(FIT):
        data[name] = (("temperature", "statistic"), np.array(means)[:, index], {"unit": ""})
    curves = [curve(np.nanmean(one, axis=(0, 1))) if one.size else np.full(BINS, np.nan) for one in chains]
    data["curve"] = (("temperature", "distance"), np.array(curves), {"unit": ""})
    if "pair_target" in store:
        target = store.read("pair_target")
        data["target"] = ("distance", curve(target), {"unit": ""})
        data["target_width"] = ((), fit_gaussian(r, target).width, {"unit": ""})
    found = {label: store.read(f"{p}_pair_attention") for label, p in REFERENCES.items()
             if f"{p}_pair_attention" in store}  # fmt: skip
    if found:
        of_weights = np.array([[fit_gaussian(r, one) for one in weights] for weights in found.values()])
        data = data.assign_coords(weights=list(found))
        for index, name in enumerate(FIT):
            data[f"reference_{name}"] = (("weights", "reference"), of_weights[..., index], {"unit": ""})
    return only_sound_errors(run, data)


def _means(run: Run, fits: np.ndarray, independent: float) -> np.ndarray:
    """Mean and error (quantity, statistic) of fits (chain, snapshot, quantity) of one temperature."""
    if not fits.size:
        return np.full((len(FIT), 2), np.nan)
    return estimates(whole_maps(run, fits), independent)
