"""Trajectories of torch.optim: parameters after each step of every optimiser, and rates of every schedule."""

import math

from golden import HERE, Inputs, VERSIONS, number, torch, write_json

optim = torch.optim
schedules = optim.lr_scheduler

# Scalars that optimisers keep beside their tensors (NAdam's product) have the default dtype.
torch.set_default_dtype(torch.float64)

STEPS = 15
# What is left out is PyTorch's default; names are ours, `_python` makes PyTorch's of them.
OPTIMIZERS = [
    ("SGD", [
        {"lr": 0.1},
        {"lr": 0.1, "weightDecay": 0.5},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.25, "weightDecay": 0.125},
        {"lr": 0.05, "momentum": 0.5, "nesterov": True, "weightDecay": 0.125},
        {"lr": 0.05, "momentum": 0.5, "maximize": True, "weightDecay": 0.125},
    ]),
    ("Adagrad", [
        {},
        {"lr": 0.5, "lrDecay": 0.125, "weightDecay": 0.25},
        {"lr": 0.5, "initialAccumulatorValue": 2, "eps": 1e-3, "maximize": True},
    ]),
    ("RMSprop", [
        {},
        {"lr": 0.05, "alpha": 0.75, "eps": 1e-3, "weightDecay": 0.25},
        {"lr": 0.02, "momentum": 0.75, "maximize": True},
        {"lr": 0.02, "alpha": 0.75, "centered": True},
        {"lr": 0.02, "alpha": 0.75, "centered": True, "momentum": 0.5, "weightDecay": 0.125},
    ]),
    ("Adam", [
        {},
        {"lr": 0.1, "betas": [0.5, 0.75], "eps": 0.125},
        {"lr": 0.1, "weightDecay": 0.25, "maximize": True},
        {"lr": 0.1, "amsgrad": True, "betas": [0.9, 0.5]},
    ]),
    ("AdamW", [
        {},
        {"lr": 0.1, "weightDecay": 0.5, "maximize": True},
        {"lr": 0.1, "weightDecay": 0.25, "amsgrad": True, "betas": [0.9, 0.5]},
    ]),
    ("Adamax", [{}, {"lr": 0.1, "betas": [0.5, 0.75], "eps": 1e-3, "weightDecay": 0.25}, {"lr": 0.1, "maximize": True}]),
    ("NAdam", [
        {},
        {"lr": 0.1, "betas": [0.5, 0.75], "eps": 1e-3, "weightDecay": 0.25, "momentumDecay": 0.25},
        {"lr": 0.1, "weightDecay": 0.25, "decoupledWeightDecay": True, "maximize": True},
    ]),
    ("RAdam", [
        {},
        {"lr": 0.1, "betas": [0.5, 0.75], "eps": 1e-3, "weightDecay": 0.25},
        {"lr": 0.1, "betas": [0.5, 0.96], "weightDecay": 0.25, "decoupledWeightDecay": True, "maximize": True},
    ]),
    ("Adadelta", [{}, {"lr": 0.5, "rho": 0.75, "eps": 1e-3, "weightDecay": 0.25}, {"rho": 0.5, "maximize": True}]),
    # PyTorch has no Lion: the rule of the paper's algorithm 2 in float64.
    ("Lion", [{"lr": 0.01}, {"lr": 0.01, "betas": [0.5, 0.75], "weightDecay": 0.5}, {"lr": 0.01, "maximize": True}]),
]  # fmt: skip


