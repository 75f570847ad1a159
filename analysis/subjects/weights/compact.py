"""The smaller network that follows from the gains of a run, as a configuration to train and sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.show.cells import exponent_form, plus_minus
from analysis.subjects.thermodynamics.measure import shown_slot, thermodynamics
from analysis.subjects.thermodynamics.tables import shown_temperature
from analysis.subjects.weights.gains import deciding, gains
from protmpi.errors import ProtmpiError, StoreError

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run


class Compact(NamedTuple):
    """A reduced network, and the reason for its size."""

    config: dict[str, Any]
    remark: str


def compact(run: Run, temperature: float | None = None) -> Compact:
    """Leave out the elements in the peak at zero of the gains: embedding dimension d', hidden units m' = 4 d'.

    As in the study, the gains of each layer norm of the last block are counted separately. The study does not say which
    of the two decides. Here the larger count decides, so that every element that one of them uses is kept. The default
    temperature is the one next to T*, or the middle of the ladder without T*. In a pooling network m' is the number of
    remaining elements of the layer norm of size m. All else is the configuration of the run, with new file names.
    Raises StoreError if a layer norm has no useless gains, ProtmpiError if `temperature` is not in the ladder.
    """
    model = run.store.config["model"]
    if model["kind"] == "encoder":  # elements bypass the layer norms on the residual stream, and heads divide them
        raise StoreError(f"{run.store.path}: gains do not tell which elements of an encoder are useless")
    data = gains(run)
    if temperature is None:
        energies = thermodynamics(run)
        slot = shown_slot(energies)
        at = f"at {shown_temperature(energies, slot)}"
    else:
        slot = _slot_of(run, temperature)
        at = f"at T = {exponent_form(run.temperature[slot])}"
    d, counts = _remaining(data, model["d"], slot)
    if d >= model["d"]:
        raise StoreError(f"{run.store.path}: the gains of a layer norm of the last block have no peak at zero {at}: "
                         f"{counts} of {model['d']} elements remain; the larger count decides")  # fmt: skip
    d = max(2, d)
    m = _remaining(data, model["m"], slot)[0] if model["kind"] == "pooling" else 4 * d
    remark = f"{counts} of {model['d']} elements remain {at}; the larger count decides: d = {d}, m = {m}"
    return Compact(_reduced(run.store.config, d, m), remark)


def _remaining(data: xarray.Dataset, size: int, slot: int) -> tuple[int, str]:
    """Largest number of remaining elements over layer norms of this size in the last block; all numbers as text."""
    layers = deciding(data, size)
    found = data["remaining"].sel(layer=layers).values[:, slot]
    counts = ", ".join(f"{layer} {plus_minus(*one)}" for layer, one in zip(layers, found, strict=True))
    return size if np.isnan(found[:, 0]).any() else round(float(found[:, 0].max())), counts


def _slot_of(run: Run, temperature: float) -> int:
    slot = int(np.argmin(np.abs(np.log(run.temperature / temperature))))
    if not np.isclose(run.temperature[slot], temperature, rtol=1e-2):
        ladder = ", ".join(map(exponent_form, run.temperature))
        raise ProtmpiError(f"--temperature: {exponent_form(temperature)} is not in the ladder: {ladder}")
    return slot


def _reduced(config: dict[str, Any], d: int, m: int) -> dict[str, Any]:
    """A configuration with another network, and new files for weights and draws."""
    reduced = {name: {key: value for key, value in section.items() if value is not None}
               for name, section in config.items()}  # fmt: skip
    model = {key: value for key, value in reduced["model"].items() if key in ("kind", "blocks")}
    reduced["model"] = {**model, "d": d, "m": m}
    for section, key in (("train", "file"), ("execution", "store")):
        path = Path(reduced[section][key])
        reduced[section][key] = str(path.with_name(f"{path.stem}-compact{path.suffix}"))
    for key in ("t_min", "t_max", "slots"):  # the ladder is in sampler.temperatures
        reduced.get("tempering", {}).pop(key, None)
    return reduced
