# SPDX-License-Identifier: GPL-3.0-or-later
"""Qwen 3, after src/transformers/models/qwen3/modeling_qwen3.py and configuration_qwen3.py of Hugging Face
transformers (commit 000c33fd of the 5.0 line): Qwen 2 with an RMS norm over every head of q and k before
the rotation, biases only with `attention_bias` (then on o too), and heads of 128 unless said otherwise."""
from arch_common import norm, rms_norm
from arch_qwen2 import Qwen2


class Qwen3(Qwen2):
    architecture = "qwen3"

    def __init__(self, config):
        super().__init__(config)
        for part in "qk":
            self.tensors.append(norm(f"model.layers.*.self_attn.{part}_norm.weight", self.head_dim,
                                     f"blk.*.attn_{part}_norm.weight"))

    def default_head_dim(self):
        return 128

    def biases(self):
        return list("qkvo") if self.config.get("attention_bias") else []

    def query_key_norm(self, layer, q, k):
        p = f"model.layers.{layer}.self_attn."
        return (rms_norm(q, self.weights[p + "q_norm.weight"], self.eps),
                rms_norm(k, self.weights[p + "k_norm.weight"], self.eps))
