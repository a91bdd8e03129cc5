# SPDX-License-Identifier: GPL-3.0-or-later
"""Gemma 2, after src/transformers/models/gemma2/modeling_gemma2.py (commit 006e8693, eager attention) and
configuration_gemma2.py of Hugging Face transformers: Gemma with norms behind attention and feed-forward
too, soft caps on scores and logits, scores by query_pre_attn_scalar, and a window on every other layer from the
first on."""
from arch_common import layer_windows, norm
from arch_gemma import Gemma


class Gemma2(Gemma):
    architecture = "gemma2"

    def __init__(self, config, prefix="model."):
        super().__init__(config, prefix)
        self.activation = config.get("hidden_activation", "gelu_pytorch_tanh")
        self.scale = config.get("query_pre_attn_scalar", 256) ** -0.5
        self.set_caps_and_windows()

    def set_caps_and_windows(self):
        self.softcap = self.config.get("attn_logit_softcapping", 50.0) or 0.0
        self.final_softcap = self.config.get("final_logit_softcapping", 30.0) or 0.0
        config = dict(self.config)
        config.setdefault("sliding_window", 4096)
        self.windows = layer_windows(config, self.layers, [
            "full_attention" if i % 2 else "sliding_attention" for i in range(self.layers)])

    def add_norms(self, p, h):
        for name, gguf in (("post_attention", "post_attention_norm"), ("pre_feedforward", "ffn_norm"),
                           ("post_feedforward", "post_ffw_norm")):
            self.tensors.append(norm(p + name + "_layernorm.weight", h, f"blk.*.{gguf}.weight", 0))

    def gguf_keys(self):
        p = self.architecture + "."
        keys = {**super().gguf_keys(), p + "attention.sliding_window": max(self.windows)}
        if self.softcap:
            keys[p + "attn_logit_softcapping"] = self.softcap
        if self.final_softcap:
            keys[p + "final_logit_softcapping"] = self.final_softcap
        return keys

    def block(self, i, x, first):
        p = f"{self.prefix}layers.{i}."
        mixed = self.attention(i, self.norm(p + "input_layernorm", x), first)
        x = x + self.norm(p + "post_attention_layernorm", mixed)
        inner = self.mlp(i, self.norm(p + "pre_feedforward_layernorm", x))
        return x + self.norm(p + "post_feedforward_layernorm", inner)
