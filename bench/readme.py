"""The performance table of the README, from the JSON of `protmpi bench`.

    protmpi bench --json --walkers 1 > docs/bench-cpu.json    three minutes on one quiet core
    python bench/readme.py docs/bench-cpu.json                puts it between the two marks in README.md

The machine must be quiet; a test holds README.md against the JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.command import title

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- performance: made by bench/readme.py -->", "<!-- end of performance -->"


def table(result: dict[str, Any]) -> str:
    """Markdown: a line for every network and scheme; walker-steps/s of many walkers or ranks over those of one."""
    found = {(row["network"], row["scheme"], row["walkers"], row["ranks"]): row for row in result["rows"]}
    many, ranks = (max(row[name] for row in result["rows"]) for name in ("walkers", "ranks"))
    more = {f"{many} walkers": (many, 1), f"{ranks} ranks": (1, ranks)}
    more = {name: key for name, key in more.items() if key != (1, 1)}
    heads = ["network", "scheme", "ms / gradient", "of the matrix rate", "walker-steps / s", "x baseline", *more]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (network, scheme, *alone), row in found.items():
        if alone == [1, 1]:
            ratios = (found[network, scheme, *key]["walker_steps_per_s"] / row["walker_steps_per_s"]
                      for key in more.values())  # fmt: skip
            cells = (network, scheme, f"{row['ms_per_gradient']:.2f}", f"{100 * row['gemm_fraction']:.0f} %",
                     f"{row['walker_steps_per_s']:.0f}", f"**{row['baseline_ratio']:.1f}**",
                     *(f"x {ratio:.2f}" for ratio in ratios))  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"{title(result)}:", "", *lines])


def readme(text: str, result: dict[str, Any]) -> str:
    """The README with the table in its place."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(result)}\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("json", type=Path)
    README.write_text(readme(README.read_text(), json.loads(parser.parse_args().json.read_text())))


if __name__ == "__main__":
    main()
