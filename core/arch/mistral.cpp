// SPDX-License-Identifier: Apache-2.0
// Mistral: Llama whose layers attend to a sliding window. Follows transformers'
// modeling_mistral.py. In GGUF files it is architecture llama.
#include "core/arch/llama.h"

namespace bitlathe {

namespace {

bool match(const Json& config) { return names_class(config, {"MistralForCausalLM", "mistral"}); }

bool match_gguf(const GgufMetadata&) { return false; } // llama reads them

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  Defaults defaults;
  defaults.context = 131072;
  TRY(read_common(config, defaults, s, where));
  TRY_ASSIGN(const std::int64_t window, read_window(config, 4096, where));
  TRY_ASSIGN(s.windows, windows_of_layers(
                            config, s, window, [](std::int64_t) { return true; }, where));
  TRY(read_rope(config, {rope_settings(config), "rope_theta", 10000, s.head_dim, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile&) {
  return Error{"unsupported", "GGUF files of Mistral models are of architecture llama", {}};
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) { return common_metadata("llama", s); }

std::vector<ModuleName> modules(const ModelSpec& s) {
  LlamaLayout layout;
  layout.interleaved_in_gguf = true;
  return llama_modules(s, layout);
}

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  return llama_cpp_problems(s, {});
}

} // namespace

extern const Arch arch_mistral;
const Arch arch_mistral{"mistral",        "Mistral: Llama with a sliding attention window.",
                        "llama",          match,
                        match_gguf,       spec,
                        config_from_gguf, gguf_metadata,
                        modules,          note_lost_windows,
                        gguf_problems};

} // namespace bitlathe
