// SPDX-License-Identifier: Apache-2.0
// Encoders of the GGUF types whose 256 values share scales of scales: the reference's searches
// (ggml-org/ggml, ggml-quants.c), sixteen sub-blocks at a time, to the same bytes.
#include "kernels/cpu/encode_search.h"
#include "kernels/cpu/families.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

constexpr int super = 256;

/// Codes of the scales and minima that are stored, in bytes 4 .. 15 of q4_k and q5_k.
void put_six_bits(const float* scale, const float* minimum, std::uint8_t* out) {
  for (int j = 0; j < 4; ++j) {
    const unsigned s = unsigned(scale[j]), m = unsigned(minimum[j]);
    const unsigned s4 = unsigned(scale[j + 4]), m4 = unsigned(minimum[j + 4]);
    out[j] = std::uint8_t(s | s4 >> 4 << 6);
    out[j + 4] = std::uint8_t(m | m4 >> 4 << 6);
    out[j + 8] = std::uint8_t((s4 & 15) | (m4 & 15) << 4);
  }
}

/// Two-bit codes of 256 values, 16 sub-blocks in lanes.
void put_two_bits(const std::uint8_t* codes, std::uint8_t* out) {
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < 32; ++l) {
      const auto code = [&](int quarter) {
        const int e = 128 * half + 32 * quarter + l;
        return codes[e % 16 * width + e / 16] & 3;
      };
      out[32 * half + l] = std::uint8_t(code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6);
    }
}

/// Codes on the stored scales; those of the search stay where the scale is zero. `minimum` is what
/// decoding takes off.
template <int n>
BITLATHE_INLINE void code_again(const float* x, const float* scale, const float* minimum, float low,
                                float high, std::uint8_t* codes) {
  const F d = load(scale), m = load(minimum);
  const Mask stored = different(d, set1(0.0f));
  alignas(64) std::uint8_t fresh[width];
  alignas(64) float flag[width];
  store(flag, only(stored, set1(1.0f)));
  for (int i = 0; i < n; ++i) {
    const F q = min(max(whole((load(x + i * width) + m) / d), set1(low)), set1(high)) - set1(low);
    store_bytes(fresh, only(stored, q));
    for (int l = 0; l < width; ++l)
      codes[i * width + l] = flag[l] != 0 ? fresh[l] : codes[i * width + l];
  }
}

/// Codes by the largest: x * most / largest. Returns what one code stands for.
float divide_by_largest(int n, float most, const float* x, float* codes) {
  float largest = 0;
  for (int i = 0; i < n; ++i)
    largest = x[i] > largest ? x[i] : largest;
  const float inverse = largest > 0 ? most / largest : 0;
  for (int i = 0; i < n; ++i)
    codes[i] = limited(whole(inverse * x[i]), 0.0f, most);
  return largest / most;
}

/// Signed codes -most .. of 16 scales by the one of the largest magnitude, which gets -most.
/// Returns the inverse of what one code stands for; 0 when all are zero.
float largest_to_least(float most, const float* x) {
  float size = 0, top = 0;
  for (int i = 0; i < 16; ++i)
    if (magnitude(x[i]) > size) {
      size = magnitude(x[i]);
      top = x[i];
    }
  return size > 0 ? -most / top : 0;
}

// ---- q4_k, q5_k: eight sub-blocks of 32 with a scale and a minimum; two super-blocks at a time

struct Affine8 {
  alignas(64) float x[32 * width], weight[32 * width], scale[width], minimum[width];
  alignas(64) std::uint8_t codes[32 * width];
};

template <int most>
void search_affine8(const float* x, const float* importance, int supers, Tries plain, Affine8& s) {
  to_lanes<32>(x, supers * 8, s.x);
  F minimum;
  F scale;
  if (importance) {
    float sums[2] = {};
    alignas(64) float sigma2[width];
    sums_of_squares(x, super, supers, sums);
    for (int l = 0; l < width; ++l)
      sigma2[l] = 2.0f * sums[l / 8] / float(super);
    to_lanes<32>(importance, supers * 8, s.weight);
    to_weights<32>(s.x, load(sigma2), s.weight);
    scale =
        search_affine<32, false>(float(most), s.x, s.weight, {-0.9f, 0.05f, 36}, s.codes, &minimum);
  } else {
    F sum = set1(0.0f);
    for (int i = 0; i < 32; ++i)
      sum = sum + load(s.x + i * width) * load(s.x + i * width);
    const F mean = root(sum / set1(32.0f));
    for (int i = 0; i < 32; ++i)
      store(s.weight + i * width, mean + abs(load(s.x + i * width)));
    scale = search_affine<32, false>(float(most), s.x, s.weight, plain, s.codes, &minimum);
  }
  store(s.scale, scale);
  store(s.minimum, set1(0.0f) - minimum);
}

