"""Correlated series, errors, equilibrium and reweighting: arrays in, numbers out, no store and no subject."""
