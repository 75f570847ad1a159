"""Which runs continue one another: a key that only one of two configurations names is at its default in the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from problems import KSPIN, POINTS

from hpc.stop import Stop
from hpc.world import OneRank
from protmpi.config import Config, load, parse, parse_stored
from protmpi.display import Display
from protmpi.errors import ConfigError, StoreError
from protmpi.run import run

SHORT = """
[sampler]
kind = "constrained"
start = "random"
temperatures = [1e-3, 2e-3]
rho = 1e-3
batch = 4
min_extractions = 10
max_extractions = 10
adapt_until = 8
[run]
steps = 48
record_every = 8
snapshot_every = 24
"""


@pytest.mark.parametrize(
    ("problem", "made_with", "said"),
    [
        (POINTS, ["model.heads=2"], "model.heads 2 -> None"),
        (POINTS, ["model.activation=gelu"], "model.activation gelu -> None"),
        (KSPIN, ["tempering.kind=exchange", "tempering.exchange_every=8", "tempering.burn_in=16"],
         "tempering.kind exchange -> None"),
    ],
    ids=["heads", "activation", "tempering"],
)  # fmt: skip
def test_a_run_is_not_continued_with_a_key_left_out(
    tmp_path: Path, problem: str, made_with: list[str], said: str
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(problem + SHORT + f'[execution]\nstore = "{tmp_path}/store.zarr"\n')
    assert advance(load(path, made_with))
    with pytest.raises(StoreError, match=said):
        advance(load(path, ["run.steps=96"]))
    assert advance(load(path, [*made_with, "run.steps=96"]))


def advance(config: Config) -> bool:
    return run(config, OneRank(), Stop(OneRank()), Display(0, False))


CHAINS = {"data": {"task": "structures"}, "model": {"kind": "encoder", "d": 8}}


def test_chains_are_learned_with_gelu_and_points_with_relu() -> None:
    assert parse(CHAINS, "").model.activation == "gelu"
    assert parse({**CHAINS, "model": {**CHAINS["model"], "activation": "relu"}}, "").model.activation == "relu"
    assert parse({**CHAINS, "data": {"task": "points"}}, "").model.activation == "relu"
    with pytest.raises(ConfigError, match=r"model\.activation: is not a key of kind = \"transformer\""):
        parse({"model": {"activation": "gelu"}}, "")


def test_a_stored_configuration_without_the_key_means_relu() -> None:
    """What a program without that key has written: in full, and its identity has no such key either."""
    stored = parse({**CHAINS, "model": {**CHAINS["model"], "activation": "relu"}}, "").model_dump(mode="json")
    del stored["model"]["activation"]
    assert parse_stored(stored, "").model.activation == "relu"
    assert "model.activation" not in parse_stored(stored, "").physics()
    assert parse(CHAINS, "").physics()["model.activation"] == "gelu"
    kept = parse(CHAINS, "").model_dump(mode="json")
    assert parse_stored(kept, "").model.activation == "gelu"
    with pytest.raises(ConfigError):
        parse_stored([], "")  # type: ignore[arg-type]
