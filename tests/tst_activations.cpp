// SPDX-License-Identifier: GPL-3.0-or-later
// Activation schemes: products against sums written out in f64, LLM.int8() against the published
// scheme, static scales from calibration to export, and what happens to NaN, infinities and values
// beyond f16.
#include "core/calib/ranges.h"
#include "core/engine/kv_memory.h"
#include "core/engine/linear.h"
#include "core/eval/eval.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "core/job/result_store.h"
#include "core/methods/method.h"
#include "core/text/tokenizer.h"
#include "kernels/compute/cpu_matmul.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"
#include "tests/tiny_model.h"

#include <cmath>
#include <limits>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;

namespace {

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

fs::path path_of(const QTemporaryDir& dir) { return fs::path(dir.path().toStdString()); }

template <class T> bool worked(const Result<T>& result) {
  if (!result.ok())
    QTest::qFail(result.error().text().c_str(), __FILE__, __LINE__);
  return result.ok();
}

/// Half to even, as the definitions want it.
double rne(double x) { return std::nearbyint(x); }

/// What a coded input stands for, by the definitions.
std::vector<double> coded_input(const std::string& id, const std::vector<float>& x,
                                std::int64_t cols, float scale) {
  std::vector<double> out(x.size());
  for (std::size_t t = 0; t * std::size_t(cols) < x.size(); ++t) {
    const float* row = x.data() + t * std::size_t(cols);
    float absmax = 0;
    for (std::int64_t c = 0; c < cols; ++c)
      absmax = std::max(absmax, std::fabs(row[c]));
    const bool f8 = id.substr(0, 2) == "f8", fixed = id.find("static") != std::string::npos;
    const float largest = f8 ? 448.0f : 127.0f;
    const float s = fixed ? scale : absmax > 0 ? absmax / largest : 1.0f;
    const float r = 1.0f / s;
    for (std::int64_t c = 0; c < cols; ++c) {
      const float scaled = row[c] * r;
      out[t * std::size_t(cols) + std::size_t(c)] =
          double(s) * (f8 ? double(f8_e4m3_to_f32(f32_to_f8_e4m3(scaled)))
                          : std::clamp(rne(double(scaled)), -128.0, 127.0));
    }
  }
  return out;
}

/// x W^T in f64.
std::vector<double> product(const std::vector<double>& x, const std::vector<float>& w,
                            std::int64_t cols) {
  const std::size_t n = std::size_t(cols), tokens = x.size() / n, rows = w.size() / n;
  std::vector<double> out(tokens * rows);
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < n; ++c)
        out[t * rows + r] += x[t * n + c] * double(w[r * n + c]);
  return out;
}

double worst_share(const std::vector<float>& got, const std::vector<double>& want) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, std::fabs(double(got[i]) - want[i]));
    largest = std::max(largest, std::fabs(want[i]));
  }
  return got.size() == want.size() ? worst / largest : INFINITY;
}

/// A linear of its own, as the engine would load it.
struct OneLinear {
  Module module;
  Linear linear;
  std::vector<float> decoded;

  OneLinear(Compute& compute, const std::string& scheme, std::int64_t rows, std::int64_t cols,
            const char* activations, float scale = 0, float threshold = 0) {
    module.name = "one";
    module.weight =
        test::int_tensor(test::normal_noise(std::size_t(rows * cols), 5, 0.1f), rows, scheme);
    decoded = test::decode_all(module.weight);
    linear.module = &module;
    linear.weight = &module.weight;
    linear.view = module.weight.view();
    linear.loaded = std::move(*compute.load(linear.view));
    linear.activations = find_activation_scheme(activations);
    linear.activation_scale = scale;
    linear.outlier_threshold = threshold;
    linear.counts = std::make_unique<ActivationCounts>();
  }

  std::vector<float> run(Compute& compute, const std::vector<float>& x) {
    const auto m = std::int64_t(x.size()) / linear.cols();
    std::vector<float> y(std::size_t(m * linear.rows()));
    const auto done = run_linear(compute, linear, x.data(), m, y.data());
    return worked(done) ? y : std::vector<float>();
  }
};

/// Inputs with a few columns that stand out, as large models have them.
std::vector<float> with_outliers(std::int64_t tokens, std::int64_t cols,
                                 const std::vector<std::int64_t>& columns, std::uint32_t seed = 9) {
  auto x = test::normal_noise(std::size_t(tokens * cols), seed);
  for (auto& v : x)
    v = std::clamp(v, -3.5f, 3.5f);
  for (const std::int64_t c : columns)
    for (std::int64_t t = 0; t < tokens; ++t)
      x[std::size_t(t * cols + c)] *= 40;
  return x;
}

} // namespace

