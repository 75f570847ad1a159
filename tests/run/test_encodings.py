"""Whatever characters a terminal, a log or a locale has: no traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from commands import launch

PROTMPI = str(Path(sys.executable).with_name("protmpi"))
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SAY = """
from protmpi.commands import Commands
app = Commands()
@app.command()
def say() -> None:
    print("|w|² = 3 ± 1, α, \\udce9")
app()
"""


@pytest.mark.parametrize(
    ("environment", "angstrom"),
    [({"PYTHONIOENCODING": "latin-1"}, b"\xc5"), ({"PYTHONIOENCODING": "ascii"}, b"\\xc5"), (POSIX, b"\\xc5"),
     ({"PYTHONIOENCODING": "utf-8"}, "Å".encode())],
)  # fmt: skip
def test_every_key_is_explained_in_every_encoding(environment: dict[str, str], angstrom: bytes, tmp_path: Path) -> None:
    explained = tmp_path / "explained"
    command = ["sh", "-c", f'exec "$0" config --explain > {explained}', PROTMPI]
    done = launch(command, environment={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = (line for line in explained.read_bytes().splitlines() if line.lstrip().startswith(b"data.cutoff"))
    assert b" " + angstrom + b" " in line


def test_text_that_no_encoding_has_is_escaped() -> None:
    """As a file name may be that is no UTF-8."""
    for encoding, said in (("ascii", r"|w|\xb2 = 3 \xb1 1, \u03b1, \udce9"), ("utf-8", r"|w|² = 3 ± 1, α, \udce9")):
        done = launch([sys.executable, "-c", SAY], environment={**os.environ, "PYTHONIOENCODING": encoding})
        assert (done.stdout, done.stderr) == (said + "\n", "")


def test_a_configuration_is_utf_8_in_every_locale(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('# Å\n[execution]\nstore = "größe.zarr"\n', "utf-8")
    done = launch([PROTMPI, "config", str(config)], environment={**os.environ, **POSIX})
    assert done.returncode == 0, done.stderr
    assert r"gr\xf6\xdfe.zarr" in done.stdout
