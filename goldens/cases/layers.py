"""Normalisation, attention, rotary positions, transposed convolution, unfolding, adaptive pooling, upsampling, blocks."""

import math

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from golden import Inputs, Op, mask, tensor

NAN = float("nan")


def build():
    return [*_norms(), *_attention(), *_rope(), *_transposed(), *_unfold(), *_adaptive(), *_upsample(), *_blocks()]


def _norms():
    def layer_norm(x, weight=None, bias=None, normalizedShape=None, eps=1e-5):
        shape = normalizedShape or (x.shape[-1:] if weight is None else weight.shape)
        return F.layer_norm(x, list(shape), weight, bias, eps)

    op, draw = Op("layerNorm", layer_norm, ["input", "weight", "bias"]), Inputs("layerNorm")
    op.case("plain", draw.normal(3, 4))
    op.case("weight and bias", draw.normal(2, 3, 4), draw.normal(4), draw.normal(4))
    op.case("weight", draw.normal(3, 4), draw.normal(4))
    op.case("eps", draw.normal(2, 5), draw.normal(5), draw.normal(5), eps=0.5)
    op.case("two dimensions", draw.normal(2, 2, 3), draw.normal(2, 3), draw.normal(2, 3))
    op.case("normalised shape", draw.normal(2, 2, 3), normalizedShape=[2, 3])
    op.case("vector", draw.normal(6), draw.normal(6), draw.normal(6))
    op.case("constant rows", tensor([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]]), draw.normal(3), draw.normal(3), second=False)
    op.case("extremes", tensor([[1e4, -1e4, 0.0, 1e4]]), grad=False)
    op.case("NaN", tensor([[1.0, NAN], [1.0, 2.0]]), grad=False)
    yield op

    def rms_norm(x, weight=None, normalizedShape=None, eps=1e-5):
        shape = normalizedShape or (x.shape[-1:] if weight is None else weight.shape)
        return F.rms_norm(x, list(shape), weight, eps)

    op, draw = Op("rmsNorm", rms_norm, ["input", "weight"]), Inputs("rmsNorm")
    op.case("plain", draw.normal(3, 4), eps=1e-5)
    op.case("weight", draw.normal(2, 3, 4), draw.normal(4), eps=1e-5)
    op.case("eps", draw.normal(2, 5), draw.normal(5), eps=0.5)
    op.case("two dimensions", draw.normal(2, 2, 3), draw.normal(2, 3), eps=1e-6)
    op.case("normalised shape", draw.normal(2, 2, 3), normalizedShape=[2, 3], eps=1e-6)
    yield op

    def group_norm(x, weight=None, bias=None, groups=1, eps=1e-5):
        return F.group_norm(x, groups, weight, bias, eps)

    op, draw = Op("groupNorm", group_norm, ["input", "weight", "bias"]), Inputs("groupNorm")
    op.case("two groups", draw.normal(2, 4, 3), draw.normal(4), draw.normal(4), groups=2)
    op.case("one group", draw.normal(2, 3, 2, 2), draw.normal(3), draw.normal(3), groups=1)
    op.case("plain", draw.normal(2, 4, 2), groups=2, eps=0.25)
    yield op

    def instance_norm(x, weight=None, bias=None, eps=1e-5):
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)

    op, draw = Op("instanceNorm", instance_norm, ["input", "weight", "bias"]), Inputs("instanceNorm")
    op.case("image", draw.normal(2, 2, 2, 3), draw.normal(2), draw.normal(2))
    op.case("signal", draw.normal(2, 3, 4))
    yield op

    def batch_norm(x, weight=None, bias=None, runningMean=None, runningVariance=None, training=False, eps=1e-5):
        # PyTorch writes into the running statistics.
        running = [None if one is None else one.clone() for one in (runningMean, runningVariance)]
        return F.batch_norm(x, *running, weight, bias, training, 0.1, eps)

    op, draw = Op("batchNorm", batch_norm, ["input", "weight", "bias"]), Inputs("batchNorm")
    running = {"runningMean": draw.normal(3), "runningVariance": draw.uniform(0.25, 2, 3)}
    op.case("training, images", draw.normal(2, 3, 2, 2), draw.normal(3), draw.normal(3), training=True)
    op.case("training, rows", draw.normal(4, 3), draw.normal(3), draw.normal(3), training=True, optional=running)
    op.case("training, plain", draw.normal(2, 2, 3), training=True, eps=0.5)
    op.case("running", draw.normal(2, 3, 2, 2), draw.normal(3), draw.normal(3), training=False, optional=running)
    op.case("running, rows", draw.normal(2, 3), training=False, optional=running)
    yield op


