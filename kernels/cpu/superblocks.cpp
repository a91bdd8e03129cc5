// SPDX-License-Identifier: Apache-2.0
// GGUF blocks of 256 values; the layouts in kernels/layouts say what the bytes are.
#include "kernels/cpu/block_sinks.h"
#include "kernels/cpu/families.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

BITLATHE_INLINE unsigned word(const std::uint8_t* p) {
  unsigned bits;
  __builtin_memcpy(&bits, p, 4);
  return bits;
}

/// Sixteen bytes in four words, as floats.
BITLATHE_INLINE F small_numbers(unsigned a, unsigned b, unsigned c, unsigned d) {
  return to_f(lanes_u8(_mm_setr_epi32(int(a), int(b), int(c), int(d))));
}

/// q4_k and q5_k: d * scale of the eight 32s, then dmin * minimum of each.
BITLATHE_INLINE void scales_and_minima(const std::uint8_t* b, float* out) {
  const unsigned s0 = word(b + 4), s1 = word(b + 8), s2 = word(b + 12);
  constexpr unsigned six = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x03030303;
  const F numbers = small_numbers(s0 & six, (s2 & four) | ((s0 >> 6) & two) << 4, s1 & six,
                                  ((s2 >> 4) & four) | ((s1 >> 6) & two) << 4);
  const float d = half_to_f32(b), dmin = half_to_f32(b + 2);
#if defined(__AVX512F__)
  const F factor{_mm512_mask_blend_ps(0xff00, _mm512_set1_ps(d), _mm512_set1_ps(dmin))};
#else
  const F factor{_mm256_set1_ps(d), _mm256_set1_ps(dmin)};
#endif
  store(out, factor * numbers);
}

/// Lanes 8 to 15 of what scales_and_minima() wrote, each twice.
BITLATHE_INLINE F minima_twice(const float* scale) {
#if defined(__AVX512F__)
  const __m512i twice =
      _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
  return {_mm512_permutexvar_ps(twice, load(scale).v)};
#else
  const __m256 minima = load(scale).b;
  return {_mm256_permutevar8x32_ps(minima, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
          _mm256_permutevar8x32_ps(minima, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7))};
#endif
}

struct Q4K {
  static constexpr int columns = 256, bytes = 144;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    alignas(64) float scale[16];
    scales_and_minima(b, scale);
    const I mask = set1i(15);
    for (int g = 0; g < 4; ++g) {
      const I first = load_u8(b + 16 + 32 * g), second = load_u8(b + 32 + 32 * g);
      const F d0 = set1(scale[2 * g]), m0 = set1(scale[2 * g + 8]);
      sink.template put<0>(64 * g, d0 * to_f(first & mask) - m0);
      sink.template put<1>(64 * g + 16, d0 * to_f(second & mask) - m0);
      const F d1 = set1(scale[2 * g + 1]), m1 = set1(scale[2 * g + 9]);
      sink.template put<2>(64 * g + 32, d1 * to_f(shift_right(first, 4)) - m1);
      sink.template put<3>(64 * g + 48, d1 * to_f(shift_right(second, 4)) - m1);
    }
  }
};

struct Q5K {
  static constexpr int columns = 256, bytes = 176;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    alignas(64) float scale[16];
    scales_and_minima(b, scale);
    const I mask = set1i(15), sixteen = set1i(16);
    I fifth_a = shift_left(load_u8(b + 16), 4), fifth_b = shift_left(load_u8(b + 32), 4);
    for (int g = 0; g < 4; ++g) {
      const I first = load_u8(b + 48 + 32 * g), second = load_u8(b + 64 + 32 * g);
      const F d0 = set1(scale[2 * g]), m0 = set1(scale[2 * g + 8]);
      sink.template put<0>(64 * g, d0 * to_f((first & mask) | (fifth_a & sixteen)) - m0);
      sink.template put<1>(64 * g + 16, d0 * to_f((second & mask) | (fifth_b & sixteen)) - m0);
      fifth_a = shift_right(fifth_a, 1);
      fifth_b = shift_right(fifth_b, 1);
      const F d1 = set1(scale[2 * g + 1]), m1 = set1(scale[2 * g + 9]);
      sink.template put<2>(64 * g + 32,
                           d1 * to_f(shift_right(first, 4) | (fifth_a & sixteen)) - m1);
      sink.template put<3>(64 * g + 48,
                           d1 * to_f(shift_right(second, 4) | (fifth_b & sixteen)) - m1);
      fifth_a = shift_right(fifth_a, 1);
      fifth_b = shift_right(fifth_b, 1);
    }
  }
};

