// SPDX-License-Identifier: Apache-2.0
// Verification of a checkpoint on its own, and against the one it was made from.
#include "core/export/exporter.h"
#include "core/export/logits.h"
#include "core/export/manifest.h"
#include "core/export/rules.h"
#include "core/export/tensors.h"
#include "core/model/transpose.h"
#include "core/schemes/activations.h"
#include "core/schemes/deferred.h"
#include "core/text/tokenizer.h"
#include "kernels/nn/kv.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

namespace bitlathe {

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

struct Problems {
  std::vector<std::string> list;
  void add(std::string text) { list.push_back(std::move(text)); }
  VerifyCheck check(std::string name, std::string good) const {
    return {std::move(name), list.empty(), list.empty() ? std::move(good) : name_list(list, 5)};
  }
};

/// The file itself: whole, known, runnable, or why not.
void check_structure(const Checkpoint& model, VerifyReport& report) {
  report.checks.push_back({"opens", true,
                           model.format + ", " + std::to_string(model.modules.size()) +
                               " modules, " + std::to_string(model.bytes()) + " bytes"});
  const Arch* arch = find_arch(model.architecture);
  report.checks.push_back(
      {"architecture", !arch || model.spec.has_value(),
       model.spec ? model.architecture + ": every expected weight is there, in the right shape"
                  : (arch ? "" : "not checked: ") + model.why_not_runnable});

  Problems sizes;
  for (const auto& module : model.modules) {
    const auto& weight = module.weight;
    if (!weight.scheme.family || module.tied_to_embedding)
      continue;
    const auto expected = weight.scheme.family->bytes(weight.scheme, weight.rows, weight.cols);
    if (weight.codes.size() != expected.codes || weight.scales.size() != expected.scales ||
        weight.zeros.size() != expected.zeros || weight.nested.size() != expected.nested)
      sizes.add(module.name + " does not have the bytes that " + weight.scheme.id + " needs");
  }
  report.checks.push_back(sizes.check("sizes", "codes, scales and zero points have the size their "
                                               "scheme needs"));

  Problems tokens;
  std::string good = "the vocabulary fits the embedding";
  if (!model.tokenizer)
    good = "not checked: " + model.tokenizer_problem;
  else if (model.spec && model.tokenizer->vocab_size() > model.spec->vocab)
    tokens.add("the tokenizer has " + std::to_string(model.tokenizer->vocab_size()) +
               " tokens, the embedding only " + std::to_string(model.spec->vocab) + " rows");
  report.checks.push_back(tokens.check("tokenizer", good));
}

/// What was calibrated is there, and every scheme goes with its weight.
void check_activations(const Checkpoint& model, VerifyReport& report) {
  Problems problems;
  std::map<std::string, std::size_t> counts;
  for (const auto& module : model.modules) {
    if (module.activations == "none" || module.tied_to_embedding)
      continue;
    const ActivationScheme* scheme = find_activation_scheme(module.activations);
    if (!scheme) {
      problems.add(module.name + ": the activation scheme " + module.activations + " is not known");
      continue;
    }
    if (const auto why = scheme->declines(module.weight.scheme); !why.empty())
      problems.add(module.name + ": " + why);
    if (scheme->is_static &&
        !(module.activation_scale > 0 && std::isfinite(module.activation_scale)))
      problems.add(module.name + " has no calibrated scale for " + module.activations);
    ++counts[module.activations + (scheme->simulated ? " (simulated)" : "")];
  }
  const bool fixed = kv_is_static(model.kv_keys) || kv_is_static(model.kv_values);
  if (fixed && (!model.spec || std::int64_t(model.kv_scales.size()) != model.spec->layers))
    problems.add("keys and values have static scales for " +
                 std::to_string(model.kv_scales.size()) + " layers");
  if (counts.empty() && !fixed && problems.list.empty())
    return;
  std::string good;
  for (const auto& [scheme, count] : counts)
    good += scheme + " in " + std::to_string(count) + " modules; ";
  report.checks.push_back(problems.check("activations", good + "keys " + model.kv_keys +
                                                            ", values " + model.kv_values));
}

/// Files of another checkpoint in the same folder mislead loaders that take every shard.
void check_files(const fs::path& path, VerifyReport& report) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::exists(path / "model.safetensors.index.json", failed))
    return;
  const auto index = read_json_file(path / "model.safetensors.index.json");
  Problems stale;
  const auto map = index && index->is_object() ? index->find("weight_map") : Json::const_iterator();
  if (index && index->is_object() && map != index->end())
    for (const auto& entry : fs::directory_iterator(path, failed)) {
      const auto name = entry.path().filename().string();
      const bool listed =
          std::any_of(map->begin(), map->end(), [&](const Json& file) { return file == name; });
      if (entry.path().extension() == ".safetensors" && !listed)
        stale.add(name + " is not listed in the index");
    }
  report.checks.push_back(stale.check("shards", "the folder holds the shards of the index only"));
}

