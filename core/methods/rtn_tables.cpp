// SPDX-License-Identifier: Apache-2.0
#include "core/methods/rtn_tables.h"

#include "core/methods/int_pack.h"
#include "core/methods/observed_ranges.h"
#include "core/methods/output.h"
#include "kernels/base/parallel.h"
#include "kernels/quant/float8.h"
#include "kernels/quant/nf4.h"
#include "kernels/quant/stored_scale.h"
#include "kernels/quant/ternary.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

/// Schemes whose scales follow a rule of their own say so when another was asked for.
void note_observer(const MethodInput& input, const char* rule, MethodOutput& output) {
  if (input.observer != "minmax")
    output.notes.push_back(input.where + ": the observer " + input.observer +
                           " does not apply to " + input.scheme.id + ", " + rule);
}

} // namespace

Result<MethodOutput> round_blockwise(const MethodInput& input, const Dither& dither) {
  std::vector<float> lo, hi; // for the check of NaN and infinities
  TRY(exact_ranges(input, {8, input.weight.cols}, lo, hi));
  MethodOutput output = empty_output(input);
  note_observer(input, "whose blocks are scaled by their largest magnitude", output);
  const BlockwiseSpec spec{input.scheme.id.rfind("fp4", 0) == 0, input.scheme.group,
                           input.scheme.float_type, input.scheme.nested};
  std::int64_t clamped = 0;
  QTensor& tensor = output.tensor;
  TRY(quantize_blockwise(input.weight, spec, dither, tensor.owned_codes, tensor.owned_scales,
                         tensor.owned_nested, &clamped, &input.feedback));
  note_clamped(input, clamped, output);
  return output;
}

Result<MethodOutput> round_float8(const MethodInput& input, const Dither& dither) {
  const Scheme& scheme = input.scheme;
  const bool e5m2 = scheme.id.rfind("f8_e5m2", 0) == 0;
  const std::int64_t group = scheme.group > 0 ? scheme.group : input.weight.cols;
  const ObserverContext context{8, true, scheme.float_type,
                                e5m2 ? ObserverContext::Element::f8_e5m2
                                     : ObserverContext::Element::f8_e4m3};
  std::vector<float> lo, hi;
  TRY(find_ranges(input, {group, scheme.group_rows, scheme.per_tensor}, context, lo, hi));
  MethodOutput output = empty_output(input);
  std::vector<float> scales(lo.size(), 1.0f);
  std::int64_t clamped = 0;
  for (std::size_t i = 0; i < lo.size(); ++i) {
    const float absmax = std::max(std::fabs(lo[i]), std::fabs(hi[i]));
    bool hit = false;
    if (absmax > 0)
      scales[i] =
          stored_scale(absmax / (e5m2 ? largest_e5m2 : largest_e4m3), scheme.float_type, &hit);
    clamped += hit;
    store_float(scheme.float_type, output.tensor.owned_scales.data(), std::int64_t(i), scales[i]);
  }
  TRY(quantize_float8(input.weight, {e5m2, group, scheme.group_rows, scheme.per_tensor}, scales,
                      dither, output.tensor.owned_codes, &input.feedback));
  note_clamped(input, clamped, output);
  return output;
}

Result<MethodOutput> round_ternary(const MethodInput& input, const Dither& dither) {
  const FloatView& w = input.weight;
  const std::int64_t group = input.scheme.group > 0 ? std::min(input.scheme.group, w.cols) : w.cols;
  const std::int64_t groups = (w.cols + group - 1) / group;
  std::vector<float> lo, hi;
  TRY(exact_ranges(input, {8, group}, lo, hi));
  MethodOutput output = empty_output(input);
  note_observer(input, "whose scales are those of least squared error", output);
  std::vector<float> scales(lo.size(), 1.0f);
  std::vector<std::uint8_t> hit(lo.size());
  TRY(each_row_of(w, &input.feedback, [&](std::int64_t row, const float* values) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const auto first = std::size_t(g * group);
      const auto count = std::min(std::size_t(group), std::size_t(w.cols) - first);
      const auto weight =
          input.importance.empty() ? input.importance : input.importance.subspan(first, count);
      const auto at = std::size_t(row * groups + g);
      bool clamped = false;
      if (const float scale = ternary_scale({values + first, count}, weight); scale > 0)
        scales[at] = stored_scale(scale, input.scheme.float_type, &clamped);
      hit[at] = clamped;
    }
  }));
  for (std::size_t i = 0; i < scales.size(); ++i)
    store_float(input.scheme.float_type, output.tensor.owned_scales.data(), std::int64_t(i),
                scales[i]);
  TRY(quantize_ternary(w, group, scales, dither, output.tensor.owned_codes, &input.feedback));
  note_clamped(input, std::count(hit.begin(), hit.end(), 1), output);
  return output;
}

