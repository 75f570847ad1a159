"""The sections of a configuration file, one class each, with their keys, defaults and cross-checks.

[data] has one for every task, in `protmpi.data.sections`.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Start = Literal["ES", "OT", "random"]


def _increasing(temperatures: list[float]) -> list[float]:
    if any(b <= a for a, b in itertools.pairwise(temperatures)):
        raise ValueError("must increase strictly")
    return temperatures


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def key(default: Any, meaning: str, unit: str = "") -> Any:
    """A configuration key with its meaning and unit, which `protmpi config --explain` prints."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit})


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())

    later: ClassVar[frozenset[str]] = frozenset()
    """Keys younger than files which are still read: at their default, what was done before, they are in no identity."""

    def identity(self) -> dict[str, Any]:
        """Every key with its value, as JSON has it, for comparison with what a file belongs to."""
        resolved = self.model_dump(mode="json")
        fields = type(self).model_fields
        return {k: v for k, v in resolved.items() if k not in self.later or getattr(self, k) != fields[k].default}


PUBLISHED_NETWORKS: dict[str, dict[str, Any]] = {
    "transformer-1-26": {"kind": "transformer", "blocks": 1, "d": 26},
    "transformer-1-64": {"kind": "transformer", "blocks": 1, "d": 64},
    "transformer-4-14": {"kind": "transformer", "blocks": 4, "d": 14},
    "transformer-4-64": {"kind": "transformer", "blocks": 4, "d": 64},
    "pooling-64-320": {"kind": "pooling", "d": 64, "m": 320},
}


