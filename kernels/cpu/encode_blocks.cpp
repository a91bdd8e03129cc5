// SPDX-License-Identifier: Apache-2.0
// Encoders of the GGUF types with one scale per block, and of the ternary ones: the reference's
// rules and searches (ggml-org/ggml, ggml-quants.c) to the same bytes, sixteen blocks at a time.
#include "kernels/cpu/encode_search.h"
#include "kernels/cpu/families.h"

namespace bitlathe::cpu::BITLATHE_ISA {

extern const Kernels kernels;

namespace {

constexpr int block = 32;

/// Mean square over a row, summed in order.
float mean_square(const float* x, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    sum += x[i] * x[i];
  return sum / float(n);
}

struct Lanes {
  alignas(64) float x[block * width], weight[block * width];
  alignas(64) float scale[width], minimum[width];
  alignas(64) std::uint8_t codes[block * width];
};

/// Calls code(lanes, importance given) for every 16 blocks, then put(lanes, lane, out).
template <int bytes, class Code, class Put>
BITLATHE_INLINE void by_lanes(const float* x, const float* importance, std::int64_t n,
                              std::uint8_t* out, Code code, Put put) {
  Lanes s;
  const float sigma2 = importance ? mean_square(x, n * block) : 0;
  for (std::int64_t i = 0; i < n; i += width) {
    const int count = n - i < width ? int(n - i) : width;
    to_lanes<block>(x + i * block, count, s.x);
    if (importance) {
      to_lanes<block>(importance + i * block, count, s.weight);
      to_weights<block>(s.x, set1(sigma2), s.weight);
    }
    code(s);
    for (int l = 0; l < count; ++l, out += bytes)
      put(s, l, out);
  }
}

void put_nibbles(const std::uint8_t* codes, std::uint8_t* out) {
  for (int j = 0; j < 16; ++j)
    out[j] = std::uint8_t((codes[j * width] & 15) | (codes[(j + 16) * width] & 15) << 4);
}

/// Four bytes of fifth bits, then the nibbles.
void put_fives(const std::uint8_t* codes, std::uint8_t* out) {
  unsigned high = 0;
  for (int j = 0; j < block; ++j)
    high |= unsigned(codes[j * width] >> 4) << j;
  for (int k = 0; k < 4; ++k)
    out[k] = std::uint8_t(high >> (8 * k));
  put_nibbles(codes, out + 4);
}

/// 1 / d, or 0 for 0.
BITLATHE_INLINE F inverse_of(F d) { return only(different(d, set1(0.0f)), set1(1.0f) / d); }

template <int most> void search_signed(Lanes& s) {
  store(s.scale, search_symmetric<block>(float(most), s.x, s.weight, s.codes));
}
template <int most> void search_range(Lanes& s) {
  F minimum;
  store(s.scale, search_affine<block, false>(float(most), s.x, s.weight, {-0.9f, 0.05f, 36},
                                             s.codes, &minimum));
  store(s.minimum, minimum);
}

} // namespace

void encode_q8_0(const float* x, const float*, std::int64_t n, std::uint8_t* out) {
  kernels.encode_q8_0(x, n, out);
}

void encode_q4_0(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  if (!importance)
    return kernels.encode_q4_0(x, n, out);
  by_lanes<18>(x, importance, n, out, search_signed<8>,
               [](const Lanes& s, int l, std::uint8_t* to) {
                 put_half(to, s.scale[l]);
                 put_nibbles(s.codes + l, to + 2);
               });
}

void encode_q4_1(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  if (!importance)
    return kernels.encode_q4_1(x, n, out);
  by_lanes<20>(x, importance, n, out, search_range<15>,
               [](const Lanes& s, int l, std::uint8_t* to) {
                 put_half(to, s.scale[l]);
                 put_half(to + 2, s.minimum[l]);
                 put_nibbles(s.codes + l, to + 4);
               });
}

void encode_q5_0(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  const auto put = [](const Lanes& s, int l, std::uint8_t* to) {
    put_half(to, s.scale[l]);
    put_fives(s.codes + l, to + 2);
  };
  if (importance)
    return by_lanes<22>(x, importance, n, out, search_signed<16>, put);
  const auto code = [](Lanes& s) {
    const F d = peak<block>(s.x).value / set1(-16.0f), inverse = inverse_of(d);
    store(s.scale, d);
    for (int i = 0; i < block; ++i)
      store_bytes(s.codes + i * width,
                  limited(load(s.x + i * width) * inverse + set1(16.5f), 0.0f, 31.0f));
  };
  by_lanes<22>(x, nullptr, n, out, code, put);
}

void encode_q5_1(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  const auto put = [](const Lanes& s, int l, std::uint8_t* to) {
    put_half(to, s.scale[l]);
    put_half(to + 2, s.minimum[l]);
    put_fives(s.codes + l, to + 4);
  };
  if (importance)
    return by_lanes<24>(x, importance, n, out, search_range<31>, put);
  const auto code = [](Lanes& s) {
    F lo = load(s.x), hi = lo;
    for (int i = 1; i < block; ++i) {
      const F value = load(s.x + i * width);
      lo = min(value, lo);
      hi = max(value, hi);
    }
    const F d = (hi - lo) / set1(31.0f), inverse = inverse_of(d);
    store(s.scale, d);
    store(s.minimum, lo);
    for (int i = 0; i < block; ++i)
      store_bytes(s.codes + i * width,
                  limited((load(s.x + i * width) - lo) * inverse + set1(0.5f), 0.0f, 31.0f));
  };
  by_lanes<24>(x, nullptr, n, out, code, put);
}

// ---- microscaling: a power of two or an eight-bit float per block, E2M1 values

namespace {

/// The nearest of the sixteen values times d, the first of equally near ones (so never -0).
template <int n> void code_e2m1(const float* x, F d, std::uint8_t* codes) {
  constexpr float values[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  for (int i = 0; i < n; ++i) {
    const F value = load(x + i * width);
    F best = set1(0.0f), nearest = abs(value);
    for (int k = 1; k < 16; ++k) {
      const F distance = abs(set1(values[k]) * d - value);
      const Mask nearer = greater(nearest, distance);
      nearest = blend(nearer, nearest, distance);
      best = blend(nearer, best, set1(float(k)));
    }
    store_bytes(codes + i * width, best);
  }
}

union Bits {
  float value;
  std::uint32_t bits;
};
std::uint32_t bits_of(float value) { return Bits{value}.bits; }
float from_bits(std::uint32_t bits) {
  Bits b{};
  b.bits = bits;
  return b.value;
}

/// floor(log2(x)) where log2 is rounded to f32 first, as the reference does: just below a power of
/// two it may already be that power's.
int rounded_log2(float x) {
  std::uint32_t bits = bits_of(x);
  int exponent = int(bits >> 23) - 127;
  std::uint32_t fraction = bits & 0x7fffff;
  if (exponent == -127) { // subnormal
    for (exponent = -126; !(fraction & 0x800000); --exponent)
      fraction <<= 1;
    fraction &= 0x7fffff;
  }
  // x = 2^next * (1 - gap), log2(x) = next - gap / ln 2 - ...
  const int next = exponent + 1;
  const double gap = double(0x800000 - fraction) / 16777216.0;
  if (next == 0 || gap > 1e-4)
    return exponent;
  const double below = gap * (1 + gap / 2) * 1.4426950408889634;
  const int size = next < 0 ? -next : next;
  int power = 0;
  while ((2 << power) <= size)
    ++power;
  // Steps of f32 on the side of `next` that log2(x) is on.
  double step = 1.0 / 8388608.0;
  for (int i = 0; i < power; ++i)
    step *= 2;
  if (next > 0 && size == (1 << power))
    step /= 2;
  return below < step / 2 ? next : exponent;
}

float power_of_two(int exponent) {
  return exponent >= -126 ? from_bits(std::uint32_t(exponent + 127) << 23)
                          : from_bits(0x800000u >> (-126 - exponent));
}

/// To unsigned E4M3, as the reference rounds: half up, from the bits.
std::uint8_t to_ue4m3(float x) {
  if (!(x > 0))
    return 0;
  x = x < 448.0f ? x : 448.0f;
  const std::uint32_t bits = bits_of(x);
  int exponent = int(bits >> 23) - 127 + 7;
  if (exponent <= 0) {
    const int code = int(x * 512.0f + 0.5f);
    return std::uint8_t(code < 7 ? code : 7);
  }
  int mantissa = int(bits >> 20 & 7) + int(bits >> 19 & 1);
  if (mantissa > 7) {
    mantissa = 0;
    ++exponent;
  }
  return exponent >= 15 ? 0x7e : std::uint8_t(exponent << 3 | mantissa);
}

/// Half of what a code of to_ue4m3 stands for.
float half_of_ue4m3(std::uint8_t code) {
  const int exponent = code >> 3, mantissa = code & 7;
  return exponent == 0 ? float(mantissa) * power_of_two(-10)
                       : float(8 + mantissa) * power_of_two(exponent - 11);
}

} // namespace

void encode_mxfp4(const float* x, const float*, std::int64_t n, std::uint8_t* out) {
  const auto code = [](Lanes& s) {
    store(s.minimum, peak<block>(s.x).magnitude);
    for (int l = 0; l < width; ++l) {
      const int stored = s.minimum[l] > 0 ? rounded_log2(s.minimum[l]) - 2 + 127 : 0;
      s.minimum[l] = float(stored > 0 ? stored : 0);
      s.scale[l] = power_of_two(int(s.minimum[l]) - 128);
    }
    code_e2m1<block>(s.x, load(s.scale), s.codes);
  };
  by_lanes<17>(x, nullptr, n, out, code, [](const Lanes& s, int l, std::uint8_t* to) {
    to[0] = std::uint8_t(s.minimum[l]);
    put_nibbles(s.codes + l, to + 1);
  });
}

void encode_nvfp4(const float* x, const float*, std::int64_t n, std::uint8_t* out) {
  alignas(64) float lanes_x[16 * width], scale[width];
  alignas(64) std::uint8_t codes[16 * width], stored[width];
  for (std::int64_t i = 0; i < n; i += 4) {
    const int count = n - i < 4 ? int(n - i) : 4;
    to_lanes<16>(x + i * 64, count * 4, lanes_x);
    store(scale, peak<16>(lanes_x).magnitude / set1(6.0f));
    for (int l = 0; l < width; ++l) {
      stored[l] = to_ue4m3(scale[l]);
      scale[l] = half_of_ue4m3(stored[l]);
    }
    code_e2m1<16>(lanes_x, load(scale), codes);
    for (int b = 0; b < count; ++b, out += 36)
      for (int k = 0; k < 4; ++k) {
        const int lane = 4 * b + k;
        out[k] = stored[lane];
        for (int j = 0; j < 8; ++j)
          out[4 + 8 * k + j] =
              std::uint8_t(codes[j * width + lane] | codes[(j + 8) * width + lane] << 4);
      }
  }
}

// ---- ternary: -1, 0, 1 times the largest magnitude of 256 values

namespace {

/// Codes 0, 1, 2 of 256 values in order; returns the scale.
float code_ternary(const float* x, std::uint8_t* codes) {
  alignas(64) float lanes_of[width];
  F most = set1(0.0f);
  for (int i = 0; i < 256; i += width)
    most = max(abs(load(x + i)), most);
  store(lanes_of, most);
  float d = 0;
  for (int l = 0; l < width; ++l)
    d = lanes_of[l] > d ? lanes_of[l] : d;
  const F inverse = set1(d != 0 ? 1.0f / d : 0.0f), half = set1(0.5f), one = set1(1.0f);
  for (int i = 0; i < 256; i += width) {
    const F value = load(x + i) * inverse;
    store_bytes(codes + i, one + only(not_less(value, half), one) -
                               only(not_less(set1(0.0f) - value, half), one));
  }
  return d;
}

/// The fraction 0.d0 d1 d2 d3 d4 to base 3 in 256ths, rounded up.
std::uint8_t put_digits(const std::uint8_t* codes, int stride, int digits) {
  unsigned q = 0;
  for (int n = 0; n < 5; ++n)
    q = q * 3 + (n < digits ? codes[n * stride] : 0u);
  return std::uint8_t((q * 256 + 242) / 243);
}

} // namespace

void encode_tq1_0(const float* x, const float*, std::int64_t n, std::uint8_t* out) {
  alignas(64) std::uint8_t codes[256];
  for (std::int64_t i = 0; i < n; ++i, x += 256, out += 54) {
    put_half(out + 52, code_ternary(x, codes));
    for (int m = 0; m < 32; ++m)
      out[m] = put_digits(codes + m, 32, 5);
    for (int m = 0; m < 16; ++m)
      out[32 + m] = put_digits(codes + 160 + m, 16, 5);
    for (int m = 0; m < 4; ++m)
      out[48 + m] = put_digits(codes + 240 + m, 4, 4);
  }
}

void encode_tq2_0(const float* x, const float*, std::int64_t n, std::uint8_t* out) {
  alignas(64) std::uint8_t codes[256];
  for (std::int64_t i = 0; i < n; ++i, x += 256, out += 66) {
    put_half(out + 64, code_ternary(x, codes));
    for (int half = 0; half < 2; ++half)
      for (int m = 0; m < 32; ++m) {
        const std::uint8_t* c = codes + 128 * half + m;
        out[32 * half + m] = std::uint8_t(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
      }
  }
}

} // namespace bitlathe::cpu::BITLATHE_ISA
