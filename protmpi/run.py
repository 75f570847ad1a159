"""The whole run on one screen. The same code serves one rank and a thousand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from hpc import doctor, restarts
from hpc.devices import bind
from hpc.lock import Lock
from hpc.stop import Stop
from hpc.world import World, my_blocks, together
from protmpi import tasks
from protmpi.blocks import block_size
from protmpi.config import Config
from protmpi.display import Display
from protmpi.ensemble import Ensemble
from protmpi.errors import SamplingError, StoreError
from protmpi.pilot_run import find_pilot
from protmpi.plan import Plan
from protmpi.store import commit, creation
from protmpi.store.reader import Store
from protmpi.store.writer import Row, Writer
from protmpi.tempering import Tempering
from protmpi.variables import Axis


def run(config: Config, world: World, stop: Stop, display: Display) -> bool:
    """Sample until `run.steps`, from where the store ends. Collective. Returns False if a signal stopped the run.

    Raises ProtmpiError on every rank if the configuration, the data or the store do not allow the run.
    """
    wanted = config.execution
    binding = together(world, lambda: bind(world, wanted.device, wanted.threads_per_rank, wanted.tf32))
    task = together(world, lambda: tasks.build(config, binding.device))
    config, pilot = config.resolved(task.train_size), None
    if config.tempering.slots == "auto":
        pilot = find_pilot(config, task, binding.device, world, stop)
        if pilot is None:
            return False
        config = config.with_slots(pilot.slots)
    measured = together(world, lambda: block_size(config, task, world.size) if world.rank == 0 else 0)
    size = world.allgather(measured)[0]
    plan = together(world, lambda: Plan.of(config, task, size, pilot))
    places = world.allgather(binding)
    together(world, lambda: plan.require_room([place.host for place in places].count(binding.host), world.size))
    blocks = together(world, lambda: my_blocks(plan.blocks, world))
    findings = doctor.essentials(places)
    display.start(plan, places, findings)
    doctor.require(findings)
    with (
        one_writer(plan, [place.to_json() for place in places], world, display) as lock,
        Writer(wanted.store, plan.schema, plan.walkers_of(blocks), world, lock) as store,
    ):
        return sample(plan, Ensemble(plan, blocks, binding.device), store, world, stop, display)


def sample(plan: Plan, ensemble: Ensemble, store: Writer, world: World, stop: Stop, display: Display) -> bool:
    """Explore, exchange, record and commit until `run.steps`, or until a signal. Collective."""
    config = plan.config
    tempering = Tempering(plan)
    together(world, lambda: resume(ensemble, tempering, config))
    display.begin(ensemble.step, config.run.steps)
    plan.task.check = stop.check
    while ensemble.step < config.run.steps:
        ensemble.keep()
        rows = stop.attempt(partial(advance, ensemble, tempering), steps_to_draw(ensemble.step, config))
        reason, written = stop.agree(store.written())
        if written:
            store.publish()
            stop.commit_seconds = store.longest
        if reason:
            step, state = ensemble.last_good()
            if step:
                store.commit(step, {**state, **tempering.checkpoint(store.walkers)}, partial(stop.remark, reason))
            display.stopped(reason, step)
            return False
        quarantine(ensemble, store, world, display)
        for axis, row in (rows or {}).items():
            store.append(axis, row)
        if tempering.due(ensemble.step):
            tempering.sweep(ensemble, world)
        if store.chunk_is_full() or ensemble.step == config.run.steps:
            store.hand_over(ensemble.step, {**ensemble.checkpoint(), **tempering.checkpoint(store.walkers)})
        display.advance(ensemble.step)
    store.publish()
    display.finish(config.execution.store)
    return True


def steps_to_draw(step: int, config: Config) -> int:
    """Number of steps until the next draw or the end of the run."""
    every = config.run.record_every
    return min(config.run.steps, (step // every + 1) * every) - step


def advance(ensemble: Ensemble, tempering: Tempering, steps: int) -> dict[Axis, Row]:
    """Advance all walkers. Returns their draw and their snapshot if these are due."""
    ensemble.explore(steps)
    run = ensemble.plan.config.run
    rows: dict[Axis, Row] = {}
    if ensemble.step % run.record_every == 0:
        rows["draw"] = {**ensemble.draw(), **tempering.draw(ensemble.walkers)}
    if ensemble.step % run.snapshot_every == 0:
        rows["snapshot"] = ensemble.snapshot()
    return rows


def quarantine(ensemble: Ensemble, store: Writer, world: World, display: Display) -> None:
    """Dump the walkers that are no longer finite and report them. The other walkers go on."""
    known = {loss["walker"] for loss in store.lost}
    mine = together(world, lambda: ensemble.quarantine(store.path / "quarantine", known))
    fresh = sorted((loss for ranks in world.allgather(mine) for loss in ranks), key=lambda loss: loss.walker)
    store.lost += map(asdict, fresh)
    for loss in fresh:
        display.quarantined(loss, store.path / "quarantine" / f"walker-{loss.walker}.h5")
    config = ensemble.plan.config
    if fresh and len(store.lost) > config.run.max_lost * ensemble.plan.walkers:
        store.publish()
        raise SamplingError(f"{len(store.lost)} of {ensemble.plan.walkers} walkers are lost by step {ensemble.step}, "
                            f"more than run.max_lost = {config.run.max_lost:g} allows; walker {fresh[-1].walker}: "
                            f"{fresh[-1].reason}; take a smaller sampler.rho and a fresh --store")  # fmt: skip


@contextmanager
def one_writer(plan: Plan, hosts: list[dict[str, object]], world: World, display: Display) -> Iterator[Lock]:
    """Create the store, or check that it belongs to this run, and lock it while the run lasts. Collective."""
    path = plan.config.execution.store
    lock = together(world, lambda: prepare_store(plan, hosts, display) if world.rank == 0 else None)
    token = world.allgather(lock.token if lock else "")[0]
    try:
        together(world, lambda: note_start(path) if lock else None)
        yield Lock(path, token)
    finally:
        if lock:
            lock.release()


def prepare_store(plan: Plan, hosts: list[dict[str, object]], display: Display) -> Lock:
    """Create the store or check that it belongs to this run, lock it, and extend it if the run has more steps."""
    path = plan.config.execution.store
    with writing(path):
        if not path.exists():
            creation.create(path, plan.schema, plan.constants(), plan.attributes(hosts))
        found = Store(path)
        if changed := found.differing(plan.identity):
            raise StoreError(f"{path}: holds another run: {'; '.join(changed)}; choose another --store to start afresh")
        lock, taken_from = Lock.acquire(path)
        display.tell(taken_from, *commit.pass_over(path))
        if plan.schema.steps > found.schema.steps:
            creation.extend(path, plan.schema, {"config": plan.config.written()})
    return lock


def note_start(path: Path) -> None:
    """Record the start of a job, and end the job if it restarts again and again without progress."""
    with writing(path):
        restarts.note(path, Store(path).status()["step"])


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the disk into a StoreError of one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; choose another --store, or repair it "
                         "and give the same command again") from None  # fmt: skip


def resume(ensemble: Ensemble, tempering: Tempering, config: Config) -> None:
    """Restore walkers and temperatures from the last commit."""
    store = Store(config.execution.store)
    if last := store.record:
        everyone = range(ensemble.plan.walkers)
        tempering.restore(store.read_checkpoint(last, everyone, tempering.checkpoint(everyone)))
        mine = store.read_checkpoint(last, ensemble.walkers, ensemble.stand_in(last["step"]))
        ensemble.restore(last["step"], mine, tempering.temperature[ensemble.walkers])
