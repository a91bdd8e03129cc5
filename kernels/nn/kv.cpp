// SPDX-License-Identifier: Apache-2.0
#include "kernels/nn/kv.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/int_grid.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace bitlathe {

struct KvType {
  std::string_view id;
  std::int64_t multiple; ///< head_dim must be a multiple of this
  std::int64_t (*row_bytes)(std::int64_t head_dim);
  void (*encode)(const cpu::Kernels&, const float* in, std::int64_t n, float scale,
                 std::uint8_t* out);
  void (*decode)(const cpu::Kernels&, const std::uint8_t* in, std::int64_t n, float scale,
                 float* out);
  bool is_static = false;
  /// The largest magnitude that can be stored, in units of the static scale if there is one.
  float largest = std::numeric_limits<float>::max();
};

namespace {

using cpu::Kernels;
constexpr std::int64_t int4_group = 32;

float absmax(const float* x, std::int64_t n) {
  float largest = 0;
  for (std::int64_t i = 0; i < n; ++i)
    largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  return largest;
}

void encode_int8(const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
  const IntGrid grid = make_int_grid(0, absmax(in, n), 8, true, FloatType::f32);
  std::memcpy(out, &grid.scale, 4);
  k.encode(in, n, grid.inverse, grid.zero, 8, out + 4);
}

void decode_int8(const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
  float scale;
  std::memcpy(&scale, in, 4);
  k.dequantize(in + 4, n, scale, 128, out);
}

std::int64_t int4_bytes(std::int64_t n) {
  const std::int64_t rest = n % int4_group;
  return n / int4_group * (3 + int4_group / 2) + (rest ? 3 + (rest + 1) / 2 : 0);
}

void encode_int4(const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n; i += int4_group) {
    const std::int64_t count = std::min(int4_group, n - i);
    float lo, hi;
    k.range(in + i, count, &lo, &hi);
    const IntGrid grid = make_int_grid(lo, hi, 4, false, FloatType::f16);
    std::uint8_t codes[int4_group] = {};
    k.encode(in + i, count, grid.inverse, grid.zero, 4, codes);
    const std::uint16_t scale = f32_to_f16(grid.scale);
    std::memcpy(out, &scale, 2);
    out[2] = std::uint8_t(grid.zero);
    for (std::int64_t j = 0; j < (count + 1) / 2; ++j)
      out[3 + j] = std::uint8_t(codes[2 * j] | codes[2 * j + 1] << 4);
    out += 3 + (count + 1) / 2;
  }
}

void decode_int4(const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
  for (std::int64_t i = 0; i < n; i += int4_group) {
    const std::int64_t count = std::min(int4_group, n - i);
    std::uint16_t scale;
    std::memcpy(&scale, in, 2);
    std::uint8_t codes[int4_group];
    for (std::int64_t j = 0; j < (count + 1) / 2; ++j) {
      codes[2 * j] = in[3 + j] & 15;
      codes[2 * j + 1] = std::uint8_t(in[3 + j] >> 4);
    }
    k.dequantize(codes, count, f16_to_f32(scale), in[2], out + i);
    in += 3 + (count + 1) / 2;
  }
}

void encode_f16(const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
  constexpr float largest = 65504.0f;
  if (!(absmax(in, n) > largest))
    return k.from_f32(cpu::type_f16, in, n, out);
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = std::isnan(in[i]) ? in[i] : std::clamp(in[i], -largest, largest);
    const std::uint16_t half = f32_to_f16(value);
    std::memcpy(out + 2 * i, &half, 2);
  }
}

/// The values of all codes.
const std::array<float, 256>& e4m3_values() {
  static const auto values = [] {
    std::array<float, 256> out{};
    for (std::size_t code = 0; code < out.size(); ++code)
      out[code] = f8_e4m3_to_f32(std::uint8_t(code));
    return out;
  }();
  return values;
}

void encode_f8_static(const Kernels&, const float* in, std::int64_t n, float scale,
                      std::uint8_t* out) {
  const float inverse = 1.0f / scale;
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = f32_to_f8_e4m3(in[i] * inverse);
}

