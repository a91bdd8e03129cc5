// SPDX-License-Identifier: GPL-3.0-or-later
// What every registered method must keep, for every scheme that the families offer: the same bytes
// on every run and thread count, what is stored decodes to what is measured, errors on NaN; and rtn
// against a slow oracle.
#include "core/methods/method.h"
#include "kernels/base/parallel.h"
#include "kernels/num/float16.h"
#include "tests/calibrated_input.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <QTest>

using namespace bitlathe;

namespace {

struct Weight {
  std::vector<float> values;
  FloatView view;
  Weight(std::int64_t rows, std::int64_t cols, std::uint32_t seed)
      : values(test::normal_noise(std::size_t(rows * cols), seed, 0.02f)) {
    values[3] = 0.9f; // an outlier
    view = {FloatType::f32, rows, cols, std::as_bytes(std::span(values))};
  }
};

Result<MethodOutput> apply(const Method& method, const Weight& w, const Scheme& scheme,
                           Compute& compute, std::span<const float> importance = {},
                           const std::string& observer = "minmax") {
  Feedback feedback;
  const Json params = Json::object();
  const InputStatistics inputs =
      method.calibrated ? test::made_up_inputs(w.view.cols, 300, 9) : InputStatistics();
  return method.quantize({.weight = w.view,
                          .scheme = scheme,
                          .params = params,
                          .observer = observer,
                          .importance = importance,
                          .compute = compute,
                          .feedback = feedback,
                          .where = "test.module",
                          .inputs = method.calibrated ? &inputs : nullptr});
}

std::vector<Scheme> schemes_of(const Method& method) {
  std::vector<Scheme> schemes;
  if (method.calibrated) // needs a model's inputs: tested with the job
    return schemes;
  for (const SchemeFamily* family : all_scheme_families())
    for (const std::string_view id : family->examples)
      if (auto scheme = parse_scheme(id); scheme && method.declines(*scheme).empty())
        schemes.push_back(*scheme);
  return schemes;
}

std::vector<float> decoded(const QTensor& tensor, Compute& compute) {
  std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
  const auto done = compute.decode(tensor.view(), 0, tensor.rows, out);
  return done ? out : std::vector<float>();
}

bool same_bytes(const QTensor& a, const QTensor& b) {
  const auto equal = [](auto x, auto y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  };
  return equal(a.codes, b.codes) && equal(a.scales, b.scales) && equal(a.zeros, b.zeros) &&
         equal(a.nested, b.nested);
}

} // namespace

