"""The machine, and no science.

world     ranks and collectives
devices   rank -> GPU and threads
doctor    what is wrong with the machine, before a run
lock      who writes a store
stop      when to stop
launch    command lines -> jobs, through submitit
jobs      what became of them
restarts  how often to start again
"""
