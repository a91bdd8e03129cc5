// SPDX-License-Identifier: GPL-3.0-or-later
// The checklist: what ticks an item, what makes it stale, and where its evidence comes from.
#include "core/judge/checklist.h"
#include "tests/support.h"

#include <algorithm>
#include <functional>
#include <QtTest>

using namespace bitlathe;

namespace {

using State = ChecklistItem::State;

const ChecklistItem& find(const std::vector<ChecklistItem>& items, const std::string& id) {
  for (const ChecklistItem& item : items)
    if (item.id == id)
      return item;
  qFatal("no item %s", id.c_str());
}

ChecklistFacts everything() {
  ChecklistFacts f;
  f.model = "demo";
  f.planned = f.plan_reviewed = true;
  f.kept_names = "lm_head";
  f.quantized = true;
  f.result = "int4-g128-asym rtn";
  f.baseline = 12.5;
  f.baseline_stderr = 0.3;
  f.figures_of_result = true;
  f.verdict = "1.4 % higher perplexity";
  f.kld = 0.01;
  f.kld_stderr = 0.001;
  f.noise_floor = 0.0001;
  f.tokens = 4096;
  f.speed_of_original = f.speed_of_result = true;
  f.speed = "1 to 2 tok/s";
  f.judged = 24;
  f.exported = f.verified = 1;
  return f;
}

Desk judged_desk(bool unseal, int prompts, const std::string& result) {
  DeskMaterial material;
  material.models = {{"original", "/m"}, {"int4", result}};
  for (int i = 0; i < prompts; ++i) {
    DeskPrompt prompt;
    prompt.id = std::to_string(i);
    prompt.answers = {{true, "a" + std::to_string(i), ""}, {true, "b" + std::to_string(i), ""}};
    material.prompts.push_back(prompt);
  }
  DeskOptions options;
  options.models = {0, 1};
  Desk desk = std::move(*Desk::make(material, options));
  while (const auto item = desk.next())
    desk.cast(*item, Vote::tie);
  if (unseal)
    desk.unseal();
  return desk;
}

} // namespace

class TestChecklist : public QObject {
  Q_OBJECT
 private Q_SLOTS:

  void openAtFirst() {
    const auto items = checklist({});
    QCOMPARE(int(items.size()), 9);
    for (const auto& item : items) {
      QVERIFY2(item.state == State::open, item.id.c_str());
      QVERIFY(!item.detail.empty() && !item.title.empty() && !item.stage.empty());
    }
    QCOMPARE(int(std::count_if(items.begin(), items.end(), [](auto& i) { return i.before; })), 3);
  }
  void doneByEvidence() {
    for (const auto& item : checklist(everything()))
      QVERIFY2(item.state == State::done, item.id.c_str());
  }
  /// One fact taken away or changed at a time.
  void eachFactCounts() {
    const struct {
      const char* id;
      State state;
      std::function<void(ChecklistFacts&)> change;
    } cases[] = {
        {"baseline", State::open, [](auto& f) { f.baseline = 0; }},
        {"calibration", State::open, [](auto& f) { f.needs_calibration = true; }},
        {"calibration", State::done,
         [](auto& f) {
           f.needs_calibration = true;
           f.calibration = "wiki.txt";
         }},
        {"calibration", State::open,
         [](auto& f) {
           f.needs_calibration = f.calibration_by_default = true;
           f.calibration = "demo.txt";
         }},
        {"exclusions", State::open, [](auto& f) { f.plan_reviewed = false; }},
        {"exclusions", State::attention, [](auto& f) { f.fallen_back = 2; }},
        {"exclusions", State::attention, [](auto& f) { f.plan_notes = 1; }},
        {"quantized", State::open, [](auto& f) { f.quantized = false; }},
        {"quantized", State::attention, [](auto& f) { f.quantize_notes = 3; }},
        {"remeasured", State::open, [](auto& f) { f.figures_of_result = false; }},
        {"remeasured", State::stale,
         [](auto& f) {
           f.figures_of_result = false;
           f.figures_of_older = true;
         }},
        {"logits", State::open, [](auto& f) { f.tokens = 0; }},
        {"speed", State::open, [](auto& f) { f.speed_of_original = false; }},
        {"speed", State::stale,
         [](auto& f) {
           f.speed_of_result = false;
           f.speed_of_older = true;
         }},
        {"judged", State::open, [](auto& f) { f.judged = 19; }},
        {"judged", State::attention,
         [](auto& f) {
           f.judged = 0;
           f.judged_sealed = 24;
         }},
        {"judged", State::stale,
         [](auto& f) {
           f.judged = 0;
           f.judged_older = 24;
         }},
        {"exported", State::open, [](auto& f) { f.verified = 0; }},
        {"exported", State::attention, [](auto& f) { f.verify_failed = 1; }},
    };
    for (const auto& each : cases) {
      ChecklistFacts facts = everything();
      each.change(facts);
      const auto items = checklist(facts);
      QVERIFY2(find(items, each.id).state == each.state, each.id);
      for (const auto& item : items)
        QVERIFY(!item.detail.empty());
    }
  }
  void staleWhenTheRecipeChanged() {
    ChecklistFacts facts = everything();
    facts.stale = true;
    const auto items = checklist(facts);
    for (const char* id : {"quantized", "remeasured", "logits", "speed", "judged", "exported"})
      QVERIFY2(find(items, id).state == State::stale, id);
    for (const char* id : {"baseline", "calibration", "exclusions"})
      QVERIFY2(find(items, id).state == State::done, id);
    QVERIFY(find(items, "remeasured").detail.find("1.4 %") != std::string::npos);
    QCOMPARE(checklist_to_json(items)[4]["state"].get<std::string>(), std::string("stale"));
  }

