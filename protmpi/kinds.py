"""One table for each kind of object that a configuration can name. A new one is a file and a line here.

A class that needs torch is named by module and class. It is imported when it is built.
"""

from __future__ import annotations

from typing import NamedTuple

from protmpi.data.sections import FoldingConfig, KSpinConfig, PointsConfig, StructuresConfig
from protmpi.sections import Section


class TaskKind(NamedTuple):
    """A task: data, network and loss."""

    section: type[Section]
    """Its section [data]."""
    made_by: str
    """Its class, with `from_config(config, device)`."""
    networks: tuple[str, ...]
    """The kinds of network that can learn the task."""


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
"""Networks that read tokens, with `from_config(config, length, vocabulary)`. Other tasks build their own network."""
