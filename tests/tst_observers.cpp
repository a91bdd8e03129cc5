// SPDX-License-Identifier: GPL-3.0-or-later
// Every observer against a slow calculation of its own, on values, on counted values and on
// histograms.
#include "core/eval/observer_view.h"
#include "core/observers/histogram.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"
#include "tests/support.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <QTest>

using namespace bitlathe;

namespace {

/// Heavy tails: what clipping is for.
std::vector<float> heavy(std::size_t n, std::uint32_t seed, float shift = 0) {
  auto values = test::normal_noise(n, seed, 0.02f);
  const auto tails = test::normal_noise(n, seed + 1, 1.0f);
  for (std::size_t i = 0; i < n; ++i)
    values[i] = shift + values[i] * (1 + 0.3f * tails[i] * tails[i] * std::fabs(tails[i]));
  return values;
}

/// clamp(round half to even) written with whole numbers.
double nearest(double x, double low, double high) {
  double r = std::floor(x + 0.5);
  if (r - x == 0.5 && std::fmod(r, 2.0) != 0)
    r -= 1;
  return std::min(std::max(r, low), high);
}

/// Error of an integer grid by the words of the definition, in double precision.
double slow_error(const std::vector<float>& values, double lo, double hi, int bits, bool symmetric,
                  const std::vector<double>& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = double(values[i]);
    double decoded;
    if (symmetric) {
      const double half = double(1 << (bits - 1));
      const double s = std::max(std::fabs(lo), std::fabs(hi)) / (half - 1);
      decoded = s * nearest(v / s, -half, half - 1);
    } else {
      const double top = double((1 << bits) - 1);
      const double s = (std::max(0.0, hi) - std::min(0.0, lo)) / top;
      const double z = nearest(-std::min(0.0, lo) / s, 0, top);
      decoded = s * (nearest(v / s, -z, top - z));
    }
    sum += (weights.empty() ? 1 : weights[i]) * (v - decoded) * (v - decoded);
  }
  return sum;
}

/// The divergence of TensorRT's calibration for one threshold, step by step.
double slow_divergence(const std::vector<double>& bins, std::size_t used, std::size_t levels) {
  std::vector<double> reference(bins.begin(), bins.begin() + std::ptrdiff_t(used));
  for (std::size_t i = used; i < bins.size(); ++i)
    reference.back() += bins[i];
  std::vector<double> candidate(used, 0.0);
  std::map<std::size_t, std::vector<std::size_t>> merged;
  for (std::size_t i = 0; i < used; ++i) { // level whose span [l used / levels ..) holds bin i
    std::size_t level = 0;
    while (level + 1 < levels && (level + 1) * used / levels <= i)
      ++level;
    merged[level].push_back(i);
  }
  for (const auto& [level, members] : merged) {
    double mass = 0, filled = 0;
    for (const std::size_t i : members) {
      mass += bins[i];
      filled += bins[i] > 0 ? 1 : 0;
    }
    for (const std::size_t i : members)
      candidate[i] = bins[i] > 0 ? mass / filled : 1e-6;
  }
  double total = 0, kl = 0;
  for (const double x : reference)
    total += x;
  for (std::size_t i = 0; i < used; ++i)
    if (reference[i] > 0)
      kl += reference[i] / total * (std::log(reference[i]) - std::log(candidate[i]));
  return kl;
}

Observed of(const std::vector<float>& values) { return {values}; }

} // namespace

class TestObservers : public QObject {
  Q_OBJECT

  static const Observer& observer(const char* id) { return *find_observer(id); }

 private Q_SLOTS:
  void extremesNeedNoValues() {
    for (const char* id : {"minmax", "ema"})
      QVERIFY(!observer(id).range); // the backends' exact extremes, tested with them
    QVERIFY(!find_observer("median"));
  }

