"""How fast protmpi is, in ratios that another machine can repeat, and what an independent sample costs.

commands      `protmpi bench` and `protmpi bench mixing`
progress      the line on stderr that says where they are
baseline      the straightforward implementation, timed in the same call
timings       of the product, of the baseline and of the machine
speed         the rows of `protmpi bench`, their table and their JSON
mixing        samplers from the same equilibrated weights: what an independent draw costs
mixing_run    from the options of `protmpi bench mixing` to its result
mixing_table  its numbers on the terminal and in Markdown
correlation   how long walkers remember
"""
