// SPDX-License-Identifier: Apache-2.0
#include "core/methods/learned.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

std::int64_t row_grain(std::int64_t cols) { return std::max<std::int64_t>(1, 16384 / cols); }

/// Codes by another method, as values and grids.
Result<void> coded_by(const char* id, const MethodInput& input, const Json& params,
                      std::span<const float> importance, std::vector<float>& values,
                      IntGrids& grids, std::vector<std::string>* notes = nullptr) {
  const Method* method = find_method(id);
  assert(method);
  MethodInput passed = with_params(input, params);
  passed.importance = importance;
  TRY_ASSIGN(const MethodOutput output, method->quantize(passed));
  if (notes)
    *notes = output.notes;
  const QTensor& tensor = output.tensor;
  values.resize(std::size_t(tensor.rows * tensor.cols));
  TRY(input.compute.decode(tensor.view(), 0, tensor.rows, values, &input.feedback));
  grids.spec = int_spec(input.scheme, input.weight.cols);
  grids.grids.resize(tensor.scales.size() / float_size(grids.spec.scale_type));
  for (std::size_t i = 0; i < grids.grids.size(); ++i) {
    IntGrid& grid = grids.grids[i];
    grid.scale = load_float(grids.spec.scale_type, tensor.scales.data(), std::int64_t(i));
    grid.inverse = 1.0f / grid.scale;
    grid.zero = grids.spec.symmetric ? 1 << (grids.spec.bits - 1) : int(tensor.zeros[i]);
  }
  return {};
}

/// Mean squared input of every column.
std::vector<float> importance_of(const InputStatistics& inputs) {
  std::vector<float> out(std::size_t(inputs.cols));
  for (std::int64_t c = 0; c < inputs.cols; ++c)
    out[std::size_t(c)] =
        float(inputs.moment(c, c) / double(std::max<std::int64_t>(1, inputs.tokens)));
  return out;
}

} // namespace

std::string learned_declines(const Scheme& scheme) {
  if (!scheme.quantized)
    return scheme.id + " has no codes to choose";
  if (scheme.family->id != "int")
    return scheme.id + " is not an integer scheme, and only those have codes that are learned";
  return {};
}

Result<LearnedLinear> start_learning(const MethodInput& input, bool search) {
  if (!input.inputs || input.inputs->moments.empty())
    return Error{"bad-argument",
                 "Rounding is learned from calibration text, and there is none; give a calibration "
                 "file or choose rtn or mse",
                 input.where};
  LearnedLinear out;
  out.name = input.where;
  out.scheme = &input.scheme;
  out.params = &input.params;
  out.observer = input.observer;
  out.inputs = input.inputs;
  out.rows = input.weight.rows;
  out.cols = input.weight.cols;
  assert(out.inputs->cols == out.cols);
  for (std::int64_t c = 0; c < out.cols; ++c)
    if (!std::isfinite(input.inputs->moment(c, c)))
      return Error{"bad-file", "The second moments of the module's inputs are not finite",
                   input.where};
  TRY_ASSIGN(OutputNorm norm, OutputNorm::create(*input.inputs, input.compute));
  out.norm = std::make_shared<OutputNorm>(std::move(norm));
  const Json none = Json::object();
  TRY(coded_by("rtn", input, none, {}, out.rounded, out.rounded_grids, &out.notes));
  out.owned.resize(out.rounded.size());
  parallel_for(out.rows, row_grain(out.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t c = 0; c < out.cols; ++c)
        out.owned[std::size_t(r * out.cols + c)] =
            load_float(input.weight.type, input.weight.row(r), c);
  });
  out.weight = out.owned;
  out.values = out.rounded;
  out.grids = out.rounded_grids;
  if (search) {
    std::vector<float> values;
    IntGrids grids;
    TRY(coded_by("mse", input, none, importance_of(*input.inputs), values, grids));
    TRY(keep_better(out, values, grids));
  }
  return out;
}

