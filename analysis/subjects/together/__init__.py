"""Several networks in one figure each."""