/// Writes d, dmin and the six-bit codes of each super-block and codes the values again.
template <int most>
void store_scales8(Affine8& s, bool weighted, int supers, int bytes, std::uint8_t* out) {
  alignas(64) float weight[width] = {}, d[width] = {}, m[width] = {};
  if (weighted) {
    F sum = set1(0.0f);
    for (int i = 0; i < 32; ++i)
      sum = sum + load(s.weight + i * width);
    store(weight, sum);
  }
  for (int b = 0; b < supers; ++b, out += bytes) {
    float scales[8], minima[8], step, step_min;
    if (weighted) {
      step = fit_positive(8, 63.0f, s.scale + 8 * b, weight + 8 * b, scales);
      step_min = fit_positive(8, 63.0f, s.minimum + 8 * b, weight + 8 * b, minima);
    } else {
      step = divide_by_largest(8, 63.0f, s.scale + 8 * b, scales);
      step_min = divide_by_largest(8, 63.0f, s.minimum + 8 * b, minima);
    }
    step = stored_half(out, step);
    step_min = stored_half(out + 2, step_min);
    put_six_bits(scales, minima, out + 4);
    for (int j = 0; j < 8; ++j) {
      d[8 * b + j] = step * scales[j];
      m[8 * b + j] = step_min * minima[j];
    }
  }
  code_again<32>(s.x, d, m, 0.0f, float(most), s.codes);
}

} // namespace

void encode_q4_k(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Affine8 s;
  for (std::int64_t i = 0; i < n; i += 2) {
    const int supers = n - i >= 2 ? 2 : 1;
    search_affine8<15>(x + i * super, importance ? importance + i * super : nullptr, supers,
                       {-1.0f, 0.1f, 20}, s);
    store_scales8<15>(s, importance != nullptr, supers, 144, out);
    for (int b = 0; b < supers; ++b, out += 144)
      for (int g = 0; g < 4; ++g)
        for (int l = 0; l < 32; ++l) {
          const std::uint8_t* pair = s.codes + l * width + 8 * b + 2 * g;
          out[16 + 32 * g + l] = std::uint8_t(pair[0] | pair[1] << 4);
        }
  }
}

void encode_q5_k(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Affine8 s;
  for (std::int64_t i = 0; i < n; i += 2) {
    const int supers = n - i >= 2 ? 2 : 1;
    search_affine8<31>(x + i * super, importance ? importance + i * super : nullptr, supers,
                       {-0.5f, 0.1f, 15}, s);
    store_scales8<31>(s, importance != nullptr, supers, 176, out);
    for (int b = 0; b < supers; ++b, out += 176)
      for (int l = 0; l < 32; ++l) {
        const std::uint8_t* code = s.codes + l * width + 8 * b;
        unsigned high = 0;
        for (int g = 0; g < 4; ++g) {
          out[48 + 32 * g + l] = std::uint8_t((code[2 * g] & 15) | (code[2 * g + 1] & 15) << 4);
          high |= unsigned(code[2 * g] >> 4) << (2 * g) | unsigned(code[2 * g + 1] >> 4)
                                                              << (2 * g + 1);
        }
        out[16 + l] = std::uint8_t(high);
      }
  }
}

// ---- q2_k, q3_k, q6_k: sixteen sub-blocks of 16, one super-block at a time

namespace {

struct Sixteen {
  alignas(64) float x[16 * width], weight[16 * width], scale[width], minimum[width];
  alignas(64) std::uint8_t codes[16 * width];
};

/// importance * sqrt(factor * mean square + x^2), and the sum of every sub-block.
void weigh(const float* x, const float* importance, float factor, Sixteen& s, float* sums) {
  float squares = 0;
  sums_of_squares(x, super, 1, &squares);
  to_lanes<16>(importance, width, s.weight);
  to_weights<16>(s.x, set1(factor * squares / float(super)), s.weight);
  F sum = set1(0.0f);
  for (int i = 0; i < 16; ++i)
    sum = sum + load(s.weight + i * width);
  store(sums, sum);
}

void weigh_by_square(Sixteen& s) {
  for (int i = 0; i < 16; ++i)
    store(s.weight + i * width, load(s.x + i * width) * load(s.x + i * width));
}

} // namespace

