"""Check of a whole store, and the return to its newest whole commit.

The check covers the seals, numbers and counts of the commit records, the sha256 of all committed rows, of the constants
and of the checkpoints of the last two commits, the metadata of every array, and the agreement of the identity with the
stored configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protmpi.errors import StoreError
from protmpi.store import commit
from protmpi.store.reader import Store
from protmpi.store.schema import CHECKPOINTS
from protmpi.variables import Variable

Physics = Callable[[dict[str, Any]], dict[str, Any]]
"""Function that gives the keys and values that determine the draws, from a stored configuration."""


@dataclass(frozen=True)
class Examination:
    """Result of a check: `flaws`, one line each, and the newest commit to which a run can return, or None.

    `lost` is the oldest commit with damaged rows, None if all rows are whole.
    """

    store: Store
    commits: int
    flaws: list[str]
    good: dict[str, Any] | None
    lost: int | None

    @property
    def last(self) -> int:
        """Number of the newest record, whole or not; -1 before the first."""
        paths = commit.record_paths(self.store.path)
        return int(paths[-1].stem) if paths else -1


def examine(path: Path, physics: Physics) -> Examination:
    """Check the whole store. Raises StoreError if it is too damaged to be opened."""
    store, flaws, records = Store(path), [], []
    flaws += _metadata(store) + _constants(store) + _identity(store, physics)
    paths = commit.record_paths(store.path)
    if [file.name for file in paths] != [commit.path_of(store.path, n).name for n in range(len(paths))]:
        flaws.append(f"{commit.FOLDER}: {len(paths)} records whose numbers are not 0 to {len(paths) - 1}")
    for file in paths:
        record = commit.read_record(file)
        records.append(record)
        if record is None:
            flaws.append(f"{commit.FOLDER}/{file.name}: damaged record")
    lost, good = None, None
    aside = [int(file.name[:8]) for file in (store.path / commit.FOLDER).glob("*.set-aside-*")]
    overwritten = {number % CHECKPOINTS for number in aside if number >= len(records)}
    for number, record in enumerate(records):
        wrong = _rows(store, record, records[number - 1] if number else _NOTHING) if record else []
        flaws += wrong
        if wrong and lost is None:
            lost = number
        if record is None or lost is not None or number < len(records) - CHECKPOINTS:
            continue
        state = _checkpoint(store, record)
        # an older checkpoint may be overwritten, in part by the next commit or as a whole by a commit that was renamed
        if number >= len(records) - (CHECKPOINTS - 1) and record["checkpoint"] not in overwritten:
            flaws += state
        if not state:
            good = record
    return Examination(store, len([record for record in records if record]), flaws, good, lost)


def repair(found: Examination) -> list[str]:
    """Rename the records newer than the newest whole commit. Returns what is lost, one line each.

    Nothing is deleted and nothing else changes: a run that continues overwrites rows that no record counts.
    Raises StoreError if there is no whole commit with a checkpoint.
    """
    path, good = found.store.path, found.good
    if good is None:
        where = "" if found.lost is None else f" (rows of commit {found.lost} are damaged)"
        raise StoreError(f"{path}: none of the last {CHECKPOINTS} commits is whole{where}; put the damaged files back "
                         "from a copy, or start afresh with another --store; nothing was changed")  # fmt: skip
    newer = commit.damaged_after(path, good["commit"])
    if not newer:
        return []
    last = found.store.record or good
    lines = [f"{path}: back to commit {good['commit']}, step {good['step']:,}"]
    if last["commit"] > good["commit"]:
        lines.append(f"lost: {last['draws'] - good['draws']:,} draws and {last['snapshots'] - good['snapshots']:,} "
                     f"snapshots of each walker, steps {good['step']:,} to {last['step']:,}; the same command samples "
                     "them again")  # fmt: skip
    return lines + [f"{file.name} is now {commit.set_aside(file).name}" for file in newer]


_NOTHING = {"commit": -1, "step": 0, "draws": 0, "snapshots": 0}  # the counts before the first commit


def _metadata(store: Store) -> list[str]:
    flaws = []
    for variable in store.schema.variables:
        try:
            store.read_rows(variable.name, 0, 0, 0)
        except StoreError as error:
            flaws.append(str(error))
    return flaws


def _constants(store: Store) -> list[str]:
    sums, flaws = store.attributes.get("constants", {}), []
    for name, sha256 in sums.items() if isinstance(sums, dict) else ():
        try:
            if commit.sha256_of_rows(store.read(name)) != sha256:
                flaws.append(f"{name}: its values are not those that were written")
        except StoreError as error:
            flaws.append(str(error))
    return flaws


def _identity(store: Store, physics: Physics) -> list[str]:
    """Compare identity and configuration. Data, weights and stores of starts enter the identity by content only."""
    written = store.attributes.get("identity")
    known = written.items() if isinstance(written, dict) else ()
    files = {key: value for key, value in known if key.endswith(".file") or key.startswith("sampler.start ")}
    differing = store.differing({**files, **physics(store.config)})
    return [f"identity and configuration differ: {', '.join(differing)}"] if differing else []


def _rows(store: Store, record: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    """Flaws in the counts and rows of one commit. `before` is the previous one, None if it is damaged."""
    number, schema = record["commit"], store.schema
    counted = (record["step"] // schema.record_every, record["step"] // schema.snapshot_every)
    if (record["draws"], record["snapshots"]) != counted or record["step"] > schema.steps:
        return [
            f"commit {number}: {record['draws']} draws and {record['snapshots']} snapshots at step {record['step']}"
        ]
    if before and before["step"] > record["step"]:
        return [f"commit {number}: is at step {record['step']}, the previous one at {before['step']}"]
    try:
        pieces = {(str(name), int(walker)): (int(a), int(b), sha) for name, walker, a, b, sha in record["pieces"]}
    except (TypeError, ValueError):
        return [f"commit {number}: its list of rows is damaged"]
    flaws = []
    for variable in schema.variables:
        stop = record[_count(variable)]
        start = before[_count(variable)] if before else None
        for walker in range(schema.walkers) if start != stop else ():
            a, b, sha256 = pieces.get((variable.name, walker), (-1, -1, ""))
            if b != stop or (start is not None and a != start) or not 0 <= a < b:
                flaws.append(
                    f"commit {number}: rows {start} to {stop} of {variable.name}, walker {walker}, not counted"
                )
                continue
            try:
                if commit.sha256_of_rows(store.read_rows(variable.name, walker, a, b)) != sha256:
                    flaws.append(f"commit {number}: rows {a} to {b} of {variable.name}, walker {walker}, are not those "
                                 "that were committed")  # fmt: skip
            except StoreError as error:
                flaws.append(f"commit {number}: rows {a} to {b}, walker {walker}: {error}")
    return flaws


def _count(variable: Variable) -> str:
    return "draws" if variable.axis == "draw" else "snapshots"


def _checkpoint(store: Store, record: dict[str, Any]) -> list[str]:
    try:
        store.read_checkpoint(record, range(store.schema.walkers))
    except StoreError as error:
        return [str(error)]
    return []
