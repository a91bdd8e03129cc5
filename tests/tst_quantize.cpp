// SPDX-License-Identifier: GPL-3.0-or-later
// The main job on the demo model: kept results, their figures, opening them again, cancel, and
// nothing left behind.
#include "core/job/quantize.h"
#include "core/job/result_store.h"
#include "tests/support.h"

#include <cmath>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;

class TestQuantize : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;
  std::shared_ptr<const Checkpoint> demo_;

 private Q_SLOTS:
  void initTestCase() {
    auto cpu = make_cpu_compute();
    QVERIFY2(cpu.ok(), cpu.ok() ? "" : cpu.error().text().c_str());
    cpu_ = std::move(*cpu);
    auto demo = open_checkpoint(test::demo_model());
    QVERIFY2(demo.ok(), demo.ok() ? "" : demo.error().text().c_str());
    demo_ = *demo;
  }

  void keepsWhatItMeasures() {
    const QTemporaryDir dir;
    const fs::path folder = fs::path(dir.path().toStdString()) / "result";
    Recipe recipe;
    recipe.rules.push_back({"*.v_proj", "int8-channel-sym", "mse", Json::object()});
    const auto plan = make_plan(*demo_, recipe);
    QVERIFY(plan);
    QuantizeOptions options;
    options.result_folder = folder;
    int seen = 0;
    options.on_module = [&](const ModuleResult&) { ++seen; };
    Feedback feedback;
    const auto summary = run_quantize(*demo_, *plan, *cpu_, options, feedback);
    QVERIFY2(summary.ok(), summary.ok() ? "" : summary.error().text().c_str());
    QCOMPARE(std::size_t(seen), demo_->modules.size());
    QCOMPARE(feedback.done.load(), feedback.total.load());

    const auto kept = open_checkpoint(folder);
    QVERIFY2(kept.ok(), kept.ok() ? "" : kept.error().text().c_str());
    QCOMPARE((*kept)->format, "result");
    QVERIFY((*kept)->quantized());
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < demo_->modules.size(); ++i) {
      const Module &before = demo_->modules[i], &after = (*kept)->modules[i];
      const ModuleResult& result = summary->modules[i];
      QCOMPARE(after.weight.scheme.id, result.scheme);
      QCOMPARE(after.bytes(), result.bytes); // predicted and stored sizes are the same thing
      bytes += after.bytes();
      if (!result.quantized)
        continue;
      FloatView w{before.weight.scheme.float_type, before.weight.rows, before.weight.cols,
                  before.weight.codes};
      const auto error = cpu_->error(w, after.weight.view());
      QVERIFY(error.ok());
      QCOMPARE(error->mse(), result.mse);
      QVERIFY2(result.sqnr_db > (result.scheme == "int8-channel-sym" ? 30 : 15),
               result.name.c_str());
    }
    QCOMPARE(summary->bytes_after, bytes);
    QCOMPARE(plan->bytes_after, bytes);

    const auto manifest = read_result(folder);
    QVERIFY(manifest);
    QVERIFY(manifest->recipe == recipe);
    QCOMPARE(manifest->summary.modules.size(), summary->modules.size());
    QCOMPARE(manifest->summary.modules[3].mse, summary->modules[3].mse);
    QVERIFY(manifest->bytes > 0);
  }

  void sameBytesTwice() {
    const QTemporaryDir dir;
    const auto plan = make_plan(*demo_, Recipe{});
    QVERIFY(plan);
    std::vector<fs::path> folders;
    for (const char* name : {"a", "b"}) {
      QuantizeOptions options;
      options.result_folder = folders.emplace_back(fs::path(dir.path().toStdString()) / name);
      Feedback feedback;
      QVERIFY(run_quantize(*demo_, *plan, *cpu_, options, feedback).ok());
    }
    for (const auto& entry : fs::directory_iterator(folders[0] / "tensors")) {
      const auto a = read_file(entry.path());
      const auto b = read_file(folders[1] / "tensors" / entry.path().filename());
      QVERIFY(a.ok() && b.ok() && *a == *b);
    }
  }

  void cancelLeavesNothing() {
    const QTemporaryDir dir;
    const auto plan = make_plan(*demo_, Recipe{});
    QVERIFY(plan);
    QuantizeOptions options;
    options.result_folder = fs::path(dir.path().toStdString()) / "result";
    Feedback feedback;
    int seen = 0;
    options.on_module = [&](const ModuleResult&) {
      if (++seen == 5)
        feedback.stop = true;
    };
    const auto summary = run_quantize(*demo_, *plan, *cpu_, options, feedback);
    QVERIFY(!summary.ok());
    QVERIFY(summary.error().cancelled());
    QVERIFY(seen < 8);
    QVERIFY(!fs::exists(options.result_folder));
  }

  void resultWithoutItsSourceSaysSo() {
    const QTemporaryDir dir;
    const fs::path base = dir.path().toStdString();
    fs::copy(test::demo_model(), base / "model", fs::copy_options::recursive);
    const auto model = open_checkpoint(base / "model");
    QVERIFY(model.ok());
    const auto plan = make_plan(**model, Recipe{});
    QuantizeOptions options;
    options.result_folder = base / "result";
    Feedback feedback;
    QVERIFY(run_quantize(**model, *plan, *cpu_, options, feedback).ok());
    fs::remove_all(base / "model");
    const auto kept = open_checkpoint(base / "result");
    QVERIFY(!kept.ok());
    QVERIFY2(kept.error().message.find("made from") != std::string::npos,
             kept.error().message.c_str());
  }

  void damagedResultsAreErrors() {
    const QTemporaryDir dir;
    const fs::path folder = fs::path(dir.path().toStdString()) / "result";
    const auto plan = make_plan(*demo_, Recipe{});
    QuantizeOptions options;
    options.result_folder = folder;
    Feedback feedback;
    QVERIFY(run_quantize(*demo_, *plan, *cpu_, options, feedback).ok());
    fs::resize_file(folder / "tensors" / "00003.bltensor", 100);
    QVERIFY(!open_checkpoint(folder).ok());
    QVERIFY(write_file(folder / "result.json", R"({"bitlathe_result":2})").ok());
    QVERIFY(!open_checkpoint(folder).ok());
  }

  void floatConversionIsExactOrAnError() {
    const QTemporaryDir dir;
    Recipe recipe;
    recipe.default_scheme = "f32";
    const auto plan = make_plan(*demo_, recipe);
    QVERIFY(plan);
    QuantizeOptions options;
    options.result_folder = fs::path(dir.path().toStdString()) / "result";
    Feedback feedback;
    const auto summary = run_quantize(*demo_, *plan, *cpu_, options, feedback);
    QVERIFY(summary.ok());
    for (const ModuleResult& m : summary->modules)
      QCOMPARE(m.mse, 0.0);
  }

  void memoryIsCounted() {
    start_memory_watch();
    const auto before = peak_rss_bytes();
    {
      std::vector<char> block(64u << 20, 1);
      QVERIFY(block[block.size() / 2] == 1);
      QVERIFY(memory_use().rss_bytes > (64u << 20));
      QTest::qWait(100);
    }
    QVERIFY(peak_rss_bytes() >= std::max(before, std::uint64_t(64) << 20));
  }
};

QTEST_GUILESS_MAIN(TestQuantize)
#include "tst_quantize.moc"