void decode_f8_static(const Kernels&, const std::uint8_t* in, std::int64_t n, float scale,
                      float* out) {
  const auto& values = e4m3_values();
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = scale * values[in[i]];
}

void encode_f8(const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
  const float scale = activation_scale(absmax(in, n), 448.0f);
  std::memcpy(out, &scale, 4);
  encode_f8_static(k, in, n, scale, out + 4);
}

void decode_f8(const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
  float scale;
  std::memcpy(&scale, in, 4);
  decode_f8_static(k, in + 4, n, scale, out);
}

constexpr KvType types[] = {
    {"f32", 1, [](std::int64_t n) { return n * 4; },
     [](const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
       k.from_f32(cpu::type_f32, in, n, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
       k.to_f32(cpu::type_f32, in, n, out);
     }},
    {"f16", 1, [](std::int64_t n) { return n * 2; }, encode_f16,
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
       k.to_f32(cpu::type_f16, in, n, out);
     },
     false, 65504.0f},
    {"int8", 1, [](std::int64_t n) { return n + 4; }, encode_int8, decode_int8},
    {"int4", 1, int4_bytes, encode_int4, decode_int4},
    {"q8_0", 32, [](std::int64_t n) { return n / 32 * 34; },
     [](const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
       k.encode_q8_0(in, n / 32, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
       k.q8_0.decode(in, n / 32, out);
     }},
    {"q4_0", 32, [](std::int64_t n) { return n / 32 * 18; },
     [](const Kernels& k, const float* in, std::int64_t n, float, std::uint8_t* out) {
       k.encode_q4_0(in, n / 32, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float, float* out) {
       k.q4_0.decode(in, n / 32, out);
     }},
    {"f8_e4m3", 1, [](std::int64_t n) { return n + 4; }, encode_f8, decode_f8},
    {"f8_e4m3-static", 1, [](std::int64_t n) { return n; }, encode_f8_static, decode_f8_static,
     true, 448.0f}};

} // namespace

std::vector<std::string_view> kv_layout_ids() {
  std::vector<std::string_view> ids;
  for (const KvType& type : types)
    ids.push_back(type.id);
  return ids;
}

Result<KvLayout> kv_layout(std::string_view id, std::int64_t head_dim) {
  std::string known;
  for (const KvType& type : types) {
    known += (known.empty() ? "" : ", ") + std::string(type.id);
    if (type.id != id)
      continue;
    if (head_dim % type.multiple != 0)
      return Error{"unsupported",
                   "The KV cache cannot be stored as " + std::string(id) + ": heads of " +
                       std::to_string(head_dim) + " values do not divide into blocks of " +
                       std::to_string(type.multiple),
                   {}};
    return KvLayout{&type, head_dim, type.row_bytes(head_dim)};
  }
  return Error{"bad-argument",
               "There is no KV scheme \"" + std::string(id) + "\"; it must be one of " + known,
               {}};
}

std::string_view kv_layout_id(const KvLayout& layout) {
  return layout.type ? layout.type->id : std::string_view();
}

bool kv_is_static(std::string_view id) {
  return std::any_of(std::begin(types), std::end(types),
                     [&](const KvType& type) { return type.id == id && type.is_static; });
}

float kv_static_scale(float absmax) { return activation_scale(absmax, 448.0f); }

void encode_kv_rows(const KvLayout& layout, const float* in, std::int64_t n, std::byte* out) {
  const auto& kernels = active_cpu_kernels();
  for (std::int64_t i = 0; i < n; ++i)
    layout.type->encode(kernels, in + i * layout.head_dim, layout.head_dim, layout.scale,
                        reinterpret_cast<std::uint8_t*>(out) + i * layout.row_bytes);
}

void decode_kv_rows(const KvLayout& layout, const std::byte* in, std::int64_t n, float* out) {
  const auto& kernels = active_cpu_kernels();
  for (std::int64_t i = 0; i < n; ++i)
    layout.type->decode(kernels, reinterpret_cast<const std::uint8_t*>(in) + i * layout.row_bytes,
                        layout.head_dim, layout.scale, out + i * layout.head_dim);
}

namespace {

Result<KvLayout> scaled_layout(std::string_view id, std::int64_t head_dim, float scale) {
  TRY_ASSIGN(KvLayout layout, kv_layout(id, head_dim));
  if (!layout.type->is_static)
    return layout;
  if (!(scale > 0) || !std::isfinite(scale))
    return Error{"bad-argument",
                 "The KV scheme " + std::string(id) +
                     " needs a calibrated scale for the keys and values of every layer",
                 {}};
  layout.scale = scale;
  return layout;
}

/// Adds the rows of one side to what is known of the cache.
void count_rows(const KvLayout& layout, std::span<const TokenScan> rows, float& absmax,
                KvCounts& counts) {
  const double largest =
      double(layout.type->largest) * (layout.type->is_static ? double(layout.scale) : 1.0);
  for (const TokenScan& row : rows) {
    absmax = std::max(absmax, row.absmax);
    counts.broken += !row.finite();
    counts.clipped += double(row.absmax) > largest;
  }
}

} // namespace

Result<KvCache> KvCache::create(std::string_view key_id, std::string_view value_id,
                                std::int64_t kv_heads, std::int64_t head_dim, std::int64_t capacity,
                                float key_scale, float value_scale) {
  KvCache cache;
  TRY_ASSIGN(cache.key_layout, scaled_layout(key_id, head_dim, key_scale));
  TRY_ASSIGN(cache.value_layout, scaled_layout(value_id, head_dim, value_scale));
  cache.kv_heads = kv_heads;
  cache.capacity = capacity;
  std::int64_t rows = 0, key_bytes = 0, value_bytes = 0;
  if (__builtin_mul_overflow(kv_heads, capacity, &rows) ||
      __builtin_mul_overflow(rows, cache.key_layout.row_bytes, &key_bytes) ||
      __builtin_mul_overflow(rows, cache.value_layout.row_bytes, &value_bytes))
    return Error{"out-of-memory",
                 "A KV cache for " + std::to_string(capacity) + " tokens is larger than any memory",
                 {}};
  cache.keys.resize(std::size_t(key_bytes));
  cache.values.resize(std::size_t(value_bytes));
  return cache;
}

Result<KvCache> KvCache::resized(std::int64_t new_capacity, std::int64_t used) const {
  assert(used <= capacity && used <= new_capacity);
  TRY_ASSIGN(KvCache out,
             create(kv_layout_id(key_layout), kv_layout_id(value_layout), kv_heads,
                    key_layout.head_dim, new_capacity, key_layout.scale, value_layout.scale));
  out.counts = counts;
  const auto copy = [&](const KvLayout& layout, const std::vector<std::byte>& from,
                        std::vector<std::byte>& to) {
    for (std::int64_t head = 0; head < kv_heads; ++head)
      std::copy_n(from.begin() + head * capacity * layout.row_bytes, used * layout.row_bytes,
                  to.begin() + head * new_capacity * layout.row_bytes);
  };
  copy(key_layout, keys, out.keys);
  copy(value_layout, values, out.values);
  return out;
}

void KvCache::store(std::int64_t first, std::int64_t tokens, const float* k, const float* v) {
  assert(first >= 0 && first + tokens <= capacity);
  const std::int64_t head_dim = key_layout.head_dim;
  if (counts) {
    std::vector<TokenScan> rows(std::size_t(tokens * kv_heads));
    scan_tokens(k, head_dim, rows);
    count_rows(key_layout, rows, counts->key_absmax, *counts);
    scan_tokens(v, head_dim, rows);
    count_rows(value_layout, rows, counts->value_absmax, *counts);
    counts->rows += rows.size();
  }
  parallel_for(tokens * kv_heads, std::max<std::int64_t>(1, 16384 / head_dim),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t token = i / kv_heads, head = i % kv_heads;
                   const std::int64_t row = head * capacity + first + token;
                   encode_kv_rows(key_layout, k + i * head_dim, 1,
                                  keys.data() + row * key_layout.row_bytes);
                   encode_kv_rows(value_layout, v + i * head_dim, 1,
                                  values.data() + row * value_layout.row_bytes);
                 }
               });
}

} // namespace bitlathe
