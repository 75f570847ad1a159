"""Live view of a run in the terminal: progress, the energy of every temperature and the results so far."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.reading.opening import open_run
from analysis.show.cells import exponent_form, plus_minus, table_of
from analysis.show.equilibrium import equilibrium_remarks, temperature_column
from analysis.statistics.chains import MINIMUM_DRAWS
from analysis.subjects.thermodynamics.measure import thermodynamics

if TYPE_CHECKING:
    from rich.console import Console, Group

    from analysis.reading.run import Run

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
"""Width of the picture of a series in characters."""


def watch(path: Path, every: float, console: Console, once: bool = False) -> None:
    """Draw the run at `path` every `every` seconds until it has finished, or until Ctrl-C."""
    from rich.live import Live

    if once:
        console.print(picture(open_run(path)))
        return
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                run = open_run(path)
                live.update(picture(run), refresh=True)
                if not run.unfinished:
                    return
                time.sleep(every)
        except KeyboardInterrupt:
            return


def picture(run: Run) -> Group:
    """One screen: a line of progress and a table with a row for each temperature."""
    from rich.console import Group

    status = run.store.status()
    eta = f", {status['eta_seconds']:,.0f} s left" if status["eta_seconds"] else ""
    part = "burn-in" if status["step"] < run.burn_in else "measuring" if run.unfinished else "finished"
    lost = f", {len(status['lost'])} walkers lost" if status["lost"] else ""
    head = (
        f"{run.store.path}: step {status['step']:,} of {status['steps']:,} "
        f"({100 * status['step'] // status['steps']} %), {part}{eta}{lost}"
    )
    return Group(head, _table(run) if run.store.draws else "no draw is committed yet")


def _table(run: Run) -> Group:
    """Results at each temperature, and below them the temperatures that are not in equilibrium."""
    from rich.console import Group

    below: list[str] = []
    energy, walkers = run.by_temperature("energy"), f"{run.replicas} walkers{'' if run.alone else ' each'}"
    temperatures = "T", [exponent_form(t) for t in run.temperature]
    columns = [
        ("U now", [_last(rows) for rows in np.moveaxis(energy, 1, 0)]),
        (f"U, the whole run ({walkers})", [sparkline(rows) for rows in np.moveaxis(energy, 1, 0)]),
    ]
    if run.store.draws - run.store.first_measured["draw"] >= MINIMUM_DRAWS:
        data = thermodynamics(run)
        temperatures, below = temperature_column(data), equilibrium_remarks(data)
        columns.append(("⟨U⟩ ±", [plus_minus(*value) for value in data["energy"].values]))
        for name, heading in (("val_error", "val error ±"), ("kinetic_ratio", "T_kin/T ±"), ("acceptance", "accepted")):
            if name in data:
                columns.append((heading, [plus_minus(*value) for value in data[name].values]))
        columns.append(("ESS", [f"{samples:.0f}" for samples in data["effective_samples"].values]))
    return Group(table_of([temperatures, *columns]), *below)


def _last(rows: np.ndarray) -> str:
    """Mean over the walkers at the last draw (replica, draw)."""
    known = rows[np.isfinite(rows[:, -1]), -1]
    return f"{known.mean():.4g}" if known.size else "-"


def sparkline(rows: np.ndarray, width: int = WIDTH) -> str:
    """The mean of some series (replica, draw) as a row of bars between its extremes; blank if unknown."""
    known = np.isfinite(rows)
    series = np.where(known, rows, 0.0).sum(0) / np.maximum(1, known.sum(0))
    parts = np.array_split(np.where(known.any(0), series, np.nan), min(width, rows.shape[1]))
    means = np.array([part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan for part in parts])
    if not np.isfinite(means).any():
        return ""
    low, high = np.nanmin(means), np.nanmax(means)
    level = (means - low) / (high - low) * (len(BARS) - 1) if high > low else np.zeros_like(means)
    return "".join(BARS[round(float(x))] if np.isfinite(x) else " " for x in level)
