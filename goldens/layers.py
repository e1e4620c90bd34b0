"""Layers and losses of torch.nn: what they give, all gradients and buffers; initial draws; a model's state dict as safetensors.

python layers.py
"""

from golden import HERE, VERSIONS, Inputs, encode, number, torch, write_json
from layers_tables import INITIAL, LOSSES

from safetensors.torch import save_file

nn = torch.nn
OUT = HERE / "layers"


class Called(nn.Module):
    """A module that is called with more than its input."""

    def __init__(self, module, *more):
        super().__init__()
        self.module = module
        self.more = more

    def forward(self, x):
        return self.module(x, *self.more)


# name of the case: (module, shapes of its float inputs). A case runs in training first, then in evaluation.
IMAGE, SIGNAL, VOLUME = (2, 4, 5, 3), (2, 4, 6), (2, 2, 3, 4, 3)
LAYERS = {
    "ConvTranspose1d": (nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1), SIGNAL),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), groups=2, dilation=(1, 2)), IMAGE),
    "ConvTranspose2d without bias": (nn.ConvTranspose2d(4, 2, 2, bias=False), IMAGE),
    "ConvTranspose3d": (nn.ConvTranspose3d(2, 1, 2, stride=(1, 2, 1)), (1, 2, 2, 3, 2)),
    "Conv2d depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), IMAGE),
    "MaxPool3d": (nn.MaxPool3d(2, stride=1, padding=1), VOLUME),
    "AvgPool3d": (nn.AvgPool3d((1, 2, 3), ceil_mode=True, count_include_pad=False), VOLUME),
    "AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d(4), SIGNAL),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((3, None)), IMAGE),
    "AdaptiveAvgPool3d": (nn.AdaptiveAvgPool3d((2, 3, 2)), VOLUME),
    "AdaptiveMaxPool1d": (nn.AdaptiveMaxPool1d(4), SIGNAL),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d((2, 3)), IMAGE),
    "AdaptiveMaxPool3d": (nn.AdaptiveMaxPool3d((2, 3, 2)), VOLUME),
    "GlobalAvgPool": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGE),
    "GlobalMaxPool": (nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), IMAGE),
    "BatchNorm1d of features": (nn.BatchNorm1d(4), (5, 4)),
    "BatchNorm1d of signals": (nn.BatchNorm1d(4, momentum=0.25, eps=1e-3), SIGNAL),
    "BatchNorm2d": (nn.BatchNorm2d(4), IMAGE),
    "BatchNorm2d of one image": (nn.BatchNorm2d(4), (1, 4, 3, 1)),
    "BatchNorm2d cumulative": (nn.BatchNorm2d(4, momentum=None), IMAGE),
    "BatchNorm2d not affine": (nn.BatchNorm2d(4, affine=False), IMAGE),
    "BatchNorm2d without statistics": (nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "BatchNorm3d": (nn.BatchNorm3d(2), VOLUME),
    "RMSNorm": (nn.RMSNorm(6), SIGNAL),
    "RMSNorm of two dimensions": (nn.RMSNorm((5, 3), eps=1e-2), IMAGE),
    "GroupNorm": (nn.GroupNorm(2, 4), IMAGE),
    "GroupNorm of features": (nn.GroupNorm(2, 4, affine=False), (3, 4)),
    "InstanceNorm1d": (nn.InstanceNorm1d(4), SIGNAL),
    "InstanceNorm2d": (nn.InstanceNorm2d(4, affine=True), IMAGE),
    "InstanceNorm2d with statistics": (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGE),
    "InstanceNorm3d with statistics": (nn.InstanceNorm3d(2, momentum=0.25, track_running_stats=True), VOLUME),
    "Upsample nearest": (nn.Upsample(scale_factor=2), IMAGE),
    "Upsample nearest by size": (nn.Upsample(size=(7, 2)), IMAGE),
    "Upsample linear": (nn.Upsample(scale_factor=1.5, mode="linear"), SIGNAL),
    "Upsample bilinear": (nn.Upsample(scale_factor=(2, 3), mode="bilinear"), IMAGE),
    "Upsample bilinear by corners": (nn.Upsample(size=(4, 6), mode="bilinear", align_corners=True), IMAGE),
    "PixelShuffle": (nn.PixelShuffle(2), (2, 8, 2, 3)),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), (2, 2, 4, 6)),
    "Unflatten": (nn.Unflatten(1, (2, 2)), (3, 4)),
    "Dropout1d": (nn.Dropout1d(0.0), SIGNAL),
    "Dropout2d": (nn.Dropout2d(0.0), IMAGE),
    "Dropout3d": (nn.Dropout3d(0.0), VOLUME),
    "Sequential with names": (nn.Sequential(), (3, 4)),
    "Linear": (nn.Linear(4, 3), (2, 3, 4)),
    "Linear without bias": (nn.Linear(4, 3, bias=False), (3, 4)),
    "Conv1d": (nn.Conv1d(4, 3, 3, stride=2, padding=1), SIGNAL),
    "Conv2d": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2), IMAGE),
    "Conv2d same": (nn.Conv2d(4, 2, (2, 3), padding="same", bias=False), IMAGE),
    "Conv3d": (nn.Conv3d(2, 3, 2, padding=(0, 1, 0)), VOLUME),
    "ConvTranspose2d of a size": (Called(nn.ConvTranspose2d(4, 2, 3, stride=(2, 3), padding=1), (10, 8)), IMAGE),
    "MaxPool1d": (nn.MaxPool1d(3, stride=2), SIGNAL),
    "MaxPool2d": (nn.MaxPool2d(2, stride=1, padding=1), IMAGE),
    "AvgPool1d": (nn.AvgPool1d(3, stride=2, padding=1), SIGNAL),
    "AvgPool2d": (nn.AvgPool2d(2, ceil_mode=True), IMAGE),
    "LayerNorm": (nn.LayerNorm(6), SIGNAL),
    "LayerNorm of two dimensions": (nn.LayerNorm((5, 3), eps=1e-2, bias=False), IMAGE),
    "Flatten": (nn.Flatten(), IMAGE),
    "Identity": (nn.Identity(), SIGNAL),
    "Dropout": (nn.Dropout(0.0), SIGNAL),
    "Softmax2d": (nn.Softmax2d(), IMAGE),
    "LPPool1d": (nn.LPPool1d(1, 3, stride=2), SIGNAL),
    "LPPool2d": (nn.LPPool2d(2, (2, 3), stride=(1, 2), ceil_mode=True), IMAGE),
    "LPPool3d": (nn.LPPool3d(4, (1, 2, 2)), VOLUME),
    "Unfold": (nn.Unfold((2, 3), dilation=(2, 1), padding=1, stride=(1, 2)), IMAGE),
    "Fold": (nn.Fold((3, 4), (2, 3), padding=(0, 1), stride=(1, 2)), (2, 12, 4)),
    "ChannelShuffle": (nn.ChannelShuffle(2), IMAGE),
    "ZeroPad1d": (nn.ZeroPad1d((1, 2)), SIGNAL),
    "ZeroPad2d": (nn.ZeroPad2d((0, 1, 2, -1)), IMAGE),
    "ZeroPad3d": (nn.ZeroPad3d(1), VOLUME),
    "ConstantPad1d": (nn.ConstantPad1d((2, -1), 1.5), SIGNAL),
    "ConstantPad2d": (nn.ConstantPad2d(2, -0.5), IMAGE),
    "ConstantPad3d": (nn.ConstantPad3d((1, 0, 0, 2, 0, 1), 3.0), VOLUME),
    "ReflectionPad1d": (nn.ReflectionPad1d((3, 1)), SIGNAL),
    "ReflectionPad2d": (nn.ReflectionPad2d((2, 1, 4, 0)), IMAGE),
    "ReflectionPad3d": (nn.ReflectionPad3d((1, 2, 3, 0, 1, 1)), VOLUME),
    "ReplicationPad1d": (nn.ReplicationPad1d((3, 1)), SIGNAL),
    "ReplicationPad2d": (nn.ReplicationPad2d((2, 1, 4, 0)), IMAGE),
    "ReplicationPad3d": (nn.ReplicationPad3d((1, 2, 5, 0, 1, 1)), VOLUME),
    "CircularPad1d": (nn.CircularPad1d((6, 1)), SIGNAL),
    "CircularPad2d": (nn.CircularPad2d((2, 1, 4, 0)), IMAGE),
    "CircularPad3d": (nn.CircularPad3d((1, 2, 3, 0, 1, 1)), VOLUME),
}
LAYERS["Sequential with names"][0].add_module("hidden", nn.Linear(4, 3))
LAYERS["Sequential with names"][0].add_module("act", nn.Tanh())
LAYERS["Sequential with names"][0].add_module("out", nn.Linear(3, 2))

