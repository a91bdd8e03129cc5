# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reference decoders share: deterministic weights, rotary tables, attention, norms, activations.
Everything is float64 numpy, written from the published equations; nothing of the project is used.

Position scaling follows src/transformers/modeling_rope_utils.py of Hugging Face transformers 4.57 and 5
(functions _compute_*_parameters and dynamic_rope_update); where the two differ ("factor" beside
"original_max_position_embeddings"), the configurations used here mean the same to both."""
import math

import numpy as np

MASK = (1 << 64) - 1


def hashed_integers(name, count, most):
    """Integers in [-most, most]: FNV-1a of the name, then splitmix64 of the index. tst_arch.cpp has the twin."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    z = np.uint64(state) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(32)) % np.uint64(2 * most + 1)).astype(np.int64) - most


class Tensor:
    """name and shape as stored; value = centre + integer / 2^shift, exact in bf16, f16 and f32."""

    def __init__(self, name, shape, most, shift, centre=0, gguf=None):
        self.name, self.shape, self.most, self.shift, self.centre, self.gguf = name, list(shape), most, shift, centre, gguf

    def values(self, name):
        numbers = hashed_integers(name, int(np.prod(self.shape)), self.most)
        return self.centre + numbers.astype(np.float64).reshape(self.shape) * 2.0 ** -self.shift


def matrix(name, rows, cols, gguf=None, gain=1.0, fan_in=None):
    """Standard deviation about gain / sqrt(inputs)."""
    shift = round(math.log2(127 * math.sqrt(fan_in or cols) / (math.sqrt(3) * gain)))
    return Tensor(name, [rows, cols], 127, shift, 0, gguf)


def bias(name, size, gguf=None):
    return Tensor(name, [size], 127, 9, 0, gguf)


def norm(name, size, gguf=None, centre=1):
    return Tensor(name, [size], 64, 7, centre, gguf)


def expand(tensors, layers):
    """A "*" in a name stands for every layer."""
    for tensor in tensors:
        for layer in range(layers) if "*" in tensor.name else [None]:
            yield (tensor.name if layer is None else tensor.name.replace("*", str(layer))), tensor


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + eps) * weight


def layer_norm(x, weight, offset, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, -1, keepdims=True) + eps) * weight + offset


def _tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_new": _tanh_gelu, "gelu_fast": _tanh_gelu, "gelu_pytorch_tanh": _tanh_gelu,
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "silu": lambda x: x * _sigmoid(x), "swish": lambda x: x * _sigmoid(x),
    "relu": lambda x: np.maximum(x, 0),
}


