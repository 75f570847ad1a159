"""The sections of a configuration file, one class each, with their keys, defaults and cross-checks.

[data] has one for every task, in `protmpi.data.sections`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from protmpi.paths import expanded

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
FilePath = Annotated[Path, AfterValidator(lambda path: Path(expanded(str(path))))]


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

    file: FilePath = key(Path("weights.h5"), "weights, curves and norms (HDF5), written by `protmpi train`")
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

    store: FilePath = key(Path("runs/store.zarr"), "Zarr store of the run")
    device: Literal["auto", "cpu", "cuda"] = key("auto", "one GPU per rank when there is one, else the CPU")
    threads_per_rank: Count | Literal["divide"] = key(
        1, 'CPU threads of a rank; "divide" shares out the cores of a machine (last bits may then differ)'
    )
    tf32: bool = key(False, "on a GPU, sampling with matrix products in TF32: faster, 10 bits of mantissa")
    wall_time: Positive | None = key(
        None, "stop in time to be done after this long; SLURM_JOB_END_TIME, where it is set, is heeded as well", "s"
    )
    progress: bool = key(True, "progress bar on rank 0")
