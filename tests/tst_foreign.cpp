// SPDX-License-Identifier: GPL-3.0-or-later
// Checkpoints as other programs write them (tests/golden/foreign, made by the independent writer
// tests/reference/make_foreign.py): every one is opened, its weights are compared with the
// writer's, it runs like the same model in f32, and quantizing it again needs consent. A new file
// is a new row here.
#include "core/engine/engine.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "tests/foreign.h"
#include "tests/tiny_model.h"

#include <QDir>
#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <cmath>
#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

/// Of the sum of the absolute terms: the writer rounds every weight to f32 once, from f64; a reader
/// may round twice (an nvfp4 scale over its factor, then times the value) and sums are kept in f32.
constexpr double sum_bar = 4e-7;
/// Of one weight: two roundings to f32 instead of one.
constexpr double weight_bar = 2.5e-7;
constexpr double logit_bar = 1e-4; ///< of the largest absolute logit of a position

double weight_of(std::int64_t row, std::int64_t col) {
  return 0.5 + double((std::uint64_t(col) * 2654435761u + std::uint64_t(row) * 2246822519u) &
                      0xFFFFFFFFu) /
                   4294967296.0;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& line : lines)
    out += line + "\n";
  return out;
}

/// A checkpoint of a golden file in a folder of its own.
struct Opened {
  QTemporaryDir dir;
  Foreign foreign;
  std::shared_ptr<const Checkpoint> checkpoint;
};

/// Null, and a failure, when it does not open or cannot be run.
std::unique_ptr<Opened> open_foreign(const QString& name) {
  auto out = std::make_unique<Opened>();
  out->foreign = read_foreign(name);
  const fs::path folder = fs::path(out->dir.path().toStdString()) / name.toStdString();
  put(out->foreign, folder);
  auto checkpoint = open_checkpoint(folder);
  if (!checkpoint || !(*checkpoint)->spec) {
    QTest::qFail(checkpoint ? (*checkpoint)->why_not_runnable.c_str()
                            : checkpoint.error().text().c_str(),
                 __FILE__, __LINE__);
    return nullptr;
  }
  out->checkpoint = *checkpoint;
  return out;
}

/// The same model with the decoded weights in f32.
std::shared_ptr<Checkpoint> in_f32(const Checkpoint& from) {
  auto out = std::make_shared<Checkpoint>();
  out->path = from.path;
  out->name = from.name;
  out->format = "safetensors";
  out->architecture = from.architecture;
  out->config = from.config;
  out->spec = from.spec;
  for (const Module& module : from.modules) {
    Module copy;
    copy.name = module.name;
    copy.stored_name = module.stored_name;
    copy.part = module.part;
    copy.role = module.role;
    copy.layer = module.layer;
    copy.shape = module.shape;
    copy.linear = module.linear;
    copy.weight = f32_tensor(decode_all(module.weight), module.weight.rows);
    if (module.bias.rows > 0)
      copy.bias = f32_tensor(decode_all(module.bias), 1);
    out->modules.push_back(std::move(copy));
  }
  return out;
}

using Logits = std::vector<std::vector<float>>;

Logits run(const std::shared_ptr<const Checkpoint>& checkpoint, const std::string& activations) {
  static const auto compute = std::move(*make_cpu_compute());
  Logits out;
  EngineOptions options;
  options.kv = KvScheme{"f32", "f32"};
  options.activations = activations;
  const auto fail = [](const Error& error) {
    QTest::qFail(error.text().c_str(), __FILE__, __LINE__);
    return Logits();
  };
  const auto engine = Engine::create(checkpoint, *compute, options);
  if (!engine)
    return fail(engine.error());
  auto sequence = (*engine)->new_sequence(16);
  if (!sequence)
    return fail(sequence.error());
  // A prompt, then token by token: products of several rows and of one.
  const std::vector<std::int32_t> ids{5, 60, 1, 33, 17, 2, 48, 9};
  for (const auto& [first, count] :
       std::vector<std::pair<std::size_t, std::size_t>>{{0, 6}, {6, 1}, {7, 1}}) {
    const auto done = (*engine)->forward(**sequence, std::span(ids).subspan(first, count), 0,
                                         [&](std::int64_t, std::span<const float> logits) {
                                           out.emplace_back(logits.begin(), logits.end());
                                           return Result<void>();
                                         });
    if (!done.ok())
      return fail(done.error());
  }
  return out;
}

