// SPDX-License-Identifier: GPL-3.0-or-later
// Every kernel of every instruction set this processor has, against its scalar twin: bit for bit
// where that is promised, within rounding where sums may run in another order.
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/num/float16.h"
#include "kernels/quant/int_grid.h"
#include "support.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <QtTest>

using namespace bitlathe;
using cpu::Kernels;

namespace {

const float inf = std::numeric_limits<float>::infinity();
const float not_number = std::numeric_limits<float>::quiet_NaN();

/// Lengths around every vector width.
const std::int64_t lengths[] = {1,  2,  7,  8,  15, 16,  17,  31,  32,  33,
                                47, 63, 64, 65, 96, 100, 127, 255, 256, 1000};

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Noise with zeros of both signs, subnormals, ties and large values in it.
std::vector<float> rough(std::size_t n, std::uint32_t seed) {
  auto x = test::normal_noise(n, seed);
  std::mt19937 random(seed + 1000);
  const float odd[] = {0.0f, -0.0f, 1e-40f, -1e-40f, 0.5f, -0.5f, 1.5f, 2.5f, 1000.0f, -1000.0f};
  for (auto& v : x)
    if (random() % 4 == 0)
      v = odd[random() % 10];
  return x;
}

/// Relative to the sum of magnitudes, which is what rounding is proportional to.
bool close(double got, double want, double magnitude) {
  return std::fabs(got - want) <= 2e-6 * magnitude + 1e-30;
}

const Kernels& scalar() { return cpu_kernels(Isa::scalar); }

} // namespace

class TestKernels : public QObject {
  Q_OBJECT

 private:
  std::vector<const Kernels*> tables_;

 private Q_SLOTS:
  void initTestCase() {
    for (const Isa isa : supported_isas()) {
      tables_.push_back(&cpu_kernels(isa));
      QCOMPARE(std::string(tables_.back()->isa), std::string(isa_name(isa)));
    }
    qInfo("%s: %zu instruction sets", cpu_brand().c_str(), tables_.size());
  }
  void numbers();
  void moments();
  void errors();
  void histogram();
  void range();
  void encode();
  void packing();
  void dequantize();
  void lookup();
  void float8();
  void thresholds();
  void tableProducts();
  void gridErrors();
  void blockEncoding();
  void blockDecoding();
  void products();
  void packedProducts();
  void tiles();
  void integerProducts();
  void tokens();
  void softmaxParts();
};

void TestKernels::numbers() {
  std::vector<std::uint16_t> codes(65536);
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] = std::uint16_t(i);
  std::vector<float> some = rough(100000, 1);
  std::mt19937 random(2);
  for (std::size_t i = 0; i < some.size(); i += 3)
    some[i] = std::bit_cast<float>(std::uint32_t(random())); // NaN payloads too
  for (const Kernels* k : tables_)
    for (const int type : {cpu::type_f16, cpu::type_bf16}) {
      std::vector<float> wide(65536), want(65536);
      k->to_f32(type, codes.data(), 65536, wide.data());
      scalar().to_f32(type, codes.data(), 65536, want.data());
      QVERIFY2(same_bits(wide, want), k->isa);
      for (std::size_t i = 0; i < 65536; ++i)
        QVERIFY(std::bit_cast<std::uint32_t>(want[i]) ==
                std::bit_cast<std::uint32_t>(type == cpu::type_f16 ? f16_to_f32(codes[i])
                                                                   : bf16_to_f32(codes[i])));
      std::vector<std::uint16_t> narrow(some.size()), want_narrow(some.size());
      k->from_f32(type, some.data(), std::int64_t(some.size()), narrow.data());
      scalar().from_f32(type, some.data(), std::int64_t(some.size()), want_narrow.data());
      QVERIFY2(same_bits(narrow, want_narrow), k->isa);
      for (const std::int64_t n : lengths) { // nothing past the end, any alignment
        std::vector<std::uint8_t> bytes(std::size_t(n) * 2 + 1);
        std::memcpy(bytes.data() + 1, codes.data() + 15360, std::size_t(n) * 2);
        std::vector<float> part(std::size_t(n) + 1, 7.0f);
        k->to_f32(type, bytes.data() + 1, n, part.data());
        QCOMPARE(part.back(), 7.0f);
        QVERIFY(std::memcmp(part.data(), want.data() + 15360, std::size_t(n) * 4) == 0);
        std::vector<std::uint8_t> back(std::size_t(n) * 2 + 2, 0xa5);
        k->from_f32(type, part.data(), n, back.data() + 1);
        QVERIFY(std::memcmp(back.data() + 1, bytes.data() + 1, std::size_t(n) * 2) == 0);
        QCOMPARE(back.back(), std::uint8_t(0xa5));
      }
    }
}