/// Decodes `rows` rows at a time, so that memory stays small.
template <class Body>
Result<void> in_pieces(const QTensor& weight, Compute& compute, Feedback& feedback, Body&& body) {
  const std::int64_t piece =
      std::max<std::int64_t>(1, (4 << 20) / std::max<std::int64_t>(weight.cols, 1));
  std::vector<float> values;
  for (std::int64_t row = 0; row < weight.rows; row += piece) {
    const auto count = std::min(piece, weight.rows - row);
    values.resize(std::size_t(count * weight.cols));
    TRY(compute.decode(weight.view(), row, count, values, &feedback));
    TRY(body(FloatView{FloatType::f32, count, weight.cols, std::as_bytes(std::span(values))}, row));
  }
  return {};
}

/// NaN or infinite weights make every output NaN.
Result<void> check_finite(const Checkpoint& model, Compute& compute, Feedback& feedback,
                          VerifyReport& report) {
  Problems problems;
  std::uint64_t values = 0, skipped = 0;
  for (const auto& module : model.modules) {
    if (feedback.stopped())
      return cancelled_error();
    if (module.tied_to_embedding)
      continue;
    if (!module.weight.scheme.family) {
      ++skipped;
      continue;
    }
    std::uint64_t broken = 0;
    const auto count = [&](const FloatView& view) -> Result<void> {
      TRY_ASSIGN(const Moments m, compute.moments(view, &feedback));
      broken += m.nan + m.inf;
      values += m.count;
      return {};
    };
    const auto any = [&](const QTensor& stored) -> Result<void> {
      const auto use = stored.use();
      if (!use) {
        problems.add(use.error().message);
        return {};
      }
      const ByRows rows(stored);
      const QTensor& weight = *rows;
      if (!weight.scheme.quantized)
        return count(weight.floats());
      return in_pieces(weight, compute, feedback,
                       [&](const FloatView& view, std::int64_t) { return count(view); });
    };
    TRY(any(module.weight));
    if (module.bias.rows > 0)
      TRY(any(module.bias));
    if (broken > 0)
      problems.add(module.name + " has " + std::to_string(broken) + " values that are no numbers");
  }
  report.checks.push_back(problems.check(
      "finite",
      std::to_string(values) + " decoded values are finite" +
          (skipped ? "; " + std::to_string(skipped) + " modules cannot be decoded" : "")));
  return {};
}

struct Comparison {
  ErrorSums sums;
  std::int64_t bad_row = -1; ///< a row that is farther from the reference than zeros would be
};

Result<Comparison> compare_weight(const QTensor& reference_as_stored,
                                  const QTensor& weight_as_stored, Compute& compute,
                                  Feedback& feedback) {
  TRY_ASSIGN(const WeightUse first_use, reference_as_stored.use());
  TRY_ASSIGN(const WeightUse second_use, weight_as_stored.use());
  const ByRows reference_rows(reference_as_stored), weight_rows(weight_as_stored);
  const QTensor &reference = *reference_rows, &weight = *weight_rows;
  Comparison out;
  std::vector<ErrorSums> rows;
  const auto add = [&](const FloatView& view, std::int64_t first) -> Result<void> {
    rows.resize(std::size_t(view.rows));
    TRY(compute.row_errors(view, weight.view().slice(first, view.rows), rows, &feedback));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      out.sums.add(rows[i]);
      // Zero is on every grid, so rounding to the nearest code never does worse than zeros. The
      // margin is for searched codes.
      if (!(rows[i].sum_sq_error <= 1.05 * rows[i].sum_sq_ref + 1e-30) && out.bad_row < 0)
        out.bad_row = first + std::int64_t(i);
    }
    return {};
  };
  if (reference.scheme.quantized)
    TRY(in_pieces(reference, compute, feedback, add));
  else
    TRY(add(reference.floats(), 0));
  return out;
}

/// The same weights must give the same logits; of others the distance is worth knowing.
Result<void> check_logits(const Checkpoint& model, const Checkpoint& against, bool same,
                          Compute& compute, Feedback& feedback, VerifyReport& report) {
  feedback.set_step("Running both over 64 tokens");
  TRY_ASSIGN(const LogitComparison found, compare_logits(against, model, compute, 64, feedback));
  if (!found.skipped.empty()) {
    report.checks.push_back({"logits", true, "not compared: " + found.skipped});
    return {};
  }
  report.checks.push_back(
      {"logits", found.finite && (!same || found.worst <= logit_tolerance),
       "over " + std::to_string(found.tokens) + " tokens at most " + number(found.worst) +
           " of the largest logit apart (token " + std::to_string(found.worst_position) +
           "), the likeliest token the same at " + std::to_string(found.same_top) +
           (found.finite ? "" : "; not all are finite numbers")});
  return {};
}

