// SPDX-License-Identifier: Apache-2.0
// What the engine needs to know to run a decoder, and the registry of architectures that fill it
// in. An architecture is one file in core/arch/ and one word in core/CMakeLists.txt.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bitlathe {

/// A decoder-only transformer, pre-norm: x += attn(norm(x)); x += mlp(norm(x)); logits =
/// head(norm(x)).
struct ModelSpec {
  std::int64_t layers = 0, hidden = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  std::int64_t context = 0; ///< trained length
  float norm_eps = 1e-5f;
  float rope_theta = 10000.0f;
  std::vector<float> rope_factors; ///< head_dim/2 divisors of the inverse frequencies; empty: all 1
  bool tied_head = false;
  bool attention_bias = false, mlp_bias = false;
  std::int64_t bos = -1, eos = -1;
};

/// Name of a weight in a checkpoint and what it is.
struct ModuleName {
  std::string name; ///< Hugging Face module name, "model.layers.0.self_attn.q_proj"
  std::string gguf; ///< GGUF tensor stem, "blk.0.attn_q"
  std::string role;
  int layer = -1;
  std::vector<std::int64_t> shape; ///< expected weight shape
  bool bias = false;               ///< a bias tensor is expected
  bool optional = false;           ///< may be absent (tied head)
  bool permuted_in_gguf = false;   ///< rows interleaved per head for interleaved rope
};

struct Arch {
  std::string_view id; ///< "llama"; also the GGUF architecture name
  std::string_view summary;
  bool (*match)(const Json& config);                ///< config.json
  bool (*match_gguf)(const GgufMetadata& metadata); ///< general.architecture
  Result<ModelSpec> (*spec)(const Json& config, const std::string& where);
  /// A config.json equivalent from GGUF metadata and tensor shapes.
  Result<Json> (*config_from_gguf)(const GgufFile& file);
  /// Metadata other than general.* and tokenizer.*: context, heads, rope, ...
  GgufMetadata (*gguf_metadata)(const ModelSpec& spec, const Json& config);
  std::vector<ModuleName> (*modules)(const ModelSpec& spec);
};
std::span<const Arch* const> all_archs();
/// nullptr when none matches.
const Arch* find_arch(std::string_view id);

} // namespace bitlathe