class TestActivations : public QObject {
  Q_OBJECT
  std::vector<std::unique_ptr<Compute>> backends_; ///< the CPU first, Vulkan where there is any
  std::shared_ptr<const Checkpoint> demo_;
  std::optional<ActivationStatistics> statistics_;

  Compute& cpu() { return *backends_[0]; }

  const ActivationStatistics& statistics() {
    if (!statistics_) {
      const auto samples = calibration_samples(
          *demo_, {{(test::demo_model() / "calibration.txt").string()}}, 8, 128, 0);
      Feedback feedback;
      auto made = worked(samples) ? calibrate(demo_, cpu(), *samples, feedback)
                                  : Result<ActivationStatistics>(cancelled_error());
      statistics_ = worked(made) ? std::move(*made) : ActivationStatistics{};
    }
    return *statistics_;
  }

  Result<std::shared_ptr<const Checkpoint>> quantized(const Recipe& recipe, const fs::path& folder,
                                                      bool with_statistics = true) {
    TRY_ASSIGN(const Plan plan, make_plan(*demo_, recipe));
    QuantizeOptions options;
    options.result_folder = folder;
    options.statistics = with_statistics ? &statistics() : nullptr;
    Feedback feedback;
    TRY(run_quantize(*demo_, plan, cpu(), options, feedback));
    return open_checkpoint(folder);
  }

 private Q_SLOTS:
  void initTestCase() {
    backends_.push_back(std::move(*make_cpu_compute()));
    if (auto vulkan = make_vulkan_compute())
      backends_.push_back(std::move(*vulkan));
    auto demo = open_checkpoint(test::demo_model());
    QVERIFY(worked(demo));
    demo_ = *demo;
  }

  void theTable() {
    for (const ActivationScheme& scheme : all_activation_schemes()) {
      QVERIFY(!scheme.title.empty() && !scheme.summary.empty() && scheme.largest > 0);
      QCOMPARE(find_activation_scheme(scheme.id), &scheme);
      QVERIFY(known_activation_schemes().find(scheme.id) != std::string::npos);
    }
    QVERIFY(*parse_activation_scheme("none") == nullptr);
    QVERIFY(*parse_activation_scheme("") == nullptr);
    const auto unknown = parse_activation_scheme("int3-token-dynamic");
    QCOMPARE(unknown.error().code, std::string("bad-argument"));
    QVERIFY(unknown.error().message.find("f8_e4m3-tensor-static") != std::string::npos);
  }

