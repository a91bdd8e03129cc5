// SPDX-License-Identifier: GPL-3.0-or-later
// The CPU backend as a whole: every call against slow f64 code written here, on every instruction
// set, at several thread counts, with the sizes and inputs that break things.
#include "kernels/base/parallel.h"
#include "kernels/bench.h"
#include "kernels/compute/compute.h"
#include "kernels/cpu/isa.h"
#include "support.h"

#include <cstdio>
#include <limits>
#include <QCoreApplication>
#include <QProcess>
#include <QtTest>

using namespace bitlathe;

namespace {

/// A float matrix with the memory it needs, one byte off any alignment.
struct Floats {
  std::vector<std::byte> bytes;
  FloatView view;

  Floats(FloatType type, std::int64_t rows, std::int64_t cols, const std::vector<float>& values)
      : bytes(values.size() * float_size(type) + 1) {
    for (std::size_t i = 0; i < values.size(); ++i)
      store_float(type, bytes.data() + 1, std::int64_t(i), values[i]);
    view = {type, rows, cols, std::span<const std::byte>(bytes).subspan(1)};
  }
  float at(std::int64_t i) const { return load_float(view.type, view.data.data(), i); }
};

/// A packed matrix with the memory it needs.
struct Packed {
  std::vector<std::byte> codes, scales, zeros;
  std::vector<IntGrid> grids;
  MatrixView view;
};

Result<Packed> pack_int(Compute& compute, const FloatView& w, IntSpec spec) {
  Packed p;
  if (spec.per_tensor)
    spec.group = w.cols;
  const std::int64_t groups = (w.cols + spec.group - 1) / spec.group;
  std::vector<float> lo(std::size_t(w.rows * groups)), hi(lo.size());
  TRY(compute.group_ranges(w, spec.group, lo, hi));
  if (spec.per_tensor) {
    lo = {*std::min_element(lo.begin(), lo.end())};
    hi = {*std::max_element(hi.begin(), hi.end())};
  }
  p.scales.resize(lo.size() * float_size(spec.scale_type));
  for (std::size_t i = 0; i < lo.size(); ++i) {
    p.grids.push_back(make_int_grid(lo[i], hi[i], spec.bits, spec.symmetric, spec.scale_type));
    store_float(spec.scale_type, p.scales.data(), std::int64_t(i), p.grids.back().scale);
    if (!spec.symmetric)
      p.zeros.push_back(std::byte(p.grids.back().zero));
  }
  p.codes.resize(std::size_t(w.rows * int_row_bytes(w.cols, spec.bits)));
  TRY(compute.quantize_int(w, spec, p.grids, p.codes));
  p.view.layout = find_layout("int");
  p.view.rows = w.rows;
  p.view.cols = w.cols;
  p.view.bits = spec.bits;
  p.view.group = spec.group;
  p.view.symmetric = spec.symmetric;
  p.view.per_tensor = spec.per_tensor;
  p.view.float_type = spec.scale_type;
  p.view.codes = p.codes;
  p.view.scales = p.scales;
  p.view.zeros = p.zeros;
  return p;
}

std::vector<std::unique_ptr<Compute>> every_compute() {
  std::vector<std::unique_ptr<Compute>> all;
  for (const Isa isa : supported_isas())
    all.push_back(std::move(*make_cpu_compute(isa)));
  return all;
}

bool same(const Moments& a, const Moments& b) {
  return a.count == b.count && a.nan == b.nan && a.inf == b.inf && a.zeros == b.zeros &&
         a.min == b.min && a.max == b.max && a.absmax == b.absmax && a.sum == b.sum &&
         a.sum2 == b.sum2 && a.sum3 == b.sum3 && a.sum4 == b.sum4;
}

bool near(double got, double want, double relative) {
  return std::fabs(got - want) <= relative * std::fabs(want) + 1e-300;
}

} // namespace

class TestCompute : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void moments();
  void histogram();
  void integerCoding();
  void wholeTensorScale();
  void candidateErrors();
  void errorSums();
  void slices();
  void products_data();
  void products();
  void integerActivations();
  void cancelling();
  void badArguments();
  void threads();
  void environment();
  void devices();
  void bench();
};

