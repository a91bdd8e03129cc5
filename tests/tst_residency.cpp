// SPDX-License-Identifier: GPL-3.0-or-later
// Engines that share a budget for weights: the same logits to the bit, never more than the budget,
// and what is loaded goes in an order that suits models which are run round and round.
#include "core/engine/engine.h"
#include "core/engine/residency.h"
#include "core/schemes/deferred.h"
#include "tests/foreign.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

class Fake final : public Residency::Piece {
 public:
  explicit Fake(std::uint64_t bytes, std::uint64_t guess = 0) : bytes_(bytes), guess_(guess) {}
  std::uint64_t size() const override { return guess_ > 0 ? guess_ : bytes_; }
  Result<std::uint64_t> load() override {
    if (fails > 0 && fails-- > 0)
      return Error{"out-of-memory", "full", {}};
    there = true;
    ++loads;
    return bytes_;
  }
  void drop() override { there = false; }
  bool there = false;
  int loads = 0, fails = 0;

 private:
  std::uint64_t bytes_, guess_;
};

std::vector<float> logits_of(Engine& engine, Sequence& sequence, std::vector<std::int32_t> ids) {
  std::vector<float> out;
  const auto done = engine.forward(sequence, ids, std::int64_t(ids.size()) - 1,
                                   [&](std::int64_t, std::span<const float> logits) {
                                     out.insert(out.end(), logits.begin(), logits.end());
                                     return Result<void>();
                                   });
  if (!done)
    QTest::qFail(done.error().text().c_str(), __FILE__, __LINE__);
  return out;
}

/// A prompt and some tokens after it, through all engines in step.
std::vector<std::vector<float>> in_step(const std::vector<Engine*>& engines) {
  std::vector<std::vector<float>> out;
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (Engine* engine : engines)
    sequences.push_back(std::move(*engine->new_sequence(64)));
  for (const auto& ids : {std::vector<std::int32_t>{5, 60, 1, 33, 17, 2, 48, 9}, {3}, {7}, {11}})
    for (std::size_t i = 0; i < engines.size(); ++i)
      out.push_back(logits_of(*engines[i], *sequences[i], ids));
  return out;
}

struct Budgeted {
  std::shared_ptr<const Checkpoint> checkpoint;
  EngineOptions options;
};

} // namespace

