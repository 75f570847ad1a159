"""The Zarr v3 store of one run: schema, writer, reader and commits. Knows neither torch nor MPI.

schema   which arrays there are, their axes, units and chunks, and which rank writes which chunk
writer   rows of the walkers of one rank, appended in memory and written chunk by chunk
commit   payload, fsync, then one atomic rename: only committed rows exist for readers
reader   committed rows as numpy arrays or an xarray.Dataset, progress, content digest
verify   whether a store holds what it promises, and the way back to the newest commit that does
files    every write of a run, whole or not at all; reading without trust
"""
