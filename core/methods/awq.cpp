// SPDX-License-Identifier: Apache-2.0
// AWQ (Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
// Acceleration", 2023): columns that meet large activations are scaled up before rounding and what
// feeds them is scaled down. The scale of channel j is mean|X_j|^ratio / mean|W_j|^(1 - ratio) (the
// second factor on request), the ratio is searched for the least error of the outputs of all
// linears that read the channel. Then every group's range is clipped where that lessens the error
// of its part of the output. Errors of outputs are exact over the calibration text: they come from
// the second moments of the inputs.
#include "core/methods/fold.h"
#include "core/methods/int_pack.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

extern const Method method_awq;

namespace {

constexpr MethodParam params[] = {
    {"ratios", "Ratios tried between 0 (no scaling) and 1.", 20, 1, 200, true},
    {"duo", "1: also try scales that take the size of the weights into account.", 1, 0, 1, true},
    {"clip", "1: search for clipped ranges after scaling (integer schemes).", 1, 0, 1, true},
};

std::string declines(const Scheme& scheme) { return find_method("rtn")->declines(scheme); }

Result<MethodOutput> by_rtn(const BlockLinear& linear, std::span<const float> weight,
                            CalibratedBlock& block) {
  const Json none = Json::object();
  return find_method("rtn")->quantize(
      {.weight = {FloatType::f32, linear.module->weight.rows, linear.module->weight.cols,
                  std::as_bytes(weight)},
       .scheme = linear.planned->scheme,
       .params = none,
       .observer = "minmax",
       .importance = {},
       .compute = block.compute(),
       .feedback = block.feedback(),
       .where = linear.planned->name,
       .seed = block.recipe().seed});
}

/// Sum of ||(W - Q(W s) / s) X||^2 over the linears that read the channels and are coded.
Result<double> loss_of(const Fold& fold, const std::vector<float>& scales,
                       const std::vector<OutputNorm>& norms, CalibratedBlock& block) {
  double loss = 0;
  for (std::size_t t = 0; t < fold.targets.size(); ++t) {
    const BlockLinear& target = *fold.targets[t];
    if (!target.method)
      continue;
    const auto cols = fold.channel_of.size();
    std::vector<float> scaled(target.weight.size()), decoded(scaled.size());
    for (std::size_t i = 0; i < scaled.size(); ++i)
      scaled[i] = target.weight[i] * scales[std::size_t(fold.channel_of[i % cols])];
    TRY_ASSIGN(const MethodOutput coded, by_rtn(target, scaled, block));
    TRY(block.compute().decode(coded.tensor.view(), 0, coded.tensor.rows, decoded,
                               &block.feedback()));
    for (std::size_t i = 0; i < decoded.size(); ++i)
      decoded[i] = target.weight[i] - decoded[i] / scales[std::size_t(fold.channel_of[i % cols])];
    TRY_ASSIGN(const double error, norms[t].of(decoded));
    loss += error;
  }
  return loss;
}

/// Mean |x| of the inputs and mean |w| of the linears that read them, per channel.
struct Magnitudes {
  std::vector<double> input, weight;
};
Magnitudes magnitudes_of(const Fold& fold, const InputStatistics& inputs) {
  Magnitudes out;
  const auto channels = std::size_t(fold.channels), cols = fold.channel_of.size();
  out.input.resize(channels);
  out.weight.resize(channels);
  std::vector<double> readers(channels);
  for (std::size_t c = 0; c < cols; ++c) {
    const auto channel = std::size_t(fold.channel_of[c]);
    out.input[channel] += inputs.abs_sum[c] / double(inputs.tokens);
    readers[channel] += 1;
  }
  double weights = 0;
  for (const BlockLinear* target : fold.targets) {
    for (std::size_t i = 0; i < target->weight.size(); ++i)
      out.weight[std::size_t(fold.channel_of[i % cols])] += double(std::fabs(target->weight[i]));
    weights += double(target->module->weight.rows);
  }
  for (std::size_t channel = 0; channel < channels; ++channel) {
    out.input[channel] /= readers[channel];
    out.weight[channel] /= readers[channel] * weights;
  }
  return out;
}

std::vector<float> scales_for(const Magnitudes& magnitudes, double ratio, bool duo) {
  std::vector<double> s(magnitudes.input.size());
  double least = INFINITY, most = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    s[i] = std::pow(std::max(magnitudes.input[i], 1e-8), ratio);
    if (duo)
      s[i] /= std::pow(std::max(magnitudes.weight[i], 1e-8), 1 - ratio);
    s[i] = std::max(s[i], 1e-4);
    least = std::min(least, s[i]);
    most = std::max(most, s[i]);
  }
  std::vector<float> out(s.size());
  for (std::size_t i = 0; i < s.size(); ++i)
    out[i] = float(s[i] / std::sqrt(least * most));
  return out;
}

