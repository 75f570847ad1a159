"""Geometry of the sphere |w|² = Q in the metric of the masses M, for one walker or many (docs/method/sphere.md).

    a = M⁻¹w         direction in which the constraint acts on positions
    w·a = w·w/M      metric of the constraint; its Fixman potential (T/2) log(w·a) makes exp(-U/T) exact on the sphere

Sums over parameters are accumulated in float64. A step that misses the sphere has a negative discriminant. Its square
root is NaN, and the walker is NaN from then on. This needs no extra test and cannot be overlooked; the other walkers of
the block are not affected.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Sum over parameters (W, 1) in float64."""
    return (x * y).sum(-1, keepdim=True, dtype=torch.float64)


def multiplier(unconstrained: Tensor, direction: Tensor, norm2: Tensor) -> Tensor:
    """mu (W, 1) of smallest magnitude with |w~ + mu a|² = Q; NaN if there is none.

    Solves S3 mu² + 2 S1 mu + (S2 - Q) = 0 in the form without cancellation.
    """
    s1, s2, s3 = dot(unconstrained, direction), dot(unconstrained, unconstrained), dot(direction, direction)
    root = (s1 * s1 - s3 * (s2 - norm2)).sqrt()
    return (norm2 - s2) / (s1 + torch.copysign(root, s1))


def return_to_sphere(
    moved: Tensor, p: Tensor, w: Tensor, direction: Tensor, h: Tensor | float, norm2: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The first half of RATTLE: w~ + mu a on the sphere, p + (mu/h) w, and mu, after a free drift for a time h from w.

    `moved` w~ and the momentum `p` (W, P) are changed in place.
    """
    mu = multiplier(moved, direction, norm2)
    return moved.addcmul_(direction, mu.to(w.dtype)), p.addcmul_(w, (mu / h).to(w.dtype)), mu


def normal_part(p: Tensor, w: Tensor, direction: Tensor) -> Tensor:
    """a·p / a·w (W, 1), float64: the component of p (W, P) along w in the metric of M; a = w/M."""
    return dot(direction, p) / dot(direction, w)


def project_momentum(p: Tensor, w: Tensor, direction: Tensor) -> Tensor:
    """Remove the component of p normal to the sphere in the metric of M, so that w·p/M = 0; a = w/M."""
    return p - w * normal_part(p, w, direction).to(p.dtype)


def fixman_potential(metric: Tensor, temperature: Tensor) -> Tensor:
    """(T/2) log(w·a) (W, 1), of the metric w·a (W, 1)."""
    return 0.5 * temperature * metric.log()


def fixman_slope(metric: Tensor, temperature: Tensor) -> Tensor:
    """T/(w·a) (W, 1): its gradient is this times a."""
    return temperature / metric
