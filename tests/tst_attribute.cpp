// SPDX-License-Identifier: GPL-3.0-or-later
// Exchanging modules one at a time: against full comparisons of models put together by hand, on the
// demo model and on every architecture; groups of modules that scales were moved between; curves,
// predictions, cancelling, memory, and what is kept.
#include "core/eval/attribute.h"

#include "core/engine/residency.h"
#include "core/job/coding.h"
#include "core/model/assemble.h"
#include "core/recipe/finer_scheme.h"
#include "kernels/base/parallel.h"
#include "tests/arch_golden.h"
#include "tests/support.h"

#include <cmath>
#include <QTemporaryDir>
#include <QTest>
#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

/// Views of all modules, with their activation schemes.
std::shared_ptr<Checkpoint> copy_of(const Checkpoint& model) {
  auto out = std::make_shared<Checkpoint>();
  out->path = model.path;
  out->name = model.name;
  out->architecture = model.architecture;
  out->config = model.config;
  out->spec = model.spec;
  out->tokenizer = model.tokenizer;
  out->kv_keys = model.kv_keys;
  out->kv_values = model.kv_values;
  out->kv_scales = model.kv_scales;
  for (const Module& module : model.modules) {
    Module view = view_of(module);
    view.activations = module.activations;
    view.activation_scale = module.activation_scale;
    view.outlier_threshold = module.outlier_threshold;
    out->modules.push_back(std::move(view));
  }
  return out;
}

void put(Checkpoint& model, std::size_t index, const Module& from) {
  Module view = view_of(from);
  view.activations = from.activations;
  view.activation_scale = from.activation_scale;
  view.outlier_threshold = from.outlier_threshold;
  model.modules[index] = std::move(view);
}

std::size_t index_of(const Checkpoint& model, const std::string& name) {
  for (std::size_t i = 0; i < model.modules.size(); ++i)
    if (model.modules[i].name == name)
      return i;
  QTest::qFail(("no module " + name).c_str(), __FILE__, __LINE__);
  return 0;
}

/// The model with the modules for which `scheme_of` names a scheme coded by rtn.
std::shared_ptr<Checkpoint> coded(const Checkpoint& model, Compute& compute,
                                  const std::function<std::string(const Module&)>& scheme_of,
                                  const std::string& activations = "none") {
  auto out = copy_of(model);
  Feedback feedback;
  for (std::size_t i = 0; i < model.modules.size(); ++i) {
    const Module& module = model.modules[i];
    const std::string id = scheme_of(module);
    if (id.empty())
      continue;
    const Scheme scheme = *parse_scheme(id);
    const auto source = source_weight(module, compute, feedback);
    auto made = find_method("rtn")->quantize({.weight = source->view,
                                              .scheme = scheme,
                                              .params = Json::object(),
                                              .importance = {},
                                              .compute = compute,
                                              .feedback = feedback,
                                              .where = module.name});
    if (!made.ok()) {
      QTest::qFail(made.error().text().c_str(), __FILE__, __LINE__);
      continue;
    }
    out->modules[i].weight = std::move(made->tensor);
    out->modules[i].activations = activations;
  }
  return out;
}

std::string linears(const Module& module, const char* scheme) {
  return module.linear && module.role != "lm_head" ? scheme : "";
}

/// The full comparison: `model` against the reference, as `compare` runs them.
CompareReport slow(const std::shared_ptr<const Checkpoint>& reference,
                   const std::shared_ptr<const Checkpoint>& model, const EvalText& text,
                   Compute& compute, const EngineOptions& options = {}, bool floor = false) {
  Feedback feedback;
  const auto a = Engine::create(reference, compute);
  const auto b = Engine::create(model, compute, options);
  EngineOptions rounding;
  rounding.round_weights_to_f16 = floor;
  const auto rounded = Engine::create(reference, compute, rounding);
  if (!a || !b || !rounded) {
    QTest::qFail(!a ? a.error().text().c_str() : b.error().text().c_str(), __FILE__, __LINE__);
    return {};
  }
  Engine* candidates[] = {b->get()};
  auto out = compare(**a, candidates, floor ? rounded->get() : nullptr, text, feedback);
  if (!out) {
    QTest::qFail(out.error().text().c_str(), __FILE__, __LINE__);
    return {};
  }
  return *out;
}

/// How the original is run, for hybrids that hold some codes.
EngineOptions like_original() {
  EngineOptions options;
  options.kv = KvScheme{"f32", "f32"};
  return options;
}

