# SPDX-License-Identifier: GPL-3.0-or-later
"""Gemma 1, after src/transformers/models/gemma/modeling_gemma.py of Hugging Face transformers 4.57.1: Llama with
embeddings times sqrt(hidden), norms by 1 + w, a tanh GELU on the gate, and a tied head. ("gelu" in the
published configurations means the tanh form.) Gemma 2 and 3 build on it."""
from arch_common import ACTIVATIONS, Model, Rope, Tensor, attend, bias, matrix, norm, rms_norm
import numpy as np


class Gemma(Model):
    architecture = "gemma"

    def __init__(self, config, prefix="model."):
        self.config, self.prefix = config, prefix
        self.layers, self.hidden = config["num_hidden_layers"], config["hidden_size"]
        self.heads = config.get("num_attention_heads", 8)
        self.kv_heads = config.get("num_key_value_heads", 4)
        self.head_dim = config.get("head_dim", 256)
        self.ffn, self.vocab = config["intermediate_size"], config["vocab_size"]
        self.eps = config.get("rms_norm_eps", 1e-6)
        self.activation = config.get("hidden_activation") or "gelu_pytorch_tanh"
        self.scale, self.softcap, self.final_softcap = self.head_dim ** -0.5, 0.0, 0.0
        self.windows, self.local_rope = [0] * self.layers, None
        self.rope = Rope(config, self.head_dim)
        q, kv, h = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.hidden
        p = prefix + "layers.*."
        self.tensors = [
            Tensor(prefix + "embed_tokens.weight", [self.vocab, h], 127, 9, 0, "token_embd.weight"),
            norm(p + "input_layernorm.weight", h, "blk.*.attn_norm.weight", 0),
            matrix(p + "self_attn.q_proj.weight", q, h, "blk.*.attn_q.weight", 1.5),
            matrix(p + "self_attn.k_proj.weight", kv, h, "blk.*.attn_k.weight", 1.5),
            matrix(p + "self_attn.v_proj.weight", kv, h, "blk.*.attn_v.weight"),
            matrix(p + "self_attn.o_proj.weight", h, q, "blk.*.attn_output.weight"),
            matrix(p + "mlp.gate_proj.weight", self.ffn, h, "blk.*.ffn_gate.weight"),
            matrix(p + "mlp.up_proj.weight", self.ffn, h, "blk.*.ffn_up.weight"),
            matrix(p + "mlp.down_proj.weight", h, self.ffn, "blk.*.ffn_down.weight"),
            norm(prefix + "norm.weight", h, "output_norm.weight", 0),
        ]
        if config.get("attention_bias"):
            for part, size, gguf in (("q", q, "attn_q"), ("k", kv, "attn_k"), ("v", kv, "attn_v"),
                                     ("o", h, "attn_output")):
                self.tensors.append(bias(p + f"self_attn.{part}_proj.bias", size, f"blk.*.{gguf}.bias"))
        self.add_norms(p, h)

    def add_norms(self, p, h):
        self.tensors.append(norm(p + "post_attention_layernorm.weight", h, "blk.*.ffn_norm.weight", 0))

    def gguf_keys(self):
        keys = {"block_count": self.layers, "context_length": self.config["max_position_embeddings"],
                "embedding_length": self.hidden, "feed_forward_length": self.ffn,
                "attention.head_count": self.heads, "attention.head_count_kv": self.kv_heads,
                "attention.layer_norm_rms_epsilon": self.eps, "attention.key_length": self.head_dim,
                "attention.value_length": self.head_dim}
        return {self.architecture + "." + key: value for key, value in keys.items()}

    def norm(self, name, x):
        return rms_norm(x, 1 + self.weights[name + ".weight"], self.eps)

    def query_key_norm(self, p, q, k):
        return q, k

    def attention(self, i, h, first):
        n, p = len(h), f"{self.prefix}layers.{i}.self_attn."
        q = self.linear(p + "q_proj", h).reshape(n, self.heads, self.head_dim)
        k = self.linear(p + "k_proj", h).reshape(n, self.kv_heads, self.head_dim)
        v = self.linear(p + "v_proj", h).reshape(n, self.kv_heads, self.head_dim)
        q, k = self.query_key_norm(p, q, k)
        rope = self.local_rope if self.local_rope and self.windows[i] else self.rope
        q, k = rope.turn(q, first, first + n), rope.turn(k, first, first + n)
        k, v = self.remember(i, k, v)
        return self.linear(p + "o_proj", attend(q, k, v, self.scale, self.windows[i], self.softcap))

    def mlp(self, i, h):
        p = f"{self.prefix}layers.{i}.mlp."
        return self.linear(p + "down_proj", ACTIVATIONS[self.activation](self.linear(p + "gate_proj", h))
                           * self.linear(p + "up_proj", h))

    def block(self, i, x, first):
        p = f"{self.prefix}layers.{i}."
        x = x + self.attention(i, self.norm(p + "input_layernorm", x), first)
        return x + self.mlp(i, self.norm(p + "post_attention_layernorm", x))

    def forward(self, ids, first):
        table = self.weights[self.prefix + "embed_tokens.weight"]
        x = table[ids] * np.sqrt(float(self.hidden))
        for i in range(self.layers):
            x = self.block(i, x, first)
        y = self.norm(self.prefix + "norm", x) @ table.T
        return np.tanh(y / self.final_softcap) * self.final_softcap if self.final_softcap else y
