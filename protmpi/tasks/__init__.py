"""Tasks: a task is data, network and loss. A sampler sees only `gradient`; a run also sees the observables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from protmpi.config import Config
from protmpi.importing import named
from protmpi.kinds import TASKS
from protmpi.models.layout import Layout
from protmpi.variables import Constant, Variable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from protmpi.models.layers import Dropout


class Task(Protocol):
    """Energy U(w) of W walkers at once, w (W, P), and their observables."""

    layout: Layout
    device: torch.device
    """The device of its data, on which it expects w."""

    data_hash: str
    train_size: int
    """Number of training samples, from which mini-batches are drawn."""

    on_device: bool
    """Whether `gradient` also takes indices on the device, and then works without the host."""

    augments: bool
    """Whether training draws new samples, from the generator of `drop`."""

    variables: list[Variable]
    """The variables of `draw_observables` and `snapshot_observables`, for the store."""

    check: Callable[[], None]
    """Function called before every pass through the network. It may raise to interrupt the work."""

    def initial(self, random: np.random.Generator) -> np.ndarray:
        """Fresh weights (P,)."""

    def gradient(
        self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) on the training samples `indices` (W, B), on all if None."""

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,), float64, on "train", "val" or "test"."""

    def draw_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        """Cheap observables, (W,) each; `energy` is the full-batch training energy."""

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        """Costly observables, (W, ...) each."""

    def constants(self) -> list[Constant]:
        """Constants that the analysis needs beside the draws."""


def build(config: Config, device: torch.device | str = "cpu") -> Task:
    """Build the task of the section `[data]` with the network of `[model]`.

    Raises DataError if the data set is missing, damaged or does not fit.
    """
    task: Task = named(TASKS[config.data.task].made_by).from_config(config, device)
    return task
