"""Ordering, rearranging, einsum, vector norms and similarities, recurrent cells."""

import torch
from torch.nn import functional as F

from golden import Inputs, Op, ints, tensor


def build():
    return [*_order(), *_rearrange(), *_einsum(), *_vectors(), *_cells()]


def _order():
    def sort(x, axis=-1, descending=False):
        return torch.sort(x, dim=axis, descending=descending, stable=True).values

    op, draw = Op("sort", sort), Inputs("sort")
    op.case("last axis", draw.distinct(3, 4))
    op.case("descending", draw.distinct(4, 2), axis=0, descending=True)
    op.case("middle axis", draw.distinct(2, 3, 2), axis=1)
    yield op

    def argsort(x, axis=-1, descending=False):
        return torch.argsort(x, dim=axis, descending=descending, stable=True)

    op, draw = Op("argsort", argsort), Inputs("argsort")
    op.case("last axis", draw.distinct(3, 4))
    op.case("equal", tensor([2.0, 1.0, 2.0, 1.0, 1.0]))
    op.case("equal, descending", tensor([2.0, 1.0, 2.0, 1.0, 1.0]), descending=True)
    yield op

    op, draw = Op("topk", lambda x, k, axis=-1, largest=True: torch.topk(x, k, axis, largest).values), Inputs("topk")
    op.case("last axis", draw.distinct(3, 5), k=2)
    op.case("least", draw.distinct(5, 2), k=3, axis=0, largest=False)
    op.case("all", draw.distinct(4), k=4)
    yield op


def _rearrange():
    op, draw = Op("tile", lambda x, repeats: torch.tile(x, tuple(repeats))), Inputs("tile")
    op.case("both axes", draw.normal(2, 3), repeats=[2, 2])
    op.case("fewer", draw.normal(2, 2), repeats=[3])
    op.case("more", draw.normal(2), repeats=[2, 1, 2])
    yield op

    def repeat(x, repeats, axis=None):
        return torch.repeat_interleave(x, repeats if isinstance(repeats, int) else torch.tensor(repeats), dim=axis)

    op, draw = Op("repeatInterleave", repeat), Inputs("repeatInterleave")
    op.case("axis 0", draw.normal(2, 3), repeats=2, axis=0)
    op.case("flat", draw.normal(2, 2), repeats=3)
    op.case("own counts", draw.normal(2, 3), repeats=[2, 0, 1], axis=-1)
    yield op
    op, draw = Op("roll", lambda x, shifts, axis=None: torch.roll(x, shifts, axis)), Inputs("roll")
    op.case("flat", draw.normal(2, 3), shifts=2)
    op.case("axis", draw.normal(3, 4), shifts=-5, axis=1)
    op.case("two axes", draw.normal(3, 4), shifts=[1, -1], axis=[0, 1])
    yield op
    op, draw = Op("diag", lambda x, offset=0: torch.diag(x, offset)), Inputs("diag")
    op.case("vector", draw.normal(3))
    op.case("vector, above", draw.normal(2), offset=1)
    op.case("matrix", draw.normal(3, 4))
    op.case("matrix, below", draw.normal(4, 3), offset=-2)
    yield op

    def diagonal(x, offset=0, axis1=0, axis2=1):
        return torch.diagonal(x, offset, axis1, axis2)

    op, draw = Op("diagonal", diagonal), Inputs("diagonal")
    op.case("middle axes", draw.normal(2, 3, 3), offset=1, axis1=1, axis2=2)
    op.case("outer axes", draw.normal(3, 2, 2), axis1=-1, axis2=0)
    op.case("beyond", draw.normal(2, 2), offset=5)
    yield op
    op, draw = Op("trace", torch.trace), Inputs("trace")
    op.case("values", draw.normal(3, 4))
    yield op


