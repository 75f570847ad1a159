"""The commands of `protmpi-analysis`, one file for each group."""
