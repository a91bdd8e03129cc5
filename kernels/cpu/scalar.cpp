// SPDX-License-Identifier: Apache-2.0
// The definition of every CPU kernel, in plain C++ (encoders of GGUF blocks: encode_*.cpp).
#define BITLATHE_ISA scalar
#include "kernels/cpu/encoders.h"
#include "kernels/cpu/kernels.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"

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
               std::uint32_t* counts) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::int32_t index = bins;
    if (x[i] >= lo && x[i] <= hi) { // NaN fails both
      const float at = (x[i] - lo) * inv;
      index = at < float(bins) ? std::int32_t(at) : bins - 1;
    }
    ++counts[i % histogram_copies * (std::int64_t(bins) + 1) + index];
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

void lookup(const std::uint8_t* codes, std::int64_t n, const float* table, int, float scale,
            float* out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = table[codes[i]] * scale;
}

void count_above(const float* x, std::int64_t n, const float* thresholds, int count,
                 std::uint8_t* codes) {
  for (std::int64_t i = 0; i < n; ++i) {
    int code = 0;
    for (int t = 0; t < count; ++t)
      code += x[i] > thresholds[t];
    codes[i] = std::uint8_t(code);
  }
}

void decode_f8(bool e5m2, const std::uint8_t* codes, std::int64_t n, float scale, float* out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = (e5m2 ? f8_e5m2_to_f32(codes[i]) : f8_e4m3_to_f32(codes[i])) * scale;
}

float gemv_table4(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                  const float* table, const float* scales) {
  float sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += group) {
    float part = 0;
    for (std::int64_t i = begin; i < n && i < begin + group; ++i)
      part += table[codes[i / 2] >> (i % 2 * 4) & 15] * x[i];
    sum += part * scales[begin / group];
  }
  return sum;
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
      const float v = x[j] * id;
      const float q = std::round(std::fabs(v) < 127.0f ? std::fabs(v) : 127.0f);
      out[2 + j] = std::uint8_t(std::int8_t(v >= 0 ? q : -q));
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

void weighted_sum(const float* weight, const float* v, std::int64_t n, std::int64_t dim,
                  float* acc) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < dim; ++j)
      acc[j] += weight[i] * v[i * dim + j];
}

/// Sum over lanes, as dot_rows does it.
template <class Term> float lane_sum(std::int64_t n, Term term) {
  float sum[lanes] = {};
  for (std::int64_t i = 0; i < n; ++i)
    sum[i % lanes] += term(i);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l)
      sum[l] += sum[l + half];
  return sum[0];
}

float gemv_float(int type, const void* w, const float* x, std::int64_t n) {
  const auto* bytes = static_cast<const std::uint8_t*>(w);
  const std::int64_t size = type == type_f32 ? 4 : 2;
  return lane_sum(n, [=](std::int64_t i) { return x[i] * load(type, bytes + i * size); });
}

template <class Code>
float gemv_groups(std::int64_t n, std::int64_t group, const float* scales,
                  const std::uint8_t* zeros, int middle, const float* x, Code code) {
  float total = 0;
  for (std::int64_t first = 0, g = 0; first < n; first += group, ++g) {
    const std::int64_t count = first + group < n ? group : n - first;
    const int zero = zeros ? zeros[g] : middle;
    total += scales[g] * lane_sum(count, [=](std::int64_t i) {
               return x[first + i] * float(code(first + i) - zero);
             });
  }
  return total;
}

float gemv_int4(const std::uint8_t* codes, const float* x, const float*, std::int64_t n,
                std::int64_t group, const float* scales, const std::uint8_t* zeros) {
  float plain[32];
  float total = 0;
  // x comes in blocks of 32, even columns first, odd ones divided by 16: put each back in order.
  for (std::int64_t first = 0; first < n; first += 32) {
    const std::int64_t count = n - first < 32 ? n - first : 32, g = first / group;
    for (int i = 0; i < 32; ++i)
      plain[i] = x[first + (i % 2) * 16 + i / 2] * (i % 2 ? 16.0f : 1.0f);
    total += gemv_groups(count, 32, scales + g, zeros ? zeros + g : nullptr, 8, plain,
                         [=](std::int64_t i) {
                           const int two = codes[(first + i) / 2];
                           return i % 2 ? two >> 4 : two & 15;
                         });
  }
  return total;
}

float gemv_int8(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                const float* scales, const std::uint8_t* zeros) {
  return gemv_groups(n, group, scales, zeros, 128, x,
                     [=](std::int64_t i) { return int(codes[i]); });
}

float gemv_q8_0(const std::uint8_t* b, const float* x, std::int64_t n) {
  float total = 0, values[32];
  for (std::int64_t i = 0; i < n; i += 32, b += 34) {
    decode_q8_0(b, 1, values);
    total += lane_sum(32, [&](std::int64_t j) { return values[j] * x[i + j]; });
  }
  return total;
}

float gemv_q4_0(const std::uint8_t* b, const float* x, const float*, std::int64_t n) {
  float total = 0, values[32];
  for (std::int64_t i = 0; i < n; i += 32, b += 18) {
    decode_q4_0(b, 1, values);
    total += lane_sum(
        32, [&](std::int64_t j) { return values[j] * x[i + j] * (j < 16 ? 1.0f : 16.0f); });
  }
  return total;
}

constexpr int tokens = 16, most_rows = 4;

void gemm_tile(const float* panel, const float* w, std::int64_t stride, std::int64_t k,
               std::int64_t rows, std::int64_t wanted_tokens, float* c) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < k; ++i)
      for (std::int64_t t = 0; t < tokens && t < wanted_tokens; ++t)
        c[r * tokens + t] += w[r * stride + i] * panel[i * tokens + t];
}