  void percentile() {
    for (const std::size_t n : {1u, 7u, 999u, 1000u, 1001u, 5000u, 20011u}) {
      const auto values = heavy(n, 3, 0.01f);
      auto sorted = values;
      std::sort(sorted.begin(), sorted.end());
      const Range both = observer("percentile").range(of(values), {8, false});
      QCOMPARE(both.lo, sorted[std::size_t(std::floor(0.001 * double(n - 1) + 1e-12))]);
      QCOMPARE(both.hi, sorted[std::size_t(std::ceil(0.999 * double(n - 1) - 1e-12))]);
      auto magnitudes = values;
      for (float& value : magnitudes)
        value = std::fabs(value);
      std::sort(magnitudes.begin(), magnitudes.end());
      const Range one = observer("percentile").range(of(values), {8, true});
      QCOMPARE(one.hi, magnitudes[std::size_t(std::ceil(0.999 * double(n - 1) - 1e-12))]);
      QCOMPARE(one.lo, -one.hi);
    }
  }

  void mse_data() {
    QTest::addColumn<int>("bits");
    QTest::addColumn<bool>("symmetric");
    QTest::addColumn<bool>("weighted");
    for (const int bits : {2, 3, 4, 8})
      for (const bool symmetric : {true, false})
        for (const bool weighted : {true, false})
          QTest::addRow("int%d %s %s", bits, symmetric ? "sym" : "asym",
                        weighted ? "weighted" : "plain")
              << bits << symmetric << weighted;
  }
  void mse() {
    QFETCH(int, bits);
    QFETCH(bool, symmetric);
    QFETCH(bool, weighted);
    const auto values = heavy(1500, 9, 0.004f);
    std::vector<double> weights;
    if (weighted)
      for (std::size_t i = 0; i < values.size(); ++i)
        weights.push_back(i % 17 == 0 ? 40.0 : 0.1 + double(i % 5));
    const Range range =
        observer("mse").range({values, {}, weights}, {bits, symmetric, FloatType::f32});
    const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
    double least = INFINITY;
    for (int step = 0; step <= 40; ++step) {
      const double shrink = 1 - 0.6 * step / 40;
      least = std::min(least, slow_error(values, double(*lo) * shrink, double(*hi) * shrink, bits,
                                         symmetric, weights));
    }
    const double got =
        slow_error(values, double(range.lo), double(range.hi), bits, symmetric, weights);
    QVERIFY2(got <= least * (1 + 1e-5), qPrintable(QString("%1 > %2").arg(got).arg(least)));
    QVERIFY(range.lo >= *lo && range.hi <= *hi);
    if (bits <= 4 && !weighted) // heavy tails: clipping must have paid
      QVERIFY(range.hi - range.lo < *hi - *lo);
  }

  void mseOfFloat8() {
    const auto values = heavy(3000, 12);
    for (const auto element :
         {ObserverContext::Element::f8_e4m3, ObserverContext::Element::f8_e5m2}) {
      const bool e4m3 = element == ObserverContext::Element::f8_e4m3;
      const ObserverContext context{8, true, FloatType::f16, element};
      const Range range = observer("mse").range(of(values), context);
      const float scale =
          f16_to_f32(f32_to_f16(std::max(-range.lo, range.hi) / (e4m3 ? 448.0f : 57344.0f)));
      double slow = 0;
      for (const float v : values) {
        const float back = e4m3 ? f8_e4m3_to_f32(f32_to_f8_e4m3(v / scale))
                                : f8_e5m2_to_f32(f32_to_f8_e5m2(v / scale));
        slow += std::pow(double(v) - double(back * scale), 2);
      }
      QVERIFY(std::fabs(slow - coding_error(of(values), range, context)) <= 1e-9 * slow);
    }
  }

