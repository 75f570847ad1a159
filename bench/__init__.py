"""How fast protmpi is, in ratios that another machine can repeat.

baseline    the straightforward implementation, timed in the same call
measure     timings of the product, and of the machine
command     the table and the JSON of `protmpi bench`
yardstick   a script: two runs of one problem by two samplers
ends        a script: the ends of a run as the start of another sampler
tempering   a script: replica exchange against independent walkers
exchange    a script: what a sweep of replica exchange costs a rank of many
"""