void widen_u8(const std::uint8_t* codes, std::int64_t n, void* out) {
  std::memcpy(out, codes, std::size_t(n));
}

void gemm_int8_tile(const void* panel, const void* w, std::int64_t stride, std::int64_t k,
                    std::int64_t rows, std::int64_t wanted_tokens, const float* scale,
                    const std::int32_t* zero, const std::int32_t* sums, float* c) {
  const auto* u = static_cast<const std::uint8_t*>(w);
  const auto* q = static_cast<const std::int8_t*>(panel);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t t = 0; t < tokens && t < wanted_tokens; ++t) {
      std::int32_t sum = 0;
      for (std::int64_t i = 0; i < k; ++i)
        sum += std::int32_t(u[r * stride + i]) * q[(i / 4 * tokens + t) * 4 + i % 4];
      c[r * tokens + t] += scale[r] * float(sum - zero[r] * sums[t]);
    }
}

float quantize_token(const float* x, std::int64_t n, std::int8_t* out) {
  float absmax = 0;
  bool nan = false;
  for (std::int64_t i = 0; i < n; ++i) {
    nan = nan || std::isnan(x[i]);
    absmax = std::fabs(x[i]) > absmax ? std::fabs(x[i]) : absmax;
  }
  const float s = absmax > 0 ? absmax / 127.0f : 1.0f, r = 1.0f / s;
  for (std::int64_t i = 0; i < n; ++i) {
    float code = x[i] * r;
    code = code > -127.0f ? code : -127.0f; // also NaN
    code = code < 127.0f ? code : 127.0f;
    out[i] = std::int8_t(rne(code));
  }
  return nan ? std::numeric_limits<float>::quiet_NaN() : s;
}

float value_of(int kind, float x) {
  switch (kind) {
  case act_silu:
    return x / (1.0f + std::exp(-x));
  case act_gelu:
    return 0.5f * x * std::erfc(-x * 0.70710678118654752f);
  case act_gelu_tanh:
    return x / (1.0f + std::exp(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
  case act_gelu_quick:
    return x / (1.0f + std::exp(-1.702f * x));
  default:
    return x < 0 ? 0.0f : x;
  }
}

void activate(int kind, const float* x, const float* up, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = value_of(kind, x[i]) * (up ? up[i] : 1.0f);
}

float exp_sum(float* x, std::int64_t n, float scale, float shift) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    sum += x[i] = std::exp(x[i] * scale - shift);
  return sum;
}

float largest(const float* x, std::int64_t n) {
  float most = x[0];
  for (std::int64_t i = 0; i < n; ++i)
    most = x[i] > most ? x[i] : most;
  return most;
}

std::int32_t dot_u8s8(const std::uint8_t* a, const std::int8_t* b, std::int64_t n) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    sum += std::int32_t(a[i]) * b[i];
  return sum;
}

void subtract_product(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
                      const double* u, std::int64_t u_stride, std::int64_t rows, std::int64_t k,
                      std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < k; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        w[r * w_stride + j] -= e[r * e_stride + i] * u[i * u_stride + j];
}

} // namespace

namespace scalar {
extern const Kernels kernels;
const Kernels kernels{
    .isa = "scalar",
    .to_f32 = to_f32,
    .from_f32 = from_f32,
    .moments = moments,
    .errors = errors,
    .histogram = histogram,
    .range = range,
    .encode = encode,
    .pack = pack,
    .unpack = unpack,
    .dequantize = dequantize,
    .lookup = lookup,
    .count_above = count_above,
    .decode_f8 = decode_f8,
    .grid_errors = grid_errors,
    .q8_0 = {decode_q8_0, nullptr, encode_q8_0},
    .q4_0 = {decode_q4_0, nullptr, encode_q4_0},
    .q4_1 = {decode_q4_1, nullptr, encode_q4_1},
    .q5_0 = {nullptr, nullptr, encode_q5_0},
    .q5_1 = {nullptr, nullptr, encode_q5_1},
    .q2_k = {nullptr, nullptr, encode_q2_k},
    .q3_k = {nullptr, nullptr, encode_q3_k},
    .q4_k = {nullptr, nullptr, encode_q4_k},
    .q5_k = {nullptr, nullptr, encode_q5_k},
    .q6_k = {nullptr, nullptr, encode_q6_k},
    .iq4_nl = {nullptr, nullptr, encode_iq4_nl},
    .iq4_xs = {nullptr, nullptr, encode_iq4_xs},
    .mxfp4 = {nullptr, nullptr, encode_mxfp4},
    .nvfp4 = {nullptr, nullptr, encode_nvfp4},
    .tq1_0 = {nullptr, nullptr, encode_tq1_0},
    .tq2_0 = {nullptr, nullptr, encode_tq2_0},
    .encode_q8_0 = cpu::encode_q8_0,
    .encode_q4_0 = cpu::encode_q4_0,
    .encode_q4_1 = cpu::encode_q4_1,
    .dot_rows = dot_rows,
    .weighted_sum = weighted_sum,
    .gemv_float = gemv_float,
    .gemv_int8 = gemv_int8,
    .gemv_table4 = gemv_table4,
    .gemv_q8_0 = gemv_q8_0,
    .gemv_int4 = gemv_int4,
    .gemv_q4_0 = gemv_q4_0,
    .tile_tokens = tokens,
    .tile_rows = most_rows,
    .gemm_tile = gemm_tile,
    .int8_unit = 1,
    .widen_u8 = widen_u8,
    .gemm_int8_tile = gemm_int8_tile,
    .dot_u8s8 = dot_u8s8,
    .quantize_token = quantize_token,
    .activate = activate,
    .exp_sum = exp_sum,
    .largest = largest,
    .subtract_product = subtract_product,
};
} // namespace scalar

} // namespace bitlathe::cpu
