"""Bounds and standard deviations of PyTorch's initialisers, taken from the calls PyTorch itself makes."""

import math
from contextlib import contextmanager
from unittest.mock import patch

from golden import HERE, VERSIONS, number, torch, write_json

nn, init = torch.nn, torch.nn.init

SHAPES = [[120, 256], [10, 84], [6, 1, 5, 5], [16, 6, 5, 5]]
NONLINEARITIES = {"linear": None, "sigmoid": None, "tanh": None, "relu": None, "selu": None, "leakyRelu": 0.25}
LAYERS = [
    ("Linear", {"inFeatures": 256, "outFeatures": 120}, lambda: nn.Linear(256, 120)),
    ("Linear", {"inFeatures": 84, "outFeatures": 10}, lambda: nn.Linear(84, 10)),
    ("Conv2d", {"inChannels": 1, "outChannels": 6, "kernelSize": 5}, lambda: nn.Conv2d(1, 6, 5)),
    ("Conv2d", {"inChannels": 6, "outChannels": 16, "kernelSize": 5}, lambda: nn.Conv2d(6, 16, 5)),
    (
        "Conv2d",
        {"inChannels": 8, "outChannels": 12, "kernelSize": [3, 2], "groups": 4},
        lambda: nn.Conv2d(8, 12, (3, 2), groups=4),
    ),
]


@contextmanager
def recorded():
    """The distributions PyTorch asks for while the block runs, in order."""
    calls = []
    uniform, normal = torch.Tensor.uniform_, torch.Tensor.normal_

    def on_uniform(self, low=0.0, high=1.0, **rest):
        assert low == -high
        calls.append({"shape": list(self.shape), "distribution": "uniform", "bound": high, "std": high / math.sqrt(3)})
        return uniform(self, low, high, **rest)

    def on_normal(self, mean=0.0, std=1.0, **rest):
        assert mean == 0
        calls.append({"shape": list(self.shape), "distribution": "normal", "std": std})
        return normal(self, mean, std, **rest)

    with patch.object(torch.Tensor, "uniform_", on_uniform), patch.object(torch.Tensor, "normal_", on_normal):
        yield calls


def layers():
    for name, options, make in LAYERS:
        with recorded() as calls:
            make()
        weight, bias = calls
        yield {"layer": name, "options": options, "weight": weight, "bias": bias}


def schemes():
    for shape in SHAPES:
        weight = torch.empty(shape)
        fan_in, fan_out = init._calculate_fan_in_and_fan_out(weight)
        fans = {"fanIn": fan_in, "fanOut": fan_out}
        for gain in (1.0, 1.5):
            for name, run in (("xavierUniform", init.xavier_uniform_), ("xavierNormal", init.xavier_normal_)):
                with recorded() as calls:
                    run(weight, gain=gain)
                yield {"scheme": name, "options": {"gain": number(gain)}, **fans, **calls[0]}
        for mode in ("fanIn", "fanOut"):
            for nonlinearity, a in (("relu", 0), ("leakyRelu", 0.25)):
                for name, run in (("heUniform", init.kaiming_uniform_), ("heNormal", init.kaiming_normal_)):
                    with recorded() as calls:
                        run(weight, a=a, mode=_snake(mode), nonlinearity=_snake(nonlinearity))
                    slope = {"a": a} if nonlinearity == "leakyRelu" else {}
                    options = {"mode": mode, "nonlinearity": nonlinearity, **slope}
                    yield {"scheme": name, "options": options, **fans, **calls[0]}


def _snake(name):
    return {"fanIn": "fan_in", "fanOut": "fan_out", "leakyRelu": "leaky_relu"}.get(name, name)


def main():
    gains = {name: init.calculate_gain(_snake(name), parameter) for name, parameter in NONLINEARITIES.items()}
    document = {"versions": VERSIONS, "gains": gains, "leakyReluSlope": 0.25}
    write_json(HERE / "init.json", {**document, "layers": list(layers()), "schemes": list(schemes())})


if __name__ == "__main__":
    main()
