// SPDX-License-Identifier: Apache-2.0
#include "core/eval/attribute_units.h"

#include "core/eval/weight_compare.h"
#include "core/io/sha256.h"
#include "core/methods/fold.h"
#include "core/model/assemble.h"
#include "core/model/transpose.h"
#include "core/schemes/deferred.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace bitlathe {

namespace {

std::vector<float> decoded(const QTensor& stored) {
  const ByRows tensor(stored);
  std::vector<float> out(std::size_t(tensor->rows * tensor->cols));
  const MatrixView view = tensor->view();
  for (std::int64_t row = 0; row < view.rows; ++row)
    view.layout->decode(view, row, 0, view.cols, out.data() + row * view.cols);
  return out;
}

bool decodable(const QTensor& tensor) { return tensor.rows == 0 || tensor.scheme.family; }

bool same_values(const QTensor& a, const QTensor& b) {
  if (a.rows != b.rows || a.cols != b.cols || !decodable(a) || !decodable(b))
    return a.rows == b.rows && a.rows == 0;
  return a.rows == 0 || decoded(a) == decoded(b);
}

/// Only what folds_of() looks at: which linears and norms a block has.
class BlockOutline final : public CalibratedBlock {
 public:
  BlockOutline(const Checkpoint& model, int index, Compute& compute, Feedback& feedback)
      : model_(model), compute_(compute), feedback_(feedback) {
    layer = index;
    for (const Module& module : model.modules) {
      if (module.layer != index || module.part.empty())
        continue;
      if (module.linear) {
        linears.emplace_back().module = &module;
      } else if (module.role == "norm") {
        norms.emplace_back().module = &module;
        norms.back().weight.resize(std::size_t(module.weight.cols));
      }
    }
  }
  const ModelSpec& spec() const override { return *model_.spec; }
  Compute& compute() override { return compute_; }
  Feedback& feedback() override { return feedback_; }
  const Recipe& recipe() const override { return recipe_; }
  std::int64_t samples() const override { return 0; }
  Result<std::span<const float>> input(std::int64_t) override { return no_inputs(); }
  Result<std::span<const float>> target(std::int64_t) override { return no_inputs(); }

 private:
  static Error no_inputs() { return {"internal", "There are no calibration inputs here", {}}; }

  const Checkpoint& model_;
  Compute& compute_;
  Feedback& feedback_;
  const Recipe recipe_;
};

/// By how much the rows and the columns of one weight are those of another, in the sense of least
/// squares.
struct Factors {
  std::vector<double> rows, cols;
};
Result<Factors> factors(const Module& from, const Module& to, Compute& compute,
                        const Feedback& feedback) {
  TRY_ASSIGN(const WeightUse from_use, from.weight.use());
  TRY_ASSIGN(const WeightUse to_use, to.weight.use());
  const ByRows from_rows(from.weight), to_rows(to.weight);
  const std::int64_t rows = from.weight.rows, cols = from.weight.cols;
  const std::int64_t step = std::max<std::int64_t>(1, (1 << 20) / std::max<std::int64_t>(1, cols));
  Factors out;
  out.rows.resize(std::size_t(rows));
  out.cols.resize(std::size_t(cols));
  std::vector<double> squares(static_cast<std::size_t>(cols));
  std::vector<float> a, b;
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t n = std::min(step, rows - first);
    a.resize(std::size_t(n * cols));
    b.resize(a.size());
    TRY(compute.decode(from_rows->view(), first, n, a, &feedback));
    TRY(compute.decode(to_rows->view(), first, n, b, &feedback));
    for (std::int64_t r = 0; r < n; ++r) {
      double product = 0, square = 0;
      for (std::int64_t c = 0; c < cols; ++c) {
        const double x = double(a[std::size_t(r * cols + c)]),
                     y = double(b[std::size_t(r * cols + c)]);
        product += x * y;
        square += x * x;
        out.cols[std::size_t(c)] += x * y;
        squares[std::size_t(c)] += x * x;
      }
      out.rows[std::size_t(first + r)] = square > 0 ? product / square : 1;
    }
  }
  for (std::size_t c = 0; c < squares.size(); ++c)
    out.cols[c] = squares[c] > 0 ? out.cols[c] / squares[c] : 1;
  return out;
}

