"""Its energy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from protmpi.config import Config
from protmpi.models.layout import Layout
from protmpi.variables import Constant, Variable


class Bowl:
    layout = Layout([("w", (4,))])
    data_hash, train_size, on_device, augments = "bowl", 10, False, False
    variables = [Variable("energy", "draw", "energy U", "nats")]  # noqa: RUF012

    def __init__(self, stiffness: float, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.stiffness = stiffness * torch.arange(1.0, 5.0)

    @classmethod
    def from_config(cls, config: Config, device: torch.device | str = "cpu") -> Bowl:
        return cls(config.data.stiffness, device)

    def check(self) -> None:
        """Nothing takes long."""

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return random.standard_normal(4).astype(np.float32)

    def gradient(self, w: Tensor, indices: Any, drop: Any = None) -> tuple[Tensor, Tensor]:
        noise = 0.0 if indices is None else 0.1 * (torch.as_tensor(indices).double().mean(1, keepdim=True) - 4.5)
        return 0.5 * (self.stiffness * w * w).sum(1).double(), (self.stiffness * w + noise).to(w.dtype)

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        energy = self.gradient(w, None)[0].numpy()
        return energy, np.zeros_like(energy)

    def draw_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        return {"energy": self.evaluate(w, "train")[0]}

    def snapshot_observables(self, w: Tensor) -> dict[str, np.ndarray]:
        return {}

    def constants(self) -> list[Constant]:
        return []
