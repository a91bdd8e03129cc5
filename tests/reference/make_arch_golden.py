# SPDX-License-Identifier: GPL-3.0-or-later
"""Small models with weights made by a hash, and their logits by the reference decoders, for tst_arch:

  /usr/bin/python3 make_arch_golden.py ../golden/arch [NAME...]

NAME.json    config (config.json of the model), layers, ids, tensors [name, shape, most, shift, centre, GGUF name]
             with "*" for a layer, pieces (the sizes of a run in pieces), cached_like_prompt, stray (tensors
             that are stored and not used), gguf: what a GGUF export holds besides
NAME.logits  f32, little endian, [positions][vocab]: the ids at once; when cached_like_prompt is false, then the same
             in pieces and one by one"""
import json
import sys
from pathlib import Path

import numpy as np

from arch_common import expand, hashed_integers
from arch_gemma import Gemma
from arch_gemma2 import Gemma2
from arch_gemma3 import Gemma3
from arch_gpt2 import Gpt2
from arch_gpt_neox import GptNeoX
from arch_llama import Llama
from arch_mistral import Mistral
from arch_phi3 import Phi3
from arch_qwen2 import Qwen2
from arch_qwen3 import Qwen3

CLASSES = {"LlamaForCausalLM": Llama, "MistralForCausalLM": Mistral, "Qwen2ForCausalLM": Qwen2,
           "Qwen3ForCausalLM": Qwen3, "GPT2LMHeadModel": Gpt2, "GPTNeoXForCausalLM": GptNeoX,
           "Phi3ForCausalLM": Phi3, "GemmaForCausalLM": Gemma, "Gemma2ForCausalLM": Gemma2,
           "Gemma3ForCausalLM": Gemma3, "Gemma3ForConditionalGeneration": Gemma3}


def config(name, model_type, **settings):
    return {"architectures": [name], "model_type": model_type, **settings}


def llama(**changes):
    base = dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, vocab_size=56, max_position_embeddings=64, rms_norm_eps=1e-5,
                rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False)
    return {**base, **changes}


def gpt2(**changes):
    base = dict(n_embd=40, n_head=4, n_layer=2, n_positions=40, n_ctx=40, vocab_size=56, n_inner=None,
                activation_function="gelu_new", layer_norm_epsilon=1e-5)
    return config("GPT2LMHeadModel", "gpt2", **{**base, **changes})


def neox(**changes):
    base = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=56,
                max_position_embeddings=64, layer_norm_eps=1e-5, hidden_act="gelu", rotary_pct=0.25,
                rotary_emb_base=10000, use_parallel_residual=True, tie_word_embeddings=False)
    return config("GPTNeoXForCausalLM", "gpt_neox", **{**base, **changes})


def gemma(**changes):
    base = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=12, vocab_size=56, max_position_embeddings=64, rms_norm_eps=1e-6,
                rope_theta=10000.0, attention_bias=False)
    return {**base, **changes}


FACTORS = dict(short_factor=[1.0, 1.1, 1.25, 1.5, 2.0, 2.5], long_factor=[1.2, 1.9, 3.0, 5.0, 9.0, 12.5])
LLAMA, MISTRAL = ("LlamaForCausalLM", "llama"), ("MistralForCausalLM", "mistral")
QWEN2, QWEN3, PHI3 = ("Qwen2ForCausalLM", "qwen2"), ("Qwen3ForCausalLM", "qwen3"), ("Phi3ForCausalLM", "phi3")
GEMMA2, GEMMA3 = ("Gemma2ForCausalLM", "gemma2"), ("Gemma3ForCausalLM", "gemma3_text")

