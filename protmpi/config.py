"""One configuration object: every key documented, cross-checked in one place, read from TOML.

Physics keys say what is sampled and enter the identity of a run; execution keys (section `[execution]`, file paths,
the number of steps) say where, how long and how fast, and never change a draw.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Tag, ValidationError, model_validator

from protmpi.data.sections import FoldingConfig
from protmpi.errors import ConfigError
from protmpi.kinds import TASKS
from protmpi.sampling.kinds import TRAJECTORIES
from protmpi.sampling.sections import SamplerConfig, TemperingConfig
from protmpi.sections import (
    WRITTEN_IN_FULL,
    ExecutionConfig,
    ModelConfig,
    RunConfig,
    Section,
    TrainConfig,
)


def _task_of(data: Any) -> Any:
    """The task of the section [data]; folding if it is not given."""
    return data.get("task", "folding") if isinstance(data, dict) else getattr(data, "task", None)


if typing.TYPE_CHECKING:
    DataSection = Any
else:
    _SECTIONS = tuple(Annotated[task.section, Tag(name)] for name, task in TASKS.items())
    DataSection = Annotated[typing.Union[_SECTIONS], Discriminator(_task_of)]  # noqa: UP007, the table tells which


class Config(Section):
    """The whole configuration."""

    data: DataSection = FoldingConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    sampler: SamplerConfig = SamplerConfig()
    tempering: TemperingConfig = TemperingConfig()
    run: RunConfig = RunConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="before")
    @classmethod
    def _published_activation(cls, given: Any) -> Any:
        """The published encoder has gelu hidden units for chains and relu hidden units for points."""
        model = given.get("model") if isinstance(given, dict) else None
        encoder = isinstance(model, dict) and model.get("kind") == "encoder"
        if not encoder or _task_of(given.get("data", {})) != "structures":
            return given
        return {**given, "model": {"activation": "gelu", **given["model"]}}

    @model_validator(mode="after")
    def _network_fits_the_task(self) -> Config:
        if self.model.kind not in TASKS[self.data.task].networks:
            wanted = " or ".join(f'"{kind}"' for kind in TASKS[self.data.task].networks)
            raise ValueError(f'model.kind: "{self.model.kind}" cannot learn data.task = "{self.data.task}", '
                             f"it takes {wanted}")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _starts_are_trained(self) -> Config:
        if not self.train.references and "OT" in self.sampler.start:
            raise ValueError('train.references: 0 leaves no over-trained weights for sampler.start = "OT"; at least 1')
        return self

    @model_validator(mode="after")
    def _draws_follow_trajectories(self) -> Config:
        if self.sampler.kind not in TRAJECTORIES:
            return self
        for name in ("record_every", "steps"):
            if (value := getattr(self.run, name)) % self.sampler.trajectory:
                raise ValueError(
                    f"run.{name}: {value} is not a multiple of sampler.trajectory = {self.sampler.trajectory}"
                )
        return self

    @model_validator(mode="after")
    def _burn_in_ends(self) -> Config:
        key = "sampler.adapt_until" if self.tempering.kind == "none" else "tempering.burn_in"
        if self.burn_in >= self.run.steps:
            raise ValueError(f"{key}: {self.burn_in} leaves no measured draw in run.steps = {self.run.steps}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _geometric_ladder(cls, given: Any) -> Any:
        """Replace `tempering.t_min`, `t_max`, `slots` by a geometric list of temperatures, by its ends for "auto"."""
        if not isinstance(given, dict) or not isinstance(given.get("tempering"), dict):
            return given
        ends: list[Any] = [given["tempering"].get(name) for name in ("t_min", "t_max", "slots")]
        ends[2] = 2 if ends[2] == "auto" else ends[2]
        numbers = all(isinstance(end, (int, float)) and end > 0 for end in ends)
        if not numbers or ends[0] >= ends[1] or ends[2] < 2 or ends[2] != int(ends[2]):
            return given  # the section itself reports what is wrong with them
        sampler = given.get("sampler", {})
        ladder = [float(t) for t in np.geomspace(ends[0], ends[1], int(ends[2]))]
        if sampler.get("temperatures", ladder) != ladder:  # a configuration written in full has both
            raise ValueError("sampler.temperatures: give either this list or tempering.t_min, t_max and slots")
        return {**given, "sampler": {**sampler, "temperatures": ladder}}

    @model_validator(mode="after")
    def _sweeps_follow_draws(self) -> Config:
        t, every = self.tempering, self.run.record_every
        if t.kind == "none":
            return self
        if len(self.sampler.temperatures) < 2:
            raise ValueError("sampler.temperatures: tempering needs at least two")
        if isinstance(self.sampler.rho, list):
            raise ValueError("sampler.rho: walkers that move in temperature share one step size: give one value")
        if t.kind == "simulated" and self.sampler.walkers_per_temperature > 1:
            raise ValueError("sampler.walkers_per_temperature: simulated tempering has tempering.walkers instead")
        if t.exchange_every % every:
            raise ValueError(
                f"tempering.exchange_every: {t.exchange_every} is not a multiple of run.record_every = {every}"
            )
        if t.burn_in <= self.sampler.adapt_until:
            raise ValueError(f"tempering.burn_in: {t.burn_in} must come after sampler.adapt_until = "
                             f"{self.sampler.adapt_until}, when sweeps begin")  # fmt: skip
        return self

    @property
    def burn_in(self) -> int:
        """Number of steps before the first measured draw."""
        return self.sampler.adapt_until if self.tempering.kind == "none" else self.tempering.burn_in

    @property
    def walkers(self) -> int:
        """Number of walkers of the whole run."""
        if self.tempering.kind == "simulated":
            return self.tempering.walkers
        return len(self.sampler.temperatures) * self.sampler.walkers_per_temperature

    @property
    def takes_references(self) -> bool:
        """Whether any walker starts from reference weights."""
        return not {"ES", "OT"}.isdisjoint(self.sampler.start)

    def slot_of(self, walker: int) -> int:
        """First slot of a walker. Each replica fills a whole ladder; walkers of simulated tempering spread over one."""
        slots = len(self.sampler.temperatures)
        return walker * slots // self.walkers if self.tempering.kind == "simulated" else walker % slots

    def temperature_of(self, walker: int) -> float:
        """First temperature of a walker."""
        return self.sampler.temperatures[self.slot_of(walker)]

    def start_of(self, walker: int) -> tuple[str, int]:
        """The start of a walker, and how many replicas before it have the same start."""
        alone = self.tempering.kind == "simulated"
        turn, which = divmod(walker if alone else walker // len(self.sampler.temperatures), len(self.sampler.start))
        return self.sampler.start[which], turn

    def annealing(self, walker: int) -> list[float]:
        """Temperatures that a walker passes first: for fresh weights those of `anneal` above its own temperature."""
        hot = self.start_of(walker)[0] == "random"
        return [t for t in self.sampler.anneal if hot and t > self.temperature_of(walker)]

    def resolved(self, train_size: int) -> Config:
        """The configuration with `sampler.kind = "auto"` resolved for `train_size` training samples.

        Raises ConfigError if the resolved sampler cannot be annealed.
        """
        sampler = self.sampler.resolved(train_size)
        if sampler.anneal and not sampler.full_batch:
            raise ConfigError(f'sampler.anneal: needs trajectories, and kind = "auto" has none for {train_size:,} '
                              'training samples; take kind = "constrained-trajectories"')  # fmt: skip
        return self.model_copy(update={"sampler": sampler})

    def with_slots(self, slots: int) -> Config:
        """The configuration with a geometric ladder of `slots` temperatures."""
        given = self.model_dump()
        del given["sampler"]["temperatures"]
        given["tempering"]["slots"] = slots
        return Config.model_validate(given, context=WRITTEN_IN_FULL)

    def without_tempering(self, temperatures: np.ndarray, seed: int) -> Config:
        """The configuration with independent walkers, one at each of the temperatures."""
        sampler = self.sampler.model_copy(update={"temperatures": temperatures.tolist(), "walkers_per_temperature": 1})
        run = self.run.model_copy(update={"seed": seed, "walkers_per_block": 1})
        return self.model_copy(update={"sampler": sampler, "run": run, "tempering": TemperingConfig()})

    def written(self) -> dict[str, dict[str, Any]]:
        """The full sections in the form of JSON, each with the keys of its kind only."""
        return {name: getattr(self, name).belonging() for name in type(self).model_fields}

    def physics(self) -> dict[str, Any]:
        """The keys that determine the draws: `section.key` -> value. Data and starts enter by hash, not by path."""
        sections = {"model": self.model, "sampler": self.sampler, "tempering": self.tempering, "run": self.run}
        kept = {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.identity().items()
                if keys.has(key, getattr(keys, "kind", ""))}  # fmt: skip
        del kept["run.steps"], kept["run.max_lost"]
        kept["sampler.start"] = ["store" if start.endswith(".zarr") else start for start in self.sampler.start]
        if self.tempering.kind == "none":
            kept = {name: value for name, value in kept.items() if not name.startswith("tempering.")}
        if self.tempering.kind != "simulated":
            kept.pop("tempering.walkers", None)
        return kept


def load(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file and apply `section.key=value` overrides. A new `kind` drops the file's keys of other kinds.

    Raises ConfigError: one line with the file, the key, what is wrong and what is allowed.
    """
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8-sig"))  # TOML is UTF-8 in every locale
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from None
    in_file = {name: set(keys) for name, keys in raw.items() if isinstance(keys, dict)}
    changed = {_apply(raw, override) for override in overrides or []}
    for name, _ in {change for change in changed if change[1] == "kind"}:
        section, kind = classes_of(name)[0], raw[name]["kind"]
        for key in in_file.get(name, set()) & section.model_fields.keys():
            if (name, key) not in changed and not section.has(key, kind):
                del raw[name][key]
    return parse(raw, str(path))


