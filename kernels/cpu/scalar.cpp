// SPDX-License-Identifier: Apache-2.0
// The definition of every CPU kernel, in plain C++.
#include "kernels/cpu/kernels.h"
#include "kernels/num/float16.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace bitlathe::cpu {

namespace {

float load(int type, const std::uint8_t* at) {
  if (type == type_f32) {
    float value;
    std::memcpy(&value, at, 4);
    return value;
  }
  std::uint16_t half;
  std::memcpy(&half, at, 2);
  return type == type_f16 ? f16_to_f32(half) : bf16_to_f32(half);
}

float load_half(const std::uint8_t* at) { return load(type_f16, at); }
void store_half(std::uint8_t* at, float value) {
  const std::uint16_t half = f32_to_f16(value);
  std::memcpy(at, &half, 2);
}

float rne(float x) {
  const float magic = 12582912.0f; // 1.5 * 2^23
  return (x + magic) - magic;
}

void to_f32(int type, const void* in, std::int64_t n, float* out) {
  const auto* bytes = static_cast<const std::uint8_t*>(in);
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = load(type, bytes + i * (type == type_f32 ? 4 : 2));
}

void from_f32(int type, const float* in, std::int64_t n, void* out) {
  auto* bytes = static_cast<std::uint8_t*>(out);
  if (type == type_f32) {
    std::memcpy(out, in, std::size_t(n) * 4);
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t half = type == type_f16 ? f32_to_f16(in[i]) : f32_to_bf16(in[i]);
    std::memcpy(bytes + i * 2, &half, 2);
  }
}

void moments(const float* x, std::int64_t n, MomentState* s) {
  for (std::int64_t i = 0; i < n; ++i) {
    const int l = int(i % lanes);
    const float v = x[i];
    if (std::isnan(v)) {
      ++s->nan;
      continue;
    }
    if (std::isinf(v)) {
      ++s->inf;
      continue;
    }
    s->zeros += v == 0;
    s->min[l] = v < s->min[l] ? v : s->min[l];
    s->max[l] = v > s->max[l] ? v : s->max[l];
    const double d = v, d2 = d * d;
    s->sum[0][l] += d;
    s->sum[1][l] += d2;
    s->sum[2][l] += d2 * d;
    s->sum[3][l] += d2 * d2;
  }
}

void errors(const float* w, const float* v, std::int64_t n, ErrorState* s) {
  for (std::int64_t i = 0; i < n; ++i) {
    const int l = int(i % lanes);
    const double a = w[i], b = v[i], e = a - b;
    s->error[l] += e * e;
    s->ref[l] += a * a;
    s->quant[l] += b * b;
    s->product[l] += a * b;
    const float m = std::fabs(float(e));
    s->max_abs[l] = m > s->max_abs[l] ? m : s->max_abs[l];
  }
}

void histogram(const float* x, std::int64_t n, float lo, float hi, float inv, std::int32_t bins,
               std::uint64_t* counts) {
  for (std::int64_t i = 0; i < n; ++i) {
    if (!(x[i] >= lo && x[i] <= hi)) // NaN fails both
      continue;
    const float at = (x[i] - lo) * inv;
    counts[at < float(bins) ? std::int32_t(at) : bins - 1] += 1;
  }
}

void range(const float* x, std::int64_t n, float* lo, float* hi) {
  float a = x[0], b = x[0];
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) {
      *lo = *hi = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    a = x[i] < a ? x[i] : a;
    b = x[i] > b ? x[i] : b;
  }
  *lo = a + 0.0f;
  *hi = b + 0.0f;
}

std::uint8_t encode_one(float x, float inverse, int zero, float top) {
  float scaled = x * inverse;
  scaled = scaled > -512.0f ? scaled : -512.0f; // also NaN
  scaled = scaled < 512.0f ? scaled : 512.0f;
  float code = rne(scaled) + float(zero);
  code = code > 0.0f ? code : 0.0f;
  code = code < top ? code : top;
  return std::uint8_t(code);
}

void encode(const float* x, std::int64_t n, float inverse, int zero, int bits, std::uint8_t* out) {
  const float top = float((1 << bits) - 1);
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = encode_one(x[i], inverse, zero, top);
}

void pack(const std::uint8_t* codes, std::int64_t n, int bits, std::uint8_t* out) {
  const std::int64_t bytes = (n * bits + 31) / 32 * 4;
  std::uint32_t held = 0;
  int have = 0;
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    held |= std::uint32_t(codes[i]) << have;
    have += bits;
    for (; have >= 8; have -= 8, held >>= 8)
      out[at++] = std::uint8_t(held);
  }
  for (; at < bytes; held >>= 8)
    out[at++] = std::uint8_t(held);
}

