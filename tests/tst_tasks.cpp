// SPDX-License-Identifier: GPL-3.0-or-later
// Intervals and the paired test of task accuracy against published figures and sums by hand.
#include "core/eval/tasks.h"

#include <QTest>

using namespace bitlathe;

class TestTasks : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void wilson() {
    // R: prop.test(8, 10, correct = FALSE), prop.test(0, 20, ...), prop.test(99, 128, ...)
    const Interval a = wilson_interval(8, 10), b = wilson_interval(0, 20);
    QVERIFY(std::fabs(a.low - 0.4901625) < 1e-6 && std::fabs(a.high - 0.9433178) < 1e-6);
    QVERIFY(b.low == 0 && std::fabs(b.high - 0.1611252) < 1e-6);
    const Interval c = wilson_interval(99, 128);
    QVERIFY(c.low < 99.0 / 128 && c.high > 99.0 / 128 && c.high - c.low < 0.15);
  }

  void paired() {
    const auto items = [](int both, int only_a, int only_b, int none) {
      std::pair<std::vector<bool>, std::vector<bool>> out;
      const auto add = [&](int n, bool a, bool b) {
        out.first.insert(out.first.end(), std::size_t(n), a);
        out.second.insert(out.second.end(), std::size_t(n), b);
      };
      add(both, true, true);
      add(only_a, true, false);
      add(only_b, false, true);
      add(none, false, false);
      return out;
    };
    const auto p = [&](int only_a, int only_b) {
      const auto [a, b] = items(7, only_a, only_b, 5);
      return paired_p(a, b);
    };
    QCOMPARE(p(0, 0), 1.0);
    QVERIFY(std::fabs(p(5, 0) - 2.0 / 32) < 1e-12);
    QVERIFY(std::fabs(p(1, 7) - 2 * (1 + 8) / 256.0) < 1e-12);
    QVERIFY(std::fabs(p(7, 1) - p(1, 7)) < 1e-15);
    QCOMPARE(p(4, 4), 1.0);
  }
};

QTEST_GUILESS_MAIN(TestTasks)
#include "tst_tasks.moc"
