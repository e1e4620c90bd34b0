"""Coefficients of the rational functions in c/simd.h: `python3 scripts/fit.py` (needs mpmath) prints them.

Remez' exchange for p(z) / q(z) with q(0) = 1: the greatest error, relative to the function, is least. erf and tanh are
x times a function of z = x². Of that, a constant near its values far out stands beside the quotient: a smaller quotient
brings in less rounding. Coefficients are rounded to f32 at the end, which is as good as a search among their neighbours.
"""
import struct

import mpmath as mp

mp.mp.dps = 60
POINTS = 1500


def remez(function, end, top, bottom):
    """Coefficients of p and q of these degrees over [0, end], and the greatest relative error."""
    count = top + bottom + 2
    points = [end * (mp.mpf(i) / POINTS) ** 2 for i in range(POINTS + 1)]
    values = [function(point) for point in points]
    places = [round(POINTS * mp.sqrt(((1 - mp.cos(mp.pi * (i + 0.5) / count)) / 2) ** 1.3)) for i in range(count)]
    q = [mp.mpf(1)] + [mp.mpf(0)] * bottom
    while True:
        level = mp.mpf(0)
        # The equations are linear but for the error's share in q, which the last q stands for.
        for _ in range(12):
            matrix, right = mp.matrix(count, count), mp.matrix(count, 1)
            for row, place in enumerate(places):
                z, f = points[place], values[place]
                line = [z**k for k in range(top + 1)] + [-f * z**k for k in range(1, bottom + 1)]
                for column, value in enumerate([*line, -((-1) ** row) * f * mp.polyval(q[::-1], z)]):
                    matrix[row, column] = value
                right[row] = f
            solution = mp.lu_solve(matrix, right)
            p, q = list(solution[: top + 1]), [mp.mpf(1), *solution[top + 1 : count - 1]]
            settled = abs(solution[count - 1] - level) < abs(level) * mp.mpf("1e-8")
            level = solution[count - 1]
            if settled:
                break
        errors = [mp.polyval(p[::-1], z) / mp.polyval(q[::-1], z) / f - 1 for z, f in zip(points, values)]
        # The greatest error of each run of one sign.
        places = []
        for at, error in enumerate(errors):
            if places and errors[places[-1]] * error > 0:
                if abs(error) > abs(errors[places[-1]]):
                    places[-1] = at
            else:
                places.append(at)
        while len(places) > count:
            places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
        worst = max(abs(error) for error in errors)
        if worst < abs(level) * mp.mpf("1.002"):
            return p, q, worst


def single(value):
    return struct.unpack("f", struct.pack("f", float(value)))[0]


def show(name, function, end, top, bottom, beside="0"):
    p, q, worst = remez(function, mp.mpf(end), top, bottom)
    length = max(len(p), len(q))
    padded = [*p, *[mp.mpf(0)] * (length - len(p))], [*q, *[mp.mpf(0)] * (length - len(q))]
    p = [a - mp.mpf(beside) * b for a, b in zip(*padded)]
    print(f"{name}: {beside} + p / q, error {mp.nstr(worst, 3)}")
    for which, polynomial in (("p", p), ("q", q)):
        print(f"  {which}", ", ".join(f"{single(value):.9g}" for value in polynomial))


def odd(function, slope):
    return lambda z: function(mp.sqrt(z)) / mp.sqrt(z) if z else slope


show("erf(x) / x of x²", odd(mp.erf, 2 / mp.sqrt(mp.pi)), mp.mpf("3.93") ** 2, 5, 5, "0.3125")
show("tanh(x) / x of x²", odd(mp.tanh, mp.mpf(1)), mp.mpf("9.02") ** 2, 4, 4, "0.125")
show("erfc(x) e^x² of x", lambda x: mp.erfc(x) * mp.exp(x * x), "10.2", 4, 5)
