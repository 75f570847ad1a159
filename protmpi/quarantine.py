"""Walkers that were lost: the last good state of each, and how to live through its last steps again.

A walker is lost when its weights or momenta stop being finite (a negative discriminant of the norm constraint is NaN
from the next position on). Nothing watches a single step, so a healthy run is untouched: the state at the start of
every stretch of steps is kept by reference and only written, to STORE/quarantine/walker-W.h5, when the stretch went
wrong.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from protmpi import config as configuration
from protmpi import tasks
from protmpi.atomic import hdf5_file
from protmpi.errors import DataError
from protmpi.sampling.block import Block
from protmpi.sampling.hybrid import HybridBlock
from protmpi.sampling.langevin import LangevinBlock
from protmpi.tasks import Task

SCHEMA = "protmpi-dump-1"
LARGEST = 2**31  # bytes of one array


@dataclass(frozen=True)
class Loss:
    """Walker `walker` was lost in the step that ended at `step`, for `reason`."""

    walker: int
    step: int
    reason: str


def build_block(
    config: configuration.Config, task: Task, walkers: range, start: np.ndarray, temperatures: np.ndarray, device: str
) -> Block:
    """Walkers starting at `start` (W, P) at `temperatures` (W,), by the kernel that the configuration asks for."""
    kind = HybridBlock if config.sampler.hybrid else LangevinBlock
    return kind(walkers, torch.from_numpy(start).to(device), temperatures, task, config.sampler, config.run.seed)


def dump(folder: Path, config: configuration.Config, task: Task, block: Block, row: int) -> Loss:
    """Write the last good state of the walker in `row`, replay it to learn why it was lost, and say so in the file."""
    step, arrays = block.last_good
    walker = block.walkers[row]
    state = {name: np.ascontiguousarray(values[row : row + 1]) for name, values in arrays.items()}
    temperature = block.thermostat.temperature[row].double().cpu().numpy()
    start = block.start[row : row + 1].cpu().numpy()
    alone = build_block(config, task, range(walker, walker + 1), start, temperature, str(block.start.device))
    alone.restore(step, state)
    loss = relive(alone, block.step - step)
    with hdf5_file(folder / f"walker-{walker}.h5") as file:
        file.attrs.update({"schema": SCHEMA, "config": config.model_dump_json(), "data_hash": task.data_hash,
                           "last_good_step": step, **asdict(loss)})  # fmt: skip
        for name, values in {**state, "start": start, "temperature": temperature}.items():
            file.create_dataset(name, data=values)
    return loss


def relive(block: Block, steps: int) -> Loss:
    """Advance a block of one walker step by step until it is lost, at most `steps` steps."""
    (walker,) = block.walkers
    for _ in range(steps):
        before = block.thermal_state()
        block.explore(1)
        if not block.finite()[0]:
            return Loss(walker, block.step, f"{block.complaint()}; before: {before}")
    return Loss(walker, block.step, "not lost when its steps are done again: the fault is not in the dynamics")


def replay(path: Path, device: str = "cpu") -> tuple[Loss, Loss]:
    """What was recorded of a dump, and what its steps give when they are done again.

    Raises DataError when the file is missing, damaged or its data set is another one.
    """
    attributes, arrays = _read(path)
    config = configuration.parse(json.loads(attributes["config"]), str(path))
    task = tasks.build(config, device)
    if task.data_hash != attributes["data_hash"]:
        raise DataError(f"{path}: belongs to another data set than the one of its data.file; put that file back")
    walker, last_good, recorded = (int(attributes[key]) for key in ("walker", "last_good_step", "step"))
    start, temperature = arrays.pop("start"), arrays.pop("temperature")
    if start.shape != (1, task.layout.size):
        raise DataError(f"{path}: start has shape {start.shape}, the network has {task.layout.size} parameters")
    block = build_block(config, task, range(walker, walker + 1), start, temperature, device)
    try:
        block.restore(last_good, arrays)
    except (KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: its state does not fit its configuration ({error})") from None
    return Loss(walker, recorded, str(attributes["reason"])), relive(block, recorded - last_good)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            for name, item in file.items():
                if item.dtype.kind not in "fiu" or item.size * item.dtype.itemsize > LARGEST:
                    raise DataError(f"{path}: {name} has type {item.dtype} and {item.size} entries")
                arrays[name] = np.asarray(item[()])
    except (OSError, AttributeError) as error:
        raise DataError(f"{path}: not a readable HDF5 file ({error})") from None
    missing = {"config", "data_hash", "walker", "last_good_step", "step", "reason"} - attributes.keys()
    if attributes.get("schema") != SCHEMA or missing or not {"start", "temperature"} <= arrays.keys():
        raise DataError(f"{path}: not a dump of a lost walker")
    return attributes, arrays
