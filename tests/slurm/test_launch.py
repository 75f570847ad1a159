"""`protmpi launch` with a Slurm that is only pretended: what is submitted, and what follows when things go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import ROOT, wait_for_commit
from commands import Command, digest
from pretended import PretendedSlurm

from hpc import jobs
from hpc.jobs import Job, Launch, Resources
from hpc.launch import Queue, submit
from protmpi.campaign import standing
from protmpi.errors import LaunchError
from protmpi.store.reader import Store

SMOKE = ROOT / "configs" / "smoke.toml"
RESOURCES = Resources(nodes=2, ranks_per_node=4, gpus_per_node=4, minutes=60)
RANKS = """\
trap 'echo committed >>"{folder}/ranks"; exit 75' USR1
echo started >>"{folder}/ranks"
rm -f "$4" # bash -c SCRIPT FILE: a rank that begins takes the file of slurm/common.sh away
[ -e "{folder}/status" ] && exit "$(cat "{folder}/status")"
while :; do sleep 0.05; done
"""


class Submitted:
    """One job in the pretended queue, with a launcher whose ranks run until they are told to commit."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slurm, self.folder = PretendedSlurm(folder), folder / "launch"
        self.folder.mkdir()
        self.slurm.program("sbatch", f'cp "$1" "{folder}/script.sh"; echo "Submitted batch job 7"')
        self.slurm.program("ranks", RANKS.format(folder=folder))
        self.ranks, self.status = folder / "ranks", folder / "status"
        monkeypatch.setenv("PATH", f"{self.slurm.bin}:{os.environ['PATH']}")
        self.launch = submit(self.folder, [Job("", "a", [["run", "a.toml"]], "a.zarr")],
                             Queue("slurm", 8, ["partition=gpu", "exclusive"]), RESOURCES)  # fmt: skip
        self.script = (folder / "script.sh").read_text()

    def start(self, restart: int = 0, **environment: str) -> subprocess.Popen[str]:
        """What Slurm does with the script; returns when the ranks are there."""
        seen = self.lines().count("started")
        given = {**os.environ, "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restart),
                 "PROTMPI_LAUNCHER": str(self.slurm.bin / "ranks"), **environment}  # fmt: skip
        process = subprocess.Popen(["bash", "-c", self.script], env=given, text=True, start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        while self.lines().count("started") == seen and process.poll() is None:
            time.sleep(0.05)
        return process

    def lines(self) -> list[str]:
        return self.ranks.read_text().splitlines() if self.ranks.exists() else []

    def state(self, queued: str | None, blind: bool = False) -> str:
        return jobs.state(jobs.read_lives(self.launch.jobs[0].lives(self.folder)), queued, blind)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submitted:
    return Submitted(tmp_path, monkeypatch)


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Status and output after a signal to the job's first process."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def test_the_batch_script_asks_for_what_was_wanted(job: Submitted) -> None:
    asked = {line.removeprefix("#SBATCH --") for line in job.script.splitlines() if line.startswith("#SBATCH")}
    assert asked >= {"nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "time=60", "partition=gpu", "exclusive",
                     "requeue", "signal=B:USR2@120", "open-mode=append"}  # fmt: skip
    assert f"exec env PYTHONPATH={job.folder}/code" in job.script
    assert f" {sys.executable} -P -u -m submitit" in job.script
    assert job.launch.jobs == [Job("7", "a", [["run", "a.toml"]], "a.zarr")]
    assert job.state("pending") == "pending"


def test_a_job_runs_the_code_of_its_launch(job: Submitted) -> None:
    """What becomes of the checkout is shown the other way round: the copy is broken, and the job breaks."""
    code = job.folder / "code"
    with (code / "hpc" / "launch.py").open("a") as file:
        file.write('print("launched with the copy", flush=True)\n')
    (code / "protmpi" / "cli.py").write_text("raise SystemExit(9)\n")
    process = job.start(PROTMPI_LAUNCHER="env")
    output, _ = process.communicate(timeout=120)
    assert "launched with the copy" in output
    assert "protmpi run a.toml ended with status 9" in output


def test_the_time_limit_commits_and_requeues_and_the_next_life_finishes(job: Submitted) -> None:
    status, output = end(job.start(), signal.SIGUSR2)
    assert status != 0
    assert job.lines() == ["started", "committed"], output
    assert job.slurm.called("scontrol") == ["requeue 7"]
    assert job.state("pending") == "pending"
    job.status.write_text("0")
    process = job.start(restart=1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert job.state("completing") == job.state(None) == "finished"
    assert all("run a.toml" in call for call in job.slurm.called("ranks"))


@pytest.mark.parametrize("scontrol", ["missing", "refuses"])
def test_without_scontrol_the_run_is_committed_and_the_user_told(job: Submitted, scontrol: str) -> None:
    job.slurm.program("scontrol", "exit 1")
    if scontrol == "missing":
        (job.slurm.bin / "scontrol").write_text("")  # a file that is no program: the real one may be on this machine
    status, output = end(job.start(), signal.SIGUSR2)
    assert status == 1
    assert "committed and not requeued" in output
    assert job.lines() == ["started", "committed"]
    assert job.state(None) == "stopped"


def test_a_preempted_job_commits_and_leaves_the_requeue_to_slurm(job: Submitted) -> None:
    """Slurm sends TERM, and then KILL after a grace time."""
    status, output = end(job.start(), signal.SIGTERM)
    assert status == 1, output
    assert job.lines() == ["started", "committed"]
    assert job.slurm.called("scontrol") == []
    assert job.state("pending") == "pending"
    assert job.state("cancelled") == "stopped"


def test_a_lost_node_leaves_no_note_and_the_next_life_goes_on(job: Submitted) -> None:
    process = job.start()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert job.state("node_fail") == "node_fail"
    assert job.state(None) == "lost"
    assert job.state(None, blind=True) == "started"
    job.status.write_text("0")
    process = job.start(restart=1)
    process.communicate(timeout=120)
    assert job.state(None) == "finished"


def test_a_failure_is_not_requeued(job: Submitted) -> None:
    job.status.write_text("2")
    process = job.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "protmpi run a.toml ended with status 2" in output
    assert job.state("failed") == "failed (2)"
    assert job.slurm.called("scontrol") == []


def test_a_refusal_of_slurm_is_one_line_and_leaves_nothing(
    protmpi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = PretendedSlurm(tmp_path)
    slurm.program("sbatch", 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1')
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    done = protmpi("launch", SMOKE, "--executor", "slurm", "--partition", "gpu",
                   "--folder", tmp_path / "launch")  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: sbatch refused:")
    assert "invalid partition specified: gpu" in done.stderr
    assert not (tmp_path / "launch").exists()


def test_time_that_was_paid_for() -> None:
    began, stopped = {"began": 100.0}, {"ended": 160.0, "status": 75}
    assert jobs.seconds([], 50.0) == 0.0
    assert jobs.seconds([began], 130.0) == 30.0
    assert jobs.seconds([began, stopped], 999.0) == 60.0
    assert jobs.seconds([began, stopped, {"began": 200.0}], 230.0) == 90.0
    assert jobs.seconds([began, {"began": 5000.0}, {"ended": 5010.0, "status": 0}], 9999.0) == 10.0


@pytest.mark.parametrize(("given", "minutes"), [("90", 90), ("24:00:00", 1440), ("2-12:30:00", 3630)])
def test_time_limits_are_read_as_slurm_reads_them(given: str, minutes: int) -> None:
    assert jobs.minutes(given) == minutes


@pytest.mark.parametrize("given", ["", "0", "1h", "12:30", "00:00:30", "-1"])
def test_another_time_limit_is_refused(given: str) -> None:
    with pytest.raises(LaunchError, match="--time"):
        jobs.minutes(given)


@pytest.mark.parametrize(
    ("queue", "resources", "message"),
    [
        (Queue("slurm", 1, ["account"]), RESOURCES, "no sbatch on this machine"),
        (Queue("slurm", 1, ["Account NAME"]), RESOURCES, "--sbatch Account NAME"),
        (Queue("local", 1, []), RESOURCES, "--nodes"),
        (Queue("local", 1, []), Resources(1, 10_000, 0, 60), "would start at once"),
    ],
)
def test_what_cannot_be_submitted_from_here(
    queue: Queue, resources: Resources, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LaunchError, match=message):
        queue.check(1, resources)


def test_a_folder_without_a_launch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="give the folder"):
        Launch.read(tmp_path)
    (tmp_path / jobs.INDEX).write_text("{}")
    with pytest.raises(LaunchError, match="damaged"):
        Launch.read(tmp_path)


@pytest.mark.slow
def test_two_values_on_this_machine(protmpi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From launch to jobs, with the stores that the commands typed by hand give."""
    monkeypatch.chdir(tmp_path)
    short = ["--set", "run.steps=200", "--set", "execution.store=a.zarr"]
    done = protmpi("launch", SMOKE, "--executor", "local", "--sweep", "run.seed=1,2", "--folder", "launch", *short)
    assert done.returncode == 0, done.stderr
    while any(row["state"] == "running" for row in standing(Path("launch"))):
        time.sleep(0.5)
    assert [(row["state"], row["step"], row["name"]) for row in standing(Path("launch"))] == [
        ("finished", 200, "smoke-seed=1"), ("finished", 200, "smoke-seed=2")
    ]  # fmt: skip
    assert "100 %" in protmpi("jobs", "launch").stdout
    by_hand = digest(protmpi, SMOKE, tmp_path / "hand.zarr", *short, "--set", "run.seed=2")
    assert Store("a-seed=2.zarr").digest() == by_hand != Store("a-seed=1.zarr").digest()


@pytest.mark.slow
def test_a_job_on_this_machine_is_stopped_by_kill(
    protmpi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = protmpi("launch", SMOKE, "--executor", "local", "--folder", "launch",
                   "--set", "run.steps=1000000", "--set", "execution.store=a.zarr")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = standing(Path("launch"))
    wait_for_commit(Path("a.zarr"))
    os.kill(int(row["job"]), signal.SIGTERM)
    while (row := standing(Path("launch"))[0])["state"] == "running":
        time.sleep(0.5)
    assert row["state"] == "stopped"
    assert "SIGUSR1: committed at step" in Path(row["log"]).read_text()
