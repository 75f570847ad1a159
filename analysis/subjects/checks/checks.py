"""Self-checks: numbers of a run whose correct value is known, each with its error, a z-score and a verdict.

    pass   no deviation, and one that matters would have been significant
    weak   no significant deviation, but one that matters would not have been either
    fail   a significant one; of kinetic temperatures also above 1 %, of R-hat above 1.05

All series begin where draws count (`equilibrium_step` of the thermodynamics). At a temperature that is not in
equilibrium (`analysis.statistics.equilibrium`) a check can fail, but not pass, and has no error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import exponent_form
from analysis.statistics.equilibrium import stands_still
from analysis.statistics.significance import Halves, Mean, drift, normal_deviate
from analysis.subjects.checks.check import SAMPLES, TOO_FEW, Check, Question, Verdict, in_equilibrium, judged
from analysis.subjects.checks.heat_capacity import heat_capacity
from analysis.subjects.checks.sampler_checks import (
    acceptance,
    boltzmann_factor,
    collective_temperature,
    kinetic_temperature,
    layer_temperature,
    reversibility,
)

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

R_HAT_BAD = 1.05
"""Split R-hat above which chains are certainly not converged."""


def checks(run: Run, data: xarray.Dataset) -> list[Check]:
    """All checks that the store of a run allows, check by check, each at every temperature.

    `data` is the thermodynamics of the run. Samplers without momenta have no kinetic temperature, one replica has no
    other to agree with, and two temperatures do not tell how the heat capacity bends.
    """
    kinds = (
        kinetic_temperature,
        layer_temperature,
        collective_temperature,
        boltzmann_factor,
        acceptance,
        reversibility,
        heat_capacity,
        mixing,
        sample_count,
        starts,
        drift_of_energy,
    )
    found = judged(list(itertools.chain.from_iterable(kind(run, data) for kind in kinds)))
    reasons = dict(zip(run.temperature.tolist(), data["not_in_equilibrium"].values.tolist(), strict=True))
    return [_as_sound(check, reasons[check.temperature]) for check in found]


def _as_sound(check: Check, reason: str) -> Check:
    """Text of a check at a temperature that is not in equilibrium for this reason."""
    if not reason:
        return check
    if check.verdict == "pass":
        check = check._replace(verdict="weak", advice=f"not in equilibrium: {reason}")
    return check._replace(sem=np.nan, sees=np.nan)


def mixing(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """Split R-hat of U. Its z says whether the halves of the chains differ by more than their errors.

    With n independent draws in each half, R-hat is 1 + O(1/n) by chance, and short healthy runs exceed any threshold.
    So R-hat above 1.05 fails only if z is significant. A chain that never moves fails.
    """
    for (temperature, energy), value in zip(
        in_equilibrium(run, data, "energy"), data["r_hat"].values.tolist(), strict=True
    ):
        chains = run.chains(energy)
        still, halves = any(stands_still(chain) for chain in chains), Halves.of(list(chains))
        z = normal_deviate(0.0) if still else halves.z
        where = f"at T = {exponent_form(temperature)}"
        remedy = f"a walker stands still {where}" if still else f"walkers are stuck at different U {where}"
        width, whole = _width(energy)
        check = Check("split R-hat of U", temperature, "", value, 1.0, np.nan, z)
        yield Question(check, halves.resolution, width, whole, remedy, still or value > R_HAT_BAD)


def sample_count(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Effective samples of U. Too few are not a fault, but then there is no error."""
    for temperature, stretch in zip(run.temperature.tolist(), run.stretches, strict=True):
        verdict: Verdict = "pass" if stretch.samples >= stretch.needed else "weak"
        advice = "" if verdict == "pass" else TOO_FEW
        yield Check(SAMPLES, temperature, "", stretch.samples, stretch.needed, np.nan, np.nan, verdict=verdict,
                    advice=advice)  # fmt: skip


def starts(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """Difference of <U> between two replicas, each with the error of its own chain; the worst pair of each temperature.

    Replica r starts from entry r of `sampler.start`, cyclically; replicas with the same start are numbered.
    """
    start = run.store.config["sampler"].get("start", "replica")
    names = [start] if isinstance(start, str) else start
    of_replica = [names[replica % len(names)] for replica in range(run.replicas)]
    labels = [f"{name} {r + 1}" if of_replica.count(name) > 1 else name for r, name in enumerate(of_replica)]
    for temperature, energy in in_equilibrium(run, data, "energy"):
        means = [(label, Mean.of(run.chains(chain[np.newaxis]))) for label, chain in zip(labels, energy, strict=True)]
        pairs = {f"{a} vs {b}": (x, y) for (a, x), (b, y) in itertools.combinations(means, 2)}
        differences = {name: x.minus(y) for name, (x, y) in pairs.items()}
        yield from _worst_difference("difference of starts", temperature, energy, differences, 1.0, "run longer")


def drift_of_energy(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """<U> of the last third of the draws minus that of the first; the worst replica of each temperature.

    A straight drift of 4/3 between the thirds carries U by 1 from its mean to the end.
    """
    for temperature, energy in in_equilibrium(run, data, "energy"):
        drifts = {f"replica {r + 1}": drift(run.chains(chain[np.newaxis])[0]) for r, chain in enumerate(energy)}
        remedy = "raise sampler.adapt_until and run.steps"
        yield from _worst_difference("drift of U", temperature, energy, drifts, 4.0 / 3.0, remedy)


def _width(energy: np.ndarray) -> tuple[float, float]:
    """Standard deviation and size of U. Phases that differ by less than the first have one histogram."""
    if not np.isfinite(energy).any():
        return np.nan, np.nan
    return float(np.nanstd(energy)), abs(float(np.nanmean(energy)))


def _worst_difference(
    name: str, temperature: float, energy: np.ndarray, differences: dict[str, Mean], widths: float, remedy: str
) -> Iterator[Question]:
    """The worst of some differences of <U> that must be 0. It sees what the least certain of them sees, and must see
    some `widths` of the distribution of U."""
    if not differences:
        return
    tries, (width, whole) = len(differences), _width(energy)

    def sees(chance: float) -> float:
        return float(np.max([mean.resolution(chance, tries) for mean in differences.values()]))

    detail = max(differences, key=lambda one: np.nan_to_num(abs(differences[one].z(0.0)), nan=-1.0))
    mean = differences[detail]
    what = f"{name}: {mean.value:+.2g} in {detail} at T = {exponent_form(temperature)}: {remedy}"
    check = Check(name, temperature, detail, mean.value, 0.0, mean.sem, mean.z(0.0, tries))
    yield Question(check, sees, widths * width, whole, what)