class TestMethods : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;

 private Q_SLOTS:
  void initTestCase() {
    auto cpu = make_cpu_compute();
    QVERIFY2(cpu.ok(), cpu.ok() ? "" : cpu.error().text().c_str());
    cpu_ = std::move(*cpu);
  }

  void invariants() {
    const Weight w(16, 256, 1);
    for (const Method* method : all_methods())
      for (const Scheme& scheme : schemes_of(*method)) {
        const std::string what = std::string(method->id) + " " + scheme.id;
        auto first = apply(*method, w, scheme, *cpu_);
        QVERIFY2(first.ok(), what.c_str());
        const QTensor& t = first->tensor;
        const auto expected = scheme.family->bytes(scheme, 16, 256);
        QVERIFY2(t.codes.size() == expected.codes && t.scales.size() == expected.scales &&
                     t.zeros.size() == expected.zeros,
                 what.c_str());
        set_thread_count(1);
        auto again = apply(*method, w, scheme, *cpu_);
        set_thread_count(0);
        QVERIFY2(again.ok() && same_bytes(t, again->tensor), what.c_str());
        // What is measured is what is stored.
        const auto values = decoded(t, *cpu_);
        QVERIFY2(!values.empty(), what.c_str());
        double sum = 0, power = 0;
        for (std::size_t i = 0; i < values.size(); ++i) {
          sum += std::pow(double(w.values[i]) - double(values[i]), 2);
          power += std::pow(double(w.values[i]), 2);
        }
        const auto error = cpu_->error(w.view, t.view());
        QVERIFY2(error.ok() && std::fabs(error->sum_sq_error - sum) <= 1e-9 * (sum + 1e-30),
                 what.c_str());
        QVERIFY2(sum < power, what.c_str()); // better than storing zeros
      }
  }

  void nanAndInfinityAreErrors() {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
      for (const Method* method : all_methods())
        for (const Scheme& scheme : schemes_of(*method)) {
          Weight w(4, 256, 2);
          w.values[700] = bad;
          const auto output = apply(*method, w, scheme, *cpu_);
          QVERIFY2(!output.ok(), (std::string(method->id) + " " + scheme.id).c_str());
          QCOMPARE(output.error().where, "test.module");
        }
  }

  /// The arithmetic of the design, written again from its text with nothing shared.
  void rtnAgainstOracle_data() {
    QTest::addColumn<QString>("id");
    for (int bits = 2; bits <= 8; ++bits)
      for (const char* rest :
           {"tensor-sym", "tensor-asym", "channel-sym", "channel-asym", "g32-sym", "g32-asym",
            "g48-asym", "g48-sym-sf32", "g64-asym-sbf16"}) {
        const QString id = QString("int%1-%2").arg(bits).arg(rest);
        QTest::newRow(qPrintable(id)) << id;
      }
  }
  void rtnAgainstOracle() {
    QFETCH(QString, id);
    const auto scheme = parse_scheme(id.toStdString());
    QVERIFY(scheme);
    Weight w(9, 100, 3);
    std::fill(w.values.begin() + 200, w.values.begin() + 300, 0.0f); // a row of zeros
    auto output = apply(*find_method("rtn"), w, *scheme, *cpu_);
    QVERIFY(output.ok());
    const auto values = decoded(output->tensor, *cpu_);
    QCOMPARE(values.size(), w.values.size());

    const int bits = int(scheme->bits);
    const std::int64_t group = scheme->per_tensor ? 900 : scheme->group ? scheme->group : 100;
    const std::int64_t row_length = scheme->per_tensor ? 900 : 100;
    for (std::int64_t row = 0; row < 900 / row_length; ++row)
      for (std::int64_t start = 0; start < row_length; start += group) {
        const auto begin = std::size_t(row * row_length + start);
        const auto end = std::size_t(row * row_length + std::min(start + group, row_length));
        float lo = 0, hi = 0, absmax = 0;
        for (std::size_t i = begin; i < end; ++i) {
          lo = std::min(lo, w.values[i]);
          hi = std::max(hi, w.values[i]);
          absmax = std::max(absmax, std::fabs(w.values[i]));
        }
        const int top = (1 << bits) - 1, half = 1 << (bits - 1);
        float s = scheme->symmetric ? absmax / float(half - 1) : (hi - lo) / float(top);
        if (id.endsWith("sbf16"))
          s = bf16_to_f32(f32_to_bf16(s));
        else if (!id.endsWith("sf32"))
          s = f16_to_f32(f32_to_f16(s));
        if (absmax == 0)
          s = 1;
        const float r = 1.0f / s;
        const auto rne = [](float x) { return float(std::nearbyint(double(x))); };
        const float z = scheme->symmetric ? 0.0f : std::clamp(rne(-lo * r), 0.0f, float(top));
        for (std::size_t i = begin; i < end; ++i) {
          const float q = scheme->symmetric
                              ? std::clamp(rne(w.values[i] * r), float(-half), float(half - 1))
                              : std::clamp(rne(w.values[i] * r) + z, 0.0f, float(top));
          const float expected = s * (q - z);
          QVERIFY2(values[i] == expected, qPrintable(QString("%1: %2 instead of %3")
                                                         .arg(i)
                                                         .arg(double(values[i]))
                                                         .arg(double(expected))));
        }
      }
  }

  void mseIsNeverWorseThanRtn() {
    const Weight w(16, 256, 5);
    for (const Scheme& scheme : schemes_of(*find_method("mse"))) {
      auto rtn = apply(*find_method("rtn"), w, scheme, *cpu_);
      auto mse = apply(*find_method("mse"), w, scheme, *cpu_);
      QVERIFY(rtn.ok() && mse.ok());
      const auto rtn_error = cpu_->error(w.view, rtn->tensor.view());
      const auto mse_error = cpu_->error(w.view, mse->tensor.view());
      QVERIFY(rtn_error.ok() && mse_error.ok());
      QVERIFY2(mse_error->sum_sq_error <= rtn_error->sum_sq_error * (1 + 1e-12), scheme.id.c_str());
      if (scheme.bits <= 4)
        QVERIFY2(mse_error->sum_sq_error < 0.98 * rtn_error->sum_sq_error, scheme.id.c_str());
    }
  }

  void importanceMovesTheError() {
    const Weight w(32, 128, 6);
    std::vector<float> importance(128, 0.01f);
    std::fill(importance.begin(), importance.begin() + 8, 100.0f);
    const auto scheme = parse_scheme("int3-channel-sym");
    auto plain = apply(*find_method("mse"), w, *scheme, *cpu_);
    auto weighted = apply(*find_method("mse"), w, *scheme, *cpu_, importance);
    QVERIFY(plain.ok() && weighted.ok());
    const auto cost = [&](const QTensor& t) {
      const auto values = decoded(t, *cpu_);
      double sum = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        sum += importance[i % 128] * std::pow(double(values[i]) - double(w.values[i]), 2);
      return sum;
    };
    QVERIFY(cost(weighted->tensor) < cost(plain->tensor));
  }

  void observers() {
    Weight w(4, 4096, 7); // long rows: enough values for percentiles and histograms
    const auto scheme = parse_scheme("int4-channel-asym");
    auto minmax = apply(*find_method("rtn"), w, *scheme, *cpu_, {}, "minmax");
    auto ema = apply(*find_method("rtn"), w, *scheme, *cpu_, {}, "ema");
    QVERIFY(minmax.ok() && ema.ok() && same_bytes(minmax->tensor, ema->tensor));
    const auto base = cpu_->error(w.view, minmax->tensor.view())->sum_sq_error;
    for (const char* observer : {"percentile", "mse", "entropy"}) {
      auto output = apply(*find_method("rtn"), w, *scheme, *cpu_, {}, observer);
      QVERIFY2(output.ok(), observer);
      QVERIFY2(!same_bytes(minmax->tensor, output->tensor),
               observer); // the outlier at 45 sigma is clipped
      if (std::strcmp(observer, "mse") == 0)
        QVERIFY(cpu_->error(w.view, output->tensor.view())->sum_sq_error < base);
    }
    QVERIFY(!apply(*find_method("rtn"), w, *scheme, *cpu_, {}, "guess").ok());
  }

  void scalesOutsideTheirTypeAreReported() {
    Weight w(2, 64, 8);
    for (float& x : w.values)
      x *= 1e-9f; // the f16 scale would be 0
    const auto scheme = parse_scheme("int4-g32-sym");
    auto output = apply(*find_method("rtn"), w, *scheme, *cpu_);
    QVERIFY(output.ok());
    QCOMPARE(output->notes.size(), std::size_t(1));
    QVERIFY(output->notes[0].find("test.module") != std::string::npos);
  }
};

QTEST_GUILESS_MAIN(TestMethods)
#include "tst_methods.moc"
