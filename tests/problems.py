"""The small problems on which whole runs are tested: data and network of a configuration, which a test goes on from."""

from __future__ import annotations

import tomllib
from typing import Any

from protmpi.config import to_toml
from protmpi.sampling.sections import SamplerConfig

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
"""84 parameters."""

TINY = """
[data]
task = "kspin"
classes = 2
spins = 4
train = 20
val = 5
test = 5
[model]
kind = "feedforward"
layers = [3]
"""
"""For runs of a tenth of a second."""

POINTS = """
[data]
task = "points"
points = 3
train = 30
val = 20
test = 20
[model]
kind = "encoder"
d = 8
"""

FOLDING = """
[data]
file = "{data}"
[model]
kind = "transformer"
"""
"""The data set of `small_data_file`; a test says how large the network is."""

CHAINS = """
[model]
kind = "encoder"
blocks = 2
heads = 2
d = 8
[data]
task = "structures"
file = "{folder}/chains.h5"
coordinates = {coordinates}
"""
"""Chains that a test has put into `folder`; it may add to [data]."""


def sampler(**keys: Any) -> SamplerConfig:
    """The sampler of some keys, those of other kinds than its own left out."""
    return SamplerConfig(**_own(keys))


def of_its_kind(text: str) -> str:
    """A configuration without the keys of [sampler] that its kind does not have: one text for all kinds."""
    raw = tomllib.loads(text)
    return to_toml({**raw, "sampler": _own(raw["sampler"])}, "a test")


def _own(keys: dict[str, Any]) -> dict[str, Any]:
    kind = keys.get("kind", "auto")
    return {name: value for name, value in keys.items() if SamplerConfig.has(name, kind)}
