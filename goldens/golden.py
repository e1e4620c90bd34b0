"""What every generator shares: a repeatable PyTorch, exact test inputs, cases, and JSON whose bytes never vary."""

import json
import math
import os
import zlib
from pathlib import Path

# Read by MKL and ATen when torch is loaded: one code path on every x86 processor, so that a rerun elsewhere agrees.
os.environ["MKL_CBWR"] = "COMPATIBLE"
os.environ["ATEN_CPU_CAPABILITY"] = "default"

import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.backends.mkldnn.enabled = False

HERE = Path(__file__).resolve().parent
VERSIONS = {"torch": torch.__version__.split("+")[0], "numpy": np.__version__}
DTYPE_NAMES = {torch.float64: "f64", torch.float32: "f32", torch.int64: "i32", torch.int32: "i32", torch.bool: "bool"}
# A float32 result further off than this (relative to the largest entry) means the point is badly chosen for f32: a step
# function next to its step. What stays below it at ±1e4 is float32's own resolution there.
F32_SANITY = 1e-3


# --- inputs -----------------------------------------------------------------------------------------------------


def tensor(data, dtype=torch.float64):
    """A literal input."""
    return torch.tensor(data, dtype=dtype)


def ints(data):
    return torch.tensor(data, dtype=torch.int64)


def mask(data):
    return torch.tensor(data, dtype=torch.bool)


class Inputs:
    """Random inputs on a grid of 1/64: exact in float32 and short in decimal. The seed is the name alone."""

    def __init__(self, name):
        self.generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))

    def normal(self, *shape, scale=1.0):
        values = np.rint(self.generator.standard_normal(shape) * scale * 64) / 64
        return torch.tensor(values, dtype=torch.float64)

    def uniform(self, low, high, *shape):
        values = self.generator.integers(round(low * 64), round(high * 64), shape, endpoint=True) / 64
        return torch.tensor(values, dtype=torch.float64)

    def distinct(self, *shape):
        """No two equal and none within 1/32 of another: for ops that depend on order."""
        count = math.prod(shape)
        values = self.generator.permutation(np.arange(count)) / 32 - count / 64 + 1 / 64
        return torch.tensor(values.reshape(shape), dtype=torch.float64)

    def away_from_zero(self, low, high, *shape):
        sign = np.where(self.generator.random(shape) < 0.5, -1.0, 1.0)
        return self.uniform(low, high, *shape) * torch.tensor(sign)

    def integers(self, low, high, *shape):
        return torch.tensor(self.generator.integers(low, high, shape), dtype=torch.int64)

    def booleans(self, *shape):
        return torch.tensor(self.generator.random(shape) < 0.5)


# --- JSON -------------------------------------------------------------------------------------------------------


def number(value):
    """Shortest decimal that reads back as the same double; what JSON cannot say becomes a string."""
    if isinstance(value, (bool, np.bool_)):
        return 1 if value else 0
    if isinstance(value, int):
        return value
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 and math.copysign(1, value) < 0:
        return value
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def encode(value, keep_negative_zero=False):
    """shape, dtype and the row-major values of a tensor. Results drop the sign of zero; inputs keep it."""
    flat = value.detach().reshape(-1).tolist()
    if not keep_negative_zero:
        flat = [0 if entry == 0 else entry for entry in flat]
    return {"shape": list(value.shape), "dtype": DTYPE_NAMES[value.dtype], "data": [number(entry) for entry in flat]}


