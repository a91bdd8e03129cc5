// SPDX-License-Identifier: Apache-2.0
// Attention over whole sequences and back through it. One task is one head of one sequence; within
// it, blocks of queries meet the keys that any of them sees. Scores are made again on the way back.
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/nn/backward.h"
#include "kernels/nn/products.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::int64_t block = 64; ///< queries taken together

/// Where a sequence starts and how long it is.
struct Stretch {
  std::int64_t first, length;
};

std::vector<Stretch> stretches(std::span<const std::int64_t> lengths) {
  std::vector<Stretch> out;
  std::int64_t at = 0;
  for (const std::int64_t length : lengths) {
    out.push_back({at, length});
    at += length;
  }
  return out;
}

/// Queries [first, first + rows) of a head and the keys that they see together.
struct Block {
  std::int64_t first, rows, low, high; ///< keys [low, high), low at the start of a panel
};

class Head {
 public:
  Head(const AttentionShape& shape, const Stretch& stretch, std::int64_t head, const float* q,
       const float* k)
      : shape_(shape), length_(stretch.length), q_stride_(shape.heads * shape.head_dim),
        kv_stride_(shape.kv_heads * shape.head_dim), q_at_(offset(stretch, head, q_stride_)),
        kv_at_(offset(stretch, head / (shape.heads / shape.kv_heads), kv_stride_)), q_(q + q_at_),
        keys_turned_({k + kv_at_, kv_stride_, true}, shape.head_dim, stretch.length) {}

  std::int64_t q_at() const { return q_at_; }
  std::int64_t kv_at() const { return kv_at_; }
  std::int64_t q_stride() const { return q_stride_; }
  std::int64_t kv_stride() const { return kv_stride_; }

  std::int64_t lowest(std::int64_t t) const {
    return shape_.window > 0 ? std::max<std::int64_t>(0, t + 1 - shape_.window) : 0;
  }
  Block at(std::int64_t first) const {
    const std::int64_t rows = std::min(block, length_ - first), unit = keys_turned_.panel_columns();
    return {first, rows, lowest(first) / unit * unit, first + rows};
  }

  /// a[rows][head_dim] times keys or values turned by 90 degrees, to out[rows][length].
  void times(const float* a, const PackedOperand& turned, const Block& b, float* out) const {
    const std::int64_t unit = turned.panel_columns(), panel = b.low / unit;
    product_part({a + b.first * q_stride_, q_stride_}, b.rows, turned,
                 {0, shape_.head_dim, panel, (b.high + unit - 1) / unit - panel}, out, length_,
                 false);
  }
  /// Scores with the cap, if there is one; else they lack the scale, which is returned.
  float scores(const Block& b, float* out) const {
    times(q_, keys_turned_, b, out);
    if (shape_.softcap <= 0)
      return shape_.scale;
    for (std::int64_t r = 0; r < b.rows; ++r)
      for (std::int64_t j = lowest(b.first + r); j <= b.first + r; ++j)
        out[r * length_ + j] =
            shape_.softcap * std::tanh(out[r * length_ + j] * shape_.scale / shape_.softcap);
    return 1.0f;
  }
  /// Zeros what row r of a block does not see.
  void mask(const Block& b, std::int64_t r, float* row) const {
    std::fill(row + b.low, row + lowest(b.first + r), 0.0f);
    std::fill(row + b.first + r + 1, row + b.high, 0.0f);
  }

 private:
  std::int64_t offset(const Stretch& stretch, std::int64_t head, std::int64_t stride) const {
    return stretch.first * stride + head * shape_.head_dim;
  }

  const AttentionShape& shape_;
  std::int64_t length_, q_stride_, kv_stride_, q_at_, kv_at_;
  const float* q_;
  PackedOperand keys_turned_;
};

/// run(stretch, head) for every head of every sequence.
template <class Run>
void each_head(const AttentionShape& shape, const std::vector<Stretch>& all, Run run) {
  parallel_for(std::int64_t(all.size()) * shape.heads, 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   run(all[std::size_t(i / shape.heads)], i % shape.heads);
               });
}

std::int64_t total(const std::vector<Stretch>& all) {
  return all.empty() ? 0 : all.back().first + all.back().length;
}

} // namespace

void attention_forward(const AttentionShape& shape, std::span<const std::int64_t> lengths,
                       const float* q, const float* k, const float* v, float* out,
                       float* log_sums) {
  const auto all = stretches(lengths);
  const std::int64_t tokens = total(all), dim = shape.head_dim;
  const auto& kernels = active_cpu_kernels();
  each_head(shape, all, [&](const Stretch& stretch, std::int64_t index) {
    const std::int64_t n = stretch.length;
    const Head head(shape, stretch, index, q, k);
    const PackedOperand values({v + head.kv_at(), head.kv_stride()}, n, dim);
    Scratch<float> weights(std::size_t(std::min(block, n) * n));
    for (std::int64_t first = 0; first < n; first += block) {
      const Block b = head.at(first);
      const float scale = head.scores(b, weights.data());
      for (std::int64_t r = 0; r < b.rows; ++r) {
        float* row = weights.data() + r * n;
        const std::int64_t t = first + r, low = head.lowest(t), count = t + 1 - low;
        const float shift = kernels.largest(row + low, count) * scale;
        const float sum = kernels.exp_sum(row + low, count, scale, shift);
        log_sums[index * tokens + stretch.first + t] = shift + std::log(sum);
        const float inverse = 1.0f / sum;
        for (std::int64_t j = low; j <= t; ++j)
          row[j] *= inverse;
        head.mask(b, r, row);
      }
      product_part({weights.data() + b.low, n}, b.rows, values,
                   {b.low, b.high - b.low, 0, values.panels()},
                   out + head.q_at() + first * head.q_stride(), head.q_stride(), false);
    }
  });
}

