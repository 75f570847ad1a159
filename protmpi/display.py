"""Output of rank 0: the rank table, the cost, a progress bar with ETA, and the table at the end."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hpc.doctor import ERROR, PASS, WARN, Finding, Report
from hpc.stop import WALL_TIME
from protmpi.store.reader import Store
from protmpi.terminal import WIDTH, Terminal

if TYPE_CHECKING:
    from hpc.devices import Binding
    from hpc.jobs import Job
    from protmpi.pilot import Pilot
    from protmpi.plan import Plan
    from protmpi.quarantine import Loss

LINE_EVERY = 20.0  # seconds between two lines of progress if the output is not a terminal


def open_console(rank: int) -> Terminal:
    """The console of a rank: silent except on rank 0, plain text if the output is not a terminal.

    mpirun gives its ranks a terminal of its own, so the output of mpirun decides.
    """
    watched = sys.stdout.isatty()
    if watched and {"OMPI_COMM_WORLD_SIZE", "PRTE_LAUNCHED"} & os.environ.keys():
        try:
            watched = os.readlink(f"/proc/{os.getppid()}/fd/1").startswith(("/dev/pts", "/dev/tty"))
        except OSError:
            watched = False
    return Terminal(None if watched else WIDTH, quiet=rank != 0, force_terminal=watched, highlight=True)


class Display:
    """Output of one rank. Rank 0 prints, the others are silent."""

    def __init__(self, rank: int, bar: bool = True) -> None:
        self._speaks = rank == 0
        self.console = open_console(rank)
        self._bar = bar and self._speaks and self.console.is_terminal
        self._progress: Progress | None = None
        self._steps = self._first = 0
        self._began = self._line = 0.0

    def start(self, plan: Plan, places: list[Binding], findings: list[Finding]) -> None:
        """Show the rank table, the findings that need attention, and the cost of the run."""
        self.console.print(rank_table(places))
        for finding in findings:
            if finding.verdict == WARN:
                self.console.print(finding.detail)
        self.console.print(plan.cost(len(places)))
        if plan.config.tempering.kind != "none":
            self.console.print(plan.tempering_cost())

    def tell(self, *lines: str) -> None:
        """Show what was found in a store that the run continues."""
        for line in filter(None, lines):
            self.console.print(line)

    def begin(self, step: int, steps: int) -> None:
        """Start the progress bar. The ETA is measured from here, so that steps of an earlier run do not count."""
        self._steps, self._first, self._began, self._line = steps, step, time.monotonic(), time.monotonic()
        if step:
            self.console.print(f"continuing at step {step:,}")
        if self._bar and step < steps:
            columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"))
            self._progress = Progress(*columns, TimeRemainingColumn(), console=self.console)
            self._task = self._progress.add_task("steps", total=steps, completed=step)
            self._progress.start()

    def advance(self, step: int) -> None:
        if self._progress:
            self._progress.update(self._task, completed=step)
        elif time.monotonic() - self._line > LINE_EVERY:
            self._line = time.monotonic()
            left = (self._line - self._began) * (self._steps - step) / (step - self._first)
            self.console.print(f"step {step:,} of {self._steps:,}, ETA {left:,.0f} s")

    def quarantined(self, loss: Loss, dump: Path) -> None:
        """Report a walker that has just been lost."""
        self.console.print(f"[bold red]walker {loss.walker} lost at step {loss.step:,}[/]: {loss.reason}. Its draws "
                           "are NaN from there, the others go on; sampler.rho is too large for its temperature. "
                           f"`protmpi replay {dump}` repeats its last steps.")  # fmt: skip

    def stopped(self, reason: str, step: int) -> None:
        self._end_bar()
        done = f"committed at step {step:,}" if step else "stopped before the first step"
        again = "give the same command again to continue"
        if reason == WALL_TIME and step == self._first:
            again = "the time was too short for one step: raise execution.wall_time or the time limit of the job"
        self.console.print(f"{reason}: {done}; {again}")

    def finish(self, store: Path) -> None:
        """Show the table of the run, from the committed draws."""
        self._end_bar()
        if self._speaks:
            found = Store(store)
            self.console.print(summary(found))
            for line in advice(found):
                self.console.print(line)
            self.console.print(f"store: {store}")

    def _end_bar(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None


def rank_table(places: list[Binding]) -> Table:
    """Host, device and threads of every rank."""
    table = Table("rank", "host", "local", "device", "", "UUID", "threads", box=None, header_style="bold")
    for place in places:
        table.add_row(str(place.rank), place.host, str(place.local_rank), place.device, place.device_name,
                      place.uuid, str(place.threads))  # fmt: skip
    return table


def show_pilot(pilot: Pilot) -> None:
    """Show the result of `protmpi ladder` and how to use it."""
    console = open_console(0)
    table = Table("T", "U", "C to the next T", "barrier to the next T", box=None, header_style="bold")
    capacity, between = pilot.capacity, np.diff(np.log(pilot.temperature))
    for k, (t, u) in enumerate(zip(pilot.temperature, pilot.energy, strict=True)):
        last = k == len(capacity)
        rejected = "" if last else f"{np.sqrt(max(capacity[k], 0.0) / np.pi) * between[k]:.2f}"
        table.add_row(f"{t:.2e}", f"{u:.4g}", "" if last else f"{capacity[k]:.0f}", rejected)
    console.print(table)
    console.print(f"Barrier {pilot.barrier:.2f}: {pilot.slots} slots are enough; a round trip takes each ladder about "
                  f"{2 + 4 * pilot.barrier:.0f} sweeps\nthat forget U. Rejections are equal at "
                  f"temperatures = [{', '.join(f'{t:.3e}' for t in pilot.ladder())}]")  # fmt: skip


def show_report(report: Report) -> None:
    """Show the findings of `protmpi doctor`."""
    console = open_console(0)
    console.print(rank_table(report.places))
    table = Table("check", "verdict", "", box=None, header_style="bold")
    colours = {PASS: "green", WARN: "yellow", ERROR: "bold red"}
    for finding in report.findings:
        table.add_row(finding.check, f"[{colours[finding.verdict]}]{finding.verdict}[/]", finding.detail)
    console.print(table)


def show_launch(jobs: list[Job], cost: str, folder: Path | None) -> None:
    """Show the submitted jobs and an upper bound of their cost. Without a folder it is a dry run."""
    table = Table("job", "runs", "store", box=None, header_style="bold")
    for job in jobs:
        table.add_row(job.id or "-", "\n".join(f"protmpi {' '.join(command)}" for command in job.commands), job.store)
    console = open_console(0)
    console.print(table)
    console.print(cost, soft_wrap=True)
    console.print(f"protmpi jobs {folder}" if folder else "dry run: nothing was written or submitted", soft_wrap=True)


def show_jobs(rows: list[dict[str, Any]]) -> None:
    """Show the state of the jobs of a launch."""
    unit = next(key for key in rows[0] if key.endswith("_hours"))
    table = Table("job", "name", "state", "progress", "ETA", unit.replace("_", "-"), box=None, header_style="bold")
    for row in rows:
        left = row["eta_seconds"] if row["state"] == "running" else None
        done = f"{100 * row['step'] / row['steps']:.0f} %" if row["steps"] else "-"
        eta = "-" if left is None else str(timedelta(seconds=round(left)))
        table.add_row(row["job"], row["name"], row["state"], done, eta, f"{row[unit]:,.2f}")
    console = open_console(0)
    console.print(table)
    for row in rows:
        if row["state"].startswith(("failed", "lost", "timeout", "node_fail", "out_of_memory")):
            console.print(f"{row['name']} {row['state']}: see the end of {row['log']}", soft_wrap=True)
    if any(row["state"] not in ("finished", "running", "pending") for row in rows):
        console.print("A job that has not finished continues from its last commit when it is launched again.")


def summary(store: Store) -> Table:
    """Plain means of the measured draws by temperature. Errors are left to protmpi-analysis."""
    first = store.first_measured["draw"]
    slots = store.read("slot")[:, first:]
    names = [
        v.name
        for v in store.schema.variables
        if v.axis == "draw" and v.physics and not v.shape and np.dtype(v.dtype).kind == "f" and v.shown
    ]
    held = "sphere_norm2" in store
    norm2 = store.read("norm2")
    last = np.abs(norm2 / store.read("sphere_norm2")[:, None] - 1.0) if held else norm2
    heading = "norm2 drift" if held else "norm2"
    table = Table("T", *(name.replace("_", " ") for name in names), heading, box=None, header_style="bold")
    rows = {name: store.read(name)[:, first:] for name in names}
    for slot, temperature in enumerate(store.read("temperature")):
        here = slots == slot
        means = [f"{np.mean(rows[name][here]):.4g}" if here.any() else "-" for name in names]
        chosen = last[:, first:][here]
        norm = "-" if not chosen.size else f"{chosen.max():.1e}" if held else f"{chosen.mean():.1f}"
        table.add_row(f"{temperature:.2e}", *means, norm)
    return table


def advice(store: Store) -> list[str]:
    """A line for each temperature whose hand-set rho made the momenta too hot, with a rho that is small enough."""
    sampler = store.config["sampler"]
    if "kinetic_ratio" not in store or sampler["rho"] == "auto":
        return []
    first = store.first_measured["draw"]
    slots, ratios = store.read("slot")[:, first:], store.read("kinetic_ratio")[:, first:]
    lines = []
    for slot, temperature in enumerate(store.read("temperature")):
        excess = float(np.mean(ratios[slots == slot])) - 1.0
        if excess > sampler["rho_tolerance"]:
            rho = sampler["rho"][slot] if isinstance(sampler["rho"], list) else sampler["rho"]
            enough = rho * sampler["rho_tolerance"] / excess
            lines.append(f"T = {temperature:.2e}: the kinetic temperature is {100 * excess:.1f} % above T; "
                         f"sampler.rho = {enough:.1e} is small enough")  # fmt: skip
    return lines
