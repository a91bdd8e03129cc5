// SPDX-License-Identifier: GPL-3.0-or-later
// Decoder parts against slow f64 versions written here.
#include "kernels/base/parallel.h"
#include "kernels/nn/nn.h"
#include "support.h"

#include <QtTest>

using namespace bitlathe;

namespace {

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double worst = a.size() == b.size() ? 0 : 1e300;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::isnan(a[i]) ? 1e300 : std::max(worst, std::fabs(double(a[i]) - b[i]));
  return worst;
}

struct Case {
  std::int64_t first, tokens, heads, kv_heads, head_dim, window;
  double softcap = 0;
};

/// Attention in f64 over what the cache really holds.
std::vector<double> slow_attention(const std::vector<float>& q, const Case& c, const KvCache& cache,
                                   double scale) {
  std::vector<double> out(std::size_t(c.tokens * c.heads * c.head_dim));
  std::vector<float> key(static_cast<std::size_t>(c.head_dim)), value(key);
  for (std::int64_t t = 0; t < c.tokens; ++t)
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const std::int64_t kv = h / (c.heads / c.kv_heads), here = c.first + t;
      const std::int64_t from = c.window > 0 ? std::max<std::int64_t>(0, here + 1 - c.window) : 0;
      std::vector<double> score;
      for (std::int64_t p = from; p <= here; ++p) {
        decode_kv_rows(cache.key_layout,
                       cache.keys.data() + (kv * cache.capacity + p) * cache.key_layout.row_bytes,
                       1, key.data());
        double dot = 0;
        for (std::int64_t i = 0; i < c.head_dim; ++i)
          dot += double(q[std::size_t((t * c.heads + h) * c.head_dim + i)]) *
                 double(key[std::size_t(i)]);
        score.push_back(c.softcap > 0 ? c.softcap * std::tanh(dot * scale / c.softcap)
                                      : dot * scale);
      }
      const double top = *std::max_element(score.begin(), score.end());
      double sum = 0;
      for (double& s : score)
        sum += s = std::exp(s - top);
      for (std::int64_t p = from; p <= here; ++p) {
        decode_kv_rows(cache.value_layout,
                       cache.values.data() +
                           (kv * cache.capacity + p) * cache.value_layout.row_bytes,
                       1, value.data());
        for (std::int64_t i = 0; i < c.head_dim; ++i)
          out[std::size_t((t * c.heads + h) * c.head_dim + i)] +=
              score[std::size_t(p - from)] / sum * double(value[std::size_t(i)]);
      }
    }
  return out;
}

} // namespace

class TestNn : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void norms();
  void rope();
  void activations();
  void kvRows_data();
  void kvRows();
  void kvRefuses();
  void attentionMatches_data();
  void attentionMatches();
};

void TestNn::norms() {
  const std::int64_t tokens = 3, dim = 173;
  const auto x = test::normal_noise(std::size_t(tokens * dim), 1), w = test::normal_noise(dim, 2),
             b = test::normal_noise(dim, 3);
  std::vector<double> rms(x.size()), layer(x.size());
  for (std::int64_t t = 0; t < tokens; ++t) {
    double square = 0, sum = 0, spread = 0;
    const float* in = x.data() + t * dim;
    for (std::int64_t i = 0; i < dim; ++i) {
      square += double(in[i]) * in[i];
      sum += in[i];
    }
    const double mean = sum / double(dim);
    for (std::int64_t i = 0; i < dim; ++i)
      spread += (in[i] - mean) * (in[i] - mean);
    for (std::int64_t i = 0; i < dim; ++i) {
      const auto at = std::size_t(t * dim + i);
      rms[at] = in[i] / std::sqrt(square / double(dim) + 1e-5) * double(w[std::size_t(i)]);
      layer[at] =
          (in[i] - mean) / std::sqrt(spread / double(dim) + 1e-5) * double(w[std::size_t(i)]) +
          double(b[std::size_t(i)]);
    }
  }
  std::vector<float> out(x);
  rms_norm(out.data(), w.data(), tokens, dim, 1e-5f, out.data());
  QVERIFY(largest_difference(out, rms) < 2e-6);
  layer_norm(x.data(), w.data(), b.data(), tokens, dim, 1e-5f, out.data());
  QVERIFY(largest_difference(out, layer) < 2e-6);
}