ACTIVATIONS = {
    "ELU": nn.ELU(0.75),
    "CELU": nn.CELU(1.5),
    "SELU": nn.SELU(),
    "ReLU6": nn.ReLU6(),
    "Hardsigmoid": nn.Hardsigmoid(),
    "Hardswish": nn.Hardswish(),
    "Hardtanh": nn.Hardtanh(-0.5, 2.0),
    "Hardshrink": nn.Hardshrink(0.75),
    "Softshrink": nn.Softshrink(0.75),
    "Threshold": nn.Threshold(0.25, -1.0),
    "PReLU": nn.PReLU(),
    "PReLU by channel": nn.PReLU(3),
    "Mish": nn.Mish(),
    "LogSigmoid": nn.LogSigmoid(),
    "Softsign": nn.Softsign(),
    "Tanhshrink": nn.Tanhshrink(),
    "Softplus": nn.Softplus(),
    "Softplus with options": nn.Softplus(2.0, 3.0),
    "Softmin": nn.Softmin(dim=1),
    "GLU": nn.GLU(),
    "ReLU": nn.ReLU(),
    "LeakyReLU": nn.LeakyReLU(0.25),
    "GELU": nn.GELU(),
    "GELU by tanh": nn.GELU(approximate="tanh"),
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "Softmax": nn.Softmax(dim=-1),
    "LogSoftmax": nn.LogSoftmax(dim=1),
    "RReLU of one slope": nn.RReLU(0.25, 0.25),
}


