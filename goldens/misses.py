"""How far PyTorch's own f32 results are from float64: what promise 1 holds the suite's tolerances to.

Writes misses.json: by row of the suite and label of one of its instances, the largest miss of each result over some
draws of inputs. Inputs come from integers alone (SplitMix, as in packages/conformance/src/source.ts), so that
packages/conformance/tests/misses.test.ts draws the same and compares what the suite would allow there.

Run with the packages in requirements.txt:  python goldens/misses.py
"""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F

from golden import HERE, VERSIONS

SEEDS = 8
# The suite's float64 reference of larger cases takes its time.
FEW_SEEDS = 2
LARGE = 5000
MASK = 0xFFFFFFFF


def words(seed: int, count: int) -> list[int]:
    """32 random bits each: Steele, Lea and Flood's SplitMix in its 32-bit form."""
    state = seed & MASK
    found = []
    for _ in range(count):
        state = (state + 0x9E3779B9) & MASK
        z = state
        z = ((z ^ (z >> 16)) * 0x21F0AAAD) & MASK
        z = ((z ^ (z >> 15)) * 0x735A2D97) & MASK
        found.append(z ^ (z >> 15))
    return found


class Real:
    """Floats between two bounds, as f32 holds them."""

    def __init__(self, *shape: int, low: float = -2, high: float = 2):
        self.shape, self.low, self.high = list(shape), low, high

    def draw(self, seed: int) -> np.ndarray:
        bits = np.array(words(seed, math.prod(self.shape)), dtype=np.float64)
        values = self.low + bits / 2**32 * (self.high - self.low)
        return values.astype(np.float32).reshape(self.shape)

    def facts(self) -> dict:
        return {"shape": self.shape, "low": self.low, "high": self.high}


class Index:
    """Whole numbers from 0 to before a bound."""

    def __init__(self, *shape: int, below: int):
        self.shape, self.below = list(shape), below

    def draw(self, seed: int) -> np.ndarray:
        values = [word * self.below >> 32 for word in words(seed, math.prod(self.shape))]
        return np.array(values, dtype=np.int64).reshape(self.shape)

    def facts(self) -> dict:
        return {"shape": self.shape, "below": self.below}


