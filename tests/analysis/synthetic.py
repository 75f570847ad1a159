"""Synthetic stores with known answers, made with the writer of the real run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter

from protmpi import sampling
from protmpi.models.layout import Layout
from protmpi.sampling.sections import SamplerConfig
from protmpi.store.creation import create
from protmpi.store.schema import Schema
from protmpi.store.writer import Writer
from protmpi.variables import Axis, Constant, Role, Variable

RECORD_EVERY = 100
DRAWS_PER_SNAPSHOT = 10
BURN_IN_DRAWS = 10
LADDER = np.array([1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 4.5e-4, 6e-4, 8e-4])
"""The temperatures of configs/demo.toml's default."""


DIMS = {
    "kinetic_ratio_layer": ("layer",),
    "log_weight": ("ladder",),
    "parameters": ("parameter",),
    "attention": ("block", "site", "attended"),
    "pair_attention": ("pair",),
    "attention_profile": ("block", "head", "distance_bin"),
    "profile_distance": ("distance_bin",),
    "profile_pairs": ("distance_bin",),
    "residue_energy": ("amino_acid",),
    "residue_recovery": ("amino_acid",),
    "residue_sites": ("amino_acid",),
}
"""Dimensions of variables beside walker and row."""
SNAPSHOTS = ("parameters", "attention", "pair_attention", "attention_profile", "residue_energy", "residue_recovery")
"""Variables over (walker, snapshot), float32."""


class OneRank:
    """The world of a serial run."""

    rank, size = 0, 1

    def allgather(self, item: Any) -> list[Any]:
        return [item]

    def barrier(self) -> None:
        pass


