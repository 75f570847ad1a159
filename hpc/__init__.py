"""The machine, and no science.

world     ranks and collectives
devices   rank -> GPU and threads
doctor    checks of the machine before a run
lock      one writer per store
stop      when to stop
launch    command lines -> jobs, through submitit
jobs      states of the jobs
restarts  limit of restarts
"""
