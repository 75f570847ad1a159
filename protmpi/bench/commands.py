"""`protmpi bench`: speed, and with `mixing` the cost of an independent draw. Slow modules are imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpc.devices import Device
from protmpi.bench.progress import Progress
from protmpi.commands import Commands, Overrides
from protmpi.errors import ConfigError
from protmpi.sections import PUBLISHED_NETWORKS

app = Commands(add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    device: Annotated[Device, typer.Option(help="auto: a GPU if there is one.")] = "auto",
    network: Annotated[list[str] | None, typer.Option(help="Published network; all if absent.")] = None,
    walkers: Annotated[list[int] | None, typer.Option(min=1, help="Walkers per rank; 1, 4, 16, 64 if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Speed on this machine, beside the straightforward implementation. Under mpirun all ranks work at once."""
    if context.invoked_subcommand:
        sources = [context.get_parameter_source(name) for name in context.params]
        if any(source and source.name == "COMMANDLINE" for source in sources):
            raise ConfigError(f"bench: options stand after {context.invoked_subcommand}, or without it")
        return
    from hpc.world import launched_rank

    unknown = sorted(set(network or ()) - PUBLISHED_NETWORKS.keys())
    if unknown:
        known = ", ".join(PUBLISHED_NETWORKS)
        raise ConfigError(f"--network {unknown[0]}: no published network; choose one of {known}")
    with Progress("bench", speaks=launched_rank() == 0) as progress:
        from hpc.world import AbortOnException, connect
        from protmpi.bench import speed

        world = connect()
        with AbortOnException(world):
            names, counts = network or speed.DEFAULT_NETWORKS, walkers or (1, 4, 16, 64)
            result = speed.measure(world, device, names, counts, progress)
    if world.rank == 0:
        print(speed.to_json(result)) if as_json else speed.show(result)


@app.command()
def mixing(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file: data, network, sampler.")],
    temperature: Annotated[
        list[float] | None, typer.Option(help="repeat; lowest, middle and highest of CONFIG if absent")
    ] = None,
    gradients: Annotated[
        int | None, typer.Option(min=2, help="passes over the training set that each walker is measured for; 5000")
    ] = None,
    burn_in: Annotated[
        int | None, typer.Option(min=1, help="passes to equilibrium before; sampler.adapt_until if absent")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="STORE", help="start from the last snapshots of a store, not ES")
    ] = None,
    length: Annotated[
        list[int] | None, typer.Option(min=1, help="steps of a trajectory; repeat; 50, 100, 200, 400 if absent")
    ] = None,
    kept: Annotated[
        list[float] | None,
        typer.Option(help="fraction of momentum kept to its end; repeat; 1 (hybrid Monte Carlo) and 0.37 if absent"),
    ] = None,
    rho: Annotated[
        list[str] | None, typer.Option(help='of pseudo-Langevin, or "auto"; repeat; 5e-8 and auto if absent')
    ] = None,
    walkers: Annotated[int, typer.Option(min=2, help="at each temperature; errors are between walkers")] = 2,
    device: Annotated[Device | None, typer.Option(help="execution.device of CONFIG if absent")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="About 2 minutes: one temperature; mostly bounds if a pass is slow.")
    ] = False,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON here too, row by row.")] = None,
    overrides: Overrides = None,
) -> None:  # fmt: skip
    """Cost of an independent draw: trajectories and pseudo-Langevin from the same equilibrated weights."""
    with Progress("bench mixing") as progress:
        from protmpi.bench import mixing_run, mixing_table

        asked = mixing_run.Asked(
            config, tuple(temperature or ()), gradients, burn_in, source, tuple(length or ()), tuple(kept or ()),
            tuple(rho or ()), walkers, device, quick, out, tuple(overrides or ()),
        )  # fmt: skip
        result = mixing_run.measure(asked, progress)
    print(mixing_run.to_json(result)) if as_json else mixing_table.show(result)