def result(value):
    """A result to ten digits, which is closer than tests look."""
    return {**encode(value), "data": [number(float(f"{entry:.10g}")) for entry in encode(value)["data"]]}


def draw(source, kind):
    name, *sizes = kind.split()
    shape = [int(size) for size in sizes]
    if name == "normal":
        return source.normal(*shape)
    if name == "log":
        return -source.uniform(0.25, 3, *shape)
    if name == "count":
        return source.uniform(0, 4, *shape).round()
    return source.uniform(0.125, 0.875, *shape)


def fill(module, source):
    """Parameters and running statistics of their own: a weight of 1 and a mean of 0 hide mistakes."""
    with torch.no_grad():
        for _, value in module.named_parameters():
            value.copy_(source.normal(*value.shape, scale=0.5) + (1 if value.dim() == 1 else 0))
        for name, value in module.named_buffers():
            if name.endswith("running_mean"):
                value.copy_(source.normal(*value.shape))
            if name.endswith("running_var"):
                value.copy_(source.uniform(0.5, 2, *value.shape))


def run(module, inputs, constants, source):
    """Output and gradients of one pass."""
    leaves = [value.clone().requires_grad_(True) for value in inputs]
    output = module(*leaves, *constants)
    cotangent = source.away_from_zero(0.25, 2, *output.shape)
    parameters = dict(module.named_parameters())
    found = torch.autograd.grad(output, [*leaves, *parameters.values()], cotangent, allow_unused=True)
    zeros = [torch.zeros_like(a) if b is None else b for a, b in zip([*leaves, *parameters.values()], found)]
    return {
        "output": result(output),
        "cotangent": encode(cotangent),
        "inputGrads": [result(one) for one in zeros[: len(leaves)]],
        "grads": {name: result(one) for name, one in zip(parameters, zeros[len(leaves) :])},
    }


def case(name, module, inputs, constants=(), source=None):
    source = source or Inputs(f"layers/{name}")
    module = module.double()
    fill(module, source)
    record = {"name": name, "inputs": [encode(one, keep_negative_zero=True) for one in [*inputs, *constants]]}
    record["state"] = {key: encode(value) for key, value in module.state_dict().items()}
    record["differentiated"] = len(inputs)
    record["training"] = run(module.train(), inputs, constants, source)
    stateful = any(True for _ in module.buffers()) and not isinstance(module, torch.nn.modules.loss._Loss)
    if stateful:
        # A second batch, so that momentum and the count of batches are seen to go on.
        with torch.no_grad():
            module(inputs[0] * 2 + 0.5)
        record["buffers"] = {key: result(value) for key, value in module.named_buffers()}
        record["evaluation"] = run(module.eval(), inputs, constants, source)
    return record


