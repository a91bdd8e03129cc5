// SPDX-License-Identifier: GPL-3.0-or-later
// Factorizations against their definitions, at any thread count and on every instruction set;
// second moments against sums in double precision.
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/linalg/cholesky.h"
#include "tests/support.h"

#include <QTest>

using namespace bitlathe;

namespace {

using Matrix = std::vector<double>;

/// X^T X of noise, with a little on the diagonal: positive definite, and not well conditioned.
Matrix definite(std::int64_t n, std::uint32_t seed) {
  const auto x = test::normal_noise(std::size_t(n * n), seed);
  Matrix a(std::size_t(n * n));
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 1e-2 : 0;
      for (std::int64_t k = 0; k < n; ++k)
        sum += double(x[std::size_t(k * n + i)]) * double(x[std::size_t(k * n + j)]);
      a[std::size_t(i * n + j)] = sum;
    }
  return a;
}

} // namespace

class TestLinalg : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void factors_data() {
    QTest::addColumn<int>("size");
    for (const int n : {1, 5, 63, 64, 65, 150})
      QTest::newRow(qPrintable(QString::number(n))) << n;
  }
  void factors() {
    QFETCH(int, size);
    const std::int64_t n = size;
    const Matrix a = definite(n, 7);
    Matrix l = a;
    QVERIFY(cholesky(l, n) == Factored::done);
    Matrix inverse(l.size()), u(l.size());
    QVERIFY(invert_lower(l, n, inverse));
    QVERIFY(inverse_factor(a, n, u) == Factored::done);
    double worst_l = 0, worst_inverse = 0, worst_u = 0, largest = 0;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const auto at = std::size_t(i * n + j);
        largest = std::max(largest, std::fabs(a[at]));
        double ll = 0, product = 0, identity = 0;
        for (std::int64_t k = 0; k < n; ++k) {
          ll += l[std::size_t(i * n + k)] * l[std::size_t(j * n + k)];
          product += l[std::size_t(i * n + k)] * inverse[std::size_t(k * n + j)];
          // U^T U A = I
          double row = 0;
          for (std::int64_t m = 0; m <= std::min(i, k); ++m)
            row += u[std::size_t(m * n + i)] * u[std::size_t(m * n + k)];
          identity += row * a[std::size_t(k * n + j)];
        }
        worst_l = std::max(worst_l, std::fabs(ll - a[at]));
        worst_inverse = std::max(worst_inverse, std::fabs(product - double(i == j)));
        worst_u = std::max(worst_u, std::fabs(identity - double(i == j)));
        if (j > i)
          QVERIFY(l[at] == 0 && inverse[at] == 0);
        if (j < i)
          QVERIFY(u[at] == 0);
      }
    QVERIFY2(worst_l < 1e-12 * largest, qPrintable(QString::number(worst_l)));
    QVERIFY2(worst_inverse < 1e-9, qPrintable(QString::number(worst_inverse)));
    QVERIFY2(worst_u < 1e-6, qPrintable(QString::number(worst_u)));
    for (const int threads : {1, 2, 8}) {
      set_thread_count(threads);
      Matrix again(u.size());
      QVERIFY(inverse_factor(a, n, again) == Factored::done);
      QVERIFY(again == u);
    }
    set_thread_count(0);
  }

  void sameOnEveryInstructionSet() {
    const auto noise = test::normal_noise(3 * 37 * 41, 3);
    const std::vector<double> e(noise.begin(), noise.begin() + 37 * 41),
        u(noise.begin() + 37 * 41, noise.begin() + 2 * 37 * 41 + 900);
    std::vector<double> want;
    for (const Isa isa : supported_isas()) {
      const cpu::Kernels* kernels = &cpu_kernels(isa);
      std::vector<double> w(noise.begin(), noise.begin() + 11 * 50);
      kernels->subtract_product(w.data(), 50, e.data(), 41, u.data(), 47, 11, 30, 45);
      if (want.empty())
        want = w;
      QVERIFY2(w == want, kernels->isa);
      QVERIFY(w[46] == double(noise[46])); // beyond the columns asked for
    }
    QVERIFY(!want.empty());
  }

  void indefiniteIsSaid() {
    Matrix a = definite(100, 9);
    a[std::size_t(70 * 100 + 70)] = -1;
    QVERIFY(cholesky(a, 100) == Factored::not_positive_definite);
    Matrix zero(100), u(100);
    QVERIFY(inverse_factor(zero, 10, u) == Factored::not_positive_definite);
    a = definite(100, 9);
    a[55 * 100 + 20] = std::nan("");
    QVERIFY(cholesky(a, 100) == Factored::not_positive_definite);
    Feedback feedback;
    feedback.stop = true;
    a = definite(100, 9);
    QVERIFY(cholesky(a, 100, &feedback) == Factored::cancelled);
  }

  void secondMoments() {
    const auto cpu = std::move(*make_cpu_compute());
    for (const auto& [tokens, cols] : {std::pair(1, 7), std::pair(300, 65), std::pair(700, 600)}) {
      const auto x = test::normal_noise(std::size_t(tokens * cols), 5);
      std::vector<double> h(std::size_t(cols * cols), 1.0);
      QVERIFY(cpu->second_moments(x.data(), tokens, cols, h).ok());
      for (int i = 0; i < cols; i += 3)
        for (int j = 0; j <= i; j += 5) {
          double sum = 1;
          for (int t = 0; t < tokens; ++t)
            sum += double(x[std::size_t(t * cols + i)]) * double(x[std::size_t(t * cols + j)]);
          QVERIFY(std::fabs(h[std::size_t(i * cols + j)] - sum) < 1e-5 * tokens);
        }
      std::vector<double> again(h.size(), 1.0);
      set_thread_count(1);
      QVERIFY(cpu->second_moments(x.data(), tokens, cols, again).ok());
      set_thread_count(0);
      QVERIFY(again == h);
    }
  }
};

QTEST_GUILESS_MAIN(TestLinalg)
#include "tst_linalg.moc"
