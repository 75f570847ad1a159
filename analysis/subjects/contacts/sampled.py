"""Contacts in the networks of one run, against temperature: best attention head, mean of the heads, Jacobian.

All sequences of the folding task have one structure. Labelled sequences are from the training set, tested ones from the
test set. The native protein was never seen, although all sequences were drawn to fold like it. Since all contacts are
the same, the choice of heads and the regression know the answer; mean attention and the Jacobian do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.reading.snapshots import Snapshots, snapshot_estimate
from analysis.reading.stretches import only_sound_errors
from analysis.subjects.contacts.folding_networks import FoldingNetwork, Source
from analysis.subjects.contacts.leakage import highest_identity
from analysis.subjects.contacts.proteins import CRITERIA, designed, native
from analysis.subjects.contacts.single_pass import choose_heads, predict

if TYPE_CHECKING:
    import xarray

TRAIN, TEST = 0, 2
GROUPS = ("designed", "designed, averaged", "native")
"""Designed sequences one by one, the mean of their scores, and the native protein."""

Tick = Callable[[], object]


@dataclass(frozen=True)
class Options:
    """Settings of the amount of evaluation."""

    labelled: int = 10
    """Number of training sequences by which heads are chosen."""
    sequences: int = 8
    """Number of test sequences."""
    snapshots: int = 8
    """Most snapshots of each temperature, evenly spread."""
    top: int = 10
    """Number of heads that are averaged, if there are more."""


class Evaluation:
    """The proteins and settings by which every set of weights is evaluated."""

    def __init__(self, source: Source, options: Options, tick: Tick) -> None:
        self._source, self._top, self._tick = source, options.top, tick
        self.labelled = designed(source.data, TRAIN, options.labelled)
        self.tested = designed(source.data, TEST, options.sequences)
        self._native = native(source.data)
        self.cost: dict[str, list[tuple[float, float]]] = {}
        """Forward passes and seconds of each protein, by method."""

    def identities(self) -> dict[str, float]:
        """Highest identity with a labelled sequence: mean over tested sequences, and that of the native protein."""
        labelled = [p.sequence for p in self.labelled]
        groups = {"designed": self.tested, "native": self._native}
        found = {name: highest_identity([p.sequence for p in group], labelled) for name, group in groups.items()}
        return {name: float(values.mean()) for name, values in found.items() if values.size}

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Precision (group, criterion) by each method, of one set of weights (P,)."""
        network = FoldingNetwork(self._source.model, self._source.data.sequences.shape[1], weights)
        selection = choose_heads(network, self.labelled)
        made = [predict(network, p.tokens, selection, self._top) for p in (*self.tested, *self._native)]
        self._tick()
        tested, found = len(self.tested), {}
        for method in made[0]:
            self.cost.setdefault(method, []).extend((one[method].passes, one[method].seconds) for one in made)
            maps = np.stack([one[method].scores for one in made])
            each = self.tested[0].precisions(maps)  # all have the same contacts
            last = each[-1] if self._native else np.full(len(CRITERIA), np.nan)
            averaged = self.tested[0].precisions(maps[:tested].mean(0))
            found[method] = np.stack([each[:tested].mean(0), averaged, last])
        return found


def weights_to_ask(source: Source, options: Options) -> int:
    """Sets of weights that `sampled_contacts` evaluates."""
    slots = source.run.temperature.size if source.run else 0
    sampled = sum(_chosen(source, slot, options)[1].size for slot in range(slots))
    return sampled + sum(len(weights) for weights in source.references.values())


def sampled_contacts(source: Source, options: Options, tick: Tick = lambda: None) -> xarray.Dataset:
    """Precision of every method at every temperature, and of the ES and OT weights.

    Dataset over temperature, predictor, group (`GROUPS`), criterion (`proteins.CRITERIA`), statistic = mean, sem:

    precision            mean over snapshots (temperature, predictor, group, criterion, statistic); its error is over
                         snapshots: it is the error of a temperature, not the difference between sequences
    reference_precision  that of each set of ES and OT weights (weights, reference, predictor, group, criterion)
    chance               of random scores (criterion)
    passes, seconds      forward passes, and wall time, of one sequence on average (predictor)
    evaluated            snapshots evaluated (temperature)

    `tick` is called after each set of weights. Raises StoreError if the run is still in its burn-in.
    """
    import xarray

    ask = Evaluation(source, options, tick)
    references = {label: [ask(w) for w in weights] for label, weights in source.references.items()}
    run, slots = source.run, source.run.temperature.size if source.run else 0
    sampled, chains = [], []
    for slot in range(slots):
        snapshots, chosen = _chosen(source, slot, options)
        found = [ask(snapshots.read(index, index + 1)[0]) for index in chosen.tolist()]
        sampled.append(found)
        chains.append(snapshots.series[chosen])
    methods = list(ask.cost)
    shape = (len(methods), len(GROUPS), len(CRITERIA), 2)
    precision = np.full((slots, *shape), np.nan)
    reference = np.full((len(references), max(map(len, references.values()), default=0), *shape[:-1]), np.nan)
    for index in np.ndindex(shape[:-1]):
        method, rest = methods[index[0]], index[1:]
        for slot, found in enumerate(sampled):
            values = np.array([one[method][rest] for one in found])
            assert run is not None
            precision[(slot, *index)] = snapshot_estimate(values, chains[slot], run.stretches[slot].samples)
        for row, found in enumerate(references.values()):
            reference[(row, slice(len(found)), *index)] = [one[method][rest] for one in found]
    unit = run.observables["energy"].unit if run else ""
    data = xarray.Dataset(
        coords={
            "temperature": ("temperature", run.temperature if run else np.empty(0), {"unit": unit}),
            "weights": list(references),
            "predictor": methods,
            "group": list(GROUPS),
            "criterion": list(CRITERIA),
            "statistic": ["mean", "sem"],
        },
        attrs={"network": source.label, "dimension": source.model["d"], "sequences": len(ask.tested),
               "labelled": len(ask.labelled), **{f"identity_{k}": v for k, v in ask.identities().items()}},
    )  # fmt: skip
    where = ("predictor", "group", "criterion", "statistic")
    data["precision"] = ("temperature", *where), precision
    data["reference_precision"] = ("weights", "reference", *where[:-1]), reference
    data["chance"] = "criterion", ask.tested[0].chance()
    for name, values, unit in zip(("passes", "seconds"), np.array([np.mean(c, axis=0) for c in ask.cost.values()]).T,
                                  ("", "s"), strict=True):  # fmt: skip
        data[name] = ("predictor", values, {"unit": unit})
    data["evaluated"] = "temperature", np.array([len(found) for found in sampled], dtype=int)
    return only_sound_errors(run, data) if run else data


def _chosen(source: Source, slot: int, options: Options) -> tuple[Snapshots, np.ndarray]:
    """The snapshots at one temperature that count, and the indices of those that are evaluated; no lost walkers."""
    assert source.run is not None
    snapshots = Snapshots(source.run, slot)
    spread = np.unique(np.linspace(0, max(0, len(snapshots) - 1), options.snapshots).astype(int))[: len(snapshots)]
    finite = [np.isfinite(snapshots.read(index, index + 1)).all() for index in spread.tolist()]
    return snapshots, spread[np.array(finite, dtype=bool)]
