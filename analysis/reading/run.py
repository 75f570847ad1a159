"""A store by temperature: walkers write their rows, and physics needs the temperature of each row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.reading.references import REFERENCES
from analysis.statistics.chains import (
    FEW_SAMPLES,
    MINIMUM_DRAWS,
    arviz,
    effective_samples,
    equilibration,
    samples_of_walkers,
    visits,
    whole_chains,
)
from analysis.statistics.equilibrium import Stretch, disequilibrium, samples_needed
from protmpi.errors import StoreError
from protmpi.store.reader import Store
from protmpi.variables import Axis, Variable

if TYPE_CHECKING:
    import pandas

SAME_SPHERE = 1e-6
"""Largest relative difference of squared norms Q for walkers on one sphere."""


def _ladder(store: Store) -> np.ndarray:
    """Temperature of each slot (slot,) at its last committed draw, or of the start if the ladder never moves."""
    ladder = store.read("temperature").astype(np.float64)
    if "slot_temperature" in store:
        slot, temperature = store.read("slot").T, store.read("slot_temperature").T
        known = (slot >= 0) & np.isfinite(temperature)
        ladder[slot[known]] = temperature[known]  # in the order of the draws, so the last one remains
    return ladder


def _sphere(store: Store) -> float:
    """Squared norm Q of the sphere of all walkers; NaN without a sphere. Raises StoreError if walkers differ in Q.

    exp(-U/T) on another sphere is another ensemble, so their draws have no common mean.
    """
    if "sphere_norm2" not in store:
        return np.nan
    norm2 = store.read("sphere_norm2").astype(np.float64)
    low, high = int(np.argmin(norm2)), int(np.argmax(norm2))
    if norm2[high] - norm2[low] > SAME_SPHERE * norm2[high]:
        raise StoreError(
            f"{store.path}: walkers on different spheres are not pooled: |w|² = {norm2[low]:.8g} (walker {low}) and "
            f"{norm2[high]:.8g} (walker {high}); sample each sphere in a run of its own"
        )
    return float(norm2.mean())


class Run:
    """The committed rows of one run. Walker = replica * slots + first slot; slot k has temperature k.

    Temperatures are exchanged between the walkers of one replica only, so at every draw each replica has exactly one
    walker at each temperature. Walkers of simulated tempering jump alone: each is its own replica, at one temperature
    at a time.
    """

    def __init__(self, path: Path | str) -> None:
        self.store = Store(path)
        self.temperature = _ladder(self.store)
        """Temperature of each slot, increasing (slot,), in the unit of the energy, frozen at the end of the burn-in."""
        self.sphere_norm2 = _sphere(self.store)
        """Q, the squared norm of the sphere of all walkers; NaN if the norm is free."""
        kind = self.store.config.get("tempering", {}).get("kind")
        self.alone, self.exchanged = kind == "simulated", kind == "exchange"
        """Whether each walker jumps over the temperatures alone, instead of swapping them within its replica."""
        walkers = self.store.schema.walkers
        self.replicas, left_over = divmod(walkers, 1 if self.alone else self.temperature.size)
        """Number of independent walkers at each temperature."""
        if left_over:
            raise StoreError(f"{path}: {walkers} walkers do not fill whole ladders of {self.temperature.size} slots")

    def __repr__(self) -> str:
        store, kind = self.store, self.store.config["sampler"].get("kind")
        low, high = self.temperature[0], self.temperature[-1]
        return (
            f"<Run {store.path}: {store.schema.walkers} walkers ({kind}), {self.temperature.size} temperatures from "
            f"{low:g} to {high:g}, {store.draws} draws, {store.snapshots} snapshots, burn-in {self.burn_in} steps>"
        )

    @property
    def observables(self) -> dict[str, Variable]:
        """The observables of the task: all recorded real numbers that belong to the physics."""
        return {
            name: variable
            for name, variable in self.store.variables.items()
            if variable.physics
            and not variable.shape
            and np.dtype(variable.dtype).kind == "f"
            and variable.role != "set"
        }

    @property
    def burn_in(self) -> int:
        """Number of steps before the first measured draw."""
        return self.store.burn_in

    @property
    def unfinished(self) -> bool:
        return bool(self.store.status()["state"] == "unfinished")

    def steps(self, axis: Axis) -> np.ndarray:
        """Number of steps at each committed draw or snapshot (row,)."""
        if axis == "draw":
            return self.store.read("step")[: self.store.draws]
        return self.store.read("snapshot_step")[: self.store.snapshots]

    @cached_property
    def walker_at(self) -> np.ndarray:
        """The walker at each temperature (replica, slot, draw); -1 if there was none."""
        walker = np.arange(self.store.schema.walkers).reshape(self.replicas, -1, 1)
        slot = self.store.read("slot").reshape(*walker.shape[:2], self.store.draws)
        # one extra slot: a missing row (slot -1) goes into the last one, which is then removed
        found = np.full((self.replicas, self.temperature.size + 1, slot.shape[-1]), -1)
        np.put_along_axis(found, slot, np.broadcast_to(walker, slot.shape), axis=1)
        found = found[:, :-1]
        if np.any(np.sum(found >= 0, axis=1) < np.sum(slot >= 0, axis=1)):
            raise StoreError(f"{self.store.path}: two walkers of one replica are at the same temperature")
        return found

    def walkers(self, axis: Axis) -> np.ndarray:
        """The walker at each temperature at each draw or snapshot (replica, slot, row); -1 if there was none."""
        if axis == "draw":
            return self.walker_at
        return self.walker_at[:, :, np.searchsorted(self.steps("draw"), self.steps("snapshot"))]

    def arrange(self, rows: np.ndarray, axis: Axis) -> np.ndarray:
        """Sort float rows (walker, row, ...) into (replica, slot, row, ...); NaN if no walker was in the slot."""
        walker = self.walkers(axis)
        arranged = rows[walker, np.arange(rows.shape[1])]
        arranged[walker < 0] = np.nan
        return arranged

    def by_temperature(self, name: str) -> np.ndarray:
        """Committed rows of a float variable by temperature (replica, slot, row, ...), burn-in included."""
        rows = self.store.read(name)
        return self.arrange(rows, self.store.variables[name].axis)

    def chains(self, rows: np.ndarray) -> np.ndarray:
        """Rows (replica, row) of one temperature as chains (chain, row) without missing rows."""
        return visits(rows) if self.alone else whole_chains(rows)

    def series(self, rows: np.ndarray) -> list[np.ndarray]:
        """The same rows as a series (row,) of each walker, or of each ladder. In equilibrium these agree."""
        if not self.alone:
            return list(whole_chains(rows))
        return [one[np.isfinite(one)] for one in rows if np.isfinite(one).any()]

    def walkers_of(self, rows: np.ndarray, slot: int, first: int, axis: Axis) -> np.ndarray | None:
        """The walker of each draw of `chains(rows)`, the rows (replica, row) of a slot from row `first` on.

        None if each chain has its own walker.
        """
        if not (self.alone or self.exchanged):
            return None
        number = np.where(np.isfinite(rows), np.arange(rows.size, dtype=float).reshape(rows.shape), np.nan)
        return np.asarray(self.walkers(axis)[:, slot, first:].ravel()[self.chains(number).astype(int)])

    def most_samples(self, rows: np.ndarray, slot: int, first: int, axis: Axis = "draw") -> float:
        """Most independent draws in the rows (replica, row) of a slot from row `first` on.

        Infinity if their autocorrelation alone decides. For exchange see `chains.samples_of_walkers`.
        """
        found = samples_of_walkers(rows, self.walkers(axis)[:, slot, first:]) if self.exchanged else np.nan
        return float(np.nan_to_num(found, nan=np.inf))

    @property
    def _numbers(self) -> list[str]:
        """The real numbers of every draw."""
        return [name for name, variable in self.store.variables.items()
                if variable.axis == "draw" and not variable.shape and np.dtype(variable.dtype).kind == "f"]  # fmt: skip

    def draws(self) -> pandas.DataFrame:
        """One row for each temperature, replica and draw: step, walker, whether it counts, every recorded number.

        A draw counts from the equilibration of its temperature on. Numbers of a lost walker are NaN.
        """
        import pandas

        shape, steps = self.walker_at.shape, self.steps("draw")
        columns = {
            "temperature": self.temperature[:, None], "replica": np.arange(self.replicas)[:, None, None],
            "step": steps, "walker": self.walker_at,
            "counts": steps >= np.array([stretch.step for stretch in self.stretches])[:, None],
            **{name: self.by_temperature(name) for name in self._numbers},
        }  # fmt: skip
        return pandas.DataFrame({
            name: np.broadcast_to(values, shape).transpose(1, 0, 2).ravel() for name, values in columns.items()
        })  # fmt: skip

    def to_arviz(self, temperature: float) -> Any:
        """ArviZ InferenceData of the draws that count at one temperature.

        The group `posterior` holds the observables (chain, draw), `sample_stats` what describes the sampler. Chains
        with missing draws are left out. Raises StoreError for a temperature that the run does not have.
        """
        found = np.flatnonzero(np.isclose(self.temperature, temperature, rtol=1e-6))
        if not found.size:
            known = ", ".join(f"{t:g}" for t in self.temperature)
            raise StoreError(f"{self.store.path}: has no temperature {temperature:g}; it has {known}")
        slot = int(found[0])
        stretch = self.stretches[slot]
        groups: dict[str, dict[str, np.ndarray]] = {"posterior": {}, "sample_stats": {}}
        first = int(np.searchsorted(self.steps("draw"), stretch.step))
        for name in self._numbers:
            group = "posterior" if self.store.variables[name].role == "law" else "sample_stats"
            if (chains := self.chains(self.by_temperature(name)[:, slot, first:])).size:
                groups[group][name] = chains
        attributes = {"temperature": float(self.temperature[slot]), "store": str(self.store.path),
                      "not_in_equilibrium": stretch.reason}  # fmt: skip
        return arviz().from_dict(**groups, attrs=attributes)

    def references(self, observable: str) -> dict[str, np.ndarray]:
        """Values of an observable for the reference weights in the store: label -> (reference,)."""
        # absent for another task, or if no such weights were trained
        names = {label: f"{prefix}_{observable}" for label, prefix in REFERENCES.items()}
        return {label: self.store.read(name) for label, name in names.items() if name in self.store}

    def require_measured(self) -> None:
        """Raise StoreError unless enough draws for an error bar are committed after the burn-in."""
        first = self.store.first_measured["draw"]
        measured = max(0, self.store.draws - first)
        if measured < MINIMUM_DRAWS:
            raise StoreError(
                f"{self.store.path}: {self.store.draws} committed draws, {measured} of them after the burn-in of "
                f"{self.burn_in} steps; the analysis needs {MINIMUM_DRAWS}: let the run reach step "
                f"{(first + MINIMUM_DRAWS) * self.store.schema.record_every} "
                f"(run.steps is {self.store.schema.steps})"
            )

    @cached_property
    def stretches(self) -> list[Stretch]:
        """The energies that count at each temperature: after the burn-in, after equilibration, whole chains only.

        Walkers that jump alone are in equilibrium as a whole or not at all, whatever their temperature.
        """
        self.require_measured()
        first = self.store.first_measured["draw"]
        steps = self.steps("draw")
        of_walkers = equilibration(whole_chains(self.store.read("energy")[:, first:])) if self.alone else 0
        present = np.sum(self.walker_at[:, :, first:] >= 0, axis=(0, 2))
        rows, found = self.by_temperature("energy")[:, :, first:], []
        for slot in range(self.temperature.size):
            measured = rows[:, slot]
            whole = self.chains(measured)
            discarded = of_walkers if self.alone else equilibration(whole)
            kept = measured[:, discarded:]
            energies = self.chains(kept)
            most = self.most_samples(kept, slot, first + discarded)
            samples = float(np.minimum(effective_samples(energies), most))
            series = self.series(kept)
            needed = FEW_SAMPLES if self.alone else samples_needed(len(series))
            found.append(
                Stretch(
                    energies,
                    self.walkers_of(kept, slot, first + discarded, "draw"),
                    samples,
                    needed,
                    missing=int(present[slot]) - whole.size,
                    discarded=discarded,
                    step=int(steps[first + discarded]),
                    reason=disequilibrium(series, samples, needed),
                )
            )
        return found


def different_spheres(runs: Sequence[tuple[str, Run]]) -> list[str]:
    """A line if some of the named runs have different squared norms Q, or some have a free norm."""
    norms = np.array([run.sphere_norm2 for _, run in runs])
    if np.allclose(norms, norms[0], rtol=SAME_SPHERE, atol=0.0, equal_nan=True):
        return []
    of_each = [f"{name} {'free' if np.isnan(run.sphere_norm2) else f'{run.sphere_norm2:.8g}'}" for name, run in runs]
    return [f"Different ensembles, |w|² = Q is not the same: {', '.join(of_each)}."]
