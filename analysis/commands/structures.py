"""Commands about structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.commands.arguments import Figures
from analysis.show.console import print_table


def structure(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="PDB or mmCIF file (also .gz), or a PDB id")],
    chain: Annotated[str | None, typer.Option(help="author name; the first protein chain if absent")] = None,
    cutoff: Annotated[float, typer.Option(min=0, help="heavy atoms of a contact are closer than this (Å)")] = 4.5,
    min_separation: Annotated[int, typer.Option(min=1, help="smallest |i-j| of a contact")] = 2,
    out: Figures = None,
) -> None:
    """The native structure and its contacts, as in `protmpi data`."""
    from analysis.show.cells import table_of
    from analysis.subjects.contacts.backbone import read_backbone

    found = read_backbone(source, chain, cutoff, min_separation)
    written = []
    if out is not None:
        from analysis.show.style import write_figures
        from analysis.subjects.contacts.backbone_figure import backbone_figure

        written = write_figures({"structure": backbone_figure(found)}, out)
    by_separation = found.structure.pairs_by_separation((min_separation, 6, 12, 24))
    columns = [("chain", [str(found.structure.provenance["chain"])]), ("residues", [str(found.structure.length)]),
               ("without atoms", [str(found.structure.missing)]),
               *((f"contacts\n|i-j| >= {s}", [str(count)]) for s, count in by_separation.items())]  # fmt: skip
    print_table(table_of(columns), [found.structure.sequence], written)