constexpr double moved = 0.01; ///< scales that differ by less are rounding

/// Whether what a norm multiplies with became something else than its rounded self.
bool norm_moved(const Module& from, const Module& to, bool plus_one) {
  const auto a = decoded(from.weight), b = decoded(to.weight);
  if (a.size() != b.size())
    return false;
  const float offset = plus_one ? 1.0f : 0.0f;
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = double(a[i] + offset), y = double(b[i] + offset);
    if (x == 0 || y == 0 || (x < 0) != (y < 0)) {
      sum += x == y ? 0 : 1;
      ++count;
      continue;
    }
    const double off = std::log(y / x);
    sum += off * off;
    ++count;
  }
  return count > 0 && std::sqrt(sum / double(count)) > moved;
}

/// Whether rows of the source were divided by what columns of the target were multiplied with.
Result<bool> rows_moved(const Fold& fold, const Module& source, const Module& target,
                        Compute& compute, const Feedback& feedback) {
  TRY_ASSIGN(const Factors from, factors(*fold.source->module, source, compute, feedback));
  TRY_ASSIGN(const Factors to, factors(*fold.targets.front()->module, target, compute, feedback));
  std::vector<double> row, col;
  for (std::size_t c = 0; c < fold.channel_of.size(); ++c) {
    const double r = from.rows[std::size_t(fold.row_of[std::size_t(fold.channel_of[c])])];
    if (!(r > 0) || !(to.cols[c] > 0))
      continue;
    row.push_back(std::log(r));
    col.push_back(std::log(to.cols[c]));
  }
  if (row.size() < 8)
    return false;
  const double n = double(row.size());
  const double mean_row = std::accumulate(row.begin(), row.end(), 0.0) / n;
  const double mean_col = std::accumulate(col.begin(), col.end(), 0.0) / n;
  double rr = 0, cc = 0, rc = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    rr += (row[i] - mean_row) * (row[i] - mean_row);
    cc += (col[i] - mean_col) * (col[i] - mean_col);
    rc += (row[i] - mean_row) * (col[i] - mean_col);
  }
  // One common scale moves nothing between channels, but it moves.
  const bool common = std::abs(mean_row) > 10 * moved && std::abs(mean_row + mean_col) < moved;
  return common || (std::sqrt(rr / n) > moved && rc < -0.5 * std::sqrt(rr * cc));
}

