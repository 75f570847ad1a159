"""Attention that measures distance: the Gaussian of a run, and the experiments of trainings."""
