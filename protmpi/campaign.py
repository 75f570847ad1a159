"""A campaign: one run per configuration or per value of swept keys, each with its own files; and its progress."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc.jobs import Job, Launch, Resources, read_lives, seconds, state
from hpc.launch import Queue, submit
from protmpi.config import Config, load, to_toml
from protmpi.errors import ConfigError, LaunchError, StoreError
from protmpi.store.reader import Store

FILES = {  # key of a file that a run needs -> the sections that determine its content
    "data.file": {"data"},
    "train.file": {"data", "model", "train"},
    "execution.store": set(Config.model_fields),
}


@dataclass(frozen=True)
class Member:
    """One run of a campaign: `file` with `changes`. `trains`: it trains its reference weights, which are missing."""

    name: str
    file: Path
    changes: list[str]
    config: Config
    trains: bool

    def by_hand(self, *command: str) -> str:
        """The command line that makes a file that the run needs."""
        section = "data" if command[0] == "data" else "train"
        needed = [change for change in self.changes if change.split(".")[0] in FILES[f"{section}.file"]]
        return shlex.join(["protmpi", *command, str(self.file), *(f"--set={change}" for change in needed)])

    def job(self, folder: Path) -> Job:
        """The job to submit, with its configuration in `folder` and without an id."""
        verbs = ["train", "run"] if self.trains else ["run"]
        commands = [[verb, str(folder / f"{self.name}.toml")] for verb in verbs]
        return Job("", self.name, commands, str(self.config.execution.store))

    def write(self, folder: Path) -> None:
        """The full configuration. It gives the same run even if the file it came from changes."""
        text = to_toml(self.config.written(), f"{self.file} as it was launched")
        (folder / f"{self.name}.toml").write_text(text, "utf-8")


def members(files: list[Path], sweeps: list[str], overrides: list[str]) -> list[Member]:
    """All runs: `files` x the values of every `section.key=value,value,...` in `sweeps`.

    A swept value becomes part of the name of each file (store, weights, data) that depends on it. Raises ConfigError
    if a configuration is wrong, data are missing, or two runs would write the same file.
    """
    choices = list(itertools.product(*map(_values, sweeps)))
    found = [_member(file, list(choice), overrides) for file in files for choice in choices]
    _refuse_shared([member.name for member in found], "names", "rename a configuration file")
    _refuse_shared([str(member.config.execution.store) for member in found], "execution.store", "give each its own")
    trained = [member for member in found if member.trains]
    _refuse_shared([str(member.config.train.file) for member in trained], "train.file",
                   f"first `{trained[0].by_hand('train')}`" if trained else "")  # fmt: skip
    return found


def _values(sweep: str) -> list[tuple[str, Any]]:
    """Pairs (key, value) of a sweep `section.key=value,value,...`."""
    key, equals, text = sweep.partition("=")
    if not equals or not text or key.count(".") != 1:
        raise ConfigError(f"--sweep {sweep}: write section.key=value,value, for example --sweep model.d=26,64")
    try:
        values = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:
        values = [word.strip() for word in text.split(",")]
    return [(key.strip(), value) for value in values]


def _member(file: Path, choice: list[tuple[str, Any]], overrides: list[str]) -> Member:
    changes = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in choice)]
    config = load(file, changes)
    for key, sections in FILES.items():
        section, field = key.split(".")
        path, mark = getattr(getattr(config, section), field, None), _mark(choice, sections)
        if path is not None and mark:
            changes.append(f"{key}={json.dumps(str(path.with_name(f'{path.stem}-{mark}{path.suffix}')))}")
    config = load(file, changes)
    everything = _mark(choice, FILES["execution.store"])
    trains = config.takes_references and not config.train.file.exists()
    member = Member(f"{file.stem}-{everything}" if everything else file.stem, file, changes, config, trains)
    data = getattr(config.data, "file", None)
    if data is not None and not data.exists():
        raise ConfigError(f"data.file: {data} does not exist: first `{member.by_hand('data', 'make')}`")
    return member


def _mark(choice: list[tuple[str, Any]], sections: set[str]) -> str:
    """The swept values of some sections as part of a file name."""
    marks = [f"{key.split('.')[1]}={value}" for key, value in choice if key.split(".")[0] in sections]
    return re.sub(r"[^\w.=,+-]+", "_", ",".join(marks))


def _refuse_shared(names: list[str], key: str, advice: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(f"{key}: {count} jobs would write {name}; {advice}")


def launch(
    runs: list[Member], folder: Path, queue: Queue, resources: Resources, dry_run: bool = False
) -> tuple[list[Job], str]:
    """Submit the runs and keep their files in `folder`. Returns the jobs, and a line with an upper bound of the cost.

    Raises LaunchError if they cannot be submitted; `folder` is then removed.
    """
    queue.check(len(runs), resources)
    jobs = [run.job(folder) for run in runs]
    if not dry_run:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise LaunchError(f"--folder {folder}: {error.strerror}; choose another") from None
        try:
            for run in runs:
                run.write(folder)
            launched = submit(folder, jobs, queue, resources)
        except LaunchError:
            shutil.rmtree(folder)
            raise
        launched.write(folder)
        jobs = launched.jobs
    return jobs, resources.cost(len(jobs))


def standing(folder: Path) -> list[dict[str, Any]]:
    """State, progress, seconds left and hours paid for of each job of a launch. Raises LaunchError."""
    launch = Launch.read(folder)
    queue = launch.queue()
    rows = []
    for job in launch.jobs:
        lives, log = read_lives(job.lives(folder)), job.log(folder)
        now = state(lives, (queue or {}).get(job.id), blind=queue is None)
        silent = log.stat().st_mtime if log.exists() else 0.0
        paid = seconds(lives, time.time() if now == "running" else silent) * launch.resources.units / 3600
        rows.append({"job": job.id, "name": job.name, "state": now, **_progress(Path(job.store)),
                     f"{launch.resources.unit}_hours": paid, "store": job.store, "log": str(log)})  # fmt: skip
    return rows


def _progress(store: Path) -> dict[str, Any]:
    """Steps and seconds left, from the last commit of a store. None before the first commit."""
    try:
        found = Store(store).status()
    except StoreError:
        return {"step": None, "steps": None, "eta_seconds": None}
    return {key: found[key] for key in ("step", "steps", "eta_seconds")}
