"""A Slurm that is only pretended: small programs that note how they were called."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster import ROOT


class PretendedSlurm:
    """srun, squeue and scontrol as small programs that note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.calls, self.venv = folder / "slurm-bin", folder / "calls", folder / "venv"
        self.program("srun", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')
        self.program("squeue", 'echo "${STATE:-RUNNING}"')
        self.program("scontrol", 'exit "${SCONTROL:-0}"')

    def program(self, name: str, body: str, folder: Path | None = None) -> None:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.calls}"\n{body}\n')
        path.chmod(0o755)

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        given = {"PATH": f"{self.bin}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "PROTMPI_VENV": str(self.venv),
                 "SLURM_SUBMIT_DIR": str(ROOT), **environment}  # fmt: skip
        return subprocess.Popen(["bash", str(ROOT / "slurm" / script), *arguments], env=given, cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def run(self, body: str, script: str = "sweep.sh", *arguments: str, **environment: str) -> tuple[int, str]:
        """Status and output of a script whose protmpi does `body`."""
        self.program("protmpi", body, self.venv / "bin")
        process = self.start(script, *(arguments or ("c.toml",)), **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def called(self, name: str) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.split()[0] == name]
