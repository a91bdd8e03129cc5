// SPDX-License-Identifier: Apache-2.0
#include "core/engine/weights.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace bitlathe {

namespace {

std::string plural(std::int64_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

/// A float copy with every value rounded to a 16-bit type; values beyond its range are clipped.
QTensor rounded_copy(const QTensor& from, FloatType type, std::int64_t& clipped) {
  QTensor out;
  out.scheme = float_scheme(type);
  out.rows = from.rows;
  out.cols = from.cols;
  out.owned_codes.resize(std::size_t(from.rows * from.cols) * float_size(type));
  const MatrixView view = from.view();
  const float largest = type == FloatType::f16 ? 65504.0f : 3.3895314e38f;
  std::atomic<std::int64_t> beyond{0};
  parallel_for(from.rows, std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, from.cols)),
               [&](std::int64_t begin, std::int64_t end) {
                 std::vector<float> row(static_cast<std::size_t>(from.cols));
                 for (std::int64_t r = begin; r < end; ++r) {
                   view.layout->decode(view, r, 0, from.cols, row.data());
                   for (std::int64_t c = 0; c < from.cols; ++c) {
                     const float value = row[std::size_t(c)];
                     const float kept = std::clamp(value, -largest, largest);
                     beyond += std::isfinite(value) && kept != value;
                     store_float(type, out.owned_codes.data(), r * from.cols + c,
                                 std::isnan(value) ? value : kept);
                   }
                 }
               });
  clipped += beyond;
  out.own();
  return out;
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, Compute& compute, const EngineOptions& options)
      : checkpoint_(checkpoint), compute_(compute), options_(options) {}

  Result<DecoderWeights> load() {
    const ModelSpec& spec = *checkpoint_.spec;
    const std::int64_t q = spec.heads * spec.head_dim, kv = spec.kv_heads * spec.head_dim;
    TRY(matrix("model.embed_tokens", spec.vocab, spec.hidden, false, out_.embedding));
    out_.layers.resize(std::size_t(spec.layers));
    for (std::int64_t i = 0; i < spec.layers; ++i) {
      DecoderLayer& layer = out_.layers[std::size_t(i)];
      const std::string p = "model.layers." + std::to_string(i) + ".";
      TRY(vector(p + "input_layernorm", spec.hidden, layer.attention_norm));
      TRY(matrix(p + "self_attn.q_proj", q, spec.hidden, true, layer.q));
      TRY(matrix(p + "self_attn.k_proj", kv, spec.hidden, true, layer.k));
      TRY(matrix(p + "self_attn.v_proj", kv, spec.hidden, true, layer.v));
      TRY(matrix(p + "self_attn.o_proj", spec.hidden, q, true, layer.o));
      TRY(vector(p + "post_attention_layernorm", spec.hidden, layer.mlp_norm));
      TRY(matrix(p + "mlp.gate_proj", spec.ffn, spec.hidden, true, layer.gate));
      TRY(matrix(p + "mlp.up_proj", spec.ffn, spec.hidden, true, layer.up));
      TRY(matrix(p + "mlp.down_proj", spec.hidden, spec.ffn, true, layer.down));
      for (const Linear* m : {&layer.q, &layer.o, &layer.gate, &layer.down})
        out_.largest = std::max(out_.largest, m->rows() * m->cols());
    }
    TRY(vector("model.norm", spec.hidden, out_.final_norm));
    const Module* head = checkpoint_.find_module("lm_head");
    if (head && head->weight.rows > 0) {
      TRY(matrix("lm_head", spec.vocab, spec.hidden, true, out_.head));
    } else { // tied: the embedding's values do both
      out_.head.module = head ? head : out_.embedding.module;
      out_.head.weight = out_.embedding.weight;
      TRY(make_ready(out_.head));
    }
    say_what_happened();
    return std::move(out_);
  }

 private:
  Result<const Module*> find(const std::string& name, std::int64_t rows, std::int64_t cols) const {
    const Module* module = checkpoint_.find_module(name);
    if (!module || module->weight.rows <= 0)
      return Error{"bad-file", "The checkpoint has no weight for " + name,
                   checkpoint_.path.string()};
    if (!module->weight.scheme.family)
      return Error{"unsupported",
                   "The values of " + name + " are stored as " + module->weight.scheme.id +
                       ", which cannot be decoded",
                   checkpoint_.path.string()};
    if (module->weight.rows != rows || module->weight.cols != cols)
      return Error{"bad-file",
                   name + " has the shape " + std::to_string(module->weight.rows) + " x " +
                       std::to_string(module->weight.cols) + " where the configuration needs " +
                       std::to_string(rows) + " x " + std::to_string(cols),
                   checkpoint_.path.string()};
    return module;
  }

  FloatType rounding_of(const QTensor& tensor) const {
    return !tensor.scheme.quantized && tensor.scheme.float_type == FloatType::f16 ? FloatType::bf16
                                                                                  : FloatType::f16;
  }

  std::vector<float> decoded(const QTensor& tensor) {
    const QTensor* from = &tensor;
    QTensor copy;
    if (options_.round_weights_to_f16) {
      copy = rounded_copy(tensor, rounding_of(tensor), clipped_);
      from = &copy;
    }
    std::vector<float> values(std::size_t(from->rows * from->cols));
    const MatrixView view = from->view();
    for (std::int64_t row = 0; row < view.rows; ++row)
      view.layout->decode(view, row, 0, view.cols, values.data() + row * view.cols);
    return values;
  }

  Result<void> vector(const std::string& name, std::int64_t size, std::vector<float>& out) {
    TRY_ASSIGN(const Module* module, find(name, 1, size));
    out = decoded(module->weight);
    out_.bytes += out.size() * sizeof(float);
    return {};
  }

  Result<void> matrix(const std::string& name, std::int64_t rows, std::int64_t cols, bool product,
                      Linear& out) {
    TRY_ASSIGN(out.module, find(name, rows, cols));
    out.weight = &out.module->weight;
    if (options_.round_weights_to_f16) {
      out.own =
          std::make_unique<QTensor>(rounded_copy(*out.weight, rounding_of(*out.weight), clipped_));
      out.weight = out.own.get();
      out_.bytes += out.own->bytes();
    }
    if (out.module->bias.rows > 0) {
      if (out.module->bias.cols != rows)
        return Error{"bad-file", "The bias of " + name + " has the wrong length",
                     checkpoint_.path.string()};
      out.bias = decoded(out.module->bias);
    }
    return product ? make_ready(out) : Result<void>();
  }

  Result<void> make_ready(Linear& linear) {
    const MatrixView view = linear.weight->view();
    TRY_ASSIGN(linear.loaded, compute_.load(view));
    out_.bytes += linear.loaded->bytes;
    const std::string& scheme =
        options_.activations.empty() ? linear.module->activations : options_.activations;
    if (scheme == "none" || !linear.module->weight.scheme.quantized)
      return {};
    if (scheme != "int8-token-dynamic")
      return Error{"unsupported", "The activation scheme " + scheme + " cannot be run",
                   linear.module->name};
    linear.int8 = view.layout->id == "int";
    (linear.int8 ? with_int8_ : without_int8_) += 1;
    return {};
  }

  void say_what_happened() {
    if (with_int8_ > 0)
      out_.notes.push_back(plural(with_int8_, "linear") + " run with int8 activations");
    if (without_int8_ > 0)
      out_.notes.push_back(plural(without_int8_, "linear") +
                           " keep float activations: their storage has no integer codes");
    if (clipped_ > 0)
      out_.notes.push_back(plural(clipped_, "weight") + " were clipped to the range of f16");
  }

  const Checkpoint& checkpoint_;
  Compute& compute_;
  const EngineOptions& options_;
  DecoderWeights out_;
  std::int64_t with_int8_ = 0, without_int8_ = 0, clipped_ = 0;
};

} // namespace

Result<DecoderWeights> load_decoder_weights(const Checkpoint& checkpoint, Compute& compute,
                                            const EngineOptions& options) {
  return Loader(checkpoint, compute, options).load();
}

} // namespace bitlathe
