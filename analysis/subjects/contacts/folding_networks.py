"""The networks of a store or of a weights file, run on given sequences. Needs torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.reading.opening import open_run
from analysis.reading.references import REFERENCES
from protmpi import weights_file
from protmpi.data import dataset
from protmpi.data.alphabet import MASK
from protmpi.errors import DataError, ProtmpiError, StoreError
from protmpi.sections import ModelConfig

if TYPE_CHECKING:
    from analysis.reading.run import Run
    from protmpi.models import Network


@dataclass(frozen=True)
class Source:
    """Source of weights, and the data that they were trained on."""

    path: Path
    model: dict[str, Any]
    data: dataset.FoldingData
    references: dict[str, np.ndarray]
    """ES and OT weights (reference, P), if there are any."""
    run: Run | None
    """The run of a store; None for a weights file."""

    @property
    def label(self) -> str:
        return str(self.model["name"])


def open_source(path: Path, data_file: Path | None) -> Source:
    """A store, or a weights file (.h5) of `protmpi train`, with its data set. A store has the path of its data set.

    Raises ProtmpiError, one line, if one is missing or damaged, they do not belong together, the task is not
    folding, or the structure is unknown.
    """
    model, data_hash, references, run = _weights_file(path) if path.is_file() else _store(path)
    if data_file is None and run is None:
        raise ProtmpiError(f"--data: {path} does not say where its data set is; give the file that it was trained on")
    chosen = data_file or Path(run.store.config["data"]["file"])  # type: ignore[union-attr]
    data = dataset.load(chosen)
    if data.data_hash() != data_hash:
        raise DataError(f"{chosen}: is not the data set of {path}; give the right one with --data")
    if data.contact_map is None:
        raise DataError(f"{chosen}: has no contact map, so no contact can be right or wrong")
    return Source(path, model, data, references, run)


Contents = tuple[dict[str, Any], object, dict[str, np.ndarray], "Run | None"]
"""The section [model], the hash of the data set, the reference weights (reference, P), and the run."""


def _weights_file(path: Path) -> Contents:
    def judge(attributes: dict[str, Any]) -> None:
        if not isinstance(attributes["model"], str):
            raise DataError(f"{path}: not a weights file of `protmpi train`")

    attributes, arrays = weights_file.read(path, ("model", "data_hash"), judge)
    found = {label: arrays[f"references/{label}"] for label in REFERENCES if f"references/{label}" in arrays}
    return json.loads(attributes["model"]), attributes["data_hash"], found, None


def _store(path: Path) -> Contents:
    run = open_run(path)
    store = run.store
    if store.config.get("data", {}).get("task") != "folding" or "parameters" not in store.variables:
        raise StoreError(f"{path}: contacts are for stores of the task folding that hold parameters")
    references = {label: store.read(f"{prefix}_parameters") for label, prefix in REFERENCES.items()
                  if f"{prefix}_parameters" in store}  # fmt: skip
    return store.config["model"], store.attributes.get("identity", {}).get("data.file"), references, run


class FoldingNetwork:
    """One set of weights (P,) of a network that guesses masked residues.

    It was trained on guesses at masked sites alone. So the logits of each site are computed with this site masked, in L
    passes per sequence. Attention is computed for the sequence without a mask.
    """

    def __init__(self, model: dict[str, Any], length: int, weights: np.ndarray) -> None:
        self._network = build(model, length)
        import torch

        if weights.shape != (self._network.layout.size,):
            raise DataError(f"{model['name']}: has {self._network.layout.size} parameters, {weights.size} were stored")
        self.heads = self._network.blocks
        self._w = torch.from_numpy(weights[np.newaxis].astype(np.float32))

    def attention(self, tokens: np.ndarray) -> np.ndarray:
        """Maps (block, L, L) of a sequence (L,)."""
        import torch

        with torch.inference_mode():
            maps = self._network.attention(self._w, torch.from_numpy(tokens.astype(np.int64))[None, None])
        return maps[0, 0].numpy()

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        """Logits (B, L, 20) of each site of sequences (B, L) with that site masked."""
        import torch

        from protmpi.models.batch import Batch, ChosenRows
        from protmpi.tasks.splits import CACHE

        count, length = tokens.shape
        sites = np.arange(length)
        found = []
        for part in np.array_split(tokens, -(-count // max(1, CACHE // (length * self._network.width)))):
            copies = np.tile(part[:, np.newaxis].astype(np.int64), (1, length, 1))
            copies[:, sites, sites] = MASK
            site, copy = np.tile(sites, len(part)), np.arange(len(part) * length)
            rows = ChosenRows(((copy.size, 1),), torch.from_numpy(site[np.newaxis]), torch.from_numpy(copy), length)
            inputs = Batch(torch.from_numpy(copies.reshape(1, -1, length)), rows)
            with torch.inference_mode():
                logits, _ = self._network.forward(self._w, inputs)
            found.append(logits[0, :, :MASK].numpy().reshape(len(part), length, MASK))
        return np.concatenate(found)

    def passes(self, tokens: np.ndarray) -> int:
        """Number of forward passes for one sequence: one per site."""
        return len(tokens)


def build(model: dict[str, Any], length: int) -> Network:
    """The network of the section [model]. Raises ProtmpiError if torch is missing or the section is not valid."""
    try:
        import torch

        from protmpi import models
    except ImportError as error:
        raise ProtmpiError(f"networks are run by torch, which is missing ({error}); pip install 'protmpi[sample]'"
                           ) from None  # fmt: skip
    torch.set_num_threads(1)  # arrays are small: threads would only wait for each other
    try:
        return models.build(ModelConfig.model_validate(model), length)
    except ValueError as error:
        raise DataError(f"model: {' '.join(str(error).split())[:200]}") from None