void TestCompute::moments() {
  const std::int64_t rows = 37, cols = 5001; // longer than one piece, odd
  auto values = test::normal_noise(std::size_t(rows * cols), 1, 0.02f);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  values[5000] = std::numeric_limits<float>::infinity();
  values[70000] = -std::numeric_limits<float>::infinity();
  values[90000] = 0;
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16}) {
    const Floats w(type, rows, cols, values);
    Moments want;
    double mean = 0, second = 0, fourth = 0;
    want.min = want.max = w.at(0);
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const float v = w.at(i);
      if (!std::isfinite(v))
        continue;
      ++want.count;
      want.zeros += v == 0;
      want.min = std::min(want.min, v);
      want.max = std::max(want.max, v);
      mean += double(v);
    }
    mean /= double(want.count);
    for (std::int64_t i = 0; i < rows * cols; ++i)
      if (const double d = double(w.at(i)) - mean; std::isfinite(d)) {
        second += d * d;
        fourth += d * d * d * d;
      }
    second /= double(want.count);
    fourth /= double(want.count);
    std::optional<Moments> first;
    for (const auto& compute : every_compute())
      for (const int n : {1, 2, 5}) {
        set_thread_count(n);
        const auto got = compute->moments(w.view);
        QVERIFY(got.ok());
        QVERIFY(got->count == want.count && got->nan == 1 && got->inf == 2);
        QCOMPARE(got->zeros, want.zeros);
        QVERIFY(got->min == want.min && got->max == want.max);
        QCOMPARE(got->absmax, std::max(-want.min, want.max));
        QVERIFY(near(got->mean(), mean, 1e-9) && near(got->variance(), second, 1e-10));
        QVERIFY(near(got->kurtosis(), fourth / second / second, 1e-9));
        if (!first)
          first = *got;
        QVERIFY2(same(*got, *first), compute->device().name.c_str());
        std::vector<Moments> by_row(std::size_t(rows), Moments{});
        QVERIFY(compute->row_moments(w.view, by_row).ok());
        Moments all;
        for (const Moments& m : by_row)
          all.add(m);
        QVERIFY(same(all, *first));
      }
  }
  set_thread_count(0);
  const Floats none(FloatType::f32, 0, 8, {});
  const auto empty = every_compute().back()->moments(none.view);
  QVERIFY(empty.ok() && empty->count == 0 && empty->kurtosis() == 0);
}

void TestCompute::histogram() {
  const auto values = test::normal_noise(300000, 2);
  const Floats w(FloatType::bf16, 300, 1000, values);
  const float lo = -2.5f, hi = 3.0f;
  for (const std::size_t bins : {1, 100, 4096}) {
    std::vector<std::uint64_t> want(bins, 5); // added to what is there
    const float inv = float(bins) / (hi - lo);
    for (std::int64_t i = 0; i < 300000; ++i)
      if (const float v = w.at(i); v >= lo && v <= hi)
        ++want[std::min(bins - 1, std::size_t((v - lo) * inv))];
    for (const auto& compute : every_compute()) {
      std::vector<std::uint64_t> got(bins, 5);
      QVERIFY(compute->histogram(w.view, lo, hi, got).ok());
      QVERIFY2(got == want, compute->device().name.c_str());
    }
  }
}

void TestCompute::integerCoding() {
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    for (const std::int64_t cols : {1, 31, 100, 257, 4100})
      for (int bits = 2; bits <= 8; ++bits) {
        const std::int64_t rows = 5, group = cols > 100 ? 96 : 40;
        const bool symmetric = bits % 2 == 0;
        const Floats w(type, rows, cols,
                       test::normal_noise(std::size_t(rows * cols), std::uint32_t(bits)));
        std::vector<std::byte> first;
        for (const auto& compute : every_compute()) {
          const auto p =
              pack_int(*compute, w.view, {bits, group, symmetric, false, FloatType::f16});
          QVERIFY(p.ok());
          if (first.empty())
            first = p->codes;
          QVERIFY2(p->codes == first, compute->device().name.c_str());
          std::vector<float> decoded(std::size_t(rows * cols));
          QVERIFY(compute->decode(p->view, 0, rows, decoded).ok());
          const std::int64_t groups = p->view.groups();
          for (std::int64_t i = 0; i < rows * cols; ++i) {
            const IntGrid& grid = p->grids[std::size_t(i / cols * groups + i % cols / group)];
            const float want = decode_int(encode_int(w.at(i), grid, bits), grid);
            QVERIFY(decoded[std::size_t(i)] == want);
          }
        }
      }
}

