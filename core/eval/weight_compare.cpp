// SPDX-License-Identifier: Apache-2.0
#include "core/eval/weight_compare.h"

#include "core/model/transpose.h"
#include "core/schemes/deferred.h"

#include <algorithm>
#include <set>

namespace bitlathe {

namespace {

/// Values decoded at a time: about 4 MiB of f32.
constexpr std::int64_t chunk_values = 1 << 20;

std::string shape_text(const Module& module) {
  std::string out;
  for (const auto n : module.shape)
    out += (out.empty() ? "" : " x ") + std::to_string(n);
  return out.empty() ? "none" : out;
}

using Place = std::pair<int, std::string>; ///< block and what the module is there

/// The only module at each place; nullptr where there are several.
std::map<Place, const Module*> by_place(const Checkpoint& checkpoint, std::string Module::*what) {
  std::map<Place, const Module*> out;
  for (const Module& module : checkpoint.modules) {
    if ((module.*what).empty())
      continue;
    const auto [it, fresh] = out.emplace(Place(module.layer, module.*what), &module);
    if (!fresh)
      it->second = nullptr;
  }
  return out;
}

} // namespace

ModuleMatcher::ModuleMatcher(const Checkpoint& first, const Checkpoint& other) {
  std::map<std::string_view, const Module*> names;
  for (const Module& module : other.modules)
    names.emplace(module.name, &module);
  std::set<const Module*> taken;
  for (const Module& module : first.modules)
    if (const auto it = names.find(module.name); it != names.end()) {
      pairs_.emplace(module.name, it->second);
      taken.insert(it->second);
    }
  // What the engine knows them by is exact; the role is for models without an architecture.
  for (std::string Module::*what : {&Module::part, &Module::role}) {
    const auto ours = by_place(first, what), theirs = by_place(other, what);
    for (const auto& [place, module] : ours) {
      if (!module || pairs_.count(module->name))
        continue;
      const auto it = theirs.find(place);
      if (it == theirs.end() || !it->second || taken.count(it->second))
        continue;
      pairs_.emplace(module->name, it->second);
      taken.insert(it->second);
    }
  }
  for (const Module& module : other.modules)
    if (!taken.count(&module))
      left_over_.push_back(&module);
}

const Module* ModuleMatcher::find(const Module& of_first) const {
  const auto it = pairs_.find(of_first.name);
  return it == pairs_.end() ? nullptr : it->second;
}

std::vector<const Module*> ModuleMatcher::left_over() const { return left_over_; }

std::string why_not_comparable(const Module& first, const Module& other) {
  for (const Module* module : {&first, &other})
    if (!module->weight.scheme.family)
      return "Values stored as " + module->weight.scheme.id + " cannot be decoded";
  const bool same = first.shape.empty() || other.shape.empty() || first.shape == other.shape;
  if (!same || first.weight.rows != other.weight.rows || first.weight.cols != other.weight.cols)
    return "The shapes differ: " + shape_text(first) + " and " + shape_text(other);
  if (first.weight.rows <= 0 || first.weight.cols <= 0)
    return "The weight is empty";
  return {};
}

Result<ErrorSums> weight_error(const Module& first, const Module& other, Compute& compute,
                               Feedback& feedback) {
  if (auto reason = why_not_comparable(first, other); !reason.empty())
    return Error{"mismatch", std::move(reason), first.name};
  TRY_ASSIGN(const WeightUse first_use, first.weight.use());
  TRY_ASSIGN(const WeightUse other_use, other.weight.use());
  const ByRows first_rows(first.weight), other_rows(other.weight);
  const QTensor &w = *first_rows, &v = *other_rows;
  if (!w.scheme.quantized)
    return compute.error(w.floats(), v.view(), &feedback);
  const MatrixView original = w.view(), candidate = v.view();
  const std::int64_t step = std::max<std::int64_t>(1, chunk_values / w.cols);
  std::vector<float> values;
  ErrorSums all;
  for (std::int64_t row = 0; row < w.rows; row += step) {
    if (feedback.stopped())
      return cancelled_error();
    const std::int64_t rows = std::min(step, w.rows - row);
    values.resize(std::size_t(rows * w.cols));
    TRY(compute.decode(original, row, rows, values, &feedback));
    const FloatView part{FloatType::f32, rows, w.cols, std::as_bytes(std::span(values))};
    TRY_ASSIGN(const ErrorSums sums, compute.error(part, candidate.slice(row, rows), &feedback));
    all.add(sums);
  }
  return all;
}

} // namespace bitlathe
