// SPDX-License-Identifier: GPL-3.0-or-later
// GPTQ against the published algorithm written down again in double precision, column by column
// with the whole inverse, and its ways out of trouble.
#include "core/methods/method.h"
#include "kernels/base/parallel.h"
#include "kernels/quant/int_grid.h"
#include "tests/calibrated_input.h"

#include <numeric>
#include <QTest>

using namespace bitlathe;

namespace {

struct Case {
  const char* scheme;
  bool act_order, static_groups;
};

/// Rows of decoded codes. The inverse is Gauss-Jordan's; its Cholesky factor and everything else
/// is the textbook's loop, nothing blocked.
std::vector<float> published(const std::vector<float>& weight, std::int64_t rows, std::int64_t cols,
                             const Scheme& scheme, const InputStatistics& inputs, double damping,
                             bool act_order, bool static_groups) {
  const auto n = std::size_t(cols);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t(0));
  const auto diagonal = [&](std::size_t c) {
    return inputs.moment(std::int64_t(c), std::int64_t(c));
  };
  if (act_order)
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return diagonal(a) > diagonal(b); });
  std::vector<std::vector<double>> h(n, std::vector<double>(n)), inverse = h, u = h;
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j)
      h[i][j] = inputs.moment(std::int64_t(order[i]), std::int64_t(order[j]));
    if (h[i][i] == 0)
      h[i][i] = 1;
    mean += h[i][i] / double(n);
    inverse[i][i] = 1;
  }
  for (std::size_t i = 0; i < n; ++i)
    h[i][i] += damping * mean;
  for (std::size_t p = 0; p < n; ++p) {
    const double pivot = h[p][p];
    for (std::size_t j = 0; j < n; ++j) {
      h[p][j] /= pivot;
      inverse[p][j] /= pivot;
    }
    for (std::size_t i = 0; i < n; ++i)
      if (const double f = h[i][p]; i != p)
        for (std::size_t j = 0; j < n; ++j) {
          h[i][j] -= f * h[p][j];
          inverse[i][j] -= f * inverse[p][j];
        }
  }
  for (std::size_t i = 0; i < n; ++i) // inverse = U^T U
    for (std::size_t j = i; j < n; ++j) {
      double sum = inverse[i][j];
      for (std::size_t k = 0; k < i; ++k)
        sum -= u[k][i] * u[k][j];
      u[i][j] = i == j ? std::sqrt(sum) : sum / u[i][i];
    }
  std::vector<float> out(weight.size());
  const std::int64_t group = scheme.group > 0 ? std::min(scheme.group, cols) : cols;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<double> w(n), original(n);
    for (std::size_t c = 0; c < n; ++c) {
      w[c] = diagonal(order[c]) == 0 ? 0 : double(weight[std::size_t(row) * n + order[c]]);
      original[order[c]] = w[c];
    }
    const auto grid_of = [&](const std::vector<double>& values, std::size_t first) {
      const auto end = std::min(n, first + std::size_t(group));
      double lo = 0, hi = 0;
      for (std::size_t c = first; c < end; ++c) {
        lo = std::min(lo, values[c]);
        hi = std::max(hi, values[c]);
      }
      return make_int_grid(float(lo), float(hi), int(scheme.bits), scheme.symmetric,
                           scheme.float_type);
    };
    IntGrid grid = grid_of(w, 0);
    for (std::size_t c = 0; c < n; ++c) {
      if (act_order && static_groups)
        grid = grid_of(original, order[c] / std::size_t(group) * std::size_t(group));
      else if (c % std::size_t(group) == 0)
        grid = grid_of(w, c);
      const float q = decode_int(encode_int(float(w[c]), grid, int(scheme.bits)), grid);
      out[std::size_t(row) * n + order[c]] = q;
      const double e = (w[c] - double(q)) / u[c][c];
      for (std::size_t j = c + 1; j < n; ++j)
        w[j] -= e * u[c][j];
    }
  }
  return out;
}

} // namespace

