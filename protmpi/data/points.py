"""Structures of a few points in a box, and the proximity of the points of a structure.

Source: docs/method/data.md section 5.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import special_ortho_group

from protmpi.data.sections import PointsConfig

SIDE = 200.0
"""Side of the box, and the distance at which the proximity is 1/e."""
SPLITS = ("train", "val", "test")


def draw(config: PointsConfig) -> dict[str, np.ndarray]:
    """Structures (N, n, D), float64, of every split: uniform in the box, centred; training structures are rotated.

    Every split and the rotations have separate streams, so no split depends on the size of the others.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(1 + len(SPLITS))]
    drawn = {}
    for split, stream in zip(SPLITS, streams[1:], strict=True):
        x = stream.uniform(0.0, SIDE, (getattr(config, split), config.points, config.dimension))
        drawn[split] = x - x.mean(1, keepdims=True)
    if config.rotations:
        drawn["train"] = turned(drawn["train"].repeat(config.rotations, 0), streams[0])
    return drawn


def turned(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Structures x (N, n, D), each rotated about the origin by a random rotation, uniform in SO(D)."""
    rotations = special_ortho_group.rvs(x.shape[-1], size=len(x), random_state=random).reshape(
        len(x), *x.shape[-1:] * 2
    )
    return np.asarray(x @ rotations)


def distances(x: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, n, n) between the points of structures x (N, n, D)."""
    return np.asarray(np.linalg.norm(x[:, :, None] - x[:, None], axis=-1))


def nearness(x: np.ndarray, exponent: float) -> np.ndarray:
    """A_ij = exp(-(|x_i - x_j|/SIDE)^e), (N, n, n), of structures x (N, n, D)."""
    return np.asarray(np.exp(-((distances(x) / SIDE) ** exponent)))