void TestCompute::wholeTensorScale() {
  const std::int64_t rows = 9, cols = 70;
  const Floats w(FloatType::bf16, rows, cols, test::normal_noise(630, 3));
  const auto compute = std::move(*make_cpu_compute(supported_isas().back()));
  const auto p = pack_int(*compute, w.view, {5, cols, false, true, FloatType::f32});
  QVERIFY(p.ok());
  QCOMPARE(p->grids.size(), std::size_t(1));
  std::vector<float> decoded(630);
  QVERIFY(compute->decode(p->view, 0, rows, decoded).ok());
  for (std::int64_t i = 0; i < 630; ++i)
    QVERIFY(std::fabs(decoded[std::size_t(i)] - w.at(i)) <= 0.5001f * p->grids[0].scale);
}

void TestCompute::candidateErrors() {
  const std::int64_t rows = 6, cols = 150, group = 64, groups = 3, count = 21;
  const Floats w(FloatType::bf16, rows, cols, test::normal_noise(900, 4));
  const auto weight = test::normal_noise(std::size_t(cols), 5);
  for (const bool per_tensor : {false, true}) {
    const IntSpec spec{3, per_tensor ? cols : group, false, per_tensor, FloatType::f16};
    const std::int64_t n_groups = per_tensor ? 1 : rows * groups;
    std::vector<std::vector<IntGrid>> candidates;
    for (int c = 0; c < count; ++c) {
      candidates.emplace_back();
      for (std::int64_t g = 0; g < n_groups; ++g) {
        const float clip = 1.0f - 0.03f * float(c);
        candidates.back().push_back(
            make_int_grid(-2.0f * clip, (1.5f + 0.1f * float(g)) * clip, 3, false, FloatType::f16));
      }
    }
    std::vector<double> first;
    for (const auto& compute : every_compute()) {
      std::vector<double> got(std::size_t(count * n_groups));
      QVERIFY(compute->int_errors(w.view, spec, candidates, weight, got).ok());
      if (first.empty())
        first = got;
      QVERIFY2(got == first, compute->device().name.c_str());
      for (std::int64_t c = 0; c < count; ++c)
        for (std::int64_t g = 0; g < n_groups; ++g) {
          double want = 0;
          const IntGrid& grid = candidates[std::size_t(c)][std::size_t(g)];
          for (std::int64_t i = 0; i < rows * cols; ++i) {
            if (!per_tensor && i / cols * groups + i % cols / group != g)
              continue;
            const float e = w.at(i) - decode_int(encode_int(w.at(i), grid, 3), grid);
            want += double(weight[std::size_t(i % cols)]) * double(e) * double(e);
          }
          QVERIFY(near(got[std::size_t(c * n_groups + g)], want, 1e-12));
        }
      std::vector<double> plain(got.size()); // no weights: all 1
      const std::vector<float> ones(std::size_t(cols), 1.0f);
      QVERIFY(compute->int_errors(w.view, spec, candidates, {}, plain).ok());
      QVERIFY(compute->int_errors(w.view, spec, candidates, ones, got).ok());
      QVERIFY(plain == got);
    }
  }
}

