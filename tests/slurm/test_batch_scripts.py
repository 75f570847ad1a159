"""The batch scripts with a Slurm that is only pretended: what they ask of it when things go wrong. shellcheck."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluster import ROOT
from pretended import PretendedSlurm

SCRIPTS = sorted([*ROOT.glob("slurm/*.sh"), *ROOT.glob("containers/*.sh"), *ROOT.glob("tests/slurm/*.sh"),
                  ROOT / ".ci" / "run"])  # fmt: skip


@pytest.fixture
def slurm(tmp_path: Path) -> PretendedSlurm:
    return PretendedSlurm(tmp_path)


def test_a_finished_run_is_not_requeued(slurm: PretendedSlurm) -> None:
    assert slurm.run("exit 0", "sweep.sh", "c.toml", "--set", "run.steps=9 9")[0] == 0
    assert slurm.called("protmpi") == ["run c.toml --set run.steps=9 9"]
    assert slurm.called("scontrol") == []


def test_every_script_passes_its_arguments_on(slurm: PretendedSlurm) -> None:
    assert slurm.run("exit 0", "tempering.sh")[0] == 0
    assert slurm.run("exit 0", "train.sh")[0] == 0
    assert slurm.called("protmpi") == ['run c.toml --set tempering.kind="exchange"', "train c.toml"]
    slurm.program("protmpi-analysis", "exit 0", slurm.venv / "bin")
    assert slurm.run("exit 0", "report.sh", "s.zarr", "--out", "r")[0] == 0
    assert slurm.called("protmpi-analysis") == ["report s.zarr --out r"]


def test_a_preempted_run_goes_back_into_the_queue_once(slurm: PretendedSlurm) -> None:
    status, output = slurm.run("exit 75")
    assert status == 0
    assert slurm.called("scontrol") == ["requeue 7"]
    assert "job 7 goes back into the queue" in output


def test_of_an_array_only_the_stopped_task_is_requeued(slurm: PretendedSlurm) -> None:
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    slurm.run("exit 75", "array.sh", "run", "c.toml", "--set", "run.seed=%a", **array)
    assert slurm.called("scontrol") == ["requeue 5_2"]
    assert slurm.called("protmpi") == ["run c.toml --set run.seed=2"]
    status, output = slurm.run("exit 0", "array.sh", "run", "a.toml", "b.toml", "c.toml", "--store", "%a.zarr", **array)
    assert (status, slurm.called("protmpi")[-1]) == (0, "run c.toml --store 2.zarr")
    status, output = slurm.run("exit 0", "array.sh", "run", "a.toml", "b.toml", **array)
    assert status != 0
    assert "no configuration for task 2" in output


def test_the_time_limit_is_repeated_until_the_run_has_ended(slurm: PretendedSlurm, tmp_path: Path) -> None:
    """A run that is still starting ignores the signal; the next one counts."""
    ready = tmp_path / "starting"
    program = (
        "#!/usr/bin/env python3\n"
        "import pathlib, signal, sys, time\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(1.0)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))\n"
        "time.sleep(60)\n"
    )
    slurm.program("protmpi", "", slurm.venv / "bin")
    (slurm.venv / "bin" / "protmpi").write_text(program)
    process = slurm.start("sweep.sh", "c.toml")
    while not ready.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert slurm.called("scontrol") == ["requeue 7"]


@pytest.mark.parametrize("status", [1, 2, 137])
def test_a_failure_ends_the_job_with_its_status(slurm: PretendedSlurm, status: int) -> None:
    assert slurm.run(f"exit {status}")[0] == status
    assert slurm.called("scontrol") == []


def test_a_launcher_that_starts_nothing_does_not_end_well(slurm: PretendedSlurm, tmp_path: Path) -> None:
    """srun exits 0 after "aborted before step completely launched": a job in which nothing ran would be COMPLETED."""
    (tmp_path / "t").mkdir()
    slurm.program("srun", 'echo "srun: error: task 0 launch failed" >&2; exit 0')
    status, output = slurm.run("exit 0", TMPDIR=str(tmp_path / "t"))
    assert status == 1
    assert output.splitlines()[-1].startswith("protmpi: srun ended without starting a rank")
    assert slurm.called("protmpi") == slurm.called("scontrol") == []
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("status", [0, 1, 75])
def test_a_run_leaves_no_file_on_its_node(slurm: PretendedSlurm, tmp_path: Path, status: int) -> None:
    (tmp_path / "t").mkdir()
    slurm.run(f"exit {status}", TMPDIR=str(tmp_path / "t"))
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", ""])
def test_a_job_that_slurm_already_ends_is_left_alone(slurm: PretendedSlurm, state: str) -> None:
    """Cancelled, or requeued by Slurm itself after a node failure or a preemption."""
    slurm.program("squeue", f'echo "{state}"')
    status, output = slurm.run("exit 75")
    assert status == 75
    assert slurm.called("scontrol") == []
    assert "left alone" in output


def test_without_scontrol_or_where_it_refuses_the_user_is_told(slurm: PretendedSlurm) -> None:
    status, output = slurm.run("exit 75", SCONTROL="1")
    assert (status, "submit the same command again" in output) == (75, True)
    (slurm.bin / "scontrol").unlink()
    given = {"PATH": f"{slurm.bin}:{slurm.bin}/coreutils"}
    (slurm.bin / "coreutils").mkdir()
    for name in ("bash", "dirname", "mktemp", "rm", "sleep"):
        (slurm.bin / "coreutils" / name).symlink_to(shutil.which(name) or name)
    status, output = slurm.run("exit 75", **given)
    assert (status, "submit the same command again" in output) == (75, True)
    assert "command not found" not in output


def test_requeuing_can_be_switched_off(slurm: PretendedSlurm) -> None:
    status, _ = slurm.run("exit 75", PROTMPI_REQUEUE="0")
    assert status == 75
    assert slurm.called("scontrol") == []


def test_a_container_takes_the_place_of_the_environment(slurm: PretendedSlurm) -> None:
    slurm.program("apptainer", 'exit ${PYTHONPATH:+9}')  # its packages are not those of the host
    assert slurm.run("exit 0", PROTMPI_CONTAINER="p.sif", SLURM_JOB_GPUS="0", PYTHONPATH="/host")[0] == 0
    assert slurm.run("exit 0", PROTMPI_CONTAINER="p.sif")[0] == 0
    assert slurm.called("apptainer") == ["exec --nv p.sif protmpi run c.toml", "exec p.sif protmpi run c.toml"]
    assert slurm.called("protmpi") == []


def test_a_script_submitted_from_elsewhere_says_what_to_do(slurm: PretendedSlurm, tmp_path: Path) -> None:
    status, output = slurm.run("exit 0", SLURM_SUBMIT_DIR=str(tmp_path))
    assert status == 2
    assert "slurm/common.sh: No such file" in output
    assert slurm.run("exit 0", SLURM_SUBMIT_DIR=str(tmp_path), PROTMPI_HOME=str(ROOT))[0] == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_is_clean(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here: apt-get install shellcheck")
    done = subprocess.run(["shellcheck", "-x", "-P", ROOT, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", sorted(ROOT.glob("slurm/*.sh")), ids=lambda path: path.name)
def test_slurm_sees_every_line_that_is_meant_for_it(script: Path) -> None:
    """sbatch stops reading at the first command."""
    lines = script.read_text().splitlines()
    commands = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    requests = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert not requests or max(requests) < min(commands)