  void f8_codes_are_those_of_the_definition() {
    std::vector<float> values;
    for (int code = 0; code < 256; ++code) {
      const float v = f8_e4m3_to_f32(std::uint8_t(code));
      values.insert(values.end(), {v, std::nextafter(v, 1e9f), std::nextafter(v, -1e9f)});
      const float next = f8_e4m3_to_f32(std::uint8_t(code + 1)); // ties
      values.insert(values.end(), {(v + next) / 2, std::nextafter((v + next) / 2, 1e9f)});
    }
    for (const float v : test::normal_noise(20000, 1, 100.0f))
      values.insert(values.end(), {v, v * 1e-3f, v * 1e-5f, v * 1e-30f});
    values.insert(values.end(), {0.0f, -0.0f, 448.0f, 463.9f, 464.0f, 500.0f, -1e30f, infinity,
                                 -infinity, 1e-45f, nan_value});
    for (const float scale : {1.0f, 0.37f, 1e-20f}) {
      std::vector<float> got(values.size());
      code_e4m3(values.data(), std::int64_t(values.size()), scale, got.data());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float want = f8_e4m3_to_f32(f32_to_f8_e4m3(values[i] * (1.0f / scale)));
        QVERIFY2(std::bit_cast<std::uint32_t>(got[i]) == std::bit_cast<std::uint32_t>(want) ||
                     (std::isnan(got[i]) && std::isnan(want)),
                 qPrintable(QString("%1: %2 for %3")
                                .arg(double(values[i]))
                                .arg(double(got[i]))
                                .arg(double(want))));
      }
    }
  }

  void fp4_rounds_to_the_nearest_value() {
    const float grid[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    const auto nearest = [&](double x) { // even mantissas win ties: 0, 1, 2, 4
      double best = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        const double d = std::fabs(std::fabs(x) - double(grid[i]));
        const double b = std::fabs(std::fabs(x) - best);
        if (d < b || (d == b && i % 2 == 0))
          best = double(grid[i]);
      }
      return std::copysign(best, x);
    };
    auto x = test::normal_noise(203, 3, 2.0f); // the last blocks are shorter
    std::fill_n(x.begin() + 64, 32, 0.0f);
    x[96] = 0.75f, x[97] = 0.25f, x[98] = 1e-40f;
    std::vector<float> mx(x.size()), nv(x.size());
    simulate_mxfp4(x.data(), std::int64_t(x.size()), mx.data());
    simulate_nvfp4(x.data(), std::int64_t(x.size()), nv.data());
    const auto absmax = [&](std::size_t from, std::size_t n) {
      double most = 0;
      for (std::size_t i = from; i < std::min(from + n, x.size()); ++i)
        most = std::max(most, std::fabs(double(x[i])));
      return most;
    };
    const double token = double(float(absmax(0, x.size())) / 2688.0f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double most = absmax(i / 32 * 32, 32);
      const double step = most > 0 ? std::exp2(std::floor(std::log2(most)) - 2) : 1;
      QCOMPARE(double(mx[i]), nearest(double(x[i]) / step) * step);
      const double largest = absmax(i / 16 * 16, 16);
      const double stored =
          double(f8_e4m3_to_f32(f32_to_f8_e4m3(float(largest) / 6.0f / float(token))));
      const double scale = double(float(stored) * float(token));
      const double want = scale > 0 ? nearest(double(x[i] / float(scale))) * scale : 0;
      QVERIFY(std::fabs(double(nv[i]) - want) <= 1e-6 * std::fabs(want));
    }
    // Extremes: zeros stay zeros, the largest floats stay finite.
    for (const float v : {0.0f, 3e38f, 1e-44f}) {
      const std::vector<float> same(40, v);
      std::vector<float> out(same.size());
      simulate_mxfp4(same.data(), 40, out.data());
      QVERIFY(std::isfinite(out[7]) && (v != 0.0f || out[7] == 0.0f));
      simulate_nvfp4(same.data(), 40, out.data());
      QVERIFY(std::isfinite(out[7]) && (v != 0.0f || out[7] == 0.0f));
    }
  }

  void products_data() {
    QTest::addColumn<QString>("activations");
    QTest::addColumn<QString>("weights");
    for (const char* activations : {"int8-token-dynamic", "int8-tensor-static",
                                    "f8_e4m3-token-dynamic", "f8_e4m3-tensor-static"})
      for (const char* weights : {"int8-channel-sym", "int8-tensor-sym", "int4-g32-asym",
                                  "int3-channel-asym", "int2-g64-sym", "int5-g24-asym"})
        QTest::addRow("%s %s", activations, weights) << activations << weights;
  }

  void products() {
    QFETCH(QString, activations);
    QFETCH(QString, weights);
    const std::string id = activations.toStdString();
    const bool per_tensor = weights.contains("tensor");
    const float scale = id.find("static") == std::string::npos ? 0.0f
                        : id[0] == 'f'                         ? 2.5f / 448.0f
                                                               : 2.5f / 127.0f; // clips some
    const std::int64_t cols = 160, rows = 70;
    for (const auto& backend : backends_)
      for (const std::int64_t tokens : {1, 3, 41}) {
        if (per_tensor)
          continue; // test::int_tensor has no such grids
        OneLinear one(*backend, weights.toStdString(), rows, cols, id.c_str(), scale);
        auto x = test::normal_noise(std::size_t(tokens * cols), 2);
        if (tokens > 1) // a token of zeros
          std::fill_n(x.begin() + cols, cols, 0.0f);
        const auto y = one.run(*backend, x);
        const auto want = product(coded_input(id, x, cols, scale), one.decoded, cols);
        QVERIFY2(worst_share(y, want) < 3e-6, qPrintable(QString::number(worst_share(y, want))));
        QCOMPARE(one.linear.counts->tokens, std::uint64_t(tokens));
        QCOMPARE(one.linear.counts->zero_tokens, std::uint64_t(tokens > 1));
        QCOMPARE(one.linear.counts->static_values, std::uint64_t(scale != 0 ? tokens * cols : 0));
        QVERIFY((one.linear.counts->clipped > 0) == (scale != 0));
      }
  }

  /// The published scheme in f64: outlier columns as halves times dequantized weights, the rest as
  /// int8 with row-wise scales that know nothing of the outliers.
  void llm_int8() {
    const std::int64_t cols = 192, rows = 90;
    for (const auto& backend : backends_)
      for (const std::int64_t tokens : {1, 5, 64}) {
        OneLinear one(*backend, "int8-channel-sym", rows, cols, "llm-int8", 0, 6.0f);
        auto x = with_outliers(tokens, cols, {3, 77, 191});
        x[10] = 6.0f; // exactly the threshold counts
        const auto y = one.run(*backend, x);
        std::vector<bool> out(std::size_t(cols), false);
        for (std::size_t i = 0; i < x.size(); ++i)
          if (std::fabs(x[i]) >= 6.0f)
            out[i % std::size_t(cols)] = true;
        QVERIFY(out[10]);
        std::vector<float> rest = x;
        std::vector<double> halves(x.size());
        for (std::size_t i = 0; i < x.size(); ++i)
          if (out[i % std::size_t(cols)]) {
            halves[i] = double(f16_to_f32(f32_to_f16(x[i])));
            rest[i] = 0;
          }
        auto want = product(coded_input("int8", rest, cols, 0), one.decoded, cols);
        const auto more = product(halves, one.decoded, cols);
        for (std::size_t i = 0; i < want.size(); ++i)
          want[i] += more[i];
        QVERIFY2(worst_share(y, want) < 3e-6, qPrintable(QString::number(worst_share(y, want))));
        const auto n = std::uint64_t(std::count(out.begin(), out.end(), true));
        QCOMPARE(one.linear.counts->outlier_columns, n);
        QCOMPARE(one.linear.counts->columns, std::uint64_t(cols));

        // It recovers what plain int8 loses.
        std::vector<double> exact_x(x.begin(), x.end());
        const auto exact = product(exact_x, one.decoded, cols);
        OneLinear plain(*backend, "int8-channel-sym", rows, cols, "int8-token-dynamic");
        QVERIFY(worst_share(y, exact) * 5 < worst_share(plain.run(*backend, x), exact));

        // Without a threshold it is plain int8.
        OneLinear off(*backend, "int8-channel-sym", rows, cols, "llm-int8", 0, 0.0f);
        QVERIFY(off.run(*backend, x) == plain.run(*backend, x));
      }
  }

  void llm_int8_beyond_f16() {
    OneLinear one(cpu(), "int8-channel-sym", 20, 64, "llm-int8", 0, 6.0f);
    auto x = test::normal_noise(64 * 3, 4);
    x[5] = 1e6f;
    x[64 + 5] = -70000.0f;
    const auto y = one.run(cpu(), x);
    QCOMPARE(one.linear.counts->f16_overflow, std::uint64_t(2));
    for (const float v : y)
      QVERIFY(std::isfinite(v));
    x[5] = 65504.0f;
    x[64 + 5] = -65504.0f;
    QVERIFY(one.run(cpu(), x) == y);
  }

  void broken_inputs_stay_visible() {
    for (const auto& backend : backends_)
      for (const ActivationScheme& scheme : all_activation_schemes()) {
        OneLinear one(*backend, "int8-channel-sym", 40, 96, scheme.id.data(),
                      scheme.is_static ? 0.02f : 0.0f, 6.0f);
        auto x = test::normal_noise(96 * 4, 6);
        const auto good = one.run(*backend, x);
        x[7] = nan_value;
        x[96 + 3] = infinity;
        x[96 + 4] = -infinity;
        const auto y = one.run(*backend, x);
        QVERIFY(y.size() == good.size());
        for (std::size_t i = 0; i < y.size(); ++i) {
          if (i < 80)
            QVERIFY2(std::isnan(y[i]), scheme.id.data());
          else // the other tokens do not notice; batches of LLM.int8() and of tiles may differ
            QVERIFY2(std::fabs(y[i] - good[i]) < 1e-4f, scheme.id.data());
        }
        QCOMPARE(one.linear.counts->nan, std::uint64_t(1));
        QCOMPARE(one.linear.counts->inf, std::uint64_t(2));
        QCOMPARE(one.linear.counts->broken_tokens, std::uint64_t(2));
      }
    EngineActivity activity;
    activity.modules.push_back({"a.b", "none", {}});
    activity.modules[0].counts.nan = 3;
    activity.modules[0].counts.broken_tokens = 1;
    QCOMPARE(activity.notes().size(), std::size_t(1));
    QVERIFY(activity.notes()[0].find("a.b") != std::string::npos);
  }

  void plans_say_what_goes() {
    Recipe recipe;
    recipe.default_scheme = "int8-channel-sym";
    recipe.rules.push_back({"*.down_proj", "q4_0", "", Json::object()});
    recipe.activations = "int8-tensor-static";
    auto plan = make_plan(*demo_, recipe);
    QVERIFY(worked(plan));
    QCOMPARE(plan->find("model.layers.0.self_attn.q_proj")->activations,
             std::string("int8-tensor-static"));
    QCOMPARE(plan->find("model.layers.0.mlp.down_proj")->activations, std::string("none"));
    QCOMPARE(plan->notes.size(), std::size_t(1)); // one line for all of them
    QVERIFY(plan->notes[0].find("no integer codes") != std::string::npos);

    recipe.rules.clear();
    recipe.activations = "nvfp4";
    plan = make_plan(*demo_, recipe);
    QVERIFY(worked(plan) && plan->notes.size() == 1);
    QVERIFY(plan->notes[0].find("simulated") != std::string::npos);

    // A method brings its scheme along, and a recipe that names one wins.
    recipe.activations = Recipe().activations;
    recipe.default_method = "llm-int8";
    plan = make_plan(*demo_, recipe);
    QVERIFY(worked(plan));
    QCOMPARE(plan->modules[2].activations, std::string("llm-int8"));
    for (const char* named : {"int8-token-dynamic", "none"}) {
      recipe.activations = named;
      plan = make_plan(*demo_, recipe);
      QCOMPARE(plan->modules[2].activations, std::string(named));
    }

    recipe.activations = "int9";
    QCOMPARE(make_plan(*demo_, recipe).error().code, std::string("bad-argument"));
    recipe.activations = "none";
    recipe.activation_observer = "guess";
    QCOMPARE(make_plan(*demo_, recipe).error().code, std::string("bad-argument"));
  }

  void static_scales_need_calibration() {
    const QTemporaryDir dir;
    Recipe recipe;
    recipe.default_scheme = "int8-channel-sym";
    recipe.activations = "int8-tensor-static";
    for (const char* kv : {"f16", "f8_e4m3-static"}) {
      recipe.kv_keys = kv;
      const auto refused = quantized(recipe, path_of(dir) / "result", false);
      QVERIFY(!refused.ok());
      QCOMPARE(refused.error().code, std::string("bad-argument"));
      QVERIFY(refused.error().message.find("calibration") != std::string::npos);
      QVERIFY(!fs::exists(path_of(dir) / "result"));
      recipe.activations = "none"; // the keys alone
      recipe.kv_keys = "f8_e4m3-static";
    }
    // An importance matrix has no ranges.
    recipe.activations = "int8-tensor-static";
    recipe.kv_keys = "f16";
    ActivationStatistics imatrix = statistics();
    for (auto& [name, module] : imatrix.modules) {
      module.histogram.clear();
      module.channel_min.clear();
      module.channel_max.clear();
    }
    const auto plan = make_plan(*demo_, recipe);
    QuantizeOptions options;
    options.result_folder = path_of(dir) / "result";
    options.statistics = &imatrix;
    Feedback feedback;
    const auto refused = run_quantize(*demo_, *plan, cpu(), options, feedback);
    QVERIFY(!refused.ok());
    QVERIFY(!fs::exists(options.result_folder));
  }

  void static_scales() {
    const QTemporaryDir dir;
    Recipe recipe;
    recipe.default_scheme = "int8-channel-sym";
    recipe.activations = "int8-tensor-static";
    recipe.kv_keys = recipe.kv_values = "f8_e4m3-static";
    const auto result = quantized(recipe, path_of(dir) / "result");
    QVERIFY(worked(result));
    const auto& model = **result;
    const auto scale = [&](const std::string& name) {
      return model.find_module("model.layers.1." + name)->activation_scale;
    };
    // Minimum and maximum of what calibration saw, shared by those that read the same.
    const auto& seen = statistics().modules.at("model.layers.1.self_attn.q_proj").moments;
    QCOMPARE(scale("self_attn.q_proj"), seen.absmax / 127.0f);
    QCOMPARE(scale("self_attn.k_proj"), scale("self_attn.q_proj"));
    QCOMPARE(scale("self_attn.v_proj"), scale("self_attn.q_proj"));
    QCOMPARE(scale("mlp.gate_proj"), scale("mlp.up_proj"));
    QVERIFY(scale("self_attn.o_proj") > 0 && scale("mlp.down_proj") > 0);
    QCOMPARE(std::int64_t(model.kv_scales.size()), model.spec->layers);
    QCOMPARE(model.kv_scales[2][0], statistics().kv_absmax[2][0] / 448.0f);
    QCOMPARE(model.kv_scales[2][1], statistics().kv_absmax[2][1] / 448.0f);
    const auto kept = read_result(path_of(dir) / "result");
    QCOMPARE(kept->summary.modules[2].activation_scale, model.modules[2].activation_scale);
    QVERIFY(kept->summary.kv_scales == model.kv_scales);

    // Through the container others read, and back.
    Feedback feedback;
    const auto out = run_export(model, *find_exporter("compressed-tensors"),
                                {path_of(dir) / "out", "demo", false}, feedback);
    QVERIFY(worked(out));
    for (const std::string& note : out->notes)
      QVERIFY2(note.find("bitlathe.json") == std::string::npos, note.c_str());
    fs::remove(path_of(dir) / "out" / "bitlathe.json"); // other programs write none
    const auto back = open_checkpoint(path_of(dir) / "out");
    QVERIFY(worked(back));
    QCOMPARE((*back)->kv_keys, std::string("f8_e4m3-static"));
    QVERIFY((*back)->kv_scales == model.kv_scales);
    QVERIFY((*back)->others.empty());
    for (const Module& module : model.modules) {
      QCOMPARE((*back)->find_module(module.name)->activations, module.activations);
      QCOMPARE((*back)->find_module(module.name)->activation_scale, module.activation_scale);
    }
    for (const std::string& note : (*back)->notes)
      QVERIFY2(note.find("not used") == std::string::npos, note.c_str());

    const auto report = verify_checkpoint(path_of(dir) / "out", demo_.get(), cpu(), feedback);
    QVERIFY(worked(report) && report->ok);
    QVERIFY(std::any_of(report->checks.begin(), report->checks.end(), [](const VerifyCheck& c) {
      return c.name == "activations" && c.detail.find("int8-tensor-static in 28") == 0;
    }));

    // Other containers say that they cannot.
    for (const char* format : {"safetensors", "gguf"}) {
      const auto refused = run_export(model, *find_exporter(format),
                                      {path_of(dir) / format, "demo", false}, feedback);
      QCOMPARE(refused.error().code, std::string("unsupported"));
    }
  }

  void f8_through_compressed_tensors() {
    const QTemporaryDir dir;
    for (const char* scheme : {"f8_e4m3-channel", "f8_e4m3-tensor-sf32"})
      for (const char* activations : {"none", "f8_e4m3-token-dynamic", "f8_e4m3-tensor-static"}) {
        const auto base = path_of(dir) / scheme / activations;
        Recipe recipe;
        recipe.default_scheme = scheme;
        recipe.activations = activations;
        const auto result = quantized(recipe, base / "result");
        QVERIFY(worked(result));
        Feedback feedback; // the export is read back and compared
        QVERIFY(worked(run_export(**result, *find_exporter("compressed-tensors"),
                                  {base / "out", "demo", false}, feedback)));
        const auto back = open_checkpoint(base / "out");
        QVERIFY(worked(back));
        QCOMPARE((*back)->modules[2].weight.scheme.id, std::string(scheme));
        QCOMPARE((*back)->modules[2].activations, std::string(activations));
        QVERIFY(worked(Engine::create(*back, cpu())));
      }
    Recipe recipe;
    recipe.default_scheme = "f8_e4m3-channel";
    recipe.activations = "mxfp4";
    const auto result = quantized(recipe, path_of(dir) / "refused");
    Feedback feedback;
    const auto refused = run_export(**result, *find_exporter("compressed-tensors"),
                                    {path_of(dir) / "no", "demo", false}, feedback);
    QVERIFY(refused.error().message.find("nearest: f8_e4m3-token-dynamic") != std::string::npos);
  }

  void compressed_kv_scales() {
    const QTemporaryDir dir;
    Recipe recipe;
    recipe.kv_keys = recipe.kv_values = "f8_e4m3-static";
    const auto result = quantized(recipe, path_of(dir) / "result");
    QVERIFY(worked(result));
    Feedback feedback;
    QVERIFY(worked(run_export(**result, *find_exporter("compressed-tensors"),
                              {path_of(dir) / "out", "demo", false}, feedback)));
    fs::remove(path_of(dir) / "out" / "bitlathe.json");
    const auto config_path = path_of(dir) / "out" / "config.json";
    const auto original = *read_file(config_path);
    const auto with = [&](const Json& scheme) {
      Json config = Json::parse(original);
      config["quantization_config"]["kv_cache_scheme"] = scheme;
      (void)write_file(config_path, config.dump());
      return open_checkpoint(path_of(dir) / "out");
    };
    const Json good = Json::parse(original)["quantization_config"]["kv_cache_scheme"];
    QVERIFY(good.is_object());
    QCOMPARE((*with(good))->kv_keys, std::string("f8_e4m3-static"));
    Json other = good;
    other["strategy"] = "attn_head";
    const auto heads = with(other);
    QCOMPARE((*heads)->kv_keys, std::string("f16"));
    QVERIFY((*heads)->notes.back().find("not used") != std::string::npos ||
            (*heads)->notes.size() > 1);
    QCOMPARE((*with(nullptr))->kv_keys, std::string("f16"));
    (void)write_file(config_path, original);
  }

  void kv_needs_its_scales() {
    EngineOptions options;
    options.kv = KvScheme{"f8_e4m3-static", "f16"};
    const auto refused = Engine::create(demo_, cpu(), options);
    QVERIFY(!refused.ok());
    QVERIFY(refused.error().message.find("calibrat") != std::string::npos);
    QVERIFY(!KvCache::create("f8_e4m3-static", "f16", 2, 32, 8).ok());
    QVERIFY(!KvCache::create("f8_e4m3-static", "f16", 2, 32, 8, nan_value).ok());
  }

  void kv_counts_and_clips() {
    auto cache = KvCache::create("f8_e4m3-static", "f16", 2, 8, 4, 0.01f, 0);
    QVERIFY(worked(cache));
    cache->counts = std::make_shared<KvCounts>();
    std::vector<float> k(2 * 8 * 3, 1.0f), v(k);
    k[3] = 100.0f;   // beyond 4.48
    v[9] = 70000.0f; // beyond f16
    k[20] = nan_value;
    v[40] = infinity;
    cache->store(0, 3, k.data(), v.data());
    QCOMPARE(cache->counts->rows, std::uint64_t(6));
    QCOMPARE(cache->counts->clipped, std::uint64_t(2));
    QCOMPARE(cache->counts->broken, std::uint64_t(2));
    QCOMPARE(cache->counts->key_absmax, 100.0f);
    QCOMPARE(cache->counts->value_absmax, 70000.0f);
    std::vector<float> row(8);
    decode_kv_rows(cache->key_layout, cache->keys.data(), 1, row.data());
    QCOMPARE(row[3], 448.0f * 0.01f);
    decode_kv_rows(cache->value_layout, cache->values.data() + 4 * cache->value_layout.row_bytes, 1,
                   row.data());
    QCOMPARE(row[1], 65504.0f);
    const auto larger = cache->resized(9, 3);
    QVERIFY(worked(larger));
    QVERIFY(larger->counts == cache->counts && larger->key_layout.scale == 0.01f);
    for (std::int64_t head = 0; head < 2; ++head)
      QVERIFY(std::equal(cache->keys.begin() + head * 4 * 8,
                         cache->keys.begin() + head * 4 * 8 + 24,
                         larger->keys.begin() + head * 9 * 8));
    // Tiny rows do not become NaN.
    auto tiny = KvCache::create("f8_e4m3", "f8_e4m3", 1, 8, 1);
    const std::vector<float> small{0, 1e-41f, 0, 0, -1e-41f, 0, 0, 0};
    tiny->store(0, 1, small.data(), small.data());
    decode_kv_rows(tiny->key_layout, tiny->keys.data(), 1, row.data());
    for (const float value : row)
      QVERIFY(std::isfinite(value));
  }

  void kv_memory() {
    const ModelSpec& spec = *demo_->spec;
    const auto rows = std::uint64_t(spec.layers * spec.kv_heads);
    QCOMPARE(*kv_bytes_per_token(spec, {"f16", "f16"}), rows * std::uint64_t(spec.head_dim) * 4);
    QCOMPARE(*kv_bytes_per_token(spec, {"f8_e4m3-static", "int8"}),
             rows * std::uint64_t(2 * spec.head_dim + 4));
    const auto json = kv_memory_json(spec, {"q8_0", "q4_0"});
    QCOMPARE(json["lengths"].back()["tokens"].get<std::int64_t>(), spec.context);
    QCOMPARE(json["lengths"].back()["bytes"].get<std::uint64_t>(),
             json["bytes_per_token"].get<std::uint64_t>() * std::uint64_t(spec.context));
    // What is promised is what is allocated.
    EngineOptions options;
    options.kv = KvScheme{"q8_0", "q4_0"};
    auto engine = Engine::create(demo_, cpu(), options);
    const auto sequence = (*engine)->new_sequence(64);
    QCOMPARE((*sequence)->bytes(), json["bytes_per_token"].get<std::uint64_t>() * 64);
    ModelSpec odd = spec;
    odd.head_dim = 20;
    QVERIFY(kv_memory_json(odd, {"q8_0", "f16"}).contains("problem"));
  }

  void statistics_keep_the_ranges_of_keys() {
    const QTemporaryDir dir;
    const auto file = path_of(dir) / "stats";
    QVERIFY(worked(write_statistics(file, statistics(), *demo_, "own")));
    const auto back = read_statistics(file, *demo_);
    QVERIFY(worked(back));
    QVERIFY(back->kv_absmax == statistics().kv_absmax);
    QCOMPARE(std::int64_t(back->kv_absmax.size()), demo_->spec->layers);
  }

  /// Weights with a column order go through the same products.
  void ordered_columns() {
    OneLinear plain(cpu(), "int4-g32-asym", 30, 96, "int8-token-dynamic");
    OneLinear turned(cpu(), "int4-g32-asym", 30, 96, "int8-token-dynamic");
    std::vector<std::int32_t> order(96);
    for (std::int32_t i = 0; i < 96; ++i)
      order[std::size_t(i)] = (i * 35 + 7) % 96;
    turned.linear.column_order = order;
    const auto x = test::normal_noise(96 * 9, 8);
    std::vector<float> sorted(x.size());
    for (std::size_t t = 0; t < 9; ++t)
      for (std::size_t c = 0; c < 96; ++c)
        sorted[t * 96 + std::size_t(order[c])] = x[t * 96 + c];
    QVERIFY(turned.run(cpu(), sorted) == plain.run(cpu(), x));
  }

  /// On the demo model: every scheme near the source, LLM.int8() with its shares told.
  void demo_perplexity() {
    const auto content = read_file(test::demo_model() / "evaluation.txt");
    QVERIFY(worked(content));
    const auto text = make_eval_text(*demo_, *content, 256, 4);
    QVERIFY(worked(text));
    const auto measured = [&](const std::shared_ptr<const Checkpoint>& model,
                              const EngineOptions& options, std::vector<std::string>* notes) {
      auto engine = Engine::create(model, cpu(), options);
      if (!worked(engine))
        return 0.0;
      Feedback feedback;
      const auto found = perplexity(**engine, *text, feedback);
      if (notes)
        *notes = (*engine)->notes();
      return worked(found) ? found->perplexity : 0.0;
    };
    const double source = measured(demo_, {}, nullptr);
    const QTemporaryDir dir;
    Recipe recipe;
    recipe.default_scheme = "int8-channel-sym";
    recipe.default_method = "llm-int8";
    recipe.default_params = {{"threshold", 4.0}};
    const auto llm = quantized(recipe, path_of(dir) / "llm");
    QVERIFY(worked(llm));
    QCOMPARE((*llm)->modules[2].outlier_threshold, 4.0f);
    std::vector<std::string> notes;
    const double with_outliers = measured(*llm, {}, &notes);
    QVERIFY2(std::fabs(with_outliers / source - 1) < 0.01,
             qPrintable(QString::number(with_outliers)));
    QVERIFY(std::any_of(notes.begin(), notes.end(), [](const std::string& note) {
      return note.find("stayed f16") != std::string::npos;
    }));
    recipe.default_method = "rtn";
    recipe.default_params = Json::object();
    for (const auto& [id, bar] :
         {std::pair("int8-token-dynamic", 0.02), std::pair("int8-tensor-static", 0.15),
          std::pair("f8_e4m3-token-dynamic", 0.05), std::pair("f8_e4m3-tensor-static", 0.06),
          std::pair("mxfp4", 1.5), std::pair("nvfp4", 0.6)}) {
      recipe.activations = id;
      const auto model = quantized(recipe, path_of(dir) / id);
      QVERIFY(worked(model));
      const double found = measured(*model, {}, nullptr);
      qInfo("%s: %.4f of %.4f", id, found / source, source);
      QVERIFY2(found > 0 && std::fabs(found / source - 1) < bar, id);
    }
  }
};

QTEST_GUILESS_MAIN(TestActivations)
#include "tst_activations.moc"