class Lion(optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                momentum = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                g = -p.grad if group["maximize"] else p.grad
                update = (beta1 * momentum + (1 - beta1) * g).sign()
                p.sub_(group["lr"] * (update + group["weight_decay"] * p))
                momentum.mul_(beta2).add_(g, alpha=1 - beta2)


def _python(options):
    snake = {"".join("_" + c.lower() if c.isupper() else c for c in name): value for name, value in options.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in snake.items()}


def trajectories():
    inputs = Inputs("optim")
    start = inputs.normal(6, scale=2)
    gradients = inputs.away_from_zero(0.25, 3, STEPS, 6)
    # One element that moves little, and one whose gradient comes and goes.
    gradients[:, 4] /= 64
    gradients[::3, 5] = 0
    document = {"versions": VERSIONS, "start": _list(start), "gradients": [_list(row) for row in gradients]}
    cases = []
    for name, variants in OPTIMIZERS:
        for options in variants:
            p = torch.nn.Parameter(start.clone())
            make = Lion if name == "Lion" else getattr(optim, name)
            single = {} if name == "Lion" else {"foreach": False}
            optimizer = make([p], **_python(options), **single)
            rows = []
            for row in gradients:
                p.grad = row.clone()
                optimizer.step()
                rows.append(_list(p))
            cases.append({"optimizer": name, "options": options, "parameters": rows})
    p = torch.nn.Parameter(start.clone())
    optimizer = optim.NAdam([p], lr=0.1, foreach=False)
    schedule = schedules.OneCycleLR(optimizer, 0.1, STEPS)
    cycled = []
    for row in gradients:
        p.grad = row.clone()
        optimizer.step()
        schedule.step()
        cycled.append(_list(p))
    write_json(HERE / "optim" / "optimizers.json", {**document, "cases": cases, "cycled": cycled})


def _list(tensor):
    return [number(entry) for entry in tensor.detach().reshape(-1).tolist()]


# Two groups, whose rates differ.
RATES = [0.1, 0.5]
SCHEDULES = [
    ("StepLR", {"stepSize": 3, "gamma": 0.5}),
    ("StepLR", {"stepSize": 4}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"totalIters": 8, "power": 2}),
    ("PolynomialLR", {}),
    ("LinearLR", {}),
    ("LinearLR", {"startFactor": 1, "endFactor": 0.125, "totalIters": 10}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.25, "totalIters": 3}),
    ("CosineAnnealingLR", {"tMax": 8, "etaMin": 0.01}),
    ("CosineAnnealingLR", {"tMax": 30}),
    ("CosineAnnealingWarmRestarts", {"t0": 5, "etaMin": 0.01}),
    ("CosineAnnealingWarmRestarts", {"t0": 3, "tMult": 2}),
    ("OneCycleLR", {"maxLr": [1, 2], "totalSteps": 20}),
    ("OneCycleLR", {"maxLr": 1, "totalSteps": 20, "pctStart": 0.25, "annealStrategy": "linear", "divFactor": 10,
                    "finalDivFactor": 100, "baseMomentum": 0.5, "maxMomentum": 0.75}),
    ("OneCycleLR", {"maxLr": 1, "totalSteps": 25, "pctStart": 0.4, "threePhase": True}),
    ("OneCycleLR", {"maxLr": 1, "totalSteps": 24, "cycleMomentum": False}),
]  # fmt: skip
STEPS_OF_SCHEDULE = 20
SPECIAL = {"tMax": "T_max", "t0": "T_0", "tMult": "T_mult"}