def rope(x: torch.Tensor, offset: int = 0) -> torch.Tensor:
    """Halves turned by position times frequency, everything in the dtype of x."""
    positions, width = x.shape[-2:]
    frequencies = 10000.0 ** (-2 * torch.arange(width // 2, dtype=x.dtype) / width)
    angles = torch.outer(torch.arange(offset, offset + positions, dtype=x.dtype), frequencies)
    first, second = x.chunk(2, -1)
    cos, sin = torch.cos(angles), torch.sin(angles)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def embedding_loss(a, b, target):
    return F.cosine_embedding_loss(a, b, torch.where(target == 1, 1, -1), margin=-0.9, reduction="none")


def running(x, mean, variance):
    out = F.batch_norm(x, mean, variance, training=True, momentum=0.25)
    return out, mean, variance


def cell(gates: int, states: int) -> list[Real]:
    """Operands of a recurrent cell from 3 inputs to 4 states."""
    shapes = [(2, 3), *[(2, 4)] * states, (4 * gates, 3), (4 * gates, 4), (4 * gates,), (4 * gates,)]
    return [Real(*shape, low=-1, high=1) for shape in shapes]


ATTEND = F.scaled_dot_product_attention
UNIT = {"low": -1, "high": 1}
CHANCE = {"low": 0, "high": 1}

# Row of the suite, label of its instance, operands, PyTorch's function.
CASES = [
    ("matmul", "[7, 5] [5, 9]", [Real(7, 5), Real(5, 9)], torch.matmul),
    ("matmul beyond a block", "[33, 70] [70, 17]", [Real(33, 70), Real(70, 17)], torch.matmul),
    ("matmul beyond a block", "[2, 700] [700, 3]", [Real(2, 700), Real(700, 3)], torch.matmul),
    ("linear", "[3, 4] [2, 4] with bias", [Real(3, 4), Real(2, 4), Real(2)], F.linear),
    ("conv1d beyond a block", "[1, 18, 17] [9, 18, 3] with bias", [Real(1, 18, 17), Real(9, 18, 3), Real(9)], F.conv1d),
    ("conv2d", "[2, 3, 5, 6] [4, 3, 3, 2] with bias", [Real(2, 3, 5, 6), Real(4, 3, 3, 2), Real(4)], F.conv2d),
    (
        "conv2d beyond a block",
        "[1, 18, 19, 17] [9, 18, 3, 3] with bias",
        [Real(1, 18, 19, 17), Real(9, 18, 3, 3), Real(9)],
        F.conv2d,
    ),
    (
        "convTranspose2d",
        "[2, 2, 3, 3] [2, 3, 2, 3] with bias",
        [Real(2, 2, 3, 3), Real(2, 3, 2, 3), Real(3)],
        F.conv_transpose2d,
    ),
    ("sum beyond a block", '[131, 37] {"axis":0}', [Real(131, 37)], lambda x: x.sum(0)),
    ("sum beyond a block", "[1025]", [Real(1025)], torch.sum),
    ("mean beyond a block", '[9, 33, 17] {"axis":[0,2]}', [Real(9, 33, 17)], lambda x: x.mean((0, 2))),
    ("prod", '[2, 3, 4] {"axis":1}', [Real(2, 3, 4, low=-1.5, high=1.5)], lambda x: x.prod(1)),
    ("var beyond a block", '[131, 37] {"axis":0}', [Real(131, 37)], lambda x: x.var(0)),
    ("std beyond a block", '[131, 37] {"axis":0}', [Real(131, 37)], lambda x: x.std(0)),
    ("norm beyond a block", '[131, 37] {"axis":0}', [Real(131, 37)], lambda x: x.norm(dim=0)),
    ("logSumExp", '[2, 3, 4] {"axis":1}', [Real(2, 3, 4)], lambda x: x.logsumexp(1)),
    ("logSumExp beyond a block", '[131, 37] {"axis":0}', [Real(131, 37)], lambda x: x.logsumexp(0)),
    ("cumsum beyond a block", "[1025]", [Real(1025)], lambda x: x.cumsum(0)),
    ("cumprod", "[3, 4]", [Real(3, 4, low=-1.5, high=1.5)], lambda x: x.cumprod(1)),
    ("softmax", "[3, 70]", [Real(3, 70)], lambda x: x.softmax(-1)),
    ("logSoftmax", "[3, 70]", [Real(3, 70)], lambda x: x.log_softmax(-1)),
    ("logSoftmax", '[2, 3, 4] {"axis":1}', [Real(2, 3, 4)], lambda x: x.log_softmax(1)),
    (
        "layerNorm beyond a block",
        '[5, 257] both {"normalizedShape":[257]}',
        [Real(5, 257), Real(257), Real(257)],
        lambda x, w, b: F.layer_norm(x, [257], w, b),
    ),
    (
        "layerNorm",
        '[3, 33] neither {"normalizedShape":[33]} far from 0',
        [Real(3, 33, low=30, high=34)],
        lambda x: F.layer_norm(x, [33]),
    ),
    (
        "rmsNorm beyond a block",
        '[67, 33] weight {"normalizedShape":[33]}',
        [Real(67, 33), Real(33)],
        lambda x, w: F.rms_norm(x, [33], w, 2.0**-23),
    ),
    (
        "groupNorm beyond a block",
        "[3, 8, 17, 5] 4 groups, both",
        [Real(3, 8, 17, 5), Real(8), Real(8)],
        lambda x, w, b: F.group_norm(x, 4, w, b),
    ),
    (
        "batchNorm beyond a block",
        "[70, 9] both",
        [Real(70, 9), Real(9), Real(9)],
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    ),
    (
        "batchNorm updates running statistics",
        "[2, 3, 2, 2] momentum 0.25",
        [Real(2, 3, 2, 2), Real(3), Real(3, low=0.25, high=2)],
        running,
    ),
    ("l2Normalize", "[3, 4]", [Real(3, 4)], F.normalize),
    (
        "scaledDotProductAttention beyond a block",
        '[1, 1, 33, 72] [1, 1, 70, 72] [1, 1, 70, 72] mask none {"causal":true}',
        [Real(1, 1, 33, 72), Real(1, 1, 70, 72), Real(1, 1, 70, 72)],
        lambda q, k, v: ATTEND(q, k, v, is_causal=True),
    ),
    (
        "scaledDotProductAttention",
        '[1, 1, 3, 4] [1, 1, 3, 4] [1, 1, 3, 4] mask none {"causal":true}',
        [Real(1, 1, 3, 4), Real(1, 1, 3, 4), Real(1, 1, 3, 4)],
        lambda q, k, v: ATTEND(q, k, v, is_causal=True),
    ),
    ("rope beyond a block", "[70, 72]", [Real(70, 72)], rope),
    ("rope", "[3, 4]", [Real(3, 4)], rope),
    (
        "upsample bilinear",
        '[1, 1, 3, 4] {"size":[5,3],"mode":"bilinear","alignCorners":true}',
        [Real(1, 1, 3, 4)],
        lambda x: F.interpolate(x, size=(5, 3), mode="bilinear", align_corners=True),
    ),
    (
        "avgPool2d beyond a block",
        '[1, 5, 33, 20] {"kernelSize":3,"stride":2,"padding":1}',
        [Real(1, 5, 33, 20)],
        lambda x: F.avg_pool2d(x, 3, 2, 1),
    ),
    (
        "crossEntropy beyond a block",
        "[3, 1000]",
        [Real(3, 1000), Index(3, below=1000)],
        F.cross_entropy,
    ),
    (
        "crossEntropy beyond a block",
        '[67, 65] weighted {"reduction":"sum"}',
        [Real(67, 65), Index(67, below=65), Real(65, low=0.25, high=2)],
        lambda x, t, w: F.cross_entropy(x, t, w, reduction="sum"),
    ),
    ("mseLoss", "[3, 4] none", [Real(3, 4), Real(3, 4)], lambda a, b: F.mse_loss(a, b, reduction="none")),
    ("mseLoss", "[3, 4] sum", [Real(3, 4), Real(3, 4)], lambda a, b: F.mse_loss(a, b, reduction="sum")),
    (
        "bceWithLogits",
        "[3, 4] none",
        [Real(3, 4), Real(3, 4, **CHANCE)],
        lambda a, b: F.binary_cross_entropy_with_logits(a, b, reduction="none"),
    ),
    (
        "klDiv of logarithms",
        "[3, 4] none",
        [Real(3, 4, low=-3, high=0), Real(3, 4, low=-3, high=0)],
        lambda a, b: F.kl_div(a, b, reduction="none", log_target=True),
    ),
    ("cosineSimilarity", "[3, 4] [3, 4] axis 1", [Real(3, 4), Real(3, 4)], F.cosine_similarity),
    (
        "cosineEmbeddingLoss",
        "[4, 2] margin -0.9 none",
        [Real(4, 2), Real(4, 2), Index(4, below=2)],
        embedding_loss,
    ),
    (
        "tripletMarginLoss",
        '[2, 3] {"margin":20,"swap":true,"reduction":"none"}',
        [Real(2, 3, **UNIT), Real(2, 3, low=1.25, high=3), Real(2, 3, low=-4, high=-2)],
        lambda a, p, n: F.triplet_margin_loss(a, p, n, margin=20, swap=True, reduction="none"),
    ),
    ("rnnCell", "[2, 3] [2, 4] [4, 3] [4, 4] [4] [4]", cell(1, 1), torch.rnn_tanh_cell),
    (
        "lstmCell",
        "[2, 3] [2, 4] [2, 4] [16, 3] [16, 4] [16] [16]",
        cell(4, 2),
        lambda x, h, c, *w: torch.lstm_cell(x, (h, c), *w),
    ),
    (
        "gruCell",
        "[2, 3] [2, 4] [12, 3] [12, 4] [12] [12]",
        cell(3, 1),
        torch.gru_cell,
    ),
    (
        "scatterAdd",
        "[2, 2] [7, 2] axis 0",
        [Real(2, 2), Index(7, 2, below=2), Real(7, 2)],
        lambda x, i, u: x.scatter_add(0, i, u),
    ),
    ("sub", "[3, 4] [3, 4]", [Real(3, 4), Real(3, 4)], torch.sub),
    ("squaredDifference", "[3, 4] [3, 4]", [Real(3, 4), Real(3, 4)], lambda a, b: (a - b) ** 2),
    ("gelu", "[7]", [Real(7, low=-6, high=6)], F.gelu),
    ("gelu tanh", "[7]", [Real(7, low=-6, high=6)], lambda x: F.gelu(x, approximate="tanh")),
    ("glu", "[2, 6]", [Real(2, 6)], F.glu),
    ("exp", "[7]", [Real(7)], torch.exp),
    ("log", "[7]", [Real(7, low=0.25, high=4)], torch.log),
    ("sin", "[7]", [Real(7)], torch.sin),
    ("tan", "[7]", [Real(7, low=-1.25, high=1.25)], torch.tan),
    ("tanh", "[7]", [Real(7)], torch.tanh),
    ("erf", "[7]", [Real(7)], torch.erf),
    ("pow", "[3, 4] [3, 4]", [Real(3, 4, low=0.5, high=2), Real(3, 4)], torch.pow),
]


def results(function, inputs: list[np.ndarray], dtype: torch.dtype) -> list[torch.Tensor]:
    given = [torch.from_numpy(x.copy()) for x in inputs]
    found = function(*(x.to(dtype) if x.is_floating_point() else x for x in given))
    return [one.to(torch.float64) for one in (found if isinstance(found, tuple) else (found,))]


def measure(operands: list, function, seeds: int) -> tuple[list[float], list[float]]:
    """The largest miss of each result: absolute, and in units of the result."""
    absolute: list[float] = []
    relative: list[float] = []
    for seed in range(seeds):
        inputs = [operand.draw(1000 * seed + place) for place, operand in enumerate(operands)]
        pairs = list(zip(results(function, inputs, torch.float32), results(function, inputs, torch.float64)))
        for k, (single, double) in enumerate(pairs):
            if seed == 0:
                absolute.append(0.0)
                relative.append(0.0)
            miss = (single - double).abs()
            absolute[k] = max(absolute[k], float(miss.max()))
            relative[k] = max(relative[k], float((miss / double.abs().clamp_min(2.0**-126)).max()))
    return absolute, relative


def main() -> None:
    points = []
    for row, label, operands, function in CASES:
        seeds = FEW_SEEDS if sum(math.prod(operand.shape) for operand in operands) > LARGE else SEEDS
        absolute, relative = measure(operands, function, seeds)
        points.append(
            {
                "row": row,
                "label": label,
                "seeds": seeds,
                "operands": [operand.facts() for operand in operands],
                "absolute": [float(f"{one:.3g}") for one in absolute],
                "relative": [float(f"{one:.3g}") for one in relative],
            }
        )
    lines = ",\n".join("    " + json.dumps(point) for point in points)
    text = f'{{\n  "torch": "{VERSIONS["torch"]}",\n  "points": [\n{lines}\n  ]\n}}\n'
    (HERE / "misses.json").write_text(text)


if __name__ == "__main__":
    main()
