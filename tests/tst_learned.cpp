// SPDX-License-Identifier: GPL-3.0-or-later
// Learned rounding: codes stay on their grids, the error is never above round to nearest's and
// well below it where there is something to learn, the same bytes at any thread count; slopes of
// ranges against differences; what is asked of calibration; cancelling.
#include "core/calib/statistics.h"
#include "core/methods/learned_loss.h"
#include "kernels/base/parallel.h"
#include "tests/arch_golden.h"
#include "tests/learned_block.h"
#include "tests/slow_block.h"

#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

/// Inputs whose columns hang together, as activations do.
struct Inputs {
  InputStatistics statistics;

  Inputs(std::int64_t tokens, std::int64_t cols, std::uint32_t seed) {
    const auto own = normal_noise(std::size_t(tokens * cols), seed);
    const auto common = normal_noise(std::size_t(tokens * 4), seed + 1, 1.5f);
    const auto mix = normal_noise(std::size_t(cols * 4), seed + 2);
    statistics.tokens = tokens;
    statistics.cols = cols;
    statistics.moments.resize(std::size_t(cols * cols));
    std::vector<double> row(static_cast<std::size_t>(cols));
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < cols; ++c) {
        row[std::size_t(c)] = double(own[std::size_t(t * cols + c)]);
        for (std::int64_t k = 0; k < 4; ++k)
          row[std::size_t(c)] +=
              double(common[std::size_t(t * 4 + k)] * mix[std::size_t(c * 4 + k)]);
      }
      for (std::int64_t a = 0; a < cols; ++a)
        for (std::int64_t b = 0; b <= a; ++b)
          statistics.moments[std::size_t(a * cols + b)] +=
              row[std::size_t(a)] * row[std::size_t(b)];
    }
  }

  /// ||(W - V)X||^2, slowly.
  double error(const std::vector<float>& w, const std::vector<float>& v) const {
    const std::int64_t cols = statistics.cols;
    double sum = 0;
    for (std::size_t row = 0; row < w.size() / std::size_t(cols); ++row)
      for (std::int64_t a = 0; a < cols; ++a)
        for (std::int64_t b = 0; b < cols; ++b) {
          const auto at = row * std::size_t(cols);
          sum += double(w[at + std::size_t(a)] - v[at + std::size_t(a)]) *
                 double(w[at + std::size_t(b)] - v[at + std::size_t(b)]) * statistics.moment(a, b);
        }
    return sum;
  }
};

bool same_bytes(const QTensor& a, const QTensor& b) {
  const auto equal = [](auto x, auto y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  };
  return equal(a.codes, b.codes) && equal(a.scales, b.scales) && equal(a.zeros, b.zeros);
}

struct Coded {
  Result<MethodOutput> output;
  std::vector<float> values;
};

class Weight {
 public:
  Weight(std::int64_t rows, std::int64_t cols, std::uint32_t seed)
      : values(normal_noise(std::size_t(rows * cols), seed, 0.05f)), rows_(rows), cols_(cols) {}

  std::vector<float> values;

  Coded code(const char* method, const std::string& scheme_id, const InputStatistics* inputs,
             Compute& compute, Json params = Json::object(), Feedback* given = nullptr) const {
    Feedback own;
    const Scheme scheme = *parse_scheme(scheme_id);
    const FloatView view{FloatType::f32, rows_, cols_, std::as_bytes(std::span(values))};
    Coded out{find_method(method)->quantize({.weight = view,
                                             .scheme = scheme,
                                             .params = params,
                                             .importance = {},
                                             .compute = compute,
                                             .feedback = given ? *given : own,
                                             .where = "test.module",
                                             .inputs = inputs}),
              {}};
    if (out.output) {
      out.values.resize(values.size());
      if (!compute.decode(out.output->tensor.view(), 0, rows_, out.values))
        out.values.clear();
    }
    return out;
  }

 private:
  std::int64_t rows_, cols_;
};

constexpr const char* methods[] = {"adaround", "brecq", "signround"};
const Json few_steps = {{"iterations", 60}};

/// A checkpoint of tests/golden/arch with a plan and samples for its first block.
struct Prepared {
  QTemporaryDir folder;
  std::shared_ptr<const Checkpoint> checkpoint;
  std::optional<Plan> plan;
  TestBlock::Samples samples;

