"""Cost of an independent draw, in training samples and in seconds, for samplers from the same equilibrated weights.

At each temperature, trajectories of the full gradient bring all walkers from reference weights (or from the last
snapshots of a store) to equilibrium and tune masses and time step. Every sampler starts from there, tunes itself and is
measured. The unit of cost is the sequence-gradient, the gradient of one training sample; estimates of s² are included.
N of them are a pass over the training set. Evaluation of the draws is neither counted nor timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protmpi import sampling
from protmpi.bench.correlation import Correlation, correlation, decay, drift
from protmpi.bench.progress import Progress
from protmpi.bench.timings import NEVER, synchronise
from protmpi.config import Config
from protmpi.errors import ConfigError
from protmpi.plan import Plan
from protmpi.sampling.sections import SamplerConfig, rho_limit
from protmpi.sampling.walkers.block import Block
from protmpi.tasks import Task

PUBLISHED_RHO = 5e-8  # transformer-4-64 at T = 1.1e-4
PROBE = 1e-4  # rho at which the excess heat of the noise is measured; the excess is proportional to rho
SNAPSHOTS = 64  # snapshots of a walker, for the decay of the overlap
DRAWS = 200  # draws of a chain of pseudo-Langevin
FEWEST = 2  # least number of measured trajectories
TUNING = 0.25  # fraction of the measured length in which a sampler first tunes itself
TRIALS = 4  # least trajectories that tune the time step; the search begins as if after so many
BURN_IN, ESTIMATES = 20, 10  # least trajectories and most estimates of the masses in the burn-in
QUICK_SECONDS, QUICK_PASSES = 60.0, 1_000  # seconds of gradients that `quick` may take; passes that are always enough


class Counted:
    """A task that counts the training samples whose gradients it computes, for all walkers."""

    def __init__(self, task: Task) -> None:
        self.task, self.samples = task, 0
        self.layout, self.train_size, self.on_device = task.layout, task.train_size, task.on_device
        self.check = task.check
        self.evaluate, self.draw_observables = task.evaluate, task.draw_observables

    def gradient(self, w: Tensor, indices: np.ndarray | Tensor | None) -> tuple[Tensor, Tensor]:
        self.samples += len(w) * (self.train_size if indices is None else indices.shape[1])
        return self.task.gradient(w, indices)


@dataclass(frozen=True)
class Equilibrium:
    """Walkers at `temperature` after the burn-in, with the masses and time steps of their trajectories."""

    temperature: float
    walkers: range
    position: Tensor
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """The problem: `walkers` walkers at each temperature, each for `passes` passes over the training set."""

    config: Config
    energy: Counted
    walkers: int
    passes: int

    @property
    def tuning(self) -> int:
        """Passes of a sampler before it is measured, if these are enough."""
        return math.ceil(TUNING * self.passes)

    def sampler(self, full_batch: bool, **changes: Any) -> SamplerConfig:
        """The sampler section for trajectories or pseudo-Langevin, with the other keys as given."""
        kind = ("constrained" if self.config.sampler.constrained else "unconstrained") if not full_batch else (
            "constrained-trajectories" if self.config.sampler.constrained else "trajectories")  # fmt: skip
        return self.config.sampler.model_copy(update={"kind": kind, "anneal": [], "rho_first": None, **changes})

    @property
    def reference(self) -> str:
        """The start of walkers without a store."""
        return "ES" if self.config.takes_references else "random"

    def build(self, walkers: range, start: Tensor, temperature: float, sampler: SamplerConfig, seed: int) -> Block[Any]:
        return sampling.build(
            walkers, start, np.full(len(walkers), temperature), self.energy, sampler, self.config.run.seed + seed
        )

    def start(self, temperature: float, store: str | None) -> Tensor:
        """Starts (walkers, P) at `temperature`: ES, fresh weights without a training, or snapshots of a store.

        Raises DataError or StoreError if they are missing or do not fit.
        """
        config = self.config.without_tempering(np.array([temperature]), self.config.run.seed)
        changes = {"start": [store or self.reference], "walkers_per_temperature": self.walkers}
        config = config.model_copy(update={"sampler": config.sampler.model_copy(update=changes)})
        starts = Plan.of(config, self.energy.task, self.walkers).starts
        w = np.stack([starts.of(walker) for walker in range(self.walkers)])
        return torch.tensor(w, device=self.energy.task.device)

    def settle(self, block: Block[Any], steps: int, stretch: int, advance: Callable[[float], None]) -> None:
        """Burn-in or tuning, a `stretch` of steps at a time."""
        each = samples_of_a_step(block.config, self.energy.train_size) * self.walkers
        for first in range(0, steps, stretch):
            count = min(stretch, steps - first)
            block.explore(count)
            advance(count * each)

    def equilibrate(
        self, number: int, temperature: float, passes: int, store: str | None, advance: Callable[[float], None]
    ) -> Equilibrium:
        """Trajectories for `passes` passes at the `number`-th temperature."""
        length = max(1, min(self.config.sampler.trajectory, passes // BURN_IN))
        c = self.config.sampler
        estimate = math.ceil(c.min_extractions * c.batch / self.energy.train_size)  # passes of one estimate of s²
        every, passes = max(length, passes // ESTIMATES, estimate), passes // length * length
        sampler = self.sampler(True, trajectory=length, momentum_kept=1.0, adapt_until=passes, min_adj_step=every,
                               max_adj_step=every)  # fmt: skip
        walkers = range(number * self.walkers, (number + 1) * self.walkers)
        block = self.build(walkers, self.start(temperature, store), temperature, sampler, 0)
        block.initialise()
        self.settle(block, passes, length, advance)
        return Equilibrium(temperature, walkers, block.position.clone(), block.checkpoint())


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of `length` steps that keep the fraction `kept` of the momentum."""

    length: int
    kept: float = 1.0

    @property
    def name(self) -> str:
        return f"trajectories of {self.length}" + (f", {self.kept:.2g} of p kept" if self.kept < 1.0 else "")

    def tuning(self, problem: Problem) -> int:
        """Passes before it is measured."""
        return max(TRIALS, problem.tuning // self.length) * self.length

    def tuned(self, problem: Problem, begin: Equilibrium, seed: int, advance: Callable[[float], None]) -> Block[Any]:
        """Trajectories with the masses of the burn-in. The time step is tuned for this length."""
        n, tune = self.length, self.tuning(problem)
        end = 2 * (tune + TRIALS * n)
        # restored TRIALS trajectories after half of its burn-in, the block keeps its masses and tunes in small steps
        sampler = problem.sampler(True, trajectory=n, momentum_kept=self.kept ** (1.0 / n), adapt_until=end,
                                  min_adj_step=NEVER, max_adj_step=NEVER)  # fmt: skip
        block = problem.build(begin.walkers, begin.position, begin.temperature, sampler, seed)
        kept = begin.arrays
        tuned = {"average": kept["time_step"], "variance": begin.temperature * kept["mass"],
                 "estimates": np.ones(len(begin.walkers), np.int64), "streams": block.streams.state()}  # fmt: skip
        block.restore(end - tune, {**kept, **tuned}, np.full(len(begin.walkers), begin.temperature))
        problem.settle(block, tune, n, advance)
        return block

    def stretch(self, problem: Problem) -> tuple[int, int]:
        """Number of steps between two draws, and number of draws."""
        return self.length, max(FEWEST, problem.passes // self.length)


@dataclass(frozen=True)
class PseudoLangevin:
    """Pseudo-Langevin with the fraction `rho` of its noise from mini-batches; None: the most that "auto" may take."""

    rho: float | None

    @property
    def name(self) -> str:
        return "pseudo-Langevin, rho " + ("auto" if self.rho is None else f"{self.rho:.3g}")

    def tuning(self, problem: Problem) -> int:
        """Passes before it is measured."""
        return problem.tuning

    def tuned(self, problem: Problem, begin: Equilibrium, seed: int, advance: Callable[[float], None]) -> Block[Any]:
        block = self._block(problem, begin, seed, PROBE if self.rho is None else self.rho)
        block.initialise()
        if self.rho is None:
            c = problem.config.sampler
            # the upper limit of the search for rho, which would need 20 000 steps to find it (step_size.py)
            most = PROBE * c.collective_tolerance / max(float(block.collective_excess.max()), 1e-30)
            block = self._block(problem, begin, seed, min(most, c.rho_max, rho_limit(c.scheme, c.m1)))
            block.initialise()
        problem.settle(block, block.config.adapt_until, self.stretch(problem)[0], advance)
        return block

    def _block(self, problem: Problem, begin: Equilibrium, seed: int, rho: float) -> Any:
        sampler = problem.sampler(False, rho=rho, adapt_until=round(problem.tuning * self._steps_of_a_pass(problem)))
        return problem.build(begin.walkers, begin.position, begin.temperature, sampler, seed)

    def _steps_of_a_pass(self, problem: Problem) -> float:
        return problem.energy.train_size / samples_of_a_step(problem.sampler(False), problem.energy.train_size)

    def stretch(self, problem: Problem) -> tuple[int, int]:
        steps = problem.passes * self._steps_of_a_pass(problem)
        between = max(1, math.ceil(steps / DRAWS))
        return between, max(FEWEST, round(steps / between))


Method = Trajectories | PseudoLangevin


def samples_of_a_step(sampler: SamplerConfig, train_size: int) -> int:
    """Training samples in the gradients of one step of one walker."""
    if sampler.full_batch:
        return train_size
    return sampler.batch * (2 if sampler.scheme == "double" else 1)


@dataclass
class Chains:
    """Draws of all walkers of one sampler, their weights at some draws, and their cost."""

    position: list[np.ndarray]  # the start, then every `stride`-th draw
    stride: int
    energy: list[np.ndarray] = field(default_factory=list)
    error: list[np.ndarray] = field(default_factory=list)
    samples: float = 0.0
    seconds: float = 0.0
    acceptance: float = math.nan

    def whole(self) -> np.ndarray:
        """Draws of each walker before it was lost, (walkers,)."""
        return np.asarray(np.logical_and.accumulate(np.isfinite(self.energy), axis=0).sum(0))

    def of_walkers(self) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """Energies, errors and weights of each walker with at least two draws."""
        energy, error, position = (np.stack(rows, 1) for rows in (self.energy, self.error, self.position))
        whole = self.whole()
        kept = [walker for walker, n in enumerate(whole) if n > 1]
        return ([energy[w, : whole[w]] for w in kept], [error[w, : whole[w]] for w in kept],
                [position[w, : 1 + whole[w] // self.stride] for w in kept])  # fmt: skip


def follow(problem: Problem, block: Block[Any], steps: int, draws: int, advance: Callable[[float], None]) -> Chains:
    """Take `draws` draws, `steps` steps apart."""
    energy, each = problem.energy, samples_of_a_step(block.config, problem.energy.train_size)
    chains = Chains([block.position.cpu().numpy()], math.ceil(draws / SNAPSHOTS))
    before, recorded = energy.samples, getattr(block, "record", None) is not None
    block.observables()  # the mean acceptance starts here
    for draw in range(1, draws + 1):
        began = time.perf_counter()
        block.explore(steps)
        synchronise(block.position.device.type)
        chains.seconds += time.perf_counter() - began
        observed = energy.draw_observables(block.position)
        chains.energy.append(observed["energy"] + block.regularisation())
        chains.error.append(observed["val_error"])
        if draw % chains.stride == 0:
            chains.position.append(block.position.cpu().numpy())
        advance(steps * each * problem.walkers)
    # a recording bypasses the counter, but its steps are known; estimates of s² are not recorded
    replayed = draws * steps * each * problem.walkers if recorded else 0
    chains.samples = energy.samples - before + replayed
    if "acceptance" in (found := block.observables()):
        chains.acceptance = float(found["acceptance"].mean())
    return chains


def row(problem: Problem, method: Method, block: Any, temperature: float, chains: Chains) -> dict[str, Any]:
    """Results from the chains of one sampler at one temperature. Unknown numbers are NaN."""
    energies, errors, positions = chains.of_walkers()
    found: dict[str, Any] = {
        "temperature": temperature, "sampler": method.name, "length": getattr(method, "length", None),
        "kept": getattr(method, "kept", None), "rho": None if block.config.full_batch else block.config.rho,
        "lost": int((chains.whole() < len(chains.energy)).sum()), "samples": chains.samples, "seconds": chains.seconds,
        "acceptance": chains.acceptance, "wanted": block.config.acceptance,
    }  # fmt: skip
    if not block.config.full_batch:  # excess temperature of the directions of strongest noise
        found["collective_excess"] = float(block.collective_excess.mean())
    if not energies:
        return found
    per_draw = chains.samples / (len(chains.energy) * problem.walkers)
    energy = correlation(energies)
    fall = decay(positions)
    return {
        **found, "samples_per_draw": per_draw, "seconds_per_sample": chains.seconds / chains.samples,
        "energy": _numbers(energy), "error": _numbers(correlation(errors)), "drift": drift(energies, energy.sem),
        "efold": {"samples": fall.time * chains.stride * per_draw, "error": fall.error * chains.stride * per_draw,
                  "seen": fall.seen, "kind": fall.kind},
    }  # fmt: skip


def _numbers(found: Correlation) -> dict[str, Any]:
    return {"mean": found.mean, "sem": found.sem, "time": found.time, "time_error": found.time_error,
            "draws": found.draws, "effective": found.effective, "known": found.known}  # fmt: skip


def rows(
    problem: Problem, temperatures: Sequence[float], methods: Sequence[Method], burn_in: int, store: str | None,
    progress: Progress,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """A row for each temperature and sampler."""
    size = problem.energy.train_size * problem.walkers  # sequence-gradients of one pass of all walkers
    full = [isinstance(method, Trajectories) for method in methods]
    prices = [samples_of_a_step(problem.sampler(each), problem.energy.train_size) * problem.walkers for each in full]
    stretches = [math.prod(method.stretch(problem)) * price for method, price in zip(methods, prices, strict=True)]
    before = burn_in + sum(method.tuning(problem) for method in methods)
    progress.plan(len(temperatures) * (size * before + sum(stretches)))
    for number, temperature in enumerate(temperatures):
        progress.stage(f"T = {temperature:g}, burn-in by {burn_in:,} passes of {problem.walkers} walkers")
        begin = problem.equilibrate(number, temperature, burn_in, store, progress.advance)
        for seed, method in enumerate(methods, 1):
            progress.stage(f"T = {temperature:g}, {method.name}")
            block = method.tuned(problem, begin, seed, progress.advance)
            chains = follow(problem, block, *method.stretch(problem), progress.advance)
            yield row(problem, method, block, temperature, chains)


def pace(problem: Problem, w: Tensor) -> float:
    """Seconds of a pass over the training set of the walkers at w (W, P)."""
    for _ in range(2):  # the first call prepares the batches
        began = time.perf_counter()
        problem.energy.gradient(w, None)
        synchronise(w.device.type)
    return time.perf_counter() - began


def check(config: Config, rhos: Sequence[float | None], temperatures: Sequence[float]) -> None:
    """Raise ConfigError for settings that cannot be compared."""
    c = config.sampler
    if c.gamma:
        raise ConfigError(f"sampler.gamma: {c.gamma:g}: walkers go on from equilibrium, without a tether to their "
                          "start; take 0")  # fmt: skip
    most = min(c.rho_max, rho_limit(c.scheme, c.m1))
    for rho in rhos:
        if rho is not None and not 0.0 < rho <= most:
            raise ConfigError(f"--rho {rho:g}: not between 0 and {most:.4g}, which sampler.scheme and rho_max allow")
    for temperature in temperatures:
        if not 0.0 < temperature < math.inf:
            raise ConfigError(f"--temperature {temperature:g}: is not a positive number")