/// NVFP4 in two levels: the weight's factor takes the largest magnitude to the largest code times
/// the largest E4M3 scale; the blocks are the reference's for the weight over its factor.
Result<MethodOutput> round_nvfp4(const MethodInput& input) {
  const FloatView& w = input.weight;
  Moments moments;
  TRY_ASSIGN(moments, input.compute.moments(w, &input.feedback));
  if (moments.nan + moments.inf > 0)
    return Error{"bad-file",
                 "The weight holds " + std::to_string(moments.nan) + " NaN and " +
                     std::to_string(moments.inf) + " infinite values; it cannot be quantized",
                 input.where};
  MethodOutput output = empty_output(input);
  note_observer(input, "whose scales follow the rule of its reference", output);
  // Containers store the inverse. The factor is an inverse itself, so that none is lost by it.
  constexpr float largest = 6.0f * 448.0f;
  float inverse = 1.0f;
  if (moments.absmax > 0)
    inverse = std::min(largest / moments.absmax, std::ldexp(1.0f, 126));
  const float factor = 1.0f / inverse;
  store_float(FloatType::f32, output.tensor.owned_scales.data(), 0, factor);

  // A row that ends within a block goes on with zeros.
  const std::int64_t whole = (w.cols + 63) / 64 * 64;
  const auto stride = std::size_t(whole / 64 * 36);
  const std::int64_t piece = std::max<std::int64_t>(1, (4 << 20) / whole);
  std::vector<float> values;
  for (std::int64_t first = 0; first < w.rows; first += piece) {
    const std::int64_t rows = std::min(piece, w.rows - first);
    values.assign(std::size_t(rows * whole), 0.0f);
    parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::byte* row = w.row(first + r);
        for (std::int64_t c = 0; c < w.cols; ++c)
          values[std::size_t(r * whole + c)] = load_float(w.type, row, c) * inverse;
      }
    });
    const FloatView part{FloatType::f32, rows, whole, std::as_bytes(std::span(values))};
    const auto blocks = std::span(output.tensor.owned_codes)
                            .subspan(std::size_t(first) * stride, std::size_t(rows) * stride);
    TRY(input.compute.quantize_blocks(part, "nvfp4", {}, blocks, &input.feedback));
  }
  output.tensor.own();
  return output;
}

namespace {

/// By the rule of MLX: the extreme of larger magnitude is code 0, and zero is a code.
struct AffineGrid {
  float scale = 1, offset = 0;

  AffineGrid(float lo, float hi, int bits, FloatType type, bool* clamped) {
    const float top = float((1 << bits) - 1);
    const bool from_below = std::fabs(lo) > std::fabs(hi);
    const float edge = from_below ? lo : hi;
    if (lo == hi) { // all alike: code 0
      offset = lo;
    } else {
      float step = (hi - lo) / top;
      if (!std::isfinite(step))
        step = hi / top - lo / top;
      if (const float steps = std::nearbyint(edge / step); steps != 0) {
        step = std::fabs(edge / steps);
        offset = edge;
      }
      scale = stored_scale(step, type, clamped) * (from_below ? 1.0f : -1.0f);
    }
    std::byte stored[4];
    store_float(type, stored, 0, offset);
    offset = load_float(type, stored, 0);
    if (!std::isfinite(offset)) {
      offset = std::copysign(65504.0f, offset);
      *clamped = true;
    }
  }
};

} // namespace

Result<MethodOutput> round_affine(const MethodInput& input, const Dither& dither) {
  const FloatView& w = input.weight;
  const Scheme& scheme = input.scheme;
  const int bits = int(scheme.bits);
  const std::int64_t group = std::min(scheme.group, w.cols);
  const std::int64_t groups = (w.cols + group - 1) / group;
  std::vector<float> lo, hi;
  TRY(exact_ranges(input, {bits, group}, lo, hi));
  MethodOutput output = empty_output(input);
  note_observer(input, "whose groups reach from their smallest to their largest value", output);
  QTensor& tensor = output.tensor;
  std::vector<AffineGrid> grids;
  grids.reserve(lo.size());
  std::int64_t hits = 0;
  for (std::size_t i = 0; i < lo.size(); ++i) {
    bool clamped = false;
    grids.emplace_back(lo[i], hi[i], bits, scheme.float_type, &clamped);
    hits += clamped;
    store_float(scheme.float_type, tensor.owned_scales.data(), std::int64_t(i), grids[i].scale);
    store_float(scheme.float_type, tensor.owned_zeros.data(), std::int64_t(i), grids[i].offset);
  }
  const auto stride = int_row_bytes(w.cols, bits);
  const float top = float((1 << bits) - 1);
  TRY(each_row_of(w, &input.feedback, [&](std::int64_t row, const float* values) {
    auto* to = reinterpret_cast<std::uint8_t*>(tensor.owned_codes.data()) + row * stride;
    for (std::int64_t col = 0; col < w.cols; ++col) {
      const AffineGrid& grid = grids[std::size_t(row * groups + col / group)];
      const float x = (values[col] - grid.offset) * (1.0f / grid.scale);
      const float below = std::floor(x);
      float code = std::nearbyint(x);
      if (dither.on() && below != x)
        code = below + float(dither.up(double(below), double(x), double(below) + 1, row, col));
      const auto u = unsigned(std::clamp(code, 0.0f, top));
      const std::int64_t bit = col * bits;
      to[bit / 8] = std::uint8_t(to[bit / 8] | u << (bit % 8));
      if (bit % 8 + bits > 8)
        to[bit / 8 + 1] = std::uint8_t(to[bit / 8 + 1] | u >> (8 - bit % 8));
    }
  }));
  note_clamped(input, hits, output);
  return output;
}

} // namespace bitlathe
