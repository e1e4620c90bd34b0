"""Unary ops, activations, binary ops, select."""

import torch
from torch.nn import functional as F

from golden import Inputs, Op, ints, mask, tensor

NAN, INF = float("nan"), float("inf")
EXTREME = [-1e4, 1e4]
NOT_FINITE = [NAN, INF, -INF]

# name: (PyTorch's function, domain of ordinary points, points where it or its derivative has a joint or a limit)
SMOOTH = {
    "neg": (torch.neg, (-3, 3), [0.0, -0.0]),
    "exp": (torch.exp, (-3, 3), [0.0, -0.0]),
    "expm1": (torch.expm1, (-2, 2), [0.0, 2.0**-20, -(2.0**-20)]),
    "log": (torch.log, (0.125, 4), [0.0, 1.0, -1.0]),
    "log1p": (torch.log1p, (-0.75, 4), [0.0, 2.0**-20, -1.0, -2.0]),
    "log2": (torch.log2, (0.125, 4), [0.0, 1.0, 8.0, -1.0]),
    "sqrt": (torch.sqrt, (0.125, 4), [0.0, 1.0, -1.0]),
    "rsqrt": (torch.rsqrt, (0.125, 4), [0.0, 1.0, -1.0]),
    "reciprocal": (torch.reciprocal, (0.25, 4), [0.0, -0.0, -2.0]),
    "square": (torch.square, (-3, 3), [0.0]),
    "sin": (torch.sin, (-3, 3), [0.0]),
    "cos": (torch.cos, (-3, 3), [0.0]),
    "tan": (torch.tan, (-1.25, 1.25), [0.0]),
    "asin": (torch.asin, (-0.9375, 0.9375), [0.0, 1.0, -1.0, 1.5]),
    "acos": (torch.acos, (-0.9375, 0.9375), [0.0, 1.0, -1.0, 1.5]),
    "atan": (torch.atan, (-3, 3), [0.0]),
    "sinh": (torch.sinh, (-3, 3), [0.0]),
    "cosh": (torch.cosh, (-3, 3), [0.0]),
    "tanh": (torch.tanh, (-3, 3), [0.0, 20.0, -20.0]),
    "asinh": (torch.asinh, (-3, 3), [0.0]),
    "acosh": (torch.acosh, (1.125, 4), [1.0, 0.5]),
    "atanh": (torch.atanh, (-0.9375, 0.9375), [0.0, 1.0, -1.0, 1.5]),
    "erf": (torch.erf, (-2, 2), [0.0, 8.0, -8.0]),
    "erfc": (torch.erfc, (-2, 2), [0.0, 8.0, -8.0]),
}
STEPWISE = {
    "abs": (torch.abs, (-3, 3), [0.0, -0.0, 1.0, -1.0]),
    "floor": (torch.floor, (-3, 3), [0.0, 1.0, -1.0, 0.5, -0.5]),
    "ceil": (torch.ceil, (-3, 3), [0.0, 1.0, -1.0, 0.5, -0.5]),
    "round": (torch.round, (-3, 3), [-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.5]),
    "trunc": (torch.trunc, (-3, 3), [0.0, 1.0, -1.0, 1.75, -1.75]),
    "sign": (torch.sign, (-3, 3), [0.0, -0.0]),
}
PREDICATES = {"isNaN": torch.isnan, "isInf": torch.isinf, "isFinite": torch.isfinite, "logicalNot": torch.logical_not}

# name: (function, joints, [(suffix, options)])
ACTIVATIONS = {
    "sigmoid": (torch.sigmoid, [0.0, 20.0, -20.0], [("", {})]),
    "relu": (F.relu, [0.0, -0.0], [("", {})]),
    "relu6": (F.relu6, [0.0, 6.0, 7.0], [("", {})]),
    "leakyRelu": (
        lambda x, negativeSlope=0.01: F.leaky_relu(x, negativeSlope),
        [0.0],
        [("", {}), ("slope", {"negativeSlope": 0.25})],
    ),
    "elu": (lambda x, alpha=1.0: F.elu(x, alpha), [0.0], [("", {}), ("alpha", {"alpha": 0.5})]),
    "selu": (F.selu, [0.0], [("", {})]),
    "softplus": (
        lambda x, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
        [0.0, 25.0, -25.0],
        [("", {}), ("beta", {"beta": 2.0})],
    ),
    "gelu": (
        lambda x, approximate="none": F.gelu(x, approximate=approximate),
        [0.0, 10.0, -10.0],
        [("", {}), ("tanh", {"approximate": "tanh"})],
    ),
    "silu": (F.silu, [0.0, 20.0, -20.0], [("", {})]),
    "mish": (F.mish, [0.0, 20.0, -20.0], [("", {})]),
    "logSigmoid": (F.logsigmoid, [0.0, 20.0, -20.0], [("", {})]),
    "hardSwish": (F.hardswish, [0.0, 3.0, -3.0], [("", {})]),
    "hardSigmoid": (F.hardsigmoid, [0.0, 3.0, -3.0], [("", {})]),
    "softsign": (F.softsign, [0.0, -0.0], [("", {})]),
}
# PyTorch has no second derivative for the first set, and for the second NaN at 1e4, where the true value is 0.
FIRST_ORDER_ONLY = {"hardSigmoid"}
FIRST_ORDER_FAR_OUT = FIRST_ORDER_ONLY | {"mish"}
COMPARE = {
    "equal": torch.eq,
    "notEqual": torch.ne,
    "less": torch.lt,
    "lessEqual": torch.le,
    "greater": torch.gt,
    "greaterEqual": torch.ge,
}
LOGICAL = {"logicalAnd": torch.logical_and, "logicalOr": torch.logical_or, "logicalXor": torch.logical_xor}
BITWISE = {"bitwiseAnd": torch.bitwise_and, "bitwiseOr": torch.bitwise_or, "bitwiseXor": torch.bitwise_xor}


