"""Gather, scatter, selection along an axis, and padding."""

import torch
from torch.nn import functional as F

from golden import Inputs, Op, ints, tensor

NAN = float("nan")


def build():
    return [*_index(), *_pad()]


def _index():
    op, draw = Op("gather", lambda x, index, axis: torch.gather(x, axis, index), ["input", "index"]), Inputs("gather")
    op.case("axis 0", draw.normal(4, 3), ints([[3, 0, 1], [0, 2, 1]]), axis=0)
    op.case("last axis, repeated", draw.normal(2, 4), ints([[1, 1, 1, 3, 0], [2, 2, 0, 0, 0]]), axis=-1)
    op.case("smaller index", draw.normal(3, 2, 3), ints([[[2, 0]], [[1, 1]]]), axis=2)
    op.case("empty index", draw.normal(2, 3), torch.zeros(2, 0, dtype=torch.int64), axis=1)
    op.case("NaN not chosen", tensor([[1.0, NAN, 3.0]]), ints([[0, 2, 0]]), axis=1)
    yield op

    def scatter_add(x, index, source, axis):
        return torch.scatter_add(x, axis, index, source)

    op, draw = Op("scatterAdd", scatter_add, ["input", "index", "source"]), Inputs("scatterAdd")
    op.case("axis 0", draw.normal(4, 3), ints([[3, 0, 1], [0, 2, 1]]), draw.normal(2, 3), axis=0)
    op.case("duplicates accumulate", draw.normal(2, 3), ints([[1, 1, 1, 0], [2, 2, 2, 2]]), draw.normal(2, 4), axis=1)
    op.case("index smaller than source", draw.normal(3, 3), ints([[0, 2]]), draw.normal(2, 3), grad=False, axis=-1)
    op.case("empty index", draw.normal(2, 3), torch.zeros(2, 0, dtype=torch.int64), draw.normal(2, 0), axis=1)
    yield op

    def index_select(x, index, axis):
        return torch.index_select(x, axis, index)

    op, draw = Op("indexSelect", index_select, ["input", "index"]), Inputs("indexSelect")
    op.case("axis 0", draw.normal(4, 3), ints([2, 0]), axis=0)
    op.case("repeated", draw.normal(3, 4), ints([1, 1, 3, 1, 0]), axis=1)
    op.case("middle axis", draw.normal(2, 3, 2), ints([2, 2, 0]), axis=-2)
    op.case("empty index", draw.normal(3, 2), torch.zeros(0, dtype=torch.int64), axis=0)
    yield op


def _pad():
    def pad(x, padding, mode="constant", value=None):
        """`padding` holds one [before, after] for each axis; PyTorch wants them flat, the last axis first."""
        flat = [amount for pair in reversed(padding) for amount in pair]
        if mode == "constant":
            return F.pad(x, flat, "constant", value)
        return F.pad(x, flat[: 2 * (x.dim() - 2)], mode)

    op, draw = Op("pad", pad), Inputs("pad")
    op.case("constant, 1-d", draw.normal(3), padding=[[1, 2]])
    op.case("constant, value", draw.normal(2, 3), padding=[[0, 1], [2, 0]], value=-1.5)
    op.case("constant, rank 3", draw.normal(2, 1, 2), padding=[[1, 0], [0, 2], [1, 1]], mode="constant", value=2.0)
    op.case("constant, from empty", draw.normal(0, 2), padding=[[1, 1], [0, 0]], value=1.0)
    for mode in ("reflect", "replicate", "circular"):
        op.case(f"{mode}, 1-d signal", draw.normal(1, 2, 4), padding=[[0, 0], [0, 0], [2, 1]], mode=mode)
        op.case(f"{mode}, image", draw.normal(1, 2, 3, 3), padding=[[0, 0], [0, 0], [1, 2], [2, 0]], mode=mode)
    op.case("reflect, as far as it goes", draw.normal(1, 1, 3), padding=[[0, 0], [0, 0], [2, 2]], mode="reflect")
    op.case(
        "replicate, further than the signal", draw.normal(1, 1, 2), padding=[[0, 0], [0, 0], [3, 4]], mode="replicate"
    )
    op.case("circular, once around", draw.normal(1, 1, 3), padding=[[0, 0], [0, 0], [3, 3]], mode="circular")
    yield op
