"""Networks of protein chains in a report: masked residues, and attention against distance."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.part import Part
from analysis.subjects.chains import tables
from analysis.subjects.chains.measure import profiles, residues
from analysis.subjects.thermodynamics.part import shown


def applies(run: Run) -> bool:
    return "attention_profile" in run.store.variables and run.store.snapshots > 0


def parts(findings: Findings) -> Iterator[Part]:
    from analysis.subjects.chains.figures import profiles_figure, residues_figure

    found, (slot, at) = residues(findings.run), shown(findings)
    caption = f"Masked test residues: all of them against T, and by the true amino acid at {at}; ES, OT: weights."
    yield Part(
        "residues",
        "Perplexity and recovery",
        {"residues": (residues_figure(found, slot), caption)},
        [("By the true amino acid.", tables.residues_table(found, slot))],
        tables.residues_remarks(found),
        {"residues": found[["perplexity", "recovery"]]},
    )
    found = profiles(findings.run)
    caption = (
        "Attention against Cα distance, mean over heads, at every temperature, and width and amplitude of the Gaussian "
        "a exp(-(r/s)²) fitted to single snapshots against T. Dotted: even attention."
    )
    yield Part(
        "profiles",
        "Attention and distance",
        {"profiles": (profiles_figure(found), caption)},
        [("The Gaussian of each block.", tables.profiles_table(found))],
        tables.profiles_remarks(),
        {"profiles": found[["amplitude", "width"]], "profile_curves": found[["profile"]]},
    )
