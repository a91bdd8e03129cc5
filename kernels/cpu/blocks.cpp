// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

/// 0 .. most, truncated; also for values outside.
BITLATHE_INLINE I limited(F code, float most) {
  return trunc_i(min(max(code, zero_f()), set1(most)));
}

/// Sixteen bytes: codes of elements 0..15 in the low nibbles, 16..31 in the high ones.
BITLATHE_INLINE void put_nibbles(std::uint8_t* out, I low, I high) {
  store_u8(out, low + shift_left(high, 4));
}

struct Nibbles {
  I low, high;
};
BITLATHE_INLINE Nibbles get_nibbles(const std::uint8_t* in) {
  const __m128i p = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
  const __m128i mask = _mm_set1_epi8(15);
  alignas(16) std::uint8_t low[16], high[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(low), _mm_and_si128(p, mask));
  _mm_store_si128(reinterpret_cast<__m128i*>(high), _mm_and_si128(_mm_srli_epi16(p, 4), mask));
  return {load_u8(low), load_u8(high)};
}

BITLATHE_INLINE float inverse_of(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/// round(|v|) half away from zero, limited to 127, with v's sign.
BITLATHE_INLINE I away(F v) {
  const F magnitude = min(abs(v), set1(127.0f));
  const I whole = trunc_i(magnitude);
  const unsigned up = less_equal(set1(0.5f), magnitude - to_f(whole));
  const I code = select(up, whole, whole + set1i(1));
  return select(less_equal(zero_f(), v), set1i(0) - code, code);
}

} // namespace

void decode_q8_0(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 34, out += 32) {
    const F d = set1(half_to_f32(b));
    store(out, to_f(load_i8(b + 2)) * d);
    store(out + 16, to_f(load_i8(b + 18)) * d);
  }
}

void decode_q4_0(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  const I eight = set1i(8);
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 18, out += 32) {
    const F d = set1(half_to_f32(b));
    const Nibbles q = get_nibbles(b + 2);
    store(out, to_f(q.low - eight) * d);
    store(out + 16, to_f(q.high - eight) * d);
  }
}

void encode_q8_0(const float* x, std::int64_t n_blocks, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, x += 32, out += 34) {
    const F a = load(x), b = load(x + 16);
    const float d = max_lanes(max(abs(a), abs(b))) / 127.0f;
    const F id = set1(inverse_of(d));
    put_half(out, d);
    store_u8(out + 2, away(a * id));
    store_u8(out + 18, away(b * id));
  }
}

void encode_q4_0(const float* x, std::int64_t n_blocks, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, x += 32, out += 18) {
    const F a = load(x), b = load(x + 16);
    const float most = max_lanes(max(abs(a), abs(b)));
    // The first of equal magnitudes decides the sign; zeros count as +0.
    const unsigned found = equal(abs(a), set1(most)) | equal(abs(b), set1(most)) << 16;
    const float d = (found && most > 0.0f ? x[__builtin_ctz(found)] : 0.0f) / -8.0f;
    const F id = set1(inverse_of(d)), half = set1(8.5f);
    put_half(out, d);
    put_nibbles(out + 2, limited(a * id + half, 15.0f), limited(b * id + half, 15.0f));
  }
}

void encode_q4_1(const float* x, std::int64_t n_blocks, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, x += 32, out += 20) {
    const F a = load(x), b = load(x + 16);
    float lo = min_lanes(min(a, b));
    const float hi = max_lanes(max(a, b));
    const unsigned found = equal(a, set1(lo)) | equal(b, set1(lo)) << 16;
    lo = found ? x[__builtin_ctz(found)] : lo; // the sign of a zero minimum is the first zero's
    const float d = (hi - lo) / 15.0f + 0.0f;  // not -0
    const F id = set1(inverse_of(d)), low = set1(lo), half = set1(0.5f);
    put_half(out, d);
    put_half(out + 2, lo);
    put_nibbles(out + 4, limited((a - low) * id + half, 15.0f),
                limited((b - low) * id + half, 15.0f));
  }
}

} // namespace bitlathe::cpu::BITLATHE_ISA
