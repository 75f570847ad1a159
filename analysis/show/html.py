"""Figures and tables as pieces of an HTML page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import matplotlib

from analysis.show.cells import VERDICT_COLOURS
from analysis.show.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

DOTS_PER_INCH = 200
"""Resolution for phones and paper. The PNG and PDF files beside the page have a higher one."""


def image(figure: Figure) -> str:
    """A figure as a data URL."""
    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format="png", dpi=DOTS_PER_INCH)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def cells(table: Table) -> dict[str, Any]:
    """Headings and rows of a table: (text, alignment, class) of each cell."""
    columns = table.columns
    heads = [(str(column.header).replace("\n", " "), column.justify) for column in columns]
    colours = {colour: verdict for verdict, colour in VERDICT_COLOURS.items()}
    rows = zip(*([(str(cell), column.justify, colours.get(str(getattr(cell, "style", "")), ""))
                  for cell in column.cells] for column in columns), strict=True)  # fmt: skip
    return {"heads": heads, "rows": list(rows)}