MODELS = {
    "llama-1": config(*LLAMA, **{k: v for k, v in llama().items()
                                 if k not in ("num_key_value_heads", "rope_theta")}),
    "llama-wide-heads": config(*LLAMA, **llama(head_dim=20, num_attention_heads=6, tie_word_embeddings=True,
                                               attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3)),
    "llama-linear": config(*LLAMA, **llama(rope_scaling={"type": "linear", "factor": 2.5})),
    "llama-dynamic": config(*LLAMA, **llama(max_position_embeddings=16,
                                            rope_scaling={"rope_type": "dynamic", "factor": 2.0})),
    "llama-3.1": config(*LLAMA, **llama(head_dim=16, rope_theta=500000.0, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24})),
    "llama-yarn": config(*LLAMA, **llama(head_dim=32, num_hidden_layers=1, rope_scaling={
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    "llama-yarn-mscale": config(*LLAMA, **{**llama(head_dim=24), "rope_theta": None, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1000.0, "factor": 2.0, "original_max_position_embeddings": 32,
        "mscale": 0.707, "mscale_all_dim": 0.3, "beta_fast": 4.0, "beta_slow": 0.5, "truncate": False}}),
    "mistral-window": config(*MISTRAL, **llama(head_dim=16, num_key_value_heads=1, sliding_window=8,
                                               num_hidden_layers=3)),
    "mistral-no-window": config(*MISTRAL, **llama(sliding_window=None, rope_theta=1e6)),
    "qwen2": config(*QWEN2, **llama(tie_word_embeddings=True, use_sliding_window=False, sliding_window=4,
                                    max_window_layers=1, rms_norm_eps=1e-6)),
    "qwen2-window": config(*QWEN2, **llama(use_sliding_window=True, sliding_window=7, max_window_layers=2,
                                           num_hidden_layers=4)),
    "qwen2-layer-types": config(*QWEN2, **llama(
        use_sliding_window=True, sliding_window=6, max_window_layers=28, num_hidden_layers=3, head_dim=16,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
                      "attention_factor": 1.3})),
    "qwen3": config(*QWEN3, **llama(head_dim=20, tie_word_embeddings=True, rope_theta=1e6, attention_bias=False)),
    "qwen3-bias": config(*QWEN3, **llama(hidden_size=32, num_attention_heads=2, num_key_value_heads=1,
                                         attention_bias=True, max_window_layers=28, sliding_window=None)),
    "gpt2": gpt2(),
    "gpt2-bare": gpt2(n_inner=56, activation_function="gelu_pytorch_tanh", layer_norm_epsilon=1e-3,
                      tie_word_embeddings=False),
    "gpt2-erf-unscaled": gpt2(activation_function="gelu", scale_attn_weights=False),
    "neox-parallel": neox(),
    "neox-serial": neox(use_parallel_residual=False, attention_bias=False, rotary_pct=1.0, hidden_act="gelu_fast",
                        tie_word_embeddings=True, rope_scaling={"type": "linear", "factor": 2.0}),
    "neox-rinna": neox(use_parallel_residual=False, rotary_pct=1.0, hidden_size=48),
    "neox-relu": neox(hidden_size=48, num_attention_heads=2, rotary_pct=0.5, hidden_act="relu",
                      rotary_emb_base=500),
    "phi3-window": config(*PHI3, **llama(sliding_window=9, original_max_position_embeddings=64,
                                         rope_scaling=None)),
    "phi3-longrope": config(*PHI3, **llama(
        head_dim=16, partial_rotary_factor=0.75, original_max_position_embeddings=20,
        max_position_embeddings=80, tie_word_embeddings=True, sliding_window=262144,
        rope_scaling={"type": "longrope", **FACTORS})),
    "phi3-long": config(*PHI3, **llama(
        hidden_size=64, partial_rotary_factor=0.75, original_max_position_embeddings=20,
        max_position_embeddings=80, rope_scaling={"type": "longrope", **FACTORS})),
    "phi3-su": config(*PHI3, **llama(original_max_position_embeddings=48, max_position_embeddings=96,
                                     rope_scaling={"type": "su", **FACTORS})),
    "gemma": config("GemmaForCausalLM", "gemma", **gemma(num_key_value_heads=1, hidden_act="gelu",
                                                         hidden_activation=None)),
    "gemma2": config(*GEMMA2, **gemma(num_hidden_layers=4, sliding_window=6, query_pre_attn_scalar=12,
                                      attn_logit_softcapping=3.0, final_logit_softcapping=2.0)),
    "gemma2-scalar": config(*GEMMA2, **gemma(num_hidden_layers=3, sliding_window=9, query_pre_attn_scalar=7,
                                             attention_bias=True, hidden_act="gelu_pytorch_tanh",
                                             hidden_activation="gelu_pytorch_tanh")),
    "gemma3": config(*GEMMA3, **gemma(num_hidden_layers=7, sliding_window=5, query_pre_attn_scalar=12,
                                      rope_theta=1e6, rope_local_base_freq=100.0,
                                      rope_scaling={"rope_type": "linear", "factor": 8.0})),
    "gemma3-types": config(*GEMMA3, **{**gemma(
        num_hidden_layers=3, sliding_window=4, query_pre_attn_scalar=12, final_logit_softcapping=4.0,
        attn_logit_softcapping=2.5,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}),
        "rope_theta": None}),
    "gemma3-vision": config("Gemma3ForConditionalGeneration", "gemma3", text_config={
        "model_type": "gemma3_text", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6,
        "sliding_window": 6, "vocab_size": 56, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        vision_config={"hidden_size": 8, "num_hidden_layers": 1}, image_token_index=55),
}
for settings in MODELS.values():
    for key in [key for key, value in settings.items() if value is None and key == "rope_theta"]:
        del settings[key]

