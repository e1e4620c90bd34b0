"""PyTorch on the CPU, eagerly, with its fused optimisers, and in bf16 where the work says so (autocast)."""

import math

import peer
import torch
from torch import nn
from torch.nn import functional as F


def values(shape, seed, scale=1.0):
    return torch.from_numpy(peer.values(shape, seed, scale))


def classes(shape, seed, count):
    return torch.from_numpy(peer.classes(shape, seed, count)).long()


@torch.no_grad()
def start(model):
    index = 0
    for name, p in model.named_parameters():
        if p.dim() > 1:
            p.copy_(values(p.shape, 100 + index, 1 / math.sqrt(math.prod(p.shape[1:]))))
            index += 1
        elif name.endswith("bias"):
            p.zero_()


def precision(work):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=work.get("precision") == "bf16")


def training(work, model, optimizer, x, y):
    start(model)
    opt = optimizer(model.parameters())

    def step():
        opt.zero_grad(set_to_none=True)
        with precision(work):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss.item()

    first = step()
    step()
    step()
    return step, [first, first - step()]


def matmul(work):
    a = values([work["rows"], work["depth"]], 1)
    b = values([work["depth"], work["columns"]], 2)

    def run():
        with precision(work):
            return a @ b

    result = run().float()
    return run, [result[0, 0].item(), result[-1, -1].item()]


def mlp(work):
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    sgd = lambda p: torch.optim.SGD(p, lr=0.01, fused=True)
    return training(work, model, sgd, values([64, 784], 1), classes([64], 2, 10))


def lenet(work):
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    adam = lambda p: torch.optim.Adam(p, lr=1e-5, fused=True)
    return training(work, model, adam, values([64, 1, 28, 28], 1), classes([64], 2, 10))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.inputs(x).split(width, dim=2)
        q, k, v = (p.view(batch, tokens, self.heads, -1).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x):
        h = x + self.attention(self.norm1(x))
        return h + self.narrow(F.gelu(self.widen(self.norm2(h))))


class NanoGpt(nn.Module):
    def __init__(self, vocab, tokens, width, heads, blocks):
        super().__init__()
        self.embed = nn.Parameter(torch.zeros(vocab, width))
        self.position = nn.Parameter(torch.zeros(tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens):
        h = F.embedding(tokens, self.embed) + self.position
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h)).flatten(0, 1)


def nanogpt(work):
    model = NanoGpt(65, 128, 128, 4, 3)
    adamw = lambda p: torch.optim.AdamW(p, lr=1e-5, fused=True)
    return training(work, model, adamw, classes([32, 128], 1, 65), classes([32 * 128], 2, 65))


def prepared(make):
    def prepare(work, threads):
        torch.set_num_threads(threads)
        run, check = make(work)
        return {"run": run, "check": check, "version": torch.__version__}

    return prepare


kinds = {"matmul": matmul, "mlp": mlp, "lenet": lenet, "nanogpt": nanogpt}
peer.serve({kind: prepared(make) for kind, make in kinds.items()})
