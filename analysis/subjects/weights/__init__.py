"""Sampled weights: overlaps, gains of the layer norms, and the smaller network that follows from them."""