void TestKernels::moments() {
  const auto run = [](const Kernels& k, const std::vector<float>& x) {
    cpu::MomentState s{};
    for (int l = 0; l < cpu::lanes; ++l) {
      s.min[l] = inf;
      s.max[l] = -inf;
    }
    const auto half = std::int64_t(x.size() / 32 * 16); // two calls, as for a long row
    k.moments(x.data(), half, &s);
    k.moments(x.data() + half, std::int64_t(x.size()) - half, &s);
    return s;
  };
  for (const std::int64_t n : lengths)
    for (const bool odd : {false, true}) {
      auto x = rough(std::size_t(n), std::uint32_t(n));
      if (odd) {
        x[0] = not_number;
        x[std::size_t(n / 2)] = -inf;
        x[std::size_t(n - 1)] = inf;
      }
      const auto want = run(scalar(), x);
      for (const Kernels* k : tables_) {
        const auto got = run(*k, x);
        QVERIFY2(std::memcmp(got.sum, want.sum, sizeof want.sum) == 0, k->isa);
        for (int l = 0; l < cpu::lanes; ++l)
          QVERIFY(got.min[l] == want.min[l] && got.max[l] == want.max[l]);
        QVERIFY(got.nan == want.nan && got.inf == want.inf && got.zeros == want.zeros);
      }
    }
}

void TestKernels::errors() {
  for (const std::int64_t n : lengths) {
    const auto w = rough(std::size_t(n), 3), v = rough(std::size_t(n), 4);
    cpu::ErrorState want{};
    scalar().errors(w.data(), v.data(), n, &want);
    for (const Kernels* k : tables_) {
      cpu::ErrorState got{};
      k->errors(w.data(), v.data(), n, &got);
      QVERIFY2(std::memcmp(&got, &want, sizeof want) == 0, k->isa);
    }
  }
}

void TestKernels::histogram() {
  auto x = rough(5003, 5);
  x[1] = not_number;
  x[2] = inf;
  x[3] = -inf;
  x[4] = -2.0f; // both ends belong to it
  x[5] = 2.0f;
  for (const int bins : {1, 2, 7, 256, 65536}) {
    const float inv = float(bins) / 4.0f;
    const std::size_t stride = std::size_t(bins) + 1;
    const auto run = [&](const Kernels& k, std::int64_t n) {
      std::vector<std::uint32_t> counts(stride * cpu::histogram_copies), sum(stride);
      k.histogram(x.data(), n, -2.0f, 2.0f, inv, bins, counts.data());
      for (std::size_t i = 0; i < counts.size(); ++i)
        sum[i % stride] += counts[i];
      return sum;
    };
    for (const std::int64_t n : {5003, 16, 9}) {
      const auto want = run(scalar(), n);
      std::uint64_t all = 0;
      for (const auto c : want)
        all += c;
      QCOMPARE(all, std::uint64_t(n)); // those outside are in the last one
      for (const Kernels* k : tables_)
        QVERIFY2(run(*k, n) == want, k->isa);
    }
  }
}

