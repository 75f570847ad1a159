"""The command line of protmpi. Slow modules are imported inside the commands that need them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpc.world import launched_rank
from protmpi import commands
from protmpi.bench.commands import app as bench_commands
from protmpi.commands import Commands, Overrides
from protmpi.data.commands import app as data_commands
from protmpi.errors import ProtmpiError
from protmpi.probes.commands import app as structures_commands

if TYPE_CHECKING:
    from protmpi.store.verify import Examination

app = Commands(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data_commands, name="data", help="Structures, sequences, data sets.")
app.add_typer(bench_commands, name="bench")
app.add_typer(structures_commands, name="structures", help="What trained networks of protein chains know.")

@app.callback()
def program(version: commands.Version = False) -> None:
    """Boltzmann sampling of the parameters of small protein networks."""


NARROW = 140
"""Width of a terminal on which the table of `protmpi config --explain` has too little room for its sentences."""

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file; `protmpi config --explain` has the keys.")
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store of a run.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def run(
    config: ConfigFile,
    store: Annotated[Path | None, typer.Option(help="Zarr store (execution.store).")] = None,
    overrides: Overrides = None,
) -> None:
    """Sample: alone, or on the ranks of mpirun or srun. Give the same command again to continue."""
    from hpc.stop import EXIT_INTERRUPTED, Stop
    from hpc.world import AbortOnException, connect, together
    from protmpi.config import load
    from protmpi.display import Display
    from protmpi.run import run as run_config

    world = connect()
    changes = [*(overrides or []), *([f"execution.store={json.dumps(str(store))}"] if store else [])]
    with AbortOnException(world):
        loaded = together(world, lambda: load(config, changes))
        stop, display = Stop(world, loaded.execution.wall_time), Display(world.rank, loaded.execution.progress)
        finished = run_config(loaded, world, stop, display)
    if not finished:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def ladder(config: ConfigFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """How many temperatures a ladder from t_min to t_max needs, from a short pilot on all ranks."""
    from hpc.devices import bind
    from hpc.stop import EXIT_INTERRUPTED, Stop
    from hpc.world import AbortOnException, connect, together
    from protmpi import display, pilot_run, tasks
    from protmpi.config import load

    world = connect()
    with AbortOnException(world):
        loaded = together(world, lambda: load(config, overrides))
        device = together(world, lambda: bind(world, loaded.execution.device, loaded.execution.threads_per_rank)).device
        task = together(world, lambda: tasks.build(loaded, device))
        found = pilot_run.measure(loaded.resolved(task.train_size), task, device, world, Stop(world))
    if found is None:
        raise typer.Exit(EXIT_INTERRUPTED)
    if world.rank == 0:
        print(json.dumps(found.to_json())) if as_json else display.show_pilot(found)


@app.command()
def train(config: ConfigFile, overrides: Overrides = None) -> None:
    """Early-stopped and over-trained reference weights. Give the same command again to continue."""
    from hpc.devices import bind
    from hpc.stop import EXIT_INTERRUPTED, Stop
    from hpc.world import AbortOnException, connect, together
    from protmpi import references, tasks, weights
    from protmpi.config import load

    world = connect()
    with AbortOnException(world):
        loaded = together(world, lambda: load(config, overrides))
        binding = together(world, lambda: bind(world, loaded.execution.device, loaded.execution.threads_per_rank))
        task = together(world, lambda: tasks.build(loaded, binding.device))
        finished = together(world, weights.Parts(loaded.train.file, loaded, task).finished)
        if not finished:
            stop = Stop(world, loaded.execution.wall_time)
            with references.Status(world.rank) as status:
                finished = references.train(loaded, task, world, stop, binding.device, status)
        if finished:
            together(world, lambda: references.print_table(loaded, task) if world.rank == 0 else None)
    if not finished:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def launch(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="TOML files, one job each.")],
    executor: Annotated[Literal["slurm", "local"], typer.Option(help="local: this machine, all jobs at once.")],
    sweep: Annotated[
        list[str] | None, typer.Option(metavar="section.key=value,value", help="One job per value; repeat for a grid.")
    ] = None,
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option(min=1, help="of each job")] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=0, help="one rank each")] = 0,
    ranks_per_node: Annotated[int | None, typer.Option(min=1, help="as many as GPUs if absent")] = None,
    limit: Annotated[str, typer.Option("--time", metavar="[D-]HH:MM:SS", help="of one stay in the queue")] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="of Slurm")] = None,
    sbatch: Annotated[list[str] | None, typer.Option(metavar="name=value", help="Another option of sbatch.")] = None,
    array_parallelism: Annotated[int, typer.Option(min=1, help="jobs that Slurm runs at once")] = 256,
    folder: Annotated[Path | None, typer.Option(help="runs/launch-DATE if absent")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the jobs and what they cost at most.")] = False,
) -> None:
    """Submit one run per configuration or swept value. Missing reference weights are trained first, in the same job."""
    from hpc.jobs import Resources, minutes
    from hpc.launch import Queue
    from protmpi import campaign, display

    resources = Resources(nodes, ranks_per_node or max(1, gpus_per_node), gpus_per_node, minutes(limit))
    queue = Queue(executor, array_parallelism, [*(sbatch or []), *([f"partition={partition}"] if partition else [])])
    target = folder or Path("runs") / f"launch-{time.strftime('%Y%m%d-%H%M%S')}"
    runs = campaign.members(configs, sweep or [], overrides or [])
    submitted, cost = campaign.launch(runs, target, queue, resources, dry_run)
    display.show_launch(submitted, cost, None if dry_run else target)


@app.command()
def jobs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a launch.")], as_json: AsJson = False
) -> None:
    """State, progress, time left and GPU-hours of the jobs of a launch."""
    from protmpi import campaign, display

    rows = campaign.standing(folder)
    print(json.dumps(rows)) if as_json else display.show_jobs(rows)


@app.command()
def models(as_json: AsJson = False) -> None:
    """The published networks and how many parameters they have."""
    from rich.table import Table

    from protmpi.models import build
    from protmpi.sections import PUBLISHED_NETWORKS, ModelConfig
    from protmpi.terminal import terminal

    rows = []
    for name in PUBLISHED_NETWORKS:
        config = ModelConfig(name=name)
        size = build(config, length=1).layout.size
        blocks = config.blocks if config.kind == "transformer" else 0
        rows.append({"name": name, "kind": config.kind, "blocks": blocks, "d": config.d, "m": config.hidden,
                     "parameters": size})  # fmt: skip
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    terminal().print(table)


@app.command()
def status(store: StorePath, as_json: AsJson = False) -> None:
    """Progress, speed and time left of a run, from its last commit."""
    from protmpi.store.reader import Store

    found = Store(store).status()
    if as_json:
        print(json.dumps(found))
        return
    rate, eta = found["steps_per_second"], found["eta_seconds"]
    print(f"{found['store']}: {found['state']}, step {found['step']:,} of {found['steps']:,} "
          f"({100 * found['step'] / found['steps']:.0f} %), {found['walkers']} walkers, "
          f"{found['draws']:,} draws, {found['snapshots']:,} snapshots")  # fmt: skip
    for loss in found["lost"]:
        print(f"walker {loss['walker']} lost at step {loss['step']:,}: {loss['reason']}")
    if rate is not None:
        print(f"{rate:.1f} steps/s on {found['ranks']} ranks, ETA {eta:,.0f} s")


@app.command()
def digest(store: StorePath) -> None:
    """sha256 of the physics content: equal draws have equal digests, on any ranks, any host and at any time."""
    from protmpi.store.reader import Store

    print(Store(store).digest())


@app.command()
def verify(store: StorePath, as_json: AsJson = False) -> None:
    """Check every checksum, count and identity of a store. Status 1 if a check fails."""
    found = _examine(store)
    if as_json:
        print(json.dumps({"store": str(store), "commits": found.commits, "flaws": found.flaws}))
    else:
        for flaw in found.flaws:
            print(flaw)
        state = f"{len(found.flaws)} flaws; see `protmpi repair`" if found.flaws else "whole"
        print(f"{store}: {found.commits} commits, {found.store.draws:,} draws, {found.store.snapshots:,} snapshots: "
              f"{state}")  # fmt: skip
    if found.flaws:
        raise typer.Exit(1)


@app.command()
def repair(store: StorePath) -> None:
    """Go back to the newest commit that is whole and report what is lost. Nothing is deleted."""
    from hpc.lock import Lock
    from protmpi.store.verify import repair as go_back

    found = _examine(store)
    lock, _ = Lock.acquire(store)
    try:
        lines = go_back(found)
    finally:
        lock.release()
    for line in lines or [f"{store}: the newest commit is whole: nothing to go back from"]:
        print(line)


def _examine(store: Path) -> Examination:
    from protmpi.config import parse_stored
    from protmpi.store.verify import examine

    return examine(store, lambda stored: parse_stored(stored, f"{store}: stored configuration").physics())


@app.command()
def replay(dump: Annotated[Path, typer.Argument(metavar="DUMP", help="STORE/quarantine/walker-W.h5")]) -> None:
    """Repeat the last steps of a lost walker. Status 1 unless it is lost at the same step for the same reason."""
    from protmpi.quarantine import replay as relive

    recorded, again = relive(dump)
    print(f"recorded: walker {recorded.walker} lost at step {recorded.step:,}: {recorded.reason}")
    print(f"replayed: walker {again.walker} lost at step {again.step:,}: {again.reason}")
    if again != recorded:
        raise typer.Exit(1)


@app.command()
def doctor(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Check for this run, above all its store.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check whether this machine is fit for a run. Start it with mpirun or srun, like the run. Status 1 if not fit."""
    from hpc.doctor import examine
    from protmpi import display
    from protmpi.config import load
    from protmpi.sections import ExecutionConfig

    chosen = load(config, overrides).execution if config else ExecutionConfig()
    report = examine(chosen.device, chosen.threads_per_rank, chosen.store)
    if launched_rank() == 0:
        print(json.dumps(report.to_json())) if as_json else display.show_report(report)
    if not report.fit:
        raise typer.Exit(1)