void TestCompute::errorSums() {
  const std::int64_t rows = 11, cols = 4133;
  const Floats w(FloatType::f16, rows, cols, test::normal_noise(std::size_t(rows * cols), 6));
  std::optional<ErrorSums> first;
  for (const auto& compute : every_compute()) {
    const auto p = pack_int(*compute, w.view, {4, 128, true, false, FloatType::bf16});
    std::vector<float> v(std::size_t(rows * cols));
    QVERIFY(p.ok() && compute->decode(p->view, 0, rows, v).ok());
    const auto got = compute->error(w.view, p->view);
    QVERIFY(got.ok());
    double error = 0, ref = 0, quant = 0, product = 0;
    float worst = 0;
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const double a = double(w.at(i)), b = double(v[std::size_t(i)]);
      error += (a - b) * (a - b);
      ref += a * a;
      quant += b * b;
      product += a * b;
      worst = std::max(worst, std::fabs(w.at(i) - v[std::size_t(i)]));
    }
    QVERIFY(near(got->mse(), error / double(rows * cols), 1e-12));
    QVERIFY(near(got->sqnr_db(), 10 * std::log10(ref / error), 1e-12));
    QVERIFY(near(got->cosine(), product / std::sqrt(ref * quant), 1e-12));
    QCOMPARE(got->max_abs_error, worst);
    if (!first)
      first = *got;
    QVERIFY(got->sum_sq_error == first->sum_sq_error && got->sum_product == first->sum_product);
  }
  MatrixView exact;
  exact.layout = find_layout("float");
  exact.rows = rows;
  exact.cols = cols;
  exact.float_type = FloatType::f16;
  exact.codes = w.view.data;
  const auto none = every_compute().back()->error(w.view, exact);
  QVERIFY(none.ok() && none->mse() == 0 && none->sqnr_db() == 300 && none->cosine() == 1);
}

void TestCompute::slices() {
  const auto compute = std::move(*make_cpu_compute(supported_isas().back()));
  const std::int64_t rows = 10, cols = 96;
  const Floats w(FloatType::f32, rows, cols, test::normal_noise(960, 7));
  const auto check = [&](const MatrixView& q) {
    std::vector<float> all(960), part(3 * 96);
    return compute->decode(q, 0, rows, all).ok() &&
           compute->decode(q.slice(4, 3), 0, 3, part).ok() &&
           std::equal(part.begin(), part.end(), all.begin() + 4 * 96);
  };
  for (const bool per_tensor : {false, true}) {
    const auto p = pack_int(*compute, w.view, {3, 32, false, per_tensor, FloatType::f16});
    QVERIFY(p.ok() && check(p->view));
  }
  for (const char* id : {"q8_0", "q4_0", "q4_1"}) {
    MatrixView q;
    q.layout = find_layout(id);
    QVERIFY(q.layout);
    q.rows = rows;
    q.cols = cols;
    std::vector<std::byte> blocks(std::size_t(rows * q.layout->row_bytes(q)));
    QVERIFY(compute->quantize_blocks(w.view, id, {}, blocks).ok());
    q.codes = blocks;
    QVERIFY(check(q));
  }
  QVERIFY(find_layout("nonsense") == nullptr);
}