void TestKernels::range() {
  for (const std::int64_t n : lengths)
    for (const Kernels* k : tables_) {
      auto x = rough(std::size_t(n), 6);
      float lo, hi, want_lo, want_hi;
      k->range(x.data(), n, &lo, &hi);
      scalar().range(x.data(), n, &want_lo, &want_hi);
      QVERIFY(lo == want_lo && hi == want_hi && std::signbit(lo) == std::signbit(want_lo) &&
              std::signbit(hi) == std::signbit(want_hi));
      std::fill(x.begin(), x.end(), -0.0f);
      k->range(x.data(), n, &lo, &hi);
      QVERIFY(lo == 0 && !std::signbit(lo) && !std::signbit(hi));
      for (const std::int64_t at : {std::int64_t(0), n / 2, n - 1}) {
        x = rough(std::size_t(n), 7);
        x[std::size_t(at)] = not_number;
        k->range(x.data(), n, &lo, &hi);
        QVERIFY2(std::isnan(lo) && std::isnan(hi), k->isa);
      }
    }
}

void TestKernels::encode() {
  for (int bits = 2; bits <= 8; ++bits)
    for (const bool symmetric : {false, true}) {
      const IntGrid grid = make_int_grid(-1.3f, 2.1f, bits, symmetric, FloatType::f16);
      for (const std::int64_t n : lengths) {
        auto x = rough(std::size_t(n), std::uint32_t(bits));
        for (std::size_t i = 0; i < x.size(); i += 3) // exact ties between codes
          x[i] = grid.scale * (float(i % 37) - 18.5f);
        x[0] = not_number;
        if (n > 2) {
          x[1] = inf;
          x[2] = -inf;
        }
        for (const Kernels* k : tables_) {
          std::vector<std::uint8_t> codes(std::size_t(n) + 1, 0xa5);
          k->encode(x.data(), n, grid.inverse, grid.zero, bits, codes.data());
          for (std::int64_t i = 0; i < n; ++i)
            QCOMPARE(codes[std::size_t(i)], encode_int(x[std::size_t(i)], grid, bits));
          QCOMPARE(codes.back(), std::uint8_t(0xa5));
        }
      }
    }
}

void TestKernels::packing() {
  std::mt19937 random(8);
  for (int bits = 2; bits <= 8; ++bits)
    for (const std::int64_t n : lengths) {
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(n));
      for (auto& c : codes)
        c = std::uint8_t(random() & ((1u << bits) - 1));
      const std::int64_t bytes = (n * bits + 31) / 32 * 4;
      std::vector<std::uint8_t> want(std::size_t(bytes) + 1, 0xa5);
      for (std::int64_t b = 0; b < bytes * 8; ++b) { // the definition, bit by bit
        const std::int64_t i = b / bits;
        const unsigned bit = i < n ? codes[std::size_t(i)] >> (b % bits) & 1u : 0u;
        auto& byte = want[std::size_t(b / 8)];
        byte = std::uint8_t((byte & ~(1u << (b % 8))) | bit << (b % 8));
      }
      for (const Kernels* k : tables_) {
        std::vector<std::uint8_t> packed(std::size_t(bytes) + 1, 0xa5);
        k->pack(codes.data(), n, bits, packed.data());
        QVERIFY2(packed == want, k->isa);
        for (const std::int64_t first : {std::int64_t(0), std::int64_t(5), n / 2, n - 1}) {
          if (first >= n)
            continue;
          std::vector<std::uint8_t> exact(packed.begin(), packed.end() - 1); // ends at the row
          std::vector<std::uint8_t> out(std::size_t(n - first) + 1, 0xa5);
          k->unpack(exact.data(), bytes, bits, first, n - first, out.data());
          QVERIFY2(std::equal(codes.begin() + first, codes.end(), out.begin()), k->isa);
          QCOMPARE(out.back(), std::uint8_t(0xa5));
        }
      }
    }
}

void TestKernels::dequantize() {
  std::vector<std::uint8_t> codes(256);
  for (std::size_t i = 0; i < 256; ++i)
    codes[i] = std::uint8_t(i);
  for (const Kernels* k : tables_)
    for (const std::int64_t n : {1, 16, 19, 256}) {
      std::vector<float> got(static_cast<std::size_t>(n)), want(got);
      k->dequantize(codes.data(), n, 0.0123f, 131, got.data());
      scalar().dequantize(codes.data(), n, 0.0123f, 131, want.data());
      QVERIFY(same_bits(got, want));
    }
}