void attention_backward(const AttentionShape& shape, std::span<const std::int64_t> lengths,
                        const float* q, const float* k, const float* v, const float* out,
                        const float* log_sums, const float* dout, float* dq, float* dk, float* dv) {
  const auto all = stretches(lengths);
  const std::int64_t tokens = total(all), dim = shape.head_dim;
  const std::int64_t q_size = shape.heads * dim, kv_size = shape.kv_heads * dim;
  const auto& kernels = active_cpu_kernels();
  // Of every query head by itself, like q; heads that share a key head are added up afterwards.
  Scratch<float> dk_heads(std::size_t(tokens * q_size)), dv_heads(std::size_t(tokens * q_size));
  each_head(shape, all, [&](const Stretch& stretch, std::int64_t index) {
    const std::int64_t n = stretch.length;
    const Head head(shape, stretch, index, q, k);
    const PackedOperand values_turned({v + head.kv_at(), head.kv_stride(), true}, dim, n);
    const PackedOperand keys({k + head.kv_at(), head.kv_stride()}, n, dim);
    const PackedOperand queries({q + head.q_at(), head.q_stride()}, n, dim);
    const PackedOperand slopes({dout + head.q_at(), head.q_stride()}, n, dim);
    const auto size = std::size_t(std::min(block, n) * n);
    Scratch<float> weights(size), dweights(size), capped(shape.softcap > 0 ? size : 0);
    const std::int64_t stride = head.q_stride();
    for (std::int64_t t = 0; t < n; ++t) {
      std::fill_n(dk_heads.data() + head.q_at() + t * stride, dim, 0.0f);
      std::fill_n(dv_heads.data() + head.q_at() + t * stride, dim, 0.0f);
    }
    for (std::int64_t first = 0; first < n; first += block) {
      const Block b = head.at(first);
      const float scale = head.scores(b, weights.data());
      if (shape.softcap > 0)
        std::copy_n(weights.data(), b.rows * n, capped.data());
      head.times(dout + head.q_at(), values_turned, b, dweights.data());
      for (std::int64_t r = 0; r < b.rows; ++r) {
        const std::int64_t t = first + r, low = head.lowest(t), at = head.q_at() + t * stride;
        float *row = weights.data() + r * n, *drow = dweights.data() + r * n;
        kernels.exp_sum(row + low, t + 1 - low, scale,
                        log_sums[index * tokens + stretch.first + t]);
        double mean = 0; // of the slopes, by weight
        for (std::int64_t i = 0; i < dim; ++i)
          mean += double(out[at + i]) * double(dout[at + i]);
        for (std::int64_t j = low; j <= t; ++j)
          drow[j] = row[j] * (drow[j] - float(mean)) * shape.scale;
        if (shape.softcap > 0)
          for (std::int64_t j = low; j <= t; ++j) {
            const float share = capped.data()[r * n + j] / shape.softcap;
            drow[j] *= 1.0f - share * share;
          }
        head.mask(b, r, row);
        head.mask(b, r, drow);
      }
      const std::int64_t seen = b.high - b.low, from = head.q_at() + b.low * stride;
      product_part({dweights.data() + b.low, n}, b.rows, keys, {b.low, seen, 0, keys.panels()},
                   dq + head.q_at() + first * stride, stride, false);
      product_part({dweights.data() + b.low, n, true}, seen, queries,
                   {first, b.rows, 0, queries.panels()}, dk_heads.data() + from, stride, true);
      product_part({weights.data() + b.low, n, true}, seen, slopes,
                   {first, b.rows, 0, slopes.panels()}, dv_heads.data() + from, stride, true);
    }
  });
  const std::int64_t group = shape.heads / shape.kv_heads;
  parallel_for(tokens, std::max<std::int64_t>(1, 16384 / q_size),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t)
                   for (std::int64_t kv = 0; kv < shape.kv_heads; ++kv)
                     for (std::int64_t i = 0; i < dim; ++i) {
                       float key = 0, value = 0;
                       for (std::int64_t g = 0; g < group; ++g) {
                         const std::int64_t at = t * q_size + (kv * group + g) * dim + i;
                         key += dk_heads.data()[at];
                         value += dv_heads.data()[at];
                       }
                       dk[t * kv_size + kv * dim + i] = key;
                       dv[t * kv_size + kv * dim + i] = value;
                     }
               });
}

} // namespace bitlathe
