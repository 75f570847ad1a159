"""The Zarr v3 store of one run: schema, writer, reader and commits. It knows neither torch nor MPI.

schema   arrays with their axes, units and chunks, and the rank that writes each chunk
writer   rows of the walkers of one rank, appended in memory and written chunk by chunk
commit   payload, fsync, then one atomic rename: readers see committed rows only
reader   committed rows as numpy arrays or an xarray.Dataset, progress, content digest
verify   check of a whole store, and the return to the newest whole commit
files    writes that happen whole or not at all; reads of untrusted files
"""