def cases():
    for name, (module, shape) in LAYERS.items():
        source = Inputs(f"layers/{name}")
        ordered = "Max" in name
        inputs = [source.distinct(*shape) / 4 if ordered else source.normal(*shape)]
        yield case(name, module, inputs, source=source)
    for name, module in ACTIVATIONS.items():
        source = Inputs(f"layers/{name}")
        # Joints and what lies far out among ordinary points.
        joints = torch.tensor([0, 0.25, -0.5, 2, 6, -3, 3, 0.75, -0.75, -8, 25, 7], dtype=torch.float64)
        inputs = [torch.cat([source.normal(12, scale=2), joints]).reshape(2, 3, 4)]
        yield case(name, module, inputs, source=source)
    for name, (module, kinds, constants) in LOSSES.items():
        source = Inputs(f"layers/{name}")
        yield case(name, module, [draw(source, kind) for kind in kinds], constants, source)


def initial():
    """Mean, standard deviation and bounds of all that is in a fresh layer's state dict."""
    for name, (make, arguments, options) in INITIAL.items():
        torch.manual_seed(len(name))
        state = make(*arguments, **options).state_dict()
        yield {
            "layer": name,
            "state": {
                key: {
                    "shape": list(value.shape),
                    **{
                        kind: number(float(f"{entry:.4g}"))
                        for kind, entry in {
                            "mean": value.double().mean().item(),
                            "std": value.double().std(correction=0).item(),
                            "min": value.min().item(),
                            "max": value.max().item(),
                        }.items()
                    },
                }
                for key, value in state.items()
            },
        }


class Residual(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return x + self.block(x)


def network():
    """A model of all layers with parameters or buffers, and some without."""
    return nn.Sequential(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.PReLU(8),
            Residual(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.GroupNorm(4, 8), nn.SiLU())),
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(8, 4, 2, stride=2),
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            nn.Upsample(scale_factor=2),
            nn.PixelUnshuffle(2),
            nn.AdaptiveAvgPool2d((2, 3)),
            nn.Hardswish(),
            nn.Dropout2d(0.25),
            nn.Flatten(2),
            nn.Conv1d(16, 8, 3),
            nn.BatchNorm1d(8, momentum=None),
            nn.ConvTranspose1d(8, 4, 3),
            nn.InstanceNorm1d(4, track_running_stats=True),
            nn.ELU(),
        ),
        nn.Unflatten(1, (2, 2, 1)),
        nn.ConvTranspose3d(2, 2, 2),
        nn.BatchNorm3d(2),
        nn.InstanceNorm3d(2, affine=True, track_running_stats=True),
        nn.AvgPool3d((1, 2, 1)),
        nn.Conv3d(2, 4, (2, 1, 1)),
        nn.Flatten(),
        nn.Linear(56, 12),
        nn.BatchNorm1d(12),
        nn.LayerNorm(12),
        nn.GLU(),
        nn.RMSNorm(6),
        nn.PReLU(),
        nn.Linear(6, 5),
        nn.LogSoftmax(dim=-1),
    )


def checkpoint():
    """A trained state dict as PyTorch saves it, an input, and what the model makes of it in evaluation."""
    torch.manual_seed(1)
    model = network()
    source = Inputs("layers/network")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(model(source.normal(4, 3, 8, 8).float()), source.integers(0, 5, 4))
        loss.backward()
        optimizer.step()
    model.eval()
    x = source.normal(2, 3, 8, 8).float()
    path = OUT / "network.safetensors"
    save_file(model.state_dict(), path)
    path.chmod(0o644)
    write_json(OUT / "network.json", {"versions": VERSIONS, "input": encode(x), "output": result(model.double()(x.double()))})


def main():
    OUT.mkdir(exist_ok=True)
    write_json(OUT / "cases.json", {"versions": VERSIONS, "cases": list(cases()), "initial": list(initial())})
    checkpoint()


if __name__ == "__main__":
    main()
