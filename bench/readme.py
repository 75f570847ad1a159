"""The performance tables of the README, from the JSON of `protmpi bench`.

    protmpi bench --json --walkers 1 > docs/bench-cpu.json                              three minutes on one quiet core
    protmpi bench --device cuda --json --walkers 1 --walkers 64 > docs/bench-gpu.json   four minutes on an H200
    python bench/readme.py                                              puts both between the two marks in README.md

The machine must be quiet; a test holds README.md against the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.command import title

README = Path(__file__).parents[1] / "README.md"
RESULTS = ("bench-cpu.json", "bench-gpu.json")
BEGIN, END = "<!-- performance: made by bench/readme.py -->", "<!-- end of performance -->"


def table(result: dict[str, Any]) -> str:
    """Markdown: a line for every row; the numbers of walkers and ranks where there are several."""
    several = [name for name in ("walkers", "ranks") if len({row[name] for row in result["rows"]}) > 1]
    heads = ["network", "scheme", *several, "ms / gradient", "of the matrix rate", "walker-steps / s", "x baseline"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        cells = (row["network"], row["scheme"], *(str(row[name]) for name in several), f"{row['ms_per_gradient']:.3g}",
                 f"{100 * row['gemm_fraction']:.0f} %", f"{row['walker_steps_per_s']:,.0f}",
                 f"**{_rounded(row['baseline_ratio'])}**")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"{title(result)}:", "", *lines])


def _rounded(x: float) -> str:
    """Three digits, or all before the point."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def readme(text: str, results: Sequence[dict[str, Any]]) -> str:
    """The README with the tables in their place."""
    before, rest = text.split(BEGIN)
    tables = "\n\n".join(map(table, results))
    return f"{before}{BEGIN}\n{tables}\n{END}{rest.split(END)[1]}"


def main() -> None:
    results = [json.loads((README.parent / "docs" / name).read_text()) for name in RESULTS]
    README.write_text(readme(README.read_text(), results))


if __name__ == "__main__":
    main()