void each_file() {
  QTest::addColumn<QString>("name");
  const QDir folder(
      QString::fromStdString((source_dir() / "tests" / "golden" / "foreign").string()));
  for (const QFileInfo& file :
       folder.entryInfoList({QStringLiteral("*.safetensors")}, QDir::Files, QDir::Name))
    QTest::newRow(qPrintable(file.completeBaseName())) << file.completeBaseName();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

class TestForeign : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void weights_data() { each_file(); }
  void weights() {
    QFETCH(QString, name);
    const auto opened = open_foreign(name);
    if (!opened)
      return;
    const Checkpoint& checkpoint = *opened->checkpoint;
    const Foreign& foreign = opened->foreign;
    const auto notes = joined(checkpoint.notes);
    if (!notes.empty())
      qInfo("%s", notes.c_str());
    QCOMPARE(checkpoint.architecture, foreign.facts["architecture"].get<std::string>());
    // Everything in the file is understood.
    QVERIFY2(checkpoint.others.empty(), notes.c_str());
    QVERIFY2(!contains(notes, "not used"), notes.c_str());

    std::set<std::string> quantized;
    std::size_t sum = 0, spot = 0;
    for (const Json& want : foreign.facts["modules"]) {
      const std::string module_name = want["name"];
      quantized.insert(module_name);
      const Module* module = checkpoint.find_module(module_name);
      QVERIFY2(module, module_name.c_str());
      const QTensor& weight = module->weight;
      QVERIFY2(weight.rows == want["shape"][0] && weight.cols == want["shape"][1],
               module_name.c_str());
      QVERIFY2(module->shape == want["shape"].get<std::vector<std::int64_t>>(),
               module_name.c_str());
      // Its real codes, not values made of them.
      QVERIFY2(weight.scheme.family && weight.scheme.quantized &&
                   weight.scheme.bits == want["bits"].get<double>(),
               (module_name + " is " + weight.scheme.id).c_str());
      if (want.contains("activations")) {
        QCOMPARE(module->activations, want["activations"].get<std::string>());
        QCOMPARE(module->activation_scale, want.value("activation_scale", 0.0f));
      }

      const auto values = decode_all(weight);
      const auto at = [&](std::int64_t row, std::int64_t col) {
        return double(values[std::size_t(row * weight.cols + col)]);
      };
      for (int i = 0; i < 6; ++i, spot += 3) {
        const auto row = std::int64_t(foreign.spots[spot]),
                   col = std::int64_t(foreign.spots[spot + 1]);
        const double expected = double(foreign.spots[spot + 2]);
        QVERIFY2(std::abs(at(row, col) - expected) <= weight_bar * std::abs(expected),
                 qPrintable(QStringLiteral("%1 (%2) [%3][%4]: %5 instead of %6")
                                .arg(QString::fromStdString(module_name),
                                     QString::fromStdString(weight.scheme.id))
                                .arg(row)
                                .arg(col)
                                .arg(at(row, col), 0, 'g', 9)
                                .arg(expected, 0, 'g', 9)));
      }
      for (std::int64_t first = 0; first < weight.rows; first += 8, ++sum) {
        double got = 0, size = 0;
        for (std::int64_t row = first; row < std::min(first + 8, weight.rows); ++row)
          for (std::int64_t col = 0; col < weight.cols; ++col) {
            got += at(row, col) * weight_of(row, col);
            size += std::abs(at(row, col)) * weight_of(row, col);
          }
        const double expected = double(foreign.sums[sum]);
        QVERIFY2(std::abs(got - expected) <= sum_bar * std::max(size, std::abs(expected)),
                 qPrintable(QStringLiteral("%1 (%2) rows %3 and 7 more: sum %4 instead of %5")
                                .arg(QString::fromStdString(module_name),
                                     QString::fromStdString(weight.scheme.id))
                                .arg(first)
                                .arg(got, 0, 'g', 9)
                                .arg(expected, 0, 'g', 9)));
      }

      // Parts of the matrix are what the whole says.
      const std::int64_t from = weight.rows / 3;
      const MatrixView part = weight.view().slice(from, weight.rows - from);
      std::vector<float> piece(32);
      for (std::int64_t row = 0; row < part.rows; ++row)
        for (std::int64_t col = 0; col < part.cols; col += 32) {
          const std::int64_t count = std::min<std::int64_t>(32, part.cols - col);
          part.layout->decode(part, row, col, count, piece.data());
          QVERIFY2(std::equal(piece.begin(), piece.begin() + count,
                              values.begin() + (from + row) * weight.cols + col),
                   module_name.c_str());
        }
    }
    QCOMPARE(sum, foreign.sums.size());
    QCOMPARE(spot, foreign.spots.size());
    for (const Module& module : checkpoint.modules)
      if (quantized.count(module.name) == 0 && !module.tied_to_embedding)
        QVERIFY2(!module.weight.scheme.quantized, module.name.c_str());
    if (const auto scales = foreign.facts.find("kv_scales"); scales != foreign.facts.end()) {
      QCOMPARE(checkpoint.kv_keys, "f8_e4m3-static");
      QVERIFY(Json(checkpoint.kv_scales) == *scales);
    }
  }

  void runs_data() { each_file(); }
  void runs() {
    QFETCH(QString, name);
    const auto opened = open_foreign(name);
    if (!opened)
      return;
    const Logits packed = run(opened->checkpoint, "none");
    const Logits plain = run(in_f32(*opened->checkpoint), "none");
    const Logits stored = run(opened->checkpoint, ""); // with its own activations
    QCOMPARE(packed.size(), std::size_t(8));
    QCOMPARE(plain.size(), packed.size());
    QCOMPARE(stored.size(), packed.size());
    double worst = 0, off = 0;
    for (std::size_t t = 0; t < packed.size(); ++t) {
      double largest = 0, difference = 0, with_activations = 0;
      for (std::size_t i = 0; i < plain[t].size(); ++i) {
        QVERIFY(std::isfinite(packed[t][i]) && std::isfinite(stored[t][i]));
        largest = std::max(largest, std::abs(double(plain[t][i])));
        difference = std::max(difference, std::abs(double(packed[t][i]) - double(plain[t][i])));
        with_activations =
            std::max(with_activations, std::abs(double(stored[t][i]) - double(plain[t][i])));
      }
      QVERIFY(largest > 0);
      worst = std::max(worst, difference / largest);
      off = std::max(off, with_activations / largest);
    }
    qInfo("packed %.1e, with its activations %.1e of the largest logit", worst, off);
    QVERIFY(worst <= logit_bar);
  }

  /// What was read can be written again: the export is opened and compared before it is kept.
  void exports_again_data() { each_file(); }
  void exports_again() {
    QFETCH(QString, name);
    const auto opened = open_foreign(name);
    if (!opened)
      return;
    const fs::path folder = fs::path(opened->dir.path().toStdString()) / "again";
    const std::string& format = opened->checkpoint->format;
    const Exporter* own = find_exporter(format == "fp8" ? "safetensors" : format);
    QVERIFY2(own, format.c_str());
    ExportOptions options{folder, name.toStdString()};
    options.accept_warnings = true;
    Feedback feedback;
    const auto outcome = run_export(*opened->checkpoint, *own, options, feedback);
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
  }

  void requantize_data() { each_file(); }
  void requantize() {
    QFETCH(QString, name);
    const auto opened = open_foreign(name);
    if (!opened)
      return;
    Recipe recipe;
    recipe.default_scheme = "int8-channel-sym";
    const auto refused = make_plan(*opened->checkpoint, recipe);
    QVERIFY(!refused.ok());
    QVERIFY2(contains(refused.error().message, "--requantize"), refused.error().text().c_str());
    const auto plan = make_plan(*opened->checkpoint, recipe, true);
    QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
    QVERIFY2(contains(joined(plan->notes), "quantized already"), joined(plan->notes).c_str());

    static const auto compute = std::move(*make_cpu_compute());
    QuantizeOptions options;
    options.result_folder = fs::path(opened->dir.path().toStdString()) / "result";
    Feedback feedback;
    const auto summary = run_quantize(*opened->checkpoint, *plan, *compute, options, feedback);
    QVERIFY2(summary.ok(), summary.ok() ? "" : summary.error().text().c_str());
    for (const ModuleResult& result : summary->modules)
      if (result.quantized)
        QVERIFY2(result.sqnr_db > 25, (result.name + " " + std::to_string(result.sqnr_db)).c_str());
  }
};

QTEST_GUILESS_MAIN(TestForeign)
#include "tst_foreign.moc"
