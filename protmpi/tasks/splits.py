"""What tasks with a training, a validation and a test set measure alike, and how much they compute at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layers import Dropout

SPLITS = ("train", "val", "test")
CACHE = 800_000  # numbers in the widest array of a pass on a CPU, one walker at a time: its arrays fit the caches
MEMORY = 2**26  # the same on a GPU, all walkers together: a pass holds about 20 arrays of this size


class Splits(ABC):
    """Energies and errors on the three splits, from `evaluate`."""

    device: torch.device
    on_device = True
    augments = False

    check: Callable[[], None] = staticmethod(lambda: None)
    """Called before every pass through the network; it may raise to give the work up."""

    @abstractmethod
    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,), float64, on a split."""

    def draw_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        """Training and validation, (W,) each."""
        energy, train_error = self.evaluate(w, "train")
        val_energy, val_error = self.evaluate(w, "val")
        return {"energy": energy, "train_error": train_error, "val_energy": val_energy, "val_error": val_error}

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        """Test, (W,) each."""
        test_energy, test_error = self.evaluate(w, "test")
        return {"test_energy": test_energy, "test_error": test_error}

    def _at_a_time(self, walkers: int, width: int) -> int:
        """Samples that the device takes well in one pass, with `width` numbers of each in the widest array."""
        return max(1, (MEMORY if self.device.type == "cuda" else CACHE) // (walkers * width))


class Grouped(Splits):
    """Walkers go through the network in groups: all together on a GPU, on a CPU one by one, or as many as the caches
    hold for the gradient of all samples of a small training set."""

    @abstractmethod
    def _gradient(
        self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None
    ) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) of one group."""

    @abstractmethod
    def _sums(self, w: Tensor, split: str) -> Tensor:
        """Two sums over a split for each walker of one group, (2, W) float64, from which `evaluate` makes its own."""

    @torch.no_grad()
    def gradient(
        self, w: Tensor, indices: np.ndarray | Tensor | None, drop: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Energies (W,), float64, and gradients (W, P) on the training samples `indices` (W, B), on all if None."""
        parts = [
            self._gradient(w[some], None if indices is None else indices[some], drop)
            for some in self._together(w, indices is None)
        ]
        energies, gradients = zip(*parts, strict=True)
        return torch.cat(energies), torch.cat(gradients)

    @torch.no_grad()
    def _sums_of_all(self, w: Tensor, split: str) -> np.ndarray:
        """`_sums` of all walkers, (2, W)."""
        return torch.cat([self._sums(w[some], split) for some in self._together(w)], dim=1).cpu().numpy()

    @abstractmethod
    def _numbers(self) -> int:
        """Numbers in the widest array of a pass through the whole training set, for one walker."""

    def _together(self, w: Tensor, whole: bool = False) -> list[slice]:
        """The groups of w (W, P); `whole`: for a gradient of all training samples."""
        size = len(w) if w.is_cuda else max(1, CACHE // self._numbers()) if whole else 1
        return [slice(start, start + size) for start in range(0, len(w), size)]
