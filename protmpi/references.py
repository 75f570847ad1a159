"""Early-stopped (ES) and over-trained (OT) weights: starting points and references of sampling.

Stage one trains independent initialisations and stops each at its lowest validation energy. The mean of their squared
norms is Q. Stage two trains reference models: ES is where |w|² first reaches Q, OT is where training energy and error
have saturated and, if asked for, settled at a minimum (docs/method/training.md section 2). Runs are dealt to the ranks.
Each run saves its own part file every few seconds, so the same command continues a training that was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from hpc.stop import Interrupted, Stop
from hpc.world import World, together
from protmpi import weights
from protmpi.config import Config
from protmpi.display import LINE_EVERY, open_console
from protmpi.errors import DataError
from protmpi.shards import Shards
from protmpi.tasks import Task
from protmpi.training import Trainer

# Over-training ends when energy and error fall by less than this fraction from the third to the last quarter of the
# epochs: training slows down as a power of time, so the window has to grow with it.
SATURATED = 0.01
LEAST = 5  # least points of the curve in a quarter: in fewer points a lull looks like saturation
SAVE_EVERY = 20.0  # seconds between two saves of a part file

Report = Callable[[str], None]
"""Function that shows one line of progress."""


class Status:
    """One line of progress on rank 0: live on a terminal, at intervals in a log."""

    def __init__(self, rank: int) -> None:
        self._console = open_console(rank)
        self._live = self._console.status("training") if rank == 0 and self._console.is_terminal else None
        self._last = 0.0

    def __enter__(self) -> Status:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, line: str) -> None:
        if self._live:
            self._live.update(line)
        elif time.monotonic() - self._last > LINE_EVERY:
            self._last = time.monotonic()
            self._console.print(line)


def print_table(config: Config, task: Task) -> None:
    """Show energies and errors of the reference weights. Then raise DataError if a reference fell short."""
    found = weights.load_any(config.train.file, config, task)
    table = Table("weights", "epoch", "|w|²", "U train", "U val", "error train", "error val", box=None)
    for name, parameters, epochs in (("ES", found.es, found.es_epoch), ("OT", found.ot, found.ot_epoch)):
        if not len(parameters):
            continue
        values = task.draw_observables(torch.tensor(parameters, device=task.device))
        for row, w in enumerate(parameters):
            columns = ("energy", "val_energy", "train_error", "val_error")
            epoch = "never" if name == "ES" and found.fell_short[row] else str(epochs[row])
            table.add_row(f"{name} {row + 1}", epoch, f"{weights.norm2(w):.1f}",
                          *(f"{values[column][row]:.4g}" for column in columns))  # fmt: skip
    console = open_console(0)
    console.print(table)
    console.print(f"weights: {config.train.file}")
    found.require_norm(config.train.file)


@dataclass
class EarlyStopping:
    """Stage one: keep the weights of the lowest validation energy."""

    trainer: Trainer
    marks: dict[str, np.ndarray] = field(default_factory=dict)

    def epoch(self) -> str:
        """Train one more epoch. Returns a line of progress."""
        self.trainer.run_epoch()
        curve = self.trainer.curves["val_energy"]
        if curve and self.trainer.epoch % self.trainer.config.eval_every == 0 and curve[-1] == min(curve):
            self.marks = {"ES": self.trainer.w[0].cpu().numpy().copy(), "ES.epoch": np.asarray(self.trainer.epoch)}
        return f"epoch {self.trainer.epoch}, best at {int(self.marks.get('ES.epoch', 0))}{_losses(self.trainer)}"

    def done(self) -> bool:
        c = self.trainer.config
        best = int(self.marks.get("ES.epoch", 0))
        return self.trainer.epoch >= c.max_epochs or self.trainer.epoch - best >= c.patience


@dataclass
class Reference:
    """Stage two: ES where |w|² first reaches `norm2`, OT where training has saturated."""

    trainer: Trainer
    norm2: float
    marks: dict[str, np.ndarray] = field(default_factory=dict)

    def _mark_es(self) -> None:
        if "ES" not in self.marks and self.trainer.norm2 >= self.norm2:
            self.marks["ES"] = self.trainer.w[0].cpu().numpy().copy()
            self.marks["ES.epoch"] = np.asarray(self.trainer.epoch + 1)

    def epoch(self) -> str:
        """Train one more epoch. Returns a line of progress."""
        self.trainer.run_epoch(self._mark_es)
        found = f"ES at {int(self.marks['ES.epoch'])}" if "ES" in self.marks else f"|w|² {self.trainer.norm2:.0f}"
        return f"epoch {self.trainer.epoch}, {found}{_losses(self.trainer)}"

    def done(self) -> bool:
        """Whether training ends: at `over_epochs` or at saturation, after it has settled.

        A run that has not reached the norm by then has no ES. Its OT is stored as ES, and `Weights.fell_short` is true.
        """
        trainer, c = self.trainer, self.trainer.config
        if not trainer.settles_at:
            saturated = "ES" in self.marks and _saturated(trainer.curves)
            if trainer.epoch < c.over_epochs and not saturated:
                return False
            trainer.settles_at = trainer.epoch + c.settle_epochs
        if trainer.epoch < trainer.settles_at:
            return False
        weights, epoch = trainer.w[0].cpu().numpy().copy(), np.asarray(trainer.epoch)
        self.marks |= {"OT": weights, "OT.epoch": epoch}
        if "ES" not in self.marks:
            self.marks |= {"ES": weights, "ES.epoch": epoch}
        return True


def _losses(trainer: Trainer) -> str:
    c = trainer.curves
    return f", U {c['train_energy'][-1]:.3g} train {c['val_energy'][-1]:.3g} val" if c["epoch"] else ""


def _saturated(curves: dict[str, list[float]]) -> bool:
    """Whether training energy and error fell by less than SATURATED between the third and the last quarter."""
    quarter = len(curves["epoch"]) // 4
    if quarter < LEAST:
        return False
    energy, error = np.asarray(curves["train_energy"]), np.asarray(curves["train_error"])
    return all(c[-quarter:].mean() > (1.0 - SATURATED) * c[-2 * quarter : -quarter].mean() for c in (energy, error))


def train(config: Config, task: Task, world: World, stop: Stop, device: str, report: Report) -> bool:
    """Train both stages and write `train.file` on rank 0. Collective. Returns False if a signal stopped it."""
    task.check = stop.check
    file, c = config.train.file, config.train
    parts = weights.Parts(file, config, task)
    shards = together(world, lambda: Shards.of(world, c.shards, stop.listen)) if c.shards > 1 else None

    def fresh(stage: int, run: int) -> Trainer:
        return Trainer.start(task, c, config.model.width, (stage, run), device, shards)

    def mine(runs: int) -> range:
        return range(runs) if shards else range(world.rank, runs, world.size)

    def initialisations() -> None:
        for run in mine(c.inits):
            name = f"run {run + 1}/{c.inits}"
            _follow(EarlyStopping(fresh(1, run)), parts.path("init", run), parts, stop, name, report)

    together(world, initialisations, stop.listen)
    if stop.requested():
        return False
    inits = together(world, lambda: [parts.read("init", run) for run in range(c.inits)])
    norm2 = float(np.mean([weights.norm2(part["ES"]) for part in inits]))

    def references() -> None:
        for run in mine(c.references):
            name = f"reference {run + 1}/{c.references}"
            _follow(Reference(fresh(2, run), norm2), parts.path("reference", run), parts, stop, name, report)

    def assemble() -> None:
        if world.rank == 0:
            parts.assemble(inits, [parts.read("reference", run) for run in range(c.references)], norm2)

    together(world, references, stop.listen)
    if stop.requested():
        return False
    together(world, assemble)
    return True


def _follow(
    run: EarlyStopping | Reference, path: Path, parts: weights.Parts, stop: Stop, name: str, report: Report
) -> None:
    """Train one run until it ends or must stop, and save it at intervals."""
    shards = run.trainer.shards
    if shards:  # all ranks follow this run
        together(shards.world, lambda: _restore(run, path, parts))
    else:
        _restore(run, path, parts)

    def save(arrays: dict[str, np.ndarray]) -> None:
        if not shards or shards.world.rank == 0:
            parts.save(path, arrays)

    saved = time.monotonic()
    while not run.done():
        before = {key: array.copy() for key, array in _arrays(run).items()}
        line = _epoch(run, stop)
        if line is None:  # stopped within the epoch
            return save(before)
        report(f"{name}: {line}")
        if time.monotonic() - saved > SAVE_EVERY:
            save(_arrays(run))
            saved = time.monotonic()
    save(_arrays(run))


def _restore(run: EarlyStopping | Reference, path: Path, parts: weights.Parts) -> None:
    """Continue from a part file, if there is one."""
    if not path.exists():
        return
    stored = parts.load(path)
    run.marks = {key.removeprefix("mark."): value for key, value in stored.items() if key.startswith("mark.")}
    try:
        run.trainer.restore(stored)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: does not fit this training ({error}); delete it and train again") from None


def _epoch(run: EarlyStopping | Reference, stop: Stop) -> str | None:
    """Train one more epoch; None if it was interrupted. Ranks that share mini-batches stop at the same mini-batch."""
    if not run.trainer.shards:
        return stop.attempt(lambda _: run.epoch())
    try:
        return run.epoch()
    except Interrupted:
        return None


def _arrays(run: EarlyStopping | Reference) -> dict[str, np.ndarray]:
    return {**run.trainer.state(), **{f"mark.{name}": value for name, value in run.marks.items()}}