  void entropy() {
    for (const bool one_sided : {false, true})
      for (const int bits : {4, 8}) {
        auto values = heavy(30000, 21);
        if (one_sided)
          for (float& value : values)
            value = std::fabs(value);
        const bool symmetric = !one_sided;
        const Range range = observer("entropy").range(of(values), {bits, symmetric});
        const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
        const float absmax = std::max(std::fabs(*lo), std::fabs(*hi));
        std::vector<double> bins(2048);
        for (const float v : values)
          bins[std::min<std::size_t>(2047, std::size_t(std::fabs(v) / absmax * 2048.0f))] += 1;
        const std::size_t levels = one_sided ? 1u << bits : 1u << (bits - 1);
        std::size_t best = 0;
        double least = INFINITY;
        for (std::size_t used = std::max<std::size_t>(128, levels); used <= 2048; used += 8)
          if (const double kl = slow_divergence(bins, used, levels); kl < least - 1e-12) {
            least = kl;
            best = used;
          }
        const float threshold = absmax * float(best) / 2048.0f;
        QCOMPARE(range.hi, std::min(*hi, threshold));
        QCOMPARE(range.lo, std::max(*lo, -threshold));
      }
  }

  /// A value that occurs three times is the same as three values.
  void countedValues() {
    const auto few = heavy(1200, 5);
    std::vector<float> many;
    std::vector<double> counts;
    for (std::size_t i = 0; i < few.size(); ++i) {
      counts.push_back(double(1 + i % 4));
      many.insert(many.end(), 1 + i % 4, few[i]);
    }
    for (const char* id : {"percentile", "entropy", "mse"})
      for (const bool symmetric : {true, false}) {
        const ObserverContext context{4, symmetric};
        const Range a = observer(id).range({few, counts}, context);
        const Range b = observer(id).range(of(many), context);
        QCOMPARE(a.lo, b.lo);
        QCOMPARE(a.hi, b.hi);
      }
  }

  void histograms() {
    const auto values = heavy(40000, 31, 0.02f);
    const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
    // As calibration keeps them: 2048 bins over more than the range.
    const double from = double(*lo) - 0.3, to = double(*hi) + 0.7, width = (to - from) / 2048;
    std::vector<std::uint64_t> bins(2048);
    for (const float v : values)
      ++bins[std::size_t((double(v) - from) / width)];
    for (const Observer* o : all_observers())
      for (const bool symmetric : {true, false}) {
        const ObserverContext context{8, symmetric};
        const Range exact = o->range ? o->range(of(values), context) : Range{*lo, *hi};
        const Range got = observe_histogram(*o, bins, from, to, context);
        if (o->id == "entropy" || o->id == "mse") {
          // Many thresholds are nearly as good: what matters is the error they bring.
          const double best = coding_error(of(values), exact, context);
          QVERIFY2(coding_error(of(values), got, context) <= best * 1.1, o->id.data());
        } else {
          QVERIFY2(std::fabs(double(got.lo - exact.lo)) <= 1.01 * width, o->id.data());
          QVERIFY2(std::fabs(double(got.hi - exact.hi)) <= 1.01 * width, o->id.data());
        }
      }
    QCOMPARE(observe_histogram(observer("mse"), {}, 0, 0, {}).hi, 0.0f);
    const std::vector<std::uint64_t> empty(16);
    QCOMPARE(observe_histogram(observer("percentile"), empty, -1, 1, {}).hi, 0.0f);
  }

