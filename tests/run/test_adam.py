"""The optimiser of the reference weights against that of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protmpi.sections import TrainConfig
from protmpi.training import Trainer


def trainer(warmup: int = 7) -> Trainer:
    w = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 9)))
    config = TrainConfig.model_validate({"warmup": warmup, "rate": 0.7})
    return Trainer(None, config, 16, (0,), w, torch.zeros_like(w), torch.zeros_like(w))  # type: ignore[arg-type]


@pytest.mark.parametrize(("betas", "equal"), [((0.9, 0.98), True), ((0.9, 0.9), False), ((0.98, 0.98), False)])
def test_steps_are_those_of_torch(betas: tuple[float, float], equal: bool) -> None:
    """The published betas; a second moment with the first's correction, or its beta, is another optimiser."""
    ours, random = trainer(), np.random.default_rng(2)
    theirs = ours.w.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], betas=betas, eps=1e-9)
    for step in range(1, 21):
        g = torch.from_numpy(random.standard_normal((1, 9)) * np.geomspace(1e-3, 10.0, 9))
        ours._step(g.clone())
        for group in adam.param_groups:
            group["lr"] = 0.7 * 16**-0.5 * min(step**-0.5, step * 7**-1.5)  # d = 16, 7 steps of warm-up
        theirs.grad = g
        adam.step()
    apart = float((ours.w - theirs.detach()).abs().max())
    assert (apart < 1e-12) == equal
    assert equal or apart > 1e-3
