// SPDX-License-Identifier: Apache-2.0
// The value tables of bitsandbytes: NF4 (quantiles of the normal distribution), FP4 (sign, two
// exponent bits, one mantissa bit, with a subnormal of 1/192), and the dynamic map of its 8-bit
// scales. Codes are chosen by the thresholds of its GPU kernels: above one is the next code.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace bitlathe {

/// Ascending.
constexpr std::array<float, 16> nf4_values = {-1.0f,
                                              -0.6961928009986877f,
                                              -0.5250730514526367f,
                                              -0.39491748809814453f,
                                              -0.28444138169288635f,
                                              -0.18477343022823334f,
                                              -0.09105003625154495f,
                                              0.0f,
                                              0.07958029955625534f,
                                              0.16093020141124725f,
                                              0.24611230194568634f,
                                              0.33791524171829224f,
                                              0.44070982933044434f,
                                              0.5626170039176941f,
                                              0.7229568362236023f,
                                              1.0f};
/// Bit 3 is the sign; not sorted.
constexpr std::array<float, 16> fp4_values = {0.0f,
                                              0.0052083334885537624f,
                                              0.6666666865348816f,
                                              1.0f,
                                              0.3333333432674408f,
                                              0.5f,
                                              0.1666666716337204f,
                                              0.25f,
                                              -0.0f,
                                              -0.0052083334885537624f,
                                              -0.6666666865348816f,
                                              -1.0f,
                                              -0.3333333432674408f,
                                              -0.5f,
                                              -0.1666666716337204f,
                                              -0.25f};

/// Halfway between neighbours.
template <std::size_t n>
constexpr std::array<float, n - 1> midpoints(const std::array<float, n>& values) {
  std::array<float, n - 1> out{};
  for (std::size_t i = 0; i + 1 < n; ++i)
    out[i] = float((double(values[i]) + double(values[i + 1])) / 2);
  return out;
}
constexpr std::array<float, 15> nf4_thresholds = midpoints(nf4_values);
constexpr std::array<float, 7> fp4_thresholds = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                                                 0.4166667f,  0.583333f,  0.8333333f};
/// Codes of the magnitudes of FP4 in ascending order.
constexpr std::array<std::uint8_t, 8> fp4_ascending = {0, 1, 6, 7, 4, 5, 2, 3};

namespace nf4_detail {
/// For i in 0 .. 6, [0.1, 1] cut into 2^i parts: their middles times 10^(i - 6), ascending. The
/// bits are those that 32-bit arithmetic gives for them.
constexpr std::array<std::uint32_t, 127> dynamic_bits = {
    0x3513a3b7, 0x365a1a94, 0x370205ff, 0x37b24206, 0x38378034, 0x388aefb3, 0x38ba1f4b, 0x3923d70b,
    0x398ce705, 0x39c7e283, 0x3a016f01, 0x3a1eecc1, 0x3a3c6a80, 0x3a59e83e, 0x3a7765ff, 0x3aa7ef9d,
    0x3af1a9fc, 0x3b1db22d, 0x3b428f5c, 0x3b676c8a, 0x3b8624dd, 0x3b989374, 0x3bab020d, 0x3bbd70a4,
    0x3bcfdf3b, 0x3be24dd3, 0x3bf4bc6a, 0x3c039581, 0x3c0ccccd, 0x3c160418, 0x3c1f3b64, 0x3c3ae148,
    0x3c68f5c3, 0x3c8b851f, 0x3ca28f5c, 0x3cb9999a, 0x3cd0a3d7, 0x3ce7ae13, 0x3cfeb852, 0x3d0ae147,
    0x3d166667, 0x3d21eb85, 0x3d2d70a3, 0x3d38f5c3, 0x3d447ae1, 0x3d500000, 0x3d5b851f, 0x3d670a3d,
    0x3d728f5d, 0x3d7e147a, 0x3d84cccd, 0x3d8a8f5d, 0x3d9051eb, 0x3d96147b, 0x3d9bd70a, 0x3da1999a,
    0x3da75c28, 0x3dad1eb8, 0x3db2e148, 0x3db8a3d7, 0x3dbe6667, 0x3dc428f5, 0x3dc9eb85, 0x3ddb3334,
    0x3df80000, 0x3e0a6666, 0x3e18cccd, 0x3e273333, 0x3e359999, 0x3e440000, 0x3e526666, 0x3e60cccd,
    0x3e6f3334, 0x3e7d999a, 0x3e860000, 0x3e8d3334, 0x3e946666, 0x3e9b999a, 0x3ea2cccc, 0x3eaa0000,
    0x3eb13332, 0x3eb86666, 0x3ebf999a, 0x3ec6cccc, 0x3ece0000, 0x3ed53332, 0x3edc6666, 0x3ee3999a,
    0x3eeacccc, 0x3ef20000, 0x3ef93334, 0x3f003333, 0x3f03cccd, 0x3f076666, 0x3f0b0000, 0x3f0e999a,
    0x3f123334, 0x3f15cccd, 0x3f196666, 0x3f1d0000, 0x3f20999a, 0x3f243333, 0x3f27cccd, 0x3f2b6667,
    0x3f2f0000, 0x3f32999a, 0x3f363334, 0x3f39cccd, 0x3f3d6667, 0x3f410000, 0x3f44999a, 0x3f483333,
    0x3f4bcccc, 0x3f4f6666, 0x3f530000, 0x3f569999, 0x3f5a3333, 0x3f5dcccc, 0x3f616666, 0x3f650000,
    0x3f68999a, 0x3f6c3333, 0x3f6fcccc, 0x3f736666, 0x3f770000, 0x3f7a9999, 0x3f7e3333};
constexpr std::array<float, 256> make_dynamic_map() {
  std::array<float, 256> map{};
  for (std::size_t i = 0; i < 127; ++i) {
    map[128 + i] = std::bit_cast<float>(dynamic_bits[i]);
    map[126 - i] = -map[128 + i];
  }
  map[255] = 1.0f;
  return map;
}
} // namespace nf4_detail

/// Ascending; entry 127 is 0.
constexpr std::array<float, 256> dynamic_map = nf4_detail::make_dynamic_map();
constexpr std::array<float, 255> dynamic_thresholds = midpoints(dynamic_map);

inline std::uint8_t dynamic_code(float x) {
  const auto at = std::lower_bound(dynamic_thresholds.begin(), dynamic_thresholds.end(), x);
  return std::uint8_t(at - dynamic_thresholds.begin());
}

} // namespace bitlathe
