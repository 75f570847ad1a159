"""The small problem on which whole runs are tested: 84 parameters."""

KSPIN = """
[data]
task = "kspin"
classes = 3
spins = 8
train = 200
val = 50
test = 50
[model]
kind = "feedforward"
layers = [5, 4]
"""
