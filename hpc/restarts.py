"""How often a job may start again: not after two runs in a row that brought nothing.

Slurm starts a job again when its batch script asks for it at the time limit, when it was preempted, or when its node
was lost. A job that dies at the same place each time would do so for ever; here it ends instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from hpc.world import number
from protmpi.errors import SamplingError

NAME = "restarts.json"
FRUITLESS = 2  # runs in a row without progress after which a job gives up


def note(store: Path, step: int, environment: Mapping[str, str] = os.environ) -> None:
    """Note that this Slurm job, if it is one, starts with `step` steps committed; one process only.

    Raises SamplingError when the job was restarted and its last two runs committed nothing.
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
            pass  # this job's first start was not seen here, or the file is damaged: count from now
    path.write_text(json.dumps({"job": job, "starts": starts[-FRUITLESS - 1 :]}))
    if starts[-FRUITLESS - 1 :] == [step] * (FRUITLESS + 1):
        raise SamplingError(f"{store}: job {job} starts at step {step} for the third time: its last two runs committed "
                            "nothing; see the end of its log, ask for more --time, or lower run.draws_per_chunk, "
                            "then submit again")  # fmt: skip
