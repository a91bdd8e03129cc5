// SPDX-License-Identifier: Apache-2.0
#include "core/engine/linear_weight.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace bitlathe {

namespace {

std::string plural(std::int64_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, Compute& compute, const EngineOptions& options)
      : checkpoint_(checkpoint), options_(options), form_{compute, options.round_weights_to_f16} {}

  Result<DecoderWeights> load() {
    TRY(layers(0, checkpoint_.spec->layers));
    TRY(head());
    say_what_happened();
    return std::move(out_);
  }

  Result<DecoderWeights> load_head() {
    TRY(layers(0, 0));
    TRY(head());
    return std::move(out_);
  }

  Result<DecoderWeights> load_layers(std::int64_t first, std::int64_t count) {
    TRY(layers(first, count));
    return std::move(out_);
  }

 private:
  Result<void> head() {
    const ModelSpec& spec = *checkpoint_.spec;
    const Module* head = look_up(-1, "head");
    const QTensor& table = out_.embedding.module->weight;
    if (head && head->weight.rows > 0) { // a view of the embedding's values, or its own
      out_.head.tied = head->weight.codes.data() == table.codes.data();
      return matrix(-1, "head", spec.vocab, spec.hidden, true, out_.head);
    }
    out_.head.module = head ? head : out_.embedding.module;
    out_.head.tied = out_.head.product = true;
    return ready(out_.head);
  }

  Result<void> layers(std::int64_t first, std::int64_t count) {
    const ModelSpec& spec = *checkpoint_.spec;
    const std::int64_t q = spec.heads * spec.head_dim, kv = spec.kv_heads * spec.head_dim;
    for (const Module& module : checkpoint_.modules)
      if (!module.part.empty())
        parts_.emplace(std::pair(module.layer, std::string_view(module.part)), &module);
    TRY(matrix(-1, "embedding", spec.vocab, spec.hidden, false, out_.embedding));
    if (has(-1, "positions"))
      TRY(matrix(-1, "positions", 0, spec.hidden, false, out_.positions));
    out_.layers.resize(std::size_t(spec.layers));
    for (std::int64_t index = first; index < first + count; ++index) {
      DecoderLayer& layer = out_.layers[std::size_t(index)];
      const int i = int(index);
      layer.window = spec.windows.empty() ? 0 : spec.windows[std::size_t(index)];
      TRY(norm(i, "attention_norm", spec.hidden, true, layer.attention_norm));
      TRY(norm(i, "q_norm", 0, false, layer.q_norm));
      TRY(norm(i, "k_norm", 0, false, layer.k_norm));
      TRY(norm(i, "post_attention_norm", spec.hidden, false, layer.post_attention_norm));
      TRY(norm(i, "mlp_norm", spec.hidden, !spec.parallel_residual, layer.mlp_norm));
      TRY(norm(i, "post_mlp_norm", spec.hidden, false, layer.post_mlp_norm));
      if (!spec.fused_qkv.empty()) {
        TRY(matrix(i, "qkv", q + 2 * kv, spec.hidden, true, layer.qkv));
      } else {
        TRY(matrix(i, "q", q, spec.hidden, true, layer.q));
        TRY(matrix(i, "k", kv, spec.hidden, true, layer.k));
        TRY(matrix(i, "v", kv, spec.hidden, true, layer.v));
      }
      TRY(matrix(i, "o", spec.hidden, q, true, layer.o));
      if (has(i, "gate_up")) {
        TRY(matrix(i, "gate_up", 2 * spec.ffn, spec.hidden, true, layer.gate_up));
      } else {
        if (has(i, "gate"))
          TRY(matrix(i, "gate", spec.ffn, spec.hidden, true, layer.gate));
        TRY(matrix(i, "up", spec.ffn, spec.hidden, true, layer.up));
      }
      TRY(matrix(i, "down", spec.hidden, spec.ffn, true, layer.down));
    }
    return norm(-1, "final_norm", spec.hidden, true, out_.final_norm);
  }

  const Module* look_up(int layer, const char* part) const {
    const auto it = parts_.find(std::pair(layer, std::string_view(part)));
    return it == parts_.end() ? nullptr : it->second;
  }
  bool has(int layer, const char* part) const { return look_up(layer, part) != nullptr; }

  /// `rows` 0: as many as there are.
  Result<const Module*> find(int layer, const char* part, std::int64_t rows,
                             std::int64_t cols) const {
    const Module* module = look_up(layer, part);
    if (!module || module->weight.rows <= 0)
      return Error{"bad-file",
                   "The checkpoint has no weight for the part " + std::string(part) +
                       (layer < 0 ? std::string() : " of layer " + std::to_string(layer)),
                   checkpoint_.path.string()};
    if (!module->weight.scheme.family)
      return Error{"unsupported",
                   "The values of " + module->name + " are stored as " + module->weight.scheme.id +
                       ", which cannot be decoded",
                   checkpoint_.path.string()};
    if ((rows > 0 && module->weight.rows != rows) || module->weight.cols != cols)
      return Error{"bad-file",
                   module->name + " has the shape " + std::to_string(module->weight.rows) + " x " +
                       std::to_string(module->weight.cols) + " where the configuration needs " +
                       std::to_string(rows) + " x " + std::to_string(cols),
                   checkpoint_.path.string()};
    return module;
  }

