"""What is installed has names of its own: no folder of a user stands in the way of `protmpi bench`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"analysis", "hpc", "protmpi"}


@pytest.mark.parametrize("name", ["bench", "validation"])
def test_a_folder_of_the_user_shadows_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('the folder of the user')\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("protmpi")), "bench", "--help"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mixing" in done.stdout


def test_the_wheel_holds_the_packages_and_no_scripts(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="builds the wheel")
    source = tmp_path / "source"
    for name in (*PACKAGES, "bench", "validation", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = [Path(name) for name in ZipFile(wheel).namelist()]
    assert {path.parts[0] for path in names if not path.parts[0].endswith(".dist-info")} == PACKAGES
    modules = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {path for path in names if path.suffix == ".py"} == modules
