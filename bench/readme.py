"""The performance tables of the README, from the JSON of `protmpi bench` and of `protmpi bench mixing`.

    protmpi bench --json --walkers 1 > docs/bench-cpu.json                              three minutes on one quiet core
    protmpi bench --device cuda --json --walkers 1 --walkers 64 > docs/bench-gpu.json   four minutes on an H200
    protmpi bench mixing CONFIG --out docs/bench-mixing-cpu.json                        what an independent draw costs
    python bench/readme.py                                   puts them between their marks in README.md, mixing first

The machine must be quiet; a test holds README.md against the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protmpi.bench import mixing_table
from protmpi.bench.speed import title

README = Path(__file__).parents[1] / "README.md"
RESULTS = ("bench-cpu.json", "bench-gpu.json")
MIXING = "bench-mixing-*.json"
SECTION = "## Performance\n\n"
BEGIN, END = "<!-- performance: made by bench/readme.py -->", "<!-- end of performance -->"
BEGIN_MIXING, END_MIXING = "<!-- mixing: made by bench/readme.py -->", "<!-- end of mixing -->"


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


def with_mixing(text: str, results: Sequence[dict[str, Any]]) -> str:
    """The README with what an independent draw costs at the head of its section, where that is known."""
    if not results:
        return text
    if BEGIN_MIXING not in text:
        before, after = text.split(SECTION)
        text = f"{before}{SECTION}{BEGIN_MIXING}\n{END_MIXING}\n\n{after}"
    before, rest = text.split(BEGIN_MIXING)
    tables = "\n\n".join([*map(mixing_table.markdown, results), mixing_table.LEGEND])
    return f"{before}{BEGIN_MIXING}\n{tables}\n{END_MIXING}{rest.split(END_MIXING)[1]}"


def main() -> None:
    docs = README.parent / "docs"
    results = [json.loads((docs / name).read_text()) for name in RESULTS]
    mixing = [json.loads(path.read_text()) for path in sorted(docs.glob(MIXING))]
    README.write_text(with_mixing(readme(README.read_text(), results), mixing))


if __name__ == "__main__":
    main()
