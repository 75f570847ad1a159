"""A task that the program does not know: a bowl U(w) = sum of k w²/2 over four parameters."""
