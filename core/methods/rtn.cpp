// SPDX-License-Identifier: Apache-2.0
// Round to nearest on the grid of each group; GGUF block types by the reference encoders.
#include "core/methods/int_pack.h"
#include "core/methods/observed_ranges.h"
#include "core/methods/output.h"
#include "core/methods/rtn_tables.h"
#include "kernels/quant/gguf_blocks.h"

namespace bitlathe {

extern const Method method_rtn;

namespace {

constexpr MethodParam params[] = {
    {"stochastic",
     "1: to one of the two codes around a value at random, the nearer one more often, so that the "
     "average is right; 0: to the nearest.",
     0, 0, 1, true},
};

std::string declines(const Scheme& scheme) {
  if (!scheme.quantized)
    return scheme.id + " has no codes to choose";
  if (scheme.family->id == "ggml" && !has_block_encoder(scheme.id))
    return scheme.id + " can be read and run, but there is no encoder for it";
  if (scheme.family->id == "codebook")
    return "a codebook has to be found before anything is rounded to it, which lloyd-max does";
  return {};
}

/// The importance that an encoder gets: none where it is no help; by a power of two of another size
/// where products with it could leave the range of f32, which changes no code.
Result<std::vector<float>> usable_importance(const MethodInput& input,
                                             std::vector<std::string>& notes) {
  std::vector<float> out(input.importance.begin(), input.importance.end());
  if (!block_encoder_weighs(input.scheme.id))
    out.clear();
  if (out.empty())
    return out;
  if (!std::all_of(out.begin(), out.end(), [](float v) { return v >= 0 && std::isfinite(v); }))
    return Error{"bad-file", "The importance holds negative, infinite or NaN entries", input.where};
  const float most = *std::max_element(out.begin(), out.end());
  if (!(most > 0)) {
    notes.push_back(input.where + ": the importance is zero everywhere; coded without it");
    out.clear();
    return out;
  }
  if (const auto zeros = std::count(out.begin(), out.end(), 0.0f); zeros > 0)
    notes.push_back(input.where + ": " + std::to_string(zeros) + " of " +
                    std::to_string(out.size()) +
                    " columns have no importance; where a whole group has none, its values may "
                    "become zero, as in llama.cpp");
  if (most > 1e12f || most < 1e-12f)
    for (float& value : out)
      value = std::ldexp(value, -std::ilogb(most));
  return out;
}

Result<MethodOutput> quantize_blocks(const MethodInput& input) {
  Moments moments;
  TRY_ASSIGN(moments, input.compute.moments(input.weight, &input.feedback));
  if (moments.nan + moments.inf > 0)
    return Error{"bad-file",
                 "The weight holds " + std::to_string(moments.nan) + " NaN and " +
                     std::to_string(moments.inf) + " infinite values; it cannot be quantized",
                 input.where};
  MethodOutput output;
  output.tensor.scheme = input.scheme;
  output.tensor.rows = input.weight.rows;
  output.tensor.cols = input.weight.cols;
  output.tensor.owned_codes.resize(
      input.scheme.family->bytes(input.scheme, input.weight.rows, input.weight.cols).codes);
  TRY_ASSIGN(const std::vector<float> importance, usable_importance(input, output.notes));
  output.weighted = !importance.empty();
  TRY(input.compute.quantize_blocks(input.weight, input.scheme.id, importance,
                                    output.tensor.owned_codes, &input.feedback));
  output.tensor.own();
  if (moments.absmax > 60000.0f) { // an f16 scale or minimum may be infinite
    ErrorSums error;
    TRY_ASSIGN(error, input.compute.error(input.weight, output.tensor.view(), &input.feedback));
    // 65504 times q6_k's codes is the most that a type with f16 scales holds; squares of much
    // larger values also leave the range of f32 in the searches.
    const bool halves = input.scheme.id != "mxfp4" && input.scheme.id != "nvfp4";
    if (!std::isfinite(error.sum_sq_error) || (halves && moments.absmax > 65504.0f * 127 * 32))
      return Error{"unsupported",
                   "The weight holds values up to " + Json(moments.absmax).dump() +
                       ", for which the scales of " + input.scheme.id + " are too small",
                   input.where};
  }
  if (input.scheme.id == "nvfp4" && moments.absmax > 448.0f * 6)
    output.notes.push_back(input.where + ": values beyond 2688 are clipped, the largest is " +
                           Json(moments.absmax).dump());
  if (moments.absmax > 0 && moments.absmax < 0.01f) {
    std::int64_t vanished = 0;
    TRY_ASSIGN(vanished,
               vanished_blocks(input.compute, input.weight, output.tensor.view(), &input.feedback));
    if (vanished > 0)
      output.notes.push_back(input.where + ": " + std::to_string(vanished) +
                             " blocks became zero, because their values are too small for the "
                             "scales of " +
                             input.scheme.id);
  }
  return output;
}

Result<MethodOutput> quantize_int(const MethodInput& input, const Dither& dither) {
  IntGrids grids;
  grids.spec = int_spec(input.scheme, input.weight.cols);
  const IntSpec& spec = grids.spec;
  std::vector<float> lo, hi;
  TRY(find_ranges(input, {spec.group, 1, spec.per_tensor},
                  {spec.bits, spec.symmetric, spec.scale_type}, lo, hi));
  grids.grids.resize(lo.size());
  for (std::size_t i = 0; i < lo.size(); ++i) {
    bool clamped = false;
    grids.grids[i] =
        make_int_grid(lo[i], hi[i], spec.bits, spec.symmetric, spec.scale_type, &clamped);
    grids.clamped += clamped;
  }
  if (!dither.on())
    return pack_int(input, grids);
  MethodOutput output = empty_output(input);
  store_grids(grids, output.tensor);
  TRY(quantize_int_dithered(input.weight, spec, grids.grids, dither, output.tensor.owned_codes,
                            &input.feedback));
  note_clamped(input, grids.clamped, output);
  return output;
}

Result<MethodOutput> quantize(const MethodInput& input) {
  const bool stochastic = method_param(method_rtn, input.params, "stochastic") != 0;
  const Dither dither = stochastic ? Dither(input.seed, input.where) : Dither();
  const std::string_view family = input.scheme.family->id;
  if (family == "nf4")
    return round_blockwise(input, dither);
  if (family == "f8")
    return round_float8(input, dither);
  if (family == "ternary")
    return round_ternary(input, dither);
  if (family == "affine")
    return round_affine(input, dither);
  if (family == "int")
    return quantize_int(input, dither);
  TRY_ASSIGN(MethodOutput output, family == "nvfp4" ? round_nvfp4(input) : quantize_blocks(input));
  if (stochastic)
    output.notes.push_back(input.where + ": codes of " + input.scheme.id +
                           " follow the rule of their reference, not stochastic rounding");
  return output;
}

} // namespace

const Method method_rtn{
    "rtn",
    "Round to nearest",
    "Every value goes to the nearest code of its group's grid. Fast, needs no calibration.",
    params,
    true,
    declines,
    quantize};

} // namespace bitlathe
