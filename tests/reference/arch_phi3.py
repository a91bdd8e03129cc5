# SPDX-License-Identifier: GPL-3.0-or-later
"""Phi-3, Phi-3.5, Phi-4 and Phi-4-mini, after src/transformers/models/phi3/modeling_phi3.py and
configuration_phi3.py of Hugging Face transformers (commits 00d4b3d2 and 008e5743 of the 4.57 and 5.0 lines):
one matrix for q, k, v and one for gate and up, rotation of the first `partial_rotary_factor` of a head,
"su" and "yarn" meaning longrope, and a cache that is made anew when the sequence outgrows
`original_max_position_embeddings` (prepare_inputs_for_generation)."""
import numpy as np

from arch_common import ACTIVATIONS, Model, Rope, Tensor, attend, matrix, norm, rms_norm


class Phi3(Model):
    architecture = "phi3"

    def __init__(self, config):
        self.config = config
        self.layers, self.hidden = config["num_hidden_layers"], config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or self.hidden // self.heads
        self.ffn, self.vocab = config["intermediate_size"], config["vocab_size"]
        self.eps, self.window = config.get("rms_norm_eps", 1e-5), config.get("sliding_window") or 0
        settings = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        if settings.get("type", settings.get("rope_type")) in ("su", "yarn"):
            settings["rope_type"] = "longrope"
        part = settings.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
        self.rope = Rope(config, int(self.head_dim * part), settings)
        self.cached_like_prompt = self.rope.kind == "default"
        self.tied = config.get("tie_word_embeddings", False)
        q, kv, h = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.hidden
        p = "model.layers.*."
        self.tensors = [
            Tensor("model.embed_tokens.weight", [self.vocab, h], 127, 7, 0, "token_embd.weight"),
            norm(p + "input_layernorm.weight", h, "blk.*.attn_norm.weight"),
            matrix(p + "self_attn.qkv_proj.weight", q + 2 * kv, h, "blk.*.attn_qkv.weight", 1.5),
            matrix(p + "self_attn.o_proj.weight", h, q, "blk.*.attn_output.weight"),
            norm(p + "post_attention_layernorm.weight", h, "blk.*.ffn_norm.weight"),
            matrix(p + "mlp.gate_up_proj.weight", 2 * self.ffn, h, "blk.*.ffn_up.weight"),
            matrix(p + "mlp.down_proj.weight", h, self.ffn, "blk.*.ffn_down.weight"),
            norm("model.norm.weight", h, "output_norm.weight"),
        ]
        if not self.tied:
            self.tensors.append(matrix("lm_head.weight", self.vocab, h, "output.weight", 2))
        if self.rope.kind == "longrope":
            self.gguf_extra = ["rope_factors_long.weight", "rope_factors_short.weight"]

    def gguf_keys(self):
        keys = {"block_count": self.layers, "embedding_length": self.hidden, "feed_forward_length": self.ffn,
                "attention.head_count": self.heads, "attention.head_count_kv": self.kv_heads,
                "attention.layer_norm_rms_epsilon": self.eps, "rope.dimension_count": self.rope.dim,
                "rope.freq_base": self.rope.theta, "attention.sliding_window": self.window,
                "rope.scaling.original_context_length": self.rope.original}
        if self.rope.kind == "longrope":
            keys["rope.scaling.attn_factor"] = self.rope.at(1)[1]
        return {"phi3." + key: value for key, value in keys.items()}

    def step(self, ids, begin, end):
        if self.rope.kind == "longrope" and 0 < begin <= self.rope.original < end:
            self.keys, self.values = [None] * self.layers, [None] * self.layers
            return self.forward(ids[:end], 0)[begin:]
        return self.forward(ids[begin:end], begin)

    def forward(self, ids, first):
        weights, length, n = self.weights, first + len(ids), len(ids)
        x = weights["model.embed_tokens.weight"][ids]
        split = [self.heads * self.head_dim, (self.heads + self.kv_heads) * self.head_dim]
        for i in range(self.layers):
            p = f"model.layers.{i}."
            h = rms_norm(x, weights[p + "input_layernorm.weight"], self.eps)
            q, k, v = (y.reshape(n, -1, self.head_dim)
                       for y in np.split(self.linear(p + "self_attn.qkv_proj", h), split, -1))
            q, k = self.rope.turn(q, first, length), self.rope.turn(k, first, length)
            k, v = self.remember(i, k, v)
            x = x + self.linear(p + "self_attn.o_proj", attend(q, k, v, self.head_dim ** -0.5, self.window))
            h = rms_norm(x, weights[p + "post_attention_layernorm.weight"], self.eps)
            gate, up = np.split(self.linear(p + "mlp.gate_up_proj", h), 2, -1)
            x = x + self.linear(p + "mlp.down_proj", up * ACTIVATIONS[self.config.get("hidden_act", "silu")](gate))
        x = rms_norm(x, weights["model.norm.weight"], self.eps)
        return x @ weights["model.embed_tokens.weight" if self.tied else "lm_head.weight"].T
