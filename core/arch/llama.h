// SPDX-License-Identifier: Apache-2.0
// The layout of Llama, which many architectures share. Internal to core/arch.
#pragma once

#include "core/arch/rope.h"

namespace bitlathe {

struct LlamaLayout {
  bool qkv_bias = false, o_bias = false;
  bool head_norms = false;          ///< queries and keys are normed head by head
  bool interleaved_in_gguf = false; ///< rows of q and k, as in architecture llama
};
/// "use_sliding_window" and "max_window_layers" of the Qwen family.
Result<void> read_qwen_windows(const Json& config, ModelSpec& spec, const std::string& where);
/// An error when a configuration made from a GGUF file turns only part of a head.
Result<void> whole_head_turns(const Json& config, const std::string& where);
std::vector<ModuleName> llama_modules(const ModelSpec& spec, const LlamaLayout& layout);

} // namespace bitlathe
