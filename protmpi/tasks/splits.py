"""What tasks with a training, a validation and a test set measure alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from torch import Tensor

SPLITS = ("train", "val", "test")


class Splits(ABC):
    """Energies and errors on the three splits, from `evaluate`."""

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
