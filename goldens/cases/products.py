"""Matrix products, linear, convolutions."""

import torch
from torch.nn import functional as F

from golden import Inputs, Op, tensor

NAN, INF = float("nan"), float("inf")


def build():
    return [*_matmul(), *_convolution()]


def _matmul():
    op, draw = Op("matmul", torch.matmul), Inputs("matmul")
    shapes = {
        "2-d": ((2, 3), (3, 4)),
        "vector vector": ((4,), (4,)),
        "matrix vector": ((3, 4), (4,)),
        "vector matrix": ((3,), (3, 2)),
        "batched": ((2, 2, 3), (2, 3, 2)),
        "batch against one": ((2, 2, 3), (3, 2)),
        "one against batch": ((2, 3), (2, 3, 2)),
        "broadcast batches": ((2, 1, 2, 3), (3, 3, 2)),
        "batch vector": ((2, 2, 3), (3,)),
        "vector batch": ((3,), (2, 3, 2)),
        "size 1": ((1, 1), (1, 1)),
        "empty inner": ((2, 0), (0, 3)),
        "empty outer": ((0, 3), (3, 2)),
    }
    for name, (left, right) in shapes.items():
        op.case(name, draw.normal(*left), draw.normal(*right))
    op.case("NaN times zero", tensor([[NAN, 1.0], [INF, 2.0]]), tensor([[0.0, 1.0], [1.0, 0.0]]), grad=False)
    op.case("extremes", tensor([[1e4, -1e4]]), tensor([[1e4], [0.5]]))
    yield op

    op, draw = Op("dot", torch.dot), Inputs("dot")
    op.case("values", draw.normal(5), draw.normal(5))
    yield op
    op, draw = Op("outer", torch.outer), Inputs("outer")
    op.case("values", draw.normal(3), draw.normal(4))
    yield op

    op, draw = Op("linear", F.linear, ["input", "weight", "bias"]), Inputs("linear")
    op.case("bias", draw.normal(2, 3), draw.normal(4, 3), draw.normal(4))
    op.case("no bias", draw.normal(2, 3), draw.normal(4, 3))
    op.case("vector", draw.normal(3), draw.normal(2, 3), draw.normal(2))
    op.case("rank 3", draw.normal(2, 2, 3), draw.normal(2, 3), draw.normal(2))
    op.case("one feature", draw.normal(3, 1), draw.normal(1, 1), draw.normal(1))
    yield op


CONV1D = {
    "plain": ((2, 2, 6), (3, 2, 3), {}),
    "stride": ((1, 2, 7), (2, 2, 3), {"stride": 2}),
    "padding": ((1, 2, 4), (2, 2, 3), {"padding": 2}),
    "dilation": ((1, 2, 7), (2, 2, 3), {"dilation": 2}),
    "groups": ((1, 4, 5), (4, 2, 2), {"groups": 2}),
    "everything": ((2, 2, 9), (4, 1, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
}
CONV2D = {
    "plain": ((1, 2, 4, 5), (2, 2, 3, 3), {}),
    "batch": ((2, 1, 3, 4), (2, 1, 2, 2), {}),
    "1 x 1": ((1, 3, 2, 2), (2, 3, 1, 1), {}),
    "whole image": ((2, 2, 3, 3), (3, 2, 3, 3), {}),
    "stride": ((1, 2, 5, 5), (2, 2, 2, 2), {"stride": 2}),
    "stride pair": ((1, 1, 5, 6), (2, 1, 2, 3), {"stride": [2, 1]}),
    "stride leaves a rest": ((1, 1, 6, 5), (1, 1, 3, 2), {"stride": [2, 2]}),
    "padding": ((1, 2, 3, 3), (2, 2, 3, 3), {"padding": 1}),
    "padding pair": ((1, 1, 3, 4), (2, 1, 3, 3), {"padding": [2, 0]}),
    "dilation": ((1, 1, 5, 6), (2, 1, 2, 2), {"dilation": 2}),
    "dilation pair": ((1, 1, 5, 5), (1, 1, 3, 2), {"dilation": [1, 3]}),
    "groups": ((1, 4, 3, 3), (4, 2, 2, 2), {"groups": 2}),
    "depthwise": ((1, 3, 3, 3), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
    "depthwise, twice as wide": ((1, 2, 3, 3), (4, 1, 2, 2), {"groups": 2}),
    "everything": (
        (2, 2, 5, 4),
        (2, 1, 3, 2),
        {"stride": [2, 1], "padding": [1, 2], "dilation": [2, 3], "groups": 2},
    ),
}


# Kept small: these options have a second order in another case.
FIRST_ORDER_ONLY = {
    "batch",
    "stride",
    "stride leaves a rest",
    "padding pair",
    "dilation pair",
    "depthwise, twice as wide",
}


def _convolution():
    for name, run, table in (("conv1d", F.conv1d, CONV1D), ("conv2d", F.conv2d, CONV2D)):
        op, draw = Op(name, run, ["input", "weight", "bias"]), Inputs(name)
        for label, (image, kernel, options) in table.items():
            second = label not in FIRST_ORDER_ONLY
            op.case(label, draw.normal(*image), draw.normal(*kernel), draw.normal(kernel[0]), second=second, **options)
        image, kernel, _ = table["plain"]
        op.case("no bias", draw.normal(*image), draw.normal(*kernel))
        image = draw.normal(*image)
        image.view(-1)[3] = NAN
        op.case("NaN", image, torch.zeros(kernel, dtype=torch.float64), grad=False)
        yield op
