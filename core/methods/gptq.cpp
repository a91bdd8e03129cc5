// SPDX-License-Identifier: Apache-2.0
// GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
// Transformers", 2022): columns are coded one after the other, and what each one loses is made up
// for by those that are still to come, as the second moments H of the inputs say:
//   H = X X^T + damping * mean(diag H) * I,  H^-1 = U^T U,
//   e = (w_c - q_c) / U_cc,  w_j -= e U_cj  for j > c.
// Everything between the moments and the codes is in double precision. Updates of far columns are
// done a block at a time. Grids: per channel and tensor those of the original weight; per group
// those of the weight as it stands when the group begins; with static groups those of the original
// weight.
#include "core/methods/block.h"
#include "core/methods/int_pack.h"
#include "kernels/base/parallel.h"
#include "kernels/linalg/cholesky.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitlathe {

extern const Method method_gptq;

namespace {

constexpr MethodParam params[] = {
    {"damping", "Added to the diagonal of the second moments, as a share of its mean.", 0.01, 1e-6,
     1},
    {"act_order", "1: columns with the largest activations are coded first.", 0, 0, 1, true},
    {"static_groups",
     "1: with act_order, groups stay columns that stand together, which every loader can read.", 1,
     0, 1, true},
    {"mse", "1: grids by a search for the least error instead of minimum and maximum.", 0, 0, 1,
     true},
    {"block", "Columns between updates of the far ones; changes speed only.", 128, 16, 1024, true},
};

/// Damping is raised tenfold, up to this, while the moments are not positive definite.
constexpr double most_damping = 100;

std::string declines(const Scheme& scheme) {
  if (!scheme.quantized)
    return scheme.id + " has no codes to choose";
  if (scheme.family->id != "int")
    return scheme.id + " is no integer grid; GPTQ makes int schemes";
  return {};
}

bool reorders(const Json& given) {
  return method_param(method_gptq, given, "act_order") != 0 &&
         method_param(method_gptq, given, "static_groups") == 0;
}

/// The grid for n values, by their range or by the search of the published code: ranges down to a
/// fifth in 80 steps, error to the power 2.4.
IntGrid grid_of(const double* w, std::int64_t n, const IntSpec& spec, bool search, bool* clamped) {
  double lo = 0, hi = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    lo = std::min(lo, w[i]);
    hi = std::max(hi, w[i]);
  }
  const auto make = [&](double share, bool* hit) {
    return make_int_grid(float(lo * share), float(hi * share), spec.bits, spec.symmetric,
                         spec.scale_type, hit);
  };
  if (!search)
    return make(1, clamped);
  double least = -1;
  int best = 0;
  for (int step = 0; step < 80; ++step) {
    const IntGrid grid = make(1 - step / 100.0, nullptr);
    double error = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const float q = decode_int(encode_int(float(w[i]), grid, spec.bits), grid);
      error += std::pow(std::fabs(w[i] - double(q)), 2.4);
    }
    if (least < 0 || error < least) {
      least = error;
      best = step;
    }
  }
  return make(1 - best / 100.0, clamped);
}

class Gptq {
 public:
  Gptq(const MethodInput& input)
      : input_(input), rows_(input.weight.rows), cols_(input.weight.cols),
        search_(param("mse") != 0), ordered_(param("act_order") != 0),
        static_groups_(ordered_ && param("static_groups") != 0),
        block_(std::int64_t(param("block"))) {
    grids_.spec = int_spec(input.scheme, cols_);
    groups_ = grids_.spec.per_tensor ? 1 : (cols_ + grids_.spec.group - 1) / grids_.spec.group;
  }

  Result<MethodOutput> run() {
    TRY(check());
    order_columns();
    TRY(factor());
    TRY(original_grids());
    TRY(code());
    FloatView coded = input_.weight;
    coded.type = FloatType::f32;
    coded.data = std::as_bytes(std::span(coded_));
    coded.row_order = {};
    TRY_ASSIGN(MethodOutput output, pack_int({.weight = coded,
                                              .scheme = input_.scheme,
                                              .params = input_.params,
                                              .observer = input_.observer,
                                              .importance = {},
                                              .compute = input_.compute,
                                              .feedback = input_.feedback,
                                              .where = input_.where},
                                             grids_));
    if (stored_order())
      output.tensor.column_order = std::make_shared<const std::vector<std::int32_t>>(order_);
    output.notes.insert(output.notes.end(), notes_.begin(), notes_.end());
    return output;
  }

 private:
  double param(std::string_view key) const { return method_param(method_gptq, input_.params, key); }
  /// Whether codes are stored in the order in which they are made.
  bool stored_order() const { return ordered_ && !static_groups_ && groups_ > 1; }
  bool whole_rows() const { return groups_ == 1; }

