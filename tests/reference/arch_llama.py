# SPDX-License-Identifier: GPL-3.0-or-later
"""Llama 1, 2, 3 and 3.x, after src/transformers/models/llama/modeling_llama.py of Hugging Face transformers
4.57.1 (LlamaAttention, LlamaMLP, LlamaDecoderLayer, LlamaForCausalLM). Mistral, Qwen 2 and Qwen 3 differ
from it in the points that their own files state."""
from arch_common import ACTIVATIONS, Model, Rope, Tensor, attend, bias, matrix, norm, rms_norm


class Llama(Model):
    architecture = "llama"

    def __init__(self, config):
        self.config = config
        self.layers, self.hidden = config["num_hidden_layers"], config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads", self.heads)
        self.head_dim = config.get("head_dim") or self.default_head_dim()
        self.ffn, self.vocab = config["intermediate_size"], config["vocab_size"]
        self.eps = config.get("rms_norm_eps", 1e-6)
        self.rope = Rope(config, self.head_dim)
        self.cached_like_prompt = self.rope.kind != "dynamic"
        self.windows = self.layer_windows()
        self.tied = config.get("tie_word_embeddings", False)
        q, kv, h = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.hidden
        attention, mlp = "model.layers.*.self_attn.", "model.layers.*.mlp."
        self.tensors = [
            Tensor("model.embed_tokens.weight", [self.vocab, h], 127, 7, 0, "token_embd.weight"),
            norm("model.layers.*.input_layernorm.weight", h, "blk.*.attn_norm.weight"),
            matrix(attention + "q_proj.weight", q, h, "blk.*.attn_q.weight", 1.5),
            matrix(attention + "k_proj.weight", kv, h, "blk.*.attn_k.weight", 1.5),
            matrix(attention + "v_proj.weight", kv, h, "blk.*.attn_v.weight"),
            matrix(attention + "o_proj.weight", h, q, "blk.*.attn_output.weight"),
            norm("model.layers.*.post_attention_layernorm.weight", h, "blk.*.ffn_norm.weight"),
            matrix(mlp + "gate_proj.weight", self.ffn, h, "blk.*.ffn_gate.weight"),
            matrix(mlp + "up_proj.weight", self.ffn, h, "blk.*.ffn_up.weight"),
            matrix(mlp + "down_proj.weight", h, self.ffn, "blk.*.ffn_down.weight"),
            norm("model.norm.weight", h, "output_norm.weight"),
        ]
        sizes = {"q": q, "k": kv, "v": kv, "o": h, "gate": self.ffn, "up": self.ffn, "down": h}
        gguf = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
                "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
        for part in self.biases():
            where = mlp if part in ("gate", "up", "down") else attention
            self.tensors.append(bias(where + part + "_proj.bias", sizes[part], "blk.*." + gguf[part] + ".bias"))
        if not self.tied:
            self.tensors.append(matrix("lm_head.weight", self.vocab, h, "output.weight", 2))
        if self.rope.kind == "llama3":
            self.gguf_extra = ["rope_freqs.weight"]

    def default_head_dim(self):
        return self.hidden // self.heads

    def layer_windows(self):
        return [0] * self.layers

    def biases(self):
        attention = "qkvo" if self.config.get("attention_bias") else ""
        return list(attention) + (["gate", "up", "down"] if self.config.get("mlp_bias") else [])

    def gguf_keys(self):
        p = self.architecture + "."
        return {p + "block_count": self.layers, p + "embedding_length": self.hidden,
                p + "feed_forward_length": self.ffn, p + "attention.head_count": self.heads,
                p + "attention.head_count_kv": self.kv_heads, p + "rope.freq_base": self.rope.theta,
                p + "attention.layer_norm_rms_epsilon": self.eps,
                p + "context_length": self.config["max_position_embeddings"]}

    def query_key_norm(self, layer, q, k):
        return q, k

    def forward(self, ids, first):
        weights, length = self.weights, first + len(ids)
        x = weights["model.embed_tokens.weight"][ids]
        for i in range(self.layers):
            p = f"model.layers.{i}."
            h = rms_norm(x, weights[p + "input_layernorm.weight"], self.eps)
            q = self.linear(p + "self_attn.q_proj", h).reshape(len(ids), self.heads, self.head_dim)
            k = self.linear(p + "self_attn.k_proj", h).reshape(len(ids), self.kv_heads, self.head_dim)
            v = self.linear(p + "self_attn.v_proj", h).reshape(len(ids), self.kv_heads, self.head_dim)
            q, k = self.query_key_norm(i, q, k)
            q, k = self.rope.turn(q, first, length), self.rope.turn(k, first, length)
            k, v = self.remember(i, k, v)
            mixed = attend(q, k, v, self.head_dim ** -0.5, self.windows[i])
            x = x + self.linear(p + "self_attn.o_proj", mixed)
            h = rms_norm(x, weights[p + "post_attention_layernorm.weight"], self.eps)
            gate = ACTIVATIONS[self.config.get("hidden_act", "silu")](self.linear(p + "mlp.gate_proj", h))
            x = x + self.linear(p + "mlp.down_proj", gate * self.linear(p + "mlp.up_proj", h))
        x = rms_norm(x, weights["model.norm.weight"], self.eps)
        return x @ weights["model.embed_tokens.weight" if self.tied else "lm_head.weight"].T
