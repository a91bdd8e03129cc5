# SPDX-License-Identifier: GPL-3.0-or-later
"""GPT-2, after src/transformers/models/gpt2/modeling_gpt2.py of Hugging Face transformers (commit 0010f602;
pytorch_utils.Conv1D): learned positions, LayerNorm, matrices stored as [inputs, outputs], biases everywhere,
one matrix for q, k, v, a head tied to the embedding."""
import numpy as np

from arch_common import ACTIVATIONS, Model, Tensor, attend, bias, layer_norm, matrix, norm


class Gpt2(Model):
    architecture = "gpt2"

    def __init__(self, config, prefix="transformer."):
        self.config, self.prefix = config, prefix
        self.layers, self.hidden, self.heads = config["n_layer"], config["n_embd"], config["n_head"]
        self.ffn = config.get("n_inner") or 4 * self.hidden
        self.vocab, self.context = config["vocab_size"], config["n_positions"]
        self.eps = config.get("layer_norm_epsilon", 1e-5)
        self.tied = config.get("tie_word_embeddings", True)
        h, p = self.hidden, prefix + "h.*."
        self.tensors = [
            Tensor(prefix + "wte.weight", [self.vocab, h], 127, 7, 0, "token_embd.weight"),
            Tensor(prefix + "wpe.weight", [self.context, h], 127, 8, 0, "position_embd.weight"),
            norm(p + "ln_1.weight", h, "blk.*.attn_norm.weight"), bias(p + "ln_1.bias", h, "blk.*.attn_norm.bias"),
            matrix(p + "attn.c_attn.weight", h, 3 * h, "blk.*.attn_qkv.weight", 1.5, fan_in=h),
            bias(p + "attn.c_attn.bias", 3 * h, "blk.*.attn_qkv.bias"),
            matrix(p + "attn.c_proj.weight", h, h, "blk.*.attn_output.weight"),
            bias(p + "attn.c_proj.bias", h, "blk.*.attn_output.bias"),
            norm(p + "ln_2.weight", h, "blk.*.ffn_norm.weight"), bias(p + "ln_2.bias", h, "blk.*.ffn_norm.bias"),
            matrix(p + "mlp.c_fc.weight", h, self.ffn, "blk.*.ffn_up.weight", fan_in=h),
            bias(p + "mlp.c_fc.bias", self.ffn, "blk.*.ffn_up.bias"),
            matrix(p + "mlp.c_proj.weight", self.ffn, h, "blk.*.ffn_down.weight", fan_in=self.ffn),
            bias(p + "mlp.c_proj.bias", h, "blk.*.ffn_down.bias"),
            norm(prefix + "ln_f.weight", h, "output_norm.weight"), bias(prefix + "ln_f.bias", h, "output_norm.bias"),
        ]
        if not self.tied:
            self.tensors.append(matrix("lm_head.weight", self.vocab, h, "output.weight", 2))

    def gguf_keys(self):
        return {"gpt2.block_count": self.layers, "gpt2.context_length": self.context,
                "gpt2.embedding_length": self.hidden, "gpt2.feed_forward_length": self.ffn,
                "gpt2.attention.head_count": self.heads, "gpt2.attention.layer_norm_epsilon": self.eps}

    def conv1d(self, name, x):
        return x @ self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def norm(self, name, x):
        return layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"], self.eps)

    def forward(self, ids, first):
        n, weights, scale = len(ids), self.weights, 1.0
        if self.config.get("scale_attn_weights", True):
            scale = (self.hidden // self.heads) ** -0.5
        act = ACTIVATIONS[self.config.get("activation_function", "gelu_new")]
        x = weights[self.prefix + "wte.weight"][ids] + weights[self.prefix + "wpe.weight"][first:first + n]
        for i in range(self.layers):
            p = f"{self.prefix}h.{i}."
            q, k, v = (y.reshape(n, self.heads, -1) for y in
                       np.split(self.conv1d(p + "attn.c_attn", self.norm(p + "ln_1", x)), 3, -1))
            k, v = self.remember(i, k, v)
            x = x + self.conv1d(p + "attn.c_proj", attend(q, k, v, scale))
            x = x + self.conv1d(p + "mlp.c_proj", act(self.conv1d(p + "mlp.c_fc", self.norm(p + "ln_2", x))))
        x = self.norm(self.prefix + "ln_f", x)
        return x @ weights[self.prefix + "wte.weight" if self.tied else "lm_head.weight"].T
