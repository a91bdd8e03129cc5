// SPDX-License-Identifier: GPL-3.0-or-later
// Statistics, histograms and heat maps of weights against slow loops over decoded values.
#include "core/eval/weight_stats.h"
#include "kernels/num/float16.h"
#include "tests/support.h"

#include <algorithm>
#include <cstring>
#include <QElapsedTimer>
#include <QTest>

using namespace bitlathe;

namespace {

Module float_module(const std::vector<float>& values, std::int64_t rows, FloatType type) {
  Module m;
  m.name = "test";
  m.weight.scheme = float_scheme(type);
  m.weight.rows = rows;
  m.weight.cols = std::int64_t(values.size()) / rows;
  m.shape = {m.weight.rows, m.weight.cols};
  m.weight.owned_codes.resize(values.size() * float_size(type));
  for (std::size_t i = 0; i < values.size(); ++i)
    store_float(type, m.weight.owned_codes.data(), std::int64_t(i), values[i]);
  m.weight.own();
  return m;
}

/// Random codes on random grids: any content is a valid tensor.
Module packed_module(const char* scheme_id, std::int64_t rows, std::int64_t cols) {
  Module m;
  m.name = scheme_id;
  m.weight.scheme = *parse_scheme(scheme_id);
  m.weight.rows = rows;
  m.weight.cols = cols;
  m.shape = {rows, cols};
  const auto bytes = m.weight.scheme.family->bytes(m.weight.scheme, rows, cols);
  std::mt19937 random(7);
  const auto fill = [&](std::vector<std::byte>& out, std::uint64_t n) {
    out.resize(n);
    for (auto& b : out)
      b = std::byte(random());
  };
  fill(m.weight.owned_codes, bytes.codes);
  fill(m.weight.owned_zeros, bytes.zeros);
  m.weight.owned_scales.resize(bytes.scales);
  const auto noise = test::normal_noise(bytes.scales / 2, 3, 0.01f);
  for (std::size_t i = 0; i < bytes.scales / 2; ++i)
    store_float(FloatType::f16, m.weight.owned_scales.data(), std::int64_t(i),
                std::abs(noise[i]) + 0.001f);
  m.weight.own();
  if (std::string_view(scheme_id).starts_with("q")) { // block scales: keep them finite
    const auto row_bytes = std::size_t(bytes.codes) / std::size_t(rows);
    const std::size_t block = row_bytes / std::size_t(cols / 32);
    for (std::size_t at = 0; at < m.weight.owned_codes.size(); at += block)
      for (std::size_t part = 0; part < (block == 20 ? 2u : 1u); ++part)
        store_float(FloatType::f16, m.weight.owned_codes.data() + at, std::int64_t(part), 0.02f);
  }
  if (m.weight.scheme.bits < 8 && !m.weight.owned_zeros.empty())
    for (auto& z : m.weight.owned_zeros)
      z = std::byte(unsigned(z) & ((1u << unsigned(m.weight.scheme.bits)) - 1));
  return m;
}

std::vector<float> decoded(const Module& m) {
  const MatrixView view = m.weight.view();
  std::vector<float> out(std::size_t(m.weight.rows * m.weight.cols));
  for (std::int64_t row = 0; row < m.weight.rows; ++row)
    view.layout->decode(view, row, 0, view.cols, out.data() + row * view.cols);
  return out;
}

} // namespace

