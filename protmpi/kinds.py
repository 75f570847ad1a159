"""One table for each kind of thing that a configuration can name. A new one is a file of its own and a line here.

Classes that need torch are named by module and class, and imported when they are built.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from protmpi.data.sections import FoldingConfig, KSpinConfig, PointsConfig, StructuresConfig
from protmpi.sections import Section


class TaskKind(NamedTuple):
    """A task: data, network and loss."""

    section: type[Section]
    """Its section [data]."""
    made_by: str
    """Its class, with `from_config(config, device)`."""
    networks: tuple[str, ...]
    """The kinds of network that can learn it."""


TASKS = {
    "folding": TaskKind(FoldingConfig, "protmpi.tasks.folding:Folding", ("transformer", "pooling")),
    "kspin": TaskKind(KSpinConfig, "protmpi.tasks.kspin:KSpin", ("feedforward",)),
    "points": TaskKind(PointsConfig, "protmpi.tasks.points:Points", ("encoder",)),
    "structures": TaskKind(StructuresConfig, "protmpi.tasks.structures:Structures", ("encoder",)),
}

NETWORKS = {
    "transformer": "protmpi.models.transformer:Transformer",
    "pooling": "protmpi.models.pooling:Pooling",
}
"""Networks that read tokens, with `from_config(config, length, vocabulary)`. Tasks with other data build their own."""


def named(place: str) -> Any:
    """The object that "module:name" names."""
    module, name = place.split(":")
    return getattr(import_module(module), name)