void TestNn::rope() {
  const std::int64_t heads = 2, head_dim = 10, rotary = 8, first = 1000, tokens = 3;
  const std::vector<float> factors{1, 1, 2, 4};
  auto x = test::normal_noise(std::size_t(tokens * heads * head_dim), 4);
  std::vector<double> want(x.begin(), x.end());
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < rotary / 2; ++i) {
        const double angle = double(first + t) *
                             std::pow(10000.0, -2.0 * double(i) / double(rotary)) /
                             double(factors[std::size_t(i)]);
        const auto a = std::size_t((t * heads + h) * head_dim + i), b = a + rotary / 2;
        want[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
        want[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
      }
  const auto start = x;
  Rope rope(rotary, 10000, factors);
  rope.apply(x.data(), first, tokens, heads, head_dim);
  QVERIFY(largest_difference(x, want) < 1e-6);
  auto single = start; // one token at a time, out of order
  for (const std::int64_t t : {2, 0, 1})
    rope.apply(single.data() + t * heads * head_dim, first + t, 1, heads, head_dim);
  QVERIFY(single == x);

  auto scaled = start; // cosine and sine times 1.25, and only of what turns
  Rope(rotary, 10000, factors, 1.25f).apply(scaled.data(), first, tokens, heads, head_dim);
  for (std::size_t i = 0; i < want.size(); ++i)
    want[i] *= std::int64_t(i) % head_dim < rotary ? 1.25 : 1.0;
  QVERIFY(largest_difference(scaled, want) < 1e-6);
}

void TestNn::activations() {
  std::vector<float> x{0.0f, -0.0f, 1e-30f, 88.0f, -88.0f, 1000.0f, -1000.0f, 1.0e30f, -1.0e30f};
  for (int i = -4000; i <= 4000; ++i)
    x.push_back(float(i) * 0.005f);
  const auto n = std::int64_t(x.size());
  const std::vector<float> up = test::normal_noise(x.size(), 6);
  const auto check = [&](auto fast, auto slow, double tolerance, double absolute = 1e-7) {
    std::vector<float> out(x.size());
    fast(out.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = slow(double(x[i]), double(up[i]));
      const double error = std::fabs(double(out[i]) - want) / (1e-6 + std::fabs(want));
      if (!(error <= tolerance) && std::fabs(double(out[i]) - want) > absolute) {
        qWarning() << x[i] << out[i] << want;
        return false;
      }
    }
    return true;
  };
  const auto silu_d = [](double v, double) { return v / (1 + std::exp(-v)); };
  const auto gelu_d = [](double v, double) { return 0.5 * v * std::erfc(-v / std::sqrt(2.0)); };
  const auto tanh_d = [](double v, double) {
    const double inner = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
    return v / (1 + std::exp(-2 * inner));
  };
  const auto quick_d = [](double v, double) { return v / (1 + std::exp(-1.702 * v)); };
  const auto times = [](auto f) { return [f](double v, double u) { return f(v, u) * u; }; };
  QVERIFY(check([&](float* o) { silu(x.data(), n, o); }, silu_d, 2e-6));
  QVERIFY(check([&](float* o) { gelu(x.data(), n, o); }, gelu_d, 2e-6, 5e-7));
  QVERIFY(check([&](float* o) { gelu_tanh(x.data(), n, o); }, tanh_d, 1e-5));
  QVERIFY(check([&](float* o) { gelu_quick(x.data(), n, o); }, quick_d, 2e-6));
  QVERIFY(check([&](float* o) { silu_mul(x.data(), up.data(), n, o); }, times(silu_d), 2e-6));
  QVERIFY(check([&](float* o) { gelu_mul(x.data(), up.data(), n, o); }, times(gelu_d), 2e-6, 2e-6));
  QVERIFY(check([&](float* o) { gelu_tanh_mul(x.data(), up.data(), n, o); }, times(tanh_d), 1e-5));
  QVERIFY(
      check([&](float* o) { gelu_quick_mul(x.data(), up.data(), n, o); }, times(quick_d), 2e-6));
  QVERIFY(check([&](float* o) { relu_mul(x.data(), up.data(), n, o); },
                [](double v, double u) { return std::max(v, 0.0) * u; }, 2e-6));
  QVERIFY(check(
      [&](float* o) {
        std::copy(x.begin(), x.end(), o);
        softcap(o, n, 30);
      },
      [](double v, double) { return 30 * std::tanh(v / 30); }, 2e-6));
  std::vector<float> out(x.size());
  relu(x.data(), n, out.data());
  QCOMPARE(out[3], 88.0f);
  QCOMPARE(out[4], 0.0f);
  add(x.data(), up.data(), n, out.data());
  QCOMPARE(out[20], x[20] + up[20]);
}

void TestNn::kvRows_data() {
  QTest::addColumn<QString>("id");
  QTest::addColumn<int>("head_dim");
  QTest::addColumn<double>("tolerance"); // of the row's largest magnitude
  const std::pair<const char*, double> ids[] = {{"f32", 0},
                                                {"f16", 5e-4},
                                                {"int8", 0.5 / 126 + 2e-4},
                                                {"int4", 0.08},
                                                {"q8_0", 0.5 / 126 + 2e-4},
                                                {"q4_0", 0.13},
                                                {"f8_e4m3", 0.0626}};
  for (const auto& [id, tolerance] : ids)
    for (const int dim : {64, 96, 40, 1, 33})
      if (dim % 32 == 0 || (QString(id) != "q8_0" && QString(id) != "q4_0"))
        QTest::addRow("%s %d", id, dim) << QString(id) << dim << tolerance;
}

void TestNn::kvRows() {
  QFETCH(QString, id);
  QFETCH(int, head_dim);
  QFETCH(double, tolerance);
  const auto layout = kv_layout(id.toStdString(), head_dim);
  QVERIFY(layout.ok());
  const std::int64_t rows = 5;
  auto x = test::normal_noise(std::size_t(rows * head_dim), 7);
  std::fill_n(x.begin() + head_dim, head_dim, 0.0f); // a row of zeros stays zeros
  std::vector<std::byte> stored(std::size_t(rows * layout->row_bytes) + 1, std::byte{0xa5});
  encode_kv_rows(*layout, x.data(), rows, stored.data());
  QCOMPARE(stored.back(), std::byte{0xa5});
  std::vector<float> back(x.size());
  decode_kv_rows(*layout, stored.data(), rows, back.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    double largest = 0, worst = 0;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      const auto at = std::size_t(r * head_dim + i);
      largest = std::max(largest, std::fabs(double(x[at])));
      worst = std::max(worst, std::fabs(double(x[at]) - double(back[at])));
    }
    QVERIFY2(worst <= tolerance * largest, qPrintable(QString::number(worst / largest)));
  }
}

