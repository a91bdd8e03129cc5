// SPDX-License-Identifier: Apache-2.0
// Softmax attention in one pass over the cache: keys and values are decoded block by block, and the
// running maximum and sum of every query row are corrected as larger scores turn up.
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace bitlathe {

namespace {

constexpr std::int64_t block = 64;      ///< positions decoded at a time
constexpr std::int64_t task_rows = 32;  ///< query rows (tokens x heads of a group) per task
constexpr std::int64_t part_size = 512; ///< positions per task when few tokens are asked for
constexpr std::int64_t few_tokens = 8;

/// What one task found out about one query row.
struct Partial {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

struct Shape {
  const float* q;
  std::int64_t first, tokens, heads, window, head_dim, group;
  const KvCache* cache;
  float scale, softcap;

  std::int64_t lowest(std::int64_t t) const {
    return window > 0 ? std::max<std::int64_t>(0, first + t + 1 - window) : 0;
  }
};

/// n rows as floats: those in the cache where it holds floats, else decoded into `buffer`.
class Rows {
 public:
  explicit Rows(const KvLayout& layout) : layout_(layout), plain_(kv_layout_id(layout) == "f32") {}
  const float* get(const std::vector<std::byte>& stored, std::int64_t at, std::int64_t n,
                   float* buffer) const {
    const std::byte* rows = stored.data() + at * layout_.row_bytes;
    if (plain_)
      return reinterpret_cast<const float*>(rows);
    decode_kv_rows(layout_, rows, n, buffer);
    return buffer;
  }

 private:
  const KvLayout& layout_;
  const bool plain_;
};

/// Rows (token, head within the group) of one kv head over positions [from, to): `acc` gets the
/// weighted values relative to the maximum in `partial`.
void run(const Shape& s, std::int64_t kv_head, std::int64_t token, std::int64_t n_tokens,
         std::int64_t from, std::int64_t to, Partial* partial, float* acc) {
  const auto& k = active_cpu_kernels();
  const std::int64_t dim = s.head_dim, rows = n_tokens * s.group;
  std::vector<float> decoded(std::size_t(block * dim)), scores(std::size_t(rows * block));
  std::fill_n(acc, rows * dim, 0.0f);
  std::fill_n(partial, rows, Partial{});
  const KvCache& cache = *s.cache;
  const Rows keys(cache.key_layout), values(cache.value_layout);
  for (std::int64_t p = from; p < to; p += block) {
    const std::int64_t n = std::min(block, to - p), at = kv_head * cache.capacity + p;
    const float* key_rows = keys.get(cache.keys, at, n, decoded.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t t = token + r / s.group, head = kv_head * s.group + r % s.group;
      float* row = scores.data() + r * block;
      const std::int64_t begin = std::clamp<std::int64_t>(s.lowest(t) - p, 0, n);
      const std::int64_t end = std::clamp<std::int64_t>(s.first + t + 1 - p, begin, n);
      std::fill_n(row, block, 0.0f);
      if (begin == end)
        continue;
      k.dot_rows(s.q + (t * s.heads + head) * dim, key_rows + begin * dim, dim, end - begin, dim,
                 row + begin);
      float scale = s.scale;
      if (s.softcap > 0) {
        for (std::int64_t i = begin; i < end; ++i)
          row[i] = s.softcap * std::tanh(row[i] * s.scale / s.softcap);
        scale = 1;
      }
      const float found = k.largest(row + begin, end - begin) * scale;
      const float largest = std::max(partial[r].max, found);
      const float correction = std::exp(partial[r].max - largest);
      if (correction != 1.0f) {
        partial[r].sum *= correction;
        for (std::int64_t i = 0; i < dim; ++i)
          acc[r * dim + i] *= correction;
      }
      partial[r].max = largest;
      partial[r].sum += k.exp_sum(row + begin, end - begin, scale, largest);
    }
    const float* value_rows = values.get(cache.values, at, n, decoded.data());
    for (std::int64_t r = 0; r < rows; ++r) // unseen positions have weight 0
      k.weighted_sum(scores.data() + r * block, value_rows, n, dim, acc + r * dim);
  }
}

} // namespace

void attention(const float* q, std::int64_t first, std::int64_t tokens, std::int64_t heads,
               const KvCache& cache, float scale, float* out, std::int64_t window, float softcap) {
  assert(heads % cache.kv_heads == 0 && first + tokens <= cache.capacity);
  Shape s{q,      first, tokens, heads, window, cache.key_layout.head_dim, heads / cache.kv_heads,
          &cache, scale, softcap};
  const std::int64_t dim = s.head_dim, kv_heads = cache.kv_heads;
  const std::int64_t step = std::max<std::int64_t>(1, task_rows / s.group);
  const std::int64_t token_blocks = (tokens + step - 1) / step;
  // Few tokens give too few tasks: cut the positions too. The cut depends on nothing but the
  // request, so that results do not depend on threads.
  const std::int64_t low = s.lowest(0) / part_size * part_size, high = first + tokens;
  const std::int64_t size =
      tokens <= few_tokens ? part_size : std::max<std::int64_t>(1, high - low);
  const std::int64_t parts = std::max<std::int64_t>(1, (high - low + size - 1) / size);
  const std::int64_t most_rows = std::min(step, tokens) * s.group;
  const std::int64_t blocks = token_blocks * kv_heads;
  std::vector<Partial> partial(std::size_t(blocks * parts * most_rows));
  std::vector<float> acc(std::size_t(blocks * parts * most_rows * dim));
  parallel_for(blocks * parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t part = task % parts, kv_head = task / parts % kv_heads;
      const std::int64_t token = task / parts / kv_heads * step;
      const std::int64_t n_tokens = std::min(step, tokens - token);
      const std::int64_t from = std::max(low + part * size, s.lowest(token));
      const std::int64_t to = std::min(low + (part + 1) * size, first + token + n_tokens);
      run(s, kv_head, token, n_tokens, from, to, partial.data() + task * most_rows,
          acc.data() + task * most_rows * dim);
    }
  });
  parallel_for(
      blocks, std::max<std::int64_t>(1, 16384 / (most_rows * dim)),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
          const std::int64_t kv_head = b % kv_heads, token = b / kv_heads * step;
          const std::int64_t rows = std::min(step, tokens - token) * s.group;
          for (std::int64_t r = 0; r < rows; ++r) {
            float* to =
                out + ((token + r / s.group) * heads + kv_head * s.group + r % s.group) * dim;
            float largest = -std::numeric_limits<float>::infinity();
            for (std::int64_t p = 0; p < parts; ++p)
              largest =
                  std::max(largest, partial[std::size_t((b * parts + p) * most_rows + r)].max);
            std::fill_n(to, dim, 0.0f);
            float sum = 0;
            for (std::int64_t p = 0; p < parts; ++p) {
              const std::int64_t at = (b * parts + p) * most_rows + r;
              const Partial& found = partial[std::size_t(at)];
              if (found.sum == 0.0f)
                continue;
              const float weight = std::exp(found.max - largest);
              sum += weight * found.sum;
              for (std::int64_t j = 0; j < dim; ++j)
                to[j] += weight * acc[std::size_t(at * dim + j)];
            }
            const float inverse = 1.0f / sum;
            for (std::int64_t j = 0; j < dim; ++j)
              to[j] *= inverse;
          }
        }
      });
}

} // namespace bitlathe
