"""Self-checks: numbers of a run whose right value is known, each with its error, a z-score and a verdict.

    pass   no deviation, and one worth knowing would have shown
    weak   no significant deviation, but too few effective samples for one to show
    fail   |z| > 4; kinetic temperatures besides more than 1 % off, R-hat above 1.05

All series begin where draws count (`equilibrium_step` of the thermodynamics). At a temperature that is not in
equilibrium (`analysis.equilibrium`) a check can fail, but not pass, and has no error.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from analysis.cells import exponent_form
from analysis.chains import FEW_SAMPLES
from analysis.equilibrium import R_HAT_GOOD, stands_still
from analysis.significance import SIGNIFICANT, Mean, combined, drift, normal_deviate, z_of_halves
from analysis.thermodynamics import mean_at

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run

Verdict = Literal["pass", "weak", "fail"]
VERDICTS: tuple[Verdict, ...] = ("pass", "weak", "fail")

TOLERANCE = 0.01
"""Deviation of a kinetic temperature that is left alone: it moves <U> by no more than 1 % of T does."""
MOST = 0.5
"""A heat capacity passes when a deviation of this share would show; the layers, when `TOLERANCE` would show in those
that hold this share of the parameters."""
R_HAT_BAD = 1.05
"""What nobody calls converged."""
COLLECTIVE_GOOD, COLLECTIVE_BAD = 0.11, 0.5
"""Excess of the collective kinetic temperature: what `rho = "auto"` allows by default, a little rounded up, and what
shifts <U> by a per cent (docs/method.md)."""
SAMPLES = "effective samples of U"
TOO_FEW = "too few effective samples for a deviation to show"


class Check(NamedTuple):
    """A number of the run beside the one it must be, in the same unit; NaN for what is unknown."""

    name: str
    temperature: float
    detail: str
    """The worst at this temperature (a layer, a replica, a pair of starts), or the next temperature."""
    value: float
    expected: float
    sem: float
    """Standard error of value - expected."""
    z: float
    verdict: Verdict
    advice: str


def checks(run: Run, data: xarray.Dataset) -> list[Check]:
    """All checks that the store of a run allows, check by check, each at every temperature.

    `data` is the thermodynamics of the run. Samplers without momenta have no kinetic temperature, one replica has no
    other to agree with, and two temperatures do not tell how the heat capacity bends.
    """
    kinds = (
        kinetic_temperature,
        layer_temperature,
        collective_temperature,
        heat_capacity,
        mixing,
        sample_count,
        starts,
        drift_of_energy,
    )
    found = itertools.chain.from_iterable(kind(run, data) for kind in kinds)
    reasons = dict(zip(run.temperature.tolist(), data["not_in_equilibrium"].values.tolist(), strict=True))
    return [_as_sound(check, reasons[check.temperature]) for check in found]


def _as_sound(check: Check, reason: str) -> Check:
    """What a check says where the temperature is not in equilibrium for this reason."""
    if not reason:
        return check
    if check.verdict == "pass":
        check = check._replace(verdict="weak", advice=f"not in equilibrium: {reason}")
    return check._replace(sem=np.nan)


def severity(check: Check) -> tuple[int, float]:
    """The larger, the worse: the verdict, then |z|, then how much is missing."""
    missing = check.expected - check.value if check.name == SAMPLES else check.value - check.expected
    size = abs(check.z) if math.isfinite(check.z) else missing
    return VERDICTS.index(check.verdict), math.inf if math.isnan(size) else size


def _verdict(z: float, shows: bool, harmful: bool = True) -> Verdict:
    """`shows`: a deviation worth knowing would have been significant; `harmful`: this one is above its tolerance."""
    return "fail" if abs(z) > SIGNIFICANT and harmful else "pass" if shows else "weak"


def _advice(verdict: Verdict, remedy: str, weak: str = TOO_FEW) -> str:
    return {"pass": "", "weak": weak, "fail": remedy}[verdict]


def _in_equilibrium(run: Run, data: xarray.Dataset, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """Each temperature with the draws (replica, draw, ...) of a variable that count there."""
    rows = run.by_temperature(name)
    first = np.searchsorted(run.steps("draw"), data["equilibrium_step"].values)
    for slot, temperature in enumerate(run.temperature):
        yield float(temperature), rows[:, slot, first[slot] :]


def kinetic_temperature(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Mean of p²/M / ((P - 1) T): exactly 1, because momenta tangent to the sphere have P - 1 free directions."""
    if "kinetic_ratio" not in run.observables:
        return
    for temperature, ratio in _in_equilibrium(run, data, "kinetic_ratio"):
        mean = Mean.of(run.chains(ratio))
        yield _kinetic_check(run, "kinetic temperature", temperature, "", mean, mean.resolution() <= TOLERANCE)


