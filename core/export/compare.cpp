// SPDX-License-Identifier: Apache-2.0
#include "core/export/compare.h"

#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/nn/kv.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

Error mismatch(const std::string& module, const std::string& what) {
  return {"mismatch",
          "The export does not hold what was to be written, so it was not kept: " + what, module};
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  if (a.size() != b.size())
    return false;
  constexpr std::int64_t piece = 1 << 20;
  const auto size = std::int64_t(a.size());
  std::atomic<bool> same{true};
  parallel_for((size + piece - 1) / piece, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto from = std::size_t(begin * piece);
    const auto count = std::size_t(std::min(end * piece, size)) - from;
    if (std::memcmp(a.data() + from, b.data() + from, count) != 0)
      same = false;
  });
  return same;
}

/// The same bytes where at least one of the two is stored in another row order.
bool same_rows(const QTensor& a, const QTensor& b) {
  const auto same = [&](std::span<const std::byte> x, std::span<const std::byte> y) {
    if (x.size() != y.size() || x.size() % std::size_t(a.rows) != 0)
      return false;
    const auto bytes = x.size() / std::size_t(a.rows);
    for (std::int64_t row = 0; row < a.rows; ++row)
      if (std::memcmp(x.data() + std::size_t(a.stored_row(row)) * bytes,
                      y.data() + std::size_t(b.stored_row(row)) * bytes, bytes) != 0)
        return false;
    return true;
  };
  return same(a.codes, b.codes) && same(a.scales, b.scales) && same(a.zeros, b.zeros);
}

/// Codes that stand in the same order of columns.
bool same_order(const QTensor& a, const QTensor& b) {
  return !a.column_order == !b.column_order &&
         (!a.column_order || *a.column_order == *b.column_order);
}

/// Value as it reads after being stored in `type`.
float rounded(float value, FloatType type) {
  std::byte stored[4];
  store_float(type, stored, 0, value);
  return load_float(type, stored, 0);
}

/// Row of the first value that differs, or -1.
std::int64_t first_difference(const QTensor& wanted, const QTensor& written) {
  const auto a = wanted.view(), b = written.view();
  const bool to_float = written.scheme.family->id == "float";
  std::atomic<std::int64_t> first{-1};
  parallel_for(wanted.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> x(std::size_t(wanted.cols)), y(x.size());
    for (std::int64_t row = begin; row < end && first < 0; ++row) {
      a.layout->decode(a, row, 0, wanted.cols, x.data());
      b.layout->decode(b, row, 0, written.cols, y.data());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const float want = to_float ? rounded(x[i], written.scheme.float_type) : x[i];
        if (!(want == y[i] || (std::isnan(want) && std::isnan(y[i])))) {
          first = row;
          break;
        }
      }
    }
  });
  return first;
}

/// Zero points that became float offsets: the same codes and scales, and offsets that are
/// -zero * scale after one rounding to their type. A scale may be repeated for smaller groups.
Result<void> compare_offsets(const std::string& name, const QTensor& wanted,
                             const QTensor& written) {
  const auto type = wanted.scheme.float_type;
  const std::int64_t small = written.scheme.group;
  const std::int64_t whole =
      wanted.scheme.group > 0 ? std::min(wanted.scheme.group, wanted.cols) : wanted.cols;
  if (wanted.scheme.bits != written.scheme.bits || type != written.scheme.float_type ||
      whole % small != 0)
    return mismatch(name, wanted.scheme.id + " was read back as " + written.scheme.id);
  if (!same_bytes(wanted.codes, written.codes))
    return mismatch(name, "its codes differ");
  const std::int64_t groups = wanted.cols / small, per_row = (wanted.cols + whole - 1) / whole;
  for (std::int64_t i = 0; i < wanted.rows * groups; ++i) {
    const std::int64_t at =
        wanted.scheme.per_tensor ? 0 : i / groups * per_row + i % groups * small / whole;
    const float scale = load_float(type, wanted.scales.data(), at);
    if (load_float(type, written.scales.data(), i) != scale)
      return mismatch(name, "its scales differ");
    const int zero = wanted.scheme.symmetric ? 1 << (int(wanted.scheme.bits) - 1)
                                             : int(wanted.zeros[std::size_t(at)]);
    if (load_float(type, written.zeros.data(), i) !=
        rounded(float(-double(zero) * double(scale)), type))
      return mismatch(name, "the offset of group " + std::to_string(i) + " differs");
  }
  return {};
}

