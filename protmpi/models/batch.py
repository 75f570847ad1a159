"""Input of a network: sequences, and the rows (sequence, site) at which its output is needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """All sites of all sequences. A row is a (sequence, site) pair, and each walker has R rows.

    Rows come in groups of sequences with equally many rows, because a batched matrix product needs equal shapes.
    """

    groups: tuple[tuple[int, int], ...]
    """(number of sequences, rows of each sequence) of every group, in order. Views of several groups need W = 1."""

    sites: Tensor
    """(W, R) site of each row."""

    def take(self, x: Tensor) -> Tensor:
        """The rows (W, R, d) of x (W, B L, d)."""
        return x

    def add_to(self, x: Tensor, rows: Tensor) -> Tensor:
        """Add rows (W, R, d) to x (W, B L, d), in place."""
        return x.add_(rows)

    def at_sites(self, table: Tensor) -> Tensor:
        """Rows (W, R, k) of a table (L, k)."""
        return table.index_select(0, self.sites.flatten()).view(*self.sites.shape, -1)

    def by_sequence(self, rows: Tensor) -> list[Tensor]:
        """Views (sequences, rows of each, k) of rows (W, R, k), one for each group."""
        if len(self.groups) == 1:
            return [rows.view(-1, self.groups[0][1], rows.shape[-1])]
        parts = rows[0].split([count * width for count, width in self.groups])
        return [part.view(*group, -1) for part, group in zip(parts, self.groups, strict=True)]

    def sequences(self, x: Tensor) -> list[Tensor]:
        """Views (sequences, n, d) of x (W, B, n, d), one for each group."""
        if len(self.groups) == 1:
            return [x.flatten(0, 1)]
        return list(x[0].split([count for count, _ in self.groups]))


@dataclass(frozen=True)
class ChosenRows(Rows):
    """Some sites of the sequences, each at most once. Within a group, rows are padded to the widest sequence."""

    owner: Tensor
    """(W R,) the sequence of each row, counted through all walkers: 0 to W B - 1."""

    length: int

    def take(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, self._index()).view(*self.sites.shape, -1)

    def add_to(self, x: Tensor, rows: Tensor) -> Tensor:
        x.flatten(0, 1).index_add_(0, self._index(), rows.flatten(0, 1))
        return x

    def owners(self, x: Tensor) -> Tensor:
        """(W, R, k) of x (W, B, k): for each row the values of its sequence."""
        return x.flatten(0, 1).index_select(0, self.owner).view(*self.sites.shape, -1)

    def sum_per_sequence(self, rows: Tensor, sequences: int) -> Tensor:
        """Sums (W, B, k) over the rows (W, R, k) of each sequence, B = `sequences`."""
        if rows.is_cuda:  # index_add_ adds in random order on a GPU
            (each,) = self.by_sequence(rows)
            return each.sum(1).view(len(rows), sequences, -1)
        sums = rows.new_zeros(len(rows) * sequences, rows.shape[2])
        return sums.index_add_(0, self.owner, rows.flatten(0, 1)).view(len(rows), sequences, -1)

    def _index(self) -> Tensor:
        """Index of each row in (W B L, d)."""
        return torch.add(self.sites.flatten(), self.owner, alpha=self.length)


@dataclass(frozen=True)
class Batch:
    """Tokens (W, B, L), and the rows at which the output is needed. These rows hold the last token, the mask."""

    tokens: Tensor
    wanted: ChosenRows


def every_site(tokens: Tensor) -> Rows:
    """All sites of tokens (W, B, L)."""
    walkers, sequences, length = tokens.shape
    sites = torch.arange(length, device=tokens.device).expand(tokens.shape)
    return Rows(((sequences, length),), sites.reshape(walkers, -1))
