"""The data file of protein chains: one HDF5 file with sequences, Cα coordinates, clusters and the split."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from protmpi.data.alphabet import MASK, MAX_LENGTH
from protmpi.errors import DataError
from protmpi.hdf5 import hdf5_file, numbers, reading

SCHEMA = "protmpi chains 1"
MAX_CHAINS = 10_000_000
MAX_SITES = 100_000_000  # most sites of all chains; larger arrays could not be read back
FARTHEST = 10_000.0
"""Largest coordinate (Å) from the centre of a chain: longer than any stretched chain."""

ARRAYS = {"lengths": "int32", "cluster": "int32", "split": "uint8", "tokens": "uint8", "coordinates": "float32",
          "missing": "uint8", "names": "uint8"}  # fmt: skip
PER_CHAIN, PER_SITE = ("cluster", "split"), ("tokens", "coordinates", "missing")


@dataclass(frozen=True)
class ChainData:
    """N protein chains, their S sites side by side.

    names: name of each chain, FILE_CHAIN. lengths: (N,) sites. cluster: (N,) chains of a cluster are in one split.
    split: (N,) 0 train, 1 validation, 2 test. tokens: (S,) residues 0..19, 20 if unknown. coordinates: (S, 3) of Cα
    in Å around the mean of the chain, 0 if missing. missing: (S,) bool. attributes: their origin.
    """

    names: tuple[str, ...]
    lengths: np.ndarray
    cluster: np.ndarray
    split: np.ndarray
    tokens: np.ndarray
    coordinates: np.ndarray
    missing: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def first(self) -> np.ndarray:
        """(N,) first site of each chain."""
        return np.cumsum(self.lengths) - self.lengths

    def sites(self, chain: int) -> slice:
        """The sites of a chain."""
        return slice(int(self.first[chain]), int(self.first[chain] + self.lengths[chain]))

    def data_hash(self) -> str:
        """sha256 of everything that a network sees, without names and clusters, which only determine the split."""
        digest = hashlib.sha256()
        for name in ("lengths", "split", *PER_SITE):
            array = np.ascontiguousarray(getattr(self, name), dtype=ARRAYS[name])
            digest.update(f"{name} {array.shape}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def save(path: Path, data: ChainData) -> None:
    """Write the file, whole or not at all. Raises DataError if it cannot be written."""
    check(data, str(path))
    names = np.frombuffer("\n".join(data.names).encode(), dtype=np.uint8)
    with hdf5_file(path) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["attributes"] = json.dumps(data.attributes)
        for name, dtype in ARRAYS.items():
            values = names if name == "names" else np.asarray(getattr(data, name), dtype=dtype)
            file.create_dataset(name, data=values, compression="gzip")


def load(path: Path) -> ChainData:
    """Read and check a file of chains. Raises DataError: one line naming the file, the array and what is allowed."""
    if not Path(path).is_file():
        raise DataError(f"{path}: no such data file; write it with `protmpi data structures DIR`")
    with reading(path) as file:
        if file.attrs.get("schema") != SCHEMA:
            raise DataError(f"{path}: not a file of chains; expected schema {SCHEMA!r}")
        attributes = json.loads(str(file.attrs["attributes"]))
        arrays = numbers(file, path)
    if not isinstance(attributes, dict):
        raise DataError(f"{path}: attributes: must be a JSON object")
    for name, dtype in ARRAYS.items():
        if name not in arrays:
            raise DataError(f"{path}: {name}: missing")
        found, axes = arrays[name], 2 if name == "coordinates" else 1
        if found.dtype != np.dtype(dtype) or found.ndim != axes:
            raise DataError(f"{path}: {name}: is {found.dtype} of rank {found.ndim}, must be {dtype} of rank {axes}")
    try:
        names = tuple(arrays.pop("names").tobytes().decode().split("\n"))
    except UnicodeDecodeError:
        raise DataError(f"{path}: names: must be text") from None
    data = ChainData(names=names, attributes=attributes, **{name: arrays[name] for name in ARRAYS if name != "names"})
    check(data, str(path))
    return data


def check(data: ChainData, source: str) -> None:
    """Raise DataError if the contents contradict each other."""
    chains = len(data)
    if not 1 <= chains <= MAX_CHAINS:
        raise DataError(f"{source}: {chains} chains; 1 to {MAX_CHAINS} are allowed")
    if len(data.names) != chains or len(set(data.names)) != chains:
        raise DataError(f"{source}: names: must be {chains} different names")
    if data.lengths.min() < 2 or data.lengths.max() > MAX_LENGTH:
        raise DataError(f"{source}: lengths: must be 2 to {MAX_LENGTH}")
    sites = int(data.lengths.sum(dtype=np.int64))
    if sites > MAX_SITES:
        raise DataError(f"{source}: {sites} residues; at most {MAX_SITES} are allowed")
    for name, size in [*((name, chains) for name in PER_CHAIN), *((name, sites) for name in PER_SITE)]:
        if len(getattr(data, name)) != size:
            raise DataError(f"{source}: {name}: has {len(getattr(data, name))} rows, must have {size}")
    of_chain = np.repeat(np.arange(chains), data.lengths)
    rules = {
        f"tokens: must be 0 to {MASK}": data.tokens.max() <= MASK,
        "tokens: every chain must have a known amino acid": len(np.unique(of_chain[data.tokens < MASK])) == chains,
        "coordinates: must be three for each site": data.coordinates.shape[1] == 3,
        f"coordinates: must be finite, at most {FARTHEST:g} Å from the centre": np.isfinite(data.coordinates).all()
        and np.abs(data.coordinates).max() <= FARTHEST,
        "missing: must be 0 or 1": data.missing.max() <= 1,
        "split: must be 0 (train), 1 (val) or 2 (test), each at least once": set(np.unique(data.split)) == {0, 1, 2},
        "split: the chains of a cluster must be in one split": len(
            np.unique(np.stack([data.cluster, data.split]), axis=1).T
        )
        == len(np.unique(data.cluster)),
    }
    for rule, holds in rules.items():
        if not holds:
            raise DataError(f"{source}: {rule}")