  void factsOfASession() {
    Recipe recipe;
    recipe.calibration_files = {{"/texts/wiki.txt"}};
    CompareReport report;
    report.reference_perplexity = 12;
    report.reference_stderr = 0.2;
    CompareResult model;
    model.path = "/r/1";
    model.tokens = 1000;
    model.perplexity = 12.2;
    model.reference_perplexity = 12;
    model.ppl_ratio = 12.2 / 12;
    model.kld_mean = 0.02;
    model.kld_stderr = 0.002;
    report.models = {model};
    std::vector<Transcript> transcripts(2);
    for (Transcript& each : transcripts) {
      each.sides.resize(2);
      each.sides[0].path = "/m";
      each.sides[1].path = "/r/1";
    }
    transcripts[1].sides[1].text = "other";
    std::vector<Desk> desks{judged_desk(true, 22, "/r/1"), judged_desk(true, 5, "/r/0"),
                            judged_desk(false, 3, "/r/1")};
    ChecklistSources sources;
    sources.model = "demo";
    sources.checkpoint = "/m/";
    sources.recipe = &recipe;
    sources.result = "/r/1";
    sources.result_recipe = &recipe;
    sources.compare = &report;
    sources.transcripts = &transcripts;
    sources.desks = &desks;
    sources.speed = Json::parse(R"({"models":[
      {"path":"/m","steady_bytes":8388608,"points":[
        {"context":128,"batch":4,"tokens_per_second":{"median":500}},
        {"context":512,"batch":1,"tokens_per_second":{"median":90}},
        {"context":128,"batch":1,"tokens_per_second":{"median":100}}]},
      {"path":"/r/1","steady_bytes":4194304,"points":[
        {"context":128,"batch":1,"tokens_per_second":{"median":200}}]},
      {"path":"/r/0","points":[]}, 3]})");
    sources.evidence.plan_reviewed = true;
    sources.evidence.result = "/r/1";
    sources.evidence.exports = {{"/e/1", true, true}, {"/e/2", false, false}};
    const ChecklistFacts f = checklist_facts(sources);
    QVERIFY(f.quantized && !f.stale);
    QCOMPARE(f.baseline, 12.0);
    QVERIFY(f.figures_of_result && !f.figures_of_older);
    QCOMPARE(f.tokens, 1000);
    QCOMPARE(f.prompts_run, 2);
    QCOMPARE(f.prompts_same, 1);
    QCOMPARE(f.judged, 22);
    QCOMPARE(f.judged_older, 5);
    QCOMPARE(f.judged_sealed, 3);
    QVERIFY(f.votes.find("not distinguishable") != std::string::npos);
    QVERIFY(f.speed.find("100 to 200 tok/s, 8 to 4 MiB") == 0);
    QVERIFY(f.speed_of_original && f.speed_of_result && !f.speed_of_older);
    QCOMPARE(f.calibration, std::string("wiki.txt"));
    QCOMPARE(f.exported, 2);
    QCOMPARE(f.verified, 1);
    // Another recipe since, another result since.
    Recipe changed = recipe;
    changed.default_scheme = "int8-channel-sym";
    sources.recipe = &changed;
    QVERIFY(checklist_facts(sources).stale);
    sources.result = "/r/2";
    const ChecklistFacts newer = checklist_facts(sources);
    QVERIFY(!newer.figures_of_result && newer.figures_of_older && newer.speed_of_older);
    QCOMPARE(newer.judged, 0);
    QCOMPARE(newer.judged_older, 27);
    QCOMPARE(newer.exported, 0);
  }
  void figuresOfAVariant() {
    std::vector<SessionVariant> variants(2);
    variants[0].result = "/r/1";
    variants[0].figures = CompareResult();
    variants[0].figures->path = "/r/1";
    variants[0].figures->tokens = 10;
    variants[0].figures->perplexity = variants[0].figures->reference_perplexity = 9;
    variants[1].baseline = true;
    variants[1].figures = variants[0].figures;
    ChecklistSources sources;
    sources.variants = &variants;
    sources.result = "/r/1";
    QVERIFY(checklist_facts(sources).figures_of_result);
    QCOMPARE(checklist_facts(sources).baseline, 9.0);
    QVERIFY(!checklist_facts(sources).figures_of_older);
  }
  void evidenceInASession() {
    EvidenceRecord record;
    record.plan_reviewed = true;
    record.result = "/r/1";
    record.exports = {{"/e", true, false}};
    const auto read = evidence_from_json(Json::parse(evidence_to_json(record).dump()));
    QVERIFY(read.plan_reviewed);
    QCOMPARE(read.result, record.result);
    QCOMPARE(int(read.exports.size()), 1);
    QVERIFY(read.exports[0].verified && !read.exports[0].ok);
    for (const char* text : {"null", "3", "[]", R"({"exports":[1,{}],"result":2})"})
      QVERIFY(evidence_from_json(Json::parse(text)).exports.empty());
  }
};

QTEST_APPLESS_MAIN(TestChecklist)
#include "tst_checklist.moc"
