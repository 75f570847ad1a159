"""The table of samplers: `sampler.kind` -> the class of its walkers, and the properties of its kernel."""

from __future__ import annotations

from typing import NamedTuple


class SamplerKind(NamedTuple):
    """A kernel with or without the constraint |w|² = Q."""

    block: str
    """The class of its walkers, a `walkers.block.Block`, as "module:class", because it needs torch."""
    on_sphere: bool
    full_batch: bool
    """Whether its steps are gradients of all training samples."""


_TRAJECTORIES = "protmpi.sampling.walkers.trajectories:TrajectoryBlock"
_LANGEVIN = "protmpi.sampling.walkers.langevin:LangevinBlock"

SAMPLERS = {
    "constrained-trajectories": SamplerKind(_TRAJECTORIES, on_sphere=True, full_batch=True),
    "constrained": SamplerKind(_LANGEVIN, on_sphere=True, full_batch=False),
    "trajectories": SamplerKind(_TRAJECTORIES, on_sphere=False, full_batch=True),
    "unconstrained": SamplerKind(_LANGEVIN, on_sphere=False, full_batch=False),
}
LANGEVIN = ("auto", *(name for name, kind in SAMPLERS.items() if not kind.full_batch))
TRAJECTORIES = ("auto", *(name for name, kind in SAMPLERS.items() if kind.full_batch))
SPHERE = ("auto", *(name for name, kind in SAMPLERS.items() if kind.on_sphere))
