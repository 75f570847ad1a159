"""The verdict on equilibrium as text: the mark of a temperature in a table, and the lines below the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.show.cells import exponent_form

if TYPE_CHECKING:
    import xarray

MARK = "*"
PLUS_MINUS = "± holds the mean with 68 %: one standard error times Student's t"


def temperature_column(data: xarray.Dataset) -> tuple[str, list[str]]:
    """Heading and cells of the temperatures. Temperatures not in equilibrium have no ± and are marked."""
    temperature, reasons = _judged(data)
    marks = [MARK if reason else " " for reason in reasons] if any(reasons) else [""] * len(reasons)
    return "T", [exponent_form(t) + mark for t, mark in zip(temperature, marks, strict=True)]


def equilibrium_remarks(data: xarray.Dataset) -> list[str]:
    """One line for each reason why temperatures are not in equilibrium."""
    temperature, reasons = _judged(data)
    return [
        f"{MARK} Not in equilibrium, values without ±: {reason} at T = "
        f"{', '.join(exponent_form(t) for t in temperature[reasons == reason])}."
        for reason in dict.fromkeys(reasons.tolist())
        if reason
    ]


def _judged(data: xarray.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Temperatures of the run, and the reason why each is not in equilibrium."""
    # free-energy curves have a finer grid beside the temperatures of the run
    of_run = "slot_temperature" if "slot_temperature" in data.coords else "temperature"
    return data[of_run].values, data["not_in_equilibrium"].values
