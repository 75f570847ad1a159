"""Several runs in one report: their common figures."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.reading.findings import Findings
from analysis.reading.run import different_spheres
from analysis.show.part import Part
from analysis.subjects.attention import part as attention
from analysis.subjects.thermodynamics import tables
from analysis.subjects.thermodynamics.part import measured as thermodynamics


def together(runs: Sequence[tuple[str, Findings]]) -> Part:
    """Several networks, each with its label, in one figure each for thermodynamics and contacts."""
    from analysis.subjects.together import figures

    data = [(label, findings.of(thermodynamics)) for label, findings in runs]
    networks = []
    for label, findings in runs:
        maps = findings.of(attention.measured) if attention.applies(findings.run) else None
        known = maps if maps is not None and "precision" in maps else None
        networks.append(figures.Network(label, findings.run, findings.of(thermodynamics), known))
    without = [label for label, one in data if one["no_t_star"].item()]
    scale = f"against T, because there is no T* of {', '.join(without)}" if without else "against T/T*"
    spheres = different_spheres([(label, findings.run) for label, findings in runs])
    part = Part("networks", "Networks together", remarks=spheres)
    part.remarks += [f"{label}: {tables.t_star_remark(one)}" for label, one in data]
    part.figures["networks"] = (
        figures.thermodynamics_figure(networks),
        f"(a) mean loss, (b) specific heat from d⟨U⟩/dT, (c) validation and (d) test error {scale}; at the side ES "
        "and OT.",
    )
    if any(network.attention is not None for network in networks):
        part.figures["networks_contacts"] = (
            figures.contacts_figure(networks),
            f"Contact precision of the best block of each walker {scale}. Dotted: random scores.",
        )
    part.tables.append(("T* of each network.", tables.peaks_table(data)))
    return part
