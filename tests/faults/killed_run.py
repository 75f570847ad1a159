"""A run of the command line, a rank of which is killed before it changes a certain file: RANK NAME run CONFIG ..."""

from __future__ import annotations

import sys
from pathlib import Path

from forked import Files

from hpc.world import launched_rank
from protmpi.cli import main


class UntilName(Files):
    """Ends at the first moment whose name has `name` in it."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name

    def moment(self, name: str, last_act: object = None) -> None:
        if self.name in name:
            self.end_at = len(self.moments) + 1
        super().moment(name)


if __name__ == "__main__":
    rank, name = int(sys.argv[1]), sys.argv[2]
    sys.argv = ["protmpi", *sys.argv[3:]]
    if launched_rank() == rank:
        UntilName(Path(sys.argv[2]).parent, name)
    main()
