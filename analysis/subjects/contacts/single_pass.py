"""Contacts from single forward passes against the categorical Jacobian: precision, passes and time of each method."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from analysis.subjects.contacts import jacobian
from analysis.subjects.contacts.heads import Selection, head_scores, predictions, select
from analysis.subjects.contacts.proteins import CRITERIA, Protein

if TYPE_CHECKING:
    import xarray

JACOBIAN = "Jacobian"
RESAMPLES = 2_000
"""Bootstrap samples of proteins."""


class Network(Protocol):
    """A network of proteins with attention maps, with logits, or with both."""

    heads: int
    """Number of heads of all layers, 0 without attention."""

    def attention(self, tokens: np.ndarray) -> np.ndarray:
        """Attention maps (head, L, L) of a sequence (L,), without special tokens."""

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        """Logits (B, L, 20) of sequences (B, L); see `analysis.subjects.contacts.jacobian.Logits`."""

    def passes(self, tokens: np.ndarray) -> int:
        """Number of forward passes, each of one sequence, in `logits` of a sequence (L,)."""


@dataclass(frozen=True)
class Prediction:
    """Scores (L, L) of the pairs of a protein, and their cost."""

    scores: np.ndarray
    passes: int
    seconds: float


def choose_heads(network: Network, labelled: Sequence[Protein]) -> Selection | None:
    """Which heads show contacts; None for a network without attention. One pass per labelled protein."""
    if not network.heads:
        return None
    return select((head_scores(network.attention(protein.tokens)), protein) for protein in labelled)


def predict(network: Network, tokens: np.ndarray, selection: Selection | None, top: int) -> dict[str, Prediction]:
    """Scores of one sequence (L,) by every method."""
    found = {}
    if selection is not None:
        start = time.perf_counter()
        maps = head_scores(network.attention(tokens))
        seconds = time.perf_counter() - start
        for method, scores in predictions(maps, selection, top).items():
            found[method] = Prediction(scores, 1, seconds)
    start = time.perf_counter()
    scores = jacobian.pair_scores(jacobian.categorical_jacobian(network.logits, tokens))
    passes = jacobian.sequences_needed(tokens) * network.passes(tokens)
    found[JACOBIAN] = Prediction(scores, passes, time.perf_counter() - start)
    return found


def benchmark(
    network: Network, labelled: Sequence[Protein], groups: Mapping[str, Sequence[Protein]], top: int
) -> xarray.Dataset:
    """Every method on groups of proteins other than the labelled ones.

    Dataset over predictor, group, criterion, statistic = mean, sem:

    precision        mean over the proteins of a group, its error by bootstrap over them; see `proteins.CRITERIA`
    chance           the same of random scores (group, criterion)
    proteins         number of proteins long enough for a criterion (group, criterion)
    passes, seconds  forward passes, and wall time, of one protein on average (predictor, group)
    """
    import xarray

    selection = choose_heads(network, labelled)
    found = {name: [predict(network, p.tokens, selection, top) for p in group] for name, group in groups.items()}
    methods = list(next(each for group in found.values() for each in group))
    data = xarray.Dataset(
        coords={"predictor": methods, "group": list(groups), "criterion": list(CRITERIA), "statistic": ["mean", "sem"]}
    )
    precision = np.full((len(methods), len(groups), len(CRITERIA), 2), np.nan)
    chance, proteins = np.full(precision.shape[1:3], np.nan), np.zeros(precision.shape[1:3], dtype=int)
    cost = np.full((2, *precision.shape[:2]), np.nan)
    for g, (name, group) in enumerate(groups.items()):
        if not group:
            continue
        known = np.array([p.chance() for p in group])
        proteins[g] = np.isfinite(known).sum(0)
        chance[g] = [bootstrapped(values)[0] for values in known.T]
        for m, method in enumerate(methods):
            made = [one[method] for one in found[name]]
            values = np.array([p.precisions(one.scores) for p, one in zip(group, made, strict=True)])
            precision[m, g] = [bootstrapped(of_criterion) for of_criterion in values.T]
            cost[:, m, g] = np.mean([(one.passes, one.seconds) for one in made], axis=0)
    data["precision"] = ("predictor", "group", "criterion", "statistic"), precision
    data["chance"] = ("group", "criterion"), chance
    data["proteins"] = ("group", "criterion"), proteins
    for name, values, unit in zip(("passes", "seconds"), cost, ("", "s"), strict=True):
        data[name] = (("predictor", "group"), values, {"unit": unit})
    if selection is not None:
        data["head_precision"] = "head", selection.precision
    data.attrs["labelled"] = len(labelled)
    return data


def bootstrapped(values: np.ndarray, seed: int = 1) -> tuple[float, float]:
    """Mean of the known values (protein,), and its bootstrap standard error; NaN for fewer than two."""
    known = values[np.isfinite(values)]
    if not known.size:
        return np.nan, np.nan
    drawn = np.random.default_rng(seed).integers(known.size, size=(RESAMPLES, known.size))
    return float(known.mean()), float(known[drawn].mean(1).std()) if known.size > 1 else np.nan
