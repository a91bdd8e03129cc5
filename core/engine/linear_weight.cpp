// SPDX-License-Identifier: Apache-2.0
#include "core/engine/linear_weight.h"

#include "core/io/mapped.h"
#include "core/model/transpose.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace bitlathe {

namespace {

FloatType rounding_of(const QTensor& tensor) {
  return !tensor.scheme.quantized && tensor.scheme.float_type == FloatType::f16 ? FloatType::bf16
                                                                                : FloatType::f16;
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

/// Bytes of the module's tensor that lie in a file's map.
std::uint64_t mapped_bytes(const QTensor& weight) {
  std::uint64_t sum = 0;
  for (const auto part : {weight.codes, weight.scales, weight.zeros, weight.nested})
    sum += is_mapped(part) ? part.size() : 0;
  return sum;
}

void forget_pages(const QTensor& weight) {
  for (const auto part : {weight.codes, weight.scales, weight.zeros, weight.nested})
    forget_mapped(part);
}

bool copied(const Linear& linear, const WeightForm& form) {
  return form.round_to_f16 || linear.module->weight.by_columns;
}

} // namespace

Result<std::vector<float>> decoded(const QTensor& tensor, const WeightForm& form,
                                   std::int64_t& clipped) {
  TRY_ASSIGN(const WeightUse use, tensor.use());
  const QTensor* from = &tensor;
  QTensor copy;
  if (form.round_to_f16) {
    copy = rounded_copy(tensor, rounding_of(tensor), clipped);
    from = &copy;
  }
  std::vector<float> values(std::size_t(from->rows * from->cols));
  const MatrixView view = from->view();
  for (std::int64_t row = 0; row < view.rows; ++row)
    view.layout->decode(view, row, 0, view.cols, values.data() + row * view.cols);
  return values;
}

Result<void> load_linear(Linear& linear, const WeightForm& form, const Linear* embedding) {
  const QTensor& stored = linear.module->weight;
  linear.clipped = 0;
  if (embedding) {
    linear.weight = embedding->weight;
  } else {
    linear.weight = &stored;
    TRY_ASSIGN(linear.use, stored.use());
    if (form.round_to_f16)
      linear.own =
          std::make_unique<QTensor>(rounded_copy(stored, rounding_of(stored), linear.clipped));
    else if (stored.by_columns) // products go along rows
      linear.own = ByRows(stored).release();
    if (linear.own) {
      linear.weight = linear.own.get();
      linear.use.reset();
      forget_pages(stored);
    }
  }
  if (!linear.product)
    return {};
  linear.view = linear.weight->view();
  if (!linear.view.column_order.empty()) { // the inputs are brought into that order instead
    linear.column_order = linear.view.column_order;
    linear.view.column_order = {};
    linear.view.layout = find_layout("int");
  }
  TRY_ASSIGN(linear.loaded, form.compute.load(linear.view));
  if (linear.loaded->bytes > 0) // they are on the device now
    forget_pages(*linear.weight);
  return {};
}

void drop_linear(Linear& linear) {
  linear.loaded.reset();
  linear.view = {};
  linear.own.reset();
  linear.use.drop();
  if (!linear.tied)
    linear.weight = &linear.module->weight;
  if (linear.product)
    forget_pages(*linear.weight);
}

LinearBytes loaded_bytes(const Linear& linear) {
  LinearBytes out;
  out.own = linear.use.bytes() + (linear.own ? linear.own->bytes() : 0) +
            (linear.loaded ? linear.loaded->bytes : 0);
  // What is copied or on a device is not read from the map again; tables are read row by row.
  if (linear.product && linear.loaded && linear.loaded->bytes == 0)
    out.mapped = mapped_bytes(*linear.weight);
  return out;
}

LinearBytes expected_bytes(const Linear& linear, const WeightForm& form) {
  const QTensor& stored = linear.module->weight;
  LinearBytes out;
  if (linear.tied) {
    out.mapped = mapped_bytes(stored);
    return out;
  }
  if (copied(linear, form)) {
    out.own = std::uint64_t(stored.rows * stored.cols) *
              (form.round_to_f16 ? 2 : float_size(stored.scheme.float_type));
  } else {
    out.own = stored.deferred ? stored.deferred->bytes() : 0;
    out.mapped = linear.product ? mapped_bytes(stored) : 0;
  }
  return out;
}

} // namespace bitlathe
