# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistral, after src/transformers/models/mistral/modeling_mistral.py of Hugging Face transformers 4.57.1:
Llama without biases; every layer sees the last `sliding_window` positions, its own among them
(masking_utils.sliding_window_overlay)."""
from arch_llama import Llama


class Mistral(Llama):
    def layer_windows(self):
        return [self.config.get("sliding_window") or 0] * self.layers

    def biases(self):
        return []
