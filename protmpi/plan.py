"""Everything about a run that is known before its first step: walkers, starts, identity, arrays and cost.

All functions depend on configuration, data and weights alone, so every rank derives the same plan without messages.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc.room import free_disk, free_memory
from protmpi import sampling, weights
from protmpi.config import Config
from protmpi.errors import ConfigError
from protmpi.sampling.kernels.energy import Regulariser
from protmpi.sampling.temperature import ladder
from protmpi.starts import Starts
from protmpi.store.schema import Schema
from protmpi.tasks import Task
from protmpi.variables import Constant, Variable

if TYPE_CHECKING:
    from torch import Tensor

    from protmpi.pilot import Pilot


COPIES = 12  # arrays (P,) that a walker holds: state, masses, start, streams, and what is kept and being written


@dataclass(frozen=True)
class Plan:
    """A run of `config` on `task`, in blocks of walkers, from reference weights (None if the starts are random)."""

    config: Config
    task: Task
    weights: weights.Weights | None
    walkers_per_block: int
    pilot: Pilot | None = None
    """The pilot run that chose the slots if `tempering.slots = "auto"`."""

    @classmethod
    def of(cls, config: Config, task: Task, walkers_per_block: int, pilot: Pilot | None = None) -> Plan:
        """Make the plan.

        Raises DataError if the starting weights are missing or do not fit, ConfigError if mini-batches would be larger
        than the training set.
        """
        if config.sampler.batch > task.train_size and not config.sampler.full_batch:
            raise ConfigError(f"sampler.batch: {config.sampler.batch} is above the {task.train_size} training samples")
        found = weights.load(config.train.file, config, task) if config.takes_references else None
        return cls(config, task, found, walkers_per_block, pilot)

    def require_room(self, ranks_here: int, ranks: int) -> None:
        """Raises ConfigError where the walkers do not fit the memory of this machine, or the draws the disk.

        `ranks_here` of all `ranks` run on this machine.
        """
        mine = -(-self.walkers * ranks_here // ranks)
        need, free = float(mine) * COPIES * 4 * self.task.layout.size, free_memory()
        if need > free:
            raise ConfigError(f"sampler.walkers_per_temperature: {mine:,} walkers of {self.task.layout.size:,} "
                              f"parameters need {need / 1e9:.3g} GB of memory, {free / 1e9:.3g} are free")  # fmt: skip
        path, size = self.config.execution.store, self.schema.bytes()
        if not path.exists() and size > (disk := free_disk(path)):
            raise ConfigError(f"run.steps: the store would take {size / 1e9:.3g} GB, {disk / 1e9:.3g} are free at "
                              f"{path}; raise run.record_every, or take fewer steps")  # fmt: skip

    @property
    def walkers(self) -> int:
        return self.config.walkers

    @property
    def blocks(self) -> int:
        return -(-self.walkers // self.walkers_per_block)

    def walkers_of(self, blocks: range) -> range:
        """Global indices of the walkers in `blocks`."""
        size = self.walkers_per_block
        return range(blocks.start * size, min(blocks.stop * size, self.walkers))

    @cached_property
    def starts(self) -> Starts:
        return Starts(self.config, self.task, self.weights)

    @cached_property
    def schema(self) -> Schema:
        run = self.config.run
        variables = (
            Variable("slot", "draw", "temperature index of the walker", dtype="int32"),
            Variable("slot_temperature", "draw", "temperature of the walker", self._unit, role="set", shown=False),
            *self._tempering_variables(),
            *self.task.variables,
            *sampling.variables(self.config.sampler, self.task.layout, self._unit),
            Variable("seconds", "draw", "wall time since the previous draw", "s", physics=False),
            Variable("parameters", "snapshot", "flat parameter vector, see attribute `parameter_layout`",
                     dtype="float32", dims=("parameter",), shape=(self.task.layout.size,)),
        )  # fmt: skip
        return Schema(self.walkers, run.steps, run.record_every, run.snapshot_every, run.draws_per_chunk, variables,
                      self.walkers_per_block)  # fmt: skip

    @property
    def _unit(self) -> str:
        """Unit of energy and temperature."""
        return next(variable.unit for variable in self.task.variables if variable.name == "energy")

    def _tempering_variables(self) -> list[Variable]:
        if self.config.tempering.kind != "simulated":
            return []
        slots = len(self.config.sampler.temperatures)
        return [Variable("log_weight", "draw", "g_k in the law exp(-U/T_k + g_k)", dims=("ladder",),
                         shape=(slots,))]  # fmt: skip

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that determines the draws, with the content of files. A run continues a store of equal identity."""
        return {**self.config.physics(), "data.file": self.task.data_hash, **self.starts.identity()}

    def constants(self) -> list[Constant]:
        """Temperatures, constants of the task, and observables of the ES and OT reference weights."""
        temperatures = np.asarray(self.config.sampler.temperatures)
        spheres = np.array([weights.norm2(self.starts.of(walker)) for walker in range(self.walkers)])
        held = Constant("sphere_norm2", ("walker",), spheres, "squared norm Q of the sphere of the walker")
        constants = [
            Constant("temperature", ("ladder",), temperatures, "temperature of each slot", self._unit),
            *([held] if self.config.sampler.constrained else []),
            *self.task.constants(),
        ]
        for name in ("es", "ot") if self.weights else ():
            if len(getattr(self.weights, name)):
                constants += self._reference_constants(name)
        return constants

    def _reference_constants(self, name: str) -> list[Constant]:
        import torch

        parameters = getattr(self.weights, name)
        w = torch.tensor(parameters, device=self.task.device)
        sampler = self.config.sampler
        regulariser = Regulariser(sampler.lamda, sampler.gamma, start=w)  # the tether starts at w: its energy is zero
        observables = {
            **self.observables(w, regulariser),
            **self.task.snapshot_observables(w),
            "parameters": parameters,
        }
        observables["norm2"] = weights.norm2(parameters)
        dims = {variable.name: variable.dims for variable in self.schema.variables}
        return [
            Constant(
                f"{name}_{key}", ("reference", *dims[key]), value, f"{key} of the {name.upper()} reference weights"
            )
            for key, value in observables.items()
        ]

    def observables(self, w: Tensor, regulariser: Regulariser) -> dict[str, np.ndarray]:
        """Draw observables of the task at w (W, P). The energy is the cost plus the regulariser, if there is one."""
        observables = self.task.draw_observables(w)
        if regulariser:
            observables["cost"] = observables["energy"]
            observables["energy"] = observables["cost"] + regulariser.energy(w).squeeze(1).cpu().numpy()
        return observables

    def attributes(self, hosts: list[dict[str, Any]]) -> dict[str, Any]:
        """Root attributes of the store."""
        packages = ("protmpi", "torch", "numpy", "zarr", "mpi4py")
        return {
            "config": self.config.written(),
            "identity": self.identity,
            "burn_in": self.config.burn_in,
            "parameter_layout": self.task.layout.to_json(),
            "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
            "hosts": hosts,
            **({"pilot": self.pilot.to_json()} if self.pilot else {}),
        }

    def cost(self, ranks: int) -> str:
        """The cost of the run in one line."""
        c, sampler = self.config, self.config.sampler
        each = 2 if sampler.scheme == "double" and not sampler.full_batch else 1
        every, few = f"all {self.task.train_size:,} samples", f"{sampler.batch} samples"
        batch = f"{every} (pseudo-Langevin: {few})" if sampler.full_batch else f"{few} (trajectories: {every})"
        gradients = f"{each * c.run.steps * self.walkers:.3g} gradients of {batch}"
        return (
            f"{self.walkers} walkers x {c.run.steps:,} steps = {gradients} of {c.model.name} "
            f"({self.task.layout.size:,} parameters) on {ranks} rank{'s' if ranks > 1 else ''}; store: "
            f"{self.schema.draws:,} draws, {self.schema.snapshots:,} snapshots, "
            f"{self.schema.bytes() / 1e9:.3g} GB in {self.schema.files():,} files"
        )

    def tempering_cost(self) -> str:
        """One line on the number of slots that the ladder needs, as far as it is known before the first swap."""
        sampler, tempering = self.config.sampler, self.config.tempering
        t, count = np.asarray(sampler.temperatures), sampler.walkers_per_temperature
        walks = f"{count} ladder{'s' * (count > 1)} of"
        if tempering.kind == "simulated":
            walks = f"{self.walkers} walker{'s' * (self.walkers > 1)} on one ladder of"
        known = "`protmpi ladder CONFIG` measures C"
        if self.pilot:
            low, high = self.pilot.capacity.min(), self.pilot.capacity.max()
            known = f"the pilot found C = {low:.0f} to {high:.0f} and a barrier of {self.pilot.barrier:.2f}"
        return (
            f"{walks} {len(t)} temperatures from {t[0]:.3g} to {t[-1]:.3g}; rejection is sqrt(C/pi) per e-fold of T, "
            f"so these are enough for heat capacities C up to {ladder.bearable_capacity(t):.0f}; {known}"
        )