void unpack(const std::uint8_t* row, std::int64_t row_bytes, int bits, std::int64_t first,
            std::int64_t n, std::uint8_t* out) {
  const auto mask = std::uint32_t((1 << bits) - 1);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t bit = (first + i) * bits, byte = bit / 8;
    const std::uint32_t high = byte + 1 < row_bytes ? row[byte + 1] : 0;
    out[i] = std::uint8_t(((row[byte] | high << 8) >> (bit % 8)) & mask);
  }
}

void dequantize(const std::uint8_t* codes, std::int64_t n, float scale, int zero, float* out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = scale * float(int(codes[i]) - zero);
}

void grid_errors(const float* x, const float* weight, std::int64_t n, const float* scale,
                 const float* inverse, const std::int32_t* zero, int bits, std::int64_t k,
                 double* out) {
  const float top = float((1 << bits) - 1);
  for (std::int64_t j = 0; j < k; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const int u = encode_one(x[i], inverse[j], zero[j], top);
      const float e = x[i] - scale[j] * float(u - zero[j]);
      const double square = double(e) * double(e);
      sum += weight ? double(weight[i]) * square : square;
    }
    out[j] = sum;
  }
}

void decode_q8_0(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 34, out += 32) {
    const float d = load_half(b);
    for (int j = 0; j < 32; ++j)
      out[j] = float(std::int8_t(b[2 + j])) * d;
  }
}

void decode_q4_0(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 18, out += 32) {
    const float d = load_half(b);
    for (int j = 0; j < 16; ++j) {
      out[j] = float((b[2 + j] & 15) - 8) * d;
      out[j + 16] = float((b[2 + j] >> 4) - 8) * d;
    }
  }
}

void decode_q4_1(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 20, out += 32) {
    const float d = load_half(b), m = load_half(b + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = float(b[4 + j] & 15) * d + m;
      out[j + 16] = float(b[4 + j] >> 4) * d + m;
    }
  }
}

// The reference truncates to an integer type straight away, which is undefined where a subnormal d
// makes 1 / d infinite; limiting first changes nothing else.
int limited(float code, float most) {
  code = code > 0.0f ? code : 0.0f;
  return int(code < most ? code : most);
}

void encode_q8_0(const float* x, std::int64_t n_blocks, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, x += 32, out += 34) {
    float largest = 0;
    for (int j = 0; j < 32; ++j)
      largest = std::fabs(x[j]) > largest ? std::fabs(x[j]) : largest;
    const float d = largest / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(out, d);
    for (int j = 0; j < 32; ++j) {
      const int q = limited(std::fabs(x[j]) * id + 0.5f, 127.0f);
      out[2 + j] = std::uint8_t(std::int8_t(x[j] < 0 ? -q : q));
    }
  }
}

void encode_q4_0(const float* x, std::int64_t n_blocks, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, x += 32, out += 18) {
    float largest = 0, signed_largest = 0; // the first of equal magnitudes
    for (int j = 0; j < 32; ++j)
      if (std::fabs(x[j]) > largest) {
        largest = std::fabs(x[j]);
        signed_largest = x[j];
      }
    const float d = signed_largest / -8.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(out, d);
    const auto code = [id](float v) { return limited(v * id + 8.5f, 15.0f); };
    for (int j = 0; j < 16; ++j)
      out[2 + j] = std::uint8_t(code(x[j]) | code(x[j + 16]) << 4);
  }
}

void encode_q4_1(const float* x, std::int64_t n_blocks, std::uint8_t* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, x += 32, out += 20) {
    float lo = x[0], hi = x[0];
    for (int j = 0; j < 32; ++j) {
      lo = x[j] < lo ? x[j] : lo;
      hi = x[j] > hi ? x[j] : hi;
    }
    const float d = (hi - lo) / 15.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(out, d);
    store_half(out + 2, lo);
    const auto code = [id, lo](float v) { return limited((v - lo) * id + 0.5f, 15.0f); };
    for (int j = 0; j < 16; ++j)
      out[4 + j] = std::uint8_t(code(x[j]) | code(x[j + 16]) << 4);
  }
}

void dot_rows(const float* x, const float* w, std::int64_t n, std::int64_t rows,
              std::int64_t stride, float* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float sum[lanes] = {};
    for (std::int64_t i = 0; i < n; ++i)
      sum[i % lanes] += x[i] * w[r * stride + i];
    for (int half = lanes / 2; half > 0; half /= 2)
      for (int l = 0; l < half; ++l)
        sum[l] += sum[l + half];
    out[r] = sum[0];
  }
}

std::int32_t dot_u8s8(const std::uint8_t* a, const std::int8_t* b, std::int64_t n) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    sum += std::int32_t(a[i]) * b[i];
  return sum;
}

} // namespace

extern const Kernels scalar_kernels;
const Kernels scalar_kernels{"scalar",    to_f32,      from_f32,    moments,     errors,
                             histogram,   range,       encode,      pack,        unpack,
                             dequantize,  grid_errors, decode_q8_0, decode_q4_0, decode_q4_1,
                             encode_q8_0, encode_q4_0, encode_q4_1, dot_rows,    dot_u8s8};

} // namespace bitlathe::cpu
