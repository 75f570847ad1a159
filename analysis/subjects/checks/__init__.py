"""Numbers of a run whose right value is known."""
