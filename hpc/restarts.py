"""Limit of restarts: a job ends after two runs in a row without progress.

Slurm starts a job again if its batch script asks for it at the time limit, if it was preempted, or if its node was
lost. A job that dies at the same step each time would restart forever; this limit ends it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from hpc.world import number
from protmpi.errors import SamplingError

NAME = "restarts.json"
FRUITLESS = 2  # runs in a row without progress after which a job ends


def note(store: Path, step: int, environment: Mapping[str, str] = os.environ) -> None:
    """Record the start of this Slurm job, if it is one, with `step` committed steps. Called by one process only.

    Raises SamplingError if the job was restarted and its last two runs committed nothing.
    """
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        return
    path, starts = store / NAME, [step]
    if number(environment, "SLURM_RESTART_COUNT"):
        try:
            known = json.loads(path.read_text())
            starts = [*known["starts"], step] if known["job"] == job else starts
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the first start of this job was not recorded, or the file is damaged: count from now
    path.write_text(json.dumps({"job": job, "starts": starts[-FRUITLESS - 1 :]}))
    if starts[-FRUITLESS - 1 :] == [step] * (FRUITLESS + 1):
        raise SamplingError(f"{store}: job {job} starts at step {step} for the third time: its last two runs committed "
                            "nothing; see the end of its log, ask for more --time, or lower run.draws_per_chunk, "
                            "then submit again")  # fmt: skip
