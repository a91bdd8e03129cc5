// SPDX-License-Identifier: Apache-2.0
// Codebooks by Lloyd's iteration, per tensor or per output channel. A tensor of a 16-bit type is
// worked on as the patterns that occur in it, which is exact and as fast for large tensors as for
// small ones. With calibration statistics the squared error of each column is weighted by its mean
// squared activation.
#include "kernels/quant/lloyd_max.h"
#include "core/methods/int_pack.h"
#include "core/methods/observed_ranges.h"
#include "core/methods/output.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/quant/dither.h"

#include <algorithm>
#include <bit>

namespace bitlathe {

namespace {

std::string declines(const Scheme& scheme) {
  if (!scheme.quantized)
    return scheme.id + " has no codes to choose";
  if (scheme.family->id != "codebook")
    return scheme.id + " has a fixed grid; lloyd-max makes codebooks (codebook4-channel)";
  return {};
}

/// More values than are sorted one by one.
constexpr std::size_t many = std::size_t(1) << 22;

/// Values that share the upper 20 bits of an f32 (within 1/2048 of each other) as their mean.
WeightedValues coarse_values(const AllValues& all) {
  constexpr std::size_t kinds = std::size_t(1) << 20;
  std::vector<double> mass(kinds), sum(kinds);
  for (std::size_t i = 0; i < all.values.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(all.values[i] + 0.0f);
    const std::uint32_t ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
    const double weight = all.weights.empty() ? 1 : all.weights[i];
    mass[ascending >> 12] += weight;
    sum[ascending >> 12] += weight * double(all.values[i]);
  }
  WeightedValues out;
  for (std::size_t i = 0; i < kinds; ++i)
    if (mass[i] > 0) {
      out.values.push_back(float(sum[i] / mass[i]));
      out.weights.push_back(mass[i]);
    }
  return out;
}

/// Moves the entries to the exact means of their values.
void centre(const AllValues& all, std::vector<float>& codebook, FloatType stored) {
  const auto boundaries = codebook_boundaries(codebook);
  std::vector<double> mass(codebook.size()), sum(codebook.size());
  for (std::size_t i = 0; i < all.values.size(); ++i) {
    const std::size_t entry = nearest_entry(boundaries, all.values[i]);
    const double weight = all.weights.empty() ? 1 : all.weights[i];
    mass[entry] += weight;
    sum[entry] += weight * double(all.values[i]);
  }
  for (std::size_t i = 0; i < codebook.size(); ++i)
    if (mass[i] > 0) {
      std::byte bytes[4];
      store_float(stored, bytes, 0, float(sum[i] / mass[i]));
      codebook[i] = load_float(stored, bytes, 0);
    }
}

Result<std::vector<float>> tensor_codebook(const MethodInput& input, int entries) {
  const FloatType stored = input.scheme.float_type;
  TRY_ASSIGN(const AllValues all, all_values(input));
  if (all.values.size() <= many)
    return lloyd_max(weighted_values(all.values, all.weights.empty() ? all.counts : all.weights),
                     entries, stored);
  std::vector<float> codebook = lloyd_max(coarse_values(all), entries, FloatType::f32);
  for (int round = 0; round < 3; ++round) {
    if (input.feedback.stopped())
      return cancelled_error();
    centre(all, codebook, round < 2 ? FloatType::f32 : stored);
  }
  std::sort(codebook.begin(), codebook.end());
  return codebook;
}

Result<MethodOutput> quantize(const MethodInput& input) {
  const FloatView& w = input.weight;
  const int bits = int(input.scheme.bits);
  const std::int64_t entries = std::int64_t(1) << bits;
  const FloatType stored = input.scheme.float_type;
  std::vector<float> lo, hi; // for the check of NaN and infinities
  TRY(exact_ranges(input, {8, w.cols}, lo, hi));
  MethodOutput output = empty_output(input);
  if (input.observer != "minmax")
    output.notes.push_back(input.where + ": the observer " + input.observer +
                           " does not apply to " + input.scheme.id +
                           ", whose values are those of least squared error");
  std::vector<float> common;
  if (input.scheme.per_tensor) {
    TRY_ASSIGN(common, tensor_codebook(input, int(entries)));
    for (std::int64_t i = 0; i < entries; ++i)
      store_float(stored, output.tensor.owned_scales.data(), i, common[std::size_t(i)]);
  }
  const std::vector<double> weights(input.importance.begin(), input.importance.end());
  const std::int64_t row_bytes = int_row_bytes(w.cols, bits);
  TRY(each_row_of(w, &input.feedback, [&](std::int64_t row, const float* values) {
    const std::span<const float> all(values, std::size_t(w.cols));
    std::vector<float> own;
    if (common.empty()) {
      own = lloyd_max(weighted_values(all, weights), int(entries), stored);
      for (std::int64_t i = 0; i < entries; ++i)
        store_float(stored, output.tensor.owned_scales.data(), row * entries + i,
                    own[std::size_t(i)]);
    }
    const auto boundaries = codebook_boundaries(common.empty() ? own : common);
    std::vector<std::uint8_t> codes(all.size());
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = nearest_entry(boundaries, all[i]);
    auto* packed = reinterpret_cast<std::uint8_t*>(output.tensor.owned_codes.data());
    active_cpu_kernels().pack(codes.data(), w.cols, bits, packed + row * row_bytes);
  }));
  return output;
}

} // namespace

extern const Method method_lloyd_max;
const Method method_lloyd_max{
    "lloyd-max",
    "Lloyd-Max codebook",
    "Finds the values of a codebook that bring the least squared error; every weight then goes to "
    "the nearest.",
    {},
    true,
    declines,
    quantize};

} // namespace bitlathe
