"""The sections of a configuration file, one class each, with their keys, defaults and cross-checks.

The section [data] has one class for each task, in `protmpi.data.sections`.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from protmpi.paths import expanded

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
FilePath = Annotated[Path, AfterValidator(lambda path: Path(expanded(str(path))))]


def key(default: Any, meaning: str, unit: str = "", of: tuple[str, ...] = ()) -> Any:
    """A configuration key with its meaning and unit, which `protmpi config --explain` prints.

    `of` lists the kinds that have this key. Without it, all kinds have the key.
    """
    return Field(default, description=meaning, json_schema_extra={"unit": unit, "of": list(of)})


def kinds_of(field: FieldInfo) -> list[str]:
    """The kinds that have a key. An empty list means all kinds."""
    extra = field.json_schema_extra
    return typing.cast(list[str], extra.get("of", [])) if isinstance(extra, dict) else []


WRITTEN_IN_FULL = "written in full"
"""Validation context that accepts keys of other kinds."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())

    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that older files lack. Their default is what those files did; at its default a key enters no identity."""

    @model_validator(mode="after")
    def _keys_are_of_the_kind(self, info: ValidationInfo) -> Self:
        """Refuse keys of other kinds, except in a configuration that a run wrote in full."""
        foreign = sorted(name for name in self.model_fields_set if not self.has(name, self._kind))
        if foreign and info.context != WRITTEN_IN_FULL:
            valid = ", ".join(sorted(self.belonging()))
            raise ValueError(f'{foreign[0]}: is not a key of kind = "{self._kind}", which has {valid}')
        return self

    @property
    def _kind(self) -> str:
        return str(getattr(self, "kind", ""))

    @classmethod
    def has(cls, name: str, kind: str) -> bool:
        """Whether a section of this kind has the key `name`."""
        return kind in (kinds_of(cls.model_fields[name]) or [kind])

    def belonging(self) -> dict[str, Any]:
        """The keys of this kind and their values, in the form of JSON."""
        return {name: value for name, value in self.model_dump(mode="json").items() if self.has(name, self._kind)}

    def identity(self) -> dict[str, Any]:
        """Every key and its value, in the form of JSON. A file that was made from the section stores them."""
        resolved = self.model_dump(mode="json")
        fields = type(self).model_fields
        return {k: v for k, v in resolved.items() if k not in self.later or getattr(self, k) != fields[k].default}


TOKENS = ("transformer", "pooling", "encoder")  # kinds with an embedding
PUBLISHED_NETWORKS: dict[str, dict[str, Any]] = {
    "transformer-1-26": {"kind": "transformer", "blocks": 1, "d": 26},
    "transformer-1-64": {"kind": "transformer", "blocks": 1, "d": 64},
    "transformer-4-14": {"kind": "transformer", "blocks": 4, "d": 14},
    "transformer-4-64": {"kind": "transformer", "blocks": 4, "d": 64},
    "pooling-64-320": {"kind": "pooling", "d": 64, "m": 320},
}


class ModelConfig(Section):
    """The network: a published one by name, or sizes of your own. A size beside a name replaces the published size."""

    later: ClassVar[frozenset[str]] = frozenset({"heads", "head", "activation"})

    name: str = key("transformer-1-26", "one of `protmpi models`, or any label when kind and sizes are given")
    kind: Literal["transformer", "pooling", "feedforward", "encoder"] = key(
        "transformer", "attention blocks, a pooling feed-forward network, a plain ReLU network (kspin), or a pre-norm "
        "multi-head encoder"
    )  # fmt: skip
    blocks: Count = key(1, "attention blocks", of=("transformer", "encoder"))
    heads: Count = key(8, "number of attention heads; each has d / heads dimensions", of=("encoder",))
    head: Count | None = key(
        None, "size of the head that measures distance (points only); d/8 if absent", of=("encoder",)
    )
    d: Annotated[int, Field(ge=1)] = key(26, "embedding dimension", of=TOKENS)
    m: Annotated[int | None, Field(ge=1)] = key(None, "hidden units; 4 d, but 5 d for pooling, if absent", of=TOKENS)
    activation: Literal["relu", "gelu"] = key(
        "relu", "activation; if absent gelu for structures, as published, else relu", of=("encoder",)
    )
    layers: Annotated[list[Count], Field(min_length=1)] = key(
        [50, 100], "hidden units of each layer", of=("feedforward",)
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
            raise ValueError(f"heads: {self.heads} must divide d = {self.d}")
        return self

    @property
    def hidden(self) -> int:
        """Number of hidden units m, with the default filled in."""
        return self.m if self.m is not None else (5 * self.d if self.kind == "pooling" else 4 * self.d)

    @property
    def head_size(self) -> int:
        """Columns of the head that measures distance, with the default filled in."""
        return self.head or max(1, self.d // 8)

    @property
    def width(self) -> int:
        """The dimension d in the learning rate."""
        return self.layers[0] if self.kind == "feedforward" else self.d


class TrainConfig(Section):
    """Starting points and reference weights: Adam (0.9, 0.98), warm-up, inverse square root, dropout."""

    later: ClassVar[frozenset[str]] = frozenset({"rate", "shards"})

    file: FilePath = key(Path("weights.h5"), "weights, curves and norms (HDF5), written by `protmpi train`")
    inits: Count = key(3, "independent early-stopped runs that fix the norm of the sphere")
    references: Annotated[int, Field(ge=0)] = key(
        3,
        "reference models, stopped at that norm (ES) and over-trained (OT); 0: the early-stopped runs serve as ES",
    )
    batch: Count = key(64, "mini-batch", "sequences")
    shards: Count = key(
        1, "number of parts of each mini-batch; with more than one, the ranks divide mini-batches instead of runs"
    )
    warmup: Count = key(4_000, "steps over which the learning rate rises", "steps")
    rate: Positive = key(1.0, "factor of the learning rate d^-1/2 min(t^-1/2, t warmup^-3/2)")
    dropout: Annotated[float, Field(ge=0, lt=1)] = key(0.1, "dropout probability in training")
    lamda: NotNegative = key(0.0, "regulariser lamda/2 |w|² in the loss; as in the sampler to train on its energy")
    patience: Count = key(50, "early stopping: epochs without an improvement of the validation loss", "epochs")
    max_epochs: Count = key(10_000, "most epochs of early stopping", "epochs")
    over_epochs: Count = key(2_000, "most epochs of over-training", "epochs")
    settle_epochs: Annotated[int, Field(ge=0)] = key(
        0, "epochs after over-training in which the learning rate falls to zero, so that OT lies at a minimum", "epochs"
    )
    eval_every: Count = key(5, "epochs between two points of a learning curve", "epochs")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of initial weights, mini-batches and dropout")

    @model_validator(mode="after")
    def _curve_has_a_point(self) -> TrainConfig:
        if self.max_epochs < self.eval_every:
            raise ValueError(f"max_epochs: {self.max_epochs} is below eval_every = {self.eval_every}")
        return self


class RunConfig(Section):
    """Length of the run and the intervals at which it records."""

    steps: Count = key(100_000, "steps of every walker, burn-in included; raise it later to extend the run", "steps")
    record_every: Count = key(500, "steps between two draws (energies, errors, norms)", "steps")
    snapshot_every: Count = key(10_000, "steps between two snapshots (parameters, attention maps, test error)", "steps")
    draws_per_chunk: Count = key(10, "draws written and committed together", "draws")
    walkers_per_block: Count | Literal["auto"] = key(
        "auto", "walkers advanced together; a block belongs to one rank; auto: 1 on a CPU, the fastest number on a GPU"
    )
    max_lost: Annotated[float, Field(ge=0, lt=1)] = key(
        0.5, "fraction of the walkers that may be lost before the run ends"
    )
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of every random stream of the run")

    @model_validator(mode="after")
    def _whole_intervals(self) -> RunConfig:
        if self.snapshot_every % self.record_every:
            raise ValueError(
                f"snapshot_every: {self.snapshot_every} is not a multiple of record_every = {self.record_every}"
            )
        if self.steps < self.record_every:
            raise ValueError(f"steps: {self.steps} is below record_every = {self.record_every}: no draw")
        return self


class ExecutionConfig(Section):
    """Where and how fast the run is. On a CPU only `threads_per_rank` above 1 can change a draw."""

    store: FilePath = key(Path("runs/store.zarr"), "Zarr store of the run")
    device: Literal["auto", "cpu", "cuda"] = key("auto", "auto: one GPU per rank if there is one, else the CPU")
    threads_per_rank: Count | Literal["divide"] = key(
        1, 'CPU threads of a rank; "divide": an equal part of the cores of the machine (last bits may then differ)'
    )
    tf32: bool = key(False, "use TF32 matrix products for sampling on a GPU: faster, 10 bits of mantissa")
    wall_time: Positive | None = key(
        None, "wall time after which the run has stopped and committed; SLURM_JOB_END_TIME is also respected", "s"
    )
    progress: bool = key(True, "progress bar on rank 0")
