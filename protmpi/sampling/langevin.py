"""A block of pseudo-Langevin walkers: constrained or not, masses and noise adapted during burn-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protmpi.sampling import adaptation, constrained, pseudo_langevin
from protmpi.sampling.block import Block
from protmpi.sampling.constrained import dot
from protmpi.sampling.noise import collective_excess, noise_samples, noise_share
from protmpi.sampling.pseudo_langevin import State
from protmpi.sampling.replay import Record, RecordedSteps, cuda_graph
from protmpi.sampling.step_size import FROZEN, Search

QUANTILES = (0.1, 0.5, 0.9)
"""Of s² over each array of the network, and of rho over all parameters, in the history of the adaptation."""

TOGETHER = 8  # walkers whose noise is sampled together: noise.PAIRS vectors of each are held


class LangevinBlock(Block[State]):
    """Walkers that move by mini-batch gradients (docs/method/pseudo-langevin.md and docs/method/noise.md)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        c = self.config
        self._turn = c.adapt_until // 2  # from here on masses only grow; rho_first gives way to rho
        constants = (self.thermostat, self._gradient, self.streams.step_normals)
        if self.norm2 is None:
            self.kernel = pseudo_langevin.build(*constants)
        else:
            self.kernel = constrained.build(*constants, self.norm2, c.fixman)
        self._set_thermostat()
        self.record: Record | None = cuda_graph if self.start.is_cuda and self.energy.on_device else None
        self._recorded: RecordedSteps | None = None
        self._searches: list[Search] = []
        if c.rho == "auto":
            tick = max(1, round(0.5 / c.m1**2))
            spread = (self.layout.size / 2.0) ** 0.5 * self.thermostat.temperature.squeeze(1).cpu().numpy()
            self._searches = [Search(c.adapt_until, tick, c.rho_tolerance, c.rho_max, float(s)) for s in spread]
        self.collective_excess = np.zeros(len(self.walkers))
        self._anchor = self.start  # weights to which a refused trial of the search returns
        self._history: dict[str, np.ndarray] = {}

    @property
    def mass(self) -> Tensor:
        return self.state.mass

    @property
    def _rho_first(self) -> float | None:
        """rho for as long as pace counts for more than exactness."""
        return self.config.rho_first if self.step < self._turn else None

    def _set_thermostat(self) -> None:
        """That of this step. Under rho_first slow directions, which have little mini-batch noise, must not be left too
        cold, for at the rho that follows they take long to forget it; the heat of the others, stiff ones, goes soon.
        """
        self.thermostat = self.kernel.thermostat = replace(self.thermostat, white_alone=self._rho_first is not None)

    @property
    def rho(self) -> Tensor:
        """The share that masses are made for, (W, 1)."""
        temperatures = self.thermostat.temperature.squeeze(1).tolist()
        if self._rho_first:
            shares = [self._rho_first] * len(temperatures)
        else:
            shares = [s.rho for s in self._searches] or [self.config.rho_at(t) for t in temperatures]
        return torch.tensor(shares, dtype=self.start.dtype, device=self.start.device).unsqueeze(1)

    def _gradient(self, w: Tensor) -> Tensor:
        return self._gradient_at(w, self._minibatch("minibatch", None))

    def _gradient_at(self, w: Tensor, indices: np.ndarray | Tensor) -> Tensor:
        return self.regulariser.add_gradient(self.energy.gradient(w, indices)[1], w)

    def _minibatches(self, count: int) -> np.ndarray:
        """Samples (count, W, B) of the next gradients. A replay does not come by the check of the energy, this does."""
        self.energy.check()
        drawn = self.streams.integers("minibatch", self.energy.train_size, (count, self.config.batch))
        return np.ascontiguousarray(drawn.swapaxes(0, 1))

    def initialise(self) -> None:
        """Estimate s² at the starting weights, set the masses, draw the momenta."""
        everyone = list(range(len(self.walkers)))
        noise_variance = self._estimate(self.start, everyone)
        mass = self._fresh_masses(everyone, noise_variance)
        self._state = self.kernel.init(self.start.clone(), mass, noise_variance)
        self._measure_excess(everyone)

    def explore(self, steps: int) -> None:
        end = self.step + steps
        while self.step < end:
            due = [row for row in range(len(self.walkers)) if self.schedule.due[row] <= self.step]
            if due:
                self._adapt(due)
            goal = min(end, int(self.schedule.due.min()), self._next_look())
            self._advance(goal - self.step)
            self.step = goal
            self._look()

    def _advance(self, steps: int) -> None:
        """Nothing but steps of the kernel, recorded where that is worth it."""
        if self.record is None:
            for _ in range(steps):
                self._state = self.kernel.step(self.state)
            return
        if self.state.gradient is None and self.config.scheme == "single":
            self._state = replace(self.state, gradient=self._gradient(self.position))
        if self._recorded is None:
            self._recorded = RecordedSteps(
                self.record, self.kernel, self.state, self.config.batch, self._gradient_at, self._minibatches,
                self.streams.every_step,
            )  # fmt: skip
        self._state = self._recorded(self.state, self.thermostat.temperature, steps)

    def _next_look(self) -> int:
        """Step at which masses may change next, but for estimates of s²: half of the burn-in, its end, a look of the
        search for rho."""
        ends = [end for end in (self._turn, self.config.adapt_until) if end > self.step]
        if self._searches and ends:
            ends.append((self.step // self._searches[0].tick + 1) * self._searches[0].tick)
        return min(ends, default=int(np.iinfo(np.int64).max))

    def _look(self) -> None:
        """At half of the burn-in all masses are made anew, those of its start may be off by orders of magnitude; at its
        end they grow for the last time. In between they follow where a search changes rho."""
        changed = []
        if self._searches and self.step <= self.config.adapt_until:
            changed = self._tell_searches(self.step == self.config.adapt_until)
        if self.step == self._turn:
            self._set_thermostat()
            changed = list(range(len(self.walkers)))
        if compared := [row for row in changed if self._searches and self._searches[row].comparing]:
            self._make_masses(compared, self.state.noise_variance[compared])
        if remade := [row for row in changed if row not in compared]:
            self._make_masses(remade, self._estimate(self.position[remade], remade))
            self._measure_excess(remade)
        if self.step == self.config.adapt_until and (rest := [r for r in range(len(self.walkers)) if r not in changed]):
            self._adapt(rest, last=True)

    def _tell_searches(self, last: bool) -> list[int]:
        """The walkers whose rho changed."""
        if self.step % self._searches[0].tick and not last:
            return []
        kinetic, changed = self.kinetic_ratio(), []
        for row, search in enumerate(self._searches):
            before, energy = search.rho, np.nan
            if search.wants_energy(self.step):
                here = self.position[row : row + 1]
                energy = float(self.energy.evaluate(here, "train")[0][0])
                energy += float(self.regulariser.energy(self.position)[row])
            refused = search.tell(self.step, float(kinetic[row]), energy)
            if last:
                search.freeze()
            search.limit()
            if refused:
                self._put([row], position=self._anchor[row : row + 1])
            if search.since == self.step:
                self._anchor = self._anchor.index_copy(0, self._index([row]), self.position[row : row + 1])
            if refused or search.rho != before:
                changed.append(row)
        return changed

    def _fresh_masses(self, rows: Sequence[int], noise_variance: Tensor) -> Tensor:
        """Masses of the walkers `rows` for their rho, (rows, P)."""
        thermostat = self.thermostat.rows(rows)
        return adaptation.fresh_masses(noise_variance, self.rho[list(rows)], thermostat, self.config, self.layout)

    def _make_masses(self, rows: list[int], noise_variance: Tensor) -> None:
        """Masses for the present rho, and momenta drawn anew."""
        fresh = self._fresh_masses(rows, noise_variance)
        self._set_masses(rows, noise_variance, fresh, torch.ones_like(fresh, dtype=torch.bool))

    def _measure_excess(self, rows: list[int]) -> None:
        """Learn how hot the noise makes its own directions, and tell the searches for rho what that allows."""
        for first in range(0, len(rows), TOGETHER):
            self._measure_excess_of(rows[first : first + TOGETHER])

    def _measure_excess_of(self, rows: list[int]) -> None:
        w, s2, thermostat = self.position[rows], self.state.noise_variance[rows], self.thermostat.rows(rows)
        samples = noise_samples(self._variance_samples(w, rows), range(len(rows)))

        def excess(mass: Tensor) -> np.ndarray:
            return np.asarray(collective_excess(samples, s2, mass, thermostat).cpu().numpy())

        self.collective_excess[rows] = excess(self.state.mass[rows])
        if self._searches and self.step <= self.config.adapt_until:
            for row, found in zip(rows, excess(self._fresh_masses(rows, s2)), strict=True):
                search = self._searches[row]
                search.collective = search.rho * self.config.collective_tolerance / max(float(found), 1e-30)

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        self.thermal_mass = self._tensor(thermal_mass)
        heavier = self._shared_masses() / self.mass
        for search, ratio in zip(self._searches, heavier.mean(1).tolist(), strict=False):
            search.rho /= ratio  # what the walker found alone; now all share the steps of the shortest
        mass, xi = self._shared_masses(), self.streams.normals("exchange", self.position, range(len(self.walkers)))
        momentum = self.kernel.draw_momentum(self.position, mass, xi, self.thermostat)
        self._state = self.kernel.with_noise(replace(self.state, momentum=momentum, mass=mass))
        self._history = {}

    def move(self, temperatures: np.ndarray) -> None:
        self.set_temperatures(temperatures)
        self.kernel.thermostat = self.thermostat
        self._state = self.kernel.with_noise(replace(self.state, mass=self._shared_masses()))
        self._history = {}  # shares of the noise are the same but for the last bit, which a resumed run must have too

    def thermal_state(self) -> str:
        gradient = self.state.gradient
        force = "" if gradient is None else f", largest |gradient| {float(gradient.abs().max()):.3g}"
        return f"T_kin/T = {self.kinetic_ratio()[0]:.3g}, |w|² = {float(dot(self.position, self.position)):.6g}{force}"

    def complaint(self) -> str:
        s = self.state
        if s.position.isnan().any() and self.norm2 is not None:
            return "negative discriminant: the step left the sphere's reach"
        for name in ("position", "gradient", "momentum", "noise_variance", "mass"):
            array = getattr(s, name)
            if array is not None and not array.isfinite().all():
                return f"the {name.replace('_', ' ')} is not finite"
        return "nothing: every array is finite"

    def finite(self) -> np.ndarray:
        """A walker on trial counts as finite: its search for rho calls it back at the next look."""
        total = self.position.sum(1, dtype=torch.float64) + self.state.momentum.sum(1, dtype=torch.float64)
        on_trial = [search.stage < FROZEN for search in self._searches] or [False]
        return np.asarray(torch.isfinite(total).cpu().numpy()) | np.array(on_trial)

    def _kinetic_energies(self) -> Tensor:
        """p²/M of every parameter, (W, P) float64."""
        p = self.state.momentum.double()
        return p * p / self.state.mass

    def kinetic_ratio(self) -> np.ndarray:
        """Kinetic temperature over T, (W,): p²/M over (degrees of freedom T)."""
        freedom = self.layout.size - (self.norm2 is not None)
        ratio = self._kinetic_energies().sum(1) / (freedom * self.thermostat.temperature.squeeze(1).double())
        return np.asarray(ratio.cpu().numpy())

    def kinetic_ratio_of_arrays(self) -> np.ndarray:
        """The same for each array of the network, (W, arrays).

        The constraint takes one degree of freedom from all arrays together, from each the share of w·w/M it holds.
        """
        w, energies = self.position.double(), self._kinetic_energies()
        metric = w * w / self.state.mass if self.norm2 is not None else torch.zeros_like(w)
        total = metric.sum(1).clamp(min=torch.finfo(torch.float64).tiny)
        columns = [
            energies[:, e.slice].sum(1) / (e.size - metric[:, e.slice].sum(1) / total) for e in self.layout.entries
        ]
        return np.asarray((torch.stack(columns, 1) / self.thermostat.temperature.double()).cpu().numpy())

    def observables(self) -> dict[str, np.ndarray]:
        """Geometry, thermostat and adaptation, (W, ...) float64 each."""
        if not self._history:
            self._history = self._adaptation()
        return {
            **super().observables(),
            "kinetic_ratio": self.kinetic_ratio(),
            "kinetic_ratio_layer": self.kinetic_ratio_of_arrays(),
            **self._history,
        }

    def _adaptation(self) -> dict[str, np.ndarray]:
        """Where the adaptation stands: quantiles of s² per array and of rho over all, streak, next estimate."""
        s = self.state
        variance = [_quantiles(s.noise_variance[:, e.slice]) for e in self.layout.entries]
        share = _quantiles(noise_share(s.noise_variance, s.mass, self.thermostat))
        stages = [search.stage for search in self._searches] or [-1] * len(self.walkers)
        return {
            "noise_variance": np.asarray(torch.stack(variance, 1).cpu().numpy()),
            "noise_share": np.asarray(share.cpu().numpy()),
            "rho": np.asarray(self.rho.squeeze(1).double().cpu().numpy()),
            "rho_search": np.asarray(stages),
            "collective_excess": self.collective_excess.copy(),
            "streak": self.schedule.streak.copy(),
            "next_estimate": self.schedule.due.copy(),
        }

    def checkpoint(self) -> dict[str, np.ndarray]:
        s = self.state
        gradient = torch.zeros_like(s.position) if s.gradient is None else s.gradient
        tensors = {"position": s.position, "momentum": s.momentum, "noise_variance": s.noise_variance,
                   "gradient": gradient}  # fmt: skip
        if self._searches:
            tensors["anchor"] = self._anchor
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        if self._searches:
            arrays["search"] = np.stack([search.to_array() for search in self._searches])
        arrays["collective_excess"] = self.collective_excess.copy()
        arrays["has_gradient"] = np.full(len(self.walkers), s.gradient is not None, dtype=np.uint8)
        return {**arrays, **self._mass_arrays(), "streams": self.streams.state(), **self.schedule.arrays()}

    def stand_in(self) -> dict[str, np.ndarray]:
        unknown = torch.ones_like(self.start)
        self._state = State(self.start, unknown, unknown, unknown, unknown, unknown, None)
        return self.checkpoint()

    def restore(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        position, momentum, noise_variance, gradient = (
            self._tensor(arrays[name]) for name in ("position", "momentum", "noise_variance", "gradient")
        )
        mass = self._restored_masses(arrays)
        state = State(position, momentum, mass, noise_variance, mass, mass,
                      gradient if arrays["has_gradient"].all() else None)  # fmt: skip
        self.step, self._history = step, {}
        self._set_thermostat()
        self._state = self.kernel.with_noise(state)
        self.collective_excess = arrays["collective_excess"].copy()
        for search, row in zip(self._searches, arrays.get("search", ()), strict=True):
            search.restore(row)
        self._anchor = self._tensor(arrays["anchor"]) if self._searches else self.start
        self.streams.restore(arrays["streams"])
        self.schedule = adaptation.Schedule(arrays["streak"].copy(), arrays["due"].copy())

    def _adapt(self, rows: list[int], last: bool = False) -> None:
        """Estimate s² of the walkers `rows`; during burn-in, at its end for the `last` time, let masses follow."""
        c = self.config
        noise_variance = self._estimate(self.position[rows], rows)
        same = adaptation.agrees(noise_variance, self.state.noise_variance[rows], self.layout, c.threshold_adj)
        for row, agreed in zip(rows, same, strict=True):
            self.schedule.advance(row, agreed, self.step, c)
        mass, fresh = self.state.mass[rows], self._fresh_masses(rows, noise_variance)
        if self.step < self._turn:
            reset = [self.streams.uniform("reset", row) < c.p_reset for row in rows]
            found = adaptation.new_masses(mass, fresh, noise_variance, self.thermostat.rows(rows), c.rho_max, reset)
            self._set_masses(rows, noise_variance, *found)
        elif self.step < c.adapt_until or last:
            self._set_masses(rows, noise_variance, *adaptation.settled_masses(mass, fresh))
        else:
            self._put(rows, noise_variance=noise_variance)
            self._state = self.kernel.with_noise(self.state)
        self._measure_excess(rows)
        self._history = {}

    def _set_masses(self, rows: list[int], noise_variance: Tensor, mass: Tensor, redrawn: Tensor) -> None:
        """Masses of the walkers `rows` after an estimate of s² (rows, P), with fresh momenta where `redrawn`."""
        position, thermostat = self.position[rows], self.thermostat.rows(rows)
        fresh = self.kernel.draw_momentum(position, mass, self.streams.normals("reset", mass, rows), thermostat)
        momentum = torch.where(redrawn, fresh, self.state.momentum[rows])
        if self.norm2 is not None:
            momentum = constrained.project_momentum(momentum, position, position / mass)
        self._put(rows, momentum=momentum, mass=mass, noise_variance=noise_variance)
        self._state = self.kernel.with_noise(self.state)
        self._history = {}

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.start.device)

    def _put(self, rows: list[int], **arrays: Tensor) -> None:
        """Replace rows of the state. A walker that is put elsewhere has no gradient to go on with."""
        changed: dict[str, Any] = {
            name: getattr(self.state, name).index_copy(0, self._index(rows), values) for name, values in arrays.items()
        }
        if "position" in arrays and self.state.gradient is not None:
            fresh = self._sample(arrays["position"], "minibatch", rows)
            fresh = replace(self.regulariser, start=self.start[rows]).add_gradient(fresh, arrays["position"])
            changed["gradient"] = self.state.gradient.index_copy(0, self._index(rows), fresh)
        self._state = replace(self.state, **changed)


def _quantiles(x: Tensor) -> Tensor:
    """QUANTILES (W, 3) of the rows of x (W, n), float64; row by row, for torch takes 2^24 numbers at most."""
    at = torch.tensor(QUANTILES, dtype=torch.float64, device=x.device)
    return torch.stack([row.double().quantile(at) for row in x])
