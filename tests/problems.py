"""The small problem on which whole runs are tested: 84 parameters."""

from __future__ import annotations

from typing import Any

from protmpi.sampling.sections import SamplerConfig
from protmpi.sections import kinds_of

KSPIN = """
[data]
task = "kspin"
classes = 3
spins = 8
train = 200
val = 50
test = 50
[model]
kind = "feedforward"
layers = [5, 4]
"""


def sampler(**keys: Any) -> SamplerConfig:
    """The sampler of some keys, those of other kinds than its own left out."""
    kind, fields = keys.get("kind", "auto"), SamplerConfig.model_fields
    return SamplerConfig(**{name: value for name, value in keys.items() if kind in (kinds_of(fields[name]) or [kind])})
