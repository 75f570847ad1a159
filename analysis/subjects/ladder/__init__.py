"""Walkers that move in temperature, and free energies along the ladder."""