def _einsum():
    op, draw = Op("einsum", lambda *xs, equation: torch.einsum(equation, *xs)), Inputs("einsum")
    op.case("product", draw.normal(2, 3), draw.normal(3, 2), equation="ij,jk->ik")
    op.case("batched, transposed", draw.normal(2, 2, 3), draw.normal(2, 4, 3), equation="bij,bkj->bki")
    op.case("implicit", draw.normal(2, 3), draw.normal(4, 3), equation="kj,aj")
    op.case("diagonal and sum", draw.normal(3, 3, 2), equation="iij->j")
    op.case("diagonal kept", draw.normal(2, 3, 3), equation="bii->ib")
    op.case("outer", draw.normal(2), draw.normal(3), equation="i,j->ji")
    op.case("inner", draw.normal(2, 3), draw.normal(2, 3), equation="ij,ij->")
    op.case("ellipsis", draw.normal(2, 1, 2, 3), draw.normal(3, 3, 2), equation="...ij,...jk->...ik")
    op.case("ellipsis, implicit", draw.normal(2, 2, 3), draw.normal(3), equation="...i,i")
    op.case("three", draw.normal(2, 3), draw.normal(3, 4), draw.normal(4, 2), equation="ij,jk,kl->il")
    op.case("bilinear", draw.normal(2, 3), draw.normal(4, 3, 2), draw.normal(2, 2), equation="bi,oij,bj->bo")
    op.case("two sums", draw.normal(2, 3, 2), draw.normal(2, 2, 3), equation="abc,dcb->ad")
    op.case("empty", draw.normal(2, 0), draw.normal(0, 3), equation="ij,jk->ik")
    yield op


def _vectors():
    def normalize(x, axis=1, eps=1e-12):
        return F.normalize(x, dim=axis, eps=eps)

    op, draw = Op("l2Normalize", normalize), Inputs("l2Normalize")
    op.case("values", draw.normal(2, 3))
    op.case("axis", draw.normal(3, 2, 2), axis=0)
    op.case("shorter than eps", tensor([[0.25, 0.5], [3.0, 4.0]]), eps=2.0)
    yield op

    def similarity(a, b, axis=1, eps=1e-8):
        return F.cosine_similarity(a, b, dim=axis, eps=eps)

    op, draw = Op("cosineSimilarity", similarity), Inputs("cosineSimilarity")
    op.case("values", draw.normal(2, 3), draw.normal(2, 3))
    op.case("broadcast", draw.normal(2, 3), draw.normal(1, 3))
    op.case("last axis", draw.normal(2, 2, 3), draw.normal(2, 2, 3), axis=-1)
    yield op

    def embedding(a, b, target, margin=0.0, reduction="mean"):
        return F.cosine_embedding_loss(a, b, target, margin=margin, reduction=reduction)

    op, draw = Op("cosineEmbeddingLoss", embedding), Inputs("cosineEmbeddingLoss")
    for reduction in ("mean", "sum", "none"):
        a, b = draw.away_from_zero(0.25, 2, 4, 3), draw.away_from_zero(0.25, 2, 4, 3)
        op.case(reduction, a, b, ints([1, -1, 1, -1]), margin=-0.875, reduction=reduction)
    op.case("one pair", draw.normal(3), draw.normal(3), ints(1))
    yield op

    def triplet(a, p, n, margin=1.0, p_=2.0, swap=False, reduction="mean"):
        return F.triplet_margin_loss(a, p, n, margin=margin, p=p_, swap=swap, reduction=reduction)

    def renamed(a, positive, negative, p=2.0, **options):
        return triplet(a, positive, negative, p_=p, **options)

    op, draw = Op("tripletMarginLoss", renamed), Inputs("tripletMarginLoss")
    op.case("mean", *(draw.normal(4, 3) for _ in range(3)))
    op.case("sum, far", *(draw.normal(4, 3) for _ in range(3)), margin=8.0, reduction="sum")
    op.case("none, swapped", *(draw.normal(4, 3) for _ in range(3)), margin=4.0, swap=True, reduction="none")
    op.case("p 1", *(draw.normal(2, 3) for _ in range(3)), margin=4.0, p=1.0)
    yield op


def _cells():
    def sizes(gates):
        return ((2, 3), (2, 2), (2 * gates, 3), (2 * gates, 2), (2 * gates,), (2 * gates,))

    for name, gates, cell in (("rnnCell", 1, torch.rnn_tanh_cell), ("gruCell", 3, torch.gru_cell)):
        op, draw = Op(name, cell), Inputs(name)
        op.case("values", *(draw.normal(*size) for size in sizes(gates)))
        op.case("no bias", *(draw.normal(*size) for size in sizes(gates)[:4]))
        yield op

    def lstm(x, hidden, cell, *weights):
        return torch.cat(torch.lstm_cell(x, (hidden, cell), *weights), 1)

    op, draw = Op("lstmCell", lstm), Inputs("lstmCell")
    size = sizes(4)
    op.case("values", *(draw.normal(*one) for one in (size[0], size[1], *size[1:])))
    op.case("no bias", *(draw.normal(*one) for one in (size[0], size[1], *size[1:4])))
    yield op
