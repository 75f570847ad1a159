"""Tables for a paper: LaTeX with the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.show.html import cells

if TYPE_CHECKING:
    from rich.table import Table

WRITTEN = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$",
    "²": "$^2$", "³": "$^3$", "Å": r"\AA{}", "Δ": r"$\Delta$", "β": r"$\beta$", "σ": r"$\sigma$", "Λ": r"$\Lambda$",
    "·": r"$\cdot$", "×": r"$\times$", "≥": r"$\ge$", "≤": r"$\le$", "→": r"$\to$", "∞": r"$\infty$",
}  # fmt: skip
"""Characters that LaTeX does not print as they are."""
SIDES = {"left": "l", "right": "r", "center": "c"}
EXPONENT = re.compile(r"\b(\d+(?:\.\d+)?)e([+-]?)0*(\d+)\b")


def written(text: str) -> str:
    """Text as LaTeX; 1.5e-04 becomes a power of ten."""
    parts, end = [], 0
    for found in EXPONENT.finditer(text):
        parts.append(_escaped(text[end : found.start()]))
        sign = "-" if found[2] == "-" else ""
        parts.append(rf"${found[1]}\times 10^{{{sign}{found[3]}}}$")
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return "".join(WRITTEN.get(letter, letter) for letter in text)


def table_of(caption: str, table: Table) -> str:
    """A `table` environment. Columns stand as in the terminal."""
    found = cells(table)
    lines = [" & ".join(written(text) for text, *_ in row) + r" \\" for row in [found["heads"], *found["rows"]]]
    sides = "".join(SIDES.get(side, "r") for _, side in found["heads"])
    return "\n".join([
        r"\begin{table}", rf"\caption{{{written(caption)}}}", rf"\begin{{tabular}}{{{sides}}}", r"\toprule", lines[0],
        r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}",
    ])  # fmt: skip


def write_latex(tables: Sequence[tuple[str, Table]], path: Path) -> None:
    """All tables of a subject, with their captions."""
    text = "\n\n".join(table_of(caption, table) for caption, table in tables)
    path.write_text(f"% needs \\usepackage{{booktabs}}\n{text}\n", encoding="utf-8")
