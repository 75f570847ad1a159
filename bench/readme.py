"""The performance table of the README, from the JSON of `protmpi bench`.

protmpi bench --json > docs/bench-cpu.json
python bench/readme.py docs/bench-cpu.json     puts it between the two marks in README.md
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
    """Markdown: a line for every network and scheme."""
    one = {(row["network"], row["scheme"], row["walkers"]): row for row in result["rows"] if row["ranks"] == 1}
    most = max(row["ranks"] for row in result["rows"])
    every = {(row["network"], row["scheme"], row["walkers"]): row for row in result["rows"] if row["ranks"] == most}
    many = max(row["walkers"] for row in result["rows"])
    lines = [
        f"| network | scheme | ms / gradient | of the matrix rate | walker-steps / s | x baseline | {many} walkers "
        f"| on {most} ranks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (network, scheme, walkers), row in one.items():
        if walkers == 1:
            batched = one[network, scheme, many]["walker_steps_per_s"] / row["walker_steps_per_s"]
            wide = every[network, scheme, 1]["walker_steps_per_s"] / row["walker_steps_per_s"]
            cells = (network, scheme, f"{row['ms_per_gradient']:.2f}", f"{100 * row['gemm_fraction']:.0f} %",
                     f"{row['walker_steps_per_s']:.0f}", f"**{row['baseline_ratio']:.1f}**", f"x {batched:.2f}",
                     f"x {wide:.2f}")  # fmt: skip
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
