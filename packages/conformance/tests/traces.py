"""Losses of small models for src/traces/*.ts: PyTorch in float64, with the same weights and batches.

    python packages/conformance/tests/traces.py
"""

import math

import torch


class Source:
    """src/source.ts: SplitMix in 32 bits."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B9) & 0xFFFFFFFF
        z = self.state
        z = ((z ^ (z >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
        z = ((z ^ (z >> 15)) * 0x735A2D97) & 0xFFFFFFFF
        return z ^ (z >> 15)

    def below(self, end):
        return (self.bits() * end) >> 32

    def chance(self, n):
        return self.below(n) == 0

    def between(self, low, high):
        return low + self.below(high - low + 1)


SHAPES = [
    ("0.weight", [6, 1, 5, 5]), ("0.bias", [6]), ("3.weight", [16, 6, 5, 5]), ("3.bias", [16]),
    ("7.weight", [120, 256]), ("7.bias", [120]), ("9.weight", [84, 120]), ("9.bias", [84]),
    ("11.weight", [10, 84]), ("11.bias", [10]),
]


def weights():
    source = Source(2024)
    shapes = dict(SHAPES)
    result = {}
    for name, shape in SHAPES:
        bound = 1 / math.sqrt(math.prod(shapes[name.replace("bias", "weight")][1:]))
        values = [(source.between(-4096, 4096) / 4096) * bound for _ in range(math.prod(shape))]
        # Weights are float32 in the suite.
        result[name] = torch.tensor(values, dtype=torch.float64).float().double().reshape(shape)
    return result


def stripes(step, size):
    source = Source(1000 + step)
    labels = [source.below(10) for _ in range(size)]
    images = torch.zeros(size, 1, 28, 28, dtype=torch.float64)
    for n, c in enumerate(labels):
        for y in range(28):
            for x in range(28):
                bright = (x * (c + 2) + y * (3 * c + 1)) % 11 < 4
                images[n, 0, y, x] = (0.75 if bright else 0) + source.below(64) / 256
    return images, torch.tensor(labels)


def train(model, make, batch, steps=24):
    optimizer = make(model.parameters())
    losses = []
    for step in range(steps):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(f"{loss.item():.10g}"))
    return losses


def lenet():
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ).double()
    model.load_state_dict(weights())
    return model


VOCABULARY, CONTEXT, WIDTH, HEADS, BATCH = 11, 8, 16, 2, 4
GPT_SHAPES = [
    ("tokens", [VOCABULARY, WIDTH]), ("positions", [CONTEXT, WIDTH]), ("norm1Weight", [WIDTH]), ("norm1Bias", [WIDTH]),
    ("queryKeyValue", [3 * WIDTH, WIDTH]), ("project", [WIDTH, WIDTH]), ("projectBias", [WIDTH]),
    ("norm2Weight", [WIDTH]), ("norm2Bias", [WIDTH]), ("up", [4 * WIDTH, WIDTH]), ("upBias", [4 * WIDTH]),
    ("down", [WIDTH, 4 * WIDTH]), ("downBias", [WIDTH]), ("norm3Weight", [WIDTH]), ("norm3Bias", [WIDTH]),
]


class TinyGpt(torch.nn.Module):
    def __init__(self):
        super().__init__()
        source = Source(77)
        for name, shape in GPT_SHAPES:
            norm = name.startswith("norm")
            bound = 1 / math.sqrt(shape[1]) if len(shape) == 2 and not norm else 0.125
            middle = 1 if norm and name.endswith("Weight") else 0
            values = [middle + (source.between(-4096, 4096) / 4096) * bound for _ in range(math.prod(shape))]
            values = torch.tensor(values, dtype=torch.float64).float().double().reshape(shape)
            self.register_parameter(name, torch.nn.Parameter(values))

    def forward(self, index):
        f = torch.nn.functional
        x = self.tokens[index] + self.positions
        normed = f.layer_norm(x, [WIDTH], self.norm1Weight, self.norm1Bias)
        parts = f.linear(normed, self.queryKeyValue).split(WIDTH, dim=2)
        q, k, v = (one.reshape(BATCH, CONTEXT, HEADS, WIDTH // HEADS).transpose(1, 2) for one in parts)
        mixed = f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH)
        x = x + f.linear(mixed, self.project, self.projectBias)
        normed = f.layer_norm(x, [WIDTH], self.norm2Weight, self.norm2Bias)
        x = x + f.linear(f.gelu(f.linear(normed, self.up, self.upBias)), self.down, self.downBias)
        return f.linear(f.layer_norm(x, [WIDTH], self.norm3Weight, self.norm3Bias), self.tokens).reshape(-1, VOCABULARY)


def sequences(step):
    source = Source(500 + step)
    inputs, target = [], []
    for _ in range(BATCH):
        token = source.below(VOCABULARY)
        for _ in range(CONTEXT):
            inputs.append(token)
            token = source.below(VOCABULARY) if source.chance(8) else (2 * token + 1) % VOCABULARY
            target.append(token)
    return torch.tensor(inputs).reshape(BATCH, CONTEXT), torch.tensor(target)


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    # Three batches come again and again, so that losses fall.
    images, tokens = (lambda step: stripes(step % 3, 16)), (lambda step: sequences(step % 3))
    optim = torch.optim
    print("LeNet-5 SGD  ", train(lenet(), lambda p: optim.SGD(p, lr=0.1, momentum=0.9), images))
    print("LeNet-5 Adam ", train(lenet(), lambda p: optim.Adam(p, lr=4e-3), images))
    print("GPT     Adam ", train(TinyGpt(), lambda p: optim.Adam(p, lr=1e-2), tokens))
    print("GPT     AdamW", train(TinyGpt(), lambda p: optim.AdamW(p, lr=5e-3, weight_decay=0.1), tokens))
