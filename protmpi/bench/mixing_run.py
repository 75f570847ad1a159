"""From the options of `protmpi bench mixing` to its result: defaults, checks and the output file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpc.devices import bind
from hpc.world import connect
from protmpi import tasks
from protmpi.bench import mixing
from protmpi.bench.progress import Progress
from protmpi.bench.speed import processor
from protmpi.config import load
from protmpi.errors import ConfigError, WorldError

GRADIENTS = 5_000
LENGTHS, KEPT = (50, 100, 200, 400), (1.0, math.exp(-1.0))
RHOS = (f"{mixing.PUBLISHED_RHO:g}", "auto")
QUICK_LENGTHS, QUICK_KEPT, QUICK_RHOS = (50, 100), (1.0,), ("auto",)


@dataclass(frozen=True)
class Asked:
    """The options of the command, empty or None if they are not given."""

    config: Path
    temperatures: tuple[float, ...]
    gradients: int | None
    burn_in: int | None
    source: Path | None
    lengths: tuple[int, ...]
    kept: tuple[float, ...]
    rhos: tuple[str, ...]
    walkers: int
    device: Any
    quick: bool
    out: Path | None
    overrides: tuple[str, ...]

    def rho(self) -> list[float | None]:
        """rho of each run of pseudo-Langevin, None for "auto"."""
        found: list[float | None] = []
        for text in self.rhos or (QUICK_RHOS if self.quick else RHOS):
            try:
                found.append(None if text == "auto" else float(text))
            except ValueError:
                raise ConfigError(f'--rho {text}: is neither a number nor "auto"') from None
        return found

    def methods(self, passes: int) -> list[mixing.Method]:
        """Samplers for chains of `passes` passes. The default lengths are all that fit four times, or one."""
        usual, kept = (QUICK_LENGTHS, QUICK_KEPT) if self.quick else (LENGTHS, KEPT)
        short = [length for length in usual if 4 * length <= passes]
        lengths = self.lengths or short or (max(1, passes // 4),)
        return [
            *(mixing.PseudoLangevin(rho) for rho in self.rho()),
            *(mixing.Trajectories(length, share) for share in self.kept or kept for length in lengths),
        ]


def measure(asked: Asked, progress: Progress) -> dict[str, Any]:
    """Compute all rows. The file --out is written after each row.

    Raises ProtmpiError if the configuration, its files or the options do not allow it.
    """
    world = connect()
    if world.size > 1:
        raise WorldError(f"bench mixing: {world.size} ranks, but it runs on one rank: start it without mpirun")
    config = load(asked.config, [*asked.overrides])
    ladder = config.sampler.temperatures
    chosen = [ladder[len(ladder) // 2]] if asked.quick else [ladder[0], ladder[len(ladder) // 2], ladder[-1]]
    temperatures = list(dict.fromkeys(asked.temperatures or chosen))
    _check(asked, config, temperatures)
    execution = config.execution
    binding = bind(world, asked.device or execution.device, execution.threads_per_rank, execution.tf32)
    energy = mixing.Counted(tasks.build(config, binding.device))
    if asked.quick:  # few mini-batches: an estimate of s² must not take longer than a chain
        few = {"max_extractions": config.sampler.min_extractions}
        config = config.model_copy(update={"sampler": config.sampler.model_copy(update=few)})
    store = str(asked.source) if asked.source else None
    problem = mixing.Problem(config, energy, asked.walkers, asked.gradients or GRADIENTS)
    if asked.quick and not asked.gradients:
        problem = _quick(asked, problem, len(temperatures), store)
    passes = problem.passes
    burn_in = asked.burn_in or (passes if asked.quick else config.sampler.adapt_until)
    result: dict[str, Any] = {
        "config": str(asked.config), "network": config.model.name, "train_size": energy.train_size,
        "device": binding.device.partition(":")[0], "device_name": binding.device_name, "processor": processor(),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "walkers": asked.walkers, "passes": passes,
        "tuning": problem.tuning, "burn_in": burn_in, "start": store or problem.reference, "quick": asked.quick,
        "overrides": list(asked.overrides), "rows": [],
    }  # fmt: skip
    for row in mixing.rows(problem, temperatures, asked.methods(passes), burn_in, store, progress):
        result["rows"].append(row)
        if asked.out:
            _write(asked.out, result)
    return result


def _check(asked: Asked, config: Any, temperatures: list[float]) -> None:
    mixing.check(config, asked.rho(), temperatures)
    for kept in asked.kept:
        if not 0.0 < kept <= 1.0:
            raise ConfigError(f"--kept {kept:g}: is a fraction of the momentum, above 0 and at most 1")
    if asked.source and asked.source.suffix != ".zarr":
        raise ConfigError(f"--from {asked.source}: is not a store, whose name ends in .zarr")
    if asked.out and (asked.out.exists() or not asked.out.parent.is_dir()):
        wrong = "exists" if asked.out.exists() else "its folder does not exist"
        raise ConfigError(f"--out {asked.out}: {wrong}; choose another file")


def _quick(asked: Asked, problem: mixing.Problem, temperatures: int, store: str | None) -> mixing.Problem:
    """The problem with as many passes as QUICK_SECONDS allow on this machine. Estimates of s² are extra."""
    chains = len(asked.methods(4 * max(LENGTHS)))
    each = mixing.pace(problem, problem.start(1e-4, store)) * temperatures * (1.0 + (1.0 + mixing.TUNING) * chains)
    passes = int(min(mixing.QUICK_PASSES, max(8, mixing.QUICK_SECONDS / each)))
    return mixing.Problem(problem.config, problem.energy, problem.walkers, passes)


def to_json(result: dict[str, Any]) -> str:
    """Strict JSON: null for numbers that are not finite."""
    return json.dumps(_plain(result), indent=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, Iterator)):
        return [_plain(each) for each in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, result: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(to_json(result) + "\n")
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written: {error.strerror}") from None