def build():
    return [*_unary(), *_activations(), *_binary(), *_compare(), *_select()]


def _unary():
    for name, (run, (low, high), joints) in (SMOOTH | STEPWISE).items():
        op, draw = Op(name, run), Inputs(name)
        op.case("values", draw.uniform(low, high, 3, 4))
        op.case("scalar", draw.uniform(low, high))
        joints, extremes = tensor(joints), tensor(EXTREME)
        op.case("joints", joints[~run(joints).isnan()], second=False)
        if not run(extremes).isnan().all():
            op.case("extremes", extremes[~run(extremes).isnan()], second=False)
        outside = torch.cat([joints, extremes])
        outside = outside[run(outside).isnan()]
        if outside.numel():
            op.case("outside the domain", outside, grad=False)
        op.case("notFinite", tensor(NOT_FINITE), grad=False)
        op.case("empty", draw.uniform(low, high, 0, 3))
        yield op
    for name, run in PREDICATES.items():
        op = Op(name, run)
        op.case("values", tensor([[0.0, -0.0, 1.5], [NAN, INF, -INF]]))
        yield op


def _activations():
    for name, (run, joints, variants) in ACTIVATIONS.items():
        op, draw = Op(name, run), Inputs(name)
        for suffix, options in variants:
            tail = f" {suffix}" if suffix else ""
            orders = {"second": name not in FIRST_ORDER_ONLY}
            far_orders = {"second": name not in FIRST_ORDER_FAR_OUT}
            op.case(f"values{tail}", draw.away_from_zero(0.125, 2.75, 3, 4), **orders, **options)
            op.case(f"joints{tail}", tensor(joints), **orders, **options)
            op.case(f"extremes{tail}", tensor(EXTREME), **far_orders, **options)
            op.case(f"notFinite{tail}", tensor(NOT_FINITE), grad=False, **options)
        yield op
    op, draw = Op("glu", lambda x, axis=-1: F.glu(x, axis)), Inputs("glu")
    op.case("values", draw.normal(3, 6))
    op.case("axis", draw.normal(2, 4, 3), axis=1)
    op.case("extremes", tensor([1e4, -1e4, 1e4, -1e4]))
    yield op


def _pairs(op, draw, both):
    """Same shape, broadcast both ways, with a scalar, and nothing at all."""
    op.case("values", *both(draw, (2, 5), (2, 5)))
    op.case("broadcast row", *both(draw, (3, 4), (4,)))
    op.case("broadcast both", *both(draw, (2, 1, 3), (4, 1)))
    op.case("scalar", *both(draw, (3,), ()))
    op.case("empty broadcast", *both(draw, (0, 3), (1, 3)))


