"""Max and average pooling."""

import torch
from torch.nn import functional as F

from golden import Inputs, Op, tensor

NAN, INF = float("nan"), float("inf")


def max_pool2d(x, kernelSize, stride=None, padding=0, dilation=1, ceilMode=False):
    return F.max_pool2d(x, kernelSize, stride, padding, dilation, ceilMode)


def avg_pool2d(x, kernelSize, stride=None, padding=0, ceilMode=False, countIncludePad=True):
    return F.avg_pool2d(x, kernelSize, stride, padding, ceilMode, countIncludePad)


SHARED = {
    "plain": ((2, 2, 4, 4), {"kernelSize": 2}),
    "kernel pair": ((1, 1, 4, 6), {"kernelSize": [2, 3]}),
    "overlap": ((1, 2, 4, 4), {"kernelSize": 3, "stride": 1}),
    "stride pair": ((1, 1, 5, 6), {"kernelSize": 2, "stride": [2, 1]}),
    "gaps": ((1, 1, 5, 5), {"kernelSize": 1, "stride": 2}),
    "rest is dropped": ((1, 1, 5, 5), {"kernelSize": 2}),
    "padding": ((1, 1, 4, 4), {"kernelSize": 3, "stride": 2, "padding": 1}),
    "padding pair": ((1, 1, 3, 4), {"kernelSize": [3, 2], "stride": 1, "padding": [1, 0]}),
    "ceil mode": ((1, 1, 5, 5), {"kernelSize": 2, "ceilMode": True}),
    "ceil mode, padding": ((1, 1, 5, 6), {"kernelSize": 3, "stride": 2, "padding": 1, "ceilMode": True}),
    "ceil mode, last window in the padding is dropped": (
        (1, 1, 3, 3),
        {"kernelSize": 2, "stride": 2, "padding": 1, "ceilMode": True},
    ),
    "whole image": ((2, 2, 3, 3), {"kernelSize": 3}),
}


def build():
    op, draw = Op("maxPool2d", max_pool2d), Inputs("maxPool2d")
    for name, (shape, options) in SHARED.items():
        op.case(name, draw.distinct(*shape), **options)
    op.case("dilation", draw.distinct(1, 1, 5, 5), kernelSize=2, stride=1, dilation=2)
    op.case(
        "dilation pair, padding", draw.distinct(1, 1, 5, 6), kernelSize=[3, 2], stride=2, padding=1, dilation=[1, 3]
    )
    op.case("all negative, padding", draw.distinct(1, 1, 3, 3) - 4, kernelSize=2, stride=1, padding=1)
    op.case("ties: first wins", torch.zeros(1, 1, 4, 4, dtype=torch.float64), kernelSize=2)
    corner = tensor([[[[1.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 1.0]]]])
    op.case("ties, overlap", corner, kernelSize=2, stride=1)
    op.case("ties, padding", torch.ones(1, 1, 2, 3, dtype=torch.float64), kernelSize=3, stride=1, padding=1)
    holes = tensor([[[[NAN, 1.0, 5.0, 2.0], [0.0, 3.0, 4.0, NAN], [-INF, -INF, INF, 1.0], [-INF, -INF, 2.0, 3.0]]]])
    op.case("notFinite", holes, grad=False, kernelSize=2)
    op.case("extremes", tensor([[[[1e4, -1e4], [0.0, 1.0]]]]), kernelSize=2)
    yield op

    op, draw = Op("avgPool2d", avg_pool2d), Inputs("avgPool2d")
    for name, (shape, options) in SHARED.items():
        op.case(name, draw.normal(*shape), **options)
        if options.get("padding"):
            op.case(f"{name}, not counted", draw.normal(*shape), **options, countIncludePad=False)
    op.case("notFinite", holes, grad=False, kernelSize=2)
    yield op
