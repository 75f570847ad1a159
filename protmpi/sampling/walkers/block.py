"""A block: walkers that advance together in one batch, with their kernel and their random streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.kernels.energy import Energy, Regulariser
from protmpi.sampling.kernels.noise import GradientSample, estimate_variance
from protmpi.sampling.kernels.sphere import dot
from protmpi.sampling.sections import SamplerConfig
from protmpi.sampling.streams import Streams
from protmpi.variables import Variable


class WalkerState(Protocol):
    """The part that the states of all kernels have: position (W, P)."""

    @property
    def position(self) -> Tensor: ...


S = TypeVar("S", bound=WalkerState)


class Block(ABC, Generic[S]):
    """Walkers of global indices `walkers` that start at `start` (W, P). The kernel holds their temperatures."""

    def __init__(
        self, walkers: Sequence[int], start: Tensor, energy: Energy, config: SamplerConfig, seed: int
    ) -> None:
        self.walkers, self.start, self.energy, self.config = walkers, start, energy, config
        self.layout = energy.layout
        self.streams = Streams(seed, walkers, start.device)
        self.norm2 = dot(start, start) if config.constrained else None
        self.regulariser = Regulariser(config.lamda, config.gamma, start)
        self.thermal_mass: Tensor | None = None  # M T (P,), if all walkers of the run have the same
        self.step = 0
        self._state: S | None = None
        self.last_good: tuple[int, dict[str, np.ndarray]] = (0, {})  # step and checkpoint that were kept last

    @property
    def state(self) -> S:
        if self._state is None:
            raise RuntimeError("a block has no state before it is started or restored")
        return self._state

    @property
    def position(self) -> Tensor:
        """Weights (W, P)."""
        return self.state.position

    @staticmethod
    @abstractmethod
    def variables(layout: Layout) -> list[Variable]:
        """The variables that such walkers record beside the `geometry`."""

    @property
    @abstractmethod
    def temperature(self) -> Tensor:
        """Present temperatures (W, 1) of the walkers."""

    @property
    @abstractmethod
    def mass(self) -> Tensor:
        """Masses (W, P)."""

    @abstractmethod
    def initialise(self) -> None:
        """Estimate s² at the starting weights and set the masses."""

    def keep(self) -> None:
        """Keep a checkpoint, in case walkers are lost or stopped in the next steps."""
        self.last_good = (self.step, self.checkpoint() if self._state is not None else {})

    @abstractmethod
    def explore(self, steps: int) -> None:
        """Advance every walker by `steps` steps, and adapt when it is due."""

    @abstractmethod
    def share_masses(self, thermal_mass: np.ndarray) -> None:
        """Set M = thermal_mass / T from now on, with the same thermal_mass (P,) for every walker. Draw new momenta."""

    def move(self, temperatures: np.ndarray) -> None:
        """Put the walkers at `temperatures` (W,). They must have one M T. Weights and momenta do not change."""
        wanted = self._column(temperatures)
        if not torch.equal(wanted, self.temperature):
            self._move(wanted)

    @abstractmethod
    def _move(self, temperature: Tensor) -> None:
        """`move` to temperatures (W, 1) that differ from the present ones."""

    def _shared_masses(self) -> Tensor:
        """M (W, P) at the present temperatures."""
        assert self.thermal_mass is not None
        return self.thermal_mass / self.temperature

    def _mass_arrays(self) -> dict[str, np.ndarray]:
        """Masses for a checkpoint: M of each walker, or the common M T, so that no rounding accumulates."""
        shared = self.thermal_mass is not None
        mass = self.mass if self.thermal_mass is None else self.thermal_mass.expand_as(self.mass)
        return {"mass": mass.cpu().numpy(), "shared": np.full(len(self.walkers), shared, dtype=np.uint8)}

    def _restored_masses(self, arrays: dict[str, np.ndarray]) -> Tensor:
        """M (W, P) from `_mass_arrays`, at the present temperatures."""
        mass = self._tensor(arrays["mass"])
        if not arrays["shared"].all():
            return mass
        self.thermal_mass = mass[0]
        return self._shared_masses()

    @abstractmethod
    def thermal_state(self) -> str:
        """The thermal state of the only walker of this block, as text."""

    @abstractmethod
    def complaint(self) -> str:
        """The quantity of the only walker of this block that is not finite, as text."""

    @abstractmethod
    def checkpoint(self) -> dict[str, np.ndarray]:
        """The state from which the walkers continue bit for bit: arrays (W, ...)."""

    @abstractmethod
    def stand_in(self, step: int) -> dict[str, np.ndarray]:
        """An example of a checkpoint taken at `step`: names, shapes and types. It draws no random numbers, and can be
        called before the first step or `restore`."""

    @abstractmethod
    def restore(self, step: int, arrays: dict[str, np.ndarray], temperatures: np.ndarray) -> None:
        """Continue from `checkpoint`, taken at `step`, with the walkers at `temperatures` (W,)."""

    @abstractmethod
    def finite(self) -> np.ndarray:
        """Which walkers have finite weights and momenta, bool (W,)."""

    def observables(self) -> dict[str, np.ndarray]:
        """Geometry, (W,) float64 each."""
        w, start = self.position.double(), self.start.double()
        norm2 = dot(w, w)
        overlap = dot(w, start) / (norm2 * dot(start, start)).sqrt()
        distance = dot(w - start, w - start).sqrt()
        return {"norm2": numbers(norm2), "overlap": numbers(overlap), "distance": numbers(distance)}

    def regularisation(self) -> np.ndarray:
        """The energy of the regulariser, (W,) float64."""
        return numbers(self.regulariser.energy(self.position))

    def _sample(self, w: Tensor, purpose: str, rows: Sequence[int] | None) -> Tensor:
        """A mini-batch gradient with fresh samples of the stream `purpose`."""
        return self.energy.gradient(w, self._minibatch(purpose, rows))[1]

    def _minibatch(self, purpose: str, rows: Sequence[int] | None) -> np.ndarray | Tensor:
        """Fresh samples (rows, B) of the stream `purpose`, on the GPU if walkers and energy are on a GPU."""
        drawn = self.streams.integers(purpose, self.energy.train_size, self.config.batch, rows)
        return torch.from_numpy(drawn).to(self.start.device) if self.start.is_cuda and self.energy.on_device else drawn

    def _variance_samples(self, w: Tensor, rows: Sequence[int]) -> GradientSample:
        """Mini-batch gradients of the walkers `rows` at w (rows, P), from a stream that steps do not use."""
        return lambda chosen: self._sample(w[list(chosen)], "variance", [rows[row] for row in chosen])

    def _estimate(self, w: Tensor, rows: Sequence[int], most: int | None = None) -> Tensor:
        """s² of the walkers `rows` at w (rows, P), from at most `most` mini-batches (default `max_extractions`)."""
        c, samples = self.config, self._variance_samples(w, rows)
        most, floor = most or c.max_extractions, 10.0**c.log_zerovar
        return estimate_variance(samples, w, c.min_extractions, most, c.threshold_est, floor)

    def _column(self, numbers: np.ndarray) -> Tensor:
        """One number of each walker (W,) as a column (W, 1)."""
        return torch.as_tensor(numbers, dtype=self.start.dtype, device=self.start.device).unsqueeze(1)

    def _tensor(self, array: np.ndarray) -> Tensor:
        # a copy: the last bit of small matrix products depends on the alignment of an array. torch aligns its arrays to
        # 64 bytes; the alignment of numpy differs between processes
        return torch.tensor(array, dtype=self.start.dtype, device=self.start.device)


def cost(config: SamplerConfig, unit: str) -> list[Variable]:
    """The variable of the cost, if the energy has a regulariser."""
    declared = Variable("cost", "draw", "full-batch training cost, without the regulariser", unit)
    return [declared] if config.lamda or config.gamma else []


def geometry(config: SamplerConfig) -> list[Variable]:
    """The variables of `Block.observables`. On a sphere |w|² is fixed and only shows the accuracy of the constraint."""
    return [
        Variable("norm2", "draw", "squared norm |w|² of the parameters", role="way" if config.constrained else "law",
                 shown=False),
        Variable("overlap", "draw", "overlap w·w0 / (|w| |w0|) with the starting weights w0", role="way"),
        Variable("distance", "draw", "distance |w - w0| from the starting weights w0", role="way", shown=False),
    ]  # fmt: skip


def numbers(column: Tensor) -> np.ndarray:
    """A column (W, 1) as one number of each walker (W,)."""
    return np.asarray(column.squeeze(1).cpu().numpy())
