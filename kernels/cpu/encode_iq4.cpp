// SPDX-License-Identifier: Apache-2.0
// Encoders of the GGUF types on a table of sixteen uneven values: the reference's search
// (ggml-org/ggml, ggml-quants.c) to the same bytes, sixteen groups of 32 at a time.
#include "kernels/cpu/encode_search.h"
#include "kernels/cpu/families.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

constexpr int block = 32, tries = 7;
constexpr float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                              1,    13,   25,  38,  53,  69,  89,  113};

/// Where one value gives way to the next. The middle itself goes up; near it the reference's
/// differences are exact, so that comparing with the middle decides as it does.
constexpr float middle(int k) { return (values[k] + values[k + 1]) / 2; }

/// The nearest value of the table.
BITLATHE_INLINE F nearest_value(F x) {
  F value = set1(values[0]);
  for (int k = 0; k < 15; ++k)
    value = value + only(not_less(x, set1(middle(k))), set1(values[k + 1] - values[k]));
  return value;
}
BITLATHE_INLINE F nearest_index(F x) {
  F index = set1(0.0f);
  for (int k = 0; k < 15; ++k)
    index = index + only(not_less(x, set1(middle(k))), set1(1.0f));
  return index;
}

struct Groups {
  alignas(64) float x[block * width], weight[block * width], scale[width], sigma2[width];
  alignas(64) std::uint8_t codes[block * width];
};

/// Loads `count` groups and their weights. sigma2 is twice the mean square over `over` values.
void load_groups(const float* x, const float* importance, int count, int over, Groups& s) {
  to_lanes<block>(x, count, s.x);
  if (!importance) {
    for (int i = 0; i < block; ++i)
      store(s.weight + i * width, load(s.x + i * width) * load(s.x + i * width));
    return;
  }
  const int per_lane = over / block; // lanes that share a sum
  float sums[width];
  sums_of_squares(x, over, count / per_lane, sums);
  for (int l = 0; l < width; ++l)
    s.sigma2[l] = l < count ? sums[l / per_lane] * (2.0f / float(over)) : 0;
  to_lanes<block>(importance, count, s.weight);
  to_weights<block>(s.x, load(s.sigma2), s.weight);
}

F search(const Groups& s) {
  const Peak top = peak<block>(s.x);
  const Mask some = not_less(top.magnitude, set1(nothing));
  F scale = set1(0.0f), best = set1(0.0f);
  for (int k = -tries - 1; k <= tries; ++k) {
    const bool first = k < -tries; // the largest at the end of the table, whatever its sign
    const F inverse = first ? set1(1.0f) / ((set1(0.0f) - top.value) / set1(values[0]))
                            : set1(float(k) + values[0]) / top.value;
    F xq = set1(0.0f), qq = set1(0.0f);
    for (int i = 0; i < block; ++i) {
      const F value = load(s.x + i * width);
      const F q = nearest_value(inverse * value);
      const F wq = load(s.weight + i * width) * q;
      xq = xq + wq * value;
      qq = qq + wq * q;
    }
    const Mask usable = greater(qq, set1(0.0f));
    if (first) {
      scale = only(usable, xq / qq);
      best = scale * xq;
      continue;
    }
    const Mask better = usable & greater(xq * xq, best * qq);
    if (!any(better))
      continue;
    scale = blend(better, scale, xq / qq);
    best = blend(better, best, scale * xq);
  }
  return only(some, scale);
}

void code_groups(const float* inverse, Groups& s) {
  const F by = load(inverse);
  for (int i = 0; i < block; ++i)
    store_bytes(s.codes + i * width, nearest_index(by * load(s.x + i * width)));
}

void put_nibbles(const std::uint8_t* codes, std::uint8_t* out) {
  for (int j = 0; j < 16; ++j)
    out[j] = std::uint8_t(codes[j * width] | codes[(j + 16) * width] << 4);
}

} // namespace

void encode_iq4_nl(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Groups s;
  alignas(64) float inverse[width];
  for (std::int64_t i = 0; i < n; i += width) {
    const int count = n - i < width ? int(n - i) : width;
    load_groups(x + i * block, importance ? importance + i * block : nullptr, count, block, s);
    store(s.scale, search(s));
    for (int l = 0; l < width; ++l)
      inverse[l] = s.scale[l] != 0 ? 1.0f / s.scale[l] : 0;
    code_groups(inverse, s);
    for (int l = 0; l < count; ++l, out += 18) {
      put_half(out, s.scale[l]);
      put_nibbles(s.codes + l, out + 2);
    }
  }
}

void encode_iq4_xs(const float* x, const float* importance, std::int64_t n, std::uint8_t* out) {
  Groups s;
  alignas(64) float inverse[width] = {};
  for (std::int64_t i = 0; i < n; i += 2) {
    const int supers = n - i >= 2 ? 2 : 1;
    load_groups(x + i * 256, importance ? importance + i * 256 : nullptr, supers * 8, 256, s);
    store(s.scale, search(s));
    for (int b = 0; b < supers; ++b) {
      std::uint8_t* to = out + b * 136;
      float size = 0, top = 0;
      for (int j = 0; j < 8; ++j)
        if (magnitude(s.scale[8 * b + j]) > size) {
          size = magnitude(s.scale[8 * b + j]);
          top = s.scale[8 * b + j];
        }
      const float step = -top / 32.0f, per_step = step != 0 ? 1.0f / step : 0;
      put_half(to, step);
      unsigned high = 0;
      for (int j = 0; j < 8; ++j) {
        const float code = limited(whole(per_step * s.scale[8 * b + j]), -32.0f, 31.0f);
        const float d = step * code; // not yet rounded to a half, as in the reference
        inverse[8 * b + j] = d != 0 ? 1.0f / d : 0;
        const unsigned bits = unsigned(code + 32.0f);
        high |= bits >> 4 << (2 * j);
        to[4 + j / 2] = std::uint8_t(j % 2 ? to[4 + j / 2] | (bits & 15) << 4 : bits & 15);
      }
      to[2] = std::uint8_t(high);
      to[3] = std::uint8_t(high >> 8);
    }
    code_groups(inverse, s);
    for (int b = 0; b < supers; ++b, out += 136)
      for (int j = 0; j < 8; ++j)
        put_nibbles(s.codes + 8 * b + j, out + 8 + 16 * j);
  }
}

} // namespace bitlathe::cpu::BITLATHE_ISA
