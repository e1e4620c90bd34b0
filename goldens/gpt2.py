"""A small random GPT-2 in Hugging Face's layout with the logits and the greedy text of transformers, and nanoGPT's first step.

python gpt2.py
"""

import json
import math
import shutil
import zlib

from golden import HERE, VERSIONS, number, torch, write_json

import transformers
from transformers import AutoModelForCausalLM, GPT2Config

OUT = HERE / "gpt2"
PROMPT = [1, 17, 4, 30, 30, 8, 41, 2, 25, 12]
NEW_TOKENS = 16
# float32 is some 1e-6 off.
CLEAR = 1e-3
SIZES = {
    "vocab_size": 48,
    "n_positions": 32,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Name: configuration, dtype of the file.
CASES = {
    "tied": (GPT2Config(**SIZES), torch.float32),
    "own": (
        GPT2Config(
            **SIZES, n_inner=40, activation_function="gelu", layer_norm_epsilon=1e-4, tie_word_embeddings=False
        ),
        torch.bfloat16,
    ),
}


def initialise(model, name):
    """Wide enough that heads attend to different places; the seed is the name alone."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, value in sorted(model.named_parameters()):
            draw = torch.randn(value.shape, generator=generator)
            if value.dim() == 2:
                value.copy_(draw * 1.5 / value.shape[0 if "c_" in key else 1] ** 0.5)
            elif ".ln_" in key and key.endswith("weight"):
                value.copy_(1 + 0.3 * draw)
            else:
                value.copy_(0.3 * draw)


def reference(folder):
    """The files as transformers reads them, computed in float64."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        logits = model(ids).logits[0]
        text = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=0
        )[0]
        # Greedy ids mean something only where the best is clear of the next.
        best = model(text[None]).logits[0].topk(2).values
    gap = (best[len(PROMPT) - 1 :, 0] - best[len(PROMPT) - 1 :, 1]).min().item()
    if gap < CLEAR:
        raise SystemExit(f"{folder.name}: the two best logits are {gap} apart; choose another seed")
    return logits, text[len(PROMPT) :].tolist()


# --- nanoGPT ----------------------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        nn = torch.nn
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (
            part.view(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(width / self.heads)
        ahead = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(ahead, -math.inf).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(torch.nn.functional.gelu(self.up(self.feed_forward_norm(x))))


class NanoGpt(torch.nn.Module):
    def __init__(self, vocab, tokens, width, heads, blocks):
        super().__init__()
        nn = torch.nn
        self.embedding, self.position = nn.Embedding(vocab, width), nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


NAMES = {
    "attention_norm": "attentionNorm",
    "feed_forward_norm": "feedForwardNorm",
    "qkv": "attention.qkv",
    "out": "attention.out",
    "up": "feedForward.up",
    "down": "feedForward.down",
}
NANO = {"vocab": 9, "tokens": 6, "width": 8, "heads": 2, "blocks": 2}
STEPS, LR, DECAY = 3, 1e-2, 0.1


def our_name(name):
    parts = [NAMES.get(part, part) for part in name.split(".")]
    return ".".join(parts)


def nanogpt():
    """Initial weights on a grid of 1/64, the first gradients, and the losses and weights of a few steps of AdamW, in float64."""
    generator = torch.Generator().manual_seed(zlib.crc32(b"nanogpt"))
    model = NanoGpt(**NANO).double()
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            draw = torch.round(torch.randn(value.shape, generator=generator, dtype=torch.float64) * 20) / 64
            value.copy_(1 + draw / 4 if name.endswith("norm.weight") else draw)
    tokens = torch.randint(NANO["vocab"], (4, NANO["tokens"] + 1), generator=generator)
    x, y = tokens[:, :-1], tokens[:, 1:]
    values = lambda t: [number(round(entry, 9)) for entry in t.detach().reshape(-1).tolist()]
    by_name = lambda read: {our_name(n): values(read(p)) for n, p in model.named_parameters()}
    document = {"versions": VERSIONS, "config": NANO, "lr": LR, "weightDecay": DECAY, "x": x.tolist(), "y": y.tolist()}
    document["weights"] = by_name(lambda p: p)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY, foreach=False)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        losses.append(number(loss.item()))
        if step == 0:
            document["logits"] = values(logits)
            document["gradients"] = by_name(lambda p: p.grad)
        optimizer.step()
    document["losses"] = losses
    write_json(OUT / "nanogpt.json", document)
    print("nanogpt", losses)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    versions = {**VERSIONS, "transformers": transformers.__version__}
    for name, (config, dtype) in CASES.items():
        folder = OUT / name
        model = AutoModelForCausalLM.from_config(config)
        initialise(model, name)
        model.to(dtype).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        for file in folder.iterdir():
            file.chmod(0o644)
        logits, greedy = reference(folder)
        document = {
            "model": name,
            "versions": versions,
            "prompt": PROMPT,
            "logits": [[number(round(entry, 7)) for entry in row] for row in logits.tolist()],
            "greedy": greedy,
        }
        write_json(folder / "expected.json", document)
        print(name, json.dumps(greedy))
    nanogpt()


if __name__ == "__main__":
    main()
