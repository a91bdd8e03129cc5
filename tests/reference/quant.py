# SPDX-License-Identifier: GPL-3.0-or-later
"""Round-to-nearest on integer grids from the definition: f32 arithmetic, scales rounded to f16 before
coding, reciprocal in f32. Returns decoded weights."""
import re

import numpy as np

F = np.float32


def rtn(w, bits, group, symmetric, per_tensor=False):
    w = np.asarray(w, dtype=F)
    rows, cols = w.shape
    out = np.empty_like(w)
    group = group or cols
    if per_tensor:
        return _grid(w.reshape(1, -1), bits, symmetric).reshape(rows, cols)
    for begin in range(0, cols, group):
        out[:, begin:begin + group] = _grid(w[:, begin:begin + group], bits, symmetric)
    return out


def _grid(w, bits, symmetric):
    lo = np.minimum(w.min(1, keepdims=True), F(0))
    hi = np.maximum(w.max(1, keepdims=True), F(0))
    if symmetric:
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        span = np.maximum(-lo, hi) / F(high)
    else:
        low, high = 0, 2 ** bits - 1
        span = (hi - lo) / F(high)
    scale = span.astype(np.float16).astype(F)
    zero_group = (lo == 0) & (hi == 0)
    scale = np.where((scale == 0) & ~zero_group, F(2.0 ** -14), scale)
    scale = np.where(zero_group, F(1), np.minimum(scale, F(65504)))
    inverse = F(1) / scale
    zero = F(0) if symmetric else np.clip(np.rint(-lo * inverse), low, high).astype(F)
    codes = np.clip(np.rint(w * inverse) + zero, low, high)
    return scale * (codes - zero)


def change_linears(scheme):
    """A `change` for Llama: every linear except the head, by a scheme id such as int4-g128-asym."""
    m = re.fullmatch(r"int(\d)-(tensor|channel|g(\d+))-(sym|asym)", scheme)
    bits, group = int(m[1]), int(m[3]) if m[3] else 0

    def change(name, array):
        if array.ndim != 2 or "embed_tokens" in name or name.startswith("lm_head"):
            return array
        return rtn(array, bits, group, m[4] == "sym", m[2] == "tensor")
    return change


def round_weights(kind):
    """A `change` that rounds every weight to f16 or bf16."""
    def change(_, array):
        array = np.asarray(array, dtype=F)
        if kind == "f16":
            return array.astype(np.float16).astype(F)
        bits = array.view(np.uint32)
        bits = (bits + np.uint32(0x7fff) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xffff0000)
        return bits.view(F)
    return change
