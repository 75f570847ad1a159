"""The sections [sampler] and [tempering] of a configuration file: their keys, defaults and cross-checks."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from protmpi.paths import expanded
from protmpi.sampling.kinds import LANGEVIN, SAMPLERS, SPHERE, TRAJECTORIES
from protmpi.sections import Count, NotNegative, Positive, Section, Share, key

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[("auto", *SAMPLERS)]
FULL_BATCH = 50_000  # most training samples for which "auto" takes full gradients


def _increasing(temperatures: list[float]) -> list[float]:
    if any(b <= a for a, b in itertools.pairwise(temperatures)):
        raise ValueError("must increase strictly")
    return temperatures


def _decreasing(temperatures: list[float]) -> list[float]:
    if any(b >= a for a, b in itertools.pairwise(temperatures)):
        raise ValueError("must decrease strictly")
    return temperatures


def _starts(given: list[str]) -> list[str]:
    given = [start if start in ("ES", "OT", "random") else expanded(start) for start in given]
    for start in given:
        if start not in ("ES", "OT", "random") and not start.endswith(".zarr"):
            raise ValueError(f'{start!r} is not a start; choose "ES", "OT", "random" or a store (NAME.zarr)')
    return given


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class SamplerConfig(Section):
    """The sampler: trajectories of the full gradient, or pseudo-Langevin on mini-batches."""

    kind: Kind = key(
        "auto", "full-batch trajectories with a Metropolis test or mini-batch pseudo-Langevin, on the sphere |w|² = Q "
        "(constrained) or not; auto: on the sphere, trajectories of up to 50 000 training samples, else pseudo-Langevin"
    )  # fmt: skip
    scheme: Literal["single", "double"] = key(
        "single", "one mini-batch for two half kicks (single), or two per step (double, published)", of=LANGEVIN
    )
    fixman: bool = key(
        True, "add the potential that makes exp(-U/T) exact on the sphere; published runs have false", of=SPHERE
    )
    temperatures: Annotated[list[Positive], Field(min_length=1), AfterValidator(_increasing)] = key(
        [1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 4.5e-4, 6e-4, 8e-4], "temperature of each slot, increasing", "energy"
    )
    walkers_per_temperature: Count = key(1, "independent walkers at each temperature")
    start: Annotated[list[str], BeforeValidator(_listed), AfterValidator(_starts), Field(min_length=1)] = key(
        ["ES"], "early-stopped (ES), over-trained (OT) or fresh (random) weights, or the last snapshots of another "
        "store (STORE.zarr) at the nearest temperature; of several, replica r takes the r-th in turn"
    )  # fmt: skip
    norm2: Positive | Literal["shared", "own"] = key(
        "shared", "squared norm Q of the sphere: for all that of the first ES weights (else of the first walker), each "
        "walker's own, or a number; starts are scaled to it", of=SPHERE)  # fmt: skip
    anneal: Annotated[list[Positive], AfterValidator(_decreasing)] = key(
        [], "falling temperatures that fresh weights pass before their own", "energy", of=TRAJECTORIES
    )
    anneal_steps: Count = key(
        1_000, "steps at each temperature of anneal, within the burn-in", "steps", of=TRAJECTORIES
    )
    lamda: NotNegative = key(0.0, "regulariser lamda/2 |w|² in the energy (kinds without constraint)")
    gamma: NotNegative = key(0.0, "tether gamma/2 |w - w0|² to the start w0 in the energy (kinds without constraint)")
    trajectory: Count = key(
        100, "steps of a trajectory, each a gradient of all training samples", "steps", of=TRAJECTORIES
    )
    momentum_kept: Annotated[float, Field(gt=0, le=1)] = key(
        1.0,
        "fraction of the momentum kept between the steps of a trajectory: 1 is hybrid Monte Carlo, less is Langevin",
        of=TRAJECTORIES,
    )
    acceptance: Share = key(0.7, "acceptance to which the burn-in tunes the time step of trajectories", of=TRAJECTORIES)
    rho: Share | list[Share] | Literal["auto"] = key(
        1e-3,
        "fraction of the thermal noise from mini-batches; it sets the step size; one for all, or per temperature",
        of=LANGEVIN,
    )
    rho_first: Share | None = key(
        None,
        "rho in the first half of the burn-in; a large one relaxes slow modes sooner but heats stiff ones",
        of=LANGEVIN,
    )
    rho_max: Share = key(0.3, "largest rho of a parameter; beyond it the mass grows", of=LANGEVIN)
    rho_tolerance: Share = key(0.01, 'largest error of the kinetic temperature that rho = "auto" accepts', of=LANGEVIN)
    collective_tolerance: Positive = key(
        0.1, 'largest excess temperature, over T, where mini-batch noise is strongest, for rho = "auto"', of=LANGEVIN
    )
    m1: Share = key(0.1, "friction: momenta keep sqrt(1 - m1²) of themselves at each half kick", of=LANGEVIN)
    dt: Positive = key(1.0, "unit of time; masses grow with dt², so it cancels from the step", of=LANGEVIN)
    batch: Count = key(64, "mini-batch, drawn with replacement", "samples")
    min_extractions: Annotated[int, Field(ge=2)] = key(100, "mini-batches added at a time to estimate s²")
    max_extractions: Annotated[int, Field(ge=2)] = key(1_000, "most mini-batches for one estimate of s²", of=LANGEVIN)
    threshold_est: Positive = key(
        0.1, "an estimate of s² has converged when s changes by less than this fraction", of=LANGEVIN
    )
    log_zerovar: Annotated[float, Field(le=0)] = key(-8.0, "log10 of the floor of s²")
    mass_floor: Annotated[float, Field(ge=0)] = key(
        0.1, "least s² in a mass, as a fraction of its mean over the parameter array"
    )
    layer_mean: bool = key(False, "masses use the mean of s² over each parameter array")
    min_adj_step: Count = key(1_000, "fewest steps between two estimates of s²", "steps")
    max_adj_step: Count = key(50_000, "most steps between two estimates of s²", "steps", of=LANGEVIN)
    threshold_adj: Positive = key(
        0.1, "s² is steady if it agrees with the last estimate within this fraction", of=LANGEVIN
    )
    p_reset: Annotated[float, Field(ge=0, le=1)] = key(
        0.1, "probability that an adaptation computes all masses again", of=LANGEVIN
    )
    adapt_until: Annotated[int, Field(ge=0)] = key(
        10_000, "last step of the burn-in, in which masses and step size adapt; only later draws are measured", "steps"
    )

    @model_validator(mode="after")
    def _noise_fits_the_thermostat(self) -> SamplerConfig:
        limit = rho_limit(self.scheme, self.m1)
        if isinstance(self.rho, list) and len(self.rho) != len(self.temperatures):
            raise ValueError(f"rho: {len(self.rho)} values for {len(self.temperatures)} temperatures")
        shares = [self.rho_at(t) for t in self.temperatures] if self.rho != "auto" else []
        by_hand = [("rho", share) for share in shares] + ([("rho_first", self.rho_first)] if self.rho_first else [])
        for name, share in (*by_hand, ("rho_max", self.rho_max)):
            if share > limit:
                other = "" if self.scheme == "double" else '; or take scheme = "double"'
                raise ValueError(
                    f"{name}: {share:g} is too large: the {self.scheme} scheme "
                    f"with m1 = {self.m1:g} allows at most {limit:.4g}{other}"
                )
        for name, share in by_hand:
            if share > self.rho_max:
                raise ValueError(f"{name}: {share:g} is above rho_max = {self.rho_max:g}")
        for name in ("lamda", "gamma"):
            if getattr(self, name) and self.constrained:
                raise ValueError(
                    f'{name}: the norm is held by kind = "{self.kind}"; take a kind without constraint, or {name} = 0'
                )
        shortest = round(200 / self.m1**2)  # memory times of the momenta: a few windows of each stage of the search
        if self.rho == "auto" and not self.full_batch and self.adapt_until < shortest:
            raise ValueError(f'adapt_until: {self.adapt_until} is too short to find rho = "auto"; at least {shortest}')
        if self.rho_first and (self.rho == "auto" or self.full_batch):
            raise ValueError('rho_first: is for pseudo-Langevin with a rho set by hand; "auto" chooses its own')
        if not self.full_batch and self.max_extractions < self.min_extractions:
            raise ValueError(
                f"max_extractions: {self.max_extractions} is below min_extractions ({self.min_extractions})"
            )
        if not self.full_batch and self.max_adj_step < self.min_adj_step:
            raise ValueError(f"max_adj_step: {self.max_adj_step} is below min_adj_step = {self.min_adj_step}")
        return self

    def rho_at(self, temperature: float) -> float:
        """The rho that was set by hand for a walker at `temperature`, one of `temperatures`."""
        assert self.rho != "auto"
        if not isinstance(self.rho, list):
            return self.rho
        nearest = min(range(len(self.rho)), key=lambda slot: abs(self.temperatures[slot] - temperature))
        return self.rho[nearest]

    @model_validator(mode="after")
    def _annealing_fits_the_burn_in(self) -> SamplerConfig:
        if len(self.anneal) * self.anneal_steps > self.adapt_until // 2:
            raise ValueError(f"anneal: {len(self.anneal)} temperatures x anneal_steps = {self.anneal_steps} must end "
                             f"by half of adapt_until = {self.adapt_until}")  # fmt: skip
        if self.anneal and self.anneal_steps % self.trajectory:
            raise ValueError(f"anneal_steps: {self.anneal_steps} is not a multiple of trajectory = {self.trajectory}")
        return self

    @property
    def constrained(self) -> bool:
        """Whether walkers are held on the sphere |w|² = Q."""
        return self.kind in SPHERE

    @property
    def full_batch(self) -> bool:
        """Whether steps use full-batch gradients."""
        return self.kind != "auto" and self.kind in TRAJECTORIES

    def resolved(self, train_size: int) -> SamplerConfig:
        """The section with kind = "auto" resolved: trajectories for up to FULL_BATCH training samples.

        Full batches have no noise and a Metropolis test. Mini-batches save at most a factor train_size / batch. For
        small training sets, their noise in stiff directions costs more than that (docs/method/energy.md section 5).
        """
        if self.kind != "auto":
            return self
        kind = "constrained-trajectories" if train_size <= FULL_BATCH else "constrained"
        return self.model_copy(update={"kind": kind})


def rho_limit(scheme: str, m1: float) -> float:
    """Largest fraction of the noise that mini-batches may supply: 1 (double scheme), 1/(1 + 2 c1²) (single scheme).

    Source: docs/method/pseudo-langevin.md section 3.
    """
    return 1.0 if scheme == "double" else 1.0 / (1.0 + 2.0 * (1.0 - m1 * m1))


class TemperingConfig(Section):
    """Walkers that move in temperature.

    Replica exchange has walkers_per_temperature ladders of one walker per temperature, which swap temperatures.
    Simulated tempering has `walkers` walkers, each of which jumps over all temperatures with learned weights.
    """

    kind: Literal["none", "exchange", "simulated"] = key(
        "none", "independent walkers, replica exchange, or simulated tempering"
    )
    t_min: Positive | None = key(
        None, "lowest temperature of a geometric ladder, instead of sampler.temperatures", "energy"
    )
    t_max: Positive | None = key(None, "highest temperature", "energy")
    slots: Annotated[int, Field(ge=2)] | Literal["auto"] | None = key(
        None, 'number of temperatures; "auto": a short pilot finds it'
    )
    walkers: Count = key(1, "walkers of simulated tempering")
    exchange_every: Count = key(500, "steps between two sweeps of moves; a multiple of run.record_every", "steps")
    scheme: Literal["even-odd", "random"] = key("even-odd", "even and odd pairs in turn (faster), or at random")
    burn_in: Count = key(
        20_000, "last step at which the ladder or its weights are learned; only later draws are measured", "steps"
    )

    @model_validator(mode="after")
    def _whole_ladder(self) -> TemperingConfig:
        ends = (self.t_min, self.t_max, self.slots)
        if any(end is not None for end in ends) and any(end is None for end in ends):
            raise ValueError("slots: t_min, t_max and slots go together")
        if self.t_min is not None and self.t_max is not None and self.t_min >= self.t_max:
            raise ValueError(f"t_max: {self.t_max:g} is not above t_min = {self.t_min:g}")
        return self
