"""A report as one HTML page with embedded figures, without scripts or downloads, for screens, phones and paper."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.show.equilibrium import PLUS_MINUS
from analysis.show.html import cells, image

if TYPE_CHECKING:
    from analysis.report.contents import RunReport
    from analysis.show.part import Part

def page(reports: Sequence[RunReport], shared: Part | None) -> str:
    """The page of one run, or of several runs with their common parts first."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("analysis.report", ""), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.globals.update(image=image, cells=cells)
    return environment.get_template("page.html").render(
        title=", ".join(report.label for report in reports),
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        plus_minus=PLUS_MINUS,
        shared=shared,
        runs=[{"report": report, "facts": _facts(report), **_provenance(report)} for report in reports],
    )


def _facts(report: RunReport) -> list[tuple[str, str]]:
    """The summary at the head of the page: what was found, then what was run."""
    status = report.run.store.status()
    return [
        *(fact for part in report.parts for fact in part.facts),
        ("network", report.label),
        ("state", f"{status['state']}, step {status['step']:,} of {status['steps']:,}"),
        ("walkers", f"{status['walkers']} at {report.run.temperature.size} temperatures"),
        ("draws, snapshots", f"{status['draws']:,}, {status['snapshots']:,}"),
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
