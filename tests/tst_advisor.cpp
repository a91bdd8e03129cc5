// SPDX-License-Identifier: GPL-3.0-or-later
// The advisor: what it proposes can be planned, exported as foreseen and fits, for every
// architecture, goal and runtime; what it cannot do it says.
#include "core/export/doctor.h"
#include "core/job/quantize.h"
#include "core/methods/method.h"
#include "core/recipe/advisor.h"
#include "tests/arch_golden.h"

#include <QTemporaryDir>
#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

AdviceWish wish_for(const std::string& goal, const std::string& runtime = {},
                    std::uint64_t budget = 0) {
  AdviceWish wish;
  wish.goal = goal;
  wish.runtime = runtime;
  wish.budget = budget;
  return wish;
}

std::shared_ptr<const Checkpoint> demo() {
  static const auto model = open_checkpoint(demo_model());
  return *model;
}

bool says(const std::vector<AdviceDecision>& decisions, const std::string& topic) {
  for (const auto& decision : decisions)
    if (decision.topic == topic)
      return !decision.choice.empty() && decision.reason.size() > 10;
  return false;
}

/// Planned and examined anew, from nothing but the recipe and the format.
void check(const Checkpoint& model, const AdviceWish& wish, const Advice& advice) {
  // As a file that somebody saved.
  const auto recipe = recipe_from_json(Json::parse(recipe_to_json(advice.recipe).dump()), "recipe");
  QVERIFY2(recipe.ok(), recipe.ok() ? "" : recipe.error().text().c_str());
  QCOMPARE(*recipe, advice.recipe);
  auto plan = make_plan(model, *recipe);
  QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
  const Exporter* exporter = find_exporter(advice.format);
  QVERIFY(exporter);
  fit_plan(*plan, model, *exporter);
  ExportOptions options;
  options.name = model.name;
  options.runtime = wish.runtime;
  const auto predicted = predict_export(model, *plan, *exporter, options);
  QVERIFY2(predicted.ok(), predicted.ok() ? "" : predicted.error().text().c_str());
  bool warned = false;
  for (const auto& note : advice.notes)
    warned = warned || note.rfind("warning: ", 0) == 0;
  const auto blocking = blocking_findings(predicted->findings, wish.runtime, warned);
  QVERIFY2(blocking.empty(), blocking.empty() ? "" : finding_text(blocking.front()).c_str());
  QCOMPARE(predicted->bytes, advice.bytes);
  QCOMPARE(advice.fits, wish.budget == 0 || advice.bytes <= wish.budget);
  QCOMPARE(advice.problem.empty(), advice.fits);
  for (const char* topic :
       {"scheme", "method", "exclusions", "calibration", "activations", "format"})
    QVERIFY2(says(advice.decisions, topic), topic);
  QVERIFY(!advice.title.empty());
  for (const auto& rejected : advice.rejected)
    QVERIFY(!rejected.what.empty() && rejected.why.size() > 10);
  QVERIFY(!advice_to_json(advice).dump().empty());
}

/// The whole way, for what needs no calibration: the export is as long as was said.
void make(const Checkpoint& model, const Advice& advice, const fs::path& folder) {
  static const auto compute = std::move(*make_cpu_compute());
  auto plan = make_plan(model, advice.recipe);
  QVERIFY(plan.ok());
  const Exporter& exporter = *find_exporter(advice.format);
  fit_plan(*plan, model, exporter);
  Feedback feedback;
  QuantizeOptions job;
  job.result_folder = folder / "result";
  std::error_code ignored;
  fs::remove_all(job.result_folder, ignored);
  const auto summary = run_quantize(model, *plan, *compute, job, feedback);
  QVERIFY2(summary.ok(), summary.ok() ? "" : summary.error().text().c_str());
  const auto kept = open_checkpoint(job.result_folder);
  QVERIFY(kept.ok());
  ExportOptions options{folder / "export", "model"};
  options.replace = true;
  options.accept_warnings = true;
  options.logit_tokens = 0;
  fs::remove_all(options.folder, ignored);
  const auto outcome = run_export(**kept, exporter, options, feedback);
  QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
  // Names of models stand in the metadata of some formats.
  const auto difference = std::int64_t(outcome->bytes) - std::int64_t(advice.bytes);
  QVERIFY2(std::abs(difference) < 256, std::to_string(difference).c_str());
}

} // namespace