def write_json(path, document):
    """Objects and lists of objects over several lines, everything else on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_layout(document, 0) + "\n", encoding="utf-8")


def _layout(value, depth):
    inner, outer = "  " * (depth + 1), "  " * depth
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    is_tensor = isinstance(value, dict) and "data" in value
    if is_tensor or not isinstance(value, (dict, list)) or (len(flat) <= 120 and depth > 1):
        return flat
    if isinstance(value, list):
        if not any(isinstance(entry, (dict, list)) for entry in value):
            return flat
        return "[\n" + ",\n".join(inner + _layout(entry, depth + 1) for entry in value) + f"\n{outer}]"
    rows = (f"{inner}{json.dumps(key)}: {_layout(entry, depth + 1)}" for key, entry in value.items())
    return "{\n" + ",\n".join(rows) + f"\n{outer}}}"


# --- cases ------------------------------------------------------------------------------------------------------


class Op:
    """The cases of one op. `run(*inputs, **options)` is PyTorch's answer; inputs are float64, integer or bool."""

    def __init__(self, name, run, input_names=None):
        self.name, self.run, self.input_names = name, run, input_names
        self.cases = []

    def case(self, name, *inputs, grad=True, second=True, constants=(), optional=None, **options):
        """Record one case.

        grad: also the gradients for a random cotangent; second: and the gradient of the gradient.
        constants: positions of float inputs whose gradient is left out.
        optional: further inputs by name (class weights), never differentiated.
        """
        if any(entry["name"] == name for entry in self.cases):
            raise ValueError(f"{self.name}: two cases are called {name!r}")
        where = f"{self.name}/{name}"
        optional, positional = optional or {}, len(inputs)
        constants = (*constants, *range(positional, positional + len(optional)))

        def run(*values):
            named = dict(zip(optional, values[positional:], strict=True))
            return self.run(*values[:positional], **named, **options)

        names = [*(self.input_names or [])[:positional], *optional]
        inputs = (*inputs, *optional.values())
        exact = _evaluate(where, run, inputs, grad, second, constants, torch.float64)
        single = _evaluate(where, run, inputs, grad, second, constants, torch.float32)
        record = {"name": name, "inputs": [encode(value, keep_negative_zero=True) for value in inputs]}
        if names:
            record["inputs"] = [{"name": n, **v} for n, v in zip(names, record["inputs"], strict=True)]
        record["options"] = {key: _option(value) for key, value in options.items()}
        record["output"] = encode(exact["output"])
        errors = {"output": _miss(where, exact["output"], single["output"])}
        if "grads" in exact:
            record["cotangent"] = encode(exact["cotangent"])
        for order in ("grads", "grads2"):
            if order not in exact:
                continue
            if order == "grads2":
                record["cotangent2"] = [value if value is None else encode(value) for value in exact["cotangent2"]]
            record[order] = [value if value is None else encode(value) for value in exact[order]]
            pairs = zip(exact[order], single[order], strict=True)
            errors[order] = [None if a is None else _miss(f"{where} {order}", a, b) for a, b in pairs]
        record["f32Error"] = errors
        self.cases.append(record)

    def write(self, folder):
        write_json(folder / f"{self.name}.json", {"op": self.name, "cases": self.cases})


def _option(value):
    if isinstance(value, dict):
        return {key: _option(entry) for key, entry in value.items()}
    return (
        [_option(entry) for entry in value]
        if isinstance(value, (list, tuple))
        else (value if isinstance(value, (str, bool)) else number(value))
    )


def _evaluate(where, run, inputs, grad, second, constants, dtype):
    values = [value.to(dtype) if value.is_floating_point() else value.clone() for value in inputs]
    wanted = [value.is_floating_point() and position not in constants for position, value in enumerate(values)]
    result = {}
    if not grad or not any(wanted):
        result["output"] = run(*values)
        return result
    for value, is_wanted in zip(values, wanted, strict=True):
        value.requires_grad_(is_wanted)
    output = run(*values)
    if not output.is_floating_point() or not output.requires_grad:
        result["output"] = output
        return result
    draw = Inputs(where)
    cotangent = draw.away_from_zero(0.25, 2, *output.shape)
    leaves = [value for value, is_wanted in zip(values, wanted, strict=True) if is_wanted]
    first = _gradients(output, leaves, cotangent.to(dtype), create_graph=second)
    result |= {"output": output, "cotangent": cotangent, "grads": _spread(first, wanted)}
    if second:
        directions = [draw.away_from_zero(0.25, 2, *value.shape) for value in leaves]
        total = sum((value * d.to(dtype)).sum() for value, d in zip(first, directions, strict=True))
        again = _gradients(total, leaves) if total.requires_grad else [torch.zeros_like(value) for value in leaves]
        result |= {"cotangent2": _spread(directions, wanted), "grads2": _spread(again, wanted)}
    return result


def _gradients(output, leaves, cotangent=None, create_graph=False):
    """What does not depend on a leaf has zeros there; PyTorch's symbolic zero tensors become real ones."""
    found = torch.autograd.grad(output, leaves, cotangent, create_graph=create_graph, allow_unused=True)
    return [
        torch.zeros_like(leaf) if value is None or value._is_zerotensor() else value
        for leaf, value in zip(leaves, found, strict=True)
    ]


def _spread(values, wanted):
    """One entry an input; null where there is no gradient."""
    rest = iter(values)
    return [next(rest) if is_wanted else None for is_wanted in wanted]


def _miss(where, exact, single):
    """By how much PyTorch's own float32 misses float64, largest entry, rounded up to two digits."""
    if not exact.is_floating_point():
        if not torch.equal(exact, single):
            raise ValueError(f"{where}: integer or bool result differs in float32")
        return 0
    wide = single.detach().double()
    finite = torch.isfinite(exact)
    if not torch.equal(exact.detach()[~finite].nan_to_num(), wide[~finite].nan_to_num()) or not torch.equal(
        finite, torch.isfinite(wide)
    ):
        raise ValueError(f"{where}: not finite in one of float32 and float64 only:\n{exact}\n{single}")
    if not finite.any():
        return 0
    miss = (exact.detach() - wide)[finite].abs().max().item()
    scale = max(1.0, exact.detach()[finite].abs().max().item())
    if miss > F32_SANITY * scale:
        raise ValueError(f"{where}: float32 misses by {miss}:\n{exact}\n{single}")
    if miss == 0:
        return 0
    unit = 10.0 ** (math.floor(math.log10(miss)) - 1)
    return float(f"{math.ceil(miss / unit) * unit:.1e}")