void TestKernels::lookup() {
  std::mt19937 random(4);
  const auto table = rough(256, 5);
  for (const Kernels* k : tables_)
    for (const int entries : {2, 4, 8, 16, 32, 128, 256})
      for (const std::int64_t n : {1, 16, 19, 64, 517}) {
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(n));
        for (auto& code : codes)
          code = std::uint8_t(random() % std::uint32_t(entries));
        std::vector<float> got(codes.size()), want(got);
        k->lookup(codes.data(), n, table.data(), entries, 0.37f, got.data());
        scalar().lookup(codes.data(), n, table.data(), entries, 0.37f, want.data());
        QVERIFY2(same_bits(got, want), k->isa);
      }
}

void TestKernels::float8() {
  std::vector<std::uint8_t> codes(256 + 13);
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] = std::uint8_t(i);
  for (const Kernels* k : tables_)
    for (const bool e5m2 : {false, true})
      for (const std::size_t first : {0u, 3u}) {
        std::vector<float> got(codes.size() - first), want(got);
        const auto n = std::int64_t(got.size());
        k->decode_f8(e5m2, codes.data() + first, n, 0.0371f, got.data());
        scalar().decode_f8(e5m2, codes.data() + first, n, 0.0371f, want.data());
        for (std::size_t i = 0; i < got.size(); ++i)
          QVERIFY2(got[i] == want[i] ? std::signbit(got[i]) == std::signbit(want[i])
                                     : std::isnan(got[i]) && std::isnan(want[i]),
                   k->isa);
      }
}

void TestKernels::thresholds() {
  auto x = rough(517, 6);
  x[5] = std::numeric_limits<float>::quiet_NaN();
  auto thresholds = test::normal_noise(40, 7);
  std::sort(thresholds.begin(), thresholds.end());
  for (const Kernels* k : tables_)
    for (const int count : {1, 7, 15, 40}) {
      thresholds[0] = x[9]; // equal is not above
      std::vector<std::uint8_t> got(x.size()), want(x.size());
      k->count_above(x.data(), 517, thresholds.data(), count, got.data());
      scalar().count_above(x.data(), 517, thresholds.data(), count, want.data());
      QVERIFY2(got == want, k->isa);
    }
}

void TestKernels::tableProducts() {
  std::mt19937 random(8);
  const auto table = test::normal_noise(16, 9);
  using Shape = std::pair<std::int64_t, std::int64_t>;
  for (const Kernels* k : tables_)
    for (const auto& [n, group] :
         {Shape{64, 64}, {256, 32}, {419, 419}, {4096, 4096}, {96, 48}, {7, 7}}) {
      std::vector<std::uint8_t> codes(std::size_t((n + 7) / 8 * 4));
      for (auto& code : codes)
        code = std::uint8_t(random());
      const auto x = test::normal_noise(std::size_t(n), 10);
      const auto scales = test::normal_noise(std::size_t((n + group - 1) / group), 11);
      double want = 0, size = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        const int code = codes[std::size_t(i / 2)] >> (i % 2 * 4) & 15;
        const double term = double(table[std::size_t(code)]) * double(x[std::size_t(i)]) *
                            double(scales[std::size_t(i / group)]);
        want += term;
        size += std::fabs(term);
      }
      const float got =
          k->gemv_table4(codes.data(), x.data(), n, group, table.data(), scales.data());
      QVERIFY2(std::fabs(double(got) - want) <= 2e-6 * size, k->isa);
    }
}

