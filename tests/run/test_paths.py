"""`~` and `$NAME` in every path that a user gives, in the configuration or on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer
from problems import TINY

import analysis.cli
import analysis.commands.contacts
import protmpi.cli
import protmpi.data.commands
import protmpi.probes.commands
from protmpi import config as configuration
from protmpi import tasks, weights
from protmpi.commands import Commands
from protmpi.errors import ConfigError
from protmpi.kinds import TASKS

CONFIG = (
    TINY
    + """
[sampler]
kind = "constrained"
start = "random"
temperatures = [1e-4]
rho = 1e-3
batch = 5
min_extractions = 5
max_extractions = 5
adapt_until = 5
[run]
steps = 20
record_every = 5
snapshot_every = 10
[execution]
store = "~/runs/$WHO/${TOOL}.zarr"
"""
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not where we are, and two variables."""
    for name in ("home", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WHO", "some/one")
    monkeypatch.setenv("TOOL", "store-7")
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.delenv("UNSET", raising=False)
    return tmp_path / "home"


def keys_of_paths() -> list[tuple[str, str, str]]:
    """(task, section, key) of every path that there is."""
    found = [("folding", section, key) for section in ("model", "train", "sampler", "tempering", "run", "execution")
             for key, field in configuration.classes_of(section)[0].model_fields.items()
             if field.annotation is Path]  # fmt: skip
    found += [(task, "data", key) for task, kind in TASKS.items() for key, field in kind.section.model_fields.items()
              if field.annotation is Path or key == "structure"]  # fmt: skip
    return found


def parse(task: str, section: str, key: str, value: str) -> object:
    (kind, *_), sizes = TASKS[task].networks, {"blocks": 1, "d": 8}
    given = {"data": {"task": task}, "model": {"kind": kind, **({} if kind == "feedforward" else sizes)}}
    given.setdefault(section, {})[key] = value
    return getattr(getattr(configuration.parse(given, "c.toml"), section), key)


def test_there_are_paths() -> None:
    assert len(keys_of_paths()) == 5


@pytest.mark.parametrize(("task", "section", "key"), keys_of_paths())
def test_every_path_of_the_configuration_is_expanded(task: str, section: str, key: str, home: Path) -> None:
    assert str(parse(task, section, key, "~/a b/$WHO/${TOOL}.h5")) == f"{home}/a b/some/one/store-7.h5"
    for plain in ("runs/a.h5", "/a~b/c.h5", "x/~/y.h5", "cost$.h5", "$5.h5", "../ü 1.h5"):
        assert str(parse(task, section, key, plain)) == plain
    for wrong, named in (("~no-such-user/a.h5", "~no-such-user is no user"), ("a/$UNSET/b.h5", "$UNSET in a/"),
                         ("${UNSET}", "${UNSET} in"), ("$NOTHING/a.h5", "or empty")):  # fmt: skip
        with pytest.raises(ConfigError) as error:
            parse(task, section, key, wrong)
        assert f"c.toml: {section}.{key}: " in str(error.value).replace(f"data.{task}.", "data.")
        assert named in str(error.value)


def test_paths_are_in_no_identity(tmp_path: Path) -> None:
    """So that what was trained and sampled before goes on."""
    (tmp_path / "c.toml").write_text(CONFIG)
    plain, tilde = (configuration.load(tmp_path / "c.toml", [f'execution.store="{store}"', f'train.file="{file}"'])
                    for store, file in (("a.zarr", "a.h5"), ("~/$WHO.zarr", "~/b.h5")))  # fmt: skip
    assert plain.physics() == tilde.physics()
    task = tasks.build(plain)
    assert weights.identity(plain, task) == weights.identity(tilde, task)
    assert str(plain.execution.store) == "a.zarr"


def call(monkeypatch: pytest.MonkeyPatch, program: object, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["protmpi", *arguments])
    with pytest.raises(SystemExit) as end:
        program.main()  # type: ignore[attr-defined]
    return int(end.value.code or 0)


@pytest.mark.parametrize("store", ["", "~/other/$WHO.zarr"])
def test_a_run_writes_below_home_and_makes_no_folder_of_that_name(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str], store: str
) -> None:
    (home / "c.toml").write_text(CONFIG)
    assert call(monkeypatch, protmpi.cli, "run", "~/c.toml", *(["--store", store] if store else [])) == 0
    written = home / ("other/some/one.zarr" if store else "runs/some/one/store-7.zarr")
    assert (written / "zarr.json").exists()
    assert list(Path().iterdir()) == []
    assert call(monkeypatch, protmpi.cli, "status", "--json", str(written).replace(str(home), "~")) == 0


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (protmpi.cli, ["run", "$UNSET/c.toml"]),
        (protmpi.cli, ["data", "contacts", "$UNSET/a.pdb"]),
        (protmpi.cli, ["data", "make", "--structure", "$UNSET/a.pdb", "--sequences", "a.fasta"]),
        (protmpi.cli, ["structures", "score", "a.toml", "$UNSET/b.toml"]),
        (protmpi.cli, ["launch", "c.toml", "--executor", "local", "--folder", "$UNSET/x"]),
        (analysis.cli, ["report", "a.zarr", "--out", "$UNSET/report"]),
        (analysis.cli, ["contacts", "networks", "$UNSET/a.zarr"]),
    ],
)
def test_what_cannot_be_expanded_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: object, arguments: list[str]
) -> None:
    assert call(monkeypatch, program, *arguments) == 2
    error = capsys.readouterr().err
    assert "$UNSET in $UNSET/" in error
    assert len(error.splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_no_command_is_left_out() -> None:
    modules = (analysis.cli, analysis.commands.contacts, protmpi.cli, protmpi.data.commands, protmpi.probes.commands)
    apps = [value for module in modules for value in vars(module).values() if isinstance(value, typer.Typer)]
    assert len(apps) >= 5
    assert all(type(app) is Commands for app in apps)
