// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/lloyd_max.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace bitlathe {

namespace {

/// Sums over the values before each place: of weights, weighted values, weighted squares.
class Sums {
 public:
  explicit Sums(const WeightedValues& all)
      : values_(all.values), mass_(1, 0.0), first_(1, 0.0), second_(1, 0.0) {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const double w = all.weights[i], x = double(values_[i]);
      mass_.push_back(mass_.back() + w);
      first_.push_back(first_.back() + w * x);
      second_.push_back(second_.back() + w * x * x);
    }
  }
  std::size_t size() const { return values_.size(); }
  double mass(std::size_t begin, std::size_t end) const { return mass_[end] - mass_[begin]; }
  /// Mean of the cell, within its values; of values without weight their middle.
  double mean(std::size_t begin, std::size_t end) const {
    const double low = double(values_[begin]), high = double(values_[end - 1]);
    const double m = mass(begin, end);
    return m > 0 ? std::clamp((first_[end] - first_[begin]) / m, low, high) : (low + high) / 2;
  }
  /// Squared error of the cell about its mean.
  double error(std::size_t begin, std::size_t end) const {
    const double m = mass(begin, end), s = first_[end] - first_[begin];
    return m > 0 ? std::max(0.0, second_[end] - second_[begin] - s * s / m) : 0;
  }
  /// Squared error of the cell about x.
  double error_about(double x, std::size_t begin, std::size_t end) const {
    const double m = mass(begin, end), s = first_[end] - first_[begin];
    return std::max(0.0, second_[end] - second_[begin] - 2 * x * s + m * x * x);
  }
  /// Number of first values that together weigh at least `mass`.
  std::size_t reaching(double mass) const {
    return std::size_t(std::lower_bound(mass_.begin(), mass_.end(), mass) - mass_.begin());
  }
  /// First value above x.
  std::size_t above(double x) const {
    return std::size_t(std::upper_bound(values_.begin(), values_.end(), x,
                                        [](double a, float b) { return a < double(b); }) -
                       values_.begin());
  }

 private:
  std::span<const float> values_;
  std::vector<double> mass_, first_, second_;
};

/// The first value of every cell, and the end.
using Cells = std::vector<std::size_t>;

Cells cells_of(const Sums& sums, const std::vector<double>& entries) {
  Cells cells{0};
  for (std::size_t i = 0; i + 1 < entries.size(); ++i)
    cells.push_back(sums.above((entries[i] + entries[i + 1]) / 2));
  cells.push_back(sums.size());
  return cells;
}

double total_error(const Sums& sums, const Cells& cells) {
  double error = 0;
  for (std::size_t i = 0; i + 1 < cells.size(); ++i)
    if (cells[i] < cells[i + 1])
      error += sums.error(cells[i], cells[i + 1]);
  return error;
}

/// Gives each empty cell half of the cell with the largest error that can still be cut.
void fill_empty(const Sums& sums, Cells& cells) {
  for (;;) {
    std::size_t empty = cells.size(), worst = cells.size();
    double most = -1;
    for (std::size_t i = 0; i + 1 < cells.size(); ++i) {
      const std::size_t n = cells[i + 1] - cells[i];
      if (n == 0)
        empty = i;
      else if (const double e = sums.error(cells[i], cells[i + 1]); n > 1 && e > most) {
        most = e;
        worst = i;
      }
    }
    if (empty == cells.size() || worst == cells.size())
      return;
    // Cut where the mean lies; both halves keep a value.
    const std::size_t begin = cells[worst], end = cells[worst + 1];
    const std::size_t cut = std::clamp(sums.above(sums.mean(begin, end)), begin + 1, end - 1);
    cells.erase(cells.begin() + std::ptrdiff_t(empty < cells.size() - 2 ? empty + 1 : empty));
    cells.insert(std::upper_bound(cells.begin(), cells.end(), cut), cut);
  }
}

constexpr int most_rounds = 20000; ///< hundreds are usual

/// Cells that no round changes any more.
Cells settle(const Sums& sums, std::vector<double> entries) {
  Cells cells = cells_of(sums, entries);
  fill_empty(sums, cells);
  for (int round = 0; round < most_rounds; ++round) {
    for (std::size_t i = 0; i < entries.size(); ++i)
      entries[i] = sums.mean(cells[i], cells[i + 1]);
    Cells next = cells_of(sums, entries);
    fill_empty(sums, next);
    if (next == cells)
      break;
    cells.swap(next);
  }
  return cells;
}

