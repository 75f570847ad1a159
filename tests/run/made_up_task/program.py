"""`protmpi` with one more line in the table of tasks."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from made_up_task.section import BowlConfig  # noqa: E402
from protmpi.kinds import TASKS, TaskKind  # noqa: E402

TASKS["bowl"] = TaskKind(BowlConfig, "made_up_task.bowl:Bowl", ("feedforward",))

if __name__ == "__main__":
    from protmpi.cli import main

    main()