def ar1(phi: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) series along the last axis, mean 0, variance 1, autocorrelation phi^t."""
    kicks = rng.normal(size=shape) * np.sqrt(1 - phi**2)
    kicks[..., :1] /= np.sqrt(1 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], kicks, axis=-1))


def ar1_error(phi: float, draws: int) -> float:
    """Exact standard error of the mean of `draws` values of `ar1`."""
    lag = np.arange(1, draws)
    return float(np.sqrt((1 + 2 * np.sum((1 - lag / draws) * phi**lag)) / draws))


@cache
def roles(sphere: bool) -> dict[str, Role]:
    """Of every quantity that a sampler records of itself, as it declares them."""
    kinds = ("constrained", "constrained-trajectories") if sphere else ("unconstrained", "trajectories")
    layout = Layout([("w", (1,))])
    declared = [v for kind in kinds for v in sampling.variables(SamplerConfig(kind=kind), layout, "nats")]
    return {"slot_temperature": "set", **{v.name: v.role for v in declared}}


def write_store(
    path: Path,
    temperature: np.ndarray,
    energy: np.ndarray,
    *,
    slot: np.ndarray | None = None,
    planned_draws: int | None = None,
    references: dict[str, np.ndarray] | None = None,
    sampler: dict[str, Any] | None = None,
    layers: dict[str, int] | None = None,
    sphere: bool = True,
    sphere_norm2: np.ndarray | float = 1785.0,
    tempering: dict[str, Any] | None = None,
    burn_in: int | None = None,
    contacts: np.ndarray | None = None,
    pairs: dict[str, np.ndarray] | None = None,
    model: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    identity: dict[str, str] | None = None,
    **observables: np.ndarray,
) -> Path:
    """Write a store whose run recorded `energy` (walker, draw) and other observables of the same shape.

    Observables named test_... and those of SNAPSHOTS are over (walker, snapshot, ...), kinetic_ratio_layer over
    (walker, draw, layer), with `layers` the name and size of each; `pairs` are constants over pairs of points, or
    over what DIMS says. Without `slot` walkers stay at their temperatures. `sampler` and `model` add to these sections
    of the configuration, `more` has others; `sphere` is whether the norm is held, `sphere_norm2` where (of all, or of
    each walker). `tempering` is that section of the configuration, `identity` and `burn_in` (steps) are attributes.
    """
    walkers, draws = energy.shape
    if slot is None:
        slot = np.broadcast_to((np.arange(walkers) % temperature.size)[:, None], energy.shape)
    of_walker = np.broadcast_to(sphere_norm2, walkers).astype(float)
    norm2 = observables.pop("norm2", np.broadcast_to(of_walker[:, None], energy.shape).copy())
    rows = {"slot": slot, "energy": energy, "norm2": norm2, "seconds": np.ones_like(energy), **observables}
    units = {"energy": "nats", "norm2": "", "seconds": "s"}
    variables = tuple(
        Variable(
            name,
            "snapshot" if name.startswith("test_") or name in SNAPSHOTS else "draw",
            name.replace("_", " "),
            units.get(name, ""),
            "int32" if name == "slot" else "float32" if name in SNAPSHOTS else "float64",
            dims=DIMS.get(name, ()),
            shape=values.shape[2:],
            physics=name != "seconds",
            role=roles(sphere).get(name, "law"),
        )
        for name, values in rows.items()
    )
    schema = Schema(
        walkers=walkers,
        steps=(planned_draws or draws) * RECORD_EVERY,
        record_every=RECORD_EVERY,
        snapshot_every=RECORD_EVERY * DRAWS_PER_SNAPSHOT,
        draws_per_chunk=max(1, draws),
        variables=variables,
    )
    constants = [Constant("temperature", ("ladder",), temperature, "temperature of each slot", "nats")]
    if sphere:
        constants.append(
            Constant("sphere_norm2", ("walker",), of_walker, "squared norm of the sphere", "")
        )
    constants += [
        Constant(name, ("reference", *DIMS.get(name.split("_", 1)[1], ())), v, name, "")
        for name, v in (references or {}).items()
    ]
    constants += [Constant(name, DIMS.get(name, ("pair",)), values, name, "") for name, values in (pairs or {}).items()]
    if contacts is not None:
        constants.append(Constant("contact_map", ("site", "attended"), contacts.astype("uint8"), "contacts", ""))
    model = {"name": "transformer-1-4", "kind": "transformer", "blocks": 1, "d": 4, "m": 16, **(model or {})}
    config = {"sampler": {"adapt_until": BURN_IN_DRAWS * RECORD_EVERY, **(sampler or {})}, "model": model}
    config |= more or {}
    if tempering is not None:
        config["tempering"] = tempering
    offsets = np.cumsum([0, *(layers or {}).values()]).tolist()
    layout = [
        {"name": name, "shape": [size], "offset": offset}
        for (name, size), offset in zip((layers or {}).items(), offsets, strict=False)
    ]
    attributes = {"identity": identity or {}} | ({} if burn_in is None else {"burn_in": burn_in})
    create(path, schema, constants, {"config": config, "parameter_layout": layout, **attributes})
    writer = Writer(path, schema, range(walkers), OneRank())
    axes: tuple[Axis, ...] = ("draw", "snapshot")
    for axis in axes:
        columns = {v.name: np.moveaxis(rows[v.name], 1, 0) for v in variables if v.axis == axis}
        for values in zip(*columns.values(), strict=True):
            writer.append(axis, dict(zip(columns, values, strict=True)))
    if draws:
        writer.commit(draws * RECORD_EVERY, {"w": np.zeros((walkers, 1))})
    return path


def exchange_slots(
    probability: Any, ladders: int, slots: int, draws: int, rng: np.random.Generator, scheme: str = "even-odd"
) -> np.ndarray:
    """Slots (walker, draw) of ladders that sweep after every draw, even and odd pairs in turn, or by a coin.

    `probability(draw, at)` is the chance of each pair to swap (ladder, pair), from `at` (ladder, slot), the walkers.
    """
    at = np.broadcast_to(np.arange(slots), (ladders, slots)).copy()
    found = np.empty((ladders, slots, draws), dtype=int)
    for draw in range(draws):
        np.put_along_axis(found[:, :, draw], at, np.broadcast_to(np.arange(slots), at.shape), axis=1)
        sweep = draw + 1  # RECORD_EVERY steps are done at draw 0
        swap = rng.random((ladders, slots - 1)) < probability(draw, at)
        parity = np.full(ladders, sweep % 2) if scheme == "even-odd" else rng.integers(2, size=ladders)
        swap &= np.arange(slots - 1) % 2 == parity[:, None]
        for pair in range(slots - 1):
            both = at[swap[:, pair], pair : pair + 2]
            at[swap[:, pair], pair : pair + 2] = both[:, ::-1]
    return found.reshape(ladders * slots, draws)


EXCHANGE = {"kind": "exchange", "exchange_every": RECORD_EVERY, "scheme": "even-odd"}
"""The section `tempering` of a run whose draws are made by `exchange_slots`."""