bool close(double a, double b, double relative = 1e-9) {
  return std::abs(a - b) <= relative * std::max(std::abs(a), std::abs(b)) + 1e-300;
}

AttributionReport attributed(const Checkpoint& reference, const Checkpoint* candidate,
                             const EvalText& text, Compute& compute,
                             const AttributionOptions& options) {
  Feedback feedback;
  auto out = attribute(reference, candidate, text, compute, options, feedback);
  if (!out) {
    QTest::qFail(out.error().text().c_str(), __FILE__, __LINE__);
    return {};
  }
  if (!out->cancelled && feedback.done != feedback.total)
    qInfo("progress ended at %llu of %llu", (unsigned long long)feedback.done.load(),
          (unsigned long long)feedback.total.load());
  return std::move(*out);
}

std::string notes_of(const AttributionReport& report) {
  std::string out;
  for (const auto& note : report.notes)
    out += note + "\n";
  return out;
}

/// Whether two runs gave the same figures to the last bit.
bool same_rows(const AttributionReport& a, const AttributionReport& b) {
  if (a.rows.size() != b.rows.size())
    return false;
  for (std::size_t i = 0; i < a.rows.size(); ++i)
    if (a.rows[i].name != b.rows[i].name || a.rows[i].alone.kld != b.rows[i].alone.kld ||
        a.rows[i].alone.kld_stderr != b.rows[i].alone.kld_stderr ||
        a.rows[i].without.kld != b.rows[i].without.kld ||
        a.rows[i].fall_stderr != b.rows[i].fall_stderr ||
        a.rows[i].predicted.raw != b.rows[i].predicted.raw)
      return false;
  return a.control.kld == b.control.kld && a.whole.kld == b.whole.kld;
}

} // namespace

