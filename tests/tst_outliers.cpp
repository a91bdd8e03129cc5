// SPDX-License-Identifier: GPL-3.0-or-later
// Planted outliers: the model computes the same, for every architecture; rounding to nearest
// breaks on them, and the methods made for outliers recover.
#include "core/calib/statistics.h"
#include "core/eval/eval.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "core/lab/outliers.h"
#include "tests/arch_golden.h"

#include <QTemporaryDir>

#include <algorithm>
#include <cstring>
#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

Logits logits_of(const std::shared_ptr<const Checkpoint>& model, const Ids& ids, Compute& compute) {
  Logits out;
  EngineOptions options;
  options.kv = KvScheme{"f32", "f32"};
  const auto engine = Engine::create(model, compute, options);
  if (!engine) {
    QTest::qFail(engine.error().text().c_str(), __FILE__, __LINE__);
    return out;
  }
  auto sequence = (*engine)->new_sequence(std::int64_t(ids.size()));
  if (!sequence) {
    QTest::qFail(sequence.error().text().c_str(), __FILE__, __LINE__);
    return out;
  }
  const auto done =
      (*engine)->forward(**sequence, ids, 0, [&](std::int64_t, std::span<const float> logits) {
        out.emplace_back(logits.begin(), logits.end());
        return Result<void>();
      });
  if (!done)
    QTest::qFail(done.error().text().c_str(), __FILE__, __LINE__);
  return out;
}

/// Largest difference as a share of the largest logit; infinity for NaN.
double worst_share(const Logits& a, const Logits& b) {
  if (a.size() != b.size() || a.empty())
    return INFINITY;
  double worst = 0, largest = 0;
  for (std::size_t t = 0; t < a.size(); ++t)
    for (std::size_t i = 0; i < a[t].size(); ++i) {
      const double off = std::abs(double(a[t][i]) - double(b[t][i]));
      worst = std::isnan(off) ? INFINITY : std::max(worst, off);
      largest = std::max(largest, std::abs(double(a[t][i])));
    }
  return worst / largest;
}

std::vector<float> values_of(const QTensor& weight) {
  std::vector<float> out(std::size_t(weight.rows * weight.cols));
  const MatrixView view = weight.view();
  for (std::int64_t row = 0; row < weight.rows; ++row)
    view.layout->decode(view, row, 0, weight.cols, out.data() + row * weight.cols);
  return out;
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

} // namespace