void TestCompute::products_data() {
  QTest::addColumn<QString>("layout");
  QTest::addColumn<int>("bits");
  QTest::addColumn<int>("group");
  QTest::addColumn<int>("asymmetric");
  for (const char* id : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"})
    QTest::addRow("%s", id) << QString(id) << 0 << 0 << 0;
  for (int bits = 2; bits <= 8; ++bits)
    for (const int group : {bits % 2 ? 32 : 128, 40, 0}) // 0: the whole row, -1: the whole tensor
      QTest::addRow("int%d g%d", bits, group) << QString("int") << bits << group << bits / 2 % 2;
  QTest::addRow("int4 tensor") << QString("int") << 4 << -1 << 1;
  QTest::addRow("int8 tensor") << QString("int") << 8 << -1 << 0;
}

void TestCompute::products() {
  QFETCH(QString, layout);
  QFETCH(int, bits);
  QFETCH(int, group);
  QFETCH(int, asymmetric);
  const bool blocks = layout.startsWith("q");
  for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>(1, 32),
                                   {67, 160},
                                   {50, blocks ? 1056 : 1045},
                                   {3, blocks ? 64 : 7}}) {
    const Floats w(FloatType::f32, rows, cols,
                   test::normal_noise(std::size_t(rows * cols), 8, 0.1f));
    for (const auto& compute : every_compute()) {
      Packed p;
      std::vector<std::byte> bytes;
      if (layout == "int") {
        auto made = pack_int(
            *compute, w.view,
            {bits, group > 0 ? std::int64_t(group) : cols, !asymmetric, group < 0, FloatType::f16});
        QVERIFY(made.ok());
        p = std::move(*made);
      } else if (blocks) {
        p.view.layout = find_layout(layout.toStdString());
        p.view.rows = rows;
        p.view.cols = cols;
        bytes.resize(std::size_t(rows * p.view.layout->row_bytes(p.view)));
        QVERIFY(compute->quantize_blocks(w.view, layout.toStdString(), {}, bytes).ok());
        p.view.codes = bytes;
      } else {
        p.view.layout = find_layout("float");
        p.view.float_type = layout == "f32"   ? FloatType::f32
                            : layout == "f16" ? FloatType::f16
                                              : FloatType::bf16;
        p.view.rows = rows;
        p.view.cols = cols;
        bytes.resize(std::size_t(rows * cols) * float_size(p.view.float_type) + 1);
        for (std::int64_t i = 0; i < rows * cols; ++i)
          store_float(p.view.float_type, bytes.data() + 1, i, w.at(i));
        p.view.codes = std::span<const std::byte>(bytes).subspan(1); // mapped data has no alignment
      }
      std::vector<float> v(std::size_t(rows * cols));
      QVERIFY(compute->decode(p.view, 0, rows, v).ok());
      const auto loaded = compute->load(p.view);
      QVERIFY(loaded.ok() && (*loaded)->rows == rows && (*loaded)->cols == cols);
      for (const std::int64_t m : {1, 3, 8, 17, 66}) {
        const auto x = test::normal_noise(std::size_t(m * cols), std::uint32_t(m));
        std::vector<float> y(std::size_t(m * rows) + 1, 99.0f), again(y);
        QVERIFY(compute->matmul(x.data(), m, **loaded, y.data()).ok());
        QCOMPARE(y.back(), 99.0f);
        for (std::int64_t t = 0; t < m; ++t)
          for (std::int64_t r = 0; r < rows; ++r) {
            double want = 0, size = 0;
            for (std::int64_t i = 0; i < cols; ++i) {
              const double product =
                  double(x[std::size_t(t * cols + i)]) * double(v[std::size_t(r * cols + i)]);
              want += product;
              size += std::fabs(product);
            }
            const double got = double(y[std::size_t(t * rows + r)]);
            if (!(std::fabs(got - want) <= 2e-6 * size))
              QFAIL(qPrintable(QString("%1: %2 tokens, token %3 row %4: %5, not %6")
                                   .arg(compute->device().name.c_str())
                                   .arg(m)
                                   .arg(t)
                                   .arg(r)
                                   .arg(got)
                                   .arg(want)));
          }
        set_thread_count(3);
        QVERIFY(compute->matmul(x.data(), m, **loaded, again.data()).ok());
        set_thread_count(0);
        QVERIFY(y == again);
      }
    }
  }
}

