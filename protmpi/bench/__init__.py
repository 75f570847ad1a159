"""Speed of protmpi, in ratios that another machine can repeat, and the cost of an independent sample.

commands      `protmpi bench` and `protmpi bench mixing`
progress      the line of progress on stderr
baseline      the straightforward implementation, timed in the same call
timings       timings of the product, of the baseline and of the machine
speed         the rows of `protmpi bench`, their table and their JSON
mixing        cost of an independent draw for samplers that start from the same equilibrated weights
mixing_run    the options and the result of `protmpi bench mixing`
mixing_table  its numbers on the terminal and in Markdown
correlation   autocorrelation times
"""