class TestAdvisor : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void architectures_data() { each_golden(); }
  void architectures() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    QTemporaryDir dir;
    put_model(golden, FloatType::bf16, path_of(dir) / "model");
    const auto model = opened(path_of(dir) / "model");
    QVERIFY(model);
    std::vector<std::string> runtimes = known_runtimes();
    runtimes.emplace_back();
    std::set<std::string> made;
    for (const AdviceGoal& goal : advice_goals())
      for (const std::string& runtime : runtimes) {
        const AdviceWish wish = wish_for(std::string(goal.id), runtime);
        const auto advice = advise(*model, wish);
        if (!advice) { // a runtime may take nothing of an architecture, but then it is said why
          QVERIFY2(!runtime.empty(), advice.error().text().c_str());
          QCOMPARE(advice.error().code, std::string("unsupported"));
          QVERIFY(advice.error().message.find(runtime) != std::string::npos);
          continue;
        }
        check(*model, wish, *advice);
        if (QTest::currentTestFailed())
          return;
        if (runtime.empty() && made.size() < 2 && made.insert(advice->title).second)
          make(*model, *advice, path_of(dir));
        if (QTest::currentTestFailed())
          return;
      }
  }
  void demo_for_everybody() {
    std::vector<std::string> runtimes = known_runtimes();
    runtimes.emplace_back();
    for (const AdviceGoal& goal : advice_goals())
      for (const std::string& runtime : runtimes) {
        const AdviceWish wish = wish_for(std::string(goal.id), runtime);
        const auto advice = advise(*demo(), wish);
        QVERIFY2(advice.ok(), advice.ok() ? "" : advice.error().text().c_str());
        check(*demo(), wish, *advice);
        if (QTest::currentTestFailed())
          return;
      }
  }
  void goals_differ() {
    const auto quick = advise(*demo(), wish_for("quick"));
    QCOMPARE(quick->recipe.default_scheme, std::string("int8-channel-sym"));
    QVERIFY(!find_method(quick->recipe.default_method)->calibrated);
    const auto quality = advise(*demo(), wish_for("quality"));
    QCOMPARE(quality->recipe.default_method, std::string("gptq"));
    QVERIFY(quality->bytes < quick->bytes);
    const auto portable = advise(*demo(), wish_for("portable"));
    QCOMPARE(portable->format, std::string("gguf"));
    const auto smallest = advise(*demo(), wish_for("smallest"));
    QVERIFY(smallest->bytes < portable->bytes);
  }
  void budgets() {
    std::uint64_t before = UINT64_MAX;
    for (const std::uint64_t budget :
         {9'000'000u, 4'000'000u, 3'200'000u, 2'600'000u, 2'300'000u}) {
      for (const AdviceGoal& goal : advice_goals()) {
        const AdviceWish wish = wish_for(std::string(goal.id), "", budget);
        const auto advice = advise(*demo(), wish);
        QVERIFY(advice.ok());
        check(*demo(), wish, *advice);
        QVERIFY(advice->fits);
        if (goal.id == "smallest") {
          QVERIFY(advice->bytes <= before); // the best that fits gets smaller with the room
          before = advice->bytes;
        }
      }
    }
    // The best that fits, not the smallest there is.
    QVERIFY(advise(*demo(), wish_for("smallest", "", 9'000'000))->bytes > 4'000'000);
  }
  void nothing_fits() {
    const AdviceWish wish = wish_for("smallest", "vllm", 1'000'000);
    const auto advice = advise(*demo(), wish);
    QVERIFY(advice.ok());
    QVERIFY(!advice->fits);
    QVERIFY(advice->problem.find("Nothing fits into") == 0);
    QVERIFY(advice->bytes > 1'000'000);
    check(*demo(), wish, *advice);
  }
  void without_calibration() {
    AdviceWish wish = wish_for("quality");
    wish.calibrate = false;
    const auto advice = advise(*demo(), wish);
    QCOMPARE(advice->recipe.default_method, std::string("mse"));
    QVERIFY(advice->recipe.calibration_files.empty());
    wish.calibrate = true;
    wish.memory = 1 << 20; // far too little
    QCOMPARE(advise(*demo(), wish)->recipe.default_method, std::string("mse"));
    wish.memory = 8ull << 30;
    QCOMPARE(advise(*demo(), wish)->recipe.default_method, std::string("gptq"));
  }
  void calibration_text_goes_along() {
    AdviceWish wish = wish_for("quality");
    wish.calibration = {{"/text/wiki.txt"}};
    QCOMPARE(advise(*demo(), wish)->recipe.calibration_files, wish.calibration);
    wish.goal = "quick";
    QVERIFY(advise(*demo(), wish)->recipe.calibration_files.empty());
  }
  void measured_costs_raise_modules() {
    AdviceWish wish = wish_for("quality", "llama.cpp");
    for (const Module& module : demo()->modules)
      if (module.linear && module.layer >= 0)
        wish.costs.push_back({module.name, 0.001});
    wish.costs[9].cost = 0.2;
    const auto advice = advise(*demo(), wish);
    QVERIFY(advice.ok());
    check(*demo(), wish, *advice);
    bool raised = false;
    for (const Rule& rule : advice->recipe.rules)
      raised = raised || (rule.match == wish.costs[9].module && rule.scheme == "q8_0");
    QVERIFY(raised);
    QVERIFY(says(advice->decisions, "measured costs"));
    // vLLM fuses q, k and v: they go together.
    wish.runtime = "vllm";
    wish.costs[9].cost = 0.001;
    const std::string query = "model.layers.1.self_attn.q_proj";
    for (ModuleCost& cost : wish.costs)
      if (cost.module == query)
        cost.cost = 0.3;
    const auto fused = advise(*demo(), wish);
    check(*demo(), wish, *fused);
    int parts = 0;
    for (const Rule& rule : fused->recipe.rules)
      parts += rule.match.rfind("model.layers.1.self_attn.", 0) == 0;
    QCOMPARE(parts, 3);
  }
  void costs_of_a_session() {
    const Json attribution = Json::parse(R"({"modules":[
      {"name":"a","alone":{"kld_mean":0.5}}, {"name":"b","alone":null,"predicted":{"kld_mean":0.25}},
      {"name":"c"}, 7, {"alone":{"kld_mean":1}}]})");
    const auto costs = module_costs(attribution);
    QCOMPARE(int(costs.size()), 2);
    QCOMPARE(costs[1].cost, 0.25);
    QVERIFY(module_costs(Json()).empty());
  }
  void refusals() {
    QCOMPARE(advise(*demo(), wish_for("best")).error().code, std::string("bad-argument"));
    QCOMPARE(advise(*demo(), wish_for("quick", "toaster")).error().code,
             std::string("bad-argument"));
    // What is quantized already.
    Recipe recipe;
    const auto plan = make_plan(*demo(), recipe);
    QTemporaryDir dir;
    QuantizeOptions job;
    job.result_folder = path_of(dir) / "result";
    Feedback feedback;
    const auto compute = std::move(*make_cpu_compute());
    QVERIFY(run_quantize(*demo(), *plan, *compute, job, feedback).ok());
    const auto quantized = open_checkpoint(job.result_folder);
    QCOMPARE(advise(**quantized, wish_for("quick")).error().code, std::string("unsupported"));
  }
};

QTEST_GUILESS_MAIN(TestAdvisor)
#include "tst_advisor.moc"
