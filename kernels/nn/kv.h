// SPDX-License-Identifier: Apache-2.0
// How keys and values are kept. One "row" is the key (or value) vector of one head at one
// position, head_dim values:
//   f32      head_dim f32
//   f16      head_dim halves
//   int8     f32 scale (absmax / 127, 1 for a zero row), head_dim signed codes
//   int4     per group of 32 values (the last may be shorter): f16 scale, one byte zero point,
//            ceil(n / 2) bytes of nibbles, low first; asymmetric (kernels/quant/int_grid.h)
//   q8_0     GGUF blocks of 32; head_dim must be a multiple of 32
//   q4_0     likewise
//   f8_e4m3  f32 scale (absmax / 448, 1 for a zero row), head_dim E4M3 codes
//   f8_e4m3-static  head_dim E4M3 codes; one f32 scale for all rows (KvLayout::scale)
// What lies beyond f16, or beyond 448 static scales, becomes the largest value there is. Rows do
// not depend on each other, so a cache can be cut at any position.
#pragma once

#include "kernels/base/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace bitlathe {

struct KvType; // one of the storages above

struct KvLayout {
  const KvType* type = nullptr;
  std::int64_t head_dim = 0, row_bytes = 0;
  float scale = 0; ///< of a static scheme
};

std::vector<std::string_view> kv_layout_ids();
/// Errors: "bad-argument" for an unknown id, "unsupported" when head_dim does not fit it.
Result<KvLayout> kv_layout(std::string_view id, std::int64_t head_dim);
std::string_view kv_layout_id(const KvLayout& layout);
/// Whether a scheme needs a calibrated scale. False for unknown ids.
bool kv_is_static(std::string_view id);
/// The static scale for rows whose largest magnitude is `absmax`.
float kv_static_scale(float absmax);

/// What went into a cache, added up over calls of store().
struct KvCounts {
  float key_absmax = 0, value_absmax = 0; ///< of finite values
  std::uint64_t rows = 0;                 ///< of keys; as many of values
  std::uint64_t broken = 0;               ///< rows of either with NaN or infinite values
  std::uint64_t clipped = 0;              ///< rows of either with values beyond what can be stored
};

/// n consecutive rows.
void encode_kv_rows(const KvLayout& layout, const float* in, std::int64_t n, std::byte* out);
void decode_kv_rows(const KvLayout& layout, const std::byte* in, std::int64_t n, float* out);

/// Keys and values of one transformer layer for one sequence. Rows of one head are contiguous over
/// positions: keys[(kv_head * capacity + position) * row_bytes].
struct KvCache {
  KvLayout key_layout, value_layout;
  std::int64_t kv_heads = 0, capacity = 0;
  std::vector<std::byte> keys, values;
  std::shared_ptr<KvCounts> counts; ///< may be null

  /// Errors as kv_layout(), and "bad-argument" for a static scheme without a scale.
  static Result<KvCache> create(std::string_view key_id, std::string_view value_id,
                                std::int64_t kv_heads, std::int64_t head_dim, std::int64_t capacity,
                                float key_scale = 0, float value_scale = 0);
  /// The same with room for another number of positions, the first `used` of them copied.
  Result<KvCache> resized(std::int64_t new_capacity, std::int64_t used) const;
  /// Writes positions first .. first + tokens - 1; k and v are [tokens][kv_heads * head_dim].
  /// Needs first + tokens <= capacity.
  void store(std::int64_t first, std::int64_t tokens, const float* k, const float* v);
  std::uint64_t bytes() const { return keys.size() + values.size(); }
};

} // namespace bitlathe
