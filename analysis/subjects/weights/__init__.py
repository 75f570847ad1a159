"""Sampled weights: overlaps, gains of the layer norms, and the smaller network that they ask for."""
