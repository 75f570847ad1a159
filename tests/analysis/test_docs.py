"""The example of docs/guide/analysis.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_learning_curves import write_weights
from test_page import whole_store

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "analysis.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/demo").mkdir(parents=True)
    whole_store(Path("runs/demo/store.zarr"))
    write_weights(Path("runs/demo/weights.h5"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 6
    exec("\n".join(blocks), {})
    assert "T* = " in capsys.readouterr().out
    assert Path("map.csv").stat().st_size > 0
