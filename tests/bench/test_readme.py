"""The tables of the README are those of the JSON beside the documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from readme import BEGIN, BEGIN_MIXING, MIXING, README, RESULTS, readme, with_mixing

from protmpi.bench import mixing_table


@pytest.mark.parametrize("changed", range(len(RESULTS)))
def test_the_readme_has_the_tables_of_the_json(changed: int) -> None:
    text = README.read_text()
    results = [json.loads((README.parent / "docs" / name).read_text()) for name in RESULTS]
    assert readme(text, results) == text
    results[changed]["rows"][0]["baseline_ratio"] *= 2.0
    assert readme(text, results) != text


def mixing_result(sem: float = 0.002) -> dict[str, Any]:
    """Two samplers at one temperature, the second too short."""
    series = {"mean": 1.2346, "sem": sem, "time": 8.0, "time_error": 1.0, "draws": 400, "effective": 50.0,
              "known": True}  # fmt: skip
    row = {
        "temperature": 1.5e-4, "sampler": "trajectories of 100", "lost": 0, "acceptance": 0.712, "wanted": 0.7,
        "samples_per_draw": 1e5, "seconds_per_sample": 1e-4, "drift": 0.3, "energy": series, "error": series,
        "efold": {"samples": 3.21e7, "kind": "extrapolated"},
    }  # fmt: skip
    short = {**series, "effective": 4.0, "known": False}
    other = {**row, "sampler": "pseudo-Langevin, rho 5e-08", "acceptance": None, "energy": short, "error": short,
             "efold": {"samples": 5e9, "kind": "bound"}}  # fmt: skip
    return {"network": "transformer-1-26", "train_size": 1_000, "device": "cpu", "device_name": "2 cores",
            "processor": "a processor", "threads": 1, "torch": "2.13", "walkers": 2, "passes": 5_000, "tuning": 1_250,
            "burn_in": 4_000, "start": "ES", "rows": [row, other]}  # fmt: skip


def test_the_mixing_table_says_costs_bounds_and_extrapolations() -> None:
    lines = mixing_table.markdown(mixing_result()).splitlines()
    assert lines[-2] == ("| 1.5e-4 | trajectories of 100 | 0.71 | 800 ± 100 | (8 ± 1)e5 | 80 ± 10 | (8 ± 1)e5 "
                         "| 80 ± 10 | ~3.2e7 | ~3,200 | 1.235 ± 0.002 | is compared with |")  # fmt: skip
    assert lines[-1] == ("| 1.5e-4 | pseudo-Langevin, rho 5e-08 | - | > 2,000 | > 2e6 | > 200 | > 2e6 | > 200 | > 5e9 "
                         "| > 500,000 | 1.235 | too short |")  # fmt: skip


@pytest.mark.parametrize(
    ("acceptance", "said"), [(0.5, ""), (0.0, ", time step off"), (0.97, ", time step off"), (None, "")]
)
def test_a_time_step_that_is_far_off_is_told(acceptance: float | None, said: str) -> None:
    result = mixing_result()
    result["rows"][0]["acceptance"] = acceptance
    assert mixing_table.verdicts(result["rows"]) == [f"is compared with{said}", "too short"]


def test_the_mixing_table_stands_at_the_head_of_its_section_and_is_replaced() -> None:
    text = README.read_text().split(BEGIN_MIXING)[0] if BEGIN_MIXING not in README.read_text() else ""
    text = text or f"# a\n\n## Performance\n\n{BEGIN}\n<!-- end of performance -->\nb\n"
    once = with_mixing(text, [mixing_result()])
    section = once.split("## Performance\n\n")[1]
    assert section.startswith(f"{BEGIN_MIXING}\ntransformer-1-26, 1,000 training samples, a processor")
    assert section.index("> 500,000") < section.index(BEGIN)
    other = with_mixing(once, [mixing_result(sem=0.03)])
    assert "1.23 ± 0.03" in other
    assert "1.235 ± 0.002" not in other
    assert with_mixing(other, [mixing_result()]) == once
    assert with_mixing(text, []) == text


def test_the_readme_has_the_mixing_table_of_the_json() -> None:
    text = README.read_text()
    results = [json.loads(path.read_text()) for path in sorted((README.parent / "docs").glob(MIXING))]
    if BEGIN_MIXING not in text:
        pytest.skip("README.md has no mixing table yet: python bench/readme.py")
    assert with_mixing(text, results) == text
    results[0]["rows"][0]["samples_per_draw"] *= 2.0
    assert with_mixing(text, results) != text
