// SPDX-License-Identifier: Apache-2.0
// What the engine needs to know to run a decoder, and the registry of architectures that fill it
// in. An architecture is one file in core/arch/ and one word in core/CMakeLists.txt.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bitlathe {

/// Rotary positions (core/arch/rope.h reads them from any configuration). Value i of the first
/// `dims` of a head turns with value i + dims/2, by position * theta^(-2i/dims) / factors[i].
struct RopeSpec {
  std::int64_t dims = 0; ///< leading values of a head that turn; 0: none
  float theta = 10000.0f;
  std::vector<float> factors; ///< dims/2 divisors of the inverse frequencies; empty: all 1
  /// longrope: used instead of `factors` for a sequence longer than original_context. When a
  /// sequence grows beyond it, what came before is run again.
  std::vector<float> long_factors;
  std::int64_t original_context = 0; ///< of longrope and of dynamic scaling
  /// Dynamic NTK, Hugging Face's rule: a sequence of `length` > original_context tokens (at the end
  /// of a call of forward()) turns by theta * (dynamic_factor * length / original_context -
  /// dynamic_factor + 1)^(dims / (dims - 2)). Keys stored by earlier calls stay as they are. 0:
  /// off.
  float dynamic_factor = 0;
  float attention_factor = 1; ///< cos and sin are multiplied by this (yarn, longrope)
  /// Where the above comes from, for containers that store it so: "default", "linear", "dynamic",
  /// "llama3", "yarn", "longrope" or "factors".
  std::string type = "default";
  float factor = 1, beta_fast = 32, beta_slow = 1; ///< of linear and yarn
  bool truncate = true;                            ///< of yarn: the ramp has whole ends
};

/// A decoder-only transformer, pre-norm: x += attn(norm(x)); x += mlp(norm(x)); logits =
/// head(norm(x)). Which weights a layer has says what it does: see ModuleName::part.
struct ModelSpec {
  std::int64_t layers = 0, hidden = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  std::int64_t context = 0; ///< trained length
  float norm_eps = 1e-5f;
  std::string norm = "rms";          ///< or "layer" (mean taken off; the bias is optional)
  bool norm_plus_one = false;        ///< norm weights are stored as w and used as 1 + w
  std::string activation = "silu";   ///< "gelu", "gelu_tanh", "gelu_quick", "relu"; gated exactly
                                     ///< when a layer has a gate (or gate_up) part
  RopeSpec rope;                     ///< of every layer,
  RopeSpec local_rope;               ///< but of layers with a window when dims > 0
  std::vector<std::int64_t> windows; ///< per layer: positions attended to, 0 = all; empty: all 0
  float attention_scale = 0;         ///< of q.k; 0: 1 / sqrt(head_dim)
  float attention_softcap = 0;       ///< scores become cap * tanh(score / cap); 0: off
  float final_softcap = 0;           ///< the same for logits
  float embedding_scale = 1;
  bool parallel_residual = false; ///< x += attn(norm(x)) + mlp(other norm of the same x)
  /// Rows of a qkv part: "stacked" (all of q, then k, then v) or "per_head" ([head][q, k,
  /// v][head_dim]; as many key heads as query heads). Empty: there is none.
  std::string fused_qkv;
  bool tied_head = false;
  bool attention_bias = false, mlp_bias = false;
  std::int64_t bos = -1, eos = -1;
};

/// A weight of an architecture: its names in containers and what it is.
struct ModuleName {
  std::string name; ///< Hugging Face module name, "model.layers.0.self_attn.q_proj"
  std::string gguf; ///< GGUF tensor stem, "blk.0.attn_q"; empty: not stored there
  std::string role; ///< for people: "norm", "q_proj", "qkv_proj", "fc_in", ...
  /// For the engine, once per layer: embedding, positions, attention_norm, q, k, v, qkv, q_norm,
  /// k_norm, o, post_attention_norm (of what attention adds), mlp_norm, gate, up, gate_up (rows of
  /// the gate, then of up), down, post_mlp_norm (of what the feed-forward adds), final_norm, head.
  std::string part;
  int layer = -1;
  std::vector<std::int64_t> shape; ///< of the canonical weight, [out, in] or [n]
  bool bias = false;               ///< a bias tensor is expected
  bool optional = false;           ///< may be absent (tied head)
  /// The canonical (Hugging Face) row that a row of the GGUF tensor holds; empty: the same.
  std::function<std::int64_t(std::int64_t)> hf_row_of_gguf;
  bool transposed_in_hf = false; ///< stored [in, out] in Hugging Face folders (GPT-2's Conv1D)
  float gguf_offset = 0;         ///< GGUF holds the weight plus this (norms of Gemma: 1)
};

struct Arch {
  std::string_view id; ///< "llama"
  std::string_view summary;
  std::string_view gguf_id;          ///< general.architecture of exports, and prefix of their keys
  bool (*match)(const Json& config); ///< config.json
  bool (*match_gguf)(const GgufMetadata& metadata); ///< general.architecture
  Result<ModelSpec> (*spec)(const Json& config, const std::string& where);
  /// A config.json equivalent from GGUF metadata and tensor shapes.
  Result<Json> (*config_from_gguf)(const GgufFile& file);
  /// Metadata other than general.*, tokenizer.* and PREFIX.rope.*: context, heads, ...
  GgufMetadata (*gguf_metadata)(const ModelSpec& spec, const Json& config);
  std::vector<ModuleName> (*modules)(const ModelSpec& spec);
  /// What GGUF or llama.cpp makes different of this model, for people. May be null.
  std::vector<std::string> (*gguf_notes)(const ModelSpec& spec, const Json& config) = nullptr;
  /// Why llama.cpp would not load or not run the model rightly from a GGUF file: the export is
  /// refused. May be null.
  std::vector<std::string> (*gguf_problems)(const ModelSpec& spec, const Json& config) = nullptr;
};
std::span<const Arch* const> all_archs();
/// nullptr when none matches.
const Arch* find_arch(std::string_view id);

} // namespace bitlathe
