"""The side of a Python process that takes part: speaks what lib/peer.mjs speaks, with the numbers of lib/data.mjs."""

import json
import math
import sys
import time

import numpy as np


def noise(count, seed):
    i = np.arange(1, count + 1, dtype=np.float64)
    wave = np.sin(i * 12.9898 + seed * 78.233) * 43758.5453
    return wave - np.floor(wave)


def values(shape, seed, scale=1.0):
    return ((2 * noise(math.prod(shape), seed) - 1) * scale).astype(np.float32).reshape(shape)


def classes(shape, seed, count):
    return np.floor(noise(math.prod(shape), seed) * count).astype(np.int32).reshape(shape)


def weight(shape, index):
    """Initial values of the `index`-th weight of a model, stored as [out, ...in]; biases start at zero."""
    return values(shape, 100 + index, 1 / math.sqrt(math.prod(shape[1:])))


def serve(kinds):
    """`kinds` has a function for each kind of work; it takes the work and the number of threads, and gives a dict of
    run, check and version, or of cannot with the reason."""
    run = None

    def timed(repeats):
        begin = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - begin) * 1000 / repeats

    def answer(request):
        nonlocal run
        if request["type"] == "prepare":
            kind = request["work"]["kind"]
            if kind not in kinds:
                return {"cannot": kinds["otherwise"]}
            made = kinds[kind](request["work"], request["threads"])
            run = made.pop("run", None)
            return made
        if request["type"] == "warm":
            end = time.perf_counter() + request["milliseconds"] / 1000
            times = []
            while len(times) < 3 or time.perf_counter() < end:
                times.append(timed(1))
            later = sorted(times[len(times) // 2 :])
            return {"milliseconds": later[len(later) // 2]}
        timed(1)
        return {"milliseconds": timed(request["repeats"])}

    for line in sys.stdin:
        try:
            result = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever a peer cannot do is said in the table
            result = {"cannot": str(error).splitlines()[0] if str(error) else repr(error)}
        print("@" + json.dumps(result), flush=True)
