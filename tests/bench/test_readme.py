"""The table of the README is that of the JSON beside the documentation."""

from __future__ import annotations

import json

from bench.readme import README, readme

JSON = README.parent / "docs" / "bench-cpu.json"


def test_the_readme_has_the_table_of_the_json() -> None:
    text, result = README.read_text(), json.loads(JSON.read_text())
    assert readme(text, result) == text
    result["rows"][0]["baseline_ratio"] *= 2.0
    assert readme(text, result) != text
