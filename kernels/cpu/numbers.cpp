// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

template <F (*load_16)(const void*)>
BITLATHE_INLINE void widen(const std::uint8_t* in, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width)
    store(out + i, load_16(in + i * 2));
  if (i < n) {
    std::uint8_t tail[2 * width] = {};
    float values[width];
    __builtin_memcpy(tail, in + i * 2, std::size_t(n - i) * 2);
    store(values, load_16(tail));
    __builtin_memcpy(out + i, values, std::size_t(n - i) * 4);
  }
}

template <void (*store_16)(void*, F)>
BITLATHE_INLINE void narrow(const float* in, std::int64_t n, std::uint8_t* out) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width)
    store_16(out + i * 2, load(in + i));
  if (i < n) {
    float values[width] = {};
    std::uint8_t tail[2 * width];
    __builtin_memcpy(values, in + i, std::size_t(n - i) * 4);
    store_16(tail, load(values));
    __builtin_memcpy(out + i * 2, tail, std::size_t(n - i) * 2);
  }
}

} // namespace

void to_f32(int type, const void* in, std::int64_t n, float* out) {
  if (type == type_f32)
    __builtin_memcpy(out, in, std::size_t(n) * 4);
  else if (type == type_f16)
    widen<load_f16>(static_cast<const std::uint8_t*>(in), n, out);
  else
    widen<load_bf16>(static_cast<const std::uint8_t*>(in), n, out);
}

void from_f32(int type, const float* in, std::int64_t n, void* out) {
  if (type == type_f32)
    __builtin_memcpy(out, in, std::size_t(n) * 4);
  else if (type == type_f16)
    narrow<store_f16>(in, n, static_cast<std::uint8_t*>(out));
  else
    narrow<store_bf16>(in, n, static_cast<std::uint8_t*>(out));
}

} // namespace bitlathe::cpu::BITLATHE_ISA
