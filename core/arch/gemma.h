// SPDX-License-Identifier: Apache-2.0
// What the generations of Gemma share. Internal to core/arch.
#pragma once

#include "core/arch/rope.h"

namespace bitlathe {

/// The text model's part of a configuration, with `defaults` where a key is missing or null: the
/// published configurations leave out what the class assumes.
Json gemma_config(const Json& config, const Json& defaults);
/// Sizes, tanh GELU, embeddings times sqrt(hidden), norms by 1 + w, a tied head, rope.
Result<ModelSpec> gemma_spec(const Json& config, const std::string& where);
/// attention_scale, caps and windows of Gemma 2 and 3; layers slide as "layer_types" or `slides`
/// says.
Result<void> gemma_attention(const Json& config, const std::function<bool(std::int64_t)>& slides,
                             ModelSpec& s, const std::string& where);
/// "sliding_window", and "layer_types" where the pattern of a GGUF file is not `period`.
Result<void> gemma_windows_from_gguf(const GgufKeys& keys, std::int64_t period, Json& config);

struct GemmaLayout {
  bool head_norms = false; ///< queries and keys are normed head by head
  bool post_norms = false; ///< what a sub-layer adds is normed
};
std::vector<ModuleName> gemma_modules(const ModelSpec& s, const GemmaLayout& layout);

/// The keys of a GGUF file that all generations have.
Result<Json> gemma_config_from_gguf(const GgufKeys& keys, const char* class_name,
                                    const char* model_type);
GgufMetadata gemma_metadata(std::string_view architecture, const ModelSpec& s);
/// GGUF files do not hold query_pre_attn_scalar: llama.cpp takes the head's length, but for the one
/// model of a generation that it knows by its number of layers.
void gemma_scalar_from_gguf(std::int64_t layers_of_27b, Json& config);
/// What llama.cpp would run otherwise, and its GGUF files cannot say: of all generations, and of
/// Gemma 2 and 3; every `period`th layer sees everything.
std::vector<std::string> gemma_gguf_problems(const ModelSpec& s);
std::vector<std::string> gemma_gguf_problems(const ModelSpec& s, std::int64_t layers_of_27b,
                                             std::int64_t period);

} // namespace bitlathe
