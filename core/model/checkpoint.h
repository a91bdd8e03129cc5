// SPDX-License-Identifier: Apache-2.0
// A checkpoint: the files of one model, opened. Headers are read, tensor data stays mapped. Readers
// are one file each in core/model/readers/ and one word in core/CMakeLists.txt.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"
#include "core/io/safetensors.h"
#include "core/model/spec.h"
#include "core/schemes/scheme.h"

#include <array>
#include <memory>
#include <optional>

namespace bitlathe {

/// A named part that owns a weight. `weight` is in canonical form whatever the source format was
/// (float schemes for unquantized ones), in Hugging Face row order (for GGUF q/k rows through
/// QTensor::row_order).
struct Module {
  std::string name;        ///< "model.layers.3.mlp.down_proj"
  std::string stored_name; ///< in its Hugging Face container, when that differs; else empty
  std::string part;        ///< for the engine: see ModuleName; empty in unknown architectures
  std::string
      role; ///< "embedding", "q_proj", ..., "norm", "lm_head"; "linear"/"other" by shape if unknown
  int layer = -1;                   ///< block index, -1 outside blocks
  std::vector<std::int64_t> shape;  ///< of the weight: [out, in], or [n] for vectors
  QTensor weight;                   ///< rows x cols (vectors: 1 x n); scheme tells the storage. A
                                    ///< type that cannot be decoded has scheme.family == nullptr
  QTensor bias;                     ///< 1 x out when rows > 0
  std::string activations = "none"; ///< activation scheme stored with the checkpoint
  float activation_scale = 0;       ///< of a static activation scheme
  float outlier_threshold = 0;      ///< of "llm-int8": columns of inputs that reach it stay f16
  bool linear = false;              ///< a matrix used in a product: quantizable by default
  bool transposed_in_hf = false;    ///< Hugging Face folders store the weight as [in, out]
  float gguf_offset = 0;            ///< what GGUF files add to the values
  bool tied_to_embedding = false;   ///< lm_head without a tensor of its own: `weight` is a view of
                                    ///< the embedding's and counts there

  std::int64_t parameters() const {
    return tied_to_embedding ? 0 : weight.rows * weight.cols + bias.cols * bias.rows;
  }
  std::uint64_t bytes() const { return tied_to_embedding ? 0 : weight.bytes() + bias.bytes(); }
  /// The name in Hugging Face containers.
  const std::string& hf_name() const { return stored_name.empty() ? name : stored_name; }
  /// "BF16", "I4", "q4_0": how info shows the type.
  std::string dtype() const;
};

class Tokenizer;

struct Checkpoint {
  fs::path path;
  std::string name;            ///< folder or file name without extension
  std::string format;          ///< "safetensors", "compressed-tensors", "gguf", "result"
  std::string architecture;    ///< registry id ("llama") or the name in the config when unknown
  Json config;                 ///< config.json, or an equivalent made from GGUF metadata
  GgufMetadata gguf;           ///< metadata of a GGUF source, verbatim; else empty
  std::vector<Module> modules; ///< in model order: embedding, blocks, final norm, head
  std::vector<StoredTensor> others; ///< tensors that belong to no module
  std::vector<std::string> notes; ///< everything a person should know (ignored tensors, fallbacks)
  std::optional<ModelSpec> spec;  ///< set when the engine can run this model
  std::string why_not_runnable;   ///< else the reason
  std::string tokenizer_problem;  ///< why `tokenizer` is null
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string kv_keys = "f16", kv_values = "f16"; ///< KV schemes recorded with the checkpoint
  /// Per layer, static scales of keys and of values in f8; empty: every row has its own.
  std::vector<std::array<float, 2>> kv_scales;
  std::vector<fs::path>
      side_files; ///< tokenizer.json, generation_config.json, ...: copied by exports

  const Module* find_module(std::string_view module_name) const;
  /// The module that is `part` of a layer (-1: outside of blocks), or nullptr.
  const Module* find_part(int layer, std::string_view part) const;
  std::int64_t parameters() const;
  std::uint64_t bytes() const;
  bool quantized() const; ///< any module with a quantized scheme
};

/// Opens a folder or a file of any registered format. Never reads tensor data beyond headers.
Result<std::shared_ptr<const Checkpoint>> open_checkpoint(const fs::path& path);

/// A reader: recognises a path and opens it.
struct CheckpointReader {
  std::string_view id;
  std::string_view summary;
  bool (*recognises)(const fs::path& path);
  Result<std::shared_ptr<Checkpoint>> (*open)(const fs::path& path);
};
std::span<const CheckpointReader* const> all_checkpoint_readers();

} // namespace bitlathe
