"""What images are built and tested by, run for real: in an image where Apptainer is, else in a plain root of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command, digest

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke.toml"
CONTAINER = ROOT / "build" / "container"
APPTAINER = os.environ.get("APPTAINER", "apptainer")
"""As for the Makefile: some machines want words before it."""


def call(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
    said = "\n".join([*done.stdout.splitlines()[-10:], *done.stderr.splitlines()[-10:]])
    assert done.returncode == 0, f"{command}\n{said}"
    return done.stdout


def why_no_root() -> str:
    """Why no root file system can be made here, "" where one can."""
    if os.geteuid() != 0:
        return "a root file system is made by root"
    if shutil.which("debootstrap") is None:
        return "no debootstrap here: apt-get install debootstrap"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return f"no mounts here: {done.stderr.strip()}" if done.returncode else ""


class PlainRoot:
    """A Debian in a folder. Its /proc and /dev are ours, for as long as a command runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        call("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", folder)

    def run(self, *command: object) -> str:
        inside = 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
        clean = ["env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        return call("unshare", "--mount", "--propagation", "private", *clean, "sh", "-c", inside, self.folder, *command)


@pytest.fixture
def plain_root() -> Iterator[PlainRoot]:
    folder = Path(tempfile.mkdtemp(prefix="root-"))
    try:
        yield PlainRoot(folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(bool(why_no_root()), reason=why_no_root())
def test_the_steps_of_an_image_in_a_plain_root(plain_root: PlainRoot, protmpi: Command, tmp_path: Path) -> None:
    """%post installs from the wheels alone; %test passes; what runs inside gives the store that runs outside."""
    call("containers/prepare.sh", "cpu")
    opt = plain_root.folder / "opt"
    shutil.copytree(CONTAINER, opt / "source")
    for script in ("post.sh", "test.sh"):
        shutil.copy(ROOT / "containers" / script, opt)
    plain_root.run("sh", "/opt/post.sh", "/opt/source")
    assert not (opt / "source").exists()
    printed = plain_root.run("sh", "/opt/test.sh")
    expected = digest(protmpi, SMOKE, tmp_path / "outside.zarr", "--set", "execution.device=cpu")
    assert printed.splitlines()[-1] == f"protmpi works: one rank and two give the store {expected}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(APPTAINER.split()[-1]) is None, reason="no Apptainer here")
def test_an_image_of_apptainer(protmpi: Command, tmp_path: Path) -> None:
    """Built by the Makefile, which runs %test; a run in it gives the store of a run outside of it."""
    call("make", "container-cpu", f"APPTAINER={APPTAINER}")
    image = [*APPTAINER.split(), "exec", "--bind", tmp_path, "protmpi-cpu.sif"]
    ranks = ["mpirun", "--allow-run-as-root", "--bind-to", "none", "--oversubscribe", "-n", 2]
    inside, device = tmp_path / "inside.zarr", ["--set", "execution.device=cpu"]
    call(*image, *ranks, "protmpi", "run", "/opt/protmpi/configs/smoke.toml", "--store", inside, *device)
    expected = digest(protmpi, SMOKE, tmp_path / "outside.zarr", *device)
    assert call(*image, "protmpi", "digest", inside).strip() == expected
