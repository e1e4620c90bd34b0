"""JAX on the CPU: each work one function compiled with jit, its state donated."""

import math
import os

import peer


def held_to(threads):
    """JAX has as many threads as the process has processors, so it is told before it is loaded."""
    if not hasattr(os, "sched_setaffinity"):
        raise RuntimeError("the number of its threads cannot be set on this system")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import jax

    jax.config.update("jax_platforms", "cpu")
    return jax


def matmul(work, threads):
    jax = held_to(threads)
    a = jax.device_put(peer.values([work["rows"], work["depth"]], 1))
    b = jax.device_put(peer.values([work["depth"], work["columns"]], 2))
    multiply = jax.jit(lambda x, y: x @ y)
    result = multiply(a, b)
    check = [float(result[0, 0]), float(result[-1, -1])]
    return {"run": lambda: multiply(a, b).block_until_ready(), "check": check, "version": jax.__version__}


def training(jax, loss_of, shapes, lr, decay=0.0, ones=(), betas=(0.9, 0.999), eps=1e-8):
    """Adam with bias correction; `decay` is taken from the weights themselves. Weights are `[out, ...in]`."""
    jnp = jax.numpy
    parameters, index = {}, 0
    for name, shape in shapes.items():
        if len(shape) > 1:
            parameters[name] = jnp.asarray(peer.weight(shape, index))
            index += 1
        else:
            parameters[name] = jnp.ones(shape) if name in ones else jnp.zeros(shape)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = [parameters, zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.zeros((), jnp.int32)]

    def update(parameters, m, v, t):
        loss, gradient = jax.value_and_grad(loss_of)(parameters)
        t = t + 1
        m = jax.tree.map(lambda m, g: betas[0] * m + (1 - betas[0]) * g, m, gradient)
        v = jax.tree.map(lambda v, g: betas[1] * v + (1 - betas[1]) * g * g, v, gradient)
        one, two = 1 - betas[0] ** t.astype(jnp.float32), 1 - betas[1] ** t.astype(jnp.float32)
        new = lambda p, m, v: p * (1 - lr * decay) - lr * (m / one) / (jnp.sqrt(v / two) + eps)
        return loss, jax.tree.map(new, parameters, m, v), m, v, t

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))

    def step():
        nonlocal state
        loss, *state = compiled(*state)
        return float(loss)

    first = step()
    step()
    step()
    return {"run": step, "check": [first, first - step()], "version": jax.__version__}


def cross_entropy(jax, logits, targets):
    rows = jax.nn.log_softmax(logits)
    return -jax.numpy.take_along_axis(rows, targets[:, None], 1).mean()


def lenet(_work, threads):
    jax = held_to(threads)
    lax, jnp = jax.lax, jax.numpy
    x = jnp.asarray(peer.values([64, 1, 28, 28], 1))
    y = jnp.asarray(peer.classes([64], 2, 10))
    shapes = {
        "c1": (6, 1, 5, 5), "c1b": (6,), "c2": (16, 6, 5, 5), "c2b": (16,), "l1": (120, 256), "l1b": (120,),
        "l2": (84, 120), "l2b": (84,), "l3": (10, 84), "l3b": (10,),
    }  # fmt: skip

    def conv(h, w, b):
        out = lax.conv_general_dilated(h, w, (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        h = jax.nn.relu(out + b[:, None, None])
        return lax.reduce_window(h, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss(p):
        h = conv(conv(x, p["c1"], p["c1b"]), p["c2"], p["c2b"]).reshape(64, -1)
        h = jax.nn.relu(h @ p["l1"].T + p["l1b"])
        h = jax.nn.relu(h @ p["l2"].T + p["l2b"])
        return cross_entropy(jax, h @ p["l3"].T + p["l3b"], y)

    return training(jax, loss, shapes, 1e-5)


def nanogpt(_work, threads):
    jax = held_to(threads)
    jnp = jax.numpy
    batch, tokens, vocab, width, heads, blocks = 32, 128, 65, 128, 4, 3
    x = jnp.asarray(peer.classes([batch, tokens], 1, vocab))
    y = jnp.asarray(peer.classes([batch * tokens], 2, vocab))
    shapes = {"embed": (vocab, width), "position": (tokens, width)}
    for i in range(blocks):
        shapes |= {
            f"{i}n1": (width,), f"{i}n1b": (width,), f"{i}qkv": (3 * width, width), f"{i}out": (width, width),
            f"{i}n2": (width,), f"{i}n2b": (width,), f"{i}up": (4 * width, width), f"{i}upb": (4 * width,),
            f"{i}down": (width, 4 * width), f"{i}downb": (width,),
        }  # fmt: skip
    shapes |= {"n": (width,), "nb": (width,), "head": (vocab, width), "headb": (vocab,)}
    ones = {name for name in shapes if name == "n" or name.endswith(("n1", "n2"))}
    seen = jnp.tril(jnp.ones((tokens, tokens), bool))

    def norm(h, w, b):
        mean = h.mean(-1, keepdims=True)
        spread = ((h - mean) ** 2).mean(-1, keepdims=True)
        return (h - mean) * jax.lax.rsqrt(spread + 1e-5) * w + b

    def attend(h, p, i):
        q, k, v = jnp.split((h @ p[f"{i}qkv"].T).reshape(batch, tokens, 3 * heads, -1), 3, axis=2)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(width // heads)
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(batch, tokens, width)
        return mixed @ p[f"{i}out"].T

    def loss(p):
        h = p["embed"][x] + p["position"]
        for i in range(blocks):
            h = h + attend(norm(h, p[f"{i}n1"], p[f"{i}n1b"]), p, i)
            wide = norm(h, p[f"{i}n2"], p[f"{i}n2b"]) @ p[f"{i}up"].T + p[f"{i}upb"]
            h = h + jax.nn.gelu(wide, approximate=False) @ p[f"{i}down"].T + p[f"{i}downb"]
        h = norm(h, p["n"], p["nb"]) @ p["head"].T + p["headb"]
        return cross_entropy(jax, h.reshape(-1, vocab), y)

    return training(jax, loss, shapes, 1e-5, decay=0.01, ones=ones)


peer.serve({"matmul": matmul, "lenet": lenet, "nanogpt": nanogpt, "otherwise": "not written"})