void TestKernels::gridErrors() {
  for (const int bits : {2, 4, 8})
    for (const std::int64_t n : {1, 5, 32, 100}) {
      const auto x = rough(std::size_t(n), 9), weight = test::normal_noise(std::size_t(n), 10);
      std::vector<float> scale(32), inverse(32);
      std::vector<std::int32_t> zero(32);
      for (int j = 0; j < 32; ++j) {
        const IntGrid g =
            make_int_grid(-0.1f * float(j), 0.15f * float(j), bits, j % 2 == 0, FloatType::bf16);
        scale[std::size_t(j)] = g.scale;
        inverse[std::size_t(j)] = g.inverse;
        zero[std::size_t(j)] = g.zero;
      }
      for (const float* factor : {static_cast<const float*>(nullptr), weight.data()}) {
        std::vector<double> want(32);
        for (std::size_t j = 0; j < 32; ++j)
          for (std::size_t i = 0; i < std::size_t(n); ++i) {
            const IntGrid g{scale[j], inverse[j], zero[j]};
            const float e = x[i] - decode_int(encode_int(x[i], g, bits), g);
            want[j] += (factor ? double(factor[i]) : 1.0) * (double(e) * double(e));
          }
        for (const Kernels* k : tables_) {
          std::vector<double> got(32);
          k->grid_errors(x.data(), factor, n, scale.data(), inverse.data(), zero.data(), bits, 32,
                         got.data());
          QVERIFY2(same_bits(got, want), k->isa);
        }
      }
    }
}

void TestKernels::blockEncoding() {
  std::vector<float> x = rough(32 * 400, 11);
  for (int b = 0; b < 40; ++b) // whole blocks of one kind
    for (int j = 0; j < 32; ++j)
      x[std::size_t(b * 32 + j)] = b < 10   ? (b % 2 ? -0.0f : 0.0f)
                                   : b < 20 ? (j % 2 ? -1.0f : 1.0f) * float(b) // equal magnitudes
                                   : b < 30
                                       ? std::ldexp(float(j - 16), -145 + b) // subnormal scales
                                       : float(j % (b - 20)) * 0.125f;       // all positive, ties
  const auto run = [&](auto kernel, std::int64_t bytes) {
    std::vector<std::uint8_t> out(std::size_t(400 * bytes));
    kernel(x.data(), 400, out.data());
    return out;
  };
  for (const Kernels* k : tables_) {
    QVERIFY2(run(k->encode_q8_0, 34) == run(scalar().encode_q8_0, 34), k->isa);
    QVERIFY2(run(k->encode_q4_0, 18) == run(scalar().encode_q4_0, 18), k->isa);
    QVERIFY2(run(k->encode_q4_1, 20) == run(scalar().encode_q4_1, 20), k->isa);
  }
}

void TestKernels::blockDecoding() {
  std::mt19937 random(12);
  std::vector<std::uint8_t> bytes(34 * 100);
  for (auto& b : bytes)
    b = std::uint8_t(random());
  const auto finite = [&](std::size_t block) { // scales that are numbers
    for (std::size_t i = 0; i + 4 <= bytes.size(); i += block)
      bytes[i + 1] &= 0xbb, bytes[i + 3] &= 0xbb;
  };
  const auto run = [&](auto kernel) {
    std::vector<float> out(3200);
    kernel(bytes.data(), 100, out.data());
    return out;
  };
  for (const Kernels* k : tables_) {
    finite(34);
    QVERIFY2(same_bits(run(k->q8_0.decode), run(scalar().q8_0.decode)), k->isa);
    finite(18);
    QVERIFY2(same_bits(run(k->q4_0.decode), run(scalar().q4_0.decode)), k->isa);
    finite(20);
    QVERIFY2(same_bits(run(k->q4_1.decode), run(scalar().q4_1.decode)), k->isa);
  }
}

