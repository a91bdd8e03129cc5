// SPDX-License-Identifier: Apache-2.0
// GGUF blocks of 32 and 64 values; the layouts in kernels/layouts say what the bytes are.
#include "kernels/cpu/block_sinks.h"
#include "kernels/cpu/families.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

BITLATHE_INLINE unsigned bits_32(const std::uint8_t* p) {
  unsigned bits;
  __builtin_memcpy(&bits, p, 4);
  return bits;
}

struct Q4_1 {
  static constexpr int columns = 32, bytes = 20;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const F d = set1(half_to_f32(b)), m = set1(half_to_f32(b + 2));
    const __m128i q = bytes_16(b + 4);
    sink.template put<0>(0, to_f(lanes_u8(low_nibbles(q))) * d + m);
    sink.template put<1>(16, to_f(lanes_u8(high_nibbles(q))) * d + m);
  }
};

struct Q5_0 {
  static constexpr int columns = 32, bytes = 22;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const F d = set1(half_to_f32(b));
    const unsigned fifth = bits_32(b + 2);
    const __m128i q = bytes_16(b + 6);
    const I low = lanes_u8(low_nibbles(q)), high = lanes_u8(high_nibbles(q)), sixteen = set1i(16);
    // Without the fifth bit a code is below 16: q - 16; with it q + 16 - 16.
    sink.template put<0>(0, to_f(select(fifth & 0xffff, low - sixteen, low)) * d);
    sink.template put<1>(16, to_f(select(fifth >> 16, high - sixteen, high)) * d);
  }
};

struct Q5_1 {
  static constexpr int columns = 32, bytes = 24;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const F d = set1(half_to_f32(b)), m = set1(half_to_f32(b + 2));
    const unsigned fifth = bits_32(b + 4);
    const __m128i q = bytes_16(b + 8);
    const I low = lanes_u8(low_nibbles(q)), high = lanes_u8(high_nibbles(q)), sixteen = set1i(16);
    sink.template put<0>(0, to_f(select(fifth & 0xffff, low, low + sixteen)) * d + m);
    sink.template put<1>(16, to_f(select(fifth >> 16, high, high + sixteen)) * d + m);
  }
};

struct Iq4Nl {
  static constexpr int columns = 32, bytes = 18;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const F d = set1(half_to_f32(b));
    const __m128i q = bytes_16(b + 2);
    sink.template put<0>(0, look_up(iq4_table(), low_nibbles(q)) * d);
    sink.template put<1>(16, look_up(iq4_table(), high_nibbles(q)) * d);
  }
};

struct Mxfp4 {
  static constexpr int columns = 32, bytes = 17;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const unsigned bits = b[0] < 2 ? 0x200000u << b[0] : unsigned(b[0] - 1) << 23;
    const F d = as_f(set1i(int(bits)));
    const __m128i q = bytes_16(b + 1);
    sink.template put<0>(0, look_up(e2m1_table(), low_nibbles(q)) * d);
    sink.template put<1>(16, look_up(e2m1_table(), high_nibbles(q)) * d);
  }
};

struct Nvfp4 {
  static constexpr int columns = 64, bytes = 36;
  /// Half of an unsigned E4M3 number.
  BITLATHE_INLINE float scale_of(unsigned code) {
    const unsigned magnitude = code & 0x7f, exponent = magnitude >> 3;
    if (code == 0x7f)
      return 0;
    if (exponent == 0)
      return float(magnitude) * 0x1p-10f;
    const unsigned bits = (exponent + 119) << 23 | (magnitude & 7) << 20;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
  }
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const __m128i first = bytes_16(b + 4), second = bytes_16(b + 20);
    const auto part = [&](__m128i q, bool upper) __attribute__((always_inline)) {
      const __m128i low = low_nibbles(q), high = high_nibbles(q);
      return look_up(e2m1_table(),
                     upper ? _mm_unpackhi_epi64(low, high) : _mm_unpacklo_epi64(low, high));
    };
    sink.template put<0>(0, part(first, false) * set1(scale_of(b[0])));
    sink.template put<1>(16, part(first, true) * set1(scale_of(b[1])));
    sink.template put<2>(32, part(second, false) * set1(scale_of(b[2])));
    sink.template put<3>(48, part(second, true) * set1(scale_of(b[3])));
  }
};

} // namespace

#define BITLATHE_BLOCK_TYPE(name, Type)                                                            \
  void decode_##name(const std::uint8_t* blocks, std::int64_t n, float* out) {                     \
    decode_all<Type>(blocks, n, out);                                                              \
  }                                                                                                \
  float dot_##name(const std::uint8_t* blocks, const float* x, const float*, std::int64_t n) {     \
    return dot_all<Type>(blocks, x, n);                                                            \
  }
BITLATHE_BLOCK_TYPE(q4_1, Q4_1)
BITLATHE_BLOCK_TYPE(q5_0, Q5_0)
BITLATHE_BLOCK_TYPE(q5_1, Q5_1)
BITLATHE_BLOCK_TYPE(iq4_nl, Iq4Nl)
BITLATHE_BLOCK_TYPE(mxfp4, Mxfp4)
BITLATHE_BLOCK_TYPE(nvfp4, Nvfp4)
#undef BITLATHE_BLOCK_TYPE

} // namespace bitlathe::cpu::BITLATHE_ISA