class ModelConfig(Section):
    """The network: a published one by name, or sizes of your own (a size beside the name replaces the named one)."""

    later: ClassVar[frozenset[str]] = frozenset({"heads", "head", "activation"})

    name: str = key("transformer-1-26", "one of `protmpi models`, or any label when kind and sizes are given")
    kind: Literal["transformer", "pooling", "feedforward", "encoder"] = key(
        "transformer", "attention blocks, a pooling feed-forward network, a plain ReLU network (kspin), or a pre-norm "
        "multi-head encoder"
    )  # fmt: skip
    blocks: Count = key(1, "attention blocks (transformer, encoder)")
    heads: Count = key(8, "heads that share out the embedding dimension (encoder only)")
    head: Count | None = key(None, "size of the head that measures distance (points only); d/8 if absent")
    d: Annotated[int, Field(ge=1)] = key(26, "embedding dimension")
    m: Annotated[int | None, Field(ge=1)] = key(None, "hidden units; 4 d, but 5 d for pooling, if absent")
    activation: Literal["relu", "gelu"] = key(
        "relu", "of the hidden units of an encoder; for the task structures gelu, as published, if absent"
    )
    layers: Annotated[list[Count], Field(min_length=1)] = key(
        [50, 100], "hidden units of each layer (feedforward only)"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_name(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = given.get("name", None if "kind" in given or "d" in given else "transformer-1-26")
        if name in PUBLISHED_NETWORKS:
            given = {**PUBLISHED_NETWORKS[name], **given}
        elif name is not None and not {"kind", "d"} <= given.keys() and given.get("kind") != "feedforward":
            raise ValueError(
                f"name: no published network {name!r}; choose one of {', '.join(PUBLISHED_NETWORKS)}, "
                "or give kind, blocks and d"
            )
        kind, d = given.get("kind", "transformer"), given.get("d", 26)
        if kind == "feedforward":
            layers = given.get("layers", [50, 100])
            return {**given, "name": "-".join(map(str, [kind, *layers]))} if isinstance(layers, list) else given
        if isinstance(d, int):
            m = given.get("m") or (5 * d if kind == "pooling" else 4 * d)
            size = f"{d}-{m}" if kind == "pooling" else f"{given.get('blocks', 1)}-{d}"
            if kind == "encoder":
                size += f"-{given.get('heads', 8)}"
            if kind != "pooling" and m != 4 * d:
                size += f"-{m}"
            given = {**given, "m": m, "name": f"{kind}-{size}"}
        return given

    @model_validator(mode="after")
    def _fits_an_encoder(self) -> ModelConfig:
        if self.kind == "encoder" and self.d % self.heads:
            raise ValueError(f"heads: {self.heads} heads cannot share out d = {self.d}, it must be a multiple")
        if self.activation != "relu" and self.kind != "encoder":
            raise ValueError(f'activation: "{self.activation}" is for kind = "encoder"; kind = "{self.kind}" has relu')
        return self

    @property
    def hidden(self) -> int:
        """Hidden units m, resolved."""
        return self.m if self.m is not None else (5 * self.d if self.kind == "pooling" else 4 * self.d)

    @property
    def head_size(self) -> int:
        """Columns of the head that measures distance, resolved."""
        return self.head or max(1, self.d // 8)

    @property
    def width(self) -> int:
        """The dimension that the learning rate of a training is scaled by."""
        return self.layers[0] if self.kind == "feedforward" else self.d


class TrainConfig(Section):
    """Starting points and reference weights: Adam (0.9, 0.98), warm-up, inverse square root, dropout."""

    later: ClassVar[frozenset[str]] = frozenset({"rate", "shards"})

    file: Path = key(Path("weights.h5"), "weights, curves and norms (HDF5), written by `protmpi train`")
    inits: Count = key(3, "independent early-stopped runs that fix the norm of the sphere")
    references: Annotated[int, Field(ge=0)] = key(
        3,
        "reference models, stopped at that norm (ES) and over-trained (OT); 0: the early-stopped runs serve as ES",
    )
    batch: Count = key(64, "mini-batch", "sequences")
    shards: Count = key(
        1, "parts that each mini-batch is cut into; with more than one, ranks share mini-batches, not whole runs"
    )
    warmup: Count = key(4_000, "steps over which the learning rate rises", "steps")
    rate: Positive = key(1.0, "factor of the learning rate d^-1/2 min(t^-1/2, t warmup^-3/2)")
    dropout: Annotated[float, Field(ge=0, lt=1)] = key(0.1, "dropout while training")
    lamda: NotNegative = key(0.0, "regulariser lamda/2 |w|² in the loss; as in the sampler to train on what it samples")
    patience: Count = key(50, "early stopping: epochs without a better validation loss", "epochs")
    max_epochs: Count = key(10_000, "early stopping gives up here", "epochs")
    over_epochs: Count = key(2_000, "over-training ends here at the latest", "epochs")
    settle_epochs: Annotated[int, Field(ge=0)] = key(
        0, "after over-training, epochs in which the learning rate falls to zero: OT then lies at a minimum", "epochs"
    )
    eval_every: Count = key(5, "epochs between two points of a learning curve", "epochs")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of initial weights, mini-batches and dropout")

    @model_validator(mode="after")
    def _curve_has_a_point(self) -> TrainConfig:
        if self.max_epochs < self.eval_every:
            raise ValueError(f"max_epochs: {self.max_epochs} is below eval_every = {self.eval_every}")
        return self


class SamplerConfig(Section):
    """The sampler: pseudo-Langevin, masses and noise from the mini-batch gradient, or hybrid Monte Carlo."""

    kind: Literal["constrained", "unconstrained", "constrained-hmc", "hmc"] = key(
        "constrained", "pseudo-Langevin or full-batch hybrid Monte Carlo, on the sphere |w|² = Q (constrained) or not"
    )
    scheme: Literal["single", "double"] = key(
        "single", "one mini-batch shared by two steps, or two per step (published)"
    )
    fixman: bool = key(True, "add the potential that makes exp(-U/T) exact on the sphere; false as in published runs")
    temperatures: Annotated[list[Positive], Field(min_length=1), AfterValidator(_increasing)] = key(
        [1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 4.5e-4, 6e-4, 8e-4], "temperature of each slot, increasing", "energy"
    )
    walkers_per_temperature: Count = key(1, "independent walkers at each temperature")
    start: Annotated[list[Start], BeforeValidator(_listed), Field(min_length=1)] = key(
        ["ES"], "early-stopped, over-trained or fresh random weights; of several, replica r takes the r-th in turn"
    )
    lamda: NotNegative = key(0.0, "regulariser lamda/2 |w|² in the energy (kinds without constraint)")
    gamma: NotNegative = key(0.0, "tether gamma/2 |w - w0|² to the start w0 in the energy (kinds without constraint)")
    rho: Share | list[Share] | Literal["auto"] = key(
        1e-3, "share of the thermal noise that mini-batches supply: sets the step size; one for all, or per temperature"
    )
    rho_first: Share | None = key(
        None, "rho in the first half of the burn-in: large, takes slow modes to equilibrium soon, heats stiff ones"
    )
    rho_max: Share = key(0.3, "where rho would pass this, the mass grows instead")
    rho_tolerance: Share = key(0.01, 'largest error of the kinetic temperature that rho = "auto" accepts')
    collective_tolerance: Positive = key(
        0.1, 'largest excess temperature, over T, where mini-batch noise is strongest, for rho = "auto"'
    )
    m1: Share = key(0.1, "friction: momenta keep sqrt(1 - m1²) of themselves at each half kick")
    dt: Positive = key(1.0, "unit of time; masses grow with dt², so it cancels from the step")
    batch: Count = key(64, "mini-batch, drawn with replacement", "samples")
    min_extractions: Annotated[int, Field(ge=2)] = key(100, "mini-batches added at a time to estimate s²")
    max_extractions: Annotated[int, Field(ge=2)] = key(1_000, "most mini-batches for one estimate of s²")
    threshold_est: Positive = key(0.1, "s² has converged when the next estimate of s is within this share of it")
    log_zerovar: Annotated[float, Field(le=0)] = key(-8.0, "log10 of the floor of s²")
    mass_floor: Annotated[float, Field(ge=0)] = key(
        0.1, "masses take s² at least as large as this share of its mean over the parameter array"
    )
    layer_mean: bool = key(False, "masses take the mean of s² over each parameter array")
    min_adj_step: Count = key(1_000, "fewest steps between two estimates of s²", "steps")
    max_adj_step: Count = key(50_000, "most steps between two estimates of s²", "steps")
    threshold_adj: Positive = key(0.1, "s² is steady when it agrees with the last estimate within this share")
    p_reset: Annotated[float, Field(ge=0, le=1)] = key(0.1, "probability that an adaptation sets the masses anew")
    adapt_until: Annotated[int, Field(ge=0)] = key(
        10_000, "burn-in: masses and step size adapt up to here, only draws after it are measured", "steps"
    )
    leapfrog_steps: Count = key(25, "leapfrog steps of one hybrid Monte Carlo step")
    acceptance: Share = key(0.8, "hybrid Monte Carlo tunes its time step for this acceptance during burn-in")

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
                    f'{name}: the norm is held by kind = "{self.kind}"; take "unconstrained" or "hmc", or {name} = 0'
                )
        shortest = round(200 / self.m1**2)  # memory times of the momenta: a few windows of each stage of the search
        if self.rho == "auto" and self.adapt_until < shortest:
            raise ValueError(f'adapt_until: {self.adapt_until} is too short to find rho = "auto"; at least {shortest}')
        if self.rho == "auto" and self.hybrid:
            raise ValueError(f'rho: "auto" is for pseudo-Langevin; kind = "{self.kind}" tunes its own time step')
        if self.rho_first and (self.rho == "auto" or self.hybrid):
            raise ValueError('rho_first: is for pseudo-Langevin with a rho set by hand; "auto" begins on its own')
        if self.max_extractions < self.min_extractions:
            raise ValueError(
                f"max_extractions: {self.max_extractions} is below min_extractions ({self.min_extractions})"
            )
        if self.max_adj_step < self.min_adj_step:
            raise ValueError(f"max_adj_step: {self.max_adj_step} is below min_adj_step = {self.min_adj_step}")
        return self

    def rho_at(self, temperature: float) -> float:
        """The share that was set by hand for a walker at `temperature`, one of `temperatures`."""
        assert self.rho != "auto"
        if not isinstance(self.rho, list):
            return self.rho
        nearest = min(range(len(self.rho)), key=lambda slot: abs(self.temperatures[slot] - temperature))
        return self.rho[nearest]

    @property
    def constrained(self) -> bool:
        """Whether walkers are held on the sphere |w|² = Q."""
        return self.kind in ("constrained", "constrained-hmc")

    @property
    def hybrid(self) -> bool:
        """Whether a step is a trajectory of hybrid Monte Carlo."""
        return self.kind in ("constrained-hmc", "hmc")


def rho_limit(scheme: str, m1: float) -> float:
    """Largest share of the noise that mini-batches may supply: 1 (double), 1/(1 + 2 c1²) (single; METHOD 2)."""
    return 1.0 if scheme == "double" else 1.0 / (1.0 + 2.0 * (1.0 - m1 * m1))


class TemperingConfig(Section):
    """Walkers that move in temperature.

    Replica exchange: walkers_per_temperature ladders of one walker per temperature, which swap temperatures. Simulated
    tempering: `walkers` walkers, each of which jumps over all temperatures by learned weights.
    """

    kind: Literal["none", "exchange", "simulated"] = key(
        "none", "independent walkers, replica exchange, or simulated tempering"
    )
    t_min: Positive | None = key(
        None, "lowest temperature of a geometric ladder, instead of sampler.temperatures", "energy"
    )
    t_max: Positive | None = key(None, "highest temperature", "energy")
    slots: Annotated[int, Field(ge=2)] | Literal["auto"] | None = key(
        None, 'number of temperatures; "auto": as many as a short pilot finds enough'
    )
    walkers: Count = key(1, "walkers of simulated tempering")
    exchange_every: Count = key(500, "steps between two sweeps of moves; a multiple of run.record_every", "steps")
    scheme: Literal["even-odd", "random"] = key("even-odd", "even and odd pairs in turn (faster), or by a coin")
    burn_in: Count = key(
        20_000, "the ladder (or the weights) are learned up to here and then frozen; later draws are measured", "steps"
    )

    @model_validator(mode="after")
    def _whole_ladder(self) -> TemperingConfig:
        ends = (self.t_min, self.t_max, self.slots)
        if any(end is not None for end in ends) and any(end is None for end in ends):
            raise ValueError("slots: t_min, t_max and slots go together")
        if self.t_min is not None and self.t_max is not None and self.t_min >= self.t_max:
            raise ValueError(f"t_max: {self.t_max:g} is not above t_min = {self.t_min:g}")
        return self


class RunConfig(Section):
    """How long, and what is kept."""

    steps: Count = key(100_000, "steps of every walker, burn-in included; raise it later to extend the run", "steps")
    record_every: Count = key(500, "steps between two draws (energies, errors, norms)", "steps")
    snapshot_every: Count = key(10_000, "steps between two snapshots (parameters, attention maps, test error)", "steps")
    draws_per_chunk: Count = key(10, "draws written and committed together", "draws")
    walkers_per_block: Count | Literal["auto"] = key(
        "auto", "walkers advanced together, at most one rank per block; auto: 1 on a CPU, on a GPU measured"
    )
    max_lost: Annotated[float, Field(ge=0, lt=1)] = key(
        0.5, "share of the walkers that may be lost before the run ends"
    )
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of every random stream of the run")

    @model_validator(mode="after")
    def _whole_intervals(self) -> RunConfig:
        if self.snapshot_every % self.record_every:
            raise ValueError(
                f"snapshot_every: {self.snapshot_every} is no multiple of record_every = {self.record_every}"
            )
        if self.steps < self.record_every:
            raise ValueError(f"steps: {self.steps} is below record_every = {self.record_every}: no draw")
        return self


class ExecutionConfig(Section):
    """Where and how fast. Nothing here changes a draw on the CPU, `threads_per_rank` beyond 1 excepted."""

    store: Path = key(Path("runs/store.zarr"), "Zarr store of the run")
    device: Literal["auto", "cpu", "cuda"] = key("auto", "one GPU per rank when there is one, else the CPU")
    threads_per_rank: Count | Literal["divide"] = key(
        1, 'CPU threads of a rank; "divide" shares out the cores of a machine (last bits may then differ)'
    )
    tf32: bool = key(False, "on a GPU, sampling with matrix products in TF32: faster, 10 bits of mantissa")
    wall_time: Positive | None = key(
        None, "stop in time to be done after this long; SLURM_JOB_END_TIME, where it is set, is heeded as well", "s"
    )
    progress: bool = key(True, "progress bar on rank 0")