std::vector<double> equal_steps(double low, double high, int entries) {
  std::vector<double> out;
  for (int i = 0; i < entries; ++i)
    out.push_back(low + (high - low) * (i + 0.5) / entries);
  return out;
}

/// Where fine codebooks put their entries: as dense as the cube root of the values' density.
std::vector<double> cube_root_shares(const WeightedValues& all, int entries) {
  constexpr int bins = 1024;
  const double low = double(all.values.front()), high = double(all.values.back());
  std::array<double, bins> density{};
  for (std::size_t i = 0; i < all.values.size(); ++i) {
    const double at = (double(all.values[i]) - low) / (high - low) * bins;
    density[std::size_t(std::clamp(int(at), 0, bins - 1))] += all.weights[i];
  }
  double total = 0;
  for (double& d : density)
    total += d = std::cbrt(d);
  if (!(total > 0))
    return equal_steps(low, high, entries);
  std::vector<double> out;
  double before = 0;
  int bin = 0;
  for (int i = 0; i < entries; ++i) {
    const double wanted = total * (i + 0.5) / entries;
    while (bin + 1 < bins && before + density[std::size_t(bin)] < wanted)
      before += density[std::size_t(bin++)];
    const double d = density[std::size_t(bin)];
    const double within = d > 0 ? std::clamp((wanted - before) / d, 0.0, 1.0) : 0.5;
    out.push_back(low + (high - low) * (bin + within) / bins);
  }
  return out;
}

constexpr int most_optimal = 32; ///< entries of codebooks that are worth the search below
constexpr std::size_t most_runs = 256;

/// Cuts that leave at most most_runs runs of values: half by equal mass, half by equal steps, so
/// that both the bulk and the tails are cut finely. Every value its own run when there are few.
Cells runs_of(const Sums& sums, const WeightedValues& all) {
  Cells cuts{0, sums.size()};
  if (sums.size() <= most_runs) {
    cuts.resize(sums.size() + 1);
    std::iota(cuts.begin(), cuts.end(), std::size_t(0));
    return cuts;
  }
  constexpr std::size_t half = most_runs / 2;
  const double low = double(all.values.front()), high = double(all.values.back());
  const double total = sums.mass(0, sums.size());
  for (std::size_t i = 1; i < half; ++i) {
    cuts.push_back(sums.above(low + (high - low) * double(i) / half));
    cuts.push_back(sums.reaching(total * double(i) / half));
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

/// The cells of least error that are made of whole runs, by dynamic programming: the best last cut
/// moves to the right with the end, so that each layer is found by halving.
class BestCells {
 public:
  BestCells(const Sums& sums, const Cells& cuts, int entries)
      : sums_(sums), cuts_(cuts), runs_(cuts.size() - 1), least_(runs_ + 1) {
    for (std::size_t end = 1; end <= runs_; ++end)
      least_[end] = cost(0, end);
    for (int layer = 1; layer < entries; ++layer) {
      next_.assign(runs_ + 1, std::numeric_limits<double>::infinity());
      from_.emplace_back(runs_ + 1, 0u);
      fill(std::size_t(layer) + 1, runs_, std::size_t(layer), runs_ - 1);
      least_.swap(next_);
    }
  }
  std::vector<double> means() const {
    std::vector<double> out;
    std::size_t end = runs_;
    for (std::size_t layer = from_.size() + 1; layer-- > 0;) {
      const std::size_t begin = layer > 0 ? from_[layer - 1][end] : 0;
      out.push_back(sums_.mean(cuts_[begin], cuts_[end]));
      end = begin;
    }
    std::reverse(out.begin(), out.end());
    return out;
  }

 private:
  double cost(std::size_t begin, std::size_t end) const {
    return sums_.error(cuts_[begin], cuts_[end]);
  }
  void fill(std::size_t first, std::size_t last, std::size_t low, std::size_t high) {
    if (first > last)
      return;
    const std::size_t end = (first + last) / 2;
    std::size_t best = low;
    for (std::size_t begin = low; begin <= std::min(high, end - 1); ++begin)
      if (const double error = least_[begin] + cost(begin, end); error < next_[end]) {
        next_[end] = error;
        best = begin;
      }
    from_.back()[end] = std::uint32_t(best);
    if (end > first)
      fill(first, end - 1, low, best);
    fill(end + 1, last, best, high);
  }

  const Sums& sums_;
  const Cells& cuts_;
  std::size_t runs_;
  std::vector<double> least_, next_;
  std::vector<std::vector<std::uint32_t>> from_; ///< where the last cell of each layer begins
};

float rounded(double value, FloatType stored) {
  std::byte bytes[4];
  store_float(stored, bytes, 0, float(value));
  const float back = load_float(stored, bytes, 0);
  if (!std::isinf(back))
    return back;
  const float largest = stored == FloatType::f16 ? 65504.0f : 0x1.fep127f;
  return std::copysign(largest, back);
}

/// Rounding moves values across boundaries: goes on with rounded entries until nothing moves, and
/// keeps the best there was.
std::vector<float> settle_rounded(const Sums& sums, Cells cells, FloatType stored) {
  std::vector<float> codebook, best;
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 100; ++round) {
    std::vector<float> next;
    for (std::size_t i = 0; i + 1 < cells.size(); ++i)
      next.push_back(cells[i] < cells[i + 1] ? rounded(sums.mean(cells[i], cells[i + 1]), stored)
                                             : codebook[i]);
    std::sort(next.begin(), next.end());
    if (next == codebook)
      return codebook;
    codebook.swap(next);
    cells = cells_of(sums, std::vector<double>(codebook.begin(), codebook.end()));
    double error = 0;
    for (std::size_t i = 0; i + 1 < cells.size(); ++i)
      if (cells[i] < cells[i + 1])
        error += sums.error_about(double(codebook[i]), cells[i], cells[i + 1]);
    if (error < least) {
      least = error;
      best = codebook;
    }
  }
  return best;
}

} // namespace

