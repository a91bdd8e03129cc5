# SPDX-License-Identifier: GPL-3.0-or-later
"""Qwen 2 and 2.5, after src/transformers/models/qwen2/modeling_qwen2.py and configuration_qwen2.py of Hugging
Face transformers 4.57.1: Llama with biases on q, k and v; layers from `max_window_layers` on (or as
`layer_types` says) have a window, if `use_sliding_window`."""
from arch_common import layer_windows
from arch_llama import Llama


class Qwen2(Llama):
    architecture = "qwen2"

    def layer_windows(self):
        config = dict(self.config)
        if not config.get("use_sliding_window", False):
            config["sliding_window"] = None
        first = config.get("max_window_layers", 28)
        return layer_windows(config, self.layers, [
            "sliding_attention" if config.get("sliding_window") and i >= first else "full_attention"
            for i in range(self.layers)])

    def biases(self):
        return list("qkv")
