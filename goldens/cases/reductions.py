"""Reductions, scans and the softmax family."""

import torch

from golden import Inputs, Op, ints, mask, tensor

NAN, INF = float("nan"), float("inf")


def build():
    return [*_sums(), *_order(), *_spread(), *_norms(), *_bools(), *_scans(), *_softmax()]


def _axes(x, axis):
    """PyTorch's dim for NanoFlux's axis: a number, a list, or absent for all."""
    if axis is None:
        return tuple(range(x.dim()))
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _several(run):
    """A reduction whose PyTorch function takes a tuple of axes."""
    return lambda x, axis=None, keepDims=False, **rest: run(x, dim=_axes(x, axis), keepdim=keepDims, **rest)


def _prod(x, axis=None, keepDims=False):
    """torch.prod takes one axis; several are done one by one."""
    for dim in sorted((dim % x.dim() for dim in _axes(x, axis)), reverse=True):
        x = torch.prod(x, dim=dim, keepdim=keepDims)
    return x


def _layouts(op, make, **options):
    op.case("all", make(3, 4), **options)
    op.case("axis 0", make(3, 4), axis=0, **options)
    op.case("last axis, kept", make(2, 3, 4), axis=-1, keepDims=True, **options)
    op.case("two axes", make(2, 3, 4), axis=[0, 2], **options)
    op.case("middle axis", make(2, 3, 4), axis=1, **options)


def _sums():
    for name, run in (("sum", _several(torch.sum)), ("mean", _several(torch.mean))):
        op, draw = Op(name, run), Inputs(name)
        _layouts(op, draw.normal)
        op.case("one entry", draw.normal(1), axis=0)
        op.case("scalar", draw.normal())
        op.case("notFinite", tensor([[1.0, NAN], [INF, 1.0], [INF, -INF]]), grad=False, axis=1)
        op.case("empty axis", draw.normal(0, 2), grad=False, axis=0)
        op.case("extremes", tensor([1e4, -1e4, 1e4, 0.0]))
        yield op
    op, draw = Op("prod", _prod), Inputs("prod")
    _layouts(op, lambda *shape: draw.away_from_zero(0.5, 1.5, *shape))
    op.case("zeros", tensor([[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [2.0, 4.0, 0.5]]), axis=1)
    op.case("zero among all", tensor([[2.0, -1.5], [0.0, 3.0]]))
    op.case("notFinite", tensor([[1.0, NAN], [INF, 0.0], [INF, -2.0]]), grad=False, axis=1)
    op.case("empty axis", draw.normal(0, 2), grad=False, axis=0)
    yield op


def _order():
    for name, run in (("max", torch.amax), ("min", torch.amin)):
        op, draw = Op(name, _several(run)), Inputs(name)
        _layouts(op, draw.distinct)
        op.case("ties share the gradient", tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, -1.0, 5.0]]), axis=1)
        op.case("ties over all", tensor([[3.0, 1.0], [1.0, 3.0]]))
        op.case("notFinite", tensor([[1.0, NAN], [INF, -INF], [-INF, -INF]]), grad=False, axis=1)
        op.case("extremes", tensor([1e4, -1e4, 0.0]))
        yield op
    for name, run in (("argmax", torch.argmax), ("argmin", torch.argmin)):
        op = Op(name, lambda x, axis=None, keepDims=False, run=run: run(x, dim=axis, keepdim=keepDims))
        draw = Inputs(name)
        op.case("all", draw.distinct(3, 4))
        op.case("axis 0", draw.distinct(3, 4), axis=0)
        op.case("last axis, kept", draw.distinct(2, 3, 4), axis=-1, keepDims=True)
        op.case("first on ties", tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, -1.0, 5.0]]), axis=1)
        op.case("NaN wins", tensor([[1.0, NAN, INF], [NAN, 2.0, NAN], [-INF, INF, INF]]), axis=1)
        yield op


def _spread():
    for name, run in (("var", torch.var), ("std", torch.std)):
        op = Op(
            name,
            lambda x, axis=None, keepDims=False, ddof=1, run=run: run(
                x, dim=_axes(x, axis), keepdim=keepDims, correction=ddof
            ),
        )
        draw = Inputs(name)
        _layouts(op, draw.normal, ddof=1)
        op.case("ddof 0", draw.normal(2, 5), axis=1, ddof=0)
        op.case("ddof 2", draw.normal(2, 5), axis=1, ddof=2)
        op.case("constant", tensor([[2.0, 2.0, 2.0]]), axis=1, second=False, ddof=0)
        op.case("one entry, ddof 1", tensor([[2.0], [3.0]]), grad=False, axis=1, ddof=1)
        op.case("one entry, ddof 0", tensor([[2.0], [3.0]]), second=False, axis=1, ddof=0)
        op.case("far from zero", 1024 + draw.normal(8), ddof=0)
        op.case("notFinite", tensor([[1.0, NAN], [INF, 1.0]]), grad=False, axis=1, ddof=0)
        yield op


