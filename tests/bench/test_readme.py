"""The tables of the README are those of the JSON beside the documentation."""

from __future__ import annotations

import json

import pytest

from bench.readme import README, RESULTS, readme


@pytest.mark.parametrize("changed", range(len(RESULTS)))
def test_the_readme_has_the_tables_of_the_json(changed: int) -> None:
    text = README.read_text()
    results = [json.loads((README.parent / "docs" / name).read_text()) for name in RESULTS]
    assert readme(text, results) == text
    results[changed]["rows"][0]["baseline_ratio"] *= 2.0
    assert readme(text, results) != text
