"""Objects that are named in a table and imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named(place: str) -> Any:
    """Import the object "module:name"."""
    module, name = place.split(":")
    return getattr(import_module(module), name)
