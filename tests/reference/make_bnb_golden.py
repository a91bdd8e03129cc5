# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes golden/bnb4.json for tst_schemes: 4-bit tensors as bitsandbytes stores and decodes them,
by its published rules (csrc/kernels.cu and functional.py), in PyTorch and NumPy. Nothing of the
project is used.

    /usr/bin/python3 make_bnb_golden.py ../golden/bnb4.json

The weights are not stored: both sides make them from their index with whole numbers.
"""

import hashlib
import json
import sys

import numpy as np
import torch

f32 = np.float32


def weight(n, seed):
    """Twelve uniform numbers of 8 bits, less their mean, in steps of 1/4096; every 97th 16 times as
    large."""
    i = np.arange(n, dtype=np.uint64) + np.uint64(seed * 1000003)
    total = np.zeros(n, np.int64)
    for k in range(12):
        h = (i * np.uint64(12) + np.uint64(k)) * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        total += ((h >> np.uint64(56)) & np.uint64(255)).astype(np.int64)
    out = (total - 1530).astype(np.float64) / 4096
    out[::97] *= 16
    return out.astype(f32)


NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
                0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], f32)
NF4_STEPS = np.array([-0.8480964004993439, -0.6106329262256622, -0.4599952697753906,
                      -0.33967943489551544, -0.23460740596055984, -0.13791173323988914,
                      -0.045525018125772476, 0.03979014977812767, 0.1202552504837513,
                      0.2035212516784668, 0.2920137718319893, 0.3893125355243683,
                      0.5016634166240692, 0.6427869200706482, 0.8614784181118011], f32)
FP4 = np.array([0.0, 0.0625 / 12, 8 / 12, 1.0, 4 / 12, 6 / 12, 2 / 12, 3 / 12], f32)
FP4 = np.concatenate([FP4, -FP4])


def nf4(x):
    return np.sum(x[:, None] > NF4_STEPS[None, :], axis=1).astype(np.uint8)


def fp4_one(x):
    sign = 8 if x < 0 else 0
    x = abs(x)
    if x > f32(0.29166667):
        if x > f32(0.583333):
            return sign + (3 if x > f32(0.8333333) else 2)
        return sign + (5 if x > f32(0.4166667) else 4)
    if x > f32(0.0859375):
        return sign + (7 if x > f32(0.20833333) else 6)
    return sign + (1 if x > f32(0.00260417) else 0)


def fp4(x):
    return np.array([fp4_one(v) for v in x], np.uint8)


def dynamic_map():
    data = []
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**i + 1, dtype=torch.float32)
        middles = (edges[:-1] + edges[1:]) / 2.0
        data += ((10 ** (i - 6)) * middles).tolist()
        data += (-(10 ** (i - 6)) * middles).tolist()
    return np.array(sorted(data + [0.0, 1.0]), f32)


MAP = dynamic_map()
assert hashlib.sha256(MAP.tobytes()).hexdigest().startswith("6d0ca9fed140bc2c")


def case(kind, rows, cols, block, nested, seed):
    w = weight(rows * cols, seed)
    n = len(w)
    blocks = -(-n // block)
    padded = np.zeros(blocks * block, f32)
    padded[:n] = w
    absmax = np.abs(padded).reshape(blocks, block).max(axis=1)
    x = (padded.reshape(blocks, block) * (f32(1) / absmax)[:, None]).reshape(-1)[:n]
    codes = (nf4 if kind == "nf4" else fp4)(x)
    out = {"scheme": f"{kind}-b{block}" + ("-dq" if nested else ""), "rows": rows, "cols": cols,
           "seed": seed}
    if nested:
        offset = f32(absmax.astype(np.float64).mean())
        centred = absmax - offset
        groups = -(-blocks // 256)
        top = np.array([np.abs(centred[256 * g:256 * g + 256]).max() for g in range(groups)], f32)
        byte = np.array([int(np.argmin(np.abs(MAP.astype(np.float64) - np.float64(c / top[i // 256]))))
                         for i, c in enumerate(centred)], np.uint8)
        scale = MAP[byte] * np.repeat(top, 256)[:blocks] + offset
        out["absmax"] = byte.tobytes().hex()
        out["nested_absmax"] = top.tobytes().hex()
        out["nested_offset"] = np.array([offset], f32).tobytes().hex()
    else:
        scale = absmax
        out["absmax"] = absmax.tobytes().hex()
    values = (NF4 if kind == "nf4" else FP4)[codes] * np.repeat(scale, block)[:n]
    assert values.dtype == f32
    if n % 2:
        codes = np.append(codes, np.uint8(0))
    out["packed"] = (codes[0::2] << 4 | codes[1::2]).astype(np.uint8).tobytes().hex()
    out["decoded_sha256"] = hashlib.sha256((values + f32(0)).tobytes()).hexdigest()  # -0 is 0
    return out


if __name__ == "__main__":
    cases = [case("nf4", 6, 100, 32, False, 1), case("fp4", 6, 100, 32, False, 2),
             case("nf4", 5, 64, 64, False, 3), case("fp4", 7, 33, 128, False, 4),
             case("nf4", 96, 100, 32, True, 5), case("fp4", 48, 64, 64, True, 6),
             case("nf4", 3, 7, 4096, False, 7)]
    with open(sys.argv[1], "w") as file:
        json.dump(cases, file, indent=0)
        file.write("\n")
