"""A run of the command line, a rank of which is killed before it changes a certain file: RANK NAME run CONFIG ..."""

from __future__ import annotations

import sys
from pathlib import Path

from forked import Files

from hpc.world import launched_rank
from protmpi.cli import main

if __name__ == "__main__":
    rank, name = int(sys.argv[1]), sys.argv[2]
    sys.argv = ["protmpi", *sys.argv[3:]]
    if launched_rank() == rank:
        Files(Path(sys.argv[2]).parent, name)
    main()