def _binary():
    def anything(draw, a, b):
        return draw.normal(*a), draw.normal(*b)

    def divisible(draw, a, b):
        return draw.normal(*a, scale=4.0), draw.away_from_zero(0.5, 3, *b)

    def apart(draw, a, b):
        values = draw.distinct(1 + torch.Size(a).numel() + torch.Size(b).numel())
        return values[: torch.Size(a).numel()].reshape(a), values[-torch.Size(b).numel() - 1 : -1].reshape(b)

    def positive(draw, a, b):
        return draw.uniform(0.25, 3, *a), draw.uniform(-2, 2, *b)

    grid = torch.tensor([NAN, INF, -INF, 0.0, 1.0], dtype=torch.float64)
    rows, columns = grid.repeat_interleave(5), grid.repeat(5)
    arithmetic = {
        "add": (torch.add, anything),
        "sub": (torch.sub, anything),
        "mul": (torch.mul, anything),
        "div": (torch.div, divisible),
        "pow": (torch.pow, positive),
        "maximum": (torch.maximum, apart),
        "minimum": (torch.minimum, apart),
        "atan2": (torch.atan2, divisible),
        "remainder": (torch.remainder, divisible),
        "floorDivide": (lambda a, b: torch.div(a, b, rounding_mode="floor"), divisible),
        "squaredDifference": (lambda a, b: (a - b) ** 2, anything),
    }
    ops = {}
    for name, (run, domain) in arithmetic.items():
        op = ops[name] = Op(name, run)
        _pairs(op, Inputs(name), domain)
        op.case("notFinite", rows, columns, grad=False)

    for name in ("add", "sub", "mul", "maximum", "minimum"):
        ops[name].case("integers", ints([[7, -7], [0, 123456]]), ints([3, -2]))
        ops[name].case("extremes", tensor([1e4, -1e4, 1e4]), tensor([1e4, 1e4, 0.0]))
    for name in ("floorDivide", "remainder"):
        ops[name].case("integers", ints([7, -7, 7, -7, 6, 0]), ints([3, 3, -3, -3, 3, 5]))
        ops[name].case("signs", tensor([5.5, -5.5, 5.5, -5.5, 6.0, -6.0]), tensor([2.0, 2.0, -2.0, -2.0, 2.0, 2.0]))
        ops[name].case("by zero", tensor([1.0, -1.0, 0.0]), tensor([0.0, 0.0, 0.0]), grad=False)
    for name in ("maximum", "minimum"):
        ops[name].case("ties", tensor([1.0, -2.0, 0.0]), tensor([1.0, -2.0, 0.0]))
    ops["div"].case("by zero", tensor([1.0, -1.0, 0.0]), tensor([0.0, 0.0, 0.0]), second=False)
    ops["atan2"].case("axes", tensor([0.0, 0.0, 1.0, -1.0]), tensor([1.0, -1.0, 0.0, 0.0]))
    power = ops["pow"]
    power.case("negative base", tensor([-2.0, -2.0, -0.5, -1.5]), tensor([2.0, 3.0, -2.0, 0.0]), constants=(1,))
    power.case("negative base, fraction", tensor([-2.0, -1.0]), tensor([0.5, 1.5]), grad=False)
    power.case("zero base", tensor([0.0, 0.0, 0.0, 0.0]), tensor([0.0, 1.0, 2.0, 0.5]), second=False)
    power.case("zero base, negative exponent", tensor([0.0, 0.0]), tensor([-1.0, -2.0]), grad=False)
    power.case("integers", ints([2, -2, 3, 0]), ints([10, 3, 0, 2]))
    return ops.values()


def _compare():
    left = [1.0, 2.0, 0.0, -0.0, NAN, NAN, INF, -INF, INF]
    right = [2.0, 2.0, -0.0, 0.0, NAN, 1.0, INF, -INF, -INF]
    for name, run in COMPARE.items():
        op = Op(name, run)
        op.case("values", tensor(left), tensor(right))
        op.case("broadcast", tensor([[1.0], [2.0]]), tensor([1.0, 2.0, 3.0]))
        op.case("integers", ints([1, 2, 3]), ints([2, 2, 2]))
        yield op
    for name, run in LOGICAL.items():
        op = Op(name, run)
        op.case("booleans", mask([False, False, True, True]), mask([False, True, False, True]))
        op.case("floats", tensor([0.0, 0.0, 0.5, NAN]), tensor([0.0, -1.0, 0.0, 2.0]))
        yield op
    for name, run in BITWISE.items():
        op = Op(name, run)
        op.case("integers", ints([12, -1, 0, 65535]), ints([10, 255, -7, -65536]))
        op.case("booleans", mask([False, False, True, True]), mask([False, True, False, True]))
        yield op


def _select():
    op, draw = Op("where", torch.where, ["condition", "x", "y"]), Inputs("where")
    op.case("values", draw.booleans(3, 4), draw.normal(3, 4), draw.normal(3, 4))
    op.case("broadcast", draw.booleans(3, 1), draw.normal(4), draw.normal(2, 1, 1))
    op.case("does not leak", mask([True, False, True]), tensor([1.0, NAN, INF]), tensor([NAN, 2.0, NAN]))
    yield op

    op = Op("clip", lambda x, min=None, max=None: torch.clamp(x, min, max))
    draw = Inputs("clip")
    # Bounds on odd multiples of 1/128 meet no input, which are multiples of 1/64.
    op.case("both", draw.normal(3, 4, scale=2.0), min=-129 / 128, max=161 / 128)
    op.case("min", draw.normal(6), min=33 / 128)
    op.case("max", draw.normal(6), max=33 / 128)
    op.case("on the bounds", tensor([-1.0, 1.0, 0.0]), min=-1.0, max=1.0)
    op.case("min above max", tensor([-1.0, 0.5, 3.0]), grad=False, min=2.0, max=1.0)
    op.case("extremes", tensor(EXTREME), min=-6.0, max=6.0)
    op.case("notFinite", tensor(NOT_FINITE), grad=False, min=-6.0, max=6.0)
    yield op

    op = Op("maskedFill", lambda x, where, value: x.masked_fill(where, value), ["x", "mask"])
    draw = Inputs("maskedFill")
    op.case("values", draw.normal(3, 4), draw.booleans(3, 4), value=-2.5)
    op.case("broadcast, -inf", draw.normal(2, 3), mask([True, False, True]), value=-INF)
    yield op
