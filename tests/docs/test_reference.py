"""The pages of the reference have every key and every variable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from protmpi.keys import explain

ROOT = Path(__file__).parents[2]


def test_reference_has_every_key_and_variable(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "docs/reference.py", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    keys = (tmp_path / "configuration.md").read_text("utf-8")
    for key, _, _, _, meaning in explain():
        assert f"| `{key}` |" in keys
        assert meaning.rsplit(" (task = ")[0].replace("|", "\\|") in keys
    store = (tmp_path / "store.md").read_text("utf-8")
    names = "energy parameters acceptance kinetic_ratio cost log_weight attention pair_distance attention_profile"
    for name in (*names.split(), "temperature", "sphere_norm2"):
        assert store.count(f"| `{name}` |") >= 1
    assert store.count("| `slot` |") == store.count("| `rho` |") == 1
