"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store of a run, finished or still growing")]
Json = Annotated[bool, typer.Option("--json", help="numbers for programs instead of the table")]
Figures = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="folder for figures; made if absent")]
Strict = Annotated[bool, typer.Option("--strict", help="exit with status 1 when a check fails")]
