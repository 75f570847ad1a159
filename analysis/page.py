"""A report as one HTML page: figures inside, no script, nothing fetched; for screens, phones and paper."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib

from analysis.check_tables import VERDICT_COLOURS
from analysis.equilibrium_tables import PLUS_MINUS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from analysis.report import RunReport, Subject

DOTS_PER_INCH = 200
"""Sharp on a phone and on paper; the PNG and PDF files beside the page have more."""


def page(reports: Sequence[RunReport], shared: Subject | None) -> str:
    """The page of one run, or of several with what they have in common first."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("analysis", ""), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.globals.update(image=_image, cells=_cells)
    return environment.get_template("page.html").render(
        title=", ".join(report.label for report in reports),
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        plus_minus=PLUS_MINUS,
        shared=shared,
        runs=[{"report": report, "facts": _facts(report), **_provenance(report)} for report in reports],
    )


def _image(figure: Figure) -> str:
    """A figure as a data URL."""
    from analysis.figures.style import STYLE

    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format="png", dpi=DOTS_PER_INCH)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _cells(table: Table) -> dict[str, Any]:
    """Headings and rows of a table: (text, alignment, class) of each cell."""
    columns = table.columns
    heads = [(str(column.header).replace("\n", " "), column.justify) for column in columns]
    colours = {colour: verdict for verdict, colour in VERDICT_COLOURS.items()}
    rows = zip(*([(str(cell), column.justify, colours.get(str(getattr(cell, "style", "")), ""))
                  for cell in column.cells] for column in columns), strict=True)  # fmt: skip
    return {"heads": heads, "rows": list(rows)}


def _facts(report: RunReport) -> list[tuple[str, str]]:
    """What a reader wants to know first."""
    status = report.run.store.status()
    worst = max((check.verdict for check in report.checks), key=("pass", "weak", "fail").index, default="pass")
    count = sum(check.verdict == worst for check in report.checks)
    return [
        ("network", report.label),
        ("state", f"{status['state']}, step {status['step']:,} of {status['steps']:,}"),
        ("walkers", f"{status['walkers']} at {report.run.temperature.size} temperatures"),
        ("draws, snapshots", f"{status['draws']:,}, {status['snapshots']:,}"),
        ("self-checks", f"{worst}: {count} of {len(report.checks)}"),
        ("store", status["store"]),
    ]


def _provenance(report: RunReport) -> dict[str, Any]:
    """Configuration and origin, as (key, value) in sections."""
    attributes = report.run.store.attributes
    sections = {
        name: [(key, json.dumps(value)) for key, value in section.items() if value is not None]
        for name, section in attributes.get("config", {}).items()
    }
    origin: list[tuple[str, str]] = [(name, str(version)) for name, version in attributes.get("versions", {}).items()]
    identity = attributes.get("identity", {})
    origin += [(f"sha256 of {name}", str(identity[name])) for name in ("data.file", "train.file") if name in identity]
    for rank, host in enumerate(attributes.get("hosts", [])):
        origin.append((f"rank {rank}", ", ".join(f"{key} {value}" for key, value in host.items())))
    record = report.run.store.record
    if record:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(record["time"]))
        origin.append(("last commit", f"{when}, {record['seconds']:,.0f} s of wall time on {record['ranks']} ranks"))
    return {"config": sections, "origin": origin}