class TestAttribute : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> compute_;
  std::shared_ptr<const Checkpoint> demo_;
  std::shared_ptr<Checkpoint> candidate_;
  EvalText text_;

 private Q_SLOTS:
  void initTestCase() {
    compute_ = std::move(*make_cpu_compute());
    demo_ = opened(demo_model());
    QVERIFY(demo_);
    candidate_ =
        coded(*demo_, *compute_, [](const Module& m) { return linears(m, "int3-g128-asym"); });
    std::ifstream file(demo_model() / "evaluation.txt", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    auto made = make_eval_text(*demo_, text, 96, 3);
    QVERIFY(made.ok());
    text_ = *made;
  }

  void exchangesEqualFullRuns() {
    AttributionOptions options;
    options.without = true;
    const auto report = attributed(*demo_, candidate_.get(), text_, *compute_, options);
    const auto whole = slow(demo_, candidate_, text_, *compute_, {}, true);
    QCOMPARE(report.tokens, whole.models[0].tokens);
    QCOMPARE(report.control.kld, 0.0);
    QCOMPARE(report.control.nll_difference, 0.0);
    QVERIFY(close(report.whole.kld, whole.models[0].kld_mean));
    QVERIFY(close(report.whole.kld_stderr, whole.models[0].kld_stderr));
    QVERIFY(close(report.noise_floor, whole.noise_floor));
    QVERIFY(close(report.reference_perplexity, whole.reference_perplexity));
    for (const char* name : {"model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj",
                             "model.layers.3.self_attn.o_proj"}) {
      const AttributionRow* row = report.find("module", name);
      QVERIFY(row);
      const std::size_t i = index_of(*demo_, name);
      const auto swapped = copy_of(*demo_);
      put(*swapped, i, candidate_->modules[i]);
      const auto alone = slow(demo_, swapped, text_, *compute_, like_original()).models[0];
      QVERIFY(close(row->alone.kld, alone.kld_mean));
      QVERIFY(close(row->alone.kld_stderr, alone.kld_stderr));
      QVERIFY(close(std::exp(row->alone.nll_difference), alone.ppl_ratio));
      const auto restored = copy_of(*candidate_);
      put(*restored, i, demo_->modules[i]);
      const auto without = slow(demo_, restored, text_, *compute_).models[0];
      QVERIFY(close(row->without.kld, without.kld_mean));
      QVERIFY(close(row->fall, whole.models[0].kld_mean - without.kld_mean, 1e-7));
      QCOMPARE(row->scheme, std::string("int3-g128-asym"));
      QVERIFY(row->weight_error > 0.005 && row->weight_error < 0.2);
    }
    // A block and a role.
    const auto block = copy_of(*demo_), role = copy_of(*demo_);
    for (std::size_t i = 0; i < demo_->modules.size(); ++i) {
      if (demo_->modules[i].layer == 1)
        put(*block, i, candidate_->modules[i]);
      if (demo_->modules[i].role == "down_proj")
        put(*role, i, candidate_->modules[i]);
    }
    QVERIFY(close(report.find("block", "block 1")->alone.kld,
                  slow(demo_, block, text_, *compute_, like_original()).models[0].kld_mean));
    QVERIFY(close(report.find("role", "down_proj")->alone.kld,
                  slow(demo_, role, text_, *compute_, like_original()).models[0].kld_mean));
    // Keys and values in halves, and nothing else.
    EngineOptions halves;
    halves.kv = KvScheme{"f16", "f16"};
    QVERIFY(close(report.find("kv", "keys and values")->alone.kld,
                  slow(demo_, demo_, text_, *compute_, halves).models[0].kld_mean));

    // Additivity, from the rows themselves.
    double alone = 0, fall = 0;
    std::set<std::string> modules;
    for (const AttributionRow& row : report.rows)
      if (row.kind == "module" || row.kind == "kv") {
        alone += row.alone.kld;
        fall += row.fall;
        for (const auto& module : row.modules)
          QVERIFY2(modules.insert(module).second, "modules must not be counted twice");
      }
    QCOMPARE(modules.size(), std::size_t(28));
    QVERIFY(report.all_alone && report.all_fall);
    QVERIFY(close(report.sum_alone, alone) && close(report.sum_fall, fall));
    QVERIFY(close(report.ratio_alone, alone / report.whole.kld));
    qInfo("sum of the parts: %.3f alone, %.3f put back, of the whole's %.4f", report.ratio_alone,
          report.ratio_fall, report.whole.kld);
    QVERIFY(report.ratio_alone > 0.7 && report.ratio_alone < 1.4);
    QVERIFY(report.ratio_alone_stderr > 0 && report.ratio_alone_stderr < 0.3);
    QVERIFY(std::abs(report.ratio_alone - 1) < 3 * report.ratio_alone_stderr + 0.1);
    QVERIFY(report.cost.blocks_run < report.cost.blocks_whole);
    QCOMPARE(report.cost.blocks_repeated, std::uint64_t(0));
  }

  void contextBeyondABatch() { // windows longer than the engine runs at once
    EvalText text = text_;
    text.context = 1100;
    text.chunks = 1;
    AttributionOptions options;
    options.only = {"model.layers.3.mlp.up_proj", "model.layers.0.self_attn.k_proj"};
    // Front ends let engines share a budget; what is exchanged is loaded all the same.
    options.run.residency = std::make_shared<Residency>(1 << 20);
    const auto report = attributed(*demo_, candidate_.get(), text, *compute_, options);
    QCOMPARE(report.rows.size(), std::size_t(2));
    for (const AttributionRow& row : report.rows) {
      const std::size_t i = index_of(*demo_, row.name);
      const auto swapped = copy_of(*demo_);
      put(*swapped, i, candidate_->modules[i]);
      const auto alone = slow(demo_, swapped, text, *compute_, like_original()).models[0];
      QVERIFY(close(row.alone.kld, alone.kld_mean));
    }
    QCOMPARE(report.parts, std::int64_t(29));
    QVERIFY(!report.all_alone);
  }

  void threadsAndMemoryChangeNothing() {
    AttributionOptions options;
    options.without = true;
    options.groups = false;
    options.predict = true;
    options.samples = 4;
    options.noise_floor = false;
    options.only = {"*.down_proj", "*.q_proj"};
    EvalText text = text_;
    text.chunks = 2;
    set_thread_count(1);
    const auto one = attributed(*demo_, candidate_.get(), text, *compute_, options);
    set_thread_count(5);
    const auto five = attributed(*demo_, candidate_.get(), text, *compute_, options);
    set_thread_count(0);
    QVERIFY(same_rows(one, five));
    // Streams and logits that do not fit are made again.
    options.memory = 1;
    const auto small = attributed(*demo_, candidate_.get(), text, *compute_, options);
    QVERIFY(same_rows(one, small));
    QVERIFY(small.cost.blocks_repeated > 0 && small.cost.logit_bytes == 0);
    QVERIFY(small.cost.stream_bytes < one.cost.stream_bytes);
    options.memory = 2 * 2 * 95 * 256 * 4; // one stream
    const auto some = attributed(*demo_, candidate_.get(), text, *compute_, options);
    QVERIFY(same_rows(one, some));
    QVERIFY(some.cost.blocks_repeated > 0);
    QVERIFY(some.cost.blocks_repeated < small.cost.blocks_repeated);
  }

  void cancelledKeepsWhatItHas() {
    AttributionOptions options;
    options.noise_floor = false;
    Feedback feedback;
    std::size_t seen = 0;
    options.on_change = [&](const AttributionReport& report) {
      seen = 0;
      for (const auto& row : report.rows)
        seen += bool(row.alone);
      feedback.stop = seen >= 5;
    };
    const auto first = attribute(*demo_, candidate_.get(), text_, *compute_, options, feedback);
    QVERIFY(first.ok());
    QVERIFY(first->cancelled);
    QCOMPARE(seen, std::size_t(5));
    QVERIFY(!first->all_alone);
    // Through JSON and on from there: nothing is measured twice.
    const Json json = Json::parse(attribution_to_json(*first).dump());
    const AttributionReport known = attribution_from_json(json);
    options.known = &known;
    options.on_change = {};
    const auto rest = attributed(*demo_, candidate_.get(), text_, *compute_, options);
    options.known = nullptr;
    const auto all = attributed(*demo_, candidate_.get(), text_, *compute_, options);
    QVERIFY(same_rows(rest, all));
    std::size_t kept = 0;
    for (const auto& row : rest.rows)
      kept += row.kept;
    QCOMPARE(kept, std::size_t(5));
    QVERIFY(rest.cost.blocks_run < all.cost.blocks_run);

    // Another candidate: what it shares with the first is not measured again.
    auto raised = coded(*demo_, *compute_, [](const Module& m) {
      return linears(m, m.name == "model.layers.0.mlp.down_proj" ? "int8-channel-sym"
                                                                 : "int3-g128-asym");
    });
    options.known = &all;
    const auto again = attributed(*demo_, raised.get(), text_, *compute_, options);
    for (const auto& row : again.rows) {
      const bool has =
          std::count(row.modules.begin(), row.modules.end(), "model.layers.0.mlp.down_proj") > 0;
      QCOMPARE(row.kept, !has);
      QVERIFY(row.alone);
    }
    QVERIFY(again.find("module", "model.layers.0.mlp.down_proj")->alone.kld <
            all.find("module", "model.layers.0.mlp.down_proj")->alone.kld / 10);
    // Another text: everything is.
    EvalText other = text_;
    other.chunks = 2;
    for (const auto& row : attributed(*demo_, raised.get(), other, *compute_, options).rows)
      QVERIFY(!row.kept);
  }

  void stoppedBeforeItStarts() {
    Feedback feedback;
    feedback.stop = true;
    const auto report = attribute(*demo_, candidate_.get(), text_, *compute_, {}, feedback);
    QVERIFY(report.ok() && report->cancelled && !report->control);
  }

  void unfitModelsAreErrors() {
    Feedback feedback;
    const auto error = [&](const Checkpoint& a, const Checkpoint* b, const EvalText& text,
                           AttributionOptions options = {}) {
      const auto out = attribute(a, b, text, *compute_, options, feedback);
      return out.ok() ? Error{"none", "", ""} : out.error();
    };
    auto unknown = copy_of(*demo_);
    unknown->spec.reset();
    unknown->why_not_runnable = "it has parts unheard of";
    QCOMPARE(error(*unknown, candidate_.get(), text_).code, std::string("unsupported"));
    const Error why = error(*demo_, unknown.get(), text_);
    QCOMPARE(why.code, std::string("unsupported"));
    QVERIFY(why.message.find("unheard of") != std::string::npos);
    auto deeper = copy_of(*demo_);
    deeper->spec->layers = 3;
    QCOMPARE(error(*demo_, deeper.get(), text_).code, std::string("mismatch"));
    auto wider = copy_of(*demo_);
    const std::size_t up = index_of(*demo_, "model.layers.1.mlp.up_proj");
    wider->modules[up].weight.rows = 512;
    const Error shape = error(*demo_, wider.get(), text_);
    QCOMPARE(shape.code, std::string("mismatch"));
    QVERIFY(shape.message.find("up_proj") != std::string::npos);
    EvalText nothing = text_;
    nothing.ids.resize(20);
    QCOMPARE(error(*demo_, candidate_.get(), nothing).code, std::string("bad-argument"));
    QCOMPARE(error(*demo_, nullptr, text_).code, std::string("bad-argument"));
    AttributionOptions options;
    options.only = {"*.no_such_module"};
    QCOMPARE(error(*demo_, candidate_.get(), text_, options).code, std::string("bad-argument"));
    options.only = {"re:("};
    QVERIFY(error(*demo_, candidate_.get(), text_, options).code != "none");
    options = {};
    options.schemes = {"int9-g1"};
    QCOMPARE(error(*demo_, nullptr, text_, options).code, std::string("bad-argument"));
    options.schemes = {"int4-g128-asym"};
    options.method = "gptq";
    const Error calibrated = error(*demo_, nullptr, text_, options);
    QCOMPARE(calibrated.code, std::string("unsupported"));
    QVERIFY(calibrated.message.find("candidate") != std::string::npos);
    options.method = "magic";
    QCOMPARE(error(*demo_, nullptr, text_, options).code, std::string("bad-argument"));
  }

  void brokenModuleIsItsOwnProblem() {
    auto broken = coded(*demo_, *compute_, [](const Module& m) {
      return m.name == "model.layers.1.mlp.up_proj" ? "int4-g128-asym" : "";
    });
    Module& module = broken->modules[index_of(*demo_, "model.layers.1.mlp.up_proj")];
    store_float(FloatType::f16, module.weight.owned_scales.data(), 3, std::nanf(""));
    Feedback feedback;
    const auto report = attribute(*demo_, broken.get(), text_, *compute_, {}, feedback);
    QVERIFY(!report.ok()); // the whole candidate is no model
    QCOMPARE(report.error().code, std::string("bad-file"));
  }

  void anIdenticalCandidateCostsNothing() {
    const auto report = attributed(*demo_, demo_.get(), text_, *compute_, {});
    QVERIFY(report.rows.empty());
    QCOMPARE(report.whole.kld, 0.0);
    QVERIFY(notes_of(report).find("No module differs") != std::string::npos);
    const Json json = Json::parse(attribution_to_json(report).dump());
    QVERIFY(json["additivity"]["ratio_alone"] == 0.0);
  }

  void activationsAndHeadAreParts() {
    auto with_head = coded(
        *demo_, *compute_,
        [](const Module& m) {
          return m.role == "lm_head" || m.name == "model.layers.2.mlp.gate_proj"
                     ? "int8-channel-sym"
                 : m.role == "embedding" ? "int4-g128-asym"
                                         : "";
        },
        "none");
    const std::size_t gate = index_of(*demo_, "model.layers.2.mlp.gate_proj");
    with_head->modules[gate].activations = "int8-token-dynamic";
    // The same values, run with coded inputs: a difference of its own.
    const std::size_t k = index_of(*demo_, "model.layers.2.self_attn.k_proj");
    auto both = copy_of(*with_head);
    AttributionOptions options;
    options.without = true;
    const auto report = attributed(*demo_, both.get(), text_, *compute_, options);
    for (const char* name : {"model.embed_tokens", "lm_head", "model.layers.2.mlp.gate_proj"}) {
      const AttributionRow* row = report.find("module", name);
      QVERIFY2(row, name);
      const std::size_t i = index_of(*demo_, name);
      const auto swapped = copy_of(*demo_);
      put(*swapped, i, with_head->modules[i]);
      QVERIFY(close(row->alone.kld,
                    slow(demo_, swapped, text_, *compute_, like_original()).models[0].kld_mean));
      const auto restored = copy_of(*with_head);
      put(*restored, i, demo_->modules[i]);
      QVERIFY(close(row->without.kld, slow(demo_, restored, text_, *compute_).models[0].kld_mean));
    }
    QVERIFY(!report.find("module", demo_->modules[k].name));
  }

  void movedScalesStayTogether() {
    // f32 so that moving a scale by a power of two is exact: the whole changes nothing.
    auto moved = coded(*demo_, *compute_, [](const Module&) { return std::string(); });
    const auto scale = [](std::size_t i) { return std::exp2(float(int(i % 5) - 2)); };
    const auto floats = [&](const std::string& name) {
      Module& module = moved->modules[index_of(*demo_, name)];
      QTensor out;
      out.scheme = float_scheme(FloatType::f32);
      out.rows = module.weight.rows;
      out.cols = module.weight.cols;
      out.owned_codes.resize(std::size_t(out.rows * out.cols) * 4);
      const MatrixView view = module.weight.view();
      for (std::int64_t r = 0; r < out.rows; ++r)
        view.layout->decode(view, r, 0, out.cols,
                            reinterpret_cast<float*>(out.owned_codes.data()) + r * out.cols);
      out.own();
      module.weight = std::move(out);
      return std::span(reinterpret_cast<float*>(module.weight.owned_codes.data()),
                       std::size_t(module.weight.rows * module.weight.cols));
    };
    const std::string block = "model.layers.1.";
    auto norm = floats(block + "input_layernorm");
    for (std::size_t c = 0; c < norm.size(); ++c)
      norm[c] /= scale(c);
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      auto w = floats(block + "self_attn." + name);
      for (std::size_t i = 0; i < w.size(); ++i)
        w[i] *= scale(i % 256);
    }
    auto up = floats(block + "mlp.up_proj"), down = floats(block + "mlp.down_proj");
    for (std::size_t i = 0; i < up.size(); ++i)
      up[i] /= scale(i / 256);
    for (std::size_t i = 0; i < down.size(); ++i)
      down[i] *= scale(i % 768);
    AttributionOptions options;
    options.without = true;
    const auto report = attributed(*demo_, moved.get(), text_, *compute_, options);
    std::size_t modules = 0;
    for (const AttributionRow& row : report.rows)
      if (row.kind == "module") {
        ++modules;
        QVERIFY2(row.modules.size() == 4 || row.modules.size() == 2, row.name.c_str());
        QVERIFY2(row.alone.kld < 1e-9, qPrintable(QString::number(row.alone.kld)));
        QVERIFY(!row.predicted);
      }
    QCOMPARE(modules, std::size_t(2));
    QVERIFY(notes_of(report).find("moved between modules") != std::string::npos);
    // Codes alone are no reason to keep modules together.
    for (const auto& row : attributed(*demo_, candidate_.get(), text_, *compute_, {}).rows)
      QVERIFY(row.kind != "module" || row.modules.size() == 1);
  }

  void curvesEqualCandidates() {
    AttributionOptions options;
    options.schemes = {"int4-g128-asym", "q8_0"};
    options.only = {"*.3.*_proj", "lm_head"};
    const auto report = attributed(*demo_, nullptr, text_, *compute_, options);
    QCOMPARE(report.curves.size(), std::size_t(8));
    for (const char* scheme : {"int4-g128-asym", "q8_0"}) {
      const auto candidate = coded(*demo_, *compute_, [&](const Module& m) {
        return m.layer == 3 && m.linear ? scheme : m.role == "lm_head" ? scheme : "";
      });
      AttributionOptions alone;
      alone.groups = false;
      const auto rows = attributed(*demo_, candidate.get(), text_, *compute_, alone);
      for (const ModuleCurve& curve : report.curves) {
        const auto point = std::find_if(curve.points.begin(), curve.points.end(),
                                        [&](const auto& p) { return p.scheme == scheme; });
        QVERIFY(point != curve.points.end());
        const AttributionRow* row = rows.find("module", curve.name);
        QVERIFY(row);
        QCOMPARE(point->measured.kld, row->alone.kld);
        QCOMPARE(point->bytes, row->bytes);
        QVERIFY(close(point->weight_error, row->weight_error));
      }
    }
    // Another scheme: only that is measured.
    options.schemes = {"int4-g128-asym", "int8-channel-sym"};
    options.known = &report;
    const auto more = attributed(*demo_, nullptr, text_, *compute_, options);
    for (const ModuleCurve& curve : more.curves) {
      QCOMPARE(curve.points.size(), std::size_t(3)); // q8_0 is not forgotten
      QVERIFY(curve.points[0].kept && !curve.points[1].kept && curve.points[2].kept);
      QCOMPARE(curve.points[0].measured.kld, report.curve(curve.name)->points[0].measured.kld);
      QVERIFY(curve.points[1].measured.kld < curve.points[0].measured.kld);
    }
  }

  void predictionsAreCloseAndSayHowClose() {
    EvalText text = text_;
    text.context = 128;
    text.chunks = 8;
    AttributionOptions options;
    options.predict = true;
    options.samples = 64;
    options.groups = false;
    options.noise_floor = false;
    const auto report = attributed(*demo_, candidate_.get(), text, *compute_, options);
    const PredictionQuality& quality = report.prediction;
    qInfo("%lld held out: median error %.3f, p90 %.3f, rank correlation %.3f; unscaled %.3f, %.3f",
          (long long)quality.held_out, quality.median_error, quality.p90_error,
          quality.rank_correlation, quality.raw_median_error, quality.raw_rank_correlation);
    QCOMPARE(quality.held_out, std::int64_t(28));
    QVERIFY(quality.rank_correlation > 0.85);
    QVERIFY(quality.median_error < 0.35);
    QVERIFY(quality.raw_median_error < 0.35);
    // A part measured, the others predicted: what was not measured says so.
    options.measured_share = 0.25;
    const auto part = attributed(*demo_, candidate_.get(), text, *compute_, options);
    std::size_t measured = 0;
    for (const AttributionRow& row : part.rows)
      if (row.kind == "module") {
        QVERIFY(row.predicted);
        measured += bool(row.alone);
        const double truth = report.find("module", row.name)->alone.kld;
        QVERIFY2(row.predicted.kld > truth / 3 && row.predicted.kld < truth * 3, row.name.c_str());
      }
    QCOMPARE(measured, std::size_t(7));
    QVERIFY(!part.all_alone);
    // Nothing measured: nothing to fit, and no claim about errors.
    options.measured_share = 0;
    const auto none = attributed(*demo_, candidate_.get(), text, *compute_, options);
    QCOMPARE(none.prediction.held_out, std::int64_t(0));
    for (const AttributionRow& row : none.rows)
      QVERIFY(row.kind != "module" || (row.predicted && row.predicted.kld == row.predicted.raw));
  }

  void finerSchemes() {
    const auto finer = [](const char* id) { return finer_scheme(*parse_scheme(id)); };
    QCOMPARE(finer("int2-g64-asym"), std::string("int3-g64-asym"));
    QCOMPARE(finer("int6-channel-sym-sbf16"), std::string("int8-channel-sym-sbf16"));
    QCOMPARE(finer("int8-channel-sym"), std::string());
    QCOMPARE(finer("q4_k"), std::string("q5_k"));
    QCOMPARE(finer("q8_0"), std::string());
    QCOMPARE(finer("nf4-b64-dq"), std::string("int8-channel-sym"));
    QCOMPARE(finer("bf16"), std::string());
    for (const auto* family : all_scheme_families()) // always up, always makeable, and to an end
      for (const auto example : family->examples) {
        std::string id(example);
        for (int steps = 0; !id.empty(); ++steps) {
          QVERIFY2(steps < 9, id.c_str());
          const Scheme from = *parse_scheme(id);
          id = finer_scheme(from);
          if (id.empty())
            continue;
          const auto to = parse_scheme(id);
          QVERIFY2(to.ok() && cannot_encode(*to).empty(), id.c_str());
          QVERIFY2(to->bits > from.bits, (from.id + " -> " + id).c_str());
        }
      }
  }

  void everyArchitecture_data() { each_golden(); }
  void everyArchitecture() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    const QTemporaryDir dir;
    const fs::path folder = fs::path(dir.path().toStdString()) / "model";
    put_model(golden, FloatType::bf16, folder);
    const auto model = opened(folder);
    QVERIFY(model);
    const auto candidate =
        coded(*model, *compute_, [](const Module& m) { return linears(m, "int4-g32-asym"); });
    const auto ids = hashed_integers("text", 64, model->spec->vocab - 1);
    EvalText text;
    for (const auto id : ids)
      text.ids.push_back(std::int32_t(std::abs(id) % model->spec->vocab));
    text.context = 16;
    AttributionOptions options;
    options.without = true;
    options.predict = true;
    options.noise_floor = false;
    options.samples = 32;
    const auto report = attributed(*model, candidate.get(), text, *compute_, options);
    QCOMPARE(report.control.kld, 0.0);
    QVERIFY(!report.rows.empty());
    std::size_t tried = 0;
    const int last = int(model->spec->layers) - 1;
    for (const AttributionRow& row : report.rows) {
      QVERIFY2(row.problem.empty(), row.problem.c_str());
      QVERIFY(row.alone && row.without);
      if (row.kind != "module" || row.layer != last)
        continue;
      QVERIFY2(row.predicted && row.predicted.raw >= 0, row.name.c_str());
      const std::size_t i = index_of(*model, row.name);
      const auto swapped = copy_of(*model);
      put(*swapped, i, candidate->modules[i]);
      const auto alone = slow(model, swapped, text, *compute_, like_original()).models[0];
      QVERIFY2(close(row.alone.kld, alone.kld_mean), row.name.c_str());
      const auto restored = copy_of(*candidate);
      put(*restored, i, model->modules[i]);
      QVERIFY2(close(row.without.kld, slow(model, restored, text, *compute_).models[0].kld_mean),
               row.name.c_str());
      ++tried;
    }
    QVERIFY(tried >= 4);
    qInfo("%s: %.3f of the whole's %.2e, predictions' rank correlation %.2f", qPrintable(name),
          report.ratio_alone, report.whole.kld, report.prediction.raw_rank_correlation);
  }

  void tiedHeadFollowsTheEmbedding() {
    const Golden golden = read_golden("gemma2"); // tied
    const QTemporaryDir dir;
    const fs::path folder = fs::path(dir.path().toStdString()) / "model";
    put_model(golden, FloatType::bf16, folder);
    const auto model = opened(folder);
    QVERIFY(model);
    auto candidate = coded(*model, *compute_, [](const Module& m) {
      return m.role == "embedding" ? "int8-channel-sym" : "";
    });
    for (Module& module : candidate->modules)
      if (module.tied_to_embedding)
        for (const Module& other : candidate->modules)
          if (other.part == "embedding")
            module.weight = view_of(other.weight);
    EvalText text;
    for (const auto id : hashed_integers("text", 64, model->spec->vocab - 1))
      text.ids.push_back(std::int32_t(std::abs(id) % model->spec->vocab));
    text.context = 16;
    AttributionOptions options;
    options.without = options.predict = true;
    const auto report = attributed(*model, candidate.get(), text, *compute_, options);
    std::size_t modules = 0;
    for (const AttributionRow& row : report.rows)
      if (row.kind == "module") {
        ++modules;
        QCOMPARE(row.role, std::string("embedding"));
        QVERIFY(close(row.alone.kld,
                      slow(model, candidate, text, *compute_, like_original()).models[0].kld_mean));
        QVERIFY(row.predicted.raw > row.alone.kld / 3 && row.predicted.raw < row.alone.kld * 3);
      }
    QCOMPARE(modules, std::size_t(1));
    options = {};
    options.schemes = {"int8-channel-sym"};
    options.only = {"*embed*"};
    const auto curves = attributed(*model, nullptr, text, *compute_, options);
    QCOMPARE(curves.curves.size(), std::size_t(1));
    QCOMPARE(curves.curves[0].points[0].measured.kld,
             report.find("module", curves.curves[0].name)->alone.kld);
  }

  void jsonHoldsEverything() {
    AttributionOptions options;
    options.without = options.predict = true;
    options.schemes = {"int8-channel-sym"};
    options.samples = 4;
    EvalText text = text_;
    text.chunks = 2;
    const auto report = attributed(*demo_, candidate_.get(), text, *compute_, options);
    const std::string once = attribution_to_json(report).dump();
    const std::string twice = attribution_to_json(attribution_from_json(Json::parse(once))).dump();
    std::size_t same = 0; // says where they part
    while (same < once.size() && same < twice.size() && once[same] == twice[same])
      ++same;
    QVERIFY2(once == twice, (once.substr(same < 60 ? 0 : same - 60, 160) + "\n" +
                             twice.substr(same < 60 ? 0 : same - 60, 160))
                                .c_str());
    // Anything may stand in a session.
    for (const char* hostile :
         {"null", "[]", "7", "{\"modules\": 3}", "{\"modules\": [1, null, {\"name\": 4}]}",
          "{\"curves\": [{\"points\": {\"a\": 1}}, {\"points\": [[]]}]}",
          "{\"tokens\": -1e300, \"layer\": 1e99, \"modules\": [{\"layer\": -7, \"bytes\": -3}]}",
          "{\"prediction\": {\"scales\": [1]}, \"cost\": \"x\", \"notes\": [1, \"a\"]}"}) {
      const auto read = attribution_from_json(Json::parse(hostile));
      attribution_to_json(read).dump();
      QVERIFY(read.tokens <= 0);
    }
  }
};

QTEST_APPLESS_MAIN(TestAttribute)
#include "tst_attribute.moc"
