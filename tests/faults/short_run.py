"""A run of a tenth of a second, for tests that do it hundreds of times."""

from __future__ import annotations

from pathlib import Path

from forked import Program, alone
from problems import TINY

from hpc.stop import Stop
from protmpi import config as configuration
from protmpi.display import Display
from protmpi.run import run
from protmpi.store.reader import Store
from protmpi.store.verify import examine

CONFIG = (
    TINY
    + """
[sampler]
start = "random"
kind = "constrained"
temperatures = [1e-4, 1.5e-4]
rho = 1e-3
m1 = 0.3
batch = 5
min_extractions = 5
max_extractions = 5
min_adj_step = 5
adapt_until = 5
[tempering]
kind = "exchange"
exchange_every = 10
burn_in = 10
[run]
steps = 40
record_every = 5
snapshot_every = 10
draws_per_chunk = 2
[execution]
device = "cpu"
"""
)


def load(store: Path, *changes: str) -> configuration.Config:
    config = store.parent / "short.toml"
    config.write_text(CONFIG)
    return configuration.load(config, [f'execution.store="{store}"', *changes])


def sample(store: Path, *changes: str) -> Program:
    """A program for the ranks of a forked world: the whole run, continued where it was."""
    config = load(store, *changes)
    return lambda world: run(config, world, Stop(world), Display(world.rank, False))


def look(store: Path) -> tuple[str, list[str], int]:
    """Digest, flaws and committed draws of a store, found in a process of its own."""

    def find() -> tuple[str, list[str], int]:
        found = examine(store, lambda stored: configuration.parse(stored, "stored").physics())
        return Store(store).digest(), found.flaws, found.store.draws

    result: tuple[str, list[str], int] = alone(find)
    return result
