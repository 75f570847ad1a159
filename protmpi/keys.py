"""The keys of a configuration in words: type, default, unit and meaning."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from protmpi.config import Config, classes_of
from protmpi.sections import kinds_of


def explain() -> Iterator[tuple[str, str, str, str, str]]:
    """Rows (key, type, default, unit, meaning) of every key."""
    for section_name in Config.model_fields:
        for section in classes_of(section_name):
            task = f' (task = "{section.model_fields["task"].default}")' if section_name == "data" else ""
            for name, field in section.model_fields.items():
                kinds = [kind for kind in kinds_of(field) if kind != "auto"]
                only = f" ({', '.join(kinds)})" if kinds else task
                extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
                yield (
                    f"{section_name}.{name}",
                    _type_name(field.annotation),
                    _literal(field.default),
                    str(extra.get("unit", "")),
                    f"{field.description}{only}",
                )


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(f'"{choice}"' for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type_name(part) for part in arguments if part is not type(None))
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    return {"Path": "path", "str": "string", "bool": "true | false"}.get(annotation.__name__, annotation.__name__)


def _literal(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, (str, Path)) else str(value)