def _attention():
    def attention(q, k, v, mask=None, causal=False, scale=None):
        queries, keys = q.shape[-2], k.shape[-2]
        if causal:
            # Aligned bottom-right: the last query sees the last key.
            assert mask is None
            mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, mask, 0.0, False, scale=scale, enable_gqa=True)

    name = "scaledDotProductAttention"
    op, draw = Op(name, attention, ["q", "k", "v", "mask"]), Inputs(name)

    def heads(queries, keys, count=2, shared=2, size=2, batch=1):
        return draw.normal(batch, count, queries, size), *(draw.normal(batch, shared, keys, size) for _ in range(2))

    op.case("plain", *heads(3, 4, batch=2))
    op.case("causal", *heads(3, 3), causal=True)
    op.case("causal, more keys", *heads(2, 4), causal=True)
    op.case("causal, more queries: the first see nothing", *heads(4, 2), causal=True)
    op.case("grouped queries", *heads(2, 3, count=4, shared=2), causal=True)
    op.case("one key head", *heads(2, 3, count=3, shared=1))
    op.case("scale", *heads(2, 3), scale=0.25)
    sees = [[True, False, True], [False, False, False]]
    op.case("bool mask, one row sees nothing", *heads(2, 3), optional={"mask": mask(sees)})
    op.case("mask of each sample and head", *heads(2, 2), optional={"mask": mask([[[[True, False], [True, True]]]])})
    op.case("added mask", *heads(2, 3), optional={"mask": draw.normal(2, 1, 3)})
    op.case("added mask with gradient", *heads(2, 3), draw.normal(2, 3))
    far = tensor([[[[1e4, -1e4]]]]), tensor([[[[1e2, 1.0], [1.0, 1e2]]]])
    op.case("extremes", *far, draw.normal(1, 1, 2, 2), second=False)
    op.case("values of another size", *heads(2, 3)[:2], draw.normal(1, 2, 3, 4))
    yield op


def _rope():
    def frequencies(size, base, scaling):
        plain = 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
        if scaling is None:
            return plain
        if scaling["type"] == "linear":
            return plain / scaling["factor"]
        # As in Llama 3.1's reference code.
        low = scaling["originalContext"] / scaling.get("lowFrequencyFactor", 1)
        high = scaling["originalContext"] / scaling.get("highFrequencyFactor", 4)
        result = []
        for frequency in plain.tolist():
            wave = 2 * math.pi / frequency
            if wave < high:
                result.append(frequency)
            elif wave > low:
                result.append(frequency / scaling["factor"])
            else:
                spread = scaling.get("highFrequencyFactor", 4) - scaling.get("lowFrequencyFactor", 1)
                smooth = (scaling["originalContext"] / wave - scaling.get("lowFrequencyFactor", 1)) / spread
                result.append((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)
        return torch.tensor(result, dtype=torch.float64)

    def rope(x, base=10000.0, offset=0, interleaved=False, scaling=None):
        """As multiplication by complex numbers."""
        angles = torch.outer(
            torch.arange(offset, offset + x.shape[-2], dtype=torch.float64), frequencies(x.shape[-1], base, scaling)
        )
        turn = torch.polar(torch.ones_like(angles), angles)
        turn = turn.to(torch.complex64 if x.dtype == torch.float32 else torch.complex128)
        if interleaved:
            return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)
        real, imaginary = x.chunk(2, -1)
        turned = torch.complex(real, imaginary) * turn
        return torch.cat([turned.real, turned.imag], -1)

    op, draw = Op("rope", rope), Inputs("rope")
    op.case("halves", draw.normal(2, 3, 4))
    op.case("interleaved", draw.normal(2, 3, 4), interleaved=True)
    op.case("offset", draw.normal(1, 2, 2, 6), offset=5)
    op.case("base", draw.normal(3, 4), base=500000.0, interleaved=True, second=False)
    op.case("linear", draw.normal(3, 4), offset=2, scaling={"type": "linear", "factor": 4.0}, second=False)
    # The three pairs of wavelengths lie below, between and above the bounds.
    stretched = {"type": "llama3", "factor": 8.0, "originalContext": 64}
    op.case("llama3", draw.normal(3, 12), offset=40, base=100.0, scaling=stretched, second=False)
    bounds = {**stretched, "lowFrequencyFactor": 2.0, "highFrequencyFactor": 3.0}
    op.case("llama3, bounds", draw.normal(2, 12), offset=7, base=100.0, scaling=bounds, second=False)
    yield op