void TestCompute::integerActivations() {
  for (const int bits : {2, 3, 4, 8})
    for (const std::int64_t group : {32, 50, 0, -1})
      for (const bool symmetric : {false, true}) {
        const std::int64_t rows = 50, cols = 200;
        auto values = test::normal_noise(std::size_t(rows * cols), 9);
        for (std::int64_t i = 0; i < cols; ++i)
          values[std::size_t(i)] = 1.0f; // codes at the top: where 16-bit sums would saturate
        const Floats w(FloatType::f32, rows, cols, values);
        auto computes = every_compute();
        const auto p =
            pack_int(*computes[0], w.view,
                     {bits, group > 0 ? group : cols, symmetric, group < 0, FloatType::f16});
        QVERIFY(p.ok());
        std::vector<float> v(std::size_t(rows * cols));
        QVERIFY(computes[0]->decode(p->view, 0, rows, v).ok());
        for (const std::int64_t m : {1, 3, 8, 33}) {
          auto x = test::normal_noise(std::size_t(m * cols), 10);
          std::fill_n(x.begin(), cols, 3.0f); // all codes 127
          if (m > 2)
            std::fill_n(x.begin() + cols, cols, 0.0f);
          std::vector<double> want(std::size_t(m * rows)), size(want);
          for (std::int64_t t = 0; t < m; ++t) {
            float absmax = 0;
            for (std::int64_t i = 0; i < cols; ++i)
              absmax = std::max(absmax, std::fabs(x[std::size_t(t * cols + i)]));
            const float s = absmax > 0 ? absmax / 127.0f : 1.0f, r = 1.0f / s;
            for (std::int64_t row = 0; row < rows; ++row)
              for (std::int64_t i = 0; i < cols; ++i) {
                const double code = std::nearbyint(x[std::size_t(t * cols + i)] * r);
                const double product = code * double(s) * double(v[std::size_t(row * cols + i)]);
                want[std::size_t(t * rows + row)] += product;
                size[std::size_t(t * rows + row)] += std::fabs(product);
              }
          }
          std::vector<float> first;
          for (const auto& compute : computes) {
            const auto loaded = compute->load(p->view);
            std::vector<float> y(std::size_t(m * rows));
            QVERIFY(compute->matmul_int8(x.data(), m, **loaded, y.data()).ok());
            for (std::size_t i = 0; i < y.size(); ++i)
              QVERIFY(std::fabs(double(y[i]) - want[i]) <= 1e-6 * size[i]);
            if (first.empty())
              first = y;
            QVERIFY2(y == first, compute->device().name.c_str()); // exact sums: no differences
          }
        }
      }
  const auto compute = std::move(*make_cpu_compute(Isa::scalar));
  MatrixView floats;
  floats.layout = find_layout("float");
  const auto loaded = compute->load(floats);
  QCOMPARE(compute->matmul_int8(nullptr, 1, **loaded, nullptr).error().code,
           std::string("unsupported"));
}

void TestCompute::cancelling() {
  const auto compute = std::move(*make_cpu_compute(supported_isas().back()));
  const Floats w(FloatType::f32, 64, 64, test::normal_noise(4096, 11));
  Feedback feedback;
  feedback.stop = true;
  QVERIFY(compute->moments(w.view, &feedback).error().cancelled());
  std::vector<std::uint64_t> counts(4);
  QVERIFY(compute->histogram(w.view, -1, 1, counts, &feedback).error().cancelled());
  std::vector<std::byte> blocks(64 * 68);
  QVERIFY(compute->quantize_blocks(w.view, "q8_0", {}, blocks, &feedback).error().cancelled());
  // In the middle: what is handed out finishes, nothing more is.
  feedback.stop = false;
  std::atomic<int> pieces{0};
  QVERIFY(!parallel_for(
      100000, 1, [&](std::int64_t, std::int64_t) { feedback.stop = ++pieces >= 2; }, &feedback));
  QVERIFY(pieces < 2 + 2 * thread_count() + 2);
}

void TestCompute::badArguments() {
  const auto compute = std::move(*make_cpu_compute(Isa::scalar));
  const Floats w(FloatType::f32, 4, 64, test::normal_noise(256, 12));
  std::vector<std::uint64_t> counts(4);
  QVERIFY(!compute->histogram(w.view, 1, 1, counts).ok());
  QVERIFY(!compute->histogram(w.view, -3e38f, 3e38f, counts).ok()); // hi - lo overflows
  QVERIFY(!compute->histogram(w.view, 0, 1e-45f, counts).ok());
  QVERIFY(!compute->histogram(w.view, 0, 1, {}).ok());
  std::vector<float> lo(4), hi(5);
  QVERIFY(!compute->group_ranges(w.view, 64, lo, hi).ok());
  QVERIFY(!compute->group_ranges(w.view, 0, lo, lo).ok());
  std::vector<std::byte> codes(4 * 32);
  const std::vector<IntGrid> grids(4);
  QVERIFY(!compute->quantize_int(w.view, {9, 64, true, false, FloatType::f16}, grids, codes).ok());
  QVERIFY(!compute->quantize_int(w.view, {4, 32, true, false, FloatType::f16}, grids, codes).ok());
  QVERIFY(compute->quantize_int(w.view, {4, 64, true, false, FloatType::f16}, grids, codes).ok());
  MatrixView q;
  q.layout = find_layout("float");
  q.rows = 4;
  q.cols = 64;
  q.codes = w.view.data;
  std::vector<float> out(64);
  QVERIFY(!compute->decode(q, 4, 1, out).ok());
  QVERIFY(!compute->decode(q, 0, 2, out).ok());
}