  /// `size` 0: one head, or all heads together.
  Result<void> norm(int layer, const char* part, std::int64_t size, bool required, Norm& out) {
    const Module* stored = look_up(layer, part);
    if (!stored && !required)
      return {};
    TRY_ASSIGN(const Module* module, find(layer, part, 1, size > 0 ? size : stored->weight.cols));
    TRY_ASSIGN(out.weight, decoded(module->weight, form_, out_.clipped));
    if (checkpoint_.spec->norm_plus_one)
      for (float& w : out.weight)
        w += 1.0f;
    if (module->bias.rows > 0) {
      TRY_ASSIGN(out.bias, decoded(module->bias, form_, out_.clipped));
    }
    if (!out.bias.empty() && out.bias.size() != out.weight.size())
      return Error{"bad-file", "The bias of " + module->name + " has the wrong length",
                   checkpoint_.path.string()};
    out_.bytes += (out.weight.size() + out.bias.size()) * sizeof(float);
    return {};
  }

  Result<void> matrix(int layer, const char* part, std::int64_t rows, std::int64_t cols,
                      bool product, Linear& out) {
    TRY_ASSIGN(out.module, find(layer, part, rows, cols));
    if (layer >= 0)
      out_.largest = std::max(out_.largest, out.module->weight.rows * out.module->weight.cols);
    out.product = product;
    if (out.module->bias.rows > 0) {
      if (out.module->bias.cols != out.module->weight.rows)
        return Error{"bad-file", "The bias of " + out.module->name + " has the wrong length",
                     checkpoint_.path.string()};
      TRY_ASSIGN(out.bias, decoded(out.module->bias, form_, out_.clipped));
    }
    return ready(out);
  }

  /// Decides how a matrix is run, and loads it unless that comes later.
  Result<void> ready(Linear& out) {
    out.weight = out.tied ? &out_.embedding.module->weight : &out.module->weight;
    if (out.product) {
      out.counts = std::make_unique<ActivationCounts>();
      TRY(choose_activations(out));
    }
    if (options_.residency)
      return {};
    TRY(load_linear(out, form_, out.tied ? &out_.embedding : nullptr));
    out_.clipped += out.clipped;
    out_.bytes += loaded_bytes(out).own;
    return {};
  }

  Result<void> choose_activations(Linear& linear) {
    const Module& module = *linear.module;
    const bool own = options_.activations.empty();
    TRY_ASSIGN(const ActivationScheme* scheme,
               parse_activation_scheme(own ? module.activations : options_.activations));
    if (!scheme || form_.round_to_f16 || !linear.weight->scheme.quantized)
      return {};
    if (const std::string why = scheme->declines(linear.weight->scheme); !why.empty()) {
      without_[std::string(scheme->id) + ": " + why] += 1;
      return {};
    }
    if (scheme->is_static) {
      if (!(module.activation_scale > 0) || !std::isfinite(module.activation_scale))
        return Error{"bad-argument",
                     "The activation scheme " + std::string(scheme->id) +
                         " needs a calibrated scale, and none is stored for this module",
                     module.name + " of " + checkpoint_.path.string()};
      const ActivationScheme* stored = find_activation_scheme(module.activations);
      linear.activation_scale = module.activation_scale;
      if (stored && stored->is_static) // one of the two may be int8, the other f8
        linear.activation_scale *= stored->largest / scheme->largest;
    }
    linear.outlier_threshold =
        module.activations == "llm-int8" ? module.outlier_threshold : standard_outlier_threshold;
    linear.activations = scheme;
    with_[scheme] += 1;
    return {};
  }

  void say_what_happened() {
    for (const auto& [scheme, count] : with_)
      out_.notes.push_back(plural(count, "linear") + " run with " + std::string(scheme->id) +
                           " activations" +
                           (scheme->simulated ? ", simulated: values are rounded as coding would, "
                                                "then multiplied as floats"
                                              : ""));
    for (const auto& [why, count] : without_)
      out_.notes.push_back(plural(count, "linear") + " keep float activations instead of " + why);
  }

  const Checkpoint& checkpoint_;
  const EngineOptions& options_;
  const WeightForm form_;
  DecoderWeights out_;
  std::map<std::pair<int, std::string_view>, const Module*> parts_;
  std::map<const ActivationScheme*, std::int64_t> with_;
  std::map<std::string, std::int64_t> without_; ///< by scheme and reason
};

} // namespace

std::vector<Linear*> linears_of(DecoderLayer& layer) {
  std::vector<Linear*> out;
  for (Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.qkv, &layer.o, &layer.gate, &layer.up,
                         &layer.gate_up, &layer.down})
    if (linear->module)
      out.push_back(linear);
  return out;
}

Result<DecoderWeights> load_decoder_weights(const Checkpoint& checkpoint, Compute& compute,
                                            const EngineOptions& options) {
  return Loader(checkpoint, compute, options).load();
}

Result<DecoderWeights> load_decoder_head(const Checkpoint& checkpoint, Compute& compute,
                                         const EngineOptions& options) {
  return Loader(checkpoint, compute, options).load_head();
}

Result<DecoderWeights> load_decoder_layers(const Checkpoint& checkpoint, Compute& compute,
                                           const EngineOptions& options, std::int64_t first,
                                           std::int64_t count) {
  return Loader(checkpoint, compute, options).load_layers(first, count);
}

std::int64_t batch_size(std::int64_t largest) {
  constexpr std::int64_t most = 512, fewest = 64, operations = 4'000'000'000;
  return std::clamp(operations / (2 * std::max<std::int64_t>(largest, 1)), fewest, most);
}

} // namespace bitlathe