def parse(raw: dict[str, Any], origin: str, context: str = "") -> Config:
    """Build the configuration from nested dicts; `origin` names their source in error messages."""
    try:
        return Config.model_validate(raw, context=context)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_one_line(error)}") from None


def parse_stored(stored: dict[str, Any], origin: str) -> Config:
    """The configuration that a run wrote in full. A key that it lacks takes the value that older versions used."""
    if isinstance(stored, dict) and isinstance(stored.get("model"), dict):
        then = {name: ModelConfig.model_fields[name].default for name in ModelConfig.later}
        stored = {**stored, "model": {**then, **stored["model"]}}
    return parse(stored, origin, WRITTEN_IN_FULL)


def _apply(raw: dict[str, Any], override: str) -> tuple[str, str]:
    """Apply an override to `raw`. Returns the section and the key that it sets."""
    name, equals, text = override.partition("=")
    parts = name.strip().split(".")
    if not equals or len(parts) != 2 or not all(parts):
        raise ConfigError(f"--set {override}: write section.key=value, for example --set run.steps=50000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    section = raw.setdefault(parts[0], {})
    if not isinstance(section, dict):
        raise ConfigError(f"--set {override}: {parts[0]} is not a section")
    section[parts[1]] = value
    return parts[0], parts[1]


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    branches = ("function-", "constrained-", "literal")  # pydantic's names for the members of a union, not keys
    location = [str(part) for part in first["loc"] if not str(part).startswith(branches)]
    section = classes_of(location[0])[0] if location else Config
    if len(location) > 1 and location[1] in TASKS:
        section = TASKS[location.pop(1)].section
    name = ".".join(location)
    if first["type"] == "extra_forbidden":
        valid = sorted((section if len(location) > 1 else Config).model_fields)
        close = difflib.get_close_matches(location[-1], valid, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{name}: unknown key{hint}; valid: {', '.join(valid)}"
    if first["type"] == "union_tag_invalid":
        return f"{name}.task: {first['ctx']['tag']!r} is not a task; choose one of {', '.join(TASKS)}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    same = [each for each in error.errors() if each["loc"][:2] == first["loc"][:2]]
    words = [each["ctx"]["expected"] for each in same if each["type"] == "literal_error"]
    if words and first["type"] != "literal_error":  # a union of a number and a word
        message += f", or {words[0]}"
    if first["type"] != "value_error":
        message += f", not {first['input']!r}"
        return f"{name}: {message}"
    # a cross-check begins with its own key, relative to its section
    return f"{name}.{message}" if name and ":" in message.split(" ")[0] else f"{name}: {message}" if name else message


def classes_of(name: str) -> list[type[Section]]:
    """The classes that a section may have: [data] has one for each task."""
    if name == "data":
        return [task.section for task in TASKS.values()]
    field = Config.model_fields.get(name)
    return [typing.cast(type[Section], field.annotation) if field else Config]


def to_toml(config: dict[str, Any], head: str) -> str:
    """Write sections of plain values as TOML, which has no null. JSON has the same form of all other values."""
    lines = [f"# {head}"]
    for name, section in config.items():
        given = {key: value for key, value in section.items() if value is not None}
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
    return "\n".join(lines) + "\n"
