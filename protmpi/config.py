"""One configuration object: every key documented, cross-checked in one place, read from TOML.

Physics keys say what is sampled and enter the identity of a run; execution keys (section `[execution]`, file paths,
the number of steps) say where, how long and how fast, and never change a draw.
"""

from __future__ import annotations

import difflib
import itertools
import math
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from protmpi.errors import ConfigError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


def _increasing(temperatures: list[float]) -> list[float]:
    if any(b <= a for a, b in itertools.pairwise(temperatures)):
        raise ValueError("must increase strictly")
    return temperatures


def key(default: Any, meaning: str, unit: str = "") -> Any:
    """A configuration key with its meaning and unit, which `protmpi config --explain` prints."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit})


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())


class DataConfig(Section):
    """What the networks learn: sequences that fold to one structure (METHOD: energy, data)."""

    task: Literal["folding"] = key("folding", "what is sampled")
    file: Path = key(Path("acbp.h5"), "data set (HDF5), written by `protmpi data make`")
    structure: str = key("acbp", "`acbp` (shipped contacts of 1NTI), PDB/mmCIF file, contact list .json or PDB id")
    chain: str | None = key(None, "chain of the structure; the first protein chain if absent")
    model: Count = key(1, "model of the structure file, counted from 1")
    cutoff: Positive = key(4.5, "two residues touch when two of their heavy atoms are closer than this", "Å")
    min_separation: Count = key(2, "smallest |i-j| of a contact", "residues")
    sequences: Count = key(15_000, "sequences drawn: train + val + test")
    train: Count = key(1_000, "sequences to sample and train on")
    val: Count = key(1_000, "sequences for validation; the rest is the test set")
    temperature: Positive = key(0.74, "temperature of the sequences", "std of J")
    moves: Literal["swap", "mutate"] = key("swap", "pair swaps at the native composition, or single-site mutations")
    couplings: Literal["gaussian", "uniform"] = key("gaussian", "law of the 20 x 20 couplings J (variance 1)")
    mask_probability: Fraction = key(0.15, "probability that a site is masked")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of couplings, sequences, masks and split")

    @model_validator(mode="after")
    def _split_fits(self) -> DataConfig:
        if self.train + self.val >= self.sequences:
            raise ValueError(
                f"sequences: {self.sequences} leaves no test set beside train + val = {self.train + self.val}"
            )
        return self


PUBLISHED_NETWORKS: dict[str, dict[str, Any]] = {
    "transformer-1-26": {"kind": "transformer", "blocks": 1, "d": 26},
    "transformer-1-64": {"kind": "transformer", "blocks": 1, "d": 64},
    "transformer-4-14": {"kind": "transformer", "blocks": 4, "d": 14},
    "transformer-4-64": {"kind": "transformer", "blocks": 4, "d": 64},
    "pooling-64-320": {"kind": "pooling", "d": 64, "m": 320},
}


class ModelConfig(Section):
    """The network: a published one by name, or sizes of your own (a size beside the name replaces the named one)."""

    name: str = key("transformer-1-26", "one of `protmpi models`, or any label when kind and sizes are given")
    kind: Literal["transformer", "pooling"] = key("transformer", "attention blocks, or a pooling feed-forward network")
    blocks: Count = key(1, "attention blocks (transformer only)")
    d: Annotated[int, Field(ge=2)] = key(26, "embedding dimension")
    m: Annotated[int | None, Field(ge=1)] = key(None, "hidden units; 4 d (transformer) or 5 d (pooling) if absent")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_name(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = given.get("name", None if "kind" in given or "d" in given else "transformer-1-26")
        if name in PUBLISHED_NETWORKS:
            given = {**PUBLISHED_NETWORKS[name], **given}
        elif name is not None and not {"kind", "d"} <= given.keys():
            raise ValueError(
                f"name: no published network {name!r}; choose one of {', '.join(PUBLISHED_NETWORKS)}, "
                "or give kind, blocks and d"
            )
        kind, d = given.get("kind", "transformer"), given.get("d", 26)
        if isinstance(d, int):
            m = given.get("m") or (4 * d if kind == "transformer" else 5 * d)
            size = f"{given.get('blocks', 1)}-{d}" if kind == "transformer" else f"{d}-{m}"
            if kind == "transformer" and m != 4 * d:
                size += f"-{m}"
            given = {**given, "m": m, "name": f"{kind}-{size}"}
        return given

    @property
    def hidden(self) -> int:
        """Hidden units m, resolved."""
        return self.m if self.m is not None else (4 * self.d if self.kind == "transformer" else 5 * self.d)


class TrainConfig(Section):
    """Starting points and reference weights: Adam (0.9, 0.98), warm-up, inverse square root, dropout."""

    file: Path = key(Path("weights.h5"), "weights, curves and norms (HDF5), written by `protmpi train`")
    inits: Count = key(3, "independent early-stopped runs that fix the norm of the sphere")
    references: Count = key(3, "reference models, stopped at that norm (ES) and over-trained (OT)")
    batch: Count = key(64, "mini-batch", "sequences")
    warmup: Count = key(4_000, "steps over which the learning rate rises", "steps")
    dropout: Annotated[float, Field(ge=0, lt=1)] = key(0.1, "dropout while training")
    patience: Count = key(50, "early stopping: epochs without a better validation loss", "epochs")
    max_epochs: Count = key(10_000, "early stopping gives up here", "epochs")
    over_epochs: Count = key(2_000, "over-training ends here at the latest", "epochs")
    eval_every: Count = key(5, "epochs between two points of a learning curve", "epochs")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of initial weights, mini-batches and dropout")


class SamplerConfig(Section):
    """The sampler: pseudo-Langevin on the sphere |w|² = Q, masses and noise from the mini-batch gradient."""

    kind: Literal["constrained"] = key("constrained", "norm-constrained pseudo-Langevin")
    scheme: Literal["single", "double"] = key(
        "single", "one mini-batch shared by two steps, or two per step (published)"
    )
    fixman: bool = key(True, "add the potential that makes exp(-U/T) exact on the sphere; false as in published runs")
    temperatures: Annotated[list[Positive], Field(min_length=1), AfterValidator(_increasing)] = key(
        [1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 4.5e-4, 6e-4, 8e-4], "temperature of each slot, increasing", "energy"
    )
    walkers_per_temperature: Count = key(1, "independent walkers at each temperature")
    start: Literal["ES", "OT", "random"] = key("ES", "starting weights: early-stopped, over-trained or freshly drawn")
    rho: Annotated[float, Field(gt=0, lt=1)] = key(1e-3, "share of the thermal noise that the mini-batch supplies")
    rho_max: Annotated[float, Field(gt=0, lt=1)] = key(0.3, "where rho would pass this, the mass grows instead")
    m1: Fraction = key(0.1, "friction: momenta keep sqrt(1 - m1²) of themselves at each half kick")
    dt: Positive = key(1.0, "unit of time; masses grow with dt², so it cancels from the step")
    batch: Count = key(64, "mini-batch, drawn with replacement", "sequences")
    min_extractions: Annotated[int, Field(ge=2)] = key(100, "mini-batches added at a time to estimate s²")
    max_extractions: Annotated[int, Field(ge=2)] = key(1_000, "most mini-batches for one estimate of s²")
    threshold_est: Positive = key(0.1, "s² has converged when the next estimate of s is within this share of it")
    log_zerovar: Annotated[float, Field(le=0)] = key(-8.0, "log10 of the floor of s²")
    layer_mean: bool = key(False, "average s² over each parameter array")
    min_adj_step: Count = key(1_000, "fewest steps between two estimates of s²", "steps")
    max_adj_step: Count = key(50_000, "most steps between two estimates of s²", "steps")
    threshold_adj: Positive = key(0.1, "s² is steady when it agrees with the last estimate within this share")
    p_reset: Annotated[float, Field(ge=0, le=1)] = key(0.1, "probability that an adaptation sets the masses anew")
    adapt_until: Annotated[int, Field(ge=0)] = key(
        10_000, "burn-in: masses adapt up to here, only draws after it are measured", "steps"
    )

    @model_validator(mode="after")
    def _noise_fits_the_thermostat(self) -> SamplerConfig:
        limit = rho_limit(self.scheme, self.m1)
        for name in ("rho", "rho_max"):
            if getattr(self, name) > limit:
                other = "" if self.scheme == "double" else '; or take scheme = "double"'
                raise ValueError(
                    f"{name}: {getattr(self, name):g} is too large: the {self.scheme} scheme "
                    f"with m1 = {self.m1:g} allows at most {limit:.4g}{other}"
                )
        if self.rho > self.rho_max:
            raise ValueError(f"rho: {self.rho:g} is above rho_max = {self.rho_max:g}")
        if self.max_extractions < self.min_extractions:
            raise ValueError(
                f"max_extractions: {self.max_extractions} is below min_extractions ({self.min_extractions})"
            )
        if self.max_adj_step < self.min_adj_step:
            raise ValueError(f"max_adj_step: {self.max_adj_step} is below min_adj_step = {self.min_adj_step}")
        return self

    @property
    def n_walkers(self) -> int:
        return len(self.temperatures) * self.walkers_per_temperature


def rho_limit(scheme: str, m1: float) -> float:
    """Largest share of the noise that mini-batches may supply: 1 (double), 1/(1 + 2 c1²) (single; METHOD 2)."""
    return 1.0 if scheme == "double" else 1.0 / (1.0 + 2.0 * (1.0 - m1 * m1))


class RunConfig(Section):
    """How long, and what is kept."""

    steps: Count = key(100_000, "steps of every walker, burn-in included; raise it later to extend the run", "steps")
    record_every: Count = key(200, "steps between two draws (energies, errors, norms)", "steps")
    snapshot_every: Count = key(2_000, "steps between two snapshots (parameters, attention maps, test error)", "steps")
    draws_per_chunk: Count = key(10, "draws written and committed together", "draws")
    walkers_per_block: Count = key(1, "walkers advanced together in one batch; at most one rank per block")
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
    progress: bool = key(True, "progress bar on rank 0")


class Config(Section):
    """The whole configuration."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    sampler: SamplerConfig = SamplerConfig()
    run: RunConfig = RunConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _burn_in_ends(self) -> Config:
        if self.sampler.adapt_until >= self.run.steps:
            raise ValueError(
                f"sampler.adapt_until: {self.sampler.adapt_until} leaves no measured draw "
                f"in run.steps = {self.run.steps}"
            )
        return self

    def physics(self) -> dict[str, Any]:
        """The keys that decide every draw, flat: `section.key` -> value. Data and starting weights enter by hash."""
        resolved = self.model_dump(mode="json")
        kept = {
            f"{section}.{name}": value
            for section in ("model", "sampler", "run")
            for name, value in resolved[section].items()
        }
        del kept["run.steps"]
        return kept