void TestNn::kvRefuses() {
  QCOMPARE(kv_layout("int3", 64).error().code, std::string("bad-argument"));
  const auto odd = kv_layout("q8_0", 40);
  QCOMPARE(odd.error().code, std::string("unsupported"));
  QVERIFY(odd.error().message.find("40") != std::string::npos);
  QVERIFY(!KvCache::create("f16", "nonsense", 1, 64, 8).ok());
}

void TestNn::attentionMatches_data() {
  QTest::addColumn<QString>("kv");
  QTest::addColumn<int>("shape");
  for (const auto id : kv_layout_ids())
    for (int shape = 0; shape < 9; ++shape)
      QTest::addRow("%s %d", std::string(id).c_str(), shape)
          << QString::fromStdString(std::string(id)) << shape;
}

void TestNn::attentionMatches() {
  QFETCH(QString, kv);
  QFETCH(int, shape);
  const Case cases[] = {
      {0, 1, 4, 2, 32, 0},     {0, 37, 8, 2, 64, 0},    {700, 1, 8, 4, 32, 0},
      {1100, 3, 4, 1, 32, 0},  {63, 70, 6, 6, 32, 0},   {200, 40, 4, 2, 32, 50},
      {900, 2, 4, 2, 64, 600}, {90, 5, 4, 2, 33, 0, 3}, {600, 3, 4, 4, 32, 70, 1.5}};
  const Case& c = cases[shape];
  if (!kv_layout(kv.toStdString(), c.head_dim))
    QSKIP("this storage does not take such heads");
  const std::int64_t positions = c.first + c.tokens;
  auto cache =
      KvCache::create(kv.toStdString(), kv.toStdString(), c.kv_heads, c.head_dim, positions + 3,
                      0.02f, 0.01f); // the scales matter to a static scheme only
  QVERIFY(cache.ok());
  const auto k = test::normal_noise(std::size_t(positions * c.kv_heads * c.head_dim), 8, 2.0f),
             v = test::normal_noise(k.size(), 9),
             q = test::normal_noise(std::size_t(c.tokens * c.heads * c.head_dim), 10, 2.0f);
  cache->store(0, positions, k.data(), v.data());
  const float scale = 1.0f / std::sqrt(float(c.head_dim));
  std::vector<float> out(q.size());
  attention(q.data(), c.first, c.tokens, c.heads, *cache, scale, out.data(), c.window,
            float(c.softcap));
  const double worst = largest_difference(out, slow_attention(q, c, *cache, double(scale)));
  QVERIFY2(worst < 2e-5, qPrintable(QString::number(worst)));
  std::vector<float> again(q.size());
  set_thread_count(1);
  attention(q.data(), c.first, c.tokens, c.heads, *cache, scale, again.data(), c.window,
            float(c.softcap));
  set_thread_count(0);
  QVERIFY(out == again);
}

QTEST_APPLESS_MAIN(TestNn)
#include "tst_nn.moc"
