"""Tables as LaTeX: every cell is there, and nothing in it is a command of LaTeX."""

from __future__ import annotations

import re

import pytest
from rich.table import Table

from analysis.show.latex import table_of, written


@pytest.mark.parametrize(("text", "expected"), [
    ("1.5e-04", r"$1.5\times 10^{-4}$"),
    ("2e3 ± 1e+01", r"$2\times 10^{3}$ $\pm$ $1\times 10^{1}$"),
    ("12.3", "12.3"),
    ("0.Wqk 5 % & more_{x}", r"0.Wqk 5 \% \& more\_\{x\}"),
    ("<exp(-ΔH/T)>", r"$<$exp(-$\Delta$H/T)$>$"),
    ("max ||w|²/Q - 1|", r"max $|$$|$w$|$$^2$/Q - 1$|$"),
    ("the1e-4", "the1e-4"),
])  # fmt: skip
def test_text(text: str, expected: str) -> None:
    assert written(text) == expected


def test_a_table() -> None:
    table = Table()
    table.add_column("T", justify="right")
    table.add_column("check\n±", justify="left")
    table.add_row("1e-4", "U & V")
    table.add_row("2e-4", "100 %")
    lines = table_of("Caption with 5 %.", table).splitlines()
    assert r"\caption{Caption with 5 \%.}" in lines
    assert r"\begin{tabular}{rl}" in lines
    rows = [line for line in lines if line.endswith(r"\\")]
    assert rows == [r"T & check $\pm$ \\", r"$1\times 10^{-4}$ & U \& V \\", r"$2\times 10^{-4}$ & 100 \% \\"]
    assert all(len(re.findall(r"(?<!\\)&", row)) == 1 for row in rows)
    assert lines.index(r"\toprule") < lines.index(rows[0]) < lines.index(r"\midrule") < lines.index(rows[1])
