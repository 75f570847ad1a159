"""The network in a report: its diagram."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part


def applies(run: Run) -> bool:
    """Whether there is a diagram of this kind of network, and the store has all of its arrays."""
    from analysis.subjects.network.figures import arrays_drawn

    drawn = arrays_drawn(run.store.config.get("model", {}).get("kind", ""))
    return bool(drawn) and drawn <= {entry["name"] for entry in run.store.attributes.get("parameter_layout", [])}


def parts(findings: Findings) -> Iterator[Part]:
    from analysis.subjects.network.figures import diagram_figure

    store = findings.run.store
    caption = (
        "Arrays and numbers of parameters under each box; beside the arrows, the number of values of a site; +: sum."
    )
    figure = diagram_figure(store.config.get("model", {}), store.attributes.get("parameter_layout", []))
    yield Part("network", "Network", {"network": (figure, caption)})
