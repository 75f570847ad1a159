"""Numbers of a run whose correct value is known."""