Result<void> compare_weights(const std::string& name, const QTensor& wanted_as_stored,
                             const QTensor& written_as_stored) {
  TRY_ASSIGN(const WeightUse first, wanted_as_stored.use());
  TRY_ASSIGN(const WeightUse second, written_as_stored.use());
  const ByRows wanted_rows(wanted_as_stored), written_rows(written_as_stored);
  const QTensor &wanted = *wanted_rows, &written = *written_rows;
  if (wanted.rows != written.rows || wanted.cols != written.cols)
    return mismatch(name, "its shape differs");
  if (!written.scheme.family || !wanted.scheme.family)
    return mismatch(name, "it cannot be decoded");
  if (wanted.scheme == written.scheme && (wanted.row_order || written.row_order)) {
    if (!same_rows(wanted, written))
      return mismatch(name, "its codes differ");
    return {};
  }
  if (wanted.scheme == written.scheme) {
    if (!same_order(wanted, written)) {
      if (const auto row = first_difference(wanted, written); row >= 0)
        return mismatch(name, "row " + std::to_string(row) + " decodes to other values");
    } else if (!same_bytes(wanted.codes, written.codes))
      return mismatch(name, "its codes differ");
    if (!same_bytes(wanted.scales, written.scales))
      return mismatch(name, "its scales differ");
    if (!same_bytes(wanted.zeros, written.zeros))
      return mismatch(name, "its zero points differ");
    if (!same_bytes(wanted.nested, written.nested))
      return mismatch(name, "the scales of its scales differ");
    return {};
  }
  if (written.scheme.family->id == "affine" && wanted.scheme.family->id == "int")
    return compare_offsets(name, wanted, written);
  if (const auto row = first_difference(wanted, written); row >= 0)
    return mismatch(name, "row " + std::to_string(row) + " decodes to other values (" +
                              wanted.scheme.id + " read back as " + written.scheme.id + ")");
  return {};
}

/// A vector that went through a container which adds an offset: equal after the same rounding.
Result<void> compare_offset(const Module& wanted, const Module& written) {
  const auto size = std::size_t(wanted.weight.cols);
  if (wanted.weight.rows != 1 || written.weight.rows != 1 ||
      written.weight.cols != wanted.weight.cols)
    return mismatch(wanted.name, "its shape differs");
  std::vector<float> a(size), b(size);
  const auto x = wanted.weight.view(), y = written.weight.view();
  x.layout->decode(x, 0, 0, wanted.weight.cols, a.data());
  y.layout->decode(y, 0, 0, wanted.weight.cols, b.data());
  for (std::size_t i = 0; i < size; ++i) {
    const float stored = a[i] + wanted.gguf_offset;
    if (stored - wanted.gguf_offset != b[i] && !(std::isnan(a[i]) && std::isnan(b[i])))
      return mismatch(wanted.name, "value " + std::to_string(i) + " differs");
  }
  return {};
}

} // namespace

Result<void> compare_checkpoints(const Checkpoint& wanted, const Checkpoint& written,
                                 Feedback& feedback) {
  for (const auto& module : wanted.modules) {
    if (feedback.stopped())
      return cancelled_error();
    const auto* other = written.find_module(module.name);
    if (!other)
      return mismatch(module.name, "the module is missing");
    if (other->tied_to_embedding != module.tied_to_embedding)
      return mismatch(module.name, "it is tied to the embedding in only one of the two");
    if (module.tied_to_embedding)
      continue;
    if (other->activations != module.activations)
      return mismatch(module.name, "its activation scheme is " + other->activations +
                                       " instead of " + module.activations);
    if (module.activations != "none" && other->activation_scale != module.activation_scale)
      return mismatch(module.name, "the scale of its inputs differs");
    if (module.gguf_offset != 0 && written.format == "gguf")
      TRY(compare_offset(module, *other));
    else
      TRY(compare_weights(module.name, module.weight, other->weight));
    if (module.bias.rows != other->bias.rows)
      return mismatch(module.name, "its bias is missing or new");
    if (module.bias.rows > 0)
      TRY(compare_weights(module.name + ".bias", module.bias, other->bias));
    feedback.advance(module.bytes());
  }
  if (written.modules.size() != wanted.modules.size())
    return mismatch({}, "it has " + std::to_string(written.modules.size()) +
                            " modules instead of " + std::to_string(wanted.modules.size()));
  if (written.format != "gguf" &&
      (written.kv_keys != wanted.kv_keys || written.kv_values != wanted.kv_values ||
       ((kv_is_static(wanted.kv_keys) || kv_is_static(wanted.kv_values)) &&
        written.kv_scales != wanted.kv_scales)))
    return mismatch({}, "the KV cache scheme differs");
  if (wanted.spec && !written.spec)
    return mismatch({}, "it cannot be run as written: " + written.why_not_runnable);
  return {};
}

} // namespace bitlathe