Result<void> scale(const Fold& fold, const Json& given, CalibratedBlock& block) {
  std::vector<OutputNorm> norms;
  const InputStatistics* inputs = nullptr;
  for (const BlockLinear* target : fold.targets) {
    norms.emplace_back();
    if (!target->method)
      continue;
    inputs = target->inputs.get();
    TRY_ASSIGN(norms.back(), OutputNorm::create(*inputs, block.compute()));
  }
  const Magnitudes magnitudes = magnitudes_of(fold, *inputs);
  std::vector<float> best(std::size_t(fold.channels), 1.0f);
  TRY_ASSIGN(double least, loss_of(fold, best, norms, block));
  bool found = false;
  const auto ratios = int(method_param(method_awq, given, "ratios"));
  const bool duo = method_param(method_awq, given, "duo") != 0;
  for (int kind = 0; kind <= int(duo); ++kind)
    for (int i = 1 - kind; i <= ratios; ++i) {
      if (block.feedback().stopped())
        return cancelled_error();
      std::vector<float> scales = scales_for(magnitudes, double(i) / ratios, kind == 1);
      TRY_ASSIGN(const double loss, loss_of(fold, scales, norms, block));
      if (loss < least) {
        least = loss;
        best = std::move(scales);
        found = true;
      }
    }
  if (found)
    apply_fold(fold, best, block.spec());
  return {};
}

Result<void> prepare(CalibratedBlock& block) {
  for (const Fold& fold : folds_of(block)) {
    const auto coded =
        std::find_if(fold.targets.begin(), fold.targets.end(),
                     [](const BlockLinear* linear) { return linear->method == &method_awq; });
    if (coded == fold.targets.end())
      continue;
    block.feedback().set_step("AWQ: scales before " + (*coded)->planned->name);
    TRY(scale(fold, (*coded)->planned->params, block));
  }
  return {};
}

/// The weights of queries and keys are left alone: their errors meet in a product.
bool may_clip(const MethodInput& input) {
  return input.part != "q" && input.part != "k" && input.part != "qkv" &&
         input.scheme.family->id == "int" && !input.scheme.per_tensor;
}

/// Ranges of every group shrunk, down to half, to where d^T H d is least over the group's columns.
Result<MethodOutput> clipped(const MethodInput& input) {
  const FloatView& w = input.weight;
  const InputStatistics& inputs = *input.inputs;
  IntGrids grids;
  grids.spec = int_spec(input.scheme, w.cols);
  std::vector<float> lo, hi;
  TRY(exact_ranges(input, grids.spec, lo, hi));
  const std::int64_t group = grids.spec.group, groups = (w.cols + group - 1) / group;
  grids.grids.resize(lo.size());
  std::vector<char> clamped(lo.size());
  const bool finished = parallel_for(
      groups, 1,
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> h, difference;
        for (std::int64_t g = begin; g < end && !input.feedback.stopped(); ++g) {
          const std::int64_t first = g * group, n = std::min(group, w.cols - first);
          h.resize(std::size_t(n * n));
          difference.resize(std::size_t(n));
          for (std::int64_t a = 0; a < n; ++a)
            for (std::int64_t b = 0; b < n; ++b)
              h[std::size_t(a * n + b)] = float(inputs.moment(first + a, first + b));
          for (std::int64_t row = 0; row < w.rows; ++row) {
            const auto at = std::size_t(row * groups + g);
            double least = INFINITY;
            for (int step = 0; step < 11; ++step) {
              const float share = 1.0f - 0.05f * float(step);
              bool hit = false;
              const IntGrid grid = make_int_grid(lo[at] * share, hi[at] * share, grids.spec.bits,
                                                 grids.spec.symmetric, grids.spec.scale_type, &hit);
              for (std::int64_t c = 0; c < n; ++c) {
                const float value = load_float(w.type, w.row(row), first + c);
                difference[std::size_t(c)] =
                    value - decode_int(encode_int(value, grid, grids.spec.bits), grid);
              }
              double error = 0;
              for (std::int64_t a = 0; a < n; ++a) {
                float sum = 0;
                for (std::int64_t b = 0; b < n; ++b)
                  sum += h[std::size_t(a * n + b)] * difference[std::size_t(b)];
                error += double(sum) * double(difference[std::size_t(a)]);
              }
              if (error < least) {
                least = error;
                grids.grids[at] = grid;
                clamped[at] = hit;
              }
            }
          }
        }
      },
      &input.feedback);
  if (!finished || input.feedback.stopped())
    return cancelled_error();
  grids.clamped = std::count(clamped.begin(), clamped.end(), char(1));
  return pack_int(input, grids);
}

Result<MethodOutput> quantize(const MethodInput& input) {
  if (!input.inputs)
    return Error{"bad-argument", "AWQ needs calibration text", input.where};
  if (method_param(method_awq, input.params, "clip") != 0 && may_clip(input))
    return clipped(input);
  const Json none = Json::object();
  return find_method("rtn")->quantize(with_params(input, none));
}

} // namespace

const Method method_awq{
    .id = "awq",
    .title = "AWQ",
    .summary = "Scales columns that meet large activations before rounding, folds the scales into "
               "what feeds them, then clips ranges.",
    .params = params,
    .uses_importance = true,
    .declines = declines,
    .quantize = quantize,
    .calibrated = true,
    .prepare = prepare};

} // namespace bitlathe
