"""Recurrent layers, their cells and multi-head attention of torch.nn in float64: results, final states, all gradients.

python recurrent.py
"""

from golden import HERE, VERSIONS, Inputs, number, torch, write_json

nn = torch.nn
I, H, T, B = 3, 2, 4, 3
LENGTHS = [2, 4, 1]
STACKED = {"numLayers": 2, "bidirectional": True}
# Layer, options of both, what else: lengths, initial states, without a batch, how many steps and sequences.
LAYERS = [
    *[
        (layer, options, more)
        for layer in ("RNN", "LSTM", "GRU")
        for options, more in (
            ({}, {}),
            ({}, {"states": True, "lengths": LENGTHS}),
            (STACKED, {"states": True}),
            ({**STACKED, "batchFirst": True}, {"states": True, "lengths": LENGTHS}),
        )
    ],
    ("RNN", {"nonlinearity": "relu"}, {"states": True}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}, {"lengths": LENGTHS}),
    ("LSTM", {"bias": False, "batchFirst": True}, {}),
    ("GRU", {"bias": False}, {"lengths": LENGTHS}),
    ("LSTM", {"bidirectional": True}, {"states": True, "unbatched": True}),
    ("GRU", {"batchFirst": True}, {"states": True, "unbatched": True}),
    ("LSTM", {}, {"states": True, "steps": 1, "batch": 1}),
    ("LSTM", {"projSize": 1}, {"states": True}),
    ("LSTM", {**STACKED, "projSize": 1, "batchFirst": True}, {"states": True, "lengths": LENGTHS}),
    ("LSTM", {"projSize": 1, "bias": False}, {"states": True, "unbatched": True}),
]
NAMES = {"numLayers": "num_layers", "batchFirst": "batch_first", "projSize": "proj_size"}


def flat(x):
    return {"shape": list(x.shape), "data": [number(float(f"{value:.9g}")) for value in x.detach().flatten().tolist()]}


def fill(module, inputs):
    """Weights on the grid, so that they are short."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(inputs.normal(*parameter.shape, scale=0.5))
    return {name: flat(parameter) for name, parameter in module.named_parameters()}


def pull(inputs, results, leaves):
    """Weighs all results into one number, and gives its gradients."""
    seeds = [inputs.normal(*result.shape) for result in results]
    sum((seed * result).sum() for seed, result in zip(seeds, results)).backward()
    return {
        "seeds": [flat(seed) for seed in seeds],
        "results": [flat(result) for result in results],
        "gradients": {name: flat(leaf.grad) for name, leaf in leaves.items()},
    }


def layer(name, options, more):
    inputs = Inputs(f"{name} {options} {more}")
    module = getattr(nn, name)(I, H, dtype=torch.float64, **{NAMES.get(key, key): value for key, value in options.items()})
    weights = fill(module, inputs)
    steps, batch = more.get("steps", T), more.get("batch", B)
    first = options.get("batchFirst", False) and not more.get("unbatched", False)
    shape = [steps, I] if more.get("unbatched") else [batch, steps, I] if first else [steps, batch, I]
    x = inputs.normal(*shape).requires_grad_()
    places = options.get("numLayers", 1) * (2 if options.get("bidirectional") else 1)
    lead = [places] if more.get("unbatched") else [places, batch]
    sizes = [options.get("projSize", H), H] if name == "LSTM" else [H]
    states = [inputs.normal(*lead, size).requires_grad_() for size in sizes]
    given = (tuple(states) if name == "LSTM" else states[0]) if more.get("states") else None
    if "lengths" in more:
        packed = nn.utils.rnn.pack_padded_sequence(x, more["lengths"], batch_first=first, enforce_sorted=False)
        out, final = module(packed, given)
        out, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=first, total_length=steps)
    else:
        out, final = module(x, given)
    finals = list(final) if name == "LSTM" else [final]
    leaves = {"x": x, **dict(module.named_parameters())}
    if more.get("states"):
        leaves |= {["hidden", "cell"][i]: state for i, state in enumerate(states)}
    return {
        "layer": name,
        "options": options,
        **({"lengths": more["lengths"]} if "lengths" in more else {}),
        "x": flat(x),
        "states": [flat(state) for state in states] if more.get("states") else [],
        "weights": weights,
        **pull(inputs, [out, *finals], leaves),
    }


def cell(name, options):
    inputs = Inputs(f"{name} {options}")
    module = getattr(nn, name)(I, H, dtype=torch.float64, **options)
    weights = fill(module, inputs)
    x = inputs.normal(B, I).requires_grad_()
    states = [inputs.normal(B, H).requires_grad_() for _ in range(2 if name == "LSTMCell" else 1)]
    results = module(x, tuple(states) if name == "LSTMCell" else states[0])
    leaves = {"x": x, **dict(module.named_parameters())}
    leaves |= {["hidden", "cell"][i]: state for i, state in enumerate(states)}
    return {
        "layer": name,
        "options": options,
        "x": flat(x),
        "states": [flat(state) for state in states],
        "weights": weights,
        **pull(inputs, results if isinstance(results, tuple) else [results], leaves),
    }


def attention(options, more):
    """`masked`: the first key of the second row is padding, and a query sees no key after its own."""
    inputs = Inputs(f"attention {options} {more}")
    width, heads = 4, 2
    module = nn.MultiheadAttention(width, heads, dtype=torch.float64, batch_first=True, **options)
    weights = fill(module, inputs)
    queries, keys = 3, more.get("keys", 3)
    batch = 2
    query = inputs.normal(batch, queries, width).requires_grad_()
    leaves = {"query": query}
    if more.get("cross"):
        leaves["key"] = inputs.normal(batch, keys, options.get("kdim", width)).requires_grad_()
        leaves["value"] = inputs.normal(batch, keys, options.get("vdim", width)).requires_grad_()
    key, value = leaves.get("key", query), leaves.get("value", query)
    masks = {}
    if more.get("padding"):
        padding = torch.zeros(batch, keys, dtype=torch.bool)
        padding[1, -1] = True
        masks["key_padding_mask"] = padding
    if more.get("causal"):
        masks["attn_mask"] = torch.triu(torch.ones(queries, keys, dtype=torch.bool), diagonal=1)
    out, mixed = module(query, key, value, average_attn_weights=False, **masks)
    inputs_seen = {name: flat(leaf) for name, leaf in leaves.items()}
    return {
        "options": options,
        "padding": bool(more.get("padding")),
        "causal": bool(more.get("causal")),
        "inputs": inputs_seen,
        "weights": weights,
        "attention": flat(mixed),
        **pull(inputs, [out], {**leaves, **dict(module.named_parameters())}),
    }


ATTENTION = [
    ({}, {}),
    ({}, {"padding": True, "causal": True}),
    ({"bias": False}, {"causal": True}),
    ({}, {"cross": True, "keys": 5, "padding": True}),
    ({"kdim": 3, "vdim": 5}, {"cross": True, "keys": 4}),
]
CELLS = [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {}), ("GRUCell", {"bias": False})]


def main():
    document = {
        "versions": VERSIONS,
        "layers": [layer(*entry) for entry in LAYERS],
        "cells": [cell(*entry) for entry in CELLS],
        "attention": [attention(*entry) for entry in ATTENTION],
    }
    write_json(HERE / "recurrent.json", document)


if __name__ == "__main__":
    main()