class TestWeightStats : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> compute_;
  Feedback feedback_;

 private Q_SLOTS:
  void initTestCase() {
    auto made = make_cpu_compute();
    QVERIFY2(made.ok(), made ? "" : made.error().text().c_str());
    compute_ = std::move(*made);
  }

  void statistics_match_a_slow_loop_data() {
    QTest::addColumn<QString>("scheme");
    for (const char* id : {"f32", "f16", "bf16", "int4-g128-asym", "int3-g64-sym",
                           "int8-channel-sym", "int8-tensor-sym", "q4_0", "q4_1", "q8_0"})
      QTest::newRow(id) << id;
  }
  void statistics_match_a_slow_loop() {
    QFETCH(QString, scheme);
    const auto parsed = parse_scheme(scheme.toStdString());
    QVERIFY2(parsed.ok(), parsed ? "" : parsed.error().text().c_str());
    // More rows than one decoding chunk holds would be slow; the chunk logic is exercised below.
    Module m = parsed->quantized
                   ? packed_module(scheme.toUtf8().constData(), 24, 256)
                   : float_module(test::normal_noise(24 * 256, 1), 24, parsed->float_type);
    const auto values = decoded(m);
    const auto got = weight_statistics(m, *compute_, true, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    double sum = 0, sum2 = 0;
    float lo = values[0], hi = values[0];
    for (const float v : values) {
      sum += double(v);
      sum2 += double(v) * double(v);
      lo = std::min(lo, v);
      hi = std::max(hi, v);
    }
    const double n = double(values.size()), mean = sum / n;
    double fourth = 0, second = 0;
    std::uint64_t outliers = 0;
    for (const float v : values) {
      second += (double(v) - mean) * (double(v) - mean);
      fourth += std::pow(double(v) - mean, 4);
    }
    const double deviation = std::sqrt(second / n);
    for (const float v : values)
      outliers += std::abs(double(v) - mean) > 6 * deviation;
    QCOMPARE(got->moments.count, values.size());
    QCOMPARE(got->moments.min, lo);
    QCOMPARE(got->moments.max, hi);
    QVERIFY(std::abs(got->moments.sum - sum) < 1e-9 * n);
    QVERIFY(std::abs(got->moments.sum2 - sum2) < 1e-9 * n);
    QVERIFY(std::abs(got->moments.kurtosis() - fourth / n / std::pow(second / n, 2)) < 1e-6);
    QCOMPARE(got->outlier_fraction, double(outliers) / n);
    QCOMPARE(got->channels.size(), std::size_t(24));
    for (std::size_t row = 0; row < 24; ++row) {
      const auto begin = values.begin() + std::ptrdiff_t(row * 256);
      QCOMPARE(got->channels[row].max, *std::max_element(begin, begin + 256));
    }
  }

  void outliers_are_counted() {
    auto values = test::normal_noise(64 * 128, 5, 0.01f);
    values[17] = 3.0f;
    values[4000] = -2.5f;
    const auto m = float_module(values, 64, FloatType::f32);
    const auto got = weight_statistics(m, *compute_, false, feedback_);
    QVERIFY(got.ok());
    QCOMPARE(got->outlier_fraction, 2.0 / (64 * 128));
    QVERIFY(got->channels.empty());
  }

  void a_tensor_of_many_chunks_has_the_moments_of_its_floats() {
    const Module packed = packed_module("int8-channel-asym", 96, 32768); // three decoding chunks
    const Module plain = float_module(decoded(packed), 96, FloatType::f32);
    const auto a = weight_statistics(packed, *compute_, false, feedback_);
    const auto b = weight_statistics(plain, *compute_, false, feedback_);
    QVERIFY(a.ok() && b.ok());
    QCOMPARE(a->moments.sum, b->moments.sum); // same order of additions: the same bits
    QCOMPARE(a->moments.sum4, b->moments.sum4);
    const auto ha = weight_histogram(packed, 100, *compute_, feedback_);
    const auto hb = weight_histogram(plain, 100, *compute_, feedback_);
    QVERIFY(ha.ok() && hb.ok());
    QVERIFY(ha->counts == hb->counts);
  }

  void histogram_counts_every_value() {
    auto values = test::normal_noise(32 * 96, 9);
    values[5] = std::nanf("");
    values[6] = INFINITY;
    const auto m = float_module(values, 32, FloatType::f32);
    const auto got = weight_histogram(m, 64, *compute_, feedback_);
    QVERIFY(got.ok());
    QCOMPARE(got->edges.size(), std::size_t(65));
    QCOMPARE(got->nan, 1u);
    QCOMPARE(got->inf, 1u);
    QCOMPARE(got->total, values.size());
    std::uint64_t counted = 0;
    for (const auto c : got->counts)
      counted += c;
    QCOMPARE(counted, values.size() - 2);
    // The bin rule of compute.h, done slowly.
    const auto lo = float(got->edges.front()), hi = float(got->edges.back());
    const float inverse = float(64.0 / (double(hi) - double(lo)));
    std::vector<std::uint64_t> slow(64);
    for (const float v : values)
      if (std::isfinite(v))
        ++slow[std::size_t(std::clamp(int(std::floor((v - lo) * inverse)), 0, 63))];
    std::uint64_t moved = 0; // rounding of `inverse` may shift a value that sits on an edge
    for (std::size_t i = 0; i < 64; ++i)
      moved += slow[i] > got->counts[i] ? slow[i] - got->counts[i] : 0;
    QVERIFY(moved <= 1);

    const auto part = weight_histogram(m, 10, *compute_, feedback_, -0.5f, 0.5f);
    QVERIFY(part.ok());
    std::uint64_t inside = 0, want = 0;
    for (const auto c : part->counts)
      inside += c;
    for (const float v : values)
      want += v >= -0.5f && v <= 0.5f;
    QCOMPARE(inside, want);
  }

  /// Counting bit patterns, or a quick range first, changes nothing: the same figures as the
  /// moments and the histogram of Compute.
  void quick_passes_are_exact() {
    for (const FloatType type : {FloatType::bf16, FloatType::f16, FloatType::f32})
      for (const std::int64_t rows : {1, 7, 640}) {
        auto values = test::normal_noise(std::size_t(rows) * 1021, 11, 0.02f);
        for (std::size_t i = 0; i + 8 < values.size(); i += 977) {
          values[i] = 0.0f;
          values[i + 1] = -0.0f;
          values[i + 2] = 1e-7f; // a denormal f16
        }
        for (const bool odd : {false, true}) {
          if (odd) {
            values[3] = std::nanf("");
            values[4] = INFINITY;
            values[5] = -INFINITY;
          }
          const auto m = float_module(values, rows, type);
          const FloatView view{type, m.weight.rows, m.weight.cols, m.weight.codes};
          const auto moments = compute_->moments(view);
          const auto found = weight_values(m, *compute_, feedback_);
          QVERIFY(moments.ok() && found.ok());
          QCOMPARE(found->patterns.empty(), type == FloatType::f32);
          QCOMPARE(found->range.count, moments->count);
          QCOMPARE(found->range.nan, moments->nan);
          QCOMPARE(found->range.inf, moments->inf);
          QCOMPARE(std::memcmp(&found->range.min, &moments->min, 4), 0);
          QCOMPARE(std::memcmp(&found->range.max, &moments->max, 4), 0);
          for (const int bins : {1, 37, 320, 70000})
            for (const auto& [lo, hi] : {std::pair(moments->min, moments->max),
                                         std::pair(-0.011f, 0.013f), std::pair(0.0f, 5.0f)}) {
              std::vector<std::uint64_t> want(std::size_t(bins), 0);
              QVERIFY(compute_->histogram(view, lo, hi, want).ok());
              const auto got = weight_histogram(m, *found, bins, *compute_, feedback_, lo, hi);
              QVERIFY(got.ok());
              QCOMPARE(got->counts, want);
            }
        }
      }
    Feedback stopped;
    stopped.stop = true;
    const auto m = float_module(std::vector<float>(1000, 1.0f), 10, FloatType::bf16);
    QVERIFY(weight_values(m, *compute_, stopped).error().cancelled());
    std::vector<std::uint64_t> few(10);
    QVERIFY(!count_patterns({FloatType::bf16, 1, 4, m.weight.codes}, few).ok());
    QVERIFY(!count_patterns({FloatType::f32, 1, 4, m.weight.codes}, few).ok());
    QVERIFY(!weight_histogram(m, 8, *compute_, feedback_, 0.0f, 1e-45f).ok());
  }

  void degenerate_tensors() {
    for (const float value : {0.0f, 0.125f, -3.0f}) {
      const auto m = float_module(std::vector<float>(64, value), 2, FloatType::bf16);
      const auto h = weight_histogram(m, 8, *compute_, feedback_);
      QVERIFY(h.ok());
      QVERIFY(h->edges.front() < double(value) && h->edges.back() > double(value));
      std::uint64_t counted = 0;
      for (const auto c : h->counts)
        counted += c;
      QCOMPARE(counted, 64u);
      const auto s = weight_statistics(m, *compute_, true, feedback_);
      QVERIFY(s.ok());
      QCOMPARE(s->outlier_fraction, 0.0);
      QCOMPARE(s->moments.kurtosis(), 0.0);
    }
    const auto nan = float_module(std::vector<float>(64, std::nanf("")), 2, FloatType::f32);
    const auto h = weight_histogram(nan, 8, *compute_, feedback_);
    QVERIFY(h.ok());
    QCOMPARE(h->nan, 64u);
    const auto map = heat_map(nan, 0, 0, 2, 32, 8, *compute_, feedback_);
    QVERIFY(map.ok());
    QVERIFY(std::isnan(map->tiles[0].max));
    QVERIFY(!weight_histogram(nan, 0, *compute_, feedback_).ok());
    auto strange = float_module({1, 2, 3, 4}, 1, FloatType::f32);
    strange.weight.scheme = Scheme{};
    QCOMPARE(weight_statistics(strange, *compute_, false, feedback_).error().code,
             std::string("unsupported"));
    QVERIFY(!heat_map(strange, 0, 0, 1, 4, 4, *compute_, feedback_).ok());
    QVERIFY(code_values(strange.weight, 0, 0).empty());
    QCOMPARE(weight_statistics(Module(), *compute_, false, feedback_).error().code,
             std::string("bad-argument"));
  }

  void code_values_are_what_a_group_can_express() {
    for (const char* id : {"int4-g128-asym", "int3-g64-sym", "int8-tensor-sym", "int2-channel-asym",
                           "q4_0", "q4_1", "q8_0"}) {
      const Module m = packed_module(id, 6, 256);
      const auto values = decoded(m);
      const std::int64_t group_size = id[0] == 'q'                ? 32
                                      : m.weight.scheme.group > 0 ? m.weight.scheme.group
                                                                  : 256;
      for (std::int64_t row : {0, 5}) {
        for (std::int64_t group = 0; group < 256 / group_size; ++group) {
          const auto codes = code_values(m.weight, row, group);
          QVERIFY(std::is_sorted(codes.begin(), codes.end()));
          QVERIFY(codes.size() >= 2 && codes.size() <= 256);
          for (std::int64_t c = group * group_size; c < (group + 1) * group_size; ++c) {
            const float v = values[std::size_t(row * 256 + c)];
            const bool lowest_q8 = std::string_view(id) == "q8_0" && v < codes.front();
            QVERIFY2(lowest_q8 || std::binary_search(codes.begin(), codes.end(), v), id);
          }
        }
      }
      QVERIFY(code_values(m.weight, 0, 256 / group_size).empty());
      QVERIFY(code_values(m.weight, 6, 0).empty());
    }
    const auto plain = float_module({1, 2, 3, 4}, 1, FloatType::f32);
    QVERIFY(code_values(plain.weight, 0, 0).empty());
  }

  void heat_maps_match_a_slow_loop() {
    const Module m = packed_module("int4-g128-asym", 70, 1500);
    const auto values = decoded(m);
    struct Region {
      std::int64_t row, col, rows, cols, size;
    };
    for (const Region r : {Region{0, 0, 70, 1500, 16}, Region{0, 0, 70, 1500, 4096},
                           Region{3, 1001, 9, 450, 7}, Region{69, 1499, 1, 1, 8}}) {
      const auto map = heat_map(m, r.row, r.col, r.rows, r.cols, r.size, *compute_, feedback_);
      QVERIFY2(map.ok(), map ? "" : map.error().text().c_str());
      QCOMPARE(map->tile_rows, std::min(r.rows, r.size));
      QCOMPARE(map->tile_cols, std::min(r.cols, r.size));
      for (std::int64_t i = 0; i < map->tile_rows; ++i) {
        for (std::int64_t j = 0; j < map->tile_cols; ++j) {
          float lo = INFINITY, hi = -INFINITY;
          double sum = 0, n = 0;
          for (auto y = r.row + r.rows * i / map->tile_rows;
               y < r.row + r.rows * (i + 1) / map->tile_rows; ++y)
            for (auto x = r.col + r.cols * j / map->tile_cols;
                 x < r.col + r.cols * (j + 1) / map->tile_cols; ++x) {
              const float v = values[std::size_t(y * 1500 + x)];
              lo = std::min(lo, v);
              hi = std::max(hi, v);
              sum += double(std::abs(v));
              n += 1;
            }
          const HeatTile& tile = map->tiles[std::size_t(i * map->tile_cols + j)];
          QCOMPARE(tile.min, lo);
          QCOMPARE(tile.max, hi);
          QVERIFY(std::abs(double(tile.mean_abs) - sum / n) <= 1e-5 * (sum / n) + 1e-12);
        }
      }
    }
    QVERIFY(!heat_map(m, 0, 0, 71, 1500, 16, *compute_, feedback_).ok());
    QVERIFY(!heat_map(m, -1, 0, 4, 4, 16, *compute_, feedback_).ok());
    QVERIFY(!heat_map(m, 0, 0, 4, 4, 0, *compute_, feedback_).ok());
  }

  void error_map_is_the_absolute_difference() {
    const Module q = packed_module("int4-g128-asym", 8, 256);
    auto values = decoded(q);
    values[300] += 1.0f;
    const Module w = float_module(values, 8, FloatType::f32);
    const auto map = error_map(w, q, 0, 0, 8, 256, 256, *compute_, feedback_);
    QVERIFY(map.ok());
    for (std::size_t i = 0; i < map->tiles.size(); ++i)
      QVERIFY(i == 300 ? std::abs(map->tiles[i].max - 1.0f) < 1e-5f : map->tiles[i].max == 0);
    const Module other = packed_module("int4-g128-asym", 8, 128);
    QCOMPARE(error_map(w, other, 0, 0, 8, 128, 8, *compute_, feedback_).error().code,
             std::string("mismatch"));
  }

  void a_large_map_is_quick_and_can_be_cancelled() {
    const auto m = float_module(test::normal_noise(2048 * 1024, 2), 2048, FloatType::bf16);
    QElapsedTimer timer;
    timer.start();
    QVERIFY(heat_map(m, 0, 0, 2048, 1024, 512, *compute_, feedback_).ok());
    qInfo("2048 x 1024 bf16 heat map: %lld ms", timer.elapsed());
    QVERIFY(timer.elapsed() < 1000);
    Feedback stopped;
    stopped.stop = true;
    QVERIFY(heat_map(m, 0, 0, 2048, 1024, 512, *compute_, stopped).error().cancelled());
    const Module packed = packed_module("int8-channel-asym", 8, 256);
    QVERIFY(weight_histogram(packed, 10, *compute_, stopped).error().cancelled());
  }
};

QTEST_GUILESS_MAIN(TestWeightStats)
#include "tst_weight_stats.moc"