void encode_q2_k(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Sixteen s;
  for (std::int64_t i = 0; i < n; ++i, x += super, out += 84) {
    to_lanes<16>(x, width, s.x);
    alignas(64) float sums[width], scales[width], minima[width];
    F minimum;
    float step, step_min;
    if (importance) {
      weigh(x, importance + i * super, 1.0f, s, sums);
      store(s.scale,
            search_affine<16, false>(3.0f, s.x, s.weight, {-0.9f, 0.05f, 36}, s.codes, &minimum));
      store(s.minimum, set1(0.0f) - minimum);
      step = fit_positive(16, 15.0f, s.scale, sums, scales);
      step_min = fit_positive(16, 15.0f, s.minimum, sums, minima);
    } else {
      for (int k = 0; k < 16; ++k)
        store(s.weight + k * width, abs(load(s.x + k * width)));
      store(s.scale,
            search_affine<16, true>(3.0f, s.x, s.weight, {-0.5f, 0.1f, 15}, s.codes, &minimum));
      store(s.minimum, set1(0.0f) - minimum);
      step = divide_by_largest(16, 15.0f, s.scale, scales);
      step_min = divide_by_largest(16, 15.0f, s.minimum, minima);
    }
    step = stored_half(out + 80, step);
    step_min = stored_half(out + 82, step_min);
    for (int j = 0; j < 16; ++j) {
      out[j] = std::uint8_t(unsigned(scales[j]) | unsigned(minima[j]) << 4);
      scales[j] *= step;
      minima[j] *= step_min;
    }
    code_again<16>(s.x, scales, minima, 0.0f, 3.0f, s.codes);
    put_two_bits(s.codes, out + 16);
  }
}

void encode_q3_k(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Sixteen s;
  for (std::int64_t i = 0; i < n; ++i, x += super, out += 110) {
    to_lanes<16>(x, width, s.x);
    alignas(64) float sums[width], scales[width];
    float step = 0;
    if (importance) {
      weigh(x, importance + i * super, 2.0f, s, sums);
      store(s.scale, search_symmetric<16>(4.0f, s.x, s.weight, s.codes));
      step = fit_symmetric(16, 32.0f, s.scale, sums, scales);
    } else {
      store(s.scale, search_by_sweeps<16>(4.0f, s.x, s.codes));
      const float inverse = largest_to_least(32.0f, s.scale);
      for (int j = 0; j < 16; ++j) // without any scale these bytes are zero
        scales[j] =
            inverse != 0 ? limited(whole(inverse * s.scale[j]), -32.0f, 31.0f) + 32.0f : 0.0f;
      step = inverse != 0 ? 1.0f / inverse : 0.0f;
    }
    step = stored_half(out + 108, step);
    for (int j = 0; j < 4; ++j) {
      const unsigned a = unsigned(scales[j]), b = unsigned(scales[j + 4]);
      const unsigned c = unsigned(scales[j + 8]), d = unsigned(scales[j + 12]);
      out[96 + j] = std::uint8_t((a & 15) | (c & 15) << 4);
      out[100 + j] = std::uint8_t((b & 15) | (d & 15) << 4);
      out[104 + j] = std::uint8_t(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
    }
    alignas(64) const float none[width] = {};
    for (int j = 0; j < 16; ++j)
      scales[j] = step * (scales[j] - 32.0f);
    code_again<16>(s.x, scales, none, -4.0f, 3.0f, s.codes);
    for (int l = 0; l < 32; ++l) {
      unsigned high = 0;
      for (int k = 0; k < 8; ++k)
        high |= unsigned(s.codes[l % 16 * width + 2 * k + l / 16] >> 2) << k;
      out[l] = std::uint8_t(high);
    }
    put_two_bits(s.codes, out + 32);
  }
}

void encode_q6_k(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Sixteen s;
  for (std::int64_t i = 0; i < n; ++i, x += super, out += 210) {
    to_lanes<16>(x, width, s.x);
    if (importance)
      to_lanes<16>(importance + i * super, width, s.weight);
    else
      weigh_by_square(s);
    store(s.scale, search_symmetric<16>(32.0f, s.x, s.weight, s.codes));
    const float inverse = largest_to_least(128.0f, s.scale);
    float size = 0;
    for (int j = 0; j < 16; ++j)
      size = magnitude(s.scale[j]) > size ? magnitude(s.scale[j]) : size;
    if (size < nothing) {
      for (int k = 0; k < 210; ++k)
        out[k] = 0;
      continue;
    }
    const float step = stored_half(out + 208, 1.0f / inverse);
    alignas(64) float scales[width];
    alignas(64) const float none[width] = {};
    for (int j = 0; j < 16; ++j) {
      const float code = limited(whole(inverse * s.scale[j]), -128.0f, 127.0f);
      out[192 + j] = std::uint8_t(std::int8_t(code));
      scales[j] = step * code;
    }
    code_again<16>(s.x, scales, none, -32.0f, 31.0f, s.codes);
    for (int half = 0; half < 2; ++half)
      for (int l = 0; l < 32; ++l) {
        const auto code = [&](int quarter) {
          const int e = 128 * half + 32 * quarter + l;
          return unsigned(s.codes[e % 16 * width + e / 16]);
        };
        const unsigned a = code(0), b = code(1), c = code(2), d = code(3);
        out[64 * half + l] = std::uint8_t((a & 15) | (c & 15) << 4);
        out[64 * half + 32 + l] = std::uint8_t((b & 15) | (d & 15) << 4);
        out[128 + 32 * half + l] = std::uint8_t(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
      }
  }
}

} // namespace bitlathe::cpu::BITLATHE_ISA