std::string last_name(const std::string& name) {
  const auto dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

/// "model.layers.3" of "model.layers.3.mlp.up_proj".
std::string block_name(const std::string& name, int layer) {
  const std::string number = "." + std::to_string(layer) + ".";
  const auto at = name.find(number);
  return at == std::string::npos ? "block " + std::to_string(layer)
                                 : name.substr(0, at + number.size() - 1);
}

class UnitFinder {
 public:
  UnitFinder(const Checkpoint& reference, const Checkpoint& candidate, Compute& compute,
             Feedback& feedback)
      : reference_(reference), candidate_(candidate), compute_(compute), feedback_(feedback) {}

  Result<ExchangeUnits> find() {
    if (const std::string why = why_not_same_model(*reference_.spec, *candidate_.spec);
        !why.empty())
      return mismatch(why);
    for (const std::string& difference : spec_differences(*reference_.spec, *candidate_.spec))
      out_.notes.push_back("The configurations differ in " + difference +
                           ": that belongs to the whole candidate and to none of its modules");
    TRY(pair_modules());
    together_.resize(reference_.modules.size());
    std::iota(together_.begin(), together_.end(), std::size_t(0));
    TRY(find_changed());
    for (int layer = 0; layer < int(reference_.spec->layers); ++layer)
      TRY(join_moved(layer));
    join_tied();
    TRY(make_units());
    return std::move(out_);
  }

 private:
  Error mismatch(const std::string& what) const {
    return {"mismatch", "This is not the same model as " + reference_.path.string() + ": " + what,
            candidate_.path.string()};
  }

  Result<void> pair_modules() {
    const ModuleMatcher matcher(reference_, candidate_);
    for (const Module& module : reference_.modules) {
      const Module* other = module.part.empty() ? nullptr : matcher.find(module);
      if (other && other->part != module.part)
        other = nullptr;
      out_.partner.push_back(other);
      if (other || module.part.empty() || module.tied_to_embedding)
        continue;
      if (module.part == "head" || module.part == "embedding")
        out_.notes.push_back("The candidate has no " + module.name +
                             " of its own; it is not exchanged alone");
      else
        return mismatch("it has no weight for " + module.name);
    }
    return {};
  }

  Result<void> find_changed() {
    changed_.resize(reference_.modules.size());
    error_.resize(reference_.modules.size());
    for (std::size_t i = 0; i < reference_.modules.size(); ++i) {
      const Module& module = reference_.modules[i];
      const Module* other = out_.partner[i];
      if (!other)
        continue;
      if (feedback_.stopped())
        return cancelled_error();
      if (const std::string why = why_not_comparable(module, *other); !why.empty()) {
        if (module.layer >= 0)
          return mismatch(module.name + ": " + why);
        out_.notes.push_back(module.name + " is not exchanged alone: " + why);
        out_.partner[i] = nullptr;
        continue;
      }
      const bool codes_inputs = other->weight.scheme.quantized && other->activations != "none" &&
                                other->activations != module.activations;
      if (module.weight.rows == 1) { // norms: small, and compared as they are
        changed_[i] = !same_values(module.weight, other->weight);
        double error = 0, whole = 0;
        const auto a = decoded(module.weight), b = decoded(other->weight);
        for (std::size_t c = 0; c < a.size(); ++c) {
          error += double(a[c] - b[c]) * double(a[c] - b[c]);
          whole += double(a[c]) * double(a[c]);
        }
        error_[i] = {error, whole};
      } else {
        TRY_ASSIGN(const ErrorSums sums, weight_error(module, *other, compute_, feedback_));
        changed_[i] = sums.sum_sq_error != 0 || codes_inputs; // NaN counts as changed
        error_[i] = {sums.sum_sq_error, sums.sum_sq_ref};
      }
      changed_[i] = changed_[i] || !same_values(module.bias, other->bias);
    }
    return {};
  }

  std::size_t root(std::size_t i) const {
    while (together_[i] != i)
      i = together_[i];
    return i;
  }
  void join(std::size_t a, std::size_t b) {
    a = root(a);
    b = root(b);
    together_[std::max(a, b)] = std::min(a, b);
  }
  std::size_t index_of(const Module* module) const {
    return std::size_t(module - reference_.modules.data());
  }

  /// Where a scale went from one module to its neighbours, one without the other is no model.
  Result<void> join_moved(int layer) {
    if (feedback_.stopped())
      return cancelled_error();
    BlockOutline outline(reference_, layer, compute_, feedback_);
    for (const Fold& fold : folds_of(outline)) {
      const Module* from = fold.norm ? fold.norm->module : fold.source->module;
      const std::size_t source = index_of(from);
      const bool all = std::all_of(fold.targets.begin(), fold.targets.end(), [&](const auto* t) {
        return out_.partner[index_of(t->module)] != nullptr;
      });
      if (!changed_[source] || !all || !out_.partner[source])
        continue;
      bool together = false;
      if (fold.norm) {
        together = norm_moved(*from, *out_.partner[source], reference_.spec->norm_plus_one);
      } else if (changed_[index_of(fold.targets.front()->module)]) {
        TRY_ASSIGN(together, rows_moved(fold, *out_.partner[source],
                                        *out_.partner[index_of(fold.targets.front()->module)],
                                        compute_, feedback_));
      }
      if (!together)
        continue;
      for (const auto* target : fold.targets)
        join(source, index_of(target->module));
    }
    return {};
  }

  /// A tied head follows its embedding.
  void join_tied() {
    std::size_t embedding = reference_.modules.size(), head = embedding;
    for (std::size_t i = 0; i < reference_.modules.size(); ++i) {
      if (reference_.modules[i].part == "embedding")
        embedding = i;
      if (reference_.modules[i].part == "head")
        head = i;
    }
    if (embedding == reference_.modules.size() || head == reference_.modules.size())
      return;
    const Module* other = out_.partner[head];
    if (!reference_.modules[head].tied_to_embedding)
      return;
    if (!other || other->tied_to_embedding) {
      changed_[head] = changed_[embedding];
      error_[head] = {};
      if (!other)
        out_.partner[head] = out_.partner[embedding];
      join(embedding, head);
    }
  }

  Result<void> make_units() {
    std::map<std::size_t, ExchangeUnit> units;
    for (std::size_t i = 0; i < reference_.modules.size(); ++i)
      if (out_.partner[i])
        units[root(i)].modules.push_back(i);
    std::int64_t joined = 0;
    for (auto& [first, unit] : units) {
      if (std::none_of(unit.modules.begin(), unit.modules.end(),
                       [&](std::size_t i) { return changed_[i]; }))
        continue;
      TRY(fill(unit));
      const bool tied_pair = unit.layer < 0;
      joined += unit.modules.size() > 1 && !tied_pair;
      if (unit.modules.size() == 1 && unit.weight_error > 0.5)
        out_.notes.push_back(unit.name + " hardly resembles the original's (" +
                             std::to_string(int(100 * std::min(unit.weight_error, 99.0))) +
                             " % of its energy differs): if it was changed together with others, "
                             "its figures alone mean little");
      out_.units.push_back(std::move(unit));
    }
    if (joined > 0)
      out_.notes.push_back("Scales were moved between modules of the candidate: " +
                           std::to_string(joined) + (joined == 1 ? " group is" : " groups are") +
                           " exchanged as a whole, because one half alone is no model");
    if (out_.units.empty())
      out_.notes.push_back("No module differs: the candidate holds the original's values");
    return {};
  }

  Result<void> fill(ExchangeUnit& unit) const {
    const Module& first = reference_.modules[unit.modules.front()];
    unit.layer = first.layer;
    double error = 0, whole = 0;
    std::string names;
    Sha256 hash;
    for (const std::size_t i : unit.modules) {
      const Module& module = reference_.modules[i];
      const Module& other = *out_.partner[i];
      unit.bytes += other.bytes();
      unit.parameters += module.parameters();
      error += error_[i].first;
      whole += error_[i].second;
      TRY_ASSIGN(const std::string signature, module_signature(other));
      hash.add(std::as_bytes(std::span(signature)));
      if (module.tied_to_embedding)
        continue;
      names += (names.empty() ? "" : " + ") + last_name(module.name);
      if (module.role != "norm" || unit.modules.size() == 1) {
        unit.role += (unit.role.empty() ? "" : "+") + module.role;
        const std::string& scheme = other.weight.scheme.id;
        if (unit.scheme.empty())
          unit.scheme = scheme;
        else if (unit.scheme.find(scheme) == std::string::npos)
          unit.scheme += "+" + scheme;
      }
    }
    unit.weight_error = whole > 0 ? error / whole : 0;
    unit.signature = hash.finish();
    const auto own = std::count_if(unit.modules.begin(), unit.modules.end(), [&](std::size_t i) {
      return !reference_.modules[i].tied_to_embedding;
    });
    unit.name = own == 1 ? first.name : block_name(first.name, unit.layer) + ": " + names;
    return {};
  }

  const Checkpoint &reference_, &candidate_;
  Compute& compute_;
  Feedback& feedback_;
  ExchangeUnits out_;
  std::vector<bool> changed_;
  std::vector<std::pair<double, double>> error_; ///< sums of squares: difference, whole
  std::vector<std::size_t> together_;            ///< a forest: an earlier member of the same unit
};

} // namespace