TRANSPOSED = {
    "plain": ((1, 2, 4), (2, 3, 3), {}),
    "stride": ((1, 2, 3), (2, 1, 3), {"stride": 2}),
    "padding": ((1, 1, 4), (1, 2, 3), {"stride": 2, "padding": 1}),
    "output padding": ((1, 1, 3), (1, 2, 3), {"stride": 3, "padding": 1, "outputPadding": 2}),
    "output padding from dilation": ((1, 1, 3), (1, 2, 2), {"dilation": 3, "padding": 1, "outputPadding": 2}),
    "groups": ((1, 4, 3), (4, 2, 2), {"groups": 2, "stride": 2, "dilation": 2}),
}


TRANSPOSED_VOLUMES = {
    "plain": ((1, 2, 2), (2, 1, 2), {}),
    "stride": ((1, 1, 2), (1, 1, 2), {"stride": 2, "padding": 1, "outputPadding": 1}),
    "groups": ((1, 2, 1), (2, 1, 2), {"groups": 2, "dilation": 2}),
}


def _transposed():
    functions = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
    for rank, run in functions.items():
        name = f"convTranspose{rank}d"

        def transposed(x, weight, bias=None, run=run, outputPadding=0, **options):
            return run(x, weight, bias, output_padding=outputPadding, **options)

        op, draw = Op(name, transposed, ["input", "weight", "bias"]), Inputs(name)
        # Volumes are large files: small ones, and not all of the options.
        table = TRANSPOSED if rank < 3 else TRANSPOSED_VOLUMES
        for label, (image, kernel, options) in table.items():
            channels = kernel[1] * options.get("groups", 1)
            op.case(
                label,
                draw.normal(*image, *image[2:] * (rank - 1)),
                draw.normal(*kernel, *kernel[2:] * (rank - 1)),
                draw.normal(channels),
                second=label in ("padding", "output padding from dilation"),
                **options,
            )
        op.case("no bias", draw.normal(1, 1, *[2] * rank), draw.normal(1, 1, *[2] * rank))
        if rank == 2:
            pairs = {"stride": [2, 1], "padding": [1, 0], "outputPadding": [1, 0], "dilation": [1, 2]}
            op.case("pairs", draw.normal(1, 2, 2, 3), draw.normal(2, 1, 3, 2), draw.normal(1), **pairs)
        yield op


def _unfold():
    def unfold(x, kernelSize, **options):
        return F.unfold(x, kernelSize, **options)

    op, draw = Op("unfold", unfold), Inputs("unfold")
    op.case("plain", draw.normal(2, 2, 3, 3), kernelSize=2)
    op.case("everything", draw.normal(1, 2, 5, 4), kernelSize=[2, 3], dilation=[2, 1], padding=[1, 0], stride=[2, 1])
    yield op

    def fold(x, outputSize, kernelSize, **options):
        return F.fold(x, outputSize, kernelSize, **options)

    op, draw = Op("fold", fold), Inputs("fold")
    op.case("plain", draw.normal(1, 4, 4), outputSize=3, kernelSize=2)
    options = {"kernelSize": [2, 3], "dilation": [2, 1], "padding": [1, 0], "stride": [2, 1]}
    op.case("everything", draw.normal(2, 6, 6), outputSize=[5, 4], **options)
    op.case("gaps", draw.normal(1, 1, 4), outputSize=5, kernelSize=1, stride=3)
    yield op