void TestKernels::products() {
  for (const std::int64_t n : lengths) {
    const std::int64_t rows = 7;
    const auto x = test::normal_noise(std::size_t(n), 13),
               w = test::normal_noise(std::size_t(n * rows), 14),
               weight = test::normal_noise(std::size_t(rows), 15);
    for (const Kernels* k : tables_) {
      std::vector<float> out(rows);
      k->dot_rows(x.data(), w.data(), n, rows, n, out.data());
      for (std::int64_t r = 0; r < rows; ++r) {
        double want = 0, size = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const double p = double(x[std::size_t(i)]) * double(w[std::size_t(r * n + i)]);
          want += p;
          size += std::fabs(p);
        }
        QVERIFY(close(double(out[std::size_t(r)]), want, size));
      }
      std::vector<float> acc(x);
      k->weighted_sum(weight.data(), w.data(), rows, n, acc.data());
      for (std::int64_t i = 0; i < n; ++i) {
        double want = double(x[std::size_t(i)]), size = std::fabs(want);
        for (std::int64_t r = 0; r < rows; ++r) {
          const double p = double(weight[std::size_t(r)]) * double(w[std::size_t(r * n + i)]);
          want += p;
          size += std::fabs(p);
        }
        QVERIFY(close(double(acc[std::size_t(i)]), want, size));
      }
      for (const int type : {cpu::type_f32, cpu::type_f16, cpu::type_bf16}) {
        std::vector<std::uint8_t> stored(std::size_t(n) * 4 + 1);
        k->from_f32(type, w.data(), n, stored.data() + 1);
        std::vector<float> values(static_cast<std::size_t>(n));
        k->to_f32(type, stored.data() + 1, n, values.data());
        double want = 0, size = 0;
        for (std::size_t i = 0; i < values.size(); ++i) {
          want += double(values[i]) * double(x[i]);
          size += std::fabs(double(values[i]) * double(x[i]));
        }
        QVERIFY(close(double(k->gemv_float(type, stored.data() + 1, x.data(), n)), want, size));
      }
    }
  }
}

void TestKernels::packedProducts() {
  std::mt19937 random(16);
  for (const std::int64_t n : lengths)
    for (const std::int64_t group : {std::int64_t(32), std::int64_t(64), n}) {
      const auto x = test::normal_noise(std::size_t(n), 17);
      const std::int64_t groups = (n + group - 1) / group;
      std::vector<float> scales(std::size_t(groups) + 1);
      std::vector<std::uint8_t> zeros(std::size_t(groups) + 1);
      for (std::size_t g = 0; g < scales.size(); ++g) {
        scales[g] = 0.01f * float(g % 5 + 1);
        zeros[g] = std::uint8_t(random() % 16);
      }
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(n)),
          nibbles(std::size_t(n + 7) / 8 * 4);
      for (const int bits : {4, 8}) {
        for (auto& c : codes)
          c = std::uint8_t(random() & ((1u << bits) - 1));
        scalar().pack(codes.data(), n, 4, nibbles.data());
        std::vector<float> split(std::size_t(n + 31) / 32 * 32), sums(std::size_t(groups) * 16);
        for (std::int64_t i = 0; i < n; ++i) {
          const float v = x[std::size_t(i)];
          split[std::size_t(i / 32 * 32 + i % 2 * 16 + i % 32 / 2)] = i % 2 ? v / 16 : v;
          sums[std::size_t(i / group * 16 + i % 32 / 2)] += v;
        }
        for (const bool asymmetric : {false, true}) {
          double want = 0, size = 0;
          for (std::int64_t i = 0; i < n; ++i) {
            const auto g = std::size_t(i / group);
            const int zero = asymmetric ? zeros[g] : 1 << (bits - 1);
            const double p =
                double(scales[g]) * (int(codes[std::size_t(i)]) - zero) * double(x[std::size_t(i)]);
            want += p;
            // Codes and zero points may be summed apart.
            size += double(scales[g]) * (int(codes[std::size_t(i)]) + zero) *
                    std::fabs(double(x[std::size_t(i)]));
          }
          const std::uint8_t* z = asymmetric ? zeros.data() : nullptr;
          for (const Kernels* k : tables_) {
            const float got =
                bits == 4 ? k->gemv_int4(nibbles.data(), split.data(), sums.data(), n, group,
                                         scales.data(), z)
                          : k->gemv_int8(codes.data(), x.data(), n, group, scales.data(), z);
            QVERIFY2(close(double(got), want, size), k->isa);
          }
        }
      }
    }
  for (const std::int64_t n : {32, 64, 96, 1024}) {
    const auto x = test::normal_noise(std::size_t(n), 18),
               w = test::normal_noise(std::size_t(n), 19);
    std::vector<std::uint8_t> q8(std::size_t(n / 32 * 34)), q4(std::size_t(n / 32 * 18));
    scalar().encode_q8_0(w.data(), n / 32, q8.data());
    scalar().encode_q4_0(w.data(), n / 32, q4.data());
    std::vector<float> a(w.size()), b(w.size());
    scalar().q8_0.decode(q8.data(), n / 32, a.data());
    scalar().q4_0.decode(q4.data(), n / 32, b.data());
    std::vector<float> split(x), sums(std::size_t(n / 2));
    for (std::int64_t i = 0; i < n; ++i) {
      split[std::size_t(i)] /= i % 32 < 16 ? 1.0f : 16.0f;
      sums[std::size_t(i / 32 * 16 + i % 16)] += x[std::size_t(i)];
    }
    for (const Kernels* k : tables_) {
      double want8 = 0, want4 = 0, size = 0;
      for (std::size_t i = 0; i < w.size(); ++i) {
        want8 += double(x[i]) * double(a[i]);
        want4 += double(x[i]) * double(b[i]);
        size += std::fabs(double(x[i]) * double(a[i]));
      }
      QVERIFY(close(double(k->gemv_q8_0(q8.data(), x.data(), n)), want8, size));
      QVERIFY(close(double(k->gemv_q4_0(q4.data(), split.data(), sums.data(), n)), want4, size));
    }
  }
}