  /// Measured errors beside the theory, and the reason where they part.
  void theory() {
    const auto cpu = make_cpu_compute();
    QVERIFY(cpu.ok());
    Feedback feedback;
    const std::int64_t rows = 32, cols = 512;
    const auto views_of = [&](const std::vector<float>& values, const char* id) {
      const FloatView w{FloatType::f32, rows, cols, std::as_bytes(std::span(values))};
      auto views = compare_observers(w, *parse_scheme(id), {}, **cpu, feedback);
      return views.ok() ? std::move(*views) : std::vector<ObserverView>();
    };
    const auto find = [](const std::vector<ObserverView>& views, const char* id) {
      return *std::find_if(views.begin(), views.end(),
                           [id](const ObserverView& v) { return v.observer == id; });
    };
    const auto noise = test::normal_noise(std::size_t(rows * cols), 51, 0.02f);
    const auto fine = views_of(noise, "int8-tensor-sym-sf32");
    QCOMPARE(fine.size(), all_observers().size());
    const ObserverView minmax = find(fine, "minmax");
    QVERIFY(std::fabs(10 * std::log10(minmax.mse / minmax.theory_mse)) < 0.1);
    QVERIFY(std::fabs(minmax.sqnr_db - minmax.theory_db) < 0.15);
    QVERIFY2(minmax.remark.empty(), minmax.remark.c_str());
    QCOMPARE(minmax.codes.size(), std::size_t(256));
    QCOMPARE(minmax.clipped, 0.0);
    // The formula, with the numbers of this weight.
    float absmax = 0;
    double power = 0;
    for (const float v : noise) {
      absmax = std::max(absmax, std::fabs(v));
      power += double(v) * double(v) / double(noise.size());
    }
    QVERIFY(std::fabs(minmax.theory_db -
                      (6.02 * 8 + 4.77 - 20 * std::log10(double(absmax) / std::sqrt(power)))) <
            0.1);

    const ObserverView clipped =
        find(views_of(heavy(noise.size(), 52), "int8-tensor-sym"), "percentile");
    QVERIFY(clipped.clipped > 0.0005 && clipped.clipped < 0.0015);
    QVERIFY2(clipped.remark.find("clipping") == 0, clipped.remark.c_str());

    const ObserverView coarse =
        find(views_of(heavy(noise.size(), 53), "int2-tensor-sym"), "minmax");
    QVERIFY2(coarse.remark.find("too few levels") == 0, coarse.remark.c_str());

    auto sparse = noise;
    for (std::size_t i = 0; i < sparse.size(); ++i)
      if (i % 3 != 0)
        sparse[i] = 0;
    const ObserverView zeros = find(views_of(sparse, "int8-channel-sym"), "minmax");
    QVERIFY(std::fabs(zeros.zeros - 2.0 / 3) < 0.001);
    QVERIFY2(zeros.remark.find("66.7 % of the values are 0") == 0, zeros.remark.c_str());

    for (const char* id : {"int4-g128-asym", "int3-channel-sym", "f8_e4m3-b128x128"}) {
      const auto views = views_of(noise, id);
      QVERIFY2(views.size() == all_observers().size(), id);
      for (const ObserverView& view : views) {
        QVERIFY2(view.mse > 0 && view.lo < 0 && view.hi > 0 && !view.codes.empty(), id);
        QVERIFY2(view.mse >= find(views, "mse").mse * 0.999, view.observer.c_str());
      }
    }
    QVERIFY(views_of(noise, "nf4-b64").empty()); // observers have no say
  }

  void activations() {
    ActivationModule module;
    module.name = "layer";
    QVERIFY(!observe_activations(observer("minmax"), module, {}));
    module.histogram.assign(2048, 10);
    module.histogram_lo = -1;
    module.histogram_hi = 3;
    module.moments.count = 20480;
    module.moments.min = -0.9995f;
    module.moments.max = 2.75f;
    const Range exact = *observe_activations(observer("minmax"), module, {});
    QCOMPARE(exact.lo, -0.9995f);
    QCOMPARE(exact.hi, 2.75f);
    // Without averages (older files) "ema" is the extremes.
    QCOMPARE(observe_activations(observer("ema"), module, {})->hi, 2.75f);
    module.average_min = -0.5;
    module.average_max = 1.25;
    QCOMPARE(observe_activations(observer("ema"), module, {})->lo, -0.5f);
    QCOMPARE(observe_activations(observer("ema"), module, {})->hi, 1.25f);
    for (const Observer* o : all_observers()) {
      const Range range = *observe_activations(*o, module, {8, false});
      QVERIFY(range.lo >= exact.lo && range.hi <= exact.hi && range.lo < range.hi);
    }
  }
};

QTEST_GUILESS_MAIN(TestObservers)
#include "tst_observers.moc"
