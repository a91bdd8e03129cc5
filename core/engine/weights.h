// SPDX-License-Identifier: Apache-2.0
// Weights of a checkpoint made ready for the forward pass. Internal to core/engine.
#pragma once

#include "core/engine/engine.h"
#include "core/schemes/activations.h"
#include "core/schemes/deferred.h"

namespace bitlathe {

/// One matrix of the model as the engine uses it.
struct Linear {
  const Module* module = nullptr; ///< nullptr: not there
  bool product = false;           ///< else its rows are decoded one by one
  bool tied = false;              ///< a head that uses the embedding's weight
  std::vector<float> bias;        ///< empty: none

  // Of the weight, while it is loaded (core/engine/linear_weight.h):
  const QTensor* weight = nullptr; ///< says the shape at any time
  std::unique_ptr<QTensor> own;    ///< a rounded or turned copy; else the module's tensor is used
  WeightUse use;                   ///< of the module's tensor, where that is the weight
  std::unique_ptr<LoadedMatrix> loaded;
  MatrixView view;          ///< what is loaded
  std::int64_t clipped = 0; ///< values that rounding has clipped
  /// Not empty: columns are loaded in the order in which they are stored, position -> column.
  std::span<const std::int32_t> column_order;
  const ActivationScheme* activations = nullptr; ///< null: inputs are floats
  float activation_scale = 0, outlier_threshold = 0;
  std::unique_ptr<ActivationCounts> counts; ///< set where there are products

  std::int64_t rows() const { return weight->rows; }
  std::int64_t cols() const { return weight->cols; }
};

/// Weight (1 is added already where the model wants that) and bias; empty: not there.
struct Norm {
  std::vector<float> weight, bias;
  explicit operator bool() const { return !weight.empty(); }
};

/// What a layer does follows from what it has: qkv instead of q, k and v; gate_up instead of gate
/// and up; no gate at all.
struct DecoderLayer {
  Norm attention_norm, q_norm, k_norm, post_attention_norm, mlp_norm, post_mlp_norm;
  Linear q, k, v, qkv, o, gate, up, gate_up, down;
  std::int64_t window = 0;
};

struct DecoderWeights {
  Linear embedding, positions; ///< not loaded for products: rows are decoded
  std::vector<DecoderLayer> layers;
  Norm final_norm;
  Linear head;
  std::uint64_t bytes = 0;  ///< beyond the map, of what is always loaded
  std::int64_t largest = 0; ///< values of the largest matrix of a block
  std::int64_t clipped = 0; ///< values that rounding has clipped, of what is always loaded
  std::vector<std::string> notes;
};

/// The matrices of a layer that are there.
std::vector<Linear*> linears_of(DecoderLayer& layer);

/// Errors: "bad-file" for a missing module or a wrong shape, "unsupported" for an activation scheme
/// that cannot be run. With a `residency` in the options, no matrix is loaded yet.
Result<DecoderWeights> load_decoder_weights(const Checkpoint& checkpoint, Compute& compute,
                                            const EngineOptions& options);
/// Only what stands outside of blocks: embedding, positions, final norm, and the head ready for its
/// product.
Result<DecoderWeights> load_decoder_head(const Checkpoint& checkpoint, Compute& compute,
                                         const EngineOptions& options);
/// Only the layers first .. first + count - 1, at their index, with the embedding and the final
/// norm: for running a model piece by piece.
Result<DecoderWeights> load_decoder_layers(const Checkpoint& checkpoint, Compute& compute,
                                           const EngineOptions& options, std::int64_t first,
                                           std::int64_t count);

/// Tokens run together, by the number of values of the largest matrix of a block. More than this
/// gains nothing; fewer where a single product would keep a cancel waiting.
std::int64_t batch_size(std::int64_t largest);

} // namespace bitlathe
