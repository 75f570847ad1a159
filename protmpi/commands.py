"""Command lines that expand paths as the configuration does, and whose output every terminal can print."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from protmpi.errors import ConfigError
from protmpi.paths import expanded

F = TypeVar("F", bound=Callable[..., Any])


class Commands(typer.Typer):
    """Commands that expand every argument and option that is a path or a list of paths."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Write a character that standard output cannot encode as an escape: \\u03b1 for α."""
        out = sys.stdout
        if isinstance(out, io.TextIOWrapper) and out.errors in ("strict", "surrogateescape"):
            out.reconfigure(errors="backslashreplace")
        return super().__call__(*arguments, **settings)

    def command(self, *arguments: Any, **settings: Any) -> Callable[[F], F]:
        register = super().command(*arguments, **settings)

        def with_paths(function: F) -> F:
            @functools.wraps(function)
            def call(**given: Any) -> Any:
                return function(**{name: resolved(value) for name, value in given.items()})

            register(call)
            return function

        return with_paths


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
