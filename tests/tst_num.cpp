// SPDX-License-Identifier: GPL-3.0-or-later
// Small float types against slow versions in double.
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"
#include "support.h"

#include <limits>
#include <QtTest>

using namespace bitlathe;

namespace {

struct Format {
  int exponent_bits, mantissa_bits;
  bool ieee; ///< has infinities; else the top exponent holds values and one NaN
};

/// The value of a code by the definition of the format.
double slow_value(std::uint32_t code, const Format& f) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const std::uint32_t fraction = code & ((1u << f.mantissa_bits) - 1);
  const int exponent = int(code >> f.mantissa_bits) & ((1 << f.exponent_bits) - 1);
  const double sign = code >> (f.exponent_bits + f.mantissa_bits) ? -1 : 1;
  const bool top = exponent == (1 << f.exponent_bits) - 1;
  if (top && f.ieee)
    return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (top && fraction == (1u << f.mantissa_bits) - 1)
    return std::nan("");
  if (exponent == 0)
    return sign * std::ldexp(double(fraction), 1 - bias - f.mantissa_bits);
  return sign *
         std::ldexp(double(fraction + (1u << f.mantissa_bits)), exponent - bias - f.mantissa_bits);
}

/// Nearest code of a magnitude by bisection over all positive codes, ties to the even code.
/// `largest` is the last finite code; beyond it: infinity (the next code) or, saturating, largest.
std::uint32_t slow_nearest(double magnitude, const Format& f, std::uint32_t largest,
                           bool saturate) {
  std::uint32_t low = 0, high = largest;
  if (magnitude >= slow_value(largest, f)) {
    const double step = slow_value(largest, f) - slow_value(largest - 1, f);
    const bool over = magnitude >= slow_value(largest, f) + step / 2; // largest is odd
    return over && !saturate ? largest + 1 : largest;
  }
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (slow_value(middle, f) <= magnitude ? low : high) = middle;
  }
  const double below = magnitude - slow_value(low, f), above = slow_value(high, f) - magnitude;
  if (below != above)
    return below < above ? low : high;
  return low % 2 == 0 ? low : high;
}

constexpr Format half{5, 10, true}, bfloat{8, 7, true}, e4m3{4, 3, false}, e5m2{5, 2, true};

/// Interesting f32 values around every code, and noise over all exponents.
template <class Use> void sweep(const Format& f, std::uint32_t codes, Use use) {
  const auto stride = std::max<std::uint32_t>(1, codes / 4096);
  for (std::uint32_t code = 0; code + 1 < codes; code += (code < 4096 ? 1 : stride)) {
    const double a = slow_value(code, f), b = slow_value(code + 1, f);
    if (!std::isfinite(a) || !std::isfinite(b))
      continue;
    const auto exact = float(a), middle = float((a + b) / 2);
    for (const float x : {exact, middle, std::nextafter(exact, 1e38f), std::nextafter(exact, 0.0f),
                          std::nextafter(middle, 1e38f), std::nextafter(middle, 0.0f)})
      use(x);
  }
  std::mt19937 random(5);
  for (int i = 0; i < 200000; ++i) {
    const float x = std::bit_cast<float>(std::uint32_t(random()) & 0x7fffffffu);
    if (std::isfinite(x))
      use(x);
  }
}

} // namespace

class TestNum : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void everyHalf();
  void everyBfloat();
  void everyFloat8();
  void roundHalf();
  void roundBfloat();
  void roundFloat8();
  void special();
};

void TestNum::everyHalf() {
  for (std::uint32_t c = 0; c < 65536; ++c) {
    const double want = slow_value(c, half);
    const float got = f16_to_f32(std::uint16_t(c));
    if (std::isnan(want)) {
      QVERIFY(std::isnan(got));
      QVERIFY(std::isnan(f16_to_f32(f32_to_f16(got))));
      continue;
    }
    QVERIFY2(double(got) == want && std::signbit(got) == bool(c >> 15),
             qPrintable(QString::number(c)));
    QCOMPARE(f32_to_f16(got), std::uint16_t(c));
  }
}

