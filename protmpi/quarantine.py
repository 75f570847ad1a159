"""Lost walkers: the last good state of each, and the replay of its last steps.

A walker is lost when its weights or momenta stop being finite (a negative discriminant of the norm constraint is NaN
from the next position on). Single steps are not checked, so a healthy run pays nothing. The state at the start of every
stretch of steps is kept in memory. If a walker is lost in the stretch, it is written to STORE/quarantine/walker-W.h5.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protmpi import config as configuration
from protmpi import sampling, tasks
from protmpi.errors import DataError
from protmpi.hdf5 import hdf5_file, numbers, reading
from protmpi.sampling.walkers.block import Block
from protmpi.tasks import Task

SCHEMA = "protmpi-dump-1"


@dataclass(frozen=True)
class Loss:
    """Walker `walker` was lost in the step that ended at `step`, for `reason`."""

    walker: int
    step: int
    reason: str


def dump(folder: Path, config: configuration.Config, task: Task, block: Block[Any], row: int) -> Loss:
    """Write the last good state of the walker in `row`, replay it to find why it was lost, and note the reason."""
    step, arrays = block.last_good
    walker = block.walkers[row]
    state = {name: np.ascontiguousarray(values[row : row + 1]) for name, values in arrays.items()}
    temperature = block.temperature[row].double().cpu().numpy()
    start = block.start[row : row + 1]
    anneal = [config.annealing(walker)]
    alone = sampling.build([walker], start, temperature, task, config.sampler, config.run.seed, anneal)
    alone.restore(step, state, temperature)
    loss = relive(alone, block.step - step)
    with hdf5_file(folder / f"walker-{walker}.h5") as file:
        file.attrs.update({"schema": SCHEMA, "config": config.model_dump_json(), "data_hash": task.data_hash,
                           "last_good_step": step, **asdict(loss)})  # fmt: skip
        for name, values in {**state, "start": start.cpu().numpy(), "temperature": temperature}.items():
            file.create_dataset(name, data=values)
    return loss


def relive(block: Block[Any], steps: int) -> Loss:
    """Advance a block of one walker step by step until it is lost, at most `steps` steps."""
    (walker,) = block.walkers
    end = block.step + steps
    while block.step < end:
        before = block.thermal_state()
        block.explore(1)
        if not block.finite()[0]:
            return Loss(walker, block.step, f"{block.complaint()}; before: {before}")
    return Loss(walker, block.step, "not lost when its steps are repeated: the fault is not in the dynamics")


def replay(path: Path, device: str = "cpu") -> tuple[Loss, Loss]:
    """The loss that a dump records, and the loss when its steps are repeated.

    Raises DataError if the file is missing or damaged, or belongs to another data set.
    """
    attributes, arrays = _read(path)
    config = configuration.parse_stored(json.loads(attributes["config"]), str(path))
    task = tasks.build(config, device)
    if task.data_hash != attributes["data_hash"]:
        raise DataError(f"{path}: belongs to another data set than the one of its data.file; put that file back")
    walker, last_good, recorded = (int(attributes[key]) for key in ("walker", "last_good_step", "step"))
    start, temperature = arrays.pop("start"), arrays.pop("temperature")
    if start.shape != (1, task.layout.size):
        raise DataError(f"{path}: start has shape {start.shape}, the network has {task.layout.size} parameters")
    block = sampling.build([walker], torch.tensor(start, device=device), temperature, task, config.sampler,
                           config.run.seed, [config.annealing(walker)])  # fmt: skip
    try:
        block.restore(last_good, arrays, temperature)
    except (KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: its state does not fit its configuration ({error})") from None
    return Loss(walker, recorded, str(attributes["reason"])), relive(block, recorded - last_good)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with reading(path) as file:
        attributes, arrays = dict(file.attrs), numbers(file, path)
    missing = {"config", "data_hash", "walker", "last_good_step", "step", "reason"} - attributes.keys()
    if attributes.get("schema") != SCHEMA or missing or not {"start", "temperature"} <= arrays.keys():
        raise DataError(f"{path}: not a dump of a lost walker")
    return attributes, arrays