def _adaptive():
    for kind, functions in (
        ("Avg", (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)),
        ("Max", (F.adaptive_max_pool1d, F.adaptive_max_pool2d)),
    ):
        for rank, run in enumerate(functions, 1):
            name = f"adaptive{kind}Pool{rank}d"

            def pooled(x, outputSize, run=run):
                return run(x, outputSize)

            op, draw = Op(name, pooled), Inputs(name)
            op.case("divides", draw.distinct(1, 2, *[4] * rank), outputSize=2)
            op.case("overlap", draw.distinct(1, 2, *[5] * rank), outputSize=3)
            op.case("larger than the input", draw.distinct(1, 1, *[3] * rank), outputSize=5)
            op.case("one", draw.distinct(2, 1, *[3] * rank), outputSize=1)
            holes = draw.distinct(1, 1, *[5] * rank)
            holes.view(-1)[1] = NAN
            holes.view(-1)[-1] = math.inf
            op.case("notFinite", holes, grad=False, outputSize=3)
            if rank == 2:
                op.case("pair", draw.distinct(1, 1, 5, 3), outputSize=[2, 3])
            if kind == "Max":
                op.case("ties: first wins", torch.ones(1, 1, *[5] * rank, dtype=torch.float64), outputSize=3)
            yield op


def _upsample():
    def upsample(x, size=None, scaleFactor=None, mode="nearest", alignCorners=None):
        return F.interpolate(x, size, scaleFactor, mode, alignCorners)

    op, draw = Op("upsample", upsample), Inputs("upsample")
    op.case("nearest, twice", draw.normal(1, 2, 2, 3), scaleFactor=2)
    op.case("nearest, signal", draw.normal(1, 2, 3), size=5)
    op.case("nearest, pair", draw.normal(1, 1, 3, 4), size=[4, 2])
    op.case("nearest, fraction", draw.normal(1, 1, 5), scaleFactor=1.5)
    op.case("nearest, smaller", draw.normal(1, 1, 5, 5), scaleFactor=0.5)
    op.case("nearest, volume", draw.normal(1, 1, 2, 2, 2), size=[3, 2, 4], second=False)
    for corners in (False, True):
        also = ", corners" if corners else ""
        op.case(f"linear{also}", draw.normal(1, 2, 4), size=7, mode="linear", alignCorners=corners)
        op.case(f"bilinear{also}", draw.normal(1, 2, 3, 2), size=[5, 4], mode="bilinear", alignCorners=corners)
        op.case(f"bilinear, smaller{also}", draw.normal(1, 1, 5, 4), size=[2, 1], mode="bilinear", alignCorners=corners)
        op.case(
            f"bilinear, factors{also}",
            draw.normal(1, 1, 3, 3),
            second=False,
            scaleFactor=[1.5, 2.25],
            mode="bilinear",
            alignCorners=corners,
        )
    yield op


def _blocks():
    def quantize(x, format):
        """The bytes of GGUF's blocks, in NumPy's float32, written after ggml's reference."""
        blocks = x.detach().numpy().astype(np.float32).reshape(-1, 32)
        with np.errstate(divide="ignore"):
            if format == "q8_0":
                scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
                levels = blocks * np.where(scale == 0, np.float32(0), np.float32(1) / scale)
                rounded = np.sign(levels) * np.floor(np.abs(levels.astype(np.float64)) + 0.5)
                values = rounded.astype(np.int8).view(np.uint8)
            else:
                extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(1, keepdims=True), 1)
                scale = extreme / np.float32(-8)
                levels = blocks * np.where(scale == 0, np.float32(0), np.float32(1) / scale)
                nibbles = np.minimum(15, np.trunc(levels + np.float32(8.5))).astype(np.uint8)
                values = nibbles[:, :16] | nibbles[:, 16:] << 4
        packed = np.concatenate([scale.astype("<f2").view(np.uint8), values], 1)
        return torch.tensor(packed.reshape(x.shape[0], -1), dtype=torch.int64)

    op, draw = Op("quantize", quantize), Inputs("quantize")
    for format in ("q8_0", "q4_0"):
        op.case(format, draw.normal(2, 64), grad=False, format=format)
        tiny = torch.stack([torch.zeros(32, dtype=torch.float64), draw.normal(32) / 2**26])
        op.case(f"{format}, zeros and tiny values", tiny, grad=False, format=format)
        halves = torch.arange(-16, 16, dtype=torch.float64).reshape(1, 32) / 2
        op.case(f"{format}, halves", halves, grad=False, format=format)
    yield op
