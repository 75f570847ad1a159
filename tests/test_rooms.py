"""Which part of the program may know which other: no circle of imports, and arrows in one direction only.

Every import counts, wherever it stands: in a function, which hides a circle from Python, and for a type checker alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("protmpi", "hpc", "analysis", "bench", "validation")


class Room(NamedTuple):
    """Modules, and packages with all that is in them ("x.*"), and the rooms that these may import from."""

    holds: tuple[str, ...]
    uses: tuple[str, ...] = ()


# Subjects of the analysis that build on others: on those that build on none, and on those above them in this table.
BUILDS_ON = {
    "checks": ("thermodynamics",),
    "weights": ("thermodynamics",),
    "attention": ("thermodynamics", "contacts"),
    "distance": ("training",),
    "chains": ("thermodynamics", "distance"),
    "together": ("thermodynamics", "attention"),
}
ALONE = sorted({path.parent.name for path in ROOT.glob("analysis/subjects/*/__init__.py")} - BUILDS_ON.keys())
SUBJECTS: dict[str, tuple[str, ...]] = dict.fromkeys(ALONE, ()) | BUILDS_ON
# What subjects need of the sampling program beside the store.
OF_PROTMPI = {
    "training": ("weights file",),
    "ladder": ("temperature",),  # where slots stand, and how many would do: one rule for both
    "contacts": ("data", "weights file", "sections", "models", "tasks"),  # networks that are run again
    "chains": ("data",),
}
SHOWN = tuple(f"subject {name}" for name in SUBJECTS)

SAMPLING = ("streams", "kernels", "walkers", "temperature", "sampling")

# From the ground up: a room uses rooms that stand above it in this table.
HOUSE = {
    "ground": Room(("protmpi", "protmpi.errors", "protmpi.paths", "protmpi.importing", "protmpi.variables")),
    "files": Room(("protmpi.hdf5",), ("ground",)),
    "command lines": Room(("protmpi.commands", "protmpi.terminal"), ("ground",)),
    # the machine, and no science
    "machine": Room(("hpc.*",), ("ground",)),
    "sections": Room(
        ("protmpi.sections", "protmpi.data.sections", "protmpi.sampling.sections", "protmpi.sampling.kinds",
         "protmpi.kinds"), ("ground",)
    ),
    "config": Room(("protmpi.config", "protmpi.keys"), ("ground", "sections")),
    "data": Room(("protmpi.data.*",), ("ground", "files", "sections")),
    # no file
    "models": Room(("protmpi.models.*",), ("ground", "sections")),
    # no task, no MPI, no file
    "streams": Room(("protmpi.sampling.streams",)),
    "kernels": Room(("protmpi.sampling.kernels.*",), ("models",)),
    "burn-in": Room(("protmpi.sampling.burn_in.*",), ("sections", "models", "kernels")),
    "walkers": Room(("protmpi.sampling.walkers.*",), ("sections", "models", "streams", "kernels", "burn-in", "ground")),
    "temperature": Room(("protmpi.sampling.temperature.*",), ("streams",)),
    "sampling": Room(("protmpi.sampling",), ("ground", "sections", "models", "kernels", "walkers")),
    "store": Room(("protmpi.store.*",), ("ground",)),
    "tasks": Room(("protmpi.tasks.*",), ("ground", "config", "sections", "data", "models")),
    "weights file": Room(("protmpi.weights_file",), ("ground", "files")),
    "weights": Room(("protmpi.weights",), ("ground", "files", "config", "tasks", "weights file")),
    "run": Room(
        ("protmpi.blocks", "protmpi.campaign", "protmpi.display", "protmpi.ensemble", "protmpi.pilot",
         "protmpi.pilot_run", "protmpi.plan", "protmpi.quarantine", "protmpi.references", "protmpi.run",
         "protmpi.shards", "protmpi.starts", "protmpi.tempering", "protmpi.training"),
        ("ground", "files", "command lines", "machine", "sections", "config", "models", *SAMPLING, "store", "tasks",
         "weights"),
    ),
    "probes": Room(("protmpi.probes.*",), ("ground", "machine", "command lines", "config", "data", "tasks", "weights")),
    "commands of data": Room(("protmpi.data.commands",), ("ground", "command lines", "config", "data", "sections")),
    "statistics": Room(("analysis.statistics.*",), ("ground",)),
    "labels": Room(("analysis.reading.references",)),
    "reading": Room(("analysis.reading.*",), ("ground", "store", "statistics", "labels")),
    "show": Room(("analysis.show.*",), ("ground", "command lines", "labels")),
    **{
        f"subject {name}": Room(
            (f"analysis.subjects.{name}.*",),
            ("ground", "statistics", "labels", "reading", "show", *OF_PROTMPI.get(name, ()),
             *(f"subject {other}" for other in others)),
        )
        for name, others in SUBJECTS.items()
    },
    "subjects": Room(("analysis.subjects",)),
    "report": Room(("analysis.report.*",), ("ground", "reading", "show", *SHOWN)),
    "commands": Room(("analysis.commands.*",), ("ground", "command lines", "reading", "show", *SHOWN, "report")),
    "analysis": Room(("analysis", "analysis.cli"), ("command lines", "reading", *SHOWN, "commands")),
    "bench": Room(
        ("protmpi.bench.*",),
        ("ground", "command lines", "machine", "sections", "config", "data", "models", "walkers",
         "sampling", "store", "tasks", "run", "show"),
    ),
    # run by path, not installed
    "scripts": Room(
        ("bench.*", "validation.*"),
        ("ground", "sections", "config", "data", "kernels", "walkers",
         "temperature", "store", "tasks", "statistics", "show", "analysis",
         "bench"),
    ),
    "program": Room(
        ("protmpi.cli", "protmpi.__main__"),
        ("ground", "machine", "command lines", "sections", "config", "models", "store", "tasks", "weights", "run",
         "probes", "commands of data", "subject weights", "analysis", "bench"),
    ),
}  # fmt: skip

# Circles that are there, to be opened where they are.
KNOWN_CIRCLES: set[frozenset[str]] = set()

Sources = dict[str, str]
"""Name of a module -> its text."""
Arrows = dict[str, set[str]]


@cache
def sources() -> Sources:
    found = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imports(name: str, text: str, modules: Iterable[str]) -> Iterator[str]:
    """The modules among `modules` that a module imports from, anywhere in its text."""
    known = set(modules)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield from {inside if inside in known else str(node.module)} & known
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known


@cache
def arrows() -> Arrows:
    """From each module to those that it imports from."""
    return {name: set(imports(name, text, sources())) - {name} for name, text in sources().items()}


def with_line(module: str, line: str) -> Arrows:
    """The arrows when a module has one line more."""
    changed = set(imports(module, sources()[module] + line, sources())) - {module}
    return {**arrows(), module: changed}


def circles(found: Mapping[str, Iterable[str]]) -> list[frozenset[str]]:
    """Groups of modules that import each other, at once or by way of others."""
    reach: dict[str, set[str]] = {}
    for start in found:
        seen, ahead = set[str](), [*found[start]]
        while ahead:
            one = ahead.pop()
            if one not in seen:
                seen.add(one)
                ahead += found[one]
        reach[start] = seen
    groups = {frozenset(b for b in reach[a] if a in reach[b]) for a in found if a in reach[a]}
    return sorted(groups, key=sorted)


def room_of(module: str) -> str:
    """The room of a module; that of its package where none names it."""
    places = {place: name for name, room in HOUSE.items() for place in room.holds}
    if module in places:
        return places[module]
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        if (package := ".".join(parts[:end]) + ".*") in places:
            return places[package]
    raise AssertionError(f"{module} is in no room of HOUSE")


def wrong_arrows(found: Arrows) -> list[str]:
    """Imports from rooms that a room may not use."""
    return sorted(
        f"{one} ({room_of(one)}) -> {other} ({room_of(other)})"
        for one, others in found.items()
        for other in others
        if room_of(other) not in (room_of(one), *HOUSE[room_of(one)].uses)
    )


def test_no_circle_of_imports() -> None:
    assert set(circles(arrows())) == KNOWN_CIRCLES


def test_arrows_go_one_way() -> None:
    assert wrong_arrows(arrows()) == []


def test_a_room_uses_only_what_stands_above_it() -> None:
    order = list(HOUSE)
    for name, room in HOUSE.items():
        assert all(order.index(other) < order.index(name) for other in room.uses), name


def test_the_table_promises_nothing_that_nobody_uses() -> None:
    found = arrows()
    used = {(room_of(one), room_of(other)) for one, others in found.items() for other in others}
    common = {"ground", "statistics", "labels", "reading", "show"}  # open to every subject
    idle = [(name, other) for name, room in HOUSE.items() for other in room.uses
            if (name, other) not in used and not (name.startswith("subject ") and other in common)
            and not (name in ("report", "commands", "analysis") and other in SHOWN)]  # fmt: skip
    assert idle == []


IN_A_FUNCTION = "\ndef hidden():\n    from {} import {}\n"
FOR_TYPES = "\nif TYPE_CHECKING:\n    from {} import {}\n"


@pytest.mark.parametrize("form", [IN_A_FUNCTION, FOR_TYPES])
def test_a_circle_and_an_arrow_upwards_are_seen(form: str) -> None:
    """The broken twin: a run that knows a subject again."""
    found = with_line("analysis.reading.run", form.format("analysis.subjects.weights.gains", "gains"))
    (circle,) = set(circles(found)) - KNOWN_CIRCLES
    assert {"analysis.reading.run", "analysis.subjects.weights.gains"} <= circle
    wrong = "analysis.reading.run (reading) -> analysis.subjects.weights.gains (subject weights)"
    assert wrong_arrows(found) == [wrong]


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("protmpi.sampling.streams", "protmpi.tasks"),
        ("protmpi.sampling.streams", "hpc.world"),
        ("protmpi.models.layers", "protmpi.hdf5"),
        ("hpc.world", "protmpi.sampling"),
        ("analysis.show.cells", "analysis.subjects.checks"),
        ("analysis.statistics.chains", "analysis.reading.run"),
        ("analysis.subjects.thermodynamics.measure", "analysis.subjects.weights"),
    ],
)
def test_every_forbidden_arrow_is_seen(module: str, other: str) -> None:
    """More broken twins, one for each rule."""
    assert wrong_arrows(arrows()) == []
    assert len(wrong_arrows(with_line(module, f"\nimport {other}\n"))) == 1


def test_a_module_without_a_room_is_seen() -> None:
    with pytest.raises(AssertionError, match=r"analysis\.overlaps is in no room"):
        room_of("analysis.overlaps")