def layer_temperature(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """The same for each array of the network, also exactly 1; at each temperature the worst of them.

    A draw of n parameters tells their kinetic temperature to sqrt(2/n), so that 1 % never shows in a bias of a few
    dozen: the check passes when it would show in the arrays that hold half of the parameters.
    """
    if "kinetic_ratio_layer" not in run.store.variables:
        return
    sizes = {entry["name"]: math.prod(entry["shape"]) for entry in run.store.attributes["parameter_layout"]}
    for temperature, ratio in _in_equilibrium(run, data, "kinetic_ratio_layer"):
        layers = zip(sizes, np.moveaxis(ratio, -1, 0), strict=True)
        means = {name: Mean.of(run.chains(layer)) for name, layer in layers}
        sharp = [name for name, mean in means.items() if mean.resolution(len(sizes)) <= TOLERANCE]
        shows = sum(sizes[name] for name in sharp) >= MOST * sum(sizes.values())
        found = (
            _kinetic_check(run, "kinetic temperature by layer", temperature, name, mean, shows, len(sizes))
            for name, mean in means.items()
        )
        yield max(found, key=severity)


def collective_temperature(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """T_kin/T where mini-batch noise is strongest, which no other kinetic temperature can show.

    Mini-batch noise is correlated between parameters, the white noise that completes it is not: a trace over parameters
    stays at T while collective directions are hotter (`protmpi.sampling.noise.collective_excess`). It is known without
    an error worth showing, so there is no z: the verdict is by size alone.
    """
    if not {"rho", "collective_excess"} <= run.observables.keys():
        return
    excesses = _in_equilibrium(run, data, "collective_excess")
    for (temperature, rows), (_, rho) in zip(excesses, _in_equilibrium(run, data, "rho"), strict=True):
        excess = float(np.nanmean(rows))
        verdict: Verdict = "pass" if excess <= COLLECTIVE_GOOD else "weak" if excess <= COLLECTIVE_BAD else "fail"
        enough = np.nanmean(rho) * COLLECTIVE_GOOD / max(excess, COLLECTIVE_GOOD)
        where = f"directions of correlated mini-batch noise are {100 * excess:.0f} % too hot at T"
        advice = (
            f'{where} = {exponent_form(temperature)}: sampler.rho = {exponent_form(enough)} would do, or rho = "auto"'
        )
        yield Check("collective kinetic temp.", temperature, "", 1.0 + excess, 1.0, np.nan, np.nan, verdict,
                    "" if verdict == "pass" else advice)  # fmt: skip


def _kinetic_check(
    run: Run, name: str, temperature: float, layer: str, mean: Mean, shows: bool, tries: int = 1
) -> Check:
    excess, z = mean.value - 1.0, mean.z(1.0, tries)
    verdict = _verdict(z, shows, abs(excess) > TOLERANCE)
    remedy = _smaller_rho(run, excess) if excess > 0 else "is s² out of date? take a smaller sampler.max_adj_step"
    advice = _advice(
        verdict,
        f"kinetic temperature{' of ' + layer if layer else ''} {100 * abs(excess):.1f} % "
        f"{'above' if excess > 0 else 'below'} T at T = {exponent_form(temperature)}: {remedy}",
    )
    return Check(name, temperature, layer, mean.value, 1.0, mean.sem, z, verdict, advice)


def _smaller_rho(run: Run, excess: float) -> str:
    """The excess comes from the length of the step and grows in proportion to rho."""
    rho = run.store.config["sampler"].get("rho")
    if not isinstance(rho, float):
        return "take a smaller sampler.rho"
    enough = rho * TOLERANCE / excess
    digit = 10.0 ** math.floor(math.log10(enough))
    return f"take sampler.rho = {exponent_form(math.floor(enough / digit) * digit)}"


def heat_capacity(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """C = var(U)/T² against d<U>/dT (k_B), over each interval between neighbours among three or more temperatures.

    A slope AT a temperature reaches over two intervals, is one-sided at the ends of the ladder, and is off by a
    discretisation of unknown size. Over ONE interval h = T' - T the law is exact as an integral, U(T') - U(T) =
    ∫ C dT, and only its right side is approximate, the trapezoid h (C + C')/2. So the value is (C + C')/2 from
    var(U)/T², expected is (U(T') - U(T))/h. The error holds those of both energies and both variances (of a variance
    in proportion to it: where the value is too small, that of the expected one) and what the trapezoid may miss: h²
    C''/12, C'' the larger second difference at the inner ends of the interval, and how much it would change were C
    linear in ln T. Peaks of C narrower than the ladder stay unseen.
    """
    known = np.flatnonzero(np.isfinite(data["heat_capacity"].values[:, 0]))
    if known.size < 3:
        return
    temperature, rows = run.temperature[known], run.by_temperature("energy")
    capacity, energy = (
        np.array([mean_at(run, name, rows, slot) for slot in known.tolist()]) for name in ("heat_capacity", "energy")
    )
    steps = np.diff(temperature)
    sound = np.where(np.isfinite(capacity[:, 1]), capacity[:, 0], np.nan)  # the bend is that of equilibrium
    bends = 2.0 * np.abs(np.diff(np.diff(sound) / steps)) / (steps[1:] + steps[:-1])
    for k, step in enumerate(steps):
        ends = slice(k, k + 2)
        slope = float(np.diff(energy[ends, 0])[0] / step)
        ratio = temperature[k + 1] / temperature[k]
        logarithmic = np.diff(capacity[ends, 0])[0] * (ratio / (ratio - 1.0) - 1.0 / np.log(ratio) - 0.5)
        curvature = np.fmax.reduce(bends[max(0, k - 1) : k + 1]) * step**2 / 12.0
        value = float(capacity[ends, 0].mean())
        grown = max(1.0, slope / value) if value else 1.0
        sems = np.concatenate([grown * capacity[ends, 1] / 2.0, energy[ends, 1] / step, [curvature, logarithmic]])
        samples = np.concatenate([capacity[ends, 2], energy[ends, 2], [np.inf, np.inf]])
        mean = Mean(value, *combined(sems, samples))
        z, upper = mean.z(slope), exponent_form(temperature[k + 1])
        verdict = _verdict(z, mean.resolution() <= MOST * abs(slope))
        much = "little (stuck, or too short)" if value < slope else "much (not in equilibrium)"
        advice = _advice(
            verdict,
            f"var(U)/T² is {value / slope:.2g} d<U>/dT from T = {exponent_form(temperature[k])} to {upper}: "
            f"U fluctuates too {much}, or the ladder is too coarse",
        )
        yield Check("heat capacity", float(temperature[k]), f"to {upper}", value, slope, mean.sem, z, verdict, advice)


def mixing(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Split R-hat of U; its z says whether the halves of the chains differ by more than their own errors allow.

    With n independent draws in each half R-hat is 1 + O(1/n) by chance, so that short healthy runs exceed any
    threshold: they are weak. R-hat above 1.05 fails where z is significant. A chain that never moves fails.
    """
    columns = zip(data["r_hat"].values.tolist(), data["effective_samples"].values.tolist(), strict=True)
    for (temperature, energy), (value, samples) in zip(_in_equilibrium(run, data, "energy"), columns, strict=True):
        chains = run.chains(energy)
        still = any(stands_still(chain) for chain in chains)
        z = normal_deviate(0.0) if still else z_of_halves(list(chains))
        verdict = _verdict(z, value < R_HAT_GOOD and samples >= FEW_SAMPLES, still or value > R_HAT_BAD)
        where = f"at T = {exponent_form(temperature)}"
        remedy = f"a walker stands still {where}" if still else f"walkers are stuck at different U {where}"
        advice = _advice(verdict, remedy, f"R-hat below {R_HAT_GOOD}, {FEW_SAMPLES} effective samples: a longer run")
        yield Check("split R-hat of U", temperature, "", value, 1.0, np.nan, z, verdict, advice)


def sample_count(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Effective samples of U: with fewer than needed nothing is wrong, but there is no error."""
    for temperature, stretch in zip(run.temperature.tolist(), run.stretches, strict=True):
        verdict: Verdict = "pass" if stretch.samples >= stretch.needed else "weak"
        advice = _advice(verdict, "")
        yield Check(SAMPLES, temperature, "", stretch.samples, stretch.needed, np.nan, np.nan, verdict, advice)


def starts(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Difference of <U> between two replicas, each with the error of its own chain; the worst pair of each temperature.

    Replica r starts from entry r of `sampler.start`, cyclically; replicas with the same start are numbered.
    """
    start = run.store.config["sampler"].get("start", "replica")
    names = [start] if isinstance(start, str) else start
    of_replica = [names[replica % len(names)] for replica in range(run.replicas)]
    labels = [f"{name} {r + 1}" if of_replica.count(name) > 1 else name for r, name in enumerate(of_replica)]
    for temperature, energy in _in_equilibrium(run, data, "energy"):
        means = [(label, Mean.of(run.chains(chain[np.newaxis]))) for label, chain in zip(labels, energy, strict=True)]
        pairs = {f"{a} vs {b}": (x, y) for (a, x), (b, y) in itertools.combinations(means, 2)}
        differences = {name: (x.minus(y), min(x.samples, y.samples)) for name, (x, y) in pairs.items()}
        yield from _worst_difference("difference of starts", temperature, differences, "run longer")


def drift_of_energy(run: Run, data: xarray.Dataset) -> Iterator[Check]:
    """Last third of the draws minus the first, in <U>; the worst replica of each temperature."""
    for temperature, energy in _in_equilibrium(run, data, "energy"):
        drifts = {f"replica {r + 1}": drift(run.chains(chain[np.newaxis])[0]) for r, chain in enumerate(energy)}
        differences = {name: (mean, mean.samples) for name, mean in drifts.items()}
        yield from _worst_difference("drift of U", temperature, differences, "raise sampler.adapt_until and run.steps")


def _worst_difference(
    name: str, temperature: float, differences: dict[str, tuple[Mean, float]], remedy: str
) -> Iterator[Check]:
    """The worst of some differences of <U> that must be 0, each with the effective samples of its worse side."""
    found = []
    for detail, (mean, samples) in differences.items():
        z = mean.z(0.0, len(differences))
        verdict = _verdict(z, samples >= FEW_SAMPLES)
        what = f"{name}: {mean.value:+.2g} in {detail} at T = {exponent_form(temperature)}: {remedy}"
        found.append(Check(name, temperature, detail, mean.value, 0.0, mean.sem, z, verdict, _advice(verdict, what)))
    yield from sorted(found, key=severity)[-1:]
