# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs and gradients of small decoder blocks by PyTorch's autograd, float64, for tst_block_gradient.

    /usr/bin/python3 make_block_gradient.py ../golden/block-gradients.json

Parameters are not stored: hashes of their names make them, here and in the test. Written from the published
equations of the models that have these parts; nothing of the project is used."""
import json
import sys

import torch
import torch.nn.functional as F

from arch_common import hashed_integers

BLOCKS = [
    dict(hidden=12, ffn=20, heads=4, kv_heads=2, head_dim=6, norm="rms", eps=1e-6, activation="silu", rope_dims=6,
         theta=100.0, window=4, softcap=0.0, parallel=False, fused_qkv="",
         parts="attention_norm q k v q_norm k_norm o mlp_norm gate up down", bias=False),
    dict(hidden=12, ffn=20, heads=3, kv_heads=3, head_dim=4, norm="layer", eps=1e-5, activation="gelu", rope_dims=2,
         theta=50.0, window=0, softcap=0.0, parallel=True, fused_qkv="per_head",
         parts="attention_norm qkv o mlp_norm up down", bias=True),
    dict(hidden=12, ffn=16, heads=2, kv_heads=1, head_dim=8, norm="rms", eps=1e-6, activation="gelu_tanh", rope_dims=8,
         theta=100.0, window=0, softcap=2.0, parallel=False, fused_qkv="stacked",
         parts="attention_norm qkv o post_attention_norm mlp_norm gate_up down post_mlp_norm", bias=False),
]
TOKENS = 7


def shape(s, part):
    q, kv = s["heads"] * s["head_dim"], s["kv_heads"] * s["head_dim"]
    if part in ("q_norm", "k_norm"):
        return 1, s["head_dim"]
    if part.endswith("_norm"):
        return 1, s["hidden"]
    return {"q": (q, s["hidden"]), "k": (kv, s["hidden"]), "v": (kv, s["hidden"]), "qkv": (q + 2 * kv, s["hidden"]),
            "o": (s["hidden"], q), "gate": (s["ffn"], s["hidden"]), "up": (s["ffn"], s["hidden"]),
            "gate_up": (2 * s["ffn"], s["hidden"]), "down": (s["hidden"], s["ffn"])}[part]


def values(name, dims, centre=0.0):
    count = 1
    for n in dims:
        count *= n
    integers = torch.tensor(hashed_integers(name, count, 1000).astype("float64"))
    return (centre + integers / 2048).reshape(dims).requires_grad_(True)


class Block:
    def __init__(self, index, s):
        self.s, self.weight, self.bias = s, {}, {}
        for part in s["parts"].split():
            rows, cols = shape(s, part)
            norm = part.endswith("_norm")
            self.weight[part] = values(f"{index}{part}", (cols,) if norm else (rows, cols), 1.0 if norm else 0.0)
            if s["bias"]:
                self.bias[part] = values(f"{index}{part}.bias", (cols if norm else rows,))

    def linear(self, part, x):
        return F.linear(x, self.weight[part], self.bias.get(part))

    def norm(self, part, x):
        if part not in self.weight:
            return x
        w = self.weight[part]
        if self.s["norm"] == "layer":
            return F.layer_norm(x, w.shape, w, self.bias.get(part), self.s["eps"])
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.s["eps"]) * w

    def rope(self, x):
        dims = self.s["rope_dims"]
        inverse = self.s["theta"] ** (-torch.arange(0, dims, 2, dtype=torch.float64) / dims)
        angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * inverse
        c, s = torch.cos(torch.cat([angles, angles], -1)), torch.sin(torch.cat([angles, angles], -1))
        turned, rest = x[..., :dims], x[..., dims:]
        half = torch.cat([-turned[..., dims // 2:], turned[..., :dims // 2]], -1)
        return torch.cat([turned * c + half * s, rest], -1)

    def activate(self, x):
        kind = self.s["activation"]
        return F.silu(x) if kind == "silu" else F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")

    def run(self, x):
        s, n = self.s, x.shape[0]
        heads, kv, dim = s["heads"], s["kv_heads"], s["head_dim"]
        h = self.norm("attention_norm", x)
        if s["fused_qkv"] == "per_head":
            q, k, v = self.linear("qkv", h).reshape(n, heads, 3, dim).unbind(2)
        elif s["fused_qkv"] == "stacked":
            q, k, v = [a.reshape(n, -1, dim) for a in
                       self.linear("qkv", h).split([heads * dim, kv * dim, kv * dim], -1)]
        else:
            q, k, v = [self.linear(p, h).reshape(n, -1, dim) for p in "qkv"]
        q, k = self.norm("q_norm", q), self.norm("k_norm", k)
        q, k, v = [a.transpose(0, 1) for a in (q, k, v)]
        q, k = self.rope(q), self.rope(k)
        k, v = [a.repeat_interleave(heads // kv, 0) for a in (k, v)]
        scores = q @ k.transpose(1, 2) / dim ** 0.5
        if s["softcap"]:
            scores = s["softcap"] * torch.tanh(scores / s["softcap"])
        distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
        hidden = (distance < 0) | ((distance >= s["window"]) if s["window"] else (distance < 0))
        scores = scores.masked_fill(hidden, float("-inf"))
        mixed = (torch.softmax(scores, -1) @ v).transpose(0, 1).reshape(n, heads * dim)
        attention = self.norm("post_attention_norm", self.linear("o", mixed))
        middle = x if s["parallel"] else x + attention
        into = self.norm("mlp_norm", middle)
        if "gate_up" in self.weight:
            gate, up = self.linear("gate_up", into).chunk(2, -1)
        else:
            gate, up = (self.linear("gate", into) if "gate" in self.weight else None), self.linear("up", into)
        inner = self.activate(up) if gate is None else self.activate(gate) * up
        out = middle + self.norm("post_mlp_norm", self.linear("down", inner))
        return out + attention if s["parallel"] else out


def rounded(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().reshape(-1).tolist()]


def main():
    golden = []
    for index, s in enumerate(BLOCKS):
        block = Block(index, s)
        x = values(f"{index}x", (TOKENS, s["hidden"]))
        loss = values(f"{index}loss", (TOKENS, s["hidden"]))
        out = block.run(x)
        (out * loss.detach()).sum().backward()
        parts = s["parts"].split()
        golden.append({
            "spec": {k: v for k, v in s.items() if k not in ("parts", "bias")},
            "tokens": TOKENS,
            "parameters": [{"part": p, "rows": shape(s, p)[0], "cols": shape(s, p)[1], "bias": s["bias"]}
                           for p in parts],
            "values": {"out": rounded(out), "x": rounded(x.grad)},
            "weights": {p: rounded(block.weight[p].grad) for p in parts},
            "biases": {p: rounded(block.bias[p].grad) for p in parts if s["bias"]},
        })
    with open(sys.argv[1], "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(g, separators=(",", ":")) for g in golden) + "\n]\n")


main()