class Rope:
    """Inverse frequencies of `dim` leading values of a head, and the factor on cos and sin, by the length of
    the whole sequence."""

    def __init__(self, config, dim, settings=None, theta=None):
        if settings is None:
            settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
        self.settings, self.dim = settings, dim
        self.theta = theta or settings.get("rope_theta") or config.get("rope_theta", 10000.0)
        self.kind = settings.get("rope_type", settings.get("type", "default"))
        self.context = config.get("max_position_embeddings", 0)
        self.original = settings.get("original_max_position_embeddings",
                                     config.get("original_max_position_embeddings", self.context))

    def at(self, length):
        kind, s, dim = self.kind, self.settings, self.dim
        steps = np.arange(0, dim, 2, dtype=np.float64) / dim
        plain = self.theta ** -steps
        if kind == "default":
            return plain, 1.0
        if kind == "linear":
            return plain / s["factor"], 1.0
        if kind == "dynamic":
            reach = max(length, self.context) / self.context
            base = self.theta * (s["factor"] * reach - (s["factor"] - 1)) ** (dim / (dim - 2))
            return base ** -steps, 1.0
        if kind == "llama3":
            wavelength = 2 * math.pi / plain
            low, high = s["low_freq_factor"], s["high_freq_factor"]
            blend = np.clip((self.original / wavelength - low) / (high - low), 0, 1)
            return (1 - blend) * plain / s["factor"] + blend * plain, 1.0
        if kind == "yarn":
            return self.yarn(plain)
        assert kind in ("longrope", "su"), kind
        stretch = s.get("factor") or self.context / self.original
        attention = s.get("attention_factor")
        if attention is None:
            attention = math.sqrt(1 + math.log(stretch) / math.log(self.original)) if stretch > 1 else 1.0
        factors = s["long_factor"] if length > self.original else s["short_factor"]
        return plain / np.array(factors, np.float64), attention

    def yarn(self, plain):
        s, dim = self.settings, self.dim

        def scale(weight):
            return 0.1 * weight * math.log(s["factor"]) + 1 if s["factor"] > 1 else 1.0

        attention = s.get("attention_factor")
        if attention is None:
            attention = scale(1)
            if s.get("mscale") and s.get("mscale_all_dim"):
                attention = scale(s["mscale"]) / scale(s["mscale_all_dim"])

        def turning(rotations):
            return dim * math.log(self.original / (rotations * 2 * math.pi)) / (2 * math.log(self.theta))

        low, high = turning(s.get("beta_fast") or 32), turning(s.get("beta_slow") or 1)
        if s.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        if low == high:
            high += 0.001
        ramp = np.clip((np.arange(dim // 2) - low) / (high - low), 0, 1)
        return plain / s["factor"] * ramp + plain * (1 - ramp), attention

    def turn(self, x, first, length):
        """x[tokens][heads][head_dim]: the first `dim` values of every head, pair (i, i + dim / 2)."""
        frequency, factor = self.at(length)
        angle = np.outer(np.arange(first, first + len(x)), frequency)[:, None, :]
        cos, sin, half = np.cos(angle) * factor, np.sin(angle) * factor, self.dim // 2
        a, b = x[..., :half], x[..., half:self.dim]
        return np.concatenate((a * cos - b * sin, b * cos + a * sin, x[..., self.dim:]), -1)


def attend(q, k, v, scale, window=0, softcap=0.0):
    """q[n][heads][d] are the last n of the m positions in k, v[m][kv_heads][d]."""
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = np.einsum("qhd,khd->hqk", q, k) * scale
    if softcap:
        scores = np.tanh(scores / softcap) * softcap
    here = np.arange(len(k) - len(q), len(k))[:, None]
    there = np.arange(len(k))[None, :]
    hidden = there > here
    if window:
        hidden = hidden | (there <= here - window)
    scores = np.where(hidden, -np.inf, scores)
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", share, v).reshape(len(q), -1)


def layer_windows(config, layers, default_types):
    """Positions a layer sees; 0: all."""
    types = config.get("layer_types") or default_types
    window = config.get("sliding_window") or 0
    return [window if types[i] == "sliding_attention" else 0 for i in range(layers)]


class Model:
    """A decoder that is called with a few tokens at a time and keeps keys and values in between."""

    layers = 0
    architecture = ""      # general.architecture of its GGUF files
    gguf_extra = []        # tensors of a GGUF file that no stored tensor gives
    tensors = []           # of Tensor
    cached_like_prompt = True  # one logit per position, however the tokens come

    def load(self):
        self.weights = {name: tensor.values(name) for name, tensor in expand(self.tensors, self.layers)}

    def run(self, ids, pieces):
        self.keys, self.values = [None] * self.layers, [None] * self.layers
        out, at = [], 0
        for size in pieces:
            out.append(self.step(ids, at, at + size))
            at += size
        return np.concatenate(out)

    def step(self, ids, begin, end):
        return self.forward(ids[begin:end], begin)

    def remember(self, layer, k, v):
        old_k, old_v = self.keys[layer], self.values[layer]
        self.keys[layer] = k if old_k is None else np.concatenate((old_k, k))
        self.values[layer] = v if old_v is None else np.concatenate((old_v, v))
        return self.keys[layer], self.values[layer]

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y