def load(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file and apply `section.key=value` overrides.

    Raises ConfigError: one line with the file, the key, what is wrong and what is allowed.
    """
    try:
        raw = tomllib.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from None
    for override in overrides or []:
        _apply(raw, override)
    return parse(raw, str(path))


def parse(raw: dict[str, Any], origin: str) -> Config:
    """Build the configuration from nested dicts; `origin` names their source in error messages."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_one_line(error)}") from None


def _apply(raw: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    parts = name.strip().split(".")
    if not equals or len(parts) != 2 or not all(parts):
        raise ConfigError(f"--set {override}: write section.key=value, for example --set run.steps=50000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    section = raw.setdefault(parts[0], {})
    if not isinstance(section, dict):
        raise ConfigError(f"--set {override}: {parts[0]} is not a section")
    section[parts[1]] = value


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    branches = ("function-", "constrained-", "literal")  # pydantic's names for the arms of a union, no key of ours
    location = [str(part) for part in first["loc"] if not str(part).startswith(branches)]
    name = ".".join(location)
    if first["type"] == "extra_forbidden":
        valid = sorted(_section(location[:-1]).model_fields)
        close = difflib.get_close_matches(location[-1], valid, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{name}: unknown key{hint}; valid: {', '.join(valid)}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"] != "value_error":
        message += f", not {first['input']!r}"
        return f"{name}: {message}"
    # a cross-check names its own key, relative to its section
    return f"{name}.{message}" if name and ":" in message.split(" ")[0] else f"{name}: {message}" if name else message


def _section(location: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for part in location:
        section = typing.cast(type[BaseModel], section.model_fields[part].annotation)
    return section


def explain() -> Iterator[tuple[str, str, str, str, str]]:
    """Rows (key, type, default, unit, meaning) of every key."""
    for section_name, section_field in Config.model_fields.items():
        section = typing.cast(type[BaseModel], section_field.annotation)
        for name, field in section.model_fields.items():
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            yield (
                f"{section_name}.{name}",
                _type_name(field.annotation),
                _literal(field.default),
                str(extra.get("unit", "")),
                field.description or "",
            )


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(f'"{choice}"' for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type_name(part) for part in arguments if part is not type(None))
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    return {"Path": "path", "str": "string", "bool": "true | false"}.get(annotation.__name__, annotation.__name__)


def _literal(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, (str, Path)) else str(value)
