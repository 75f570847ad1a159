"""A job that brings nothing is not started for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc import restarts
from protmpi.errors import SamplingError


def life(job: str, restart: int) -> dict[str, str]:
    return {"SLURM_JOB_ID": job, **({"SLURM_RESTART_COUNT": str(restart)} if restart else {})}


def test_two_fruitless_runs_in_a_row_are_the_last(tmp_path: Path) -> None:
    for restart, step in enumerate([0, 40, 40, 80, 80]):
        restarts.note(tmp_path, step, life("7", restart))
    with pytest.raises(SamplingError, match="job 7 starts at step 80 for the third time"):
        restarts.note(tmp_path, 80, life("7", 5))
    with pytest.raises(SamplingError):
        restarts.note(tmp_path, 80, life("7", 6))


def test_a_user_may_start_as_often_as_he_likes(tmp_path: Path) -> None:
    for environment in ({}, life("7", 0)):
        for _ in range(5):
            restarts.note(tmp_path, 40, environment)
    assert list(tmp_path.iterdir())


def test_another_job_counts_anew(tmp_path: Path) -> None:
    for job, restart in (("7", 0), ("7", 1), ("8", 1), ("8", 2)):
        restarts.note(tmp_path, 40, life(job, restart))
    with pytest.raises(SamplingError):
        restarts.note(tmp_path, 40, life("8", 3))


def test_a_damaged_note_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / restarts.NAME).write_text("{")
    for restart in (4, 5):
        restarts.note(tmp_path, 40, life("7", restart))
    with pytest.raises(SamplingError):
        restarts.note(tmp_path, 40, life("7", 6))