Result<std::vector<LearnedLinear>> start_learning(CalibratedBlock& block, const Method& method,
                                                  bool search) {
  std::vector<LearnedLinear> out;
  const BlockLinear* first = nullptr;
  for (const BlockLinear& linear : block.linears) {
    if (linear.method != &method || linear.output)
      continue;
    if (!first)
      first = &linear;
    const QTensor& shape = linear.module->weight;
    const FloatView view{FloatType::f32, shape.rows, shape.cols,
                         std::as_bytes(std::span(linear.weight))};
    TRY_ASSIGN(LearnedLinear learned, start_learning({.weight = view,
                                                      .scheme = linear.planned->scheme,
                                                      .params = linear.planned->params,
                                                      .observer = block.recipe().observer,
                                                      .importance = {},
                                                      .compute = block.compute(),
                                                      .feedback = block.feedback(),
                                                      .where = linear.module->name,
                                                      .seed = block.recipe().seed,
                                                      .inputs = linear.inputs.get()},
                                                     search));
    learned.part = linear.module->part;
    if (linear.planned->params != first->planned->params)
      learned.notes.push_back("A block is learned as a whole, with the parameters of " +
                              first->module->name + ", not with those of this module");
    learned.weight = linear.weight; // stays where it is
    learned.owned = {};
    out.push_back(std::move(learned));
  }
  return out;
}

const BlockLinear* first_to_learn(const CalibratedBlock& block, const Method& method) {
  if (block.layer < 0 || block.samples() == 0)
    return nullptr;
  for (const BlockLinear& linear : block.linears)
    if (linear.method == &method && !linear.output)
      return &linear;
  return nullptr;
}

Result<void> keep_better(LearnedLinear& linear, const std::vector<float>& other,
                         const IntGrids& grids) {
  std::vector<float> difference(linear.values.size());
  const auto errors = [&](const std::vector<float>& values) {
    for (std::size_t i = 0; i < difference.size(); ++i)
      difference[i] = values[i] - linear.weight[i];
    return linear.norm->rows_of(difference);
  };
  TRY_ASSIGN(const std::vector<double> now, errors(linear.values));
  TRY_ASSIGN(const std::vector<double> then, errors(other));
  if (grids.spec.per_tensor) {
    if (std::accumulate(then.begin(), then.end(), 0.0) <
        std::accumulate(now.begin(), now.end(), 0.0)) {
      linear.values = other;
      linear.grids = grids;
    }
    return {};
  }
  const std::int64_t groups = linear.groups();
  for (std::int64_t r = 0; r < linear.rows; ++r)
    if (then[std::size_t(r)] < now[std::size_t(r)]) {
      std::copy_n(other.begin() + r * linear.cols, linear.cols,
                  linear.values.begin() + r * linear.cols);
      std::copy_n(grids.grids.begin() + r * groups, groups,
                  linear.grids.grids.begin() + r * groups);
    }
  return {};
}

LearnedChoice present_choice(const std::vector<LearnedLinear>& linears) {
  LearnedChoice out;
  for (const LearnedLinear& linear : linears) {
    out.values.push_back(linear.values);
    out.grids.push_back(linear.grids);
  }
  return out;
}

LearnedChoice rounded_choice(const std::vector<LearnedLinear>& linears) {
  LearnedChoice out;
  for (const LearnedLinear& linear : linears) {
    out.values.push_back(linear.rounded);
    out.grids.push_back(linear.rounded_grids);
  }
  return out;
}

void choose(std::vector<LearnedLinear>& linears, const LearnedChoice& choice) {
  for (std::size_t i = 0; i < linears.size(); ++i) {
    linears[i].values = choice.values[i];
    linears[i].grids = choice.grids[i];
  }
}

Result<MethodOutput> pack_learned(const LearnedLinear& linear, Compute& compute,
                                  Feedback& feedback) {
  const FloatView view{FloatType::f32, linear.rows, linear.cols,
                       std::as_bytes(std::span(linear.values))};
  // A value on the grid is coded as itself: scale * n * (1 / scale) rounds to n.
  TRY_ASSIGN(MethodOutput output, pack_int({.weight = view,
                                            .scheme = *linear.scheme,
                                            .params = *linear.params,
                                            .observer = linear.observer,
                                            .importance = {},
                                            .compute = compute,
                                            .feedback = feedback,
                                            .where = linear.name},
                                           linear.grids));
  output.notes.insert(output.notes.begin(), linear.notes.begin(), linear.notes.end());
  return output;
}

Result<void> finish_learning(CalibratedBlock& block, const std::vector<LearnedLinear>& linears,
                             const std::string& note) {
  for (const LearnedLinear& linear : linears) {
    TRY_ASSIGN(MethodOutput output, pack_learned(linear, block.compute(), block.feedback()));
    if (!note.empty() && &linear == &linears.front())
      output.notes.push_back(note);
    block.linear(linear.part)->output = std::move(output);
  }
  return {};
}

} // namespace bitlathe
