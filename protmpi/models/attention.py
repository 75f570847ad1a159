"""Attention within each sequence, with its pullback."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from protmpi.models.batch import Rows


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
        product = a * da
        ds = product.addcmul_(a, product.sum(-1, keepdim=True), value=-1.0)
        for xs, dss, out in zip(sequences, rows.by_sequence(ds), rows.by_sequence(dq), strict=True):
            torch.bmm(dss, xs, out=out)
        for qs, dss, weights, dms, out in zip(
            queries, rows.by_sequence(ds), maps, d_mixed, rows.sequences(dx), strict=True
        ):
            torch.bmm(dss.mT, qs, out=out).baddbmm_(weights.mT, dms)
        return dq, dx

    return mixed, a, pullback
