# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent llama forward pass in float64 (or float32) on PyTorch: safetensors are parsed here,
the model is written from its equations, and nothing of the project is used."""
import json
import math
from pathlib import Path

import numpy as np
import torch

DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I32": np.int32, "I64": np.int64,
          "U8": np.uint8, "I8": np.int8}


def read_safetensors(path):
    """Names to float64-capable numpy arrays (BF16 is widened to float32)."""
    raw = Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        data = raw[8 + size + begin:8 + size + end]
        if entry["dtype"] == "BF16":
            wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
            array = wide.view(np.float32)
        else:
            array = np.frombuffer(data, DTYPES[entry["dtype"]])
        out[name] = array.reshape(entry["shape"])
    return out


def read_folder(folder):
    folder = Path(folder)
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return read_safetensors(folder / "model.safetensors")
    out = {}
    for shard in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        out.update(read_safetensors(folder / shard))
    return out


def inverse_frequencies(config, head_dim):
    theta = config.get("rope_theta", 10000.0)
    inv = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    scaling = config.get("rope_scaling")
    if not scaling:
        return inv
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        return inv / scaling["factor"]
    assert kind == "llama3", kind
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    original = scaling["original_max_position_embeddings"]
    out = []
    for f in inv:
        wavelength = 2 * math.pi / f
        if wavelength < original / high:
            out.append(f)
        elif wavelength > original / low:
            out.append(f / factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            out.append((1 - smooth) * f / factor + smooth * f)
    return np.array(out)


class Llama:
    def __init__(self, folder, dtype=torch.float64, change=None):
        """`change(name, array)` may replace a weight (a quantized and decoded copy, say)."""
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.dtype = dtype
        self.weights = {}
        for name, array in read_folder(folder).items():
            array = array if change is None else change(name, array)
            self.weights[name] = torch.from_numpy(np.array(array, dtype=np.float64)).to(dtype)
        c = self.config
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads", self.heads)
        self.head_dim = c.get("head_dim") or c["hidden_size"] // self.heads
        self.inv_freq = torch.from_numpy(inverse_frequencies(c, self.head_dim))
        embedding, head = "model.embed_tokens.weight", "lm_head.weight"
        if embedding not in self.weights:  # tied, only the head is stored
            self.weights[embedding] = self.weights[head]
        if head not in self.weights:
            self.weights[head] = self.weights[embedding]

    def _norm(self, x, name):
        scale = torch.rsqrt((x * x).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return x * scale * self.weights[name]

    def _linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def _rope(self, x):  # [heads, tokens, head_dim]: halves are rotated against each other
        angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * self.inv_freq[None, :]
        cos, sin = torch.cos(angle).to(self.dtype), torch.sin(angle).to(self.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

    @torch.no_grad()
    def logits(self, ids):
        """[tokens, vocab]"""
        tokens = len(ids)
        x = self.weights["model.embed_tokens.weight"][torch.tensor(ids, dtype=torch.long)]
        mask = torch.full((tokens, tokens), -math.inf, dtype=self.dtype).triu(1)
        for layer in range(self.config["num_hidden_layers"]):
            p = "model.layers.%d." % layer
            h = self._norm(x, p + "input_layernorm.weight")

            def split(name, heads):
                y = self._linear(h, p + "self_attn." + name)
                return y.view(tokens, heads, self.head_dim).transpose(0, 1)
            q = self._rope(split("q_proj", self.heads))
            k = self._rope(split("k_proj", self.kv_heads))
            v = split("v_proj", self.kv_heads)
            repeat = self.heads // self.kv_heads
            k, v = k.repeat_interleave(repeat, 0), v.repeat_interleave(repeat, 0)
            scores = q @ k.transpose(1, 2) / math.sqrt(self.head_dim) + mask
            mixed = torch.softmax(scores, -1) @ v
            x = x + self._linear(mixed.transpose(0, 1).reshape(tokens, -1), p + "self_attn.o_proj")
            h = self._norm(x, p + "post_attention_layernorm.weight")
            gate = torch.nn.functional.silu(self._linear(h, p + "mlp.gate_proj"))
            x = x + self._linear(gate * self._linear(h, p + "mlp.up_proj"), p + "mlp.down_proj")
        return self._linear(self._norm(x, "model.norm.weight"), "lm_head")
