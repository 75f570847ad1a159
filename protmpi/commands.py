"""Command lines that expand paths as the configuration does, and whose output every terminal can print."""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO, TypeVar

import typer
import typer.core

from protmpi import __version__
from protmpi.errors import ConfigError, ProtmpiError
from protmpi.paths import expanded

EXTRAS = {  # top-level module -> the extra of pyproject.toml that installs it
    "torch": "sample", "numba": "sample", "mpi4py": "sample", "gemmi": "sample", "submitit": "launch",
    "transformers": "plm",
}  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


class Commands(typer.Typer):
    """Commands that expand every argument and option that is a path or a list of paths."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(context_settings={"help_option_names": ["-h", "--help"]}, **settings)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Write a character that standard output cannot encode as an escape: \\u03b1 for α."""
        out = sys.stdout
        if isinstance(out, io.TextIOWrapper) and out.errors in ("strict", "surrogateescape"):
            out.reconfigure(errors="backslashreplace")
        return super().__call__(*arguments, **settings)

    def command(self, *arguments: Any, **settings: Any) -> Callable[[F], F]:
        register = super().command(*arguments, cls=Command, **settings)

        def with_paths(function: F) -> F:
            @functools.wraps(function)
            def call(**given: Any) -> Any:
                return function(**{name: resolved(value) for name, value in given.items()})

            register(call)
            return function

        return with_paths


class Command(typer.core.TyperCommand):
    """A command that refuses to be told one thing twice. click would take the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {name: option for option in self.get_params(ctx) for name in option.opts if name.startswith("--")}
        words = args[: args.index("--")] if "--" in args else args
        given = [word.split("=")[0] for word in words if word.split("=")[0] in options]
        for name in given:
            if given.count(name) > 1 and not getattr(options[name], "multiple", False):
                raise ConfigError(f"{name}: given {given.count(name)} times, takes one value")
        return list(super().parse_args(ctx, args))


def main(app: Commands, name: str, speaks: bool = True) -> NoReturn:
    """Run the program `name`. A mistake of the user is one line on stderr and status 2.

    `speaks`: this process may print it.
    """
    line = ""
    try:
        status = app(standalone_mode=False, prog_name=name)
    except ProtmpiError as error:
        status, line = error.status, " ".join(str(error).split())
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        if module not in EXTRAS:
            raise
        status, line = 2, f"this needs {module}, which is not installed: pip install 'protmpi[{EXTRAS[module]}]'"
    except OSError as error:
        if error.errno != errno.ENOSPC or not _is_full(sys.stdout):
            raise
        status, line = 1, f"standard output cannot be written: {error.strerror}"
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, which Python closes at its end, and with it what is left
    except Exception as error:  # typer has a click of its own, whose exceptions have no public name
        status, line = _of_click(error)
    if line and speaks:
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(status or 0)


def _is_full(out: TextIO) -> bool:
    """Whether a stream takes no more line: it, and not some file, has no space."""
    try:
        out.write("\n")
        out.flush()
    except OSError:
        return True
    return False


def _of_click(error: Any) -> tuple[int, str]:
    """Status and line of a wrong command line; raises any other error again."""
    kind = type(error).__name__
    if kind == "Abort":
        return 130, "interrupted"
    if not hasattr(error, "format_message"):
        raise error
    if kind == "NoArgsIsHelpError":
        error.show()
        return 2, ""
    message = " ".join(error.format_message().split()).rstrip(".")
    shows = f"; `{error.ctx.command_path} --help` shows what there is" if getattr(error, "ctx", None) else ""
    return 2, f"{message[:1].lower()}{message[1:]}{shows}"


def version(wanted: bool) -> None:
    """The option --version."""
    if wanted:
        print(__version__)
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")]


def each_once(changes: list[str] | None) -> list[str] | None:
    """The option --set. Raises ConfigError for a key that is given twice."""
    keys = [change.split("=")[0].strip() for change in changes or []]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"--set {key}: given {keys.count(key)} times, takes one value")
    return changes


Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="section.key=value", callback=each_once, help="Replace one key of CONFIG."),
]


def resolved(given: Any) -> Any:
    """Expand paths and leave other values alone. Raises ConfigError for a path that cannot be expanded."""
    if isinstance(given, list):
        return [resolved(item) for item in given]
    if not isinstance(given, Path):
        return given
    try:
        return Path(expanded(str(given)))
    except ValueError as error:
        raise ConfigError(f"{given}: {error}") from None