void TestCompute::threads() {
  set_thread_count(3);
  QCOMPARE(thread_count(), 3);
  std::vector<int> seen(1000);
  QVERIFY(parallel_for(1000, 7, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; ++begin)
      parallel_for(4, 1, [&](std::int64_t a, std::int64_t b) { // nested
        if (a == 0)
          seen[std::size_t(begin)] += int(b > a);
      });
  }));
  QVERIFY(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
  set_thread_count(0);
  QVERIFY(thread_count() >= 1);
  QVERIFY(parallel_for(0, 1, [](std::int64_t, std::int64_t) { QFAIL("nothing to do"); }));
}

void TestCompute::environment() {
  const auto start = [](const QString& key, const QString& value) {
    QProcess child;
    auto environment = QProcessEnvironment::systemEnvironment();
    environment.insert(key, value);
    child.setProcessEnvironment(environment);
    child.start(QCoreApplication::applicationFilePath(), {"--make-compute"});
    child.waitForFinished();
    return QString::fromUtf8(child.readAllStandardOutput()).trimmed();
  };
  for (const Isa isa : supported_isas()) {
    const auto name = QString::fromStdString(std::string(isa_name(isa)));
    QVERIFY2(start("BITLATHE_ISA", name).endsWith("(" + name + ")"), qPrintable(name));
  }
  QVERIFY(start("BITLATHE_ISA", "sse9").startsWith("bad-argument: BITLATHE_ISA is \"sse9\""));
  for (const char* bad : {"0", "-1", "2x", "many", "100000000000"})
    QVERIFY(start("BITLATHE_THREADS", bad).startsWith("bad-argument: BITLATHE_THREADS is"));
  QVERIFY(start("BITLATHE_THREADS", "5").startsWith("5 threads"));
}

void TestCompute::devices() {
  const auto devices = list_devices();
  QVERIFY(!devices.empty() && devices[0].backend == "cpu" && devices[0].memory_bytes > 0);
  int defaults = 0;
  for (const DeviceInfo& device : devices)
    defaults += device.is_default;
  QCOMPARE(defaults, 1);
  QCOMPARE(make_compute("cuda").error().code, std::string("bad-argument"));
  const auto cpu = make_compute("cpu");
  QVERIFY(cpu.ok() && (*cpu)->device().backend == "cpu");
}

void TestCompute::bench() {
  const auto compute = std::move(*make_cpu_compute(supported_isas().back()));
  const MachineSpeed machine{10, 100, 200, 1};
  const auto one = bench_kernels(*compute, machine, "generate_int4", 0);
  QVERIFY(one.ok() && one->size() == 1);
  QVERIFY(one->front().gb_per_s > 0 && one->front().gflops > 0);
  QVERIFY(one->front().fraction_of_peak > 0 && one->front().backend == "cpu");
  const auto none = bench_kernels(*compute, machine, "generate_int5", 0);
  QCOMPARE(none.error().code, std::string("bad-argument"));
  QVERIFY(none.error().message.find("prompt_w8a8") != std::string::npos);
}

int main(int argc, char** argv) {
  QCoreApplication app(argc, argv);
  if (argc > 1 && std::string(argv[1]) == "--make-compute") { // TestCompute::environment
    const auto made = make_compute("cpu");
    if (made)
      std::printf("%d threads on %s\n", thread_count(), (*made)->device().name.c_str());
    else
      std::printf("%s: %s\n", made.error().code.c_str(), made.error().message.c_str());
    return 0;
  }
  TestCompute test;
  return QTest::qExec(&test, argc, argv);
}

#include "tst_compute.moc"
