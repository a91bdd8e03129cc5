# SPDX-License-Identifier: GPL-3.0-or-later
"""GPT-NeoX and Pythia, after src/transformers/models/gpt_neox/modeling_gpt_neox.py of Hugging Face transformers
(commit 006bd23d, 4.4x; the 4.57 line computes the same): q, k, v interleaved per head in one matrix, rotation of the
first `rotary_pct` of a head, attention and feed-forward from the same residual unless
`use_parallel_residual` is false."""
import numpy as np

from arch_common import ACTIVATIONS, Model, Rope, Tensor, attend, bias, layer_norm, matrix, norm


class GptNeoX(Model):
    architecture = "gptneox"

    def __init__(self, config):
        self.config = config
        self.layers, self.hidden = config["num_hidden_layers"], config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.head_dim = self.hidden // self.heads
        self.ffn, self.vocab = config["intermediate_size"], config["vocab_size"]
        self.eps = config.get("layer_norm_eps", 1e-5)
        self.tied = config.get("tie_word_embeddings", False)
        self.parallel = config.get("use_parallel_residual", True)
        settings = config.get("rope_parameters") or {}
        part = settings.get("partial_rotary_factor", config.get("rotary_pct", 0.25))
        self.rope = Rope(config, int(self.head_dim * part), None,
                         settings.get("rope_theta") or config.get("rotary_emb_base", 10000))
        h, p = self.hidden, "gpt_neox.layers.*."
        self.tensors = [
            Tensor("gpt_neox.embed_in.weight", [self.vocab, h], 127, 7, 0, "token_embd.weight"),
            norm(p + "input_layernorm.weight", h, "blk.*.attn_norm.weight"),
            bias(p + "input_layernorm.bias", h, "blk.*.attn_norm.bias"),
            norm(p + "post_attention_layernorm.weight", h, "blk.*.ffn_norm.weight"),
            bias(p + "post_attention_layernorm.bias", h, "blk.*.ffn_norm.bias"),
            matrix(p + "attention.query_key_value.weight", 3 * h, h, "blk.*.attn_qkv.weight", 1.5),
            matrix(p + "attention.dense.weight", h, h, "blk.*.attn_output.weight"),
            matrix(p + "mlp.dense_h_to_4h.weight", self.ffn, h, "blk.*.ffn_up.weight"),
            bias(p + "mlp.dense_h_to_4h.bias", self.ffn, "blk.*.ffn_up.bias"),
            matrix(p + "mlp.dense_4h_to_h.weight", h, self.ffn, "blk.*.ffn_down.weight"),
            bias(p + "mlp.dense_4h_to_h.bias", h, "blk.*.ffn_down.bias"),
            norm("gpt_neox.final_layer_norm.weight", h, "output_norm.weight"),
            bias("gpt_neox.final_layer_norm.bias", h, "output_norm.bias"),
        ]
        if config.get("attention_bias", True):
            self.tensors += [bias(p + "attention.query_key_value.bias", 3 * h, "blk.*.attn_qkv.bias"),
                             bias(p + "attention.dense.bias", h, "blk.*.attn_output.bias")]
        if not self.tied:
            self.tensors.append(matrix("embed_out.weight", self.vocab, h, "output.weight", 2))

    def gguf_keys(self):
        keys = {"block_count": self.layers, "context_length": self.config["max_position_embeddings"],
                "embedding_length": self.hidden, "feed_forward_length": self.ffn,
                "attention.head_count": self.heads, "attention.layer_norm_epsilon": self.eps,
                "rope.dimension_count": self.rope.dim, "rope.freq_base": self.rope.theta,
                "use_parallel_residual": self.parallel}
        return {"gptneox." + key: value for key, value in keys.items()}

    def norm(self, name, x):
        return layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"], self.eps)

    def forward(self, ids, first):
        weights, n, length = self.weights, len(ids), first + len(ids)
        act = ACTIVATIONS[self.config.get("hidden_act", "gelu")]
        x = weights["gpt_neox.embed_in.weight"][ids]
        for i in range(self.layers):
            p = f"gpt_neox.layers.{i}."
            qkv = self.linear(p + "attention.query_key_value", self.norm(p + "input_layernorm", x))
            q, k, v = np.split(qkv.reshape(n, self.heads, 3 * self.head_dim), 3, -1)
            q, k = self.rope.turn(q, first, length), self.rope.turn(k, first, length)
            k, v = self.remember(i, k, v)
            mixed = self.linear(p + "attention.dense", attend(q, k, v, self.head_dim ** -0.5))
            inner = self.norm(p + "post_attention_layernorm", x if self.parallel else x + mixed)
            x = x + mixed + self.linear(p + "mlp.dense_4h_to_h", act(self.linear(p + "mlp.dense_h_to_4h", inner)))
        x = self.norm("gpt_neox.final_layer_norm", x)
        return x @ weights["gpt_neox.embed_in.weight" if self.tied else "embed_out.weight"].T
