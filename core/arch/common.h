// SPDX-License-Identifier: Apache-2.0
// What architectures share: reading configurations and GGUF keys, naming modules. Internal to
// core/arch.
#pragma once

#include "core/model/spec.h"

namespace bitlathe {

/// Whether a config.json names one of these: the first of "architectures", else "model_type".
bool names_class(const Json& config, std::initializer_list<std::string_view> classes);
/// Whether general.architecture is `id`.
bool gguf_architecture_is(const GgufMetadata& metadata, std::string_view id);

/// A size between 1 and a bound that no real model comes near.
Result<std::int64_t> read_size(const Json& config, const char* key,
                               std::optional<std::int64_t> otherwise, const std::string& where);
/// More than any real head has.
constexpr std::int64_t max_head_dim = 65536;
/// A token id, or the first of a list; -1 when absent.
Result<std::int64_t> read_id(const Json& config, const char* key, const std::string& where);
/// The epsilon of a norm: 0 to 1.
Result<float> read_epsilon(const Json& config, const char* key, double otherwise,
                           const std::string& where);
/// "silu", "gelu", "gelu_tanh", "gelu_quick" or "relu" for the name that a config.json uses.
Result<std::string> read_activation(const Json& config, const char* key,
                                    const std::string& otherwise, const std::string& where);
/// What most configurations call the same: layers, hidden, ffn, heads, kv_heads, head_dim, vocab,
/// context, norm_eps ("rms_norm_eps"), tied_head, activation ("hidden_act"), bos, eos. Checks that
/// heads divide.
struct Defaults {
  bool tied_head = false;
  double epsilon = 1e-6;
  std::int64_t context = 2048;
  const char* activation = "silu";
  std::int64_t head_dim = 0; ///< 0: hidden / heads
};
Result<void> read_common(const Json& config, const Defaults& defaults, ModelSpec& spec,
                         const std::string& where);
/// "sliding_window": 0 when null, `otherwise` when absent.
Result<std::int64_t> read_window(const Json& config, std::int64_t otherwise,
                                 const std::string& where);
/// ModelSpec::windows: layers slide as "layer_types" says, else as `otherwise` decides.
Result<std::vector<std::int64_t>>
windows_of_layers(const Json& config, const ModelSpec& spec, std::int64_t window,
                  const std::function<bool(std::int64_t layer)>& otherwise,
                  const std::string& where);

/// Adds modules of one layer: "model.layers.3." + name, "blk.3." + stem.
class ModuleList {
 public:
  std::vector<ModuleName> list;
  /// Prefixes of the names that follow; layer -1 is outside of blocks.
  void enter(std::string hf_prefix, std::string gguf_prefix, int layer);
  ModuleName& add(const char* part, const char* role, const std::string& name,
                  const std::string& gguf, std::vector<std::int64_t> shape, bool bias = false);

 private:
  std::string hf_, gguf_;
  int layer_ = -1;
};

/// Rows of query and key matrices in GGUF files of architecture llama (core/model/permute.h).
std::function<std::int64_t(std::int64_t)> interleaved_rows(std::int64_t head_dim);

/// The metadata of a GGUF file under one architecture's prefix.
class GgufKeys {
 public:
  GgufKeys(const GgufFile& file, std::string_view architecture);
  const std::string& where() const { return where_; }
  std::optional<std::int64_t> whole(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::string text(std::string_view key, std::string otherwise = {}) const;
  const GgufValue* value(std::string_view key) const;
  const StoredTensor* tensor(std::string_view name) const;
  const GgufValue* global(std::string_view key) const; ///< a key without the prefix
  /// The error for a required key.
  Error missing(std::string_view key) const;
  Result<std::int64_t> need_whole(std::string_view key) const;
  Result<double> need_number(std::string_view key) const;

 private:
  const GgufFile& file_;
  std::string prefix_, where_;
};

/// The settings that most architectures share, under the names that read_common reads, with
/// "architectures" and "model_type" set. `epsilon` is the GGUF key of the norm's epsilon.
Result<Json> common_config(const GgufKeys& keys, const char* class_name, const char* model_type,
                           const char* epsilon = "attention.layer_norm_rms_epsilon");
/// The reverse: PREFIX.block_count and so on, without rope.
GgufMetadata common_metadata(std::string_view architecture, const ModelSpec& spec,
                             const char* epsilon = "attention.layer_norm_rms_epsilon");
GgufValue gguf_u32(std::int64_t value);
/// For Arch::gguf_problems: what llama.cpp's code for gated SiLU models takes for granted.
struct LlamaCppLimits {
  bool square_attention = false; ///< heads * head_dim = hidden
  bool no_output_bias = false;   ///< of attention
};
std::vector<std::string> llama_cpp_problems(const ModelSpec& spec, const LlamaCppLimits& limits);
/// Arch::gguf_notes of architectures whose sliding windows llama.cpp does not run.
std::vector<std::string> note_lost_windows(const ModelSpec& spec, const Json& config);

/// The shortest decimal that gives this float back: 1e-05, not 9.999999747378752e-06.
double shortest(float value);

} // namespace bitlathe
