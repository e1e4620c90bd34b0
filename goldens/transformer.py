"""A small encoder-decoder around torch.nn.Transformer: logits, loss and all gradients, with padding and a causal mask.

python transformer.py
"""

import math

from golden import HERE, VERSIONS, Inputs, number, torch, write_json

OUT = HERE / "transformer"
SIZES = {
    "sourceVocabSize": 11,
    "targetVocabSize": 9,
    "dModel": 8,
    "nhead": 2,
    "numEncoderLayers": 2,
    "numDecoderLayers": 2,
    "dimFeedforward": 12,
}
PAD = 0
SMOOTHING = 0.1
SOURCE = [[5, 9, 3, 10, 4], [7, 7, 6, 0, 0], [8, 0, 0, 0, 0]]
# From bos (1) to eos (2).
TARGET = [[1, 4, 8, 2, 0, 0], [1, 3, 5, 5, 7, 2], [1, 6, 2, 0, 0, 0]]


class Model(torch.nn.Module):
    """Scaled embeddings, sinusoidal positions, torch.nn.Transformer and an output layer without bias."""

    def __init__(self, norm_first):
        super().__init__()
        width = SIZES["dModel"]
        self.source = torch.nn.Embedding(SIZES["sourceVocabSize"], width)
        self.target = torch.nn.Embedding(SIZES["targetVocabSize"], width)
        self.transformer = torch.nn.Transformer(
            d_model=width,
            nhead=SIZES["nhead"],
            num_encoder_layers=SIZES["numEncoderLayers"],
            num_decoder_layers=SIZES["numDecoderLayers"],
            dim_feedforward=SIZES["dimFeedforward"],
            dropout=0.0,
            batch_first=True,
            norm_first=norm_first,
        )
        self.head = torch.nn.Linear(width, SIZES["targetVocabSize"], bias=False)

    def embed(self, table, tokens):
        width = SIZES["dModel"]
        place = torch.arange(tokens.shape[1], dtype=torch.float64)[:, None]
        rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
        waves = torch.stack([torch.sin(place * rate), torch.cos(place * rate)], dim=-1).reshape(-1, width)
        return table(tokens) * math.sqrt(width) + waves

    def forward(self, source, target):
        causal = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), diagonal=1)
        hidden = self.transformer(
            self.embed(self.source, source),
            self.embed(self.target, target),
            tgt_mask=causal,
            src_key_padding_mask=source == PAD,
            tgt_key_padding_mask=target == PAD,
            memory_key_padding_mask=source == PAD,
        )
        return self.head(hidden)


def initialise(model):
    """The seed of each weight is its name alone; attention is wide enough to choose."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            draw = Inputs(f"transformer/{name}").normal(*value.shape, scale=0.2 if value.dim() == 1 else 0.45)
            value.copy_(draw + (1 if "norm" in name and name.endswith("weight") else 0))


def flat(value, digits):
    return [number(float(f"{entry:.{digits}g}")) for entry in value.detach().reshape(-1).tolist()]


def main():
    source, target = torch.tensor(SOURCE), torch.tensor(TARGET)
    document = {
        "versions": VERSIONS,
        "sizes": SIZES,
        "labelSmoothing": SMOOTHING,
        "source": SOURCE,
        "target": TARGET,
        "weights": {},
        "orders": {},
    }
    for order in ("postNorm", "preNorm"):
        model = Model(order == "preNorm").double()
        initialise(model)
        logits = model(source, target[:, :-1])
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD, label_smoothing=SMOOTHING
        )
        loss.backward()
        document["weights"] = {name: flat(value, 17) for name, value in model.named_parameters()}
        document["orders"][order] = {
            "logits": flat(logits, 9),
            "loss": number(loss.item()),
            "gradients": {name: flat(value.grad, 7) for name, value in model.named_parameters()},
        }
        print(order, loss.item(), logits.abs().max().item())
    write_json(OUT / "expected.json", document)


if __name__ == "__main__":
    main()