Result<void> check_against(const Checkpoint& model, const Checkpoint& against, Compute& compute,
                           Feedback& feedback, VerifyReport& report) {
  Problems names, values;
  std::size_t compared = 0;
  for (const auto& reference : against.modules) {
    if (feedback.stopped())
      return cancelled_error();
    const auto* module = model.find_module(reference.name);
    if (!module) {
      names.add(reference.name + " is missing");
      continue;
    }
    if (module->shape != reference.shape) {
      names.add(reference.name + " has another shape");
      continue;
    }
    if (module->tied_to_embedding != reference.tied_to_embedding) {
      names.add(reference.name + " is tied to the embedding in only one of the two");
      continue;
    }
    if (module->bias.cols != reference.bias.cols)
      names.add(reference.name + ": its bias is missing or new");
    if (module->tied_to_embedding || !module->weight.scheme.family ||
        !reference.weight.scheme.family || module->weight.rows == 0)
      continue;
    feedback.set_step("Comparing " + reference.name);
    const auto compared_weight =
        compare_weight(reference.weight, module->weight, compute, feedback);
    if (!compared_weight && compared_weight.error().code != "bad-file")
      return compared_weight.error();
    if (!compared_weight) { // its own values are not in order
      values.add(compared_weight.error().message);
      continue;
    }
    const Comparison& found = *compared_weight;
    ++compared;
    report.worst.push_back(
        {reference.name, found.sums.mse(), found.sums.sqnr_db(), found.sums.max_abs_error});
    // Vectors are never quantized: equal but for the rounding of the narrower float type. A float
    // matrix may be a decoded one.
    const bool kept = module->shape.size() < 2;
    if (found.bad_row >= 0)
      values.add(reference.name + ", row " + std::to_string(found.bad_row) +
                 ": farther from the reference than zeros");
    else if (kept && found.sums.sqnr_db() < 40)
      values.add(reference.name + " is a vector, yet only " + number(found.sums.sqnr_db()) +
                 " dB from the reference");
  }
  for (const auto& module : model.modules)
    if (!against.find_module(module.name))
      names.add(module.name + " is new");
  report.checks.push_back(
      names.check("same modules", "all modules of the reference, in the same shapes"));
  std::sort(report.worst.begin(), report.worst.end(),
            [](const VerifyWorst& a, const VerifyWorst& b) {
              return a.sqnr_db != b.sqnr_db ? a.sqnr_db < b.sqnr_db : a.module < b.module;
            });
  std::string good = std::to_string(compared) + " weights compared";
  if (!report.worst.empty())
    good += "; least signal-to-noise ratio " + number(report.worst.front().sqnr_db) + " dB (" +
            report.worst.front().module + ")";
  const bool same = std::all_of(report.worst.begin(), report.worst.end(),
                                [](const VerifyWorst& worst) { return worst.mse == 0; });
  if (report.worst.size() > 10)
    report.worst.resize(10);
  report.checks.push_back(values.check("values", good));
  if (names.list.empty() && values.list.empty())
    TRY(check_logits(model, against, same, compute, feedback, report));
  return {};
}

Result<void> add_manifest_check(const fs::path& path, Feedback& feedback, VerifyReport& report) {
  TRY_ASSIGN(VerifyCheck check, check_manifest(path, feedback));
  if (!check.name.empty())
    report.checks.push_back(std::move(check));
  return {};
}

} // namespace

Result<VerifyReport> verify_checkpoint(const fs::path& path, const Checkpoint* against,
                                       Compute& compute, Feedback& feedback) {
  for (const Exporter* exporter : all_exporters())
    if (exporter->verify && exporter->recognises(path))
      return exporter->verify(path, against, feedback);
  VerifyReport report;
  const auto judge = [&] {
    report.ok = std::all_of(report.checks.begin(), report.checks.end(),
                            [](const VerifyCheck& check) { return check.ok; });
  };
  std::error_code failed;
  if (fs::exists(path, failed)) {
    for (const Exporter* exporter : all_exporters())
      if (exporter->recognises && exporter->verify && exporter->recognises(path)) {
        TRY_ASSIGN(report, exporter->verify(path, against, feedback));
        TRY(add_manifest_check(path, feedback, report));
        judge();
        return report;
      }
    report.checks = loader_rules(path, find_exporter(claimed_format(path)));
    TRY(add_manifest_check(path, feedback, report));
  }
  const auto opened = open_checkpoint(path);
  if (!opened && opened.error().code == "not-found" && opened.error().where == path.string())
    return opened.error();
  if (!opened) {
    report.ok = false;
    report.checks.insert(report.checks.begin(), {"opens", false, opened.error().text()});
    return report;
  }
  const auto& model = **opened;
  check_structure(model, report);
  check_activations(model, report);
  check_files(path, report);
  const bool sizes_fit =
      std::all_of(report.checks.begin(), report.checks.end(),
                  [](const VerifyCheck& check) { return check.name != "sizes" || check.ok; });
  if (sizes_fit) { // decoding relies on them
    TRY(check_finite(model, compute, feedback, report));
    if (against)
      TRY(check_against(model, *against, compute, feedback, report));
  }
  judge();
  return report;
}

} // namespace bitlathe
