"""Amino acids as tokens 0..19 and the mask as token 20 (docs/method/data.md section 2)."""

from __future__ import annotations

import numpy as np

AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
MASK = 20
MAX_LENGTH = 10_000  # residues; only titin is longer, and a contact map grows with L²

_TOKEN = np.full(256, MASK, dtype=np.uint8)
_TOKEN[np.frombuffer(AMINO_ACIDS.encode(), dtype=np.uint8)] = np.arange(20, dtype=np.uint8)


def encode(letters: str) -> np.ndarray:
    """Tokens (L,) uint8 of one-letter codes. Every letter outside the twenty becomes the mask token."""
    return _TOKEN[np.frombuffer(letters.encode("latin-1", errors="replace"), dtype=np.uint8)]


def decode(tokens: np.ndarray) -> str:
    """One-letter codes of tokens (L,); the mask token reads `X`."""
    return "".join((AMINO_ACIDS + "X")[token] for token in tokens)