def _norms():
    def norm(x, p=2.0, axis=None, keepDims=False):
        return torch.linalg.vector_norm(x, ord=p, dim=_axes(x, axis), keepdim=keepDims)

    op, draw = Op("norm", norm), Inputs("norm")
    for p in (2.0, 1.0, 3.0):
        op.case(f"p {p:g}", draw.away_from_zero(0.25, 2, 2, 3), p=p)
        op.case(f"p {p:g}, axis", draw.away_from_zero(0.25, 2, 2, 3), p=p, axis=1)
    op.case("p Infinity", draw.distinct(3, 4), p=INF, axis=-1, keepDims=True)
    op.case("p -Infinity", draw.distinct(3, 4) + 4, p=-INF, axis=0)
    op.case("p 0", tensor([[0.0, 2.0, -1.0]]), grad=False, p=0.0)
    op.case("two axes", draw.normal(2, 3, 2), axis=[0, 2])
    op.case("all zero", tensor([[0.0, 0.0], [3.0, 4.0]]), second=False, axis=1)
    op.case("p 1 at zero", tensor([0.0, -2.0, 3.0]), second=False, p=1.0)
    op.case("p Infinity, ties", tensor([-2.0, 2.0, 1.0]), second=False, p=INF)
    op.case("notFinite", tensor([[1.0, NAN], [INF, 1.0]]), grad=False, axis=1)
    op.case("extremes", tensor([1e4, -1e4]))
    yield op

    op, draw = Op("logSumExp", _several(torch.logsumexp)), Inputs("logSumExp")
    _layouts(op, draw.normal)
    op.case("extremes", tensor([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4], [0.0, 1e4, 2.0]]), axis=1)
    op.case("partly -inf", tensor([[0.5, -INF, 1.0]]), second=False, axis=1)
    op.case("notFinite", tensor([[-INF, -INF], [INF, 1.0], [INF, INF], [NAN, 1.0]]), grad=False, axis=1)
    yield op


def _bools():
    rows = mask([[False, False, True], [False, False, False], [True, True, True]])
    for name, run in (("any", torch.any), ("all", torch.all)):
        op = Op(name, _several(run))
        op.case("all", rows)
        op.case("axis", rows, axis=1)
        op.case("kept", rows, axis=0, keepDims=True)
        op.case("empty axis", mask([[], []]), axis=1)
        yield op
    op = Op("countNonzero", lambda x, axis=None: torch.count_nonzero(x, dim=_axes(x, axis)))
    op.case("all", tensor([[0.0, 1.5, -0.0], [NAN, -2.0, 0.0]]))
    op.case("axis", tensor([[0.0, 1.5, -0.0], [NAN, -2.0, 0.0]]), axis=0)
    yield op


def _reversible(run):
    def scan(x, axis, reverse=False):
        return run(x.flip(axis), axis).flip(axis) if reverse else run(x, axis)

    return scan


def _scans():
    op, draw = Op("cumsum", _reversible(torch.cumsum)), Inputs("cumsum")
    op.case("axis 0", draw.normal(4, 2), axis=0)
    op.case("last axis", draw.normal(2, 2, 3), axis=-1)
    op.case("reverse", draw.normal(2, 4), axis=1, reverse=True)
    op.case("NaN onwards", tensor([1.0, NAN, 2.0]), grad=False, axis=0)
    op.case("integers", ints([3, -1, 4]), axis=0)
    yield op
    op, draw = Op("cumprod", _reversible(torch.cumprod)), Inputs("cumprod")
    op.case("axis 0", draw.away_from_zero(0.5, 1.5, 4, 2), axis=0)
    op.case("last axis", draw.away_from_zero(0.5, 1.5, 2, 2, 3), axis=-1)
    op.case("reverse", draw.away_from_zero(0.5, 1.5, 2, 4), axis=1, reverse=True)
    op.case("zeros", tensor([[2.0, 0.0, 3.0, 1.5], [0.0, 2.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]]), axis=1)
    yield op
    op = Op("cummax", _reversible(lambda x, axis: torch.cummax(x, axis).values))
    draw = Inputs("cummax")
    op.case("axis 0", draw.distinct(4, 2), axis=0)
    op.case("reverse", draw.distinct(2, 4), axis=1, reverse=True)
    op.case("NaN onwards", tensor([1.0, NAN, 2.0]), grad=False, axis=0)
    yield op


def _softmax():
    for name, run in (("softmax", torch.softmax), ("logSoftmax", torch.log_softmax)):
        op, draw = Op(name, lambda x, axis, run=run: run(x, axis)), Inputs(name)
        op.case("last axis", draw.normal(3, 4), axis=-1)
        op.case("axis 0", draw.normal(3, 4), axis=0)
        op.case("middle axis", draw.normal(2, 3, 2), axis=1)
        op.case("one entry", draw.normal(3, 1), axis=1)
        op.case("extremes", tensor([[1e4, -1e4, 0.0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]]), axis=1)
        op.case("masked by -inf", tensor([[0.5, -INF, 1.0], [-INF, 2.0, -INF]]), second=False, axis=1)
        op.case("notFinite", tensor([[-INF, -INF], [INF, 1.0], [NAN, 1.0]]), grad=False, axis=1)
        yield op
