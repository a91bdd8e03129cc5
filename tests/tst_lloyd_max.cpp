// SPDX-License-Identifier: GPL-3.0-or-later
// Lloyd-Max codebooks: both conditions of optimality on what is stored, against the best codebook
// there is (dynamic programming) on small inputs, whatever the threads and the type of the source.
#include "core/methods/method.h"
#include "kernels/base/parallel.h"
#include "kernels/num/float16.h"
#include "kernels/quant/lloyd_max.h"
#include "tests/support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <QTest>

using namespace bitlathe;

namespace {

struct Weight {
  std::vector<std::byte> bytes;
  std::vector<float> values; ///< as stored
  FloatView view;
  Weight(FloatType type, std::int64_t rows, std::int64_t cols, const std::vector<float>& from)
      : bytes(from.size() * float_size(type)), values(from.size()) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      store_float(type, bytes.data(), std::int64_t(i), from[i]);
      values[i] = load_float(type, bytes.data(), std::int64_t(i));
    }
    view = {type, rows, cols, bytes};
  }
};

std::vector<float> heavy(std::size_t n, std::uint32_t seed) {
  auto values = test::normal_noise(n, seed, 0.02f);
  const auto tails = test::normal_noise(n, seed + 1, 1.0f);
  for (std::size_t i = 0; i < n; ++i)
    values[i] *= 1 + 0.3f * tails[i] * tails[i] * std::fabs(tails[i]);
  return values;
}

/// Least weighted squared error of any codebook: cells of sorted values are runs.
double best_error(std::vector<std::pair<double, double>> points, int entries) {
  std::sort(points.begin(), points.end());
  const std::size_t n = points.size();
  std::vector<double> w(n + 1), s(n + 1), q(n + 1);
  for (std::size_t i = 0; i < n; ++i) {
    const auto [x, weight] = points[i];
    w[i + 1] = w[i] + weight;
    s[i + 1] = s[i] + weight * x;
    q[i + 1] = q[i] + weight * x * x;
  }
  const auto cost = [&](std::size_t a, std::size_t b) {
    const double mass = w[b] - w[a];
    return mass > 0 ? q[b] - q[a] - (s[b] - s[a]) * (s[b] - s[a]) / mass : 0;
  };
  std::vector<double> best(n + 1, INFINITY);
  best[0] = 0;
  for (int k = 0; k < entries; ++k) {
    std::vector<double> next(n + 1, INFINITY);
    for (std::size_t b = 0; b <= n; ++b)
      for (std::size_t a = 0; a <= b; ++a)
        next[b] = std::min(next[b], best[a] + cost(a, b));
    best = next;
  }
  return best[n];
}

} // namespace