  Result<void> check() const {
    if (!input_.inputs || input_.inputs->moments.empty() || input_.inputs->tokens == 0)
      return Error{"bad-argument", "GPTQ needs calibration text", input_.where};
    assert(input_.inputs->cols == cols_);
    for (std::int64_t c = 0; c < cols_; ++c)
      if (!std::isfinite(input_.inputs->moment(c, c)))
        return Error{"bad-file", "The second moments of the module's inputs are not finite",
                     input_.where};
    std::vector<float> lo, hi;
    IntSpec rows = grids_.spec;
    rows.group = cols_;
    rows.per_tensor = false;
    return exact_ranges(input_, rows, lo, hi); // only for its errors
  }

  void order_columns() {
    order_.resize(std::size_t(cols_));
    std::iota(order_.begin(), order_.end(), 0);
    if (ordered_)
      std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
        return input_.inputs->moment(a, a) > input_.inputs->moment(b, b);
      });
  }

  Result<void> factor() {
    const InputStatistics& inputs = *input_.inputs;
    std::vector<double> h(std::size_t(cols_ * cols_));
    dead_.resize(std::size_t(cols_));
    double mean = 0;
    std::int64_t n_dead = 0;
    for (std::int64_t i = 0; i < cols_; ++i) {
      const std::int64_t a = order_[std::size_t(i)];
      for (std::int64_t j = 0; j <= i; ++j)
        h[std::size_t(i * cols_ + j)] = inputs.moment(a, order_[std::size_t(j)]);
      double& diagonal = h[std::size_t(i * cols_ + i)];
      dead_[std::size_t(i)] = diagonal == 0;
      n_dead += diagonal == 0;
      if (diagonal == 0)
        diagonal = 1;
      mean += diagonal / double(cols_);
    }
    if (n_dead > 0)
      notes_.push_back(input_.where + ": " + std::to_string(n_dead) +
                       " columns get no input in the calibration text; their weights become 0");
    factor_.resize(h.size());
    const double asked = param("damping");
    double added = 0;
    for (double damping = asked; damping <= most_damping; damping *= 10) {
      for (std::int64_t i = 0; i < cols_; ++i)
        h[std::size_t(i * cols_ + i)] += (damping - added) * mean;
      added = damping;
      switch (inverse_factor(h, cols_, factor_, &input_.feedback)) {
      case Factored::cancelled:
        return cancelled_error();
      case Factored::not_positive_definite:
        continue;
      case Factored::done:
        if (damping > asked)
          notes_.push_back(input_.where +
                           ": the second moments are not positive definite; "
                           "damping was raised from " +
                           Json(asked).dump() + " to " + Json(damping).dump());
        return {};
      }
    }
    return Error{"unsupported",
                 "The second moments of the inputs cannot be factored, whatever the damping",
                 input_.where};
  }

  double value(std::int64_t row, std::int64_t position) const {
    if (dead_[std::size_t(position)])
      return 0;
    return double(
        load_float(input_.weight.type, input_.weight.row(row), order_[std::size_t(position)]));
  }

  /// Grids that do not depend on updates.
  Result<void> original_grids() {
    const IntSpec& spec = grids_.spec;
    grids_.grids.resize(std::size_t(spec.per_tensor ? 1 : rows_ * groups_));
    clamped_.resize(grids_.grids.size());
    if (spec.per_tensor) {
      std::vector<double> all;
      for (std::int64_t row = 0; row < rows_; ++row)
        for (std::int64_t c = 0; c < cols_; ++c)
          all.push_back(value(row, c));
      bool hit = false;
      grids_.grids[0] = grid_of(all.data(), std::int64_t(all.size()), spec, search_, &hit);
      clamped_[0] = hit;
      return {};
    }
    if (!whole_rows() && !static_groups_)
      return {};
    const bool finished = parallel_for(
        rows_, 1,
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<double> values(static_cast<std::size_t>(cols_));
          for (std::int64_t row = begin; row < end; ++row) {
            for (std::int64_t c = 0; c < cols_; ++c)
              values[std::size_t(order_[std::size_t(c)])] = value(row, c);
            for (std::int64_t g = 0; g < groups_; ++g) {
              const std::int64_t first = g * spec.group, n = std::min(spec.group, cols_ - first);
              set_grid(row * groups_ + g, values.data() + first, n);
            }
          }
        },
        &input_.feedback);
    return finished ? Result<void>() : Result<void>(cancelled_error());
  }

  void set_grid(std::int64_t at, const double* values, std::int64_t n) {
    bool hit = false;
    grids_.grids[std::size_t(at)] = grid_of(values, n, grids_.spec, search_, &hit);
    clamped_[std::size_t(at)] = hit;
  }

  Result<void> code() {
    coded_.resize(std::size_t(rows_ * cols_));
    constexpr std::int64_t together = 32; // rows that share one reading of the factor
    const bool finished =
        parallel_for((rows_ + together - 1) / together, 1,
                     [&](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t i = begin; i < end && !input_.feedback.stopped(); ++i)
                         code_rows(i * together, std::min(together, rows_ - i * together));
                     },
                     &input_.feedback);
    if (!finished || input_.feedback.stopped())
      return cancelled_error();
    grids_.clamped = std::count(clamped_.begin(), clamped_.end(), char(1));
    return {};
  }

  void code_rows(std::int64_t first_row, std::int64_t rows) {
    std::vector<double> w(std::size_t(rows * cols_)), lost(std::size_t(rows * block_));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols_; ++c)
        w[std::size_t(r * cols_ + c)] = value(first_row + r, c);
    const bool fresh_grids = !whole_rows() && !static_groups_;
    for (std::int64_t begin = 0; begin < cols_; begin += block_) {
      if (input_.feedback.stopped())
        return;
      const std::int64_t end = std::min(begin + block_, cols_);
      for (std::int64_t c = begin; c < end; ++c) {
        const double* u = factor_.data() + c * cols_;
        // A group that begins here may reach beyond the block: bring its columns up to date.
        if (fresh_grids && c % grids_.spec.group == 0)
          start_group(w, lost, first_row, rows, begin, c, end);
        for (std::int64_t r = 0; r < rows; ++r) {
          double* row = w.data() + r * cols_;
          const IntGrid& grid = grids_.grids[grid_at(first_row + r, c)];
          const float q = decode_int(encode_int(float(row[c]), grid, grids_.spec.bits), grid);
          coded_[std::size_t((first_row + r) * cols_ +
                             (stored_order() ? c : order_[std::size_t(c)]))] = q;
          const double e = (row[c] - double(q)) / u[c];
          lost[std::size_t(r * block_ + c - begin)] = e;
          for (std::int64_t j = c + 1; j < end; ++j)
            row[j] -= e * u[j];
        }
      }
      if (end < cols_)
        subtract_product(w.data() + end, cols_, lost.data(), block_,
                         factor_.data() + begin * cols_ + end, cols_, rows, end - begin,
                         cols_ - end);
    }
  }

  /// Grids of the group at column c, from the weight as all codes before c leave it. Columns from
  /// `end` on have not seen the codes of this block yet.
  void start_group(const std::vector<double>& w, const std::vector<double>& lost,
                   std::int64_t first_row, std::int64_t rows, std::int64_t begin, std::int64_t c,
                   std::int64_t end) {
    const std::int64_t group = grids_.spec.group, n = std::min(group, cols_ - c);
    std::vector<double> values(static_cast<std::size_t>(n));
    for (std::int64_t r = 0; r < rows; ++r) {
      const double* row = w.data() + r * cols_;
      std::copy_n(row + c, n, values.begin());
      if (c + n > end && c > begin)
        subtract_product(values.data() + (end - c), n, lost.data() + r * block_, block_,
                         factor_.data() + begin * cols_ + end, cols_, 1, c - begin, c + n - end);
      set_grid((first_row + r) * groups_ + c / group, values.data(), n);
    }
  }

  std::size_t grid_at(std::int64_t row, std::int64_t c) const {
    if (grids_.spec.per_tensor)
      return 0;
    const std::int64_t column = static_groups_ ? order_[std::size_t(c)] : c;
    return std::size_t(row * groups_ + (whole_rows() ? 0 : column / grids_.spec.group));
  }

  const MethodInput& input_;
  const std::int64_t rows_, cols_;
  const bool search_, ordered_, static_groups_;
  const std::int64_t block_;
  std::int64_t groups_ = 1;
  IntGrids grids_;
  std::vector<std::int32_t> order_; ///< position -> column
  std::vector<char> dead_, clamped_;
  std::vector<double> factor_; ///< U, by positions
  std::vector<float> coded_;   ///< decoded codes, by columns (by positions when stored so)
  std::vector<std::string> notes_;
};

Result<MethodOutput> quantize(const MethodInput& input) { return Gptq(input).run(); }

} // namespace

const Method method_gptq{
    .id = "gptq",
    .title = "GPTQ",
    .summary = "Codes column after column and lets the later ones make up for what the earlier "
               "ones lose on the calibration text.",
    .params = params,
    .declines = declines,
    .quantize = quantize,
    .calibrated = true,
    .reorders_columns = reorders};

} // namespace bitlathe
