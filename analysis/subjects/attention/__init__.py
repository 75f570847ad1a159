"""Attention maps of a run, and the contacts in them."""