STRAY = {
    "llama-1": [["model.layers.*.self_attn.rotary_emb.inv_freq", [6]]],
    "gpt2": [["transformer.h.*.attn.bias", [1, 1, 40, 40]], ["transformer.h.*.attn.masked_bias", []]],
    "neox-parallel": [["gpt_neox.layers.*.attention.bias", [1, 1, 64, 64]],
                      ["gpt_neox.layers.*.attention.masked_bias", []],
                      ["gpt_neox.layers.*.attention.rotary_emb.inv_freq", [2]]],
    "gemma3-vision": [["vision_tower.vision_model.embeddings.patch_embedding.weight", [8, 3, 2, 2]],
                      ["vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight", [16, 8]],
                      ["multi_modal_projector.mm_input_projection_weight", [8, 16]]],
}
# What GGUF files cannot say. "exact": positions that are the same when read back; "llama_cpp_exact": in
# llama.cpp; "refused" and "notes": words.
GGUF = {
    "llama-dynamic": {"exact": 16, "llama_cpp_exact": 16},
    "llama-yarn-mscale": {"extra": ["rope_freqs.weight"]},
    "mistral-window": {"exact": 8, "llama_cpp_exact": 8},
    "qwen2-window": {"exact": 7, "llama_cpp_exact": 7},
    "qwen2-layer-types": {"refused": "wide"},
    "qwen3-bias": {"refused": "bias"},
    "phi3-longrope": {"refused": "wide"},
    "phi3-window": {"llama_cpp_exact": 9},
    "gpt2-erf-unscaled": {"refused": "scale the attention"},
    "neox-parallel": {"notes": ["GELU"]},
    "neox-serial": {"refused": "biases"},
    "neox-relu": {"refused": "relu"},
    "gemma2-scalar": {"refused": "query_pre_attn_scalar"},
    "gemma3-types": {"refused": "layer 0"},
    "gemma3-vision": {"notes": ["left out"]},
}
LONGER = {"llama-3.1": 36, "phi3-longrope": 32, "gpt2": 40}  # positions; the others have 28


def make(name):
    settings = MODELS[name]
    text = settings.get("text_config", settings)
    prefix = {"gpt2-bare": "", "gemma3-vision": "language_model.model."}.get(name)
    kind = CLASSES[settings["architectures"][0]]
    defaults = {"max_position_embeddings": 131072} if kind is Gemma3 else {}
    inner = {**defaults, **text}
    model = kind(inner) if prefix is None else kind(inner, prefix)
    model.load()
    count = LONGER.get(name, 28)
    ids = (hashed_integers(name + " ids", count, model.vocab // 2) + model.vocab // 2) % model.vocab
    pieces = [5, 1, 11]
    pieces.append(count - sum(pieces))
    runs = [model.run(ids, p) for p in ([count], pieces, [1] * count)]
    spread = max(np.abs(run - runs[0]).max() for run in runs)
    assert (spread < 1e-10) == model.cached_like_prompt or name == "phi3-su", (name, spread)
    model.cached_like_prompt = bool(spread < 1e-10)
    kept = np.stack(runs[:1] if model.cached_like_prompt else runs)
    stored = [[t.name, t.shape, t.most, t.shift, t.centre, t.gguf] for t in model.tensors]
    golden = {
        "config": settings, "layers": model.layers, "vocab": model.vocab, "ids": ids.tolist(), "pieces": pieces,
        "cached_like_prompt": model.cached_like_prompt, "tensors": stored, "stray": STRAY.get(name, []),
        "gguf": {"architecture": model.architecture, "keys": model.gguf_keys(), "extra": model.gguf_extra,
                 "exact": count, "notes": [], **GGUF.get(name, {})},
    }
    assert len(set(n for n, _ in expand(model.tensors, model.layers))) == sum(1 for _ in expand(model.tensors, model.layers))
    top = np.abs(kept).max()
    print(f"{name:20} {count} x {model.vocab}, largest logit {top:.2f}, between runs {spread:.1e}")
    return golden, kept.astype("<f4")


def written(golden):
    """One line per key, one per tensor."""
    def lines(key, value):
        if key in ("tensors", "stray") and value:
            return "[\n" + ",\n".join("  " + json.dumps(entry) for entry in value) + "]"
        return json.dumps(value)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {lines(key, value)}" for key, value in golden.items()) + "\n}\n"


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        golden, logits = make(name)
        (folder / (name + ".json")).write_text(written(golden))
        logits.tofile(folder / (name + ".logits"))


if __name__ == "__main__":
    main()
