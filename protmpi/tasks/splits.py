"""Observables common to all tasks with a training, a validation and a test set, and the size of their batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layers import Dropout

SPLITS = ("train", "val", "test")
CACHE = 800_000  # numbers in the widest array of a pass on a CPU, one walker at a time: its arrays fit the caches
MEMORY = 2**26  # the same on a GPU, for all walkers together: a pass holds about 20 arrays of this size


class Splits(ABC):
    """Energies and errors on the three splits, from `evaluate`."""

    device: torch.device
    on_device = True
    augments = False

    check: Callable[[], None] = staticmethod(lambda: None)
    """Function called before every pass through the network. It may raise to interrupt the work."""

    @abstractmethod
    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,), float64, on a split."""

    def draw_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        """Energies and errors of training and validation, (W,) each."""
        energy, train_error = self.evaluate(w, "train")
        val_energy, val_error = self.evaluate(w, "val")
        return {"energy": energy, "train_error": train_error, "val_energy": val_energy, "val_error": val_error}

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        """Energy and error of the test set, (W,) each."""
        test_energy, test_error = self.evaluate(w, "test")
        return {"test_energy": test_energy, "test_error": test_error}

    def _at_a_time(self, walkers: int, width: int) -> int:
        """Number of samples of one pass that suits the device, with `width` numbers of each in the widest array."""
        return max(1, (MEMORY if self.device.type == "cuda" else CACHE) // (walkers * width))


class Grouped(Splits):
    """A task whose walkers go through the network in groups. On a GPU all walkers form one group. On a CPU they go one
    by one, or as many together as the caches hold through the whole of a small split."""

    @abstractmethod
    def _gradient(self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) of one group."""

    @abstractmethod
    def _sums(self, w: Tensor, split: str) -> Tensor:
        """The two sums over a split that `evaluate` needs, for each walker of one group, (2, W) float64."""

    @torch.no_grad()
    def gradient(
        self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) on the training samples `indices` (W, B), on all if None."""
        parts = [
            self._gradient(w[some], None if indices is None else indices[some], drop)
            for some in self._together(w, "train" if indices is None else "")
        ]
        energies, gradients = zip(*parts, strict=True)
        return torch.cat(energies), torch.cat(gradients)

    @torch.no_grad()
    def _sums_of_all(self, w: Tensor, split: str) -> np.ndarray:
        """`_sums` of all walkers, (2, W)."""
        return torch.cat([self._sums(w[some], split) for some in self._together(w, split)], dim=1).cpu().numpy()

    @abstractmethod
    def _numbers(self, split: str) -> int:
        """Numbers in the widest array of a pass through a whole split, for one walker."""

    def _together(self, w: Tensor, whole: str = "") -> list[slice]:
        """The groups of w (W, P); `whole`: the split that they pass through as a whole."""
        size = len(w) if w.is_cuda else max(1, CACHE // self._numbers(whole)) if whole else 1
        return [slice(start, start + size) for start in range(0, len(w), size)]
