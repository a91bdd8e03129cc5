// SPDX-License-Identifier: Apache-2.0
#include "kernels/nn/kv.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"
#include "kernels/quant/int_grid.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <string>

namespace bitlathe {

struct KvType {
  std::string_view id;
  std::int64_t multiple; ///< head_dim must be a multiple of this
  std::int64_t (*row_bytes)(std::int64_t head_dim);
  void (*encode)(const cpu::Kernels&, const float* in, std::int64_t n, std::uint8_t* out);
  void (*decode)(const cpu::Kernels&, const std::uint8_t* in, std::int64_t n, float* out);
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

void encode_int8(const Kernels& k, const float* in, std::int64_t n, std::uint8_t* out) {
  const IntGrid grid = make_int_grid(0, absmax(in, n), 8, true, FloatType::f32);
  std::memcpy(out, &grid.scale, 4);
  k.encode(in, n, grid.inverse, grid.zero, 8, out + 4);
}

void decode_int8(const Kernels& k, const std::uint8_t* in, std::int64_t n, float* out) {
  float scale;
  std::memcpy(&scale, in, 4);
  k.dequantize(in + 4, n, scale, 128, out);
}

std::int64_t int4_bytes(std::int64_t n) {
  const std::int64_t rest = n % int4_group;
  return n / int4_group * (3 + int4_group / 2) + (rest ? 3 + (rest + 1) / 2 : 0);
}

void encode_int4(const Kernels& k, const float* in, std::int64_t n, std::uint8_t* out) {
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

void decode_int4(const Kernels& k, const std::uint8_t* in, std::int64_t n, float* out) {
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

void encode_f8(const Kernels&, const float* in, std::int64_t n, std::uint8_t* out) {
  const float largest = absmax(in, n);
  const float scale = largest > 0 ? largest / 448.0f : 1.0f, inverse = 1.0f / scale;
  std::memcpy(out, &scale, 4);
  for (std::int64_t i = 0; i < n; ++i)
    out[4 + i] = f32_to_f8_e4m3(in[i] * inverse);
}

void decode_f8(const Kernels&, const std::uint8_t* in, std::int64_t n, float* out) {
  float scale;
  std::memcpy(&scale, in, 4);
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = scale * f8_e4m3_to_f32(in[4 + i]);
}

constexpr KvType types[] = {
    {"f32", 1, [](std::int64_t n) { return n * 4; },
     [](const Kernels& k, const float* in, std::int64_t n, std::uint8_t* out) {
       k.from_f32(cpu::type_f32, in, n, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float* out) {
       k.to_f32(cpu::type_f32, in, n, out);
     }},
    {"f16", 1, [](std::int64_t n) { return n * 2; },
     [](const Kernels& k, const float* in, std::int64_t n, std::uint8_t* out) {
       k.from_f32(cpu::type_f16, in, n, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float* out) {
       k.to_f32(cpu::type_f16, in, n, out);
     }},
    {"int8", 1, [](std::int64_t n) { return n + 4; }, encode_int8, decode_int8},
    {"int4", 1, int4_bytes, encode_int4, decode_int4},
    {"q8_0", 32, [](std::int64_t n) { return n / 32 * 34; },
     [](const Kernels& k, const float* in, std::int64_t n, std::uint8_t* out) {
       k.encode_q8_0(in, n / 32, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float* out) {
       k.q8_0.decode(in, n / 32, out);
     }},
    {"q4_0", 32, [](std::int64_t n) { return n / 32 * 18; },
     [](const Kernels& k, const float* in, std::int64_t n, std::uint8_t* out) {
       k.encode_q4_0(in, n / 32, out);
     },
     [](const Kernels& k, const std::uint8_t* in, std::int64_t n, float* out) {
       k.q4_0.decode(in, n / 32, out);
     }},
    {"f8_e4m3", 1, [](std::int64_t n) { return n + 4; }, encode_f8, decode_f8}};

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

void encode_kv_rows(const KvLayout& layout, const float* in, std::int64_t n, std::byte* out) {
  const auto& kernels = active_cpu_kernels();
  for (std::int64_t i = 0; i < n; ++i)
    layout.type->encode(kernels, in + i * layout.head_dim, layout.head_dim,
                        reinterpret_cast<std::uint8_t*>(out) + i * layout.row_bytes);
}

void decode_kv_rows(const KvLayout& layout, const std::byte* in, std::int64_t n, float* out) {
  const auto& kernels = active_cpu_kernels();
  for (std::int64_t i = 0; i < n; ++i)
    layout.type->decode(kernels, reinterpret_cast<const std::uint8_t*>(in) + i * layout.row_bytes,
                        layout.head_dim, out + i * layout.head_dim);
}

Result<KvCache> KvCache::create(std::string_view key_id, std::string_view value_id,
                                std::int64_t kv_heads, std::int64_t head_dim,
                                std::int64_t capacity) {
  KvCache cache;
  TRY_ASSIGN(cache.key_layout, kv_layout(key_id, head_dim));
  TRY_ASSIGN(cache.value_layout, kv_layout(value_id, head_dim));
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

void KvCache::store(std::int64_t first, std::int64_t tokens, const float* k, const float* v) {
  assert(first >= 0 && first + tokens <= capacity);
  const std::int64_t head_dim = key_layout.head_dim;
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