class TestGptq : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;

  Result<MethodOutput> run(const std::vector<float>& w, std::int64_t rows, std::int64_t cols,
                           const char* scheme_id, const InputStatistics& inputs,
                           const Json& params) {
    const Scheme scheme = *parse_scheme(scheme_id);
    Feedback feedback;
    return find_method("gptq")->quantize(
        {.weight = {FloatType::f32, rows, cols, std::as_bytes(std::span(w))},
         .scheme = scheme,
         .params = params,
         .importance = {},
         .compute = *cpu_,
         .feedback = feedback,
         .where = "test.module",
         .inputs = &inputs});
  }
  std::vector<float> decoded(const QTensor& tensor) {
    std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
    return cpu_->decode(tensor.view(), 0, tensor.rows, out) ? out : std::vector<float>();
  }

 private Q_SLOTS:
  void initTestCase() { cpu_ = std::move(*make_cpu_compute()); }

  void againstThePublishedAlgorithm_data() {
    QTest::addColumn<QByteArray>("scheme");
    QTest::addColumn<bool>("act_order");
    QTest::addColumn<bool>("static_groups");
    for (const char* scheme :
         {"int4-g32-asym", "int4-channel-sym", "int3-g48-asym", "int2-g64-asym",
          "int8-channel-asym", "int3-g128-sym", "int4-g160-asym-sf32"})
      for (const bool act_order : {false, true})
        for (const bool fixed : {false, true})
          if (act_order || !fixed)
            QTest::addRow("%s%s%s", scheme, act_order ? " act-order" : "", fixed ? " static" : "")
                << QByteArray(scheme) << act_order << fixed;
  }
  void againstThePublishedAlgorithm() {
    QFETCH(QByteArray, scheme);
    QFETCH(bool, act_order);
    QFETCH(bool, static_groups);
    constexpr std::int64_t rows = 40, cols = 200; // several blocks of 128, a last one and group
    const auto w = test::normal_noise(rows * cols, 11, 0.05f);
    const auto inputs = test::made_up_inputs(cols, 500, 12);
    const Json params{{"act_order", int(act_order)}, {"static_groups", int(static_groups)}};
    const auto output = run(w, rows, cols, scheme.constData(), inputs, params);
    QVERIFY2(output.ok(), output.ok() ? "" : output.error().text().c_str());
    const auto got = decoded(output->tensor);
    const auto want = published(w, rows, cols, *parse_scheme(scheme.toStdString()), inputs, 0.01,
                                act_order, static_groups);
    QCOMPARE(got, want);
    for (const int block : {16, 1024}) { // the size of blocks changes nothing
      Json other = params;
      other["block"] = block;
      const auto again = run(w, rows, cols, scheme.constData(), inputs, other);
      QVERIFY(again.ok());
      QCOMPARE(decoded(again->tensor), want);
    }
    for (const int threads : {1, 2, 8}) {
      set_thread_count(threads);
      const auto again = run(w, rows, cols, scheme.constData(), inputs, params);
      set_thread_count(0);
      QVERIFY(again.ok());
      QVERIFY(again->tensor.owned_codes == output->tensor.owned_codes &&
              again->tensor.owned_scales == output->tensor.owned_scales &&
              again->tensor.owned_zeros == output->tensor.owned_zeros);
    }
  }

  void outputsAreCloserThanRounding() {
    constexpr std::int64_t rows = 64, cols = 256;
    const auto w = test::normal_noise(rows * cols, 21, 0.05f);
    const auto inputs = test::made_up_inputs(cols, 1000, 22);
    const auto norm = OutputNorm::create(inputs, *cpu_);
    QVERIFY(norm.ok());
    const auto error = [&](const char* method, const char* scheme_id, const Json& params) {
      const Scheme scheme = *parse_scheme(scheme_id);
      Feedback feedback;
      const auto output = find_method(method)->quantize(
          {.weight = {FloatType::f32, rows, cols, std::as_bytes(std::span(w))},
           .scheme = scheme,
           .params = params,
           .importance = {},
           .compute = *cpu_,
           .feedback = feedback,
           .where = "test.module",
           .inputs = &inputs});
      auto difference = decoded(output->tensor);
      for (std::size_t i = 0; i < difference.size(); ++i)
        difference[i] -= w[i];
      return *norm->of(difference);
    };
    for (const char* scheme : {"int4-g128-asym", "int3-channel-asym", "int2-g64-asym"}) {
      const double rtn = error("rtn", scheme, Json::object());
      const double gptq = error("gptq", scheme, Json::object());
      const double ordered = error("gptq", scheme, {{"act_order", 1}});
      const double searched = error("gptq", scheme, {{"mse", 1}});
      QVERIFY2(gptq < 0.8 * rtn, qPrintable(QString("%1 %2").arg(gptq).arg(rtn)));
      QVERIFY2(ordered < 0.8 * rtn && searched < 0.8 * rtn, scheme);
    }
  }

  void deadColumns() {
    constexpr std::int64_t rows = 4, cols = 64;
    const auto w = test::normal_noise(rows * cols, 31);
    auto inputs = test::made_up_inputs(cols, 300, 32);
    for (std::int64_t c = 0; c < cols; ++c)
      for (const std::int64_t dead : {3, 60})
        inputs.moments[std::size_t(std::max(c, dead) * cols + std::min(c, dead))] = 0;
    const auto output = run(w, rows, cols, "int4-g32-asym", inputs, Json::object());
    QVERIFY(output.ok());
    QCOMPARE(output->notes.size(), std::size_t(1));
    QVERIFY(output->notes[0].find("2 columns get no input") != std::string::npos);
    const auto values = decoded(output->tensor);
    for (std::int64_t row = 0; row < rows; ++row)
      QVERIFY(values[std::size_t(row * cols + 3)] == 0 &&
              values[std::size_t(row * cols + 60)] == 0);
  }

  void dampingIsRaisedWhereItMustBe() {
    constexpr std::int64_t rows = 4, cols = 64;
    const auto w = test::normal_noise(rows * cols, 41);
    auto inputs = test::made_up_inputs(cols, 300, 42);
    inputs.moments[63 * cols + 62] = 30 * inputs.moments[62 * cols + 62]; // no longer definite
    const auto output = run(w, rows, cols, "int4-g32-asym", inputs, Json::object());
    QVERIFY2(output.ok(), output.ok() ? "" : output.error().text().c_str());
    QCOMPARE(output->notes.size(), std::size_t(1));
    QVERIFY(output->notes[0].find("damping was raised from 0.01") != std::string::npos);
    for (const float value : decoded(output->tensor))
      QVERIFY(std::isfinite(value));

    inputs.moments[5 * cols + 5] = std::nan("");
    QVERIFY(!run(w, rows, cols, "int4-g32-asym", inputs, Json::object()).ok());
  }

  void fewTokens() { // fewer than columns: the moments are singular, damping carries them
    constexpr std::int64_t rows = 8, cols = 128;
    const auto w = test::normal_noise(rows * cols, 51);
    const auto inputs = test::made_up_inputs(cols, 9, 52);
    const auto output = run(w, rows, cols, "int4-g32-asym", inputs, Json::object());
    QVERIFY2(output.ok(), output.ok() ? "" : output.error().text().c_str());
  }

  void withoutCalibrationItIsAnError() {
    const auto w = test::normal_noise(64, 61);
    const InputStatistics nothing;
    QVERIFY(!run(w, 1, 64, "int4-g32-asym", nothing, Json::object()).ok());
  }
};

QTEST_GUILESS_MAIN(TestGptq)
#include "tst_gptq.moc"
