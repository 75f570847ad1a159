"""Create a store with all its metadata, or extend it. Rank 0 does this alone, while no rank writes."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from protmpi.errors import StoreError
from protmpi.store import commit, files
from protmpi.store.files import Files
from protmpi.store.schema import SCHEMA, Schema
from protmpi.variables import Axis, Constant

STEP_ARRAYS: dict[Axis, str] = {"draw": "step", "snapshot": "snapshot_step"}
"""Names of the arrays with the number of steps at each row."""


def create(path: Path, schema: Schema, constants: Sequence[Constant], attributes: dict[str, Any]) -> None:
    """Make a store with all its metadata (rank 0 only, before any rank writes). It appears at `path` in one rename."""
    if path.exists():
        raise StoreError(f"{path}: exists already and is not a protmpi store; choose another --store")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.mkdir()
        folder = Files(draft)
        sums = {constant.name: commit.sha256_of_rows(constant.values) for constant in constants}
        group = zarr.create_group(folder, attributes={
            "schema": SCHEMA, "layout": schema.to_json(), "constants": sums, **attributes})  # fmt: skip
        for variable in schema.variables:
            array = group.create_array(
                variable.name,
                shape=schema.array_shape(variable),
                chunks=schema.chunk_shape(variable),
                dtype=variable.dtype,
                fill_value=variable.missing,
                dimension_names=("walker", variable.axis, *variable.dims),
            )
            array.attrs.update({"unit": variable.unit, "meaning": variable.meaning})
        for constant in constants:
            _write_constant(group, constant)
        for axis, name in STEP_ARRAYS.items():
            steps = schema.steps_of(axis)
            _write_constant(group, Constant(name, (axis,), steps, f"steps done at each {axis}", "steps"))
        _consolidate(folder)
        (draft / commit.FOLDER).mkdir()
        folder.sync()
        draft.rename(path)
        files.sync_folders([path.parent])
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def extend(path: Path, schema: Schema, attributes: dict[str, Any]) -> None:
    """Extend a store to more steps (rank 0 only). Committed rows do not change.

    The attributes are written last, in one rename. Until then the store has its old length and can be extended again.
    """
    folder = Files(path)
    group = zarr.open_group(folder, mode="r+", use_consolidated=False)
    for variable in schema.variables:
        group[variable.name].resize(schema.array_shape(variable))
    for axis, name in STEP_ARRAYS.items():
        group[name].resize((schema.length(axis),))
        group[name][...] = schema.steps_of(axis)
    _consolidate(folder)
    zarr.open_group(folder, mode="r+", use_consolidated=True).attrs.update({"layout": schema.to_json(), **attributes})
    folder.sync()


def _write_constant(group: zarr.Group, constant: Constant) -> None:
    array = group.create_array(
        constant.name,
        data=np.asarray(constant.values),
        dimension_names=constant.dims,
        chunks=tuple(max(1, n) for n in np.shape(constant.values)),
    )
    array.attrs.update({"unit": constant.unit, "meaning": constant.meaning})


def _consolidate(folder: Files) -> None:
    """One metadata document, so that `xarray.open_zarr` opens a store with a single read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)  # "not part of the v3 spec", and the commits folder
        zarr.consolidate_metadata(folder)
