"""The reference weights that a store or a weights file may hold."""

REFERENCES = {"ES": "es", "OT": "ot"}
"""Label of each set of reference weights (early-stopped, over-trained) and the prefix of its arrays."""
