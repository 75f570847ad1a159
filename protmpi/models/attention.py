"""Attention within each sequence, with its pullback: the general case, a first block without dropout, and heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from protmpi.models.batch import ChosenRows, Rows
from protmpi.models.layers import Arrays, one_hot, select, sum_by


def attend(x: Tensor, q: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """M = A X and A = softmax(Q Xᵀ), row-wise, for every sequence X (L, d) of x (W, B, L, d).

    q (W, R, d) are queries at `rows`. Returns M (W, R, d), A (W, R, L) and the pullback dM -> (dQ, dX):

        dS = A (dM Xᵀ - row sums of A (dM Xᵀ))      dQ = dS X      dX = dSᵀ Q + Aᵀ dM
    """
    sequences, queries = rows.sequences(x), rows.by_sequence(q)
    scores = q.new_empty(*q.shape[:2], x.shape[2])
    for xs, qs, out in zip(sequences, queries, rows.by_sequence(scores), strict=True):
        torch.bmm(qs, xs.mT, out=out)
    a = torch.softmax(scores, -1)
    maps, mixed = rows.by_sequence(a), torch.empty_like(q)
    for xs, weights, out in zip(sequences, maps, rows.by_sequence(mixed), strict=True):
        torch.bmm(weights, xs, out=out)

    def pullback(dm: Tensor) -> tuple[Tensor, Tensor]:
        da, dq, dx = torch.empty_like(a), torch.empty_like(q), torch.empty_like(x)
        d_mixed = rows.by_sequence(dm)
        for xs, dms, out in zip(sequences, d_mixed, rows.by_sequence(da), strict=True):
            torch.bmm(dms, xs.mT, out=out)
        ds = softmax_backward(a, da)
        for xs, dss, out in zip(sequences, rows.by_sequence(ds), rows.by_sequence(dq), strict=True):
            torch.bmm(dss, xs, out=out)
        for qs, dss, weights, dms, out in zip(
            queries, rows.by_sequence(ds), maps, d_mixed, rows.sequences(dx), strict=True
        ):
            torch.bmm(dss.mT, qs, out=out).baddbmm_(weights.mT, dms)
        return dq, dx

    return mixed, a, pullback


def attend_embedded(
    p: Arrays, weight: str, scale: float, positions: Tensor, tokens: Tensor, rows: ChosenRows
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor, Arrays], None]]:
    """Attention on X = E[token] + PE, for rows that all hold the last token, the mask.

    A query then depends on its site alone. A score is a sum of two terms, of (site, attended token) and of (site,
    attended site), so products with X become products with E and PE. Returns the X of the queries (W, R, d), M = A X
    (W, R, d) and the pullback.
    """
    e, vocabulary, length = p["E"], p["E"].shape[1], tokens.shape[2]
    attended = rows.owners(tokens)

    def collect(by_site: Tensor) -> Tensor:
        """Sums (W, R, V) of (W, R, L) over attended sites with equal tokens."""
        if by_site.is_cuda:  # scatter_add_ adds in random order on a GPU
            (each,), (hot,) = rows.by_sequence(by_site), rows.sequences(one_hot(tokens, vocabulary, e.dtype))
            return torch.bmm(each, hot).view(*by_site.shape[:2], vocabulary)
        return by_site.new_zeros(*by_site.shape[:2], vocabulary).scatter_add_(2, attended, by_site)

    def spread(by_token: Tensor) -> Tensor:
        """Values (W, R, L) of (W, R, V) at the token of each attended site."""
        return by_token.gather(2, attended)

    x = e[:, -1:] + positions
    q = (x @ p[weight].mT).mul_(scale)
    scores = spread(select(q @ e.mT, rows.sites)).add_(select(q @ positions.mT, rows.sites))
    a = torch.softmax(scores, -1)
    a_token = collect(a)
    mixed = (a @ positions).baddbmm_(a_token, e)

    def pullback(dx_rows: Tensor, dm: Tensor, g: Arrays) -> None:
        ds = softmax_backward(a, spread(dm @ e.mT).add_(dm @ positions.mT))
        ds_token = sum_by(rows.sites, collect(ds), length)
        dq = (sum_by(rows.sites, ds, length) @ positions).baddbmm_(ds_token, e).mul_(scale)
        torch.bmm(dq.mT, x, out=g[weight])
        torch.baddbmm(ds_token.mT @ q, a_token.mT, dm, out=g["E"])
        g["E"][:, -1] += (dq.sum(1, keepdim=True) @ p[weight]).squeeze(1) + dx_rows.sum(1)

    return select(x, rows.sites), mixed, pullback


def attend_heads(
    q: Tensor, k: Tensor, v: Tensor, heads: int, real: Tensor | None = None
) -> tuple[Tensor, Tensor, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]]:
    """M = A V and A = softmax(Q Kᵀ / √(d/heads)) in each head. Each head has d/heads of the d columns.

    q, k, v (W, B, L, d). `real` (W, B, L) is false at sites that no query attends to. Returns M (W, B, L, d),
    A (W, B, heads, L, L) and the pullback dM -> (dQ, dK, dV).
    """

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(2, 3)

    def join(x: Tensor) -> Tensor:
        return x.transpose(2, 3).flatten(-2)

    qs, ks, vs = split(q), split(k), split(v)
    scale = qs.shape[-1] ** -0.5
    scores = (qs @ ks.mT).mul_(scale)
    if real is not None:
        scores.masked_fill_(~real[:, :, None, None], -torch.inf)
    a = torch.softmax(scores, -1)

    def pullback(dm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dms = split(dm)
        ds = softmax_backward(a, dms @ vs.mT).mul_(scale)
        return join(ds @ ks), join(ds.mT @ qs), join(a.mT @ dms)

    return join(a @ vs), a, pullback


def softmax_backward(a: Tensor, da: Tensor) -> Tensor:
    """dS = A (dA - row sums of A dA) of A = softmax(S)."""
    return torch._softmax_backward_data(da, a, -1, a.dtype)