WeightedValues weighted_values(std::span<const float> values, std::span<const double> weights) {
  WeightedValues out;
  if (weights.empty()) {
    std::vector<float> sorted(values.begin(), values.end());
    std::sort(sorted.begin(), sorted.end());
    for (const float value : sorted) {
      if (out.values.empty() || value != out.values.back()) {
        out.values.push_back(value + 0.0f);
        out.weights.push_back(0);
      }
      out.weights.back() += 1;
    }
    return out;
  }
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return values[a] != values[b] ? values[a] < values[b] : a < b;
  });
  for (const std::uint32_t i : order) {
    if (out.values.empty() || values[i] != out.values.back()) {
      out.values.push_back(values[i] + 0.0f);
      out.weights.push_back(0);
    }
    out.weights.back() += weights[i];
  }
  return out;
}

std::vector<float> lloyd_max(const WeightedValues& all, int entries, FloatType stored) {
  std::vector<float> codebook;
  if (all.values.size() <= std::size_t(entries)) {
    for (const float value : all.values)
      codebook.push_back(rounded(double(value), stored));
    codebook.resize(std::size_t(entries), codebook.empty() ? 0.0f : codebook.back());
    return codebook;
  }
  const Sums sums(all);
  std::vector<std::vector<double>> starts = {cube_root_shares(all, entries)};
  if (const Cells cuts = entries <= most_optimal ? runs_of(sums, all) : Cells();
      cuts.size() > std::size_t(entries))
    starts.push_back(BestCells(sums, cuts, entries).means());
  else
    starts.push_back(equal_steps(double(all.values.front()), double(all.values.back()), entries));
  Cells best;
  for (auto& start : starts)
    if (const Cells cells = settle(sums, std::move(start));
        best.empty() || total_error(sums, cells) < total_error(sums, best))
      best = cells;
  return settle_rounded(sums, best, stored);
}

std::vector<double> codebook_boundaries(std::span<const float> codebook) {
  std::vector<double> out;
  for (std::size_t i = 0; i + 1 < codebook.size(); ++i)
    out.push_back((double(codebook[i]) + double(codebook[i + 1])) / 2);
  return out;
}

std::uint8_t nearest_entry(std::span<const double> boundaries, float x) {
  return std::uint8_t(std::lower_bound(boundaries.begin(), boundaries.end(), double(x)) -
                      boundaries.begin());
}

} // namespace bitlathe
