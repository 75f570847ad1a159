"""`python -m protmpi`."""

from protmpi.cli import main

main()
