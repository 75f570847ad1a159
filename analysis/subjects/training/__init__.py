"""Learning curves of the reference weights."""
