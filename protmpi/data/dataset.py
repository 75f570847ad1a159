"""The data file: one HDF5 file with all that the networks learn from, and its origin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from protmpi.data.alphabet import AMINO_ACIDS, MASK, MAX_LENGTH
from protmpi.errors import DataError
from protmpi.hdf5 import hdf5_file

SCHEMA = "protmpi folding data 1"
MAX_SEQUENCES = 10_000_000
MAX_BYTES = 16 << 30  # limit of all arrays together
MAX_CONVERGENCE_ARRAYS = 256
MAX_TEXT = 1 << 20

# dtype and axes of every array; arrays in OPTIONAL are absent for a user's own sequences
ARRAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sequences": ("uint8", ("N", "L")),
    "masked": ("bool", ("N", "L")),
    "split": ("uint8", ("N",)),
    "energies": ("float64", ("N",)),
    "couplings": ("float64", ("20", "20")),
    "contact_map": ("bool", ("L", "L")),
}
OPTIONAL = {"energies", "couplings", "contact_map"}


@dataclass(frozen=True)
class FoldingData:
    """Sequences of one structure, masked and split.

    sequences: (N, L) uint8, true residues 0..19, and 20 if a site is unknown (a gap in a user's alignment).
    masked: (N, L) bool, the sites to predict, all of them known, at least one in each sequence.
    split: (N,) uint8, 0 train, 1 validation, 2 test.
    energies: (N,), couplings: (20, 20), in units of the std of J; None for a user's own sequences.
    contact_map: (L, L) bool, symmetric; None for a user's own sequences without a structure.
    native: one-letter codes of the native sequence (L), X where unknown, or "".
    attributes: schema, protmpi version, parameters and counts. convergence: what data.convergence measured.
    """

    sequences: np.ndarray
    masked: np.ndarray
    split: np.ndarray
    energies: np.ndarray | None = None
    couplings: np.ndarray | None = None
    contact_map: np.ndarray | None = None
    native: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    convergence: dict[str, np.ndarray] = field(default_factory=dict)

    def data_hash(self) -> str:
        """sha256 of sequences, masks, split and contact map: equal for equal data in any file."""
        digest = hashlib.sha256()
        for name in ("sequences", "masked", "split", "contact_map"):
            array = getattr(self, name)
            digest.update(f"{name} {None if array is None else array.shape}\n".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array, dtype=np.uint8).tobytes())
        return digest.hexdigest()


def save(path: Path, data: FoldingData) -> None:
    """Write the file, whole or not at all. Raises DataError if it cannot be written."""
    check(data, str(path))
    with hdf5_file(path) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["native"] = data.native
        file.attrs["attributes"] = json.dumps(data.attributes)
        for name, (dtype, axes) in ARRAYS.items():
            array = getattr(data, name)
            if array is not None:
                dataset = file.create_dataset(name, data=np.asarray(array, dtype=dtype), compression="gzip")
                for axis, label in enumerate(axes):
                    dataset.dims[axis].label = {"N": "sequence", "L": "site", "20": "letter"}[label]
        group = file.create_group("convergence")
        for name, array in data.convergence.items():
            group.create_dataset(name, data=array)


def load(path: Path) -> FoldingData:
    """Read and check a data file. Raises DataError: one line naming the file, the array and what is allowed.

    Shapes and types are checked in the metadata before anything is allocated. Nothing is unpickled.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such data file; write it with `protmpi data make`")
    try:
        with h5py.File(path, "r") as file:
            data = _read(file, str(path))
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged or not a data file: {' '.join(str(error).split())}") from error
    check(data, str(path))
    return data


def _read(file: h5py.File, source: str) -> FoldingData:
    if _text(file, "schema", source) != SCHEMA:
        raise DataError(f"{source}: not a data file of this version; expected schema {SCHEMA!r}")
    sizes: dict[str, int] = {"20": 20}
    found = {}
    for name, (dtype, axes) in ARRAYS.items():
        dataset = _dataset(file, name, source)
        if dataset is None:
            if name not in OPTIONAL:
                raise DataError(f"{source}: {name}: missing")
            continue
        if dataset.dtype != np.dtype(dtype) or dataset.ndim != len(axes):
            raise DataError(
                f"{source}: {name}: is {dataset.dtype} of rank {dataset.ndim}, must be {dtype} ({', '.join(axes)})"
            )
        for axis, size in zip(axes, dataset.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise DataError(f"{source}: {name}: has {axis} = {size}, must be {sizes[axis]}")
        found[name] = dataset
    if not (1 <= sizes["L"] <= MAX_LENGTH and 1 <= sizes["N"] <= MAX_SEQUENCES):
        raise DataError(
            f"{source}: {sizes['N']} sequences of length {sizes['L']}; "
            f"1 to {MAX_SEQUENCES} of length 1 to {MAX_LENGTH} are allowed"
        )
    measured = _convergence(file, source)
    if sum(dataset.nbytes for dataset in [*found.values(), *measured.values()]) > MAX_BYTES:
        raise DataError(f"{source}: more than {MAX_BYTES >> 30} GiB of arrays")
    try:
        attributes = json.loads(_text(file, "attributes", source))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: attributes: not JSON ({error})") from error
    if not isinstance(attributes, dict):
        raise DataError(f"{source}: attributes: must be a JSON object")
    return FoldingData(
        **{name: dataset[()] for name, dataset in found.items()},
        native=_text(file, "native", source),
        attributes=attributes,
        convergence={name: dataset[()] for name, dataset in measured.items()},
    )


def _dataset(group: h5py.Group, name: str, source: str) -> h5py.Dataset | None:
    """A plain array stored in this file, without soft or external links and external storage."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise DataError(f"{source}: {name}: is a link to elsewhere, must be stored in the file")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual or dataset.shape is None:
        raise DataError(f"{source}: {name}: must be an array stored in the file")
    if dataset.dtype.kind not in "biuf":
        raise DataError(f"{source}: {name}: is {dataset.dtype}, must be numbers")
    return dataset


def _convergence(file: h5py.File, source: str) -> dict[str, h5py.Dataset]:
    link = file.get("convergence", getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file["convergence"], h5py.Group):
        raise DataError(f"{source}: convergence: missing")
    group = file["convergence"]
    if len(group) > MAX_CONVERGENCE_ARRAYS:
        raise DataError(f"{source}: convergence: {len(group)} arrays, at most {MAX_CONVERGENCE_ARRAYS} are allowed")
    return {name: dataset for name in group if (dataset := _dataset(group, name, source)) is not None}


def _text(file: h5py.File, name: str, source: str) -> str:
    if name not in file.attrs:
        raise DataError(f"{source}: not a protmpi data file: attribute {name} is missing")
    kind = file.attrs.get_id(name)
    if kind.shape != () or h5py.check_string_dtype(kind.dtype) is None:
        raise DataError(f"{source}: attribute {name}: must be one text")
    value = file.attrs[name]
    if len(value) > MAX_TEXT:
        raise DataError(f"{source}: attribute {name}: longer than {MAX_TEXT} characters")
    return str(value)


def check(data: FoldingData, source: str) -> None:
    """Raise DataError if the contents contradict each other."""
    length = data.sequences.shape[1]
    rules = {
        f"sequences: tokens must be 0 to {MASK}": data.sequences.max(initial=0) <= MASK,
        "masked: a masked site must hold a known amino acid": not data.sequences[data.masked].max(initial=0) >= MASK,
        "masked: every sequence must have a masked site": bool(data.masked.any(axis=1).all()),
        "split: must be 0 (train), 1 (val) or 2 (test)": data.split.max(initial=0) <= 2,
        "split: a train, a validation and a test sequence are needed": len(np.unique(data.split)) == 3,
        f"native: must be empty or {length} letters of {AMINO_ACIDS} or X": len(data.native) in (0, length)
        and not set(data.native) - set(AMINO_ACIDS + "X"),
        "energies: must be finite": data.energies is None or bool(np.isfinite(data.energies).all()),
        "couplings: must be finite and symmetric": data.couplings is None
        or (bool(np.isfinite(data.couplings).all()) and np.array_equal(data.couplings, data.couplings.T)),
        "contact_map: must be symmetric with an empty diagonal": data.contact_map is None
        or (np.array_equal(data.contact_map, data.contact_map.T) and not data.contact_map.diagonal().any()),
    }
    for rule, holds in rules.items():
        if not holds:
            raise DataError(f"{source}: {rule}")