def _rates(make, momentum="momentum"):
    """Rates (and momenta) of both groups before the first step and after each."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in RATES]
    optimizer = optim.SGD(groups, momentum=0.9) if momentum == "momentum" else optim.Adam(groups)
    schedule = make(optimizer)
    rows, momenta = [], []
    for step in range(STEPS_OF_SCHEDULE + 1):
        rows.append([number(group["lr"]) for group in optimizer.param_groups])
        momenta.append([
            number(group["momentum"] if momentum == "momentum" else group["betas"][0]) for group in optimizer.param_groups
        ])
        if step < STEPS_OF_SCHEDULE:
            optimizer.step()
            schedule.step()
    return {"rates": rows, "momenta": momenta}


def _torch_options(options):
    named = {SPECIAL.get(name, name): value for name, value in options.items()}
    return {name if name in SPECIAL.values() else next(iter(_python({name: 0}))): value for name, value in named.items()}


def rates():
    cases = []
    for name, options in SCHEDULES:
        torch_options = _torch_options(options)
        make = getattr(schedules, name)
        cases.append({"schedule": name, "options": options, **_rates(lambda o: make(o, **torch_options))})
    adam = {"maxLr": 1, "totalSteps": 20}
    cases.append({
        "schedule": "OneCycleLR", "options": adam, "optimizer": "Adam",
        **_rates(lambda o: schedules.OneCycleLR(o, 1, 20), "betas"),
    })  # fmt: skip
    lambdas = _rates(lambda o: schedules.LambdaLR(o, [lambda step: 1 / (1 + step), lambda step: 0.5**step]))
    cases.append({"schedule": "LambdaLR", "options": {}, **lambdas})
    for shape in ("linear", "cosine"):
        def risen(step, shape=shape):
            done = min(1, (step + 1) / 6)
            return 0.1 + 0.9 * (done if shape == "linear" else (1 - math.cos(math.pi * done)) / 2)
        warm = _rates(lambda o, risen=risen: schedules.LambdaLR(o, risen))
        cases.append({"schedule": "WarmupLR", "options": {"warmupSteps": 6, "shape": shape, "startFactor": 0.1}, **warm})
    sequence = _rates(lambda o: schedules.SequentialLR(
        o,
        [schedules.LinearLR(o, total_iters=4), schedules.CosineAnnealingLR(o, T_max=10), schedules.ExponentialLR(o, 0.5)],
        milestones=[4, 14],
    ))  # fmt: skip
    cases.append({"schedule": "SequentialLR", "options": {"milestones": [4, 14]}, **sequence})
    write_json(HERE / "optim" / "schedules.json", {
        "versions": VERSIONS, "groups": RATES, "cases": cases, "plateaus": list(plateaus()),
    })  # fmt: skip


METRICS = [5, 4, 4, 4.0001, 3.9999, 4.5, 4.5, 4.5, 3, 3, 3, 3, "NaN", 3, 2.9, 2.9, 2.9, 2.9, 2.9, 2.9, 2.9, 2.9, 2.9]
PLATEAUS = [
    {"patience": 1, "factor": 0.5},
    {"patience": 2, "cooldown": 2, "minLr": [0.02, 0.1], "factor": 0.25},
    {"patience": 0, "mode": "max", "threshold": 0.1, "factor": 0.75},
    {"patience": 1, "thresholdMode": "abs", "threshold": 0.5, "eps": 0.02},
    {"patience": 1, "mode": "max", "thresholdMode": "abs", "threshold": 0.25},
]


def plateaus():
    for options in PLATEAUS:
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in RATES]
        optimizer = optim.SGD(groups)
        schedule = schedules.ReduceLROnPlateau(optimizer, **_torch_options(options))
        rows = []
        for metric in METRICS:
            schedule.step(float(metric))
            rows.append([number(group["lr"]) for group in optimizer.param_groups])
        yield {"options": options, "metrics": METRICS, "rates": rows}


def clipping():
    """Norms and clipped gradients, and averages of torch.optim.swa_utils."""
    inputs = Inputs("clipping")
    gradients = [inputs.normal(3, 2, scale=2), inputs.normal(4)]
    cases = []
    for max_norm, norm_type in ((1, 2), (100, 2), (0.5, 1), (1.5, math.inf), (2, 3), (0, 2)):
        parameters = [torch.nn.Parameter(torch.zeros_like(one)) for one in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type=norm_type)
        cases.append({
            "maxNorm": max_norm, "normType": number(norm_type), "norm": number(norm.item()),
            "gradients": [_list(parameter.grad) for parameter in parameters],
        })  # fmt: skip
    values = [_list(one.clamp(-0.5, 0.5)) for one in gradients]
    steps = [inputs.normal(4) for _ in range(8)]
    model = torch.nn.Linear(4, 1, bias=False)
    average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.75))
    rows = []
    for value in steps:
        with torch.no_grad():
            model.weight.copy_(value)
        average.update_parameters(model)
        rows.append(_list(average.module.weight))
    write_json(HERE / "optim" / "clipping.json", {
        "versions": VERSIONS, "shapes": [list(one.shape) for one in gradients],
        "gradients": [_list(one) for one in gradients], "norms": cases, "clipValue": 0.5, "values": values,
        "ema": {"decay": 0.75, "parameters": [_list(value) for value in steps], "averages": rows},
    })  # fmt: skip


if __name__ == "__main__":
    trajectories()
    rates()
    clipping()
