"""The section [data] of each task: its keys, defaults and cross-checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from protmpi.paths import expanded
from protmpi.sections import Count, FilePath, Positive, Section, Share, key


class FoldingConfig(Section):
    """Sequences that fold to one structure (docs/method/data.md section 1)."""

    task: Literal["folding"] = key("folding", "task, which defines the sampled energy")
    file: FilePath = key(Path("acbp.h5"), "data set (HDF5), written by `protmpi data make`")
    structure: Annotated[str, AfterValidator(expanded)] = key(
        "acbp", "`acbp` (shipped contacts of 1NTI), PDB/mmCIF file, contact list .json or PDB id"
    )
    chain: str | None = key(None, "chain of the structure; the first protein chain if absent")
    model: Count = key(1, "model of the structure file, counted from 1")
    residues: tuple[Count, Count] | None = key(
        None, "first and last position of the structure to keep, counted from 1; all if absent"
    )
    cutoff: Positive = key(4.5, "two residues touch when two of their heavy atoms are closer than this", "Å")
    min_separation: Count = key(2, "smallest |i-j| of a contact", "residues")
    sequences: Count = key(15_000, "number of sequences: train + val + test")
    train: Count = key(1_000, "sequences to sample and train on")
    val: Count = key(1_000, "sequences for validation; the rest is the test set")
    temperature: Positive = key(0.74, "temperature of the sequences", "std of J")
    moves: Literal["swap", "mutate"] = key("swap", "pair swaps at the native composition, or single-site mutations")
    couplings: Literal["gaussian", "uniform"] = key("gaussian", "law of the 20 x 20 couplings J (variance 1)")
    mask_probability: Share = key(0.15, "probability that a site is masked")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of couplings, sequences, masks and split")

    @model_validator(mode="after")
    def _split_fits(self) -> FoldingConfig:
        if self.train + self.val >= self.sequences:
            raise ValueError(
                f"sequences: {self.sequences} leaves no test set beside train + val = {self.train + self.val}"
            )
        if self.residues and self.residues[0] >= self.residues[1]:
            raise ValueError(f"residues: the first, {self.residues[0]}, must come before the last, {self.residues[1]}")
        return self


class KSpinConfig(Section):
    """The class of a spin vector, K noisy reference vectors (docs/method/data.md section 4)."""

    task: Literal["kspin"] = key("kspin", "task, which defines the sampled energy")
    recipe: Literal["own", "published"] = key(
        "own", "splits from separate random streams, or the splits of the published study (then train 100000, seed 0)"
    )
    classes: Annotated[int, Field(ge=2)] = key(10, "classes K, each a random reference vector")
    spins: Count = key(100, "spins d of a vector")
    flip: Annotated[float, Field(ge=0, le=0.5)] = key(0.355, "probability p that a spin of the reference is flipped")
    train: Count = key(50_000, "vectors to sample and train on")
    val: Count = key(10_000, "vectors for validation")
    test: Count = key(10_000, "vectors of the test set")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = key(
        1, "seed of references and vectors; published: of references and training set (+1, +2 for the other splits)"
    )

    @model_validator(mode="before")
    @classmethod
    def _published_set(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("recipe") == "published":
            return {"train": 100_000, "seed": 0, **given}
        return given


class PointsConfig(Section):
    """How near points in a box are to one another (docs/method/data.md section 5)."""

    task: Literal["points"] = key("points", "task, which defines the sampled energy")
    points: Annotated[int, Field(ge=2)] = key(5, "points of a structure, uniform in a box of side 200")
    dimension: Annotated[int, Field(ge=1, le=4)] = key(3, "coordinates of a point")
    exponent: Positive = key(2.0, "e of the attention to learn, exp(-(distance/200)^e)")
    rotations: Annotated[int, Field(ge=0)] = key(
        0, "copies of every training structure, each rotated at random; 0: one copy without rotation"
    )
    train: Count = key(8_000, "structures to sample and train on, before rotations")
    val: Count = key(1_000, "structures for validation")
    test: Count = key(1_000, "structures of the test set")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of structures and rotations")

    @model_validator(mode="after")
    def _a_line_does_not_turn(self) -> PointsConfig:
        if self.rotations and self.dimension == 1:
            raise ValueError("rotations: there is none in one dimension; take dimension 2 to 4, or 0 rotations")
        return self


class StructuresConfig(Section):
    """Masked residues of protein chains, from sequence and Cα coordinates (docs/method/data.md section 6)."""

    task: Literal["structures"] = key("structures", "task, which defines the sampled energy")
    file: FilePath = key(Path("structures.h5"), "data set (HDF5), written by `protmpi data structures`")
    coordinates: bool = key(True, "whether the network sees Cα coordinates; false: sequences alone, for comparison")
    mask_probability: Share = key(0.15, "probability that a site is to be guessed: 80 % mask, 10 % random, 10 % kept")
    augment: bool = key(True, "training rotates each chain at random and chooses new sites each time")
    seed: Annotated[int, Field(ge=0)] = key(1, "seed of the sites to be guessed")
