"""Paths as users write them: `~` and `$NAME` mean the same as in a shell."""

from __future__ import annotations

import os
import re

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^}]*)\})")


def expanded(path: str) -> str:
    """Replace `~`, `~user`, `$NAME` and `${NAME}` in a path.

    Raises ValueError if the user does not exist or the variable is not set or empty: files would otherwise go to a
    folder of that name, or to the root of the file system.
    """

    def value(found: re.Match[str]) -> str:
        known = os.environ.get(found[1] or found[2])
        if not known:
            raise ValueError(f"{found[0]} in {path} is not set, or empty; set it, or write the path in full")
        return known

    home = os.path.expanduser(path)
    if home.startswith("~"):
        raise ValueError(f"{home.split('/')[0]} is no user's home; for a file of that name write ./{path}")
    return VARIABLE.sub(value, home)
