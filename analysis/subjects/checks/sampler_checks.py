"""Self-checks of the sampler: kinetic temperatures of pseudo-Langevin, Metropolis tests of trajectories."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import exponent_form
from analysis.statistics.significance import Mean
from analysis.subjects.checks.check import (
    ACCEPTANCE,
    REVERSIBLE,
    Check,
    Question,
    Verdict,
    in_equilibrium,
)

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

TOLERANCE = 0.01
"""Tolerated deviation of a kinetic temperature: it changes <U> by no more than 1 % of T would."""
MOST = 0.5
"""The layers pass if `TOLERANCE` would be significant in layers with this fraction of the parameters."""
COLLECTIVE_GOOD, COLLECTIVE_BAD = 0.11, 0.5
"""Tolerated excess of the collective kinetic temperature. It is slightly above the default limit of `rho = "auto"` and
shifts <U> by one per cent (docs/validation/mini-batch-noise.md)."""
FACTOR_SEEN = 0.3
"""Deviation of <exp(-ΔH/T)> that must be significant. ΔH wrong by 0.3 T changes it by as much."""
ACCEPTANCE_GOOD, ACCEPTANCE_BAD = 0.4, 0.1
"""Acceptances at which a walker moves nearly as fast as possible, and at which it hardly moves."""
REVERSIBLE_GOOD = 0.99


def kinetic_temperature(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """Mean of p²/M / ((P - 1) T): exactly 1, because momenta tangent to the sphere have P - 1 free directions."""
    if "kinetic_ratio" not in run.observables:
        return
    for temperature, ratio in in_equilibrium(run, data, "kinetic_ratio"):
        mean = Mean.of(run.chains(ratio))
        yield _kinetic(run, "kinetic temperature", temperature, "", mean, mean.resolution)


def layer_temperature(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """The same for each array of the network, also exactly 1; at each temperature the worst of them.

    A draw of n parameters gives their kinetic temperature to sqrt(2/n), so 1 % is never significant in a bias of a few
    dozen parameters. The check passes if 1 % would be significant in arrays with half of the parameters.
    """
    if "kinetic_ratio_layer" not in run.store.variables:
        return
    sizes = {entry["name"]: math.prod(entry["shape"]) for entry in run.store.attributes["parameter_layout"]}
    for temperature, ratio in in_equilibrium(run, data, "kinetic_ratio_layer"):
        layers = zip(sizes, np.moveaxis(ratio, -1, 0), strict=True)
        means = {name: Mean.of(run.chains(layer)) for name, layer in layers}
        sees = partial(_seen_in_most, list(means.values()), np.array(list(sizes.values())))
        found = (
            _kinetic(run, "kinetic temperature by layer", temperature, name, mean, sees, len(sizes))
            for name, mean in means.items()
        )
        yield max(found, key=lambda asked: (asked.harmful, abs(asked.check.z)))


def _seen_in_most(means: list[Mean], sizes: np.ndarray, chance: float) -> float:
    """The deviation that is significant in layers with `MOST` of the parameters."""
    seen = np.array([mean.resolution(chance, len(means)) for mean in means])
    order = np.argsort(seen)
    return float(seen[order][np.searchsorted(np.cumsum(sizes[order]), MOST * sizes.sum())])


def collective_temperature(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """T_kin/T in the directions of strongest mini-batch noise, which no other kinetic temperature shows.

    Mini-batch noise is correlated between parameters, but the white noise is not. A trace over parameters
    stays at T while collective directions are hotter (`protmpi.sampling.kernels.noise.collective_excess`). Its error
    is negligible, so there is no z: the size alone decides the verdict.
    """
    if not {"rho", "collective_excess"} <= run.observables.keys():
        return
    excesses = in_equilibrium(run, data, "collective_excess")
    for (temperature, rows), (_, rho) in zip(excesses, in_equilibrium(run, data, "rho"), strict=True):
        excess = float(np.nanmean(rows))
        verdict: Verdict = "pass" if excess <= COLLECTIVE_GOOD else "weak" if excess <= COLLECTIVE_BAD else "fail"
        enough = np.nanmean(rho) * COLLECTIVE_GOOD / max(excess, COLLECTIVE_GOOD)
        where = f"directions of correlated mini-batch noise are {100 * excess:.0f} % too hot at T"
        advice = (
            f'{where} = {exponent_form(temperature)}: sampler.rho = {exponent_form(enough)} suffices, or rho = "auto"'
        )
        yield Check("collective kinetic temp.", temperature, "", 1.0 + excess, 1.0, np.nan, np.nan, verdict=verdict,
                    advice="" if verdict == "pass" else advice)  # fmt: skip


def _kinetic(
    run: Run, name: str, temperature: float, layer: str, mean: Mean, sees: Callable[[float], float], tries: int = 1
) -> Question:
    excess = mean.value - 1.0
    remedy = _smaller_rho(run, excess) if excess > 0 else "is s² out of date? take a smaller sampler.max_adj_step"
    remedy = (
        f"kinetic temperature{' of ' + layer if layer else ''} {100 * abs(excess):.1f} % "
        f"{'above' if excess > 0 else 'below'} T at T = {exponent_form(temperature)}: {remedy}"
    )
    check = Check(name, temperature, layer, mean.value, 1.0, mean.sem, mean.z(1.0, tries))
    return Question(check, sees, TOLERANCE, 1.0, remedy, abs(excess) > TOLERANCE)


def _smaller_rho(run: Run, excess: float) -> str:
    """The excess comes from the length of the step and grows in proportion to rho."""
    rho = run.store.config["sampler"].get("rho")
    if not isinstance(rho, float):
        return "take a smaller sampler.rho"
    enough = rho * TOLERANCE / excess
    digit = 10.0 ** math.floor(math.log10(enough))
    return f"take sampler.rho = {exponent_form(math.floor(enough / digit) * digit)}"


def boltzmann_factor(run: Run, data: xarray.Dataset) -> Iterator[Question]:
    """<exp(-ΔH/T)> over trajectories of small |ΔH/T|: exactly 1, whatever the time step.

    On the set of reversible trajectories the map, followed by p -> -p, is its own inverse and conserves volume
    (docs/method/trajectories.md section 3). Walkers out of equilibrium, energies that depend on the path or of too few
    digits, and projections without a way back change it. The window is as likely forward as backward, so it keeps the
    identity. Without it the mean rests on trajectories of ΔH << 0, which a run of this length does not see.
    """
    if "boltzmann_window" not in run.observables:
        return
    series = (in_equilibrium(run, data, name) for name in ("boltzmann_factor", "boltzmann_window"))
    for (temperature, factor), (_, window) in zip(*series, strict=True):
        mean = Mean.of(run.chains(1.0 + (factor - window) / np.nanmean(window)))
        remedy = (
            f"<exp(-ΔH/T)> is {mean.value:.3g} at T = {exponent_form(temperature)}: the walkers are not in "
            "equilibrium, or float32 is too coarse for this T"
        )
        check = Check("<exp(-ΔH/T)>", temperature, "", mean.value, 1.0, mean.sem, mean.z(1.0))
        yield Question(check, mean.resolution, FACTOR_SEEN, 1.0, remedy)


def acceptance(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Mean acceptance of trajectories of the worst walker, beside the acceptance for which the time step was tuned.

    It has no z, because the law is exact at any acceptance. But with few accepted trajectories a walker hardly moves.
    """
    if "acceptance" not in run.observables:
        return
    wanted = float(run.store.config["sampler"]["acceptance"])
    for temperature, accepted in in_equilibrium(run, data, "acceptance"):
        worst = float(np.nanmin(np.nanmean(accepted, axis=1)))
        verdict: Verdict = "pass" if worst >= ACCEPTANCE_GOOD else "weak" if worst >= ACCEPTANCE_BAD else "fail"
        where = f"a walker at T = {exponent_form(temperature)}"
        advice = f"{where} accepts {100 * worst:.0f} % of its trajectories: take a longer sampler.adapt_until"
        yield Check(ACCEPTANCE, temperature, "", worst, wanted, np.nan, np.nan, verdict=verdict,
                    advice="" if verdict == "pass" else advice)  # fmt: skip


def reversibility(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Fraction of trajectories that stay on the sphere and can be reversed. The others miss the sphere and are
    rejected, which costs time but keeps the law."""
    if "reversible" not in run.observables:
        return
    for temperature, reversible in in_equilibrium(run, data, "reversible"):
        fraction = float(np.nanmean(reversible))
        verdict: Verdict = "pass" if fraction >= REVERSIBLE_GOOD else "weak"
        lost = f"{100 * (1 - fraction):.1f} % of the trajectories miss the sphere"
        advice = f"{lost}: take a longer sampler.adapt_until"
        yield Check(REVERSIBLE, temperature, "", fraction, 1.0, np.nan, np.nan, verdict=verdict,
                    advice="" if verdict == "pass" else advice)  # fmt: skip