std::string why_not_same_model(const ModelSpec& a, const ModelSpec& b) {
  const std::pair<const char*, std::pair<std::int64_t, std::int64_t>> sizes[] = {
      {"layers", {a.layers, b.layers}},        {"hidden values", {a.hidden, b.hidden}},
      {"feed-forward values", {a.ffn, b.ffn}}, {"heads", {a.heads, b.heads}},
      {"key heads", {a.kv_heads, b.kv_heads}}, {"values per head", {a.head_dim, b.head_dim}}};
  for (const auto& [what, values] : sizes)
    if (values.first != values.second)
      return std::to_string(values.second) + " " + what + " instead of " +
             std::to_string(values.first);
  if (a.fused_qkv != b.fused_qkv)
    return "queries, keys and values are joined in another way";
  if (a.norm_plus_one != b.norm_plus_one || a.norm != b.norm)
    return "its norms are of another kind";
  return {};
}

std::vector<std::string> spec_differences(const ModelSpec& a, const ModelSpec& b) {
  std::vector<std::string> out;
  const auto close = [](float x, float y) {
    return std::abs(double(x) - double(y)) <= 1e-6 * std::max(std::abs(double(x)), 1e-12);
  };
  if (!close(a.norm_eps, b.norm_eps))
    out.push_back("the epsilon of norms");
  if (a.activation != b.activation)
    out.push_back("the activation");
  if (a.rope.dims != b.rope.dims || !close(a.rope.theta, b.rope.theta) ||
      a.rope.factors.size() != b.rope.factors.size() ||
      !close(a.rope.attention_factor, b.rope.attention_factor))
    out.push_back("rotary positions");
  if (a.windows != b.windows)
    out.push_back("attention windows");
  if (!close(a.attention_scale, b.attention_scale) ||
      !close(a.attention_softcap, b.attention_softcap))
    out.push_back("the scale of attention");
  if (!close(a.final_softcap, b.final_softcap))
    out.push_back("the cap of logits");
  if (!close(a.embedding_scale, b.embedding_scale))
    out.push_back("the scale of embeddings");
  if (a.parallel_residual != b.parallel_residual)
    out.push_back("how attention and feed-forward are added");
  return out;
}

