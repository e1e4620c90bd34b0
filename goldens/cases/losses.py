"""Losses. Where PyTorch does not differentiate an input (class weights), its gradient is null."""

import torch
from torch.nn import functional as F

from golden import Inputs, Op, ints, tensor

NAN, INF = float("nan"), float("inf")
REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(x, target, weight=None, ignoreIndex=-100, labelSmoothing=0.0, reduction="mean"):
    return F.cross_entropy(
        x, target, weight, ignore_index=ignoreIndex, label_smoothing=labelSmoothing, reduction=reduction
    )


def nll(x, target, weight=None, ignoreIndex=-100, reduction="mean"):
    return F.nll_loss(x, target, weight, ignore_index=ignoreIndex, reduction=reduction)


def bce(x, target, weight=None, reduction="mean"):
    return F.binary_cross_entropy(x, target, weight, reduction=reduction)


def bce_logits(x, target, weight=None, posWeight=None, reduction="mean"):
    return F.binary_cross_entropy_with_logits(x, target, weight, reduction=reduction, pos_weight=posWeight)


def build():
    return [*_classes(), *_distances(), *_binary(), *_divergence()]


def _classes():
    names = ["input", "target"]
    op, draw = Op("crossEntropy", cross_entropy, names), Inputs("crossEntropy")
    index, weight = ints([2, 0, 3]), {"weight": tensor([0.5, 1.0, 2.0, 0.25])}
    for reduction in REDUCTIONS:
        op.case(f"indices, {reduction}", draw.normal(3, 4), index, reduction=reduction)
        op.case(f"weight, {reduction}", draw.normal(3, 4), index, optional=weight, reduction=reduction)
        op.case(f"probabilities, {reduction}", draw.normal(3, 4), _rows(draw, 3, 4), reduction=reduction)
        op.case(f"ignoreIndex, {reduction}", draw.normal(3, 4), ints([2, 1, 3]), ignoreIndex=1, reduction=reduction)
        op.case(f"labelSmoothing, {reduction}", draw.normal(3, 4), index, labelSmoothing=0.1, reduction=reduction)
    everything = {"optional": weight, "ignoreIndex": 0, "labelSmoothing": 0.2}
    for reduction in REDUCTIONS:
        op.case(f"indices, everything, {reduction}", draw.normal(3, 4), index, reduction=reduction, **everything)
    op.case("probabilities, weight", draw.normal(3, 4), _rows(draw, 3, 4), optional=weight)
    op.case(
        "probabilities, smoothing, weight", draw.normal(2, 4), _rows(draw, 2, 4), optional=weight, labelSmoothing=0.1
    )
    op.case("default ignoreIndex", draw.normal(3, 4), ints([-100, 1, 2]))
    op.case("everything ignored, mean", draw.normal(2, 3), ints([1, 1]), grad=False, ignoreIndex=1)
    op.case("everything ignored, sum", draw.normal(2, 3), ints([1, 1]), ignoreIndex=1, reduction="sum")
    op.case("one sample without batch", draw.normal(4), ints(2))
    op.case("images", draw.normal(2, 3, 2, 2), draw.integers(0, 3, 2, 2, 2))
    op.case("images, none", draw.normal(1, 3, 2, 2), draw.integers(0, 3, 1, 2, 2), reduction="none")
    op.case("images, probabilities", draw.normal(1, 3, 2), _rows(draw, 1, 2, 3).transpose(1, 2).contiguous())
    op.case(
        "extremes", tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [1e4, 1e4, 1e4]]), ints([0, 1, 2]), reduction="none"
    )
    op.case("one class", draw.normal(2, 1), ints([0, 0]))
    yield op

    op, draw = Op("nllLoss", nll, names), Inputs("nllLoss")
    for reduction in REDUCTIONS:
        op.case(f"values, {reduction}", draw.normal(3, 4), index, reduction=reduction)
        op.case(f"weight, {reduction}", draw.normal(3, 4), index, optional=weight, reduction=reduction)
        op.case(f"ignoreIndex, {reduction}", draw.normal(3, 4), index, reduction=reduction, ignoreIndex=0)
    op.case("one sample without batch", draw.normal(4), ints(1))
    op.case("images", draw.normal(2, 3, 2), draw.integers(0, 3, 2, 2))
    op.case("everything ignored, mean", draw.normal(2, 3), ints([-100, -100]), grad=False)
    op.case("-inf not chosen", tensor([[-INF, -0.5], [-0.25, -INF]]), ints([1, 0]), second=False)
    yield op


def _rows(draw, *shape):
    """Rows that sum to one, on the grid of exact values."""
    sizes = draw.integers(1, 9, *shape).double()
    parts = torch.floor(sizes / sizes.sum(-1, keepdim=True) * 64) / 64
    parts[..., 0] += 1 - parts.sum(-1)
    return parts