void TestNum::everyBfloat() {
  for (std::uint32_t c = 0; c < 65536; ++c) {
    const double want = slow_value(c, bfloat);
    const float got = bf16_to_f32(std::uint16_t(c));
    if (std::isnan(want)) {
      QVERIFY(std::isnan(got));
      QVERIFY(std::isnan(bf16_to_f32(f32_to_bf16(got))));
      continue;
    }
    QVERIFY2(double(got) == want, qPrintable(QString::number(c)));
    QCOMPARE(f32_to_bf16(got), std::uint16_t(c));
  }
}

void TestNum::everyFloat8() {
  for (std::uint32_t c = 0; c < 256; ++c) {
    const double a = slow_value(c, e4m3), b = slow_value(c, e5m2);
    const float x = f8_e4m3_to_f32(std::uint8_t(c)), y = f8_e5m2_to_f32(std::uint8_t(c));
    if (std::isnan(a)) {
      QVERIFY(std::isnan(x));
      QCOMPARE(f32_to_f8_e4m3(x) & 0x7f, 0x7f);
    } else {
      QVERIFY(double(x) == a && std::signbit(x) == bool(c >> 7));
      QCOMPARE(f32_to_f8_e4m3(x), std::uint8_t(c));
    }
    if (std::isnan(b)) {
      QVERIFY(std::isnan(y));
      QVERIFY(std::isnan(f8_e5m2_to_f32(f32_to_f8_e5m2(y))));
    } else {
      QVERIFY(double(y) == b && std::signbit(y) == bool(c >> 7));
      if (std::isfinite(b))
        QCOMPARE(f32_to_f8_e5m2(y), std::uint8_t(c));
    }
  }
}

void TestNum::roundHalf() {
  sweep(half, 0x7c00, [](float x) {
    const std::uint32_t want = slow_nearest(double(x), half, 0x7bff, false);
    QVERIFY2(f32_to_f16(x) == want, qPrintable(QString::number(double(x), 'g', 10)));
    QVERIFY(f32_to_f16(-x) == (want | 0x8000));
  });
}

void TestNum::roundBfloat() {
  sweep(bfloat, 0x7f80, [](float x) {
    const std::uint32_t want = slow_nearest(double(x), bfloat, 0x7f7f, false);
    QVERIFY2(f32_to_bf16(x) == want, qPrintable(QString::number(double(x), 'g', 10)));
    QVERIFY(f32_to_bf16(-x) == (want | 0x8000));
  });
}

void TestNum::roundFloat8() {
  sweep(e4m3, 0x7f, [](float x) {
    QVERIFY2(f32_to_f8_e4m3(x) == slow_nearest(double(x), e4m3, 0x7e, true),
             qPrintable(QString::number(double(x), 'g', 10)));
  });
  sweep(e5m2, 0x7c, [](float x) {
    QVERIFY2(f32_to_f8_e5m2(x) == slow_nearest(double(x), e5m2, 0x7b, true),
             qPrintable(QString::number(double(x), 'g', 10)));
  });
}

void TestNum::special() {
  const float inf = std::numeric_limits<float>::infinity();
  QCOMPARE(f32_to_f16(inf), std::uint16_t(0x7c00));
  QCOMPARE(f32_to_bf16(-inf), std::uint16_t(0xff80));
  QCOMPARE(f32_to_f8_e4m3(inf), std::uint8_t(0x7e));
  QCOMPARE(f32_to_f8_e4m3(-inf), std::uint8_t(0xfe));
  QCOMPARE(f32_to_f8_e5m2(inf), std::uint8_t(0x7b));
  QCOMPARE(f8_e4m3_to_f32(0x7e), 448.0f);
  QCOMPARE(f8_e5m2_to_f32(0x7b), 57344.0f);
}

QTEST_APPLESS_MAIN(TestNum)
#include "tst_num.moc"