struct Q6K {
  static constexpr int columns = 256, bytes = 210;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    alignas(64) float scale[16];
    store(scale, set1(half_to_f32(b + 208)) * to_f(load_i8(b + 192)));
    const I low = set1i(15), high = set1i(48), middle = set1i(32);
    for (int h = 0; h < 2; ++h)
      for (int l = 0; l < 2; ++l) { // sixteen of every 32
        const I q0 = load_u8(b + 64 * h + 16 * l), q1 = load_u8(b + 64 * h + 32 + 16 * l);
        const I top = load_u8(b + 128 + 32 * h + 16 * l);
        const int at = 128 * h + 16 * l, s = 8 * h + l;
        const auto value = [&](I bits, int index) __attribute__((always_inline)) {
          return set1(scale[index]) * to_f(bits - middle);
        };
        sink.template put<0>(at, value((q0 & low) | (shift_left(top, 4) & high), s));
        sink.template put<1>(at + 32, value((q1 & low) | (shift_left(top, 2) & high), s + 2));
        sink.template put<2>(at + 64, value(shift_right(q0, 4) | (top & high), s + 4));
        sink.template put<3>(at + 96,
                             value(shift_right(q1, 4) | (shift_right(top, 2) & high), s + 6));
      }
  }
};

struct Q2K {
  static constexpr int columns = 256, bytes = 84;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    alignas(64) float scale[16], minimum[16];
    const __m128i packed = bytes_16(b);
    store(scale, set1(half_to_f32(b + 80)) * to_f(lanes_u8(low_nibbles(packed))));
    store(minimum, set1(half_to_f32(b + 82)) * to_f(lanes_u8(high_nibbles(packed))));
    const I mask = set1i(3);
    for (int h = 0; h < 2; ++h)
      for (int l = 0; l < 2; ++l) {
        const I q = load_u8(b + 16 + 32 * h + 16 * l);
        const int at = 128 * h + 16 * l, s = 8 * h + l;
        const auto value = [&](I code, int index) __attribute__((always_inline)) {
          return set1(scale[index]) * to_f(code & mask) - set1(minimum[index]);
        };
        sink.template put<0>(at, value(q, s));
        sink.template put<1>(at + 32, value(shift_right(q, 2), s + 2));
        sink.template put<2>(at + 64, value(shift_right(q, 4), s + 4));
        sink.template put<3>(at + 96, value(shift_right(q, 6), s + 6));
      }
  }
};

struct Q3K {
  static constexpr int columns = 256, bytes = 110;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    alignas(64) float scale[16];
    const unsigned s0 = word(b + 96), s1 = word(b + 100), top = word(b + 104);
    constexpr unsigned four = 0x0f0f0f0f, two = 0x03030303;
    const F numbers = small_numbers(
        (s0 & four) | (top & two) << 4, (s1 & four) | ((top >> 2) & two) << 4,
        ((s0 >> 4) & four) | ((top >> 4) & two) << 4, ((s1 >> 4) & four) | ((top >> 6) & two) << 4);
    store(scale, set1(half_to_f32(b + 108)) * (numbers - set1(32.0f)));
    const I mask = set1i(3), third = set1i(4);
    for (int h = 0; h < 2; ++h)
      for (int l = 0; l < 2; ++l) {
        const I q = load_u8(b + 32 + 32 * h + 16 * l);
        // The third bits of elements 128 h + 32 k at bit 2 + k; a set one takes away the minus 4.
        const I high = shift_right(shift_left(load_u8(b + 16 * l), 2), 4 * h);
        const int at = 128 * h + 16 * l, s = 8 * h + l;
        const auto value = [&](I low, I bit, int index) __attribute__((always_inline)) {
          return set1(scale[index]) * to_f(((low & mask) | (bit & third)) - third);
        };
        sink.template put<0>(at, value(q, high, s));
        sink.template put<1>(at + 32, value(shift_right(q, 2), shift_right(high, 1), s + 2));
        sink.template put<2>(at + 64, value(shift_right(q, 4), shift_right(high, 2), s + 4));
        sink.template put<3>(at + 96, value(shift_right(q, 6), shift_right(high, 3), s + 6));
      }
  }
};

struct Iq4Xs {
  static constexpr int columns = 256, bytes = 136;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const float d = half_to_f32(b);
    unsigned high = unsigned(b[2] | b[3] << 8), low = word(b + 4);
    for (int s = 0; s < 8; s += 2) {
      const F d0 = set1(d * float(int((low & 15) | (high & 3) << 4) - 32));
      const F d1 = set1(d * float(int((low >> 4 & 15) | (high >> 2 & 3) << 4) - 32));
      low >>= 8;
      high >>= 4;
      const __m128i q0 = bytes_16(b + 8 + 16 * s), q1 = bytes_16(b + 24 + 16 * s);
      sink.template put<0>(32 * s, d0 * look_up(iq4_table(), low_nibbles(q0)));
      sink.template put<1>(32 * s + 16, d0 * look_up(iq4_table(), high_nibbles(q0)));
      sink.template put<2>(32 * s + 32, d1 * look_up(iq4_table(), low_nibbles(q1)));
      sink.template put<3>(32 * s + 48, d1 * look_up(iq4_table(), high_nibbles(q1)));
    }
  }
};

