"""How it is sampled: one kernel per file in the order build / State / init / step. Knows no task, no MPI, no file.

streams          random numbers, one stream per (seed, walker, purpose)
noise            variance s² of the mini-batch gradient, masses, white noise
pseudo_langevin  the thermostat whose noise is partly the mini-batch's (METHOD section 2)
constrained      the same on the sphere |w|² = Q (METHOD section 3)
adaptation       when s² is estimated anew and what becomes of the masses (METHOD section 4)
block            walkers that are advanced together
"""
