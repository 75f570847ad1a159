"""Its section [data]."""

from __future__ import annotations

from typing import Literal

from protmpi.sections import Positive, Section, key


class BowlConfig(Section):
    task: Literal["bowl"] = key("bowl", "what is sampled")
    stiffness: Positive = key(1.0, "k of the first parameter; the others have 2 k, 3 k and 4 k")