class ResidencyTest : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> compute_ = std::move(*make_cpu_compute());

  /// Engines without and with a budget of `share` of what all of them take.
  void same_within(std::vector<Budgeted> models, double share, bool fits = true) {
    std::vector<std::unique_ptr<Engine>> engines;
    const auto run = [&](const std::shared_ptr<Residency>& residency) {
      engines.clear();
      std::vector<Engine*> pointers;
      for (Budgeted& model : models) {
        model.options.residency = residency;
        auto engine = Engine::create(model.checkpoint, *compute_, model.options);
        if (!engine)
          QTest::qFail(engine.error().text().c_str(), __FILE__, __LINE__);
        pointers.push_back(engine->get());
        engines.push_back(std::move(*engine));
      }
      return in_step(pointers);
    };
    const auto wanted = run(nullptr);
    const auto all = std::make_shared<Residency>(0);
    QVERIFY(run(all) == wanted);
    const auto budget = std::uint64_t(double(all->most_bytes()) * share);
    const auto tight = std::make_shared<Residency>(budget);
    QVERIFY(run(tight) == wanted);
    qInfo("%.2f MB of weights within %.2f MB: at most %.2f MB, %lld loads instead of %lld",
          double(all->most_bytes()) * 1e-6, double(budget) * 1e-6,
          double(tight->most_bytes()) * 1e-6, static_cast<long long>(tight->loads()),
          static_cast<long long>(all->loads()));
    QCOMPARE(tight->exceeded(), !fits);
    QVERIFY(tight->loads() > all->loads());
    engines.clear();
    QCOMPARE(tight->bytes(), std::uint64_t(0));
    QCOMPARE(all->bytes(), std::uint64_t(0));
  }

 private Q_SLOTS:
  void mapped() {
    const auto first = *open_checkpoint(demo_model()), second = *open_checkpoint(demo_model());
    same_within({{first, {}}, {second, {}}}, 0.65);
  }
  void copies() { // rounded weights are memory of the engine's own
    const auto model = *open_checkpoint(demo_model());
    EngineOptions rounded;
    rounded.round_weights_to_f16 = true;
    same_within({{model, {}}, {model, rounded}}, 0.65);
  }
  void converted_data() {
    QTest::addColumn<QString>("name");
    const fs::path folder = source_dir() / "tests" / "golden" / "foreign";
    for (const auto& entry : fs::directory_iterator(folder)) {
      const auto stem = QString::fromStdString(entry.path().stem().string());
      if (entry.path().extension() == ".safetensors")
        QTest::newRow(qPrintable(stem)) << stem;
    }
  }
  void converted() {
    QFETCH(QString, name);
    QTemporaryDir dir;
    const fs::path folder = fs::path(dir.path().toStdString()) / "model";
    put(read_foreign(name), folder);
    const auto before = DeferredParts::bytes_in_memory();
    {
      const auto first = *open_checkpoint(folder), second = *open_checkpoint(folder);
      same_within({{first, {}}, {second, {}}}, 0.65);
    }
    QCOMPARE(DeferredParts::bytes_in_memory(), before);
  }
  void less_than_a_block() {
    const auto model = *open_checkpoint(demo_model());
    same_within({{model, {}}}, 0.001, false);
  }

  void round_and_round() {
    std::vector<std::unique_ptr<Fake>> pieces;
    for (int i = 0; i < 10; ++i)
      pieces.push_back(std::make_unique<Fake>(1));
    Residency residency(6);
    const auto pass = [&](std::size_t from, std::size_t to) {
      const auto before = residency.loads();
      for (std::size_t i = from; i < to; ++i) {
        const auto hold = residency.hold(*pieces[i]);
        if (!hold.ok() || !pieces[i]->there || residency.bytes() > 6)
          return std::int64_t(-1);
      }
      return residency.loads() - before;
    };
    QCOMPARE(pass(0, 10), std::int64_t(10));
    for (int i = 0; i < 5; ++i) {
      const auto loads = pass(0, 10); // least recently used first would load all ten
      QVERIFY(loads >= 4 && loads <= 5);
    }
    pass(4, 10); // a model of six: after a pass, the other's are gone
    pass(4, 10);
    QCOMPARE(pass(4, 10), std::int64_t(0));
    for (auto& piece : pieces)
      residency.forget(*piece);
    QCOMPARE(residency.bytes(), std::uint64_t(0));
  }

  void held_and_failing() {
    Fake a(4), b(4), c(4, 1), d(3);
    Residency residency(8);
    auto first = residency.hold(a), second = residency.hold(b);
    QVERIFY(first.ok() && second.ok());
    {
      const auto third = residency.hold(d); // nothing can go
      QVERIFY(third.ok() && residency.exceeded());
      QCOMPARE(residency.bytes(), std::uint64_t(11));
    }
    first->reset();
    const auto more = residency.hold(c); // larger than it said: room is made afterwards
    QVERIFY(more.ok() && !a.there && b.there && c.there);
    QVERIFY(residency.bytes() <= 8);
    // A device that is full before the budget is: another goes, and it is tried again.
    Residency device(0);
    Fake e(1), f(1), g(1);
    QVERIFY(device.hold(e).ok() && e.there);
    f.fails = 1;
    QVERIFY(device.hold(f).ok() && f.there && !e.there);
    g.fails = 5;
    const auto never = device.hold(g);
    QVERIFY(!never.ok() && !g.there && !f.there);
    QCOMPARE(never.error().code, std::string("out-of-memory"));
    for (Fake* piece : {&a, &b, &c, &d})
      residency.forget(*piece);
    for (Fake* piece : {&e, &f, &g})
      device.forget(*piece);
  }
};

QTEST_GUILESS_MAIN(ResidencyTest)
#include "tst_residency.moc"
