"""A block of pseudo-Langevin walkers, constrained or not. Their white noise follows s² of the mini-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.burn_in import masses
from protmpi.sampling.burn_in.pace import Pace
from protmpi.sampling.kernels import constrained, pseudo_langevin
from protmpi.sampling.kernels.energy import Energy
from protmpi.sampling.kernels.noise import Thermostat, collective_excess, noise_samples
from protmpi.sampling.kernels.pseudo_langevin import State
from protmpi.sampling.kernels.sphere import dot, project_momentum
from protmpi.sampling.sections import SamplerConfig
from protmpi.sampling.walkers import thermometer
from protmpi.sampling.walkers.block import Block
from protmpi.sampling.walkers.recording import Record, RecordedSteps, cuda_graph
from protmpi.sampling.walkers.schedule import Schedule, agrees
from protmpi.variables import Variable

TOGETHER = 8  # walkers whose noise is sampled together: memory for noise.PAIRS vectors of each


class LangevinBlock(Block[State]):
    """Walkers that move by mini-batch gradients (docs/method/pseudo-langevin.md and docs/method/noise.md)."""

    def __init__(
        self, walkers: Sequence[int], start: Tensor, temperatures: np.ndarray, energy: Energy, c: SamplerConfig,
        seed: int, anneal: Sequence[Sequence[float]] = (),
    ) -> None:  # fmt: skip
        super().__init__(walkers, start, energy, c, seed)
        if any(anneal):
            raise ValueError("annealing is for trajectories")
        thermostat = Thermostat(self._column(temperatures), c.m1, c.dt, c.scheme)
        constants = (thermostat, self._gradient, self.streams.step_normals)
        if self.norm2 is None:
            self.kernel = pseudo_langevin.build(*constants)
        else:
            self.kernel = constrained.build(*constants, self.norm2, c.fixman)
        self.record: Record | None = cuda_graph if self.start.is_cuda and self.energy.on_device else None
        self._recorded: RecordedSteps | None = None
        self.schedule = Schedule.start(len(self.walkers), c)
        spread = (self.layout.size / 2.0) ** 0.5 * self.temperature.squeeze(1).cpu().numpy()
        self.burn_in = Pace(c, self.start, spread) if c.adapt_until else None
        self.found_rho = [c.rho_max] * len(self.walkers)  # if each walker finds its own, by the end of the burn-in
        self.rho_stage = np.full(len(self.walkers), -1)
        self._set_thermostat()
        self.collective_excess = np.zeros(len(self.walkers))
        self._history: dict[str, np.ndarray] = {}

    @staticmethod
    def variables(layout: Layout) -> list[Variable]:
        return thermometer.variables(layout)

    @property
    def thermostat(self) -> Thermostat:
        return self.kernel.thermostat

    @property
    def temperature(self) -> Tensor:
        return self.thermostat.temperature

    @property
    def mass(self) -> Tensor:
        return self.state.mass

    def _set_thermostat(self) -> None:
        """The thermostat of this step. At rho_first the slow directions, which have little mini-batch noise, must not
        become too cold: at the later rho they relax slowly. The stiff directions lose their heat soon.
        """
        hurries = self.burn_in is not None and self.burn_in.hurries(self.step)
        self.kernel.thermostat = replace(self.thermostat, white_alone=hurries)

    @property
    def rho(self) -> Tensor:
        """The fraction of the thermal noise that sets the masses, (W, 1)."""
        c, burn_in = self.config, self.burn_in
        if c.rho_first and burn_in and burn_in.hurries(self.step):
            fractions = [c.rho_first] * len(self.walkers)
        elif c.rho == "auto":
            fractions = [search.rho for search in burn_in.searches] if burn_in else self.found_rho
        else:
            fractions = [c.rho_at(t) for t in self.temperature.squeeze(1).tolist()]
        return torch.tensor(fractions, dtype=self.start.dtype, device=self.start.device).unsqueeze(1)

    def _gradient(self, w: Tensor) -> Tensor:
        return self._gradient_at(w, self._minibatch("minibatch", None))

    def _gradient_at(self, w: Tensor, indices: np.ndarray | Tensor) -> Tensor:
        return self.regulariser.add_gradient(self.energy.gradient(w, indices)[1], w)

    def _minibatches(self, count: int) -> np.ndarray:
        """Samples (count, W, B) of the next gradients. It calls the check of the energy, which a recording does not."""
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
            goal = min(end, int(self.schedule.due.min()), self.burn_in.next_look(self.step) if self.burn_in else end)
            self._advance(goal - self.step)
            self.step = goal
            if self.burn_in:
                self._look(self.burn_in)

    def _advance(self, steps: int) -> None:
        """Advance by steps of the kernel alone, recorded if that is faster."""
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

    def _look(self, burn_in: Pace) -> None:
        """Adapt as the burn-in requires at this step. At its end masses grow for the last time."""
        look = burn_in.look(self.step, self.position, self.kinetic_ratio, self._full_energy)
        for row in look.refused:
            self._put([row], position=burn_in.anchor[row : row + 1])
        if self.step == burn_in.turn:
            self._set_thermostat()
        if compared := look.at_known_noise:
            self._make_masses(compared, self.state.noise_variance[compared])
        if remade := look.anew:
            self._make_masses(remade, self._estimate(self.position[remade], remade))
            self._measure_excess(remade)
        if self.step == self.config.adapt_until:
            if rest := sorted(set(range(len(self.walkers))) - {*compared, *remade}):
                self._adapt(rest)
            self._end_burn_in(burn_in)

    def _end_burn_in(self, burn_in: Pace) -> None:
        """End the adaptation of masses and keep what the walkers found."""
        self.burn_in, self._history = None, {}
        if burn_in.searches:
            self.found_rho = [search.rho for search in burn_in.searches]
            self.rho_stage = np.array([search.stage for search in burn_in.searches])

    def _full_energy(self, row: int) -> float:
        """Full-batch energy of the walker in `row`, the regulariser included."""
        here = self.position[row : row + 1]
        return float(self.energy.evaluate(here, "train")[0][0]) + float(self.regulariser.energy(self.position)[row])

    def _fresh_masses(self, rows: Sequence[int], noise_variance: Tensor) -> Tensor:
        """Masses of the walkers `rows` for their rho, (rows, P)."""
        thermostat = self.thermostat.rows(rows)
        return masses.fresh_masses(noise_variance, self.rho[list(rows)], thermostat, self.config, self.layout)

    def _make_masses(self, rows: list[int], noise_variance: Tensor) -> None:
        """Masses for the present rho, and momenta drawn anew."""
        fresh = self._fresh_masses(rows, noise_variance)
        self._set_masses(rows, noise_variance, fresh, torch.ones_like(fresh, dtype=torch.bool))

    def _measure_excess(self, rows: list[int]) -> None:
        """Measure the excess temperature of the directions of strong noise, and limit the searches for rho by it."""
        for first in range(0, len(rows), TOGETHER):
            self._measure_excess_of(rows[first : first + TOGETHER])

    def _measure_excess_of(self, rows: list[int]) -> None:
        w, s2, thermostat = self.position[rows], self.state.noise_variance[rows], self.thermostat.rows(rows)
        samples = noise_samples(self._variance_samples(w, rows), range(len(rows)))

        def excess(mass: Tensor) -> np.ndarray:
            return np.asarray(collective_excess(samples, s2, mass, thermostat).cpu().numpy())

        self.collective_excess[rows] = excess(self.state.mass[rows])
        if self.burn_in and self.burn_in.searches:
            for row, found in zip(rows, excess(self._fresh_masses(rows, s2)), strict=True):
                search = self.burn_in.searches[row]
                search.collective = search.rho * self.config.collective_tolerance / max(float(found), 1e-30)

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        self.thermal_mass = self._tensor(thermal_mass)
        heavier = self._shared_masses() / self.mass
        # the value that a walker found alone; now all walkers take the shortest steps
        ratios = heavier.mean(1).tolist()
        self.found_rho = [rho / ratio for rho, ratio in zip(self.found_rho, ratios, strict=False)]
        mass, xi = self._shared_masses(), self.streams.normals("exchange", self.position, range(len(self.walkers)))
        momentum = self.kernel.draw_momentum(self.position, mass, xi, self.thermostat)
        self._state = self.kernel.with_noise(replace(self.state, momentum=momentum, mass=mass))
        self._history = {}

    def _move(self, temperature: Tensor) -> None:
        self.kernel.thermostat = replace(self.thermostat, temperature=temperature)
        self._state = self.kernel.with_noise(replace(self.state, mass=self._shared_masses()))
        self._history = {}  # the fractions differ in the last bit only, and a resumed run must reproduce that bit

    def thermal_state(self) -> str:
        gradient = self.state.gradient
        force = "" if gradient is None else f", largest |gradient| {float(gradient.abs().max()):.3g}"
        return f"T_kin/T = {self.kinetic_ratio()[0]:.3g}, |w|² = {float(dot(self.position, self.position)):.6g}{force}"

    def complaint(self) -> str:
        s = self.state
        if s.position.isnan().any() and self.norm2 is not None:
            return "negative discriminant: the step missed the sphere"
        for name in ("position", "gradient", "momentum", "noise_variance", "mass"):
            array = getattr(s, name)
            if array is not None and not array.isfinite().all():
                return f"the {name.replace('_', ' ')} is not finite"
        return "nothing: every array is finite"

    def finite(self) -> np.ndarray:
        """Which walkers are finite. A walker that its search for rho would return to the anchor counts as finite."""
        total = self.position.sum(1, dtype=torch.float64) + self.state.momentum.sum(1, dtype=torch.float64)
        on_trial = [self.burn_in is not None and self.burn_in.on_trial(row) for row in range(len(self.walkers))]
        return np.asarray(torch.isfinite(total).cpu().numpy()) | np.array(on_trial)

    def kinetic_ratio(self) -> np.ndarray:
        """Kinetic temperature over T, (W,)."""
        return thermometer.kinetic_ratio(self.state, self.temperature, self.norm2 is not None)

    def observables(self) -> dict[str, np.ndarray]:
        """Geometry, thermostat and adaptation, (W, ...) float64 each."""
        if not self._history:
            self._history = self._adaptation()
        return {
            **super().observables(),
            "kinetic_ratio": self.kinetic_ratio(),
            "kinetic_ratio_layer": thermometer.kinetic_ratio_of_arrays(
                self.state, self.temperature, self.norm2 is not None, self.layout
            ),
            **self._history,
        }

    def _adaptation(self) -> dict[str, np.ndarray]:
        """State of the adaptation: quantiles of s² per array and of rho over all parameters, streak, next estimate."""
        searches = self.burn_in.searches if self.burn_in else []
        stages = np.array([search.stage for search in searches]) if searches else self.rho_stage
        return {
            **thermometer.noise(self.state, self.thermostat, self.layout),
            "rho": np.asarray(self.rho.squeeze(1).double().cpu().numpy()),
            "rho_search": stages.copy(),
            "collective_excess": self.collective_excess.copy(),
            "streak": self.schedule.streak.copy(),
            "next_estimate": self.schedule.due.copy(),
        }

    def checkpoint(self) -> dict[str, np.ndarray]:
        s = self.state
        gradient = torch.zeros_like(s.position) if s.gradient is None else s.gradient
        tensors = {"position": s.position, "momentum": s.momentum, "noise_variance": s.noise_variance,
                   "gradient": gradient}  # fmt: skip
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        arrays["collective_excess"] = self.collective_excess.copy()
        arrays["has_gradient"] = np.full(len(self.walkers), s.gradient is not None, dtype=np.uint8)
        if self.config.rho == "auto":
            arrays["found_rho"] = np.array(self.found_rho)
            arrays["rho_stage"] = self.rho_stage.copy()
        if self.burn_in:
            arrays |= self.burn_in.checkpoint()
        return {**arrays, **self._mass_arrays(), "streams": self.streams.state(), **self.schedule.arrays()}

    def stand_in(self, step: int) -> dict[str, np.ndarray]:
        unknown = torch.ones_like(self.start)
        self._state = State(self.start, unknown, unknown, unknown, unknown, unknown, None)
        if self.burn_in and step >= self.config.adapt_until:
            self._end_burn_in(self.burn_in)
        return self.checkpoint()

    def restore(self, step: int, arrays: dict[str, np.ndarray], temperatures: np.ndarray) -> None:
        self.step, self._history = step, {}
        self.kernel.thermostat = replace(self.thermostat, temperature=self._column(temperatures))
        position, momentum, noise_variance, gradient = (
            self._tensor(arrays[name]) for name in ("position", "momentum", "noise_variance", "gradient")
        )
        mass = self._restored_masses(arrays)
        state = State(position, momentum, mass, noise_variance, mass, mass,
                      gradient if arrays["has_gradient"].all() else None)  # fmt: skip
        if self.burn_in and step >= self.config.adapt_until:
            self._end_burn_in(self.burn_in)
        if self.burn_in and self.burn_in.searches:
            self.burn_in.restore(arrays["search"], self._tensor(arrays["anchor"]))
        elif self.config.rho == "auto":
            self.found_rho, self.rho_stage = arrays["found_rho"].tolist(), arrays["rho_stage"].copy()
        self._set_thermostat()
        self._state = self.kernel.with_noise(state)
        self.collective_excess = arrays["collective_excess"].copy()
        self.streams.restore(arrays["streams"])
        self.schedule = Schedule(arrays["streak"].copy(), arrays["due"].copy())

    def _adapt(self, rows: list[int]) -> None:
        """Estimate s² of the walkers `rows`. During the burn-in, adapt their masses."""
        c = self.config
        noise_variance = self._estimate(self.position[rows], rows)
        same = agrees(noise_variance, self.state.noise_variance[rows], self.layout, c.threshold_adj)
        for row, agreed in zip(rows, same, strict=True):
            self.schedule.advance(row, agreed, self.step, c)
        mass, fresh = self.state.mass[rows], self._fresh_masses(rows, noise_variance)
        if self.burn_in and self.step < self.burn_in.turn:
            reset = [self.streams.uniform("reset", row) < c.p_reset for row in rows]
            found = masses.new_masses(mass, fresh, noise_variance, self.thermostat.rows(rows), c.rho_max, reset)
            self._set_masses(rows, noise_variance, *found)
        elif self.burn_in:
            self._set_masses(rows, noise_variance, *masses.settled_masses(mass, fresh))
        else:
            self._put(rows, noise_variance=noise_variance)
            self._state = self.kernel.with_noise(self.state)
        self._measure_excess(rows)
        self._history = {}

    def _set_masses(self, rows: list[int], noise_variance: Tensor, mass: Tensor, redrawn: Tensor) -> None:
        """Set masses of the walkers `rows` after an estimate of s² (rows, P). Draw fresh momenta where `redrawn`."""
        position, thermostat = self.position[rows], self.thermostat.rows(rows)
        fresh = self.kernel.draw_momentum(position, mass, self.streams.normals("reset", mass, rows), thermostat)
        momentum = torch.where(redrawn, fresh, self.state.momentum[rows])
        if self.norm2 is not None:
            momentum = project_momentum(momentum, position, position / mass)
        self._put(rows, momentum=momentum, mass=mass, noise_variance=noise_variance)
        self._state = self.kernel.with_noise(self.state)
        self._history = {}

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.start.device)

    def _put(self, rows: list[int], **arrays: Tensor) -> None:
        """Replace rows of the state. A walker that is moved loses the gradient that the next step would reuse."""
        changed: dict[str, Any] = {
            name: getattr(self.state, name).index_copy(0, self._index(rows), values) for name, values in arrays.items()
        }
        if "position" in arrays and self.state.gradient is not None:
            fresh = self._sample(arrays["position"], "minibatch", rows)
            fresh = replace(self.regulariser, start=self.start[rows]).add_gradient(fresh, arrays["position"])
            changed["gradient"] = self.state.gradient.index_copy(0, self._index(rows), fresh)
        self._state = replace(self.state, **changed)