  Prepared(const std::string& name, const std::string& scheme, const char* method, Json params,
           std::vector<Rule> rules = {}) {
    const Golden golden = read_golden(name);
    put_model(golden, FloatType::f32, folder.path().toStdString());
    checkpoint = opened(folder.path().toStdString());
    if (!checkpoint)
      return;
    Recipe recipe;
    recipe.default_scheme = scheme;
    recipe.default_method = method;
    recipe.default_params = std::move(params);
    recipe.rules = std::move(rules);
    auto made = make_plan(*checkpoint, recipe);
    if (!made) {
      QTest::qFail(made.error().text().c_str(), __FILE__, __LINE__);
      return;
    }
    plan = std::move(*made);
    for (std::uint32_t i = 0; i < 6; ++i) // of different lengths
      samples.push_back(normal_noise(std::size_t((12 + i) * checkpoint->spec->hidden), 50 + i));
  }
};

} // namespace

class TestLearned : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;

 private Q_SLOTS:
  void initTestCase() {
    auto cpu = make_cpu_compute();
    QVERIFY(cpu.ok());
    cpu_ = std::move(*cpu);
  }

  void linears_data() {
    QTest::addColumn<QString>("scheme");
    for (const char* scheme :
         {"int2-g16-asym", "int2-channel-sym", "int3-g32-asym", "int3-channel-asym", "int3-g20-sym",
          "int4-g32-sym-sbf16", "int4-tensor-asym", "int4-tensor-sym", "int8-channel-sym-sf32"})
      QTest::newRow(scheme) << scheme;
  }
  /// Each by itself: better than round to nearest, on the grid, the same at any thread count.
  void linears() {
    QFETCH(QString, scheme);
    const Inputs inputs(400, 72, 1);
    const Weight w(24, 72, 7);
    const std::string id = scheme.toStdString();
    const Coded rtn = w.code("rtn", id, nullptr, *cpu_);
    QVERIFY(rtn.output.ok());
    const double plain = inputs.error(w.values, rtn.values);
    for (const char* method : methods) {
      const Coded coded = w.code(method, id, &inputs.statistics, *cpu_, few_steps);
      QVERIFY2(coded.output.ok(), coded.output.ok() ? "" : coded.output.error().text().c_str());
      const double learned = inputs.error(w.values, coded.values);
      const double share = learned / plain;
      qInfo("%s %s: %.3f of round to nearest's error", qPrintable(scheme), method, share);
      QVERIFY(share < 0.9);
      for (const int threads : {1, 2, 8}) {
        set_thread_count(threads);
        const Coded again = w.code(method, id, &inputs.statistics, *cpu_, few_steps);
        set_thread_count(0);
        QVERIFY2(again.output.ok() && same_bytes(coded.output->tensor, again.output->tensor),
                 method);
      }
    }
  }

  /// AdaRound reaches what trying all choices finds, on rows short enough to try them.
  void nearTheBestChoice() {
    const std::int64_t cols = 12;
    const Inputs inputs(200, cols, 3);
    const Weight w(6, cols, 9);
    const Json plain = {{"search", 0}};
    const Coded rtn = w.code("rtn", "int4-channel-sym-sf32", nullptr, *cpu_);
    const Coded coded =
        w.code("adaround", "int4-channel-sym-sf32", &inputs.statistics, *cpu_, plain);
    QVERIFY(rtn.output.ok() && coded.output.ok());
    double best_sum = 0, found_sum = 0, rtn_sum = 0;
    for (std::size_t row = 0; row < 6; ++row) {
      const auto at = std::ptrdiff_t(row) * cols;
      const std::vector<float> original(w.values.begin() + at, w.values.begin() + at + cols);
      const auto row_of = [&](const std::vector<float>& v) {
        return inputs.error(original, {v.begin() + at, v.begin() + at + cols});
      };
      float absmax = 0;
      for (const float v : original)
        absmax = std::max(absmax, std::fabs(v));
      const float scale = absmax / 7;
      double best = INFINITY;
      std::vector<float> choice(original.size());
      for (unsigned bits = 0; bits < 1u << cols; ++bits) {
        for (std::size_t c = 0; c < choice.size(); ++c) {
          const float down = std::floor(original[c] / scale);
          choice[c] = scale * std::clamp(down + float(bits >> c & 1u), -8.0f, 7.0f);
        }
        best = std::min(best, inputs.error(original, choice));
      }
      best_sum += best;
      found_sum += row_of(coded.values);
      rtn_sum += row_of(rtn.values);
    }
    qInfo("round to nearest %.4g, AdaRound %.4g, best of all choices %.4g", rtn_sum, found_sum,
          best_sum);
    QVERIFY(found_sum < best_sum + 0.4 * (rtn_sum - best_sum));
  }

  /// Whole blocks of every kind: below round to nearest's error of the block, and for block methods
  /// below what linears learned by themselves reach.
  void blocks_data() {
    QTest::addColumn<QString>("model");
    for (const char* model : {"llama-1", "qwen3", "gpt2", "neox-parallel", "phi3-window", "gemma2"})
      QTest::newRow(model) << model;
  }
  void blocks() {
    QFETCH(QString, model);
    const auto error_of = [&](const char* method, Json params) {
      Prepared p(model.toStdString(), "int3-g16-asym", method, std::move(params));
      if (!p.plan)
        return double(INFINITY);
      TestBlock block(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
      const auto done = block.code();
      if (!done.ok())
        QTest::qFail(done.error().text().c_str(), __FILE__, __LINE__);
      return block.block_error();
    };
    const double rtn = error_of("rtn", Json::object());
    const double alone = error_of("adaround", {{"iterations", 200}});
    const double brecq = error_of("brecq", {{"iterations", 150}, {"batch", 4}});
    const double signs = error_of("signround", {{"iterations", 150}, {"batch", 4}});
    qInfo("%s: of round to nearest's error, adaround %.3f, brecq %.3f, signround %.3f",
          qPrintable(model), alone / rtn, brecq / rtn, signs / rtn);
    QVERIFY(alone < rtn && brecq < alone && signs < rtn * 0.8);
  }

  void blocksAreTheSameAtAnyThreadCount() {
    for (const char* method : {"brecq", "signround"}) {
      Prepared p("qwen3", "int3-g16-asym", method, {{"iterations", 10}, {"batch", 4}});
      QVERIFY(p.plan);
      TestBlock first(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
      QVERIFY(first.code().ok());
      for (const int threads : {1, 2, 8}) {
        set_thread_count(threads);
        TestBlock again(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
        const bool done = again.code().ok();
        set_thread_count(0);
        QVERIFY(done);
        for (std::size_t i = 0; i < first.linears.size(); ++i)
          QVERIFY2(same_bytes(first.linears[i].output->tensor, again.linears[i].output->tensor),
                   method);
      }
    }
  }

  /// Only linears with the method are learned, against the block with all others as they are.
  void mixedBlocks() {
    Prepared p("llama-1", "int3-g16-asym", "rtn", Json::object(),
               {{"*mlp*", "int2-g16-asym", "signround", {{"iterations", 20}}},
                {"*down_proj", "int4-g16-sym", "", {{"iterations", 20}}}});
    QVERIFY(p.plan);
    TestBlock block(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
    for (BlockLinear& linear : block.linears)
      if (linear.method->prepare) {
        QVERIFY(linear.method->prepare(block).ok());
        break;
      }
    for (const BlockLinear& linear : block.linears) {
      const bool mlp = linear.module->name.find("mlp") != std::string::npos;
      QCOMPARE(linear.output.has_value(), mlp);
      if (mlp)
        QCOMPARE(linear.output->tensor.scheme.id,
                 std::string(linear.module->part == "down" ? "int4-g16-sym" : "int2-g16-asym"));
    }
  }

  /// One set of parameters learns a block; modules that asked for another are told.
  void otherParametersAreNoted() {
    Prepared p("llama-1", "int3-g16-asym", "signround", {{"iterations", 5}},
               {{"*down_proj", "", "", {{"iterations", 6}}}});
    QVERIFY(p.plan);
    TestBlock block(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
    QVERIFY(block.code().ok());
    for (const BlockLinear& linear : block.linears) {
      const auto& notes = linear.output->notes;
      const bool noted = std::any_of(notes.begin(), notes.end(), [](const std::string& note) {
        return note.find("with the parameters of") != std::string::npos;
      });
      QCOMPARE(noted, linear.module->part == "down");
    }
  }

  /// The slopes that BlockLoss gives are those of its loss.
  void slopesOfTheBlockLoss() {
    Prepared p("gemma3", "int4-g16-asym", "brecq", Json::object());
    QVERIFY(p.plan);
    TestBlock block(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
    auto linears = start_learning(block, *find_method("brecq"), false);
    QVERIFY(linears.ok());
    auto loss = BlockLoss::create(block, *linears, 100);
    QVERIFY(loss.ok());
    QVERIFY((*loss)->steps_are_whole());
    const auto whole = (*loss)->whole(), step = (*loss)->step(0);
    QVERIFY(whole.ok() && step.ok());
    QCOMPARE(*step, *whole);
    for (LearnedLinear& linear : *linears) { // along the slope itself
      const auto slope = linear.slope;
      const auto kept = linear.values;
      double square = 0, size = 0;
      for (std::size_t i = 0; i < slope.size(); ++i) {
        square += double(slope[i]) * double(slope[i]);
        size += double(kept[i]) * double(kept[i]);
      }
      const double length = 1e-3 * std::sqrt(size / square);
      const auto moved = [&](double by) {
        for (std::size_t i = 0; i < slope.size(); ++i)
          linear.values[i] = float(double(kept[i]) + by * double(slope[i]));
        const auto found = (*loss)->whole();
        linear.values = kept;
        return found.ok() ? *found : INFINITY;
      };
      const double expected = (moved(length) - moved(-length)) / (2 * length);
      QVERIFY2(std::abs(square - expected) < 0.02 * square, linear.name.c_str());
    }
  }

  void hardCases() {
    const Inputs inputs(100, 40, 4);
    Weight w(6, 40, 5);
    std::fill(w.values.begin(), w.values.begin() + 40, 0.0f); // a row of zeros
    std::fill(w.values.begin() + 40, w.values.begin() + 80, 0.25f);
    w.values[90] = 3.0f; // an outlier
    for (std::size_t i = 120; i < 160; ++i)
      w.values[i] *= 1e-9f; // scales below f16
    Inputs dead(100, 40, 4);
    for (std::int64_t a = 0; a < 40; ++a)
      for (std::int64_t b = 0; b <= a; ++b)
        if (a == 7 || b == 7 || a == 30 || b == 30)
          dead.statistics.moments[std::size_t(a * 40 + b)] = 0;
    Inputs silent(100, 40, 4);
    std::fill(silent.statistics.moments.begin(), silent.statistics.moments.end(), 0.0);
    for (const char* method : methods)
      for (const char* scheme : {"int3-g16-asym", "int2-channel-sym", "int4-tensor-asym"})
        for (const Inputs* x :
             {&inputs, static_cast<const Inputs*>(&dead), static_cast<const Inputs*>(&silent)}) {
          const Coded rtn = w.code("rtn", scheme, nullptr, *cpu_);
          const Coded coded = w.code(method, scheme, &x->statistics, *cpu_, few_steps);
          QVERIFY2(coded.output.ok(), coded.output.ok() ? "" : coded.output.error().text().c_str());
          for (std::size_t i = 0; i < coded.values.size(); ++i)
            QVERIFY2(std::isfinite(coded.values[i]), method);
          for (std::size_t i = 0; i < 40; ++i)
            QCOMPARE(coded.values[i], 0.0f);
          QVERIFY2(x->error(w.values, coded.values) <=
                       x->error(w.values, rtn.values) * (1 + 1e-5) + 1e-12,
                   method);
        }
  }

  void errors() {
    const Inputs inputs(50, 40, 4);
    Weight w(6, 40, 5);
    for (const char* method : methods) {
      const Coded without = w.code(method, "int4-g16-asym", nullptr, *cpu_);
      QVERIFY(!without.output.ok());
      QCOMPARE(without.output.error().code, std::string("bad-argument"));
      QCOMPARE(without.output.error().where, std::string("test.module"));
      QVERIFY(!find_method(method)->declines(*parse_scheme("q4_0")).empty());
      QVERIFY(!find_method(method)->declines(*parse_scheme("bf16")).empty());
      QVERIFY(find_method(method)->declines(*parse_scheme("int5-g48-sym")).empty());
      Feedback stopped;
      stopped.stop = true;
      const Coded cancelled =
          w.code(method, "int4-g16-asym", &inputs.statistics, *cpu_, Json::object(), &stopped);
      QVERIFY(!cancelled.output.ok() && cancelled.output.error().cancelled());
      Inputs broken = inputs;
      broken.statistics.moments[3 * 40 + 3] = NAN;
      const Coded refused = w.code(method, "int4-g16-asym", &broken.statistics, *cpu_);
      QVERIFY(!refused.output.ok() && refused.output.error().where == "test.module");
    }
    w.values[11] = INFINITY;
    for (const char* method : methods) {
      const Coded bad = w.code(method, "int4-g16-asym", &inputs.statistics, *cpu_);
      QVERIFY(!bad.output.ok() && bad.output.error().where == "test.module");
    }
  }

  void cancelledBlocks() {
    for (const char* method : {"brecq", "signround"}) {
      Prepared p("llama-1", "int3-g16-asym", method, Json::object());
      QVERIFY(p.plan);
      TestBlock block(*p.checkpoint, *p.plan, 0, p.samples, *cpu_);
      block.own_feedback.stop = true;
      const auto done = find_method(method)->prepare(block);
      QVERIFY(!done.ok() && done.error().cancelled());
      for (const BlockLinear& linear : block.linears)
        QVERIFY(!linear.output);
    }
  }
};

QTEST_GUILESS_MAIN(TestLearned)
#include "tst_learned.moc"