class TestLloydMax : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;

  Result<MethodOutput> apply(const Weight& w, const char* id,
                             std::span<const float> importance = {}) {
    const auto scheme = parse_scheme(id);
    if (!scheme)
      return scheme.error();
    Feedback feedback;
    const Json params = Json::object();
    return find_method("lloyd-max")
        ->quantize({w.view, *scheme, params, "minmax", importance, *cpu_, feedback, "test.module"});
  }

  std::vector<float> decoded(const QTensor& tensor) {
    std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
    return cpu_->decode(tensor.view(), 0, tensor.rows, out).ok() ? out : std::vector<float>();
  }

 private Q_SLOTS:
  void initTestCase() {
    auto cpu = make_cpu_compute();
    QVERIFY2(cpu.ok(), cpu.ok() ? "" : cpu.error().text().c_str());
    cpu_ = std::move(*cpu);
  }

  void bothConditions_data() {
    QTest::addColumn<QString>("id");
    QTest::addColumn<int>("type");
    QTest::addColumn<bool>("weighted");
    for (const char* id :
         {"codebook2-channel-sf32", "codebook3-tensor-sf32", "codebook4-channel-sf32",
          "codebook4-tensor-sf32", "codebook6-tensor-sf32", "codebook8-tensor-sf32",
          "codebook4-channel", "codebook5-tensor-sbf16"})
      for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
        for (const bool weighted : {false, true})
          QTest::addRow("%s of %s%s", id,
                        type == FloatType::f32   ? "f32"
                        : type == FloatType::f16 ? "f16"
                                                 : "bf16",
                        weighted ? ", weighted" : "")
              << id << int(type) << weighted;
  }
  void bothConditions() {
    QFETCH(QString, id);
    QFETCH(int, type);
    QFETCH(bool, weighted);
    const std::int64_t rows = 12, cols = 700;
    const Weight w(FloatType(type), rows, cols, heavy(std::size_t(rows * cols), 3));
    std::vector<float> importance;
    if (weighted)
      for (std::int64_t c = 0; c < cols; ++c)
        importance.push_back(c % 50 == 0 ? 80.0f : 0.2f + float(c % 7));
    const auto output = apply(w, qPrintable(id), importance);
    QVERIFY(output.ok());
    const QTensor& t = output->tensor;
    const auto values = decoded(t);
    const int entries = 1 << int(t.scheme.bits);
    const double rounding = t.scheme.float_type == FloatType::f32   ? 1e-6
                            : t.scheme.float_type == FloatType::f16 ? 0x1p-10
                                                                    : 0x1p-7;
    const std::int64_t books = t.scheme.per_tensor ? 1 : rows;
    for (std::int64_t book = 0; book < books; ++book) {
      std::vector<float> codebook;
      for (int e = 0; e < entries; ++e)
        codebook.push_back(load_float(t.scheme.float_type, t.scales.data(), book * entries + e));
      QVERIFY(std::is_sorted(codebook.begin(), codebook.end()));
      const std::int64_t first = book * cols, count = t.scheme.per_tensor ? rows * cols : cols;
      std::vector<double> mass(codebook.size()), sum(codebook.size());
      for (std::int64_t i = first; i < first + count; ++i) {
        const double x = double(w.values[std::size_t(i)]), v = double(values[std::size_t(i)]);
        // Nearest neighbour: no entry of the codebook is nearer.
        double nearest = INFINITY;
        std::size_t at = 0;
        for (std::size_t e = 0; e < codebook.size(); ++e)
          if (const double d = std::fabs(double(codebook[e]) - x); d < nearest) {
            nearest = d;
            at = e;
          }
        QVERIFY(std::fabs(x - v) == nearest);
        const double weight = weighted ? double(importance[std::size_t(i % cols)]) : 1;
        mass[at] += weight;
        sum[at] += weight * x;
      }
      // Centroid: every entry is the mean of what it stands for, up to its rounding.
      for (std::size_t e = 0; e < codebook.size(); ++e)
        if (mass[e] > 0) {
          const double mean = sum[e] / mass[e], entry = double(codebook[e]);
          QVERIFY2(std::fabs(entry - mean) <= rounding * std::fabs(mean) + 1e-7,
                   qPrintable(QString("entry %1: %2, mean %3").arg(e).arg(entry).arg(mean)));
        }
    }
  }

  /// With so few values the least error that any codebook has.
  void theOptimum() {
    for (const std::uint32_t seed : {1u, 2u, 3u, 4u})
      for (const int bits : {2, 3}) {
        const auto values = heavy(160, seed);
        const Weight w(FloatType::f32, 1, 160, values);
        std::vector<float> importance;
        std::vector<std::pair<double, double>> points;
        for (std::size_t i = 0; i < 160; ++i) {
          importance.push_back(seed % 2 ? 1.0f : 0.1f + float(i % 11));
          points.emplace_back(double(values[i]), double(importance[i]));
        }
        const std::string id = "codebook" + std::to_string(bits) + "-channel-sf32";
        const auto got = decoded(apply(w, id.c_str(), importance)->tensor);
        double error = 0;
        for (std::size_t i = 0; i < 160; ++i)
          error += points[i].second * std::pow(double(got[i]) - points[i].first, 2);
        const double least = best_error(points, 1 << bits);
        QVERIFY2(error >= least * (1 - 1e-6) && error <= least * (1 + 1e-6),
                 qPrintable(QString("%1, best %2").arg(error).arg(least)));
      }
  }

  void betterThanIntegers() {
    const Weight w(FloatType::bf16, 64, 512, heavy(64 * 512, 7));
    for (const int bits : {2, 3, 4}) {
      const std::string book = "codebook" + std::to_string(bits) + "-channel";
      const std::string grid = "int" + std::to_string(bits) + "-channel-asym";
      const auto a = apply(w, book.c_str());
      Feedback feedback;
      const auto scheme = parse_scheme(grid);
      const Json params = Json::object();
      const auto b = find_method("mse")->quantize(
          {w.view, *scheme, params, "minmax", {}, *cpu_, feedback, "test.module"});
      QVERIFY(a.ok() && b.ok());
      QVERIFY(cpu_->error(w.view, a->tensor.view())->mse() <
              0.95 * cpu_->error(w.view, b->tensor.view())->mse());
    }
  }

  void fewDistinctValues() {
    std::vector<float> values;
    for (std::size_t i = 0; i < 512; ++i)
      values.push_back(i % 3 == 0 ? -0.0f : i % 3 == 1 ? 0.25f : -1.5f);
    const Weight w(FloatType::f32, 2, 256, values);
    for (const char* id : {"codebook2-channel", "codebook2-tensor", "codebook8-channel"}) {
      const auto output = apply(w, id);
      QVERIFY(output.ok());
      QCOMPARE(decoded(output->tensor), values);
    }
    // Columns that calibration never saw still get codes.
    const std::vector<float> nothing(256, 0.0f);
    const auto unseen = apply(w, "codebook2-channel", nothing);
    QVERIFY(unseen.ok());
    QCOMPARE(decoded(unseen->tensor), values);
    const Weight noise(FloatType::bf16, 2, 256, heavy(512, 9));
    for (const char* id : {"codebook3-channel", "codebook3-tensor"}) {
      const auto output = apply(noise, id, nothing);
      QVERIFY(output.ok());
      for (const float value : decoded(output->tensor))
        QVERIFY(std::isfinite(value));
    }
  }

  void sameAtAnyThreadCount() {
    const Weight w(FloatType::bf16, 96, 300, heavy(96 * 300, 13));
    for (const char* id : {"codebook4-channel", "codebook7-tensor"}) {
      std::vector<std::vector<std::byte>> made;
      for (const int threads : {1, 2, 8}) {
        set_thread_count(threads);
        const auto output = apply(w, id);
        set_thread_count(0);
        QVERIFY(output.ok());
        auto bytes = output->tensor.owned_codes;
        bytes.insert(bytes.end(), output->tensor.owned_scales.begin(),
                     output->tensor.owned_scales.end());
        made.push_back(bytes);
      }
      QVERIFY(made[0] == made[1] && made[0] == made[2]);
    }
  }

  /// A large f32 tensor is worked on coarsely first; its result is as good.
  void largeTensorsOfF32() {
    const std::int64_t rows = 2100, cols = 2048;
    const Weight exact(FloatType::f32, rows, cols,
                       test::normal_noise(std::size_t(rows * cols), 17, 0.02f));
    const Weight half(FloatType::f16, rows, cols, exact.values);
    const auto a = apply(exact, "codebook4-tensor-sf32"), b = apply(half, "codebook4-tensor-sf32");
    QVERIFY(a.ok() && b.ok());
    const double x = cpu_->error(exact.view, a->tensor.view())->mse();
    const double y = cpu_->error(half.view, b->tensor.view())->mse();
    QVERIFY2(std::fabs(x / y - 1) < 1e-3, qPrintable(QString("%1 %2").arg(x).arg(y)));
    // Max's table: a 16-level quantizer of the normal distribution has an error of 0.009497.
    QVERIFY(std::fabs(x / (0.02 * 0.02) - 0.009497) < 0.0001);
  }
};

QTEST_GUILESS_MAIN(TestLloydMax)
#include "tst_lloyd_max.moc"