@app.command()
def compact(
    store: StorePath,
    out: Annotated[Path | None, typer.Option(metavar="TOML", help="STORE-compact.toml if absent")] = None,
    temperature: Annotated[float | None, typer.Option(help="of the ladder; next to T* or the middle if absent")] = None,
) -> None:
    """Write the configuration of the network without the elements whose gains are about zero. Train and run it next."""
    from analysis import open_run
    from analysis.subjects.weights.compact import compact as reduce
    from protmpi.config import to_toml

    target = out or store.with_name(f"{store.stem}-compact.toml")
    found = reduce(open_run(store), temperature)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(to_toml(found.config, f"{store}: {found.remark}."))
    except OSError as error:
        raise ProtmpiError(f"{target}: cannot be written: {error.strerror}; choose another --out") from None
    print(f"{found.remark}\nwrote {target}; next: protmpi train {target}; protmpi run {target}")


@app.command()
def config(
    explain: Annotated[bool, typer.Option("--explain", help="Every key with type, default, unit and meaning.")] = False,
    file: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="Print this file with all defaults.")] = None,
    overrides: Overrides = None,
) -> None:
    """Explain the keys, or check a configuration and print it in full as JSON."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    from protmpi.config import load
    from protmpi.keys import explain as rows

    if file is not None:
        print(json.dumps(load(file, overrides).written(), indent=2, ensure_ascii=False))
        return
    if not explain:
        raise ProtmpiError("config: give --explain, or a configuration file to check")
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    table = Table("key", "type", "default", "unit", "meaning", box=None, header_style="bold")
    for key, of_type, default, unit, meaning in rows():
        if console.width >= NARROW:
            table.add_row(key, of_type, default, unit, meaning)
            continue
        console.print(f"{key}: {of_type}, default {default} {unit}".rstrip(), style="bold", markup=False)
        console.print(Padding(meaning, (0, 0, 0, 4)))
    if table.row_count:
        console.print(table)


def main() -> None:
    """Entry point: an error of the user is one line on one rank and exit status 2."""
    commands.main(app, "protmpi", speaks=launched_rank() == 0)