Result<std::string> module_signature(const Module& module) {
  Sha256 hash;
  const auto add_tensor = [&](const QTensor& tensor) -> Result<void> {
    TRY_ASSIGN(const WeightUse use, tensor.use());
    const std::string head = tensor.scheme.id + "/" + std::to_string(tensor.rows) + "x" +
                             std::to_string(tensor.cols) + (tensor.by_columns ? "t" : "");
    hash.add(std::as_bytes(std::span(head)));
    for (const auto part : {tensor.codes, tensor.scales, tensor.zeros, tensor.nested})
      hash.add(part);
    if (tensor.row_order)
      hash.add(std::as_bytes(std::span(*tensor.row_order)));
    if (tensor.column_order)
      hash.add(std::as_bytes(std::span(*tensor.column_order)));
    return {};
  };
  TRY(add_tensor(module.weight));
  TRY(add_tensor(module.bias));
  const std::string inputs = module.activations + "/" + std::to_string(module.activation_scale) +
                             "/" + std::to_string(module.outlier_threshold);
  hash.add(std::as_bytes(std::span(inputs)));
  return hash.finish();
}

Result<ExchangeUnits> find_exchange_units(const Checkpoint& reference, const Checkpoint& candidate,
                                          Compute& compute, Feedback& feedback) {
  return UnitFinder(reference, candidate, compute, feedback).find();
}

} // namespace bitlathe