struct Tq2_0 {
  static constexpr int columns = 256, bytes = 66;
  template <class Sink> BITLATHE_INLINE void each(const std::uint8_t* b, Sink& sink) {
    const F d = set1(half_to_f32(b + 64));
    const I mask = set1i(3), one = set1i(1);
    for (int h = 0; h < 2; ++h)
      for (int l = 0; l < 2; ++l) {
        const I q = load_u8(b + 32 * h + 16 * l);
        const int at = 128 * h + 16 * l;
        sink.template put<0>(at, to_f((q & mask) - one) * d);
        sink.template put<1>(at + 32, to_f((shift_right(q, 2) & mask) - one) * d);
        sink.template put<2>(at + 64, to_f((shift_right(q, 4) & mask) - one) * d);
        sink.template put<3>(at + 96, to_f((shift_right(q, 6) & mask) - one) * d);
      }
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
BITLATHE_BLOCK_TYPE(q2_k, Q2K)
BITLATHE_BLOCK_TYPE(q3_k, Q3K)
BITLATHE_BLOCK_TYPE(q6_k, Q6K)
BITLATHE_BLOCK_TYPE(iq4_xs, Iq4Xs)
BITLATHE_BLOCK_TYPE(tq2_0, Tq2_0)
#undef BITLATHE_BLOCK_TYPE

void decode_q4_k(const std::uint8_t* blocks, std::int64_t n, float* out) {
  decode_all<Q4K>(blocks, n, out);
}
void decode_q5_k(const std::uint8_t* blocks, std::int64_t n, float* out) {
  decode_all<Q5K>(blocks, n, out);
}

// Products of the two most used types: codes meet x before the scale does, and minima meet sums of
// x, so that most of the arithmetic happens once per group.

float dot_q4_k(const std::uint8_t* b, const float* x, const float* sums, std::int64_t n) {
  F even = zero_f(), odd = zero_f(), minima = zero_f();
  for (std::int64_t i = 0; i < n; ++i, b += 144, x += 256, sums += 16) {
    alignas(64) float scale[16];
    scales_and_minima(b, scale);
    minima = fma(minima_twice(scale), load(sums), minima);
    for (int g = 0; g < 4; ++g) {
      const I first = load_u8(b + 16 + 32 * g), second = load_u8(b + 32 + 32 * g);
      const float* in = x + 64 * g;
      const F low = fma(low_codes(second), load(in + 16), low_codes(first) * load(in));
      const F high = fma(to_f(shift_right(second, 4)), load(in + 48),
                         to_f(shift_right(first, 4)) * load(in + 32));
      even = fma(set1(scale[2 * g]), low, even);
      odd = fma(set1(scale[2 * g + 1]), high, odd);
    }
  }
  return sum_lanes((even + odd) - minima);
}

float dot_q5_k(const std::uint8_t* b, const float* x, const float* sums, std::int64_t n) {
  F even = zero_f(), odd = zero_f(), minima = zero_f();
  const I mask = set1i(15), sixteen = set1i(16);
  for (std::int64_t i = 0; i < n; ++i, b += 176, x += 256, sums += 16) {
    alignas(64) float scale[16];
    scales_and_minima(b, scale);
    minima = fma(minima_twice(scale), load(sums), minima);
    I fifth_a = shift_left(load_u8(b + 16), 4), fifth_b = shift_left(load_u8(b + 32), 4);
    for (int g = 0; g < 4; ++g) {
      const I first = load_u8(b + 48 + 32 * g), second = load_u8(b + 64 + 32 * g);
      const float* in = x + 64 * g;
      const F low = fma(to_f((second & mask) | (fifth_b & sixteen)), load(in + 16),
                        to_f((first & mask) | (fifth_a & sixteen)) * load(in));
      fifth_a = shift_right(fifth_a, 1);
      fifth_b = shift_right(fifth_b, 1);
      const F high = fma(to_f(shift_right(second, 4) | (fifth_b & sixteen)), load(in + 48),
                         to_f(shift_right(first, 4) | (fifth_a & sixteen)) * load(in + 32));
      fifth_a = shift_right(fifth_a, 1);
      fifth_b = shift_right(fifth_b, 1);
      even = fma(set1(scale[2 * g]), low, even);
      odd = fma(set1(scale[2 * g + 1]), high, odd);
    }
  }
  return sum_lanes((even + odd) - minima);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
