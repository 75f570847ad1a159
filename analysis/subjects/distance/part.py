"""Attention that measures distance in a report."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part
from analysis.subjects.distance.measure import distance
from analysis.subjects.distance.tables import distance_remarks, distance_table


def applies(run: Run) -> bool:
    return "pair_attention" in run.store.variables and run.store.snapshots > 0


def parts(findings: Findings) -> Iterator[Part]:
    from analysis.subjects.distance.figures import distance_figure

    data = distance(findings.run)
    yield Part(
        "distance",
        "Attention and distance",
        {
            "distance": (
                distance_figure(data),
                "(a) mean attention against distance, dashed: the attention to learn; of the Gaussian a exp(-(r/s)²) "
                "fitted to single snapshots (b) the width s, (c) the amplitude a, (d) the residual; at the side "
                "the reference weights.",
            )
        },
        [("The Gaussian that attention follows.", distance_table(data))],
        distance_remarks(data),
        {
            "distance": data[["amplitude", "width", "residual"]],
            "distance_curves": data[["curve"]],
            **({"distance_reference": data[["reference_amplitude", "reference_width", "reference_residual"]]}
               if "weights" in data.coords else {}),
        },
    )  # fmt: skip