void TestKernels::tiles() {
  for (const Kernels* k : tables_)
    for (std::int64_t rows = 1; rows <= k->tile_rows; ++rows) {
      const std::int64_t n = 37, stride = 50, tokens = k->tile_tokens;
      const auto panel = test::normal_noise(std::size_t(n * tokens), 20),
                 w = test::normal_noise(std::size_t(rows * stride), 21);
      std::vector<float> c(std::size_t(k->tile_rows * tokens), 1.0f);
      k->gemm_tile(panel.data(), w.data(), stride, n, rows, tokens, c.data());
      for (std::int64_t r = 0; r < k->tile_rows; ++r)
        for (std::int64_t t = 0; t < tokens; ++t) {
          double want = 1, size = 1;
          for (std::int64_t i = 0; i < n && r < rows; ++i) {
            const double p =
                double(panel[std::size_t(i * tokens + t)]) * double(w[std::size_t(r * stride + i)]);
            want += p;
            size += std::fabs(p);
          }
          QVERIFY(close(double(c[std::size_t(r * tokens + t)]), want, size));
        }
    }
}

void TestKernels::integerProducts() {
  std::mt19937 random(22);
  for (const std::int64_t n : lengths) {
    std::vector<std::uint8_t> u(static_cast<std::size_t>(n), 255); // would saturate 16-bit sums
    std::vector<std::int8_t> q(static_cast<std::size_t>(n), 127);
    for (const bool extreme : {true, false}) {
      std::int32_t want = 0;
      for (std::size_t i = 0; i < u.size(); ++i) {
        if (!extreme) {
          u[i] = std::uint8_t(random());
          q[i] = std::int8_t(int(random() % 255) - 127);
        }
        want += std::int32_t(u[i]) * q[i];
      }
      for (const Kernels* k : tables_)
        QCOMPARE(k->dot_u8s8(u.data(), q.data(), n), want);
    }
  }
  for (const Kernels* k : tables_)
    for (std::int64_t rows = 1; rows <= k->tile_rows; ++rows) {
      const std::int64_t n = 36, stride = 48, tokens = k->tile_tokens;
      const std::int64_t unit = k->int8_unit, step = 4 / unit;
      std::vector<std::uint8_t> u(std::size_t(rows * stride)), w(std::size_t(rows * stride * unit));
      std::vector<std::int8_t> q(std::size_t(n * tokens));
      std::vector<std::uint8_t> panel(std::size_t(n * tokens * unit));
      std::vector<float> scale(static_cast<std::size_t>(rows)),
          c(std::size_t(k->tile_rows * tokens), 0.5f);
      std::vector<std::int32_t> zero(static_cast<std::size_t>(rows)),
          sums(static_cast<std::size_t>(tokens));
      for (auto& v : u)
        v = std::uint8_t(random() % 3 ? 255 : random());
      for (auto& v : q)
        v = std::int8_t(random() % 3 ? 127 : int(random() % 255) - 127);
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t t = 0; t < tokens; ++t) {
          const std::int8_t v = q[std::size_t(i * tokens + t)];
          const std::int64_t at = (i / step * tokens + t) * step + i % step;
          const std::int16_t wide = v;
          if (unit == 1)
            panel[std::size_t(at)] = std::uint8_t(v);
          else
            std::memcpy(panel.data() + at * 2, &wide, 2);
          sums[std::size_t(t)] += v;
        }
      k->widen_u8(u.data(), rows * stride, w.data());
      for (std::int64_t r = 0; r < rows; ++r) {
        scale[std::size_t(r)] = 0.37f * float(r + 1);
        zero[std::size_t(r)] = std::int32_t(random() % 256);
      }
      k->gemm_int8_tile(panel.data(), w.data(), stride, n, rows, tokens, scale.data(), zero.data(),
                        sums.data(), c.data());
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t t = 0; t < tokens; ++t) {
          std::int32_t sum = 0;
          for (std::int64_t i = 0; i < n; ++i)
            sum += (std::int32_t(u[std::size_t(r * stride + i)]) - zero[std::size_t(r)]) *
                   q[std::size_t(i * tokens + t)];
          const float product = scale[std::size_t(r)] * float(sum);
          QCOMPARE(c[std::size_t(r * tokens + t)], 0.5f + product);
        }
    }
}

