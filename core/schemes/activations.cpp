// SPDX-License-Identifier: Apache-2.0
#include "core/schemes/activations.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace bitlathe {

namespace {

std::string any_weight(const Scheme&) { return {}; }

/// Ternary weights are integer codes too.
std::string integer_weight(const Scheme& weight) {
  const bool integer =
      weight.family && (weight.family->id == "int" || weight.family->id == "ternary");
  return integer ? std::string() : weight.id + " has no integer codes to multiply";
}

std::string row_wise_int8(const Scheme& weight) {
  if (weight.family && weight.family->id == "int" && weight.bits == 8 && weight.group == 0 &&
      !weight.per_tensor && weight.symmetric)
    return {};
  return "LLM.int8() keeps weights as int8-channel-sym, not " + weight.id;
}

/// Values whose magnitude is above `bar`.
void count_clipped(const ActivationProduct& p, float bar) {
  const std::int64_t cols = p.view.cols;
  p.counts.static_values += std::uint64_t(p.m * cols);
  for (std::int64_t t = 0; t < p.m; ++t)
    if (p.tokens[std::size_t(t)].absmax > bar)
      p.counts.clipped += std::uint64_t(std::count_if(p.x + t * cols, p.x + (t + 1) * cols,
                                                      [&](float x) { return std::fabs(x) > bar; }));
}

Result<void> multiply_int8(const ActivationProduct& p) {
  if (p.scale != 0)
    count_clipped(p, p.scale * 127.5f); // up to there it rounds to 127
  return p.compute.matmul_int8(p.x, p.m, p.weight, p.y, p.scale);
}

/// Values from `code` (row by row) go into a float product; rows of the result are scaled by what
/// it returns.
template <class Code> Result<void> multiply_floats(const ActivationProduct& p, Code code) {
  const std::int64_t cols = p.view.cols, rows = p.view.rows;
  std::vector<float> coded(std::size_t(p.m * cols)), scale(std::size_t(p.m));
  parallel_for(p.m, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(cols, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t)
                   scale[std::size_t(t)] =
                       code(t, p.x + t * cols, coded.data() + std::size_t(t * cols));
               });
  TRY(p.compute.matmul(coded.data(), p.m, p.weight, p.y));
  parallel_for(p.m, std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(rows, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t)
                   if (scale[std::size_t(t)] != 1.0f)
                     for (std::int64_t r = 0; r < rows; ++r)
                       p.y[t * rows + r] *= scale[std::size_t(t)];
               });
  return {};
}

/// E4M3 values unscaled, so that their products with weights of few bits are exact in f32.
Result<void> multiply_f8(const ActivationProduct& p) {
  if (p.scale != 0)
    count_clipped(p, p.scale * 464.0f); // up to there it rounds to 448
  return multiply_floats(p, [&](std::int64_t t, const float* x, float* out) {
    const float scale =
        p.scale != 0 ? p.scale : activation_scale(p.tokens[std::size_t(t)].absmax, 448.0f);
    code_e4m3(x, p.view.cols, scale, out);
    return scale;
  });
}

Result<void> multiply_mxfp4(const ActivationProduct& p) {
  return multiply_floats(p, [&](std::int64_t, const float* x, float* out) {
    simulate_mxfp4(x, p.view.cols, out);
    return 1.0f;
  });
}

Result<void> multiply_nvfp4(const ActivationProduct& p) {
  if (p.scale != 0)
    count_clipped(p, p.scale * 6.0f * 464.0f); // up to there a block's scale rounds to 448
  return multiply_floats(p, [&](std::int64_t, const float* x, float* out) {
    simulate_nvfp4(x, p.view.cols, out, p.scale);
    return 1.0f;
  });
}

/// Columns in which any value of this call reaches the threshold are left to a float product; zero
/// codes take no part in the integer one, nor in the scales of its rows.
Result<void> multiply_llm_int8(const ActivationProduct& p) {
  const std::int64_t cols = p.view.cols;
  p.counts.columns += std::uint64_t(cols);
  const bool any = p.threshold > 0 &&
                   std::any_of(p.tokens.begin(), p.tokens.end(),
                               [&](const TokenScan& token) { return token.absmax >= p.threshold; });
  if (!any)
    return p.compute.matmul_int8(p.x, p.m, p.weight, p.y);
  const std::vector<std::int32_t> columns = outlier_columns(p.x, p.m, cols, p.threshold);
  p.counts.outlier_columns += columns.size();
  std::vector<float> rest(p.x, p.x + p.m * cols);
  for (std::int64_t t = 0; t < p.m; ++t)
    for (const std::int32_t column : columns)
      rest[std::size_t(t * cols + column)] = 0;
  TRY(p.compute.matmul_int8(rest.data(), p.m, p.weight, p.y));
  p.counts.f16_overflow += add_outlier_product(p.view, columns, p.x, p.m, p.y);
  return {};
}

constexpr ActivationScheme table[] = {
    {"int8-token-dynamic", "8 bits per token",
     "Symmetric int8 with a scale per token, absmax / 127; exact integer products.", 127, false,
     false, integer_weight, multiply_int8},
    {"int8-tensor-static", "8 bits, calibrated",
     "Symmetric int8 with one calibrated scale per input; exact integer products.", 127, true,
     false, integer_weight, multiply_int8},
    {"f8_e4m3-token-dynamic", "FP8 per token",
     "E4M3 with a scale per token, absmax / 448; with f8 weights every product is exact.", 448,
     false, false, any_weight, multiply_f8},
    {"f8_e4m3-tensor-static", "FP8, calibrated",
     "E4M3 with one calibrated scale per input; with f8 weights every product is exact.", 448, true,
     false, any_weight, multiply_f8},
    {"llm-int8", "LLM.int8()",
     "Input columns with outliers stay f16, the rest is int8 per token. Needs int8-channel-sym.",
     127, false, false, row_wise_int8, multiply_llm_int8},
    {"mxfp4", "MXFP4 (simulated)",
     "E2M1 in blocks of 32 with a power of two as scale. Simulated: rounded, then multiplied as "
     "floats.",
     6, false, true, any_weight, multiply_mxfp4},
    {"nvfp4", "NVFP4 (simulated)",
     "E2M1 in blocks of 16 with E4M3 scales under a scale per token. Simulated: rounded, then "
     "multiplied as floats.",
     6, false, true, any_weight, multiply_nvfp4},
    {"nvfp4-tensor-static", "NVFP4, calibrated (simulated)",
     "E2M1 in blocks of 16 with E4M3 scales under one calibrated scale per input. Simulated: "
     "rounded, then multiplied as floats.",
     6 * 448, true, true, any_weight, multiply_nvfp4, true},
};

} // namespace

std::span<const ActivationScheme> all_activation_schemes() { return table; }

const ActivationScheme* find_activation_scheme(std::string_view id) {
  for (const ActivationScheme& scheme : table)
    if (scheme.id == id)
      return &scheme;
  return nullptr;
}

std::string known_activation_schemes() {
  std::string out = "none";
  for (const ActivationScheme& scheme : table)
    out += ", " + std::string(scheme.id);
  return out;
}

Result<const ActivationScheme*> parse_activation_scheme(std::string_view id) {
  const ActivationScheme* scheme = find_activation_scheme(id);
  if (!scheme && !id.empty() && id != "none")
    return Error{"bad-argument",
                 "There is no activation scheme \"" + std::string(id) + "\"; it must be one of " +
                     known_activation_schemes(),
                 {}};
  return scheme;
}

} // namespace bitlathe