def _distances():
    table = {
        "mseLoss": (lambda x, y, reduction="mean": F.mse_loss(x, y, reduction=reduction), [{}]),
        "l1Loss": (lambda x, y, reduction="mean": F.l1_loss(x, y, reduction=reduction), [{}]),
        "huberLoss": (
            lambda x, y, delta=1.0, reduction="mean": F.huber_loss(x, y, delta=delta, reduction=reduction),
            [{}, {"delta": 0.5}],
        ),
        "smoothL1": (
            lambda x, y, beta=1.0, reduction="mean": F.smooth_l1_loss(x, y, beta=beta, reduction=reduction),
            [{}, {"beta": 0.5}, {"beta": 0.0}],
        ),
    }
    for name, (run, variants) in table.items():
        op, draw = Op(name, run, ["input", "target"]), Inputs(name)
        for options in variants:
            tail = "".join(f", {key} {value:g}" for key, value in options.items())
            for reduction in REDUCTIONS:
                base = draw.normal(2, 3)
                target = base + draw.away_from_zero(0.125, 2, 2, 3)
                op.case(f"values, {reduction}{tail}", base, target, reduction=reduction, **options)
            op.case(f"equal{tail}", tensor([1.0, -2.0]), tensor([1.0, -2.0]), reduction="none", **options)
            joint = options.get("delta", options.get("beta", 1.0))
            op.case(f"joint{tail}", tensor([joint, -joint]), tensor([0.0, 0.0]), reduction="none", **options)
            far = tensor([1e4, -1e4]), tensor([-1e4, 0.5])
            op.case(f"extremes{tail}", *far, reduction="none", **options)
        op.case("NaN", tensor([NAN, 1.0]), tensor([0.0, 1.0]), grad=False, reduction="none")
        yield op


def _binary():
    op, draw = Op("bce", bce, ["input", "target"]), Inputs("bce")
    for reduction in REDUCTIONS:
        pair = draw.uniform(0.0625, 0.9375, 2, 3), draw.uniform(0, 1, 2, 3)
        op.case(f"values, {reduction}", *pair, reduction=reduction)
    pair = draw.uniform(0.0625, 0.9375, 2, 3), draw.uniform(0, 1, 2, 3)
    op.case("weight", *pair, optional={"weight": tensor([0.5, 1.0, 2.0])})
    corners = tensor([0.0, 1.0, 0.0, 1.0]), tensor([0.0, 1.0, 1.0, 0.0])
    op.case("0 and 1: the logarithm stops at -100", *corners, second=False, constants=(1,), reduction="none")
    yield op

    op = Op("bceWithLogits", bce_logits, ["input", "target"])
    draw = Inputs("bceWithLogits")
    for reduction in REDUCTIONS:
        op.case(f"values, {reduction}", draw.normal(2, 3), draw.uniform(0, 1, 2, 3), reduction=reduction)
    op.case("weight", draw.normal(2, 3), draw.uniform(0, 1, 2, 3), optional={"weight": tensor([0.5, 1.0, 2.0])})
    far = tensor([1e4, -1e4, 1e4, -1e4, 0.0]), tensor([1.0, 0.0, 0.0, 1.0, 0.5])
    op.case("extremes", *far, reduction="none")
    positive = {"posWeight": tensor([0.5, 1.0, 3.0])}
    op.case("posWeight", draw.normal(2, 3), draw.uniform(0, 1, 2, 3), optional=positive)
    both = {"weight": tensor([[2.0], [0.5]]), **positive}
    op.case("weight and posWeight", draw.normal(2, 3), draw.uniform(0, 1, 2, 3), optional=both, reduction="none")
    yield op


def _divergence():
    def kl(x, y, logTarget=False, reduction="mean"):
        return F.kl_div(x, y, log_target=logTarget, reduction=reduction)

    op, draw = Op("klDiv", kl, ["input", "target"]), Inputs("klDiv")
    for reduction in (*REDUCTIONS, "batchmean"):
        op.case(f"values, {reduction}", -draw.uniform(0.25, 3, 2, 3), _rows(draw, 2, 3), reduction=reduction)
        pair = -draw.uniform(0.25, 3, 2, 3), -draw.uniform(0.25, 3, 2, 3)
        op.case(f"logTarget, {reduction}", *pair, reduction=reduction, logTarget=True)
    zero = tensor([[-1.0, -2.0, -0.5]]), tensor([[0.0, 0.25, 0.75]])
    op.case("target 0 gives 0", *zero, second=False, constants=(1,), reduction="none")
    yield op