void TestKernels::tokens() {
  for (const std::int64_t n : lengths) {
    auto x = rough(std::size_t(n), 23);
    for (int kind = 0; kind < 4; ++kind) {
      if (kind == 1)
        std::fill(x.begin(), x.end(), 0.0f);
      if (kind == 2)
        x[std::size_t(n / 2)] = not_number;
      if (kind == 3)
        x[std::size_t(n / 2)] = inf;
      std::vector<std::int8_t> want(static_cast<std::size_t>(n));
      const float s = scalar().quantize_token(x.data(), n, want.data());
      if (kind == 1)
        QCOMPARE(s, 1.0f);
      if (kind == 2)
        QVERIFY(std::isnan(s));
      for (const Kernels* k : tables_) {
        std::vector<std::int8_t> got(std::size_t(n) + 1, 99);
        const float t = k->quantize_token(x.data(), n, got.data());
        QVERIFY(std::bit_cast<std::uint32_t>(t) == std::bit_cast<std::uint32_t>(s));
        QVERIFY2(std::equal(want.begin(), want.end(), got.begin()), k->isa);
        QCOMPARE(got.back(), std::int8_t(99));
      }
    }
  }
}

void TestKernels::softmaxParts() {
  for (const std::int64_t n : lengths)
    for (const Kernels* k : tables_) {
      auto x = test::normal_noise(std::size_t(n), 24, 20.0f);
      const float top = k->largest(x.data(), n);
      QCOMPARE(top, *std::max_element(x.begin(), x.end()));
      const auto start = x;
      const float sum = k->exp_sum(x.data(), n, 0.5f, top * 0.5f);
      double want = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double e = std::exp(double(start[i]) * 0.5 - double(top) * 0.5);
        QVERIFY(std::fabs(double(x[i]) - e) <= 1e-5 * e + 1e-30);
        want += e;
      }
      QVERIFY(std::fabs(double(sum) - want) < 1e-5 * want);
      float ends[4] = {-200.0f, -inf, 100.0f, not_number};
      k->exp_sum(ends, 4, 1.0f, 0.0f);
      QVERIFY(ends[0] == 0 && ends[1] == 0 && ends[2] == inf && std::isnan(ends[3]));
    }
}

QTEST_APPLESS_MAIN(TestKernels)
#include "tst_kernels.moc"
