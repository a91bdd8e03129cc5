# SPDX-License-Identifier: GPL-3.0-or-later
"""Gemma 3 (text), after src/transformers/models/gemma3/modeling_gemma3.py (commit 0018aa64 of the 5.0 line) and
configuration_gemma3.py (commit 008f5c8c): Gemma 2 with an RMS norm (1 + w) over every head of q and k, five
layers with a window and a rotation of their own to each that sees everything, soft caps off by default."""
from arch_common import Rope, layer_windows, norm
from arch_gemma2 import Gemma2


class Gemma3(Gemma2):
    architecture = "gemma3"

    def __init__(self, config, prefix="model."):
        super().__init__(config, prefix)
        for part in "qk":
            self.tensors.append(norm(f"{prefix}layers.*.self_attn.{part}_norm.weight", self.head_dim,
                                     f"blk.*.attn_{part}_norm.weight", 0))
        settings = config.get("rope_parameters") or {}
        if "full_attention" in settings:
            self.rope = Rope(config, self.head_dim, settings["full_attention"])
            self.local_rope = Rope(config, self.head_dim, settings["sliding_attention"])
        else:
            theta = config.get("rope_theta", 1000000.0)
            self.rope = Rope(config, self.head_dim, config.get("rope_scaling") or {}, theta)
            self.local_rope = Rope(config, self.head_dim, {}, config.get("rope_local_base_freq", 10000.0))

    def set_caps_and_windows(self):
        self.softcap = self.config.get("attn_logit_softcapping") or 0.0
        self.final_softcap = self.config.get("final_logit_softcapping") or 0.0
        period = self.config.get("sliding_window_pattern", 6)
        config = dict(self.config)
        config.setdefault("sliding_window", 4096)
        self.windows = layer_windows(config, self.layers, [
            "sliding_attention" if (i + 1) % period else "full_attention" for i in range(self.layers)])

    def query_key_norm(self, p, q, k):
        return self.norm(p + "q_norm", q), self.norm(p + "k_norm", k)