class TestOutliers : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;
  std::shared_ptr<const Checkpoint> demo_;
  std::vector<std::vector<std::int32_t>> samples_;
  EvalText text_;
  QTemporaryDir dir_;

  fs::path folder(const std::string& name) const {
    return fs::path(dir_.path().toStdString()) / name;
  }
  Result<PlantedOutliers> plant(const Checkpoint& model, const OutlierOptions& options,
                                const std::string& name) {
    Feedback feedback;
    return plant_outliers(model, options, folder(name), feedback);
  }
  std::shared_ptr<const Checkpoint> planted_demo(std::int64_t channels, float factor) {
    const std::string name = "demo-" + std::to_string(channels);
    OutlierOptions options;
    options.channels = channels;
    options.factor = factor;
    const auto planted = plant(*demo_, options, name);
    if (!planted) {
      QTest::qFail(planted.error().text().c_str(), __FILE__, __LINE__);
      return nullptr;
    }
    return opened(planted->path);
  }

  /// KL of the model quantized against the unquantized demo model, on held-out text.
  double kl(const std::shared_ptr<const Checkpoint>& model, const char* scheme, const char* method,
            const char* activations, const Json& params = Json::object()) {
    static int runs = 0;
    Recipe recipe;
    recipe.default_scheme = scheme;
    recipe.default_method = method;
    recipe.default_params = params;
    recipe.activations = activations;
    const auto failed = [](const Error& error) {
      QTest::qFail(error.text().c_str(), __FILE__, __LINE__);
      return std::numeric_limits<double>::quiet_NaN();
    };
    const auto plan = make_plan(*model, recipe);
    if (!plan)
      return failed(plan.error());
    QuantizeOptions options;
    options.result_folder = folder("result-" + std::to_string(++runs));
    options.samples = &samples_;
    Feedback feedback;
    const auto summary = run_quantize(*model, *plan, *cpu_, options, feedback);
    if (!summary)
      return failed(summary.error());
    const auto reference = Engine::create(demo_, *cpu_);
    const auto quantized = Engine::create(opened(options.result_folder), *cpu_);
    if (!reference || !quantized)
      return failed(reference ? quantized.error() : reference.error());
    Engine* const candidates[] = {quantized->get()};
    const auto report = compare(**reference, candidates, nullptr, text_, feedback);
    if (!report)
      return failed(report.error());
    const double out = report->models[0].kld_mean;
    qInfo("%-18s %-14s %-12s %-18s KL %.5f  top-1 %.3f  perplexity %.2f of %.2f",
          model->name.c_str(), scheme, method, activations, out, report->models[0].top1_agreement,
          report->models[0].perplexity, report->reference_perplexity);
    return out;
  }

 private Q_SLOTS:
  void initTestCase() {
    cpu_ = std::move(*make_cpu_compute());
    demo_ = opened(demo_model());
    QVERIFY(demo_);
    const auto samples = calibration_samples(
        *demo_, {{(demo_model() / "calibration.txt").string(), 1.0}}, 8, 128, 0);
    QVERIFY(samples.ok());
    samples_ = *samples;
    const auto text = make_eval_text(*demo_, text_of(demo_model() / "evaluation.txt"), 256, 6);
    QVERIFY(text.ok());
    text_ = *text;
  }

  void computesTheSame_data() { each_golden(); }
  void computesTheSame() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    const std::string stem = "arch-" + name.toStdString();
    for (const FloatType type : {FloatType::f32, FloatType::bf16}) {
      const std::string source = stem + (type == FloatType::f32 ? "-f32" : "-bf16");
      put_model(golden, type, folder(source));
      const auto model = opened(folder(source));
      QVERIFY(model);
      const Logits before = logits_of(model, golden.ids, *cpu_);
      for (const float factor : {64.0f, 50.0f}) {
        OutlierOptions options;
        options.channels = 3;
        options.factor = factor;
        const std::string made = source + "-" + std::to_string(int(factor));
        const auto planted = plant(*model, options, made);
        QVERIFY2(planted.ok(), planted.ok() ? "" : planted.error().text().c_str());
        QVERIFY(std::int64_t(planted->norms.size()) >= model->spec->layers);
        const auto after = opened(planted->path);
        QVERIFY(after);
        const double off = worst_share(before, logits_of(after, golden.ids, *cpu_));
        qInfo("%s times %g: %.1e of the largest logit%s", source.c_str(), double(factor), off,
              planted->exact ? ", exact" : "");
        QVERIFY(off < 1e-5);
        if (planted->exact)
          QCOMPARE(off, 0.0);
        for (const PlantedNorm& norm : planted->norms) {
          QCOMPARE(norm.channels.size(), std::size_t(3));
          QVERIFY(!norm.readers.empty());
        }
      }
    }
  }

  /// What is said to be planted is, and nothing else changed.
  void whatIsWritten() {
    OutlierOptions options;
    options.seed = 7;
    const auto planted = plant(*demo_, options, "written");
    QVERIFY2(planted.ok(), planted.ok() ? "" : planted.error().text().c_str());
    QVERIFY(planted->exact);
    QCOMPARE(planted->norms.size(), std::size_t(8));
    const auto list = read_json_file(planted->path / "outliers.json");
    QVERIFY(list.ok());
    QCOMPARE((*list)["norms"].size(), std::size_t(8));
    QCOMPARE((*list)["factor"].get<double>(), 64.0);
    for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json",
                             "generation_config.json", "model.safetensors"})
      QVERIFY2(fs::exists(planted->path / file), file);
    const auto after = opened(planted->path);
    QVERIFY(after && after->tokenizer);
    std::map<std::string, std::set<std::int64_t>> scaled_by; // of norms and of their readers
    for (std::size_t i = 0; i < planted->norms.size(); ++i) {
      const PlantedNorm& norm = planted->norms[i];
      QCOMPARE((*list)["norms"][i]["name"].get<std::string>(), norm.norm);
      QCOMPARE((*list)["norms"][i]["channels"].get<std::vector<std::int64_t>>(), norm.channels);
      const std::set<std::int64_t> channels(norm.channels.begin(), norm.channels.end());
      QCOMPARE(channels.size(), std::size_t(8));
      scaled_by[norm.norm] = channels;
      for (const std::string& reader : norm.readers)
        scaled_by[reader] = channels;
    }
    QCOMPARE(scaled_by.size(), std::size_t(4 * (2 + 3 + 2)));
    for (const Module& module : demo_->modules) {
      const Module* other = after->find_module(module.name);
      QVERIFY2(other && other->weight.scheme.id == "bf16", module.name.c_str());
      const auto a = values_of(module.weight), b = values_of(other->weight);
      const auto& channels = scaled_by[module.name];
      const float factor = module.shape.size() == 1 ? 64.0f : 1.0f / 64.0f;
      for (std::size_t j = 0; j < a.size(); ++j)
        if (b[j] != a[j] * (channels.count(std::int64_t(j) % module.weight.cols) ? factor : 1.0f))
          QFAIL(module.name.c_str());
    }
    // The same seed makes the same bytes, another one other channels.
    const auto again = plant(*demo_, options, "again");
    QVERIFY(again.ok());
    QVERIFY(text_of(planted->path / "model.safetensors") ==
            text_of(again->path / "model.safetensors"));
    options.seed = 8;
    const auto other = plant(*demo_, options, "other");
    QVERIFY(other.ok());
    QVERIFY(other->norms[0].channels != planted->norms[0].channels);
    // Nothing is left beside what was made.
    for (const auto& entry : fs::directory_iterator(folder("")))
      QVERIFY2(entry.path().filename().string()[0] != '.', entry.path().c_str());
  }

  void refusals() {
    const auto code = [&](const Checkpoint& model, std::int64_t channels, float factor,
                          const std::string& name) {
      OutlierOptions options;
      options.channels = channels;
      options.factor = factor;
      const auto planted = plant(model, options, name);
      return planted ? std::string() : planted.error().code;
    };
    QCOMPARE(code(*demo_, 0, 64, "none"), std::string("bad-argument"));
    QCOMPARE(code(*demo_, 256, 64, "none"), std::string("bad-argument"));
    QCOMPARE(code(*demo_, 6, 1, "none"), std::string("bad-argument"));
    QCOMPARE(code(*demo_, 6, NAN, "none"), std::string("bad-argument"));
    QVERIFY(!fs::exists(folder("none")));
    fs::create_directories(folder("full"));
    std::ofstream(folder("full") / "file") << "x";
    QCOMPARE(code(*demo_, 6, 64, "full"), std::string("bad-argument"));

    OutlierOptions onto_itself;
    onto_itself.replace = true;
    QVERIFY(plant(*demo_, onto_itself, "own").ok());
    const auto own = opened(folder("own"));
    const auto refused = plant(*own, onto_itself, "own");
    QVERIFY(!refused.ok() && refused.error().code == "bad-argument");
    QVERIFY(plant(*demo_, onto_itself, "own").ok());

    Recipe recipe;
    const auto plan = make_plan(*demo_, recipe);
    QVERIFY(plan.ok());
    QuantizeOptions options;
    options.result_folder = folder("quantized");
    Feedback feedback;
    QVERIFY(run_quantize(*demo_, *plan, *cpu_, options, feedback).ok());
    QCOMPARE(code(*opened(folder("quantized")), 6, 64, "none"), std::string("unsupported"));

    feedback.stop = true;
    const auto stopped = plant_outliers(*demo_, {}, folder("none"), feedback);
    QVERIFY(!stopped.ok() && stopped.error().cancelled());
    QVERIFY(!fs::exists(folder("none")));
    QVERIFY(text_of(folder("full") / "file") == "x");
  }

  /// The inputs of the linears have the outliers, where statistics look for them.
  void statisticsShowThem() {
    OutlierOptions options;
    options.factor = 100; // also not a power of two
    const auto planted = plant(*demo_, options, "seen");
    QVERIFY(planted.ok());
    QVERIFY(!planted->notes.empty());
    const auto model = opened(planted->path);
    QVERIFY(model);
    Feedback feedback;
    const auto statistics = calibrate(model, *cpu_, samples_, feedback);
    QVERIFY(statistics.ok());
    for (const PlantedNorm& norm : planted->norms)
      for (const std::string& reader : norm.readers) {
        const auto found = statistics->modules.at(reader).outlier_channels();
        QVERIFY2(
            std::includes(found.begin(), found.end(), norm.channels.begin(), norm.channels.end()),
            reader.c_str());
      }
  }

  /// Norms that multiply by zero, by next to nothing or by no number leave their channels alone.
  void fewChannels() {
    for (const char* name : {"gemma", "gpt2"}) {
      Golden golden = read_golden(name);
      put_model(golden, FloatType::f32, folder(std::string("few-") + name));
      auto model = opened(folder(std::string("few-") + name));
      QVERIFY(model);
      auto changed = std::const_pointer_cast<Checkpoint>(model);
      const float zero = model->spec->norm_plus_one ? -1.0f : 0.0f;
      Module* norm = nullptr;
      for (Module& module : changed->modules)
        if (module.layer == 0 && module.part == "mlp_norm")
          norm = &module;
      QVERIFY(norm);
      std::vector<float> values(std::size_t(norm->weight.cols), zero);
      values[3] = 0.5f;
      values[5] = std::nextafter(zero, 0.0f); // of 1 + w next to nothing is left
      values[6] = NAN;
      values[7] = INFINITY;
      norm->weight.codes = std::as_bytes(std::span(values));
      OutlierOptions options;
      options.channels = 4;
      const auto planted = plant(*model, options, std::string("few-planted-") + name);
      QVERIFY2(planted.ok(), planted.ok() ? "" : planted.error().text().c_str());
      std::size_t seen = 0;
      for (const PlantedNorm& place : planted->norms)
        if (place.norm == norm->name) {
          QVERIFY(std::count(place.channels.begin(), place.channels.end(), 3) == 1);
          QVERIFY(place.channels.size() <= 2);
          ++seen;
        }
      QCOMPARE(seen, std::size_t(1));
      QVERIFY(!planted->notes.empty());
      const auto after = opened(planted->path);
      QVERIFY(after);
      for (const Module& module : after->modules)
        if (module.name != norm->name)
          for (const float value : values_of(module.weight))
            QVERIFY2(std::isfinite(value), module.name.c_str());
    }
  }

  /// Half floats lose small values when they are divided: such weights are written as f32.
  void halfFloats() {
    Recipe recipe;
    recipe.default_scheme = "f16";
    const auto plan = make_plan(*demo_, recipe);
    QVERIFY(plan.ok());
    QuantizeOptions options;
    options.result_folder = folder("f16");
    Feedback feedback;
    QVERIFY(run_quantize(*demo_, *plan, *cpu_, options, feedback).ok());
    const auto model = opened(folder("f16"));
    QVERIFY(model);
    const auto planted = plant(*model, {}, "f16-planted");
    QVERIFY2(planted.ok(), planted.ok() ? "" : planted.error().text().c_str());
    QVERIFY(planted->exact);
    QVERIFY(!planted->notes.empty());
    const auto after = opened(planted->path);
    QVERIFY(after);
    QCOMPARE(after->config["torch_dtype"].get<std::string>(), std::string("float32"));
    const Ids ids(samples_[0].begin(), samples_[0].end());
    QCOMPARE(worst_share(logits_of(model, ids, *cpu_), logits_of(after, ids, *cpu_)), 0.0);
  }

  void fromGguf_data() { each_golden(); }
  void fromGguf() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    const std::string stem = "from-" + name.toStdString();
    put_model(golden, FloatType::bf16, folder(stem));
    const auto source = opened(folder(stem));
    QVERIFY(source);
    Feedback feedback;
    const auto exported =
        run_export(*source, *find_exporter("gguf"), {folder(stem + "-gguf"), "m", false}, feedback);
    if (!exported && exported.error().code == "unsupported")
      QSKIP(exported.error().message.c_str());
    QVERIFY2(exported.ok(), exported.ok() ? "" : exported.error().text().c_str());
    const auto model = opened(exported->path);
    QVERIFY(model);
    OutlierOptions options;
    options.channels = 3;
    const auto planted = plant(*model, options, stem + "-planted");
    QVERIFY2(planted.ok(), planted.ok() ? "" : planted.error().text().c_str());
    const auto after = opened(planted->path);
    QVERIFY(after);
    const double off =
        worst_share(logits_of(model, golden.ids, *cpu_), logits_of(after, golden.ids, *cpu_));
    QVERIFY2(off < 1e-5 && (off == 0 || !planted->exact), qPrintable(QString::number(off)));
  }

  /// The scale of a token is that of its outliers, and everything else drowns.
  void activationsBreakAndRecover() {
    const auto planted = planted_demo(8, 64);
    QVERIFY(planted);
    const char *w8 = "int8-channel-sym", *a8 = "int8-token-dynamic";
    const double plain = kl(demo_, w8, "rtn", a8), plain_smooth = kl(demo_, w8, "smoothquant", a8);
    const double broken = kl(planted, w8, "rtn", a8), weights = kl(planted, w8, "rtn", "none");
    const double smooth = kl(planted, w8, "smoothquant", "auto");
    const double mixed = kl(planted, w8, "llm-int8", "auto");
    QVERIFY(broken > 30 * plain);
    // Smoothing finds the scales that undo the planting.
    QVERIFY(smooth < 1.5 * plain && std::abs(smooth - plain_smooth) < 0.1 * plain_smooth);
    // Mixed columns lose what the int8 weights lose, whose divided columns have few steps left,
    // and nothing more.
    QVERIFY(mixed < broken / 10 && mixed < 1.25 * weights);

    // With one channel that is little: all is as without it.
    const auto one = planted_demo(1, 64);
    QVERIFY(one);
    QVERIFY(kl(one, w8, "rtn", a8) > 10 * plain);
    QVERIFY(kl(one, w8, "llm-int8", "auto") < 1.5 * plain);
  }

  /// Few steps of the grid are left for divided columns, or none; AWQ scales them up again.
  void weightsBreakAndRecover() {
    const auto planted = planted_demo(32, 64);
    QVERIFY(planted);
    const char* w4 = "int4-g128-asym";
    const double plain = kl(demo_, w4, "rtn", "none"), broken = kl(planted, w4, "rtn", "none");
    const double plain_awq = kl(demo_, w4, "awq", "none"), awq = kl(planted, w4, "awq", "none");
    QVERIFY(broken > 10 * plain);
    QVERIFY(awq < 1.2 * plain && awq < 1.2 * plain_awq && awq < broken / 10);
  }
};

QTEST_GUILESS_MAIN(TestOutliers)
#include "tst_outliers.moc"
