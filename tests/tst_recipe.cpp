// SPDX-License-Identifier: GPL-3.0-or-later
// Recipes and plans: JSON both ways, patterns, which rule wins, defaults, fallbacks, and that
// nothing is silent.
#include "core/methods/method.h"
#include "core/recipe/plan.h"
#include "tests/support.h"

#include <QTest>

#include <algorithm>

using namespace bitlathe;

namespace {

Module matrix(std::string name, std::string role, int layer, std::int64_t rows, std::int64_t cols) {
  Module m;
  m.name = std::move(name);
  m.role = std::move(role);
  m.layer = layer;
  m.shape = {rows, cols};
  m.weight.scheme = float_scheme(FloatType::bf16);
  m.weight.rows = rows;
  m.weight.cols = cols;
  m.weight.owned_codes.resize(std::size_t(rows * cols * 2));
  m.weight.own();
  m.linear = m.role != "embedding" && m.role != "norm";
  return m;
}

Checkpoint small_model() {
  Checkpoint c;
  c.name = "small";
  c.modules.push_back(matrix("model.embed_tokens", "embedding", -1, 64, 32));
  for (int layer = 0; layer < 2; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    c.modules.push_back(matrix(block + "self_attn.v_proj", "v_proj", layer, 32, 32));
    c.modules.push_back(matrix(block + "mlp.down_proj", "down_proj", layer, 32, 48));
    Module norm = matrix(block + "input_layernorm", "norm", layer, 1, 32);
    norm.shape = {32};
    c.modules.push_back(std::move(norm));
  }
  c.modules.push_back(matrix("lm_head", "lm_head", -1, 64, 32));
  return c;
}

Recipe sample_recipe() {
  Recipe r;
  r.default_scheme = "int4-g32-asym";
  r.default_method = "mse";
  r.default_params["steps"] = 10;
  r.rules.push_back({"*.v_proj", "int8-channel-sym", "rtn", Json::object()});
  r.rules.push_back({"re:layers\\.1\\.", "int6-g32-sym", "", Json::object()});
  r.exclude = {"*.0.mlp.*"};
  r.activations = "int8-token-dynamic";
  r.kv_keys = "int8";
  r.kv_values = "q4_0";
  r.calibration_files = {{"a.txt", 1.0}, {"b.txt", 0.5, "body", "selection", 3}};
  r.seed = 7;
  return r;
}

} // namespace

class TestRecipe : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void jsonRoundTrip() {
    const Recipe recipe = sample_recipe();
    const auto again = recipe_from_json(Json::parse(recipe_to_json(recipe).dump()), "test");
    QVERIFY(again);
    QVERIFY(*again == recipe);
  }

  void badRecipes_data() {
    QTest::addColumn<QString>("json");
    QTest::addColumn<QString>("mentions");
    QTest::newRow("unknown key") << R"({"version":1,"defualt":{}})"
                                 << "defualt";
    QTest::newRow("unknown rule key") << R"({"version":1,"rules":[{"match":"*","sheme":"q8_0"}]})"
                                      << "sheme";
    QTest::newRow("no version") << R"({"default":{}})"
                                << "version";
    QTest::newRow("future version") << R"({"version":9})"
                                    << "9";
    QTest::newRow("rules no list") << R"({"version":1,"rules":{}})"
                                   << "rules";
    QTest::newRow("scheme no text") << R"({"version":1,"default":{"scheme":4}})"
                                    << "scheme";
    QTest::newRow("samples 0") << R"({"version":1,"calibration":{"samples":0}})"
                               << "samples";
    QTest::newRow("weight 0")
        << R"({"version":1,"calibration":{"files":[{"path":"x","weight":0}]}})"
        << "weight";
    QTest::newRow("no object") << R"([1])"
                               << "object";
  }
  void badRecipes() {
    QFETCH(QString, json);
    QFETCH(QString, mentions);
    const auto recipe = recipe_from_json(Json::parse(json.toStdString()), "recipe.json");
    QVERIFY(!recipe);
    QVERIFY2(QString::fromStdString(recipe.error().message).contains(mentions),
             recipe.error().message.c_str());
    QVERIFY(recipe.error().where.find("recipe.json") == 0);
  }

  void duplicateKeysAreErrors() {
    const auto json = parse_json(R"({"version":1,"seed":1,"seed":2})", "recipe.json");
    QVERIFY(!json);
    QVERIFY(json.error().message.find("seed") != std::string::npos);
  }

  void patterns_data() {
    QTest::addColumn<QString>("pattern");
    QTest::addColumn<QString>("name");
    QTest::addColumn<bool>("hit");
    const QString v = "model.layers.10.self_attn.v_proj";
    QTest::newRow("exact") << v << v << true;
    QTest::newRow("star crosses dots") << "model.*.v_proj" << v << true;
    QTest::newRow("star is anchored") << "*.v_pro" << v << false;
    QTest::newRow("prefix only") << "model" << v << false;
    QTest::newRow("question mark") << "model.layers.1?.*" << v << true;
    QTest::newRow("question mark needs one") << "model.layers.10?.*" << v << false;
    QTest::newRow("two stars") << "*layers*attn*" << v << true;
    QTest::newRow("dot is plain") << "model.layersX10*" << v << false;
    QTest::newRow("regex searches") << "re:layers\\.(9|10)\\." << v << true;
    QTest::newRow("regex anchors") << "re:^layers" << v << false;
    QTest::newRow("empty") << "" << v << false;
    QTest::newRow("long") << "*a*a*a*a*a*a*a*a*b" << QString(2000, 'a') << false;
  }
  void patterns() {
    QFETCH(QString, pattern);
    QFETCH(QString, name);
    QFETCH(bool, hit);
    const auto matched = pattern_matches(pattern.toStdString(), name.toStdString());
    QVERIFY(matched);
    QCOMPARE(*matched, hit);
  }
  void badRegexIsAnError() { QVERIFY(!pattern_matches("re:(", "x")); }

  void defaultsKeepEmbeddingHeadAndNorms() {
    const Checkpoint model = small_model();
    const auto plan = make_plan(model, Recipe{});
    QVERIFY(plan);
    for (const PlannedModule& m : plan->modules) {
      const bool kept = m.role == "embedding" || m.role == "lm_head" || m.role == "norm";
      QCOMPARE(m.quantize, !kept);
      QVERIFY(!m.reason.empty());
      QCOMPARE(m.scheme.id, kept ? std::string("bf16") : std::string("int4-g128-asym"));
    }
    QVERIFY(plan->bytes_after < plan->bytes_before);
  }

  void lastRuleWinsAndExcludeBeatsRules() {
    const Checkpoint model = small_model();
    Recipe recipe = sample_recipe();
    const auto plan = make_plan(model, recipe);
    QVERIFY(plan);
    const auto* v0 = plan->find("model.layers.0.self_attn.v_proj");
    QCOMPARE(v0->scheme.id, "int8-channel-sym");
    QCOMPARE(v0->method, "rtn");
    QCOMPARE(v0->reason, "rule 1: *.v_proj");
    const auto* v1 = plan->find("model.layers.1.self_attn.v_proj");
    QCOMPARE(v1->scheme.id, "int6-g32-sym"); // the later rule's scheme, the earlier rule's method
    QCOMPARE(v1->method, "rtn");
    const auto* down0 = plan->find("model.layers.0.mlp.down_proj");
    QVERIFY(!down0->quantize);
    QCOMPARE(down0->reason, "excluded: *.0.mlp.*");
    const auto* down1 = plan->find("model.layers.1.mlp.down_proj");
    QCOMPARE(down1->method, "mse");
    QCOMPARE(down1->activations, "int8-token-dynamic");
  }

  void rulesCanQuantizeTheHead() {
    Recipe recipe;
    recipe.rules.push_back({"lm_head", "int8-channel-sym", "", Json::object()});
    const Checkpoint model = small_model();
    const auto plan = make_plan(model, recipe);
    QVERIFY(plan);
    QVERIFY(plan->find("lm_head")->quantize);
  }

  void nothingIsSilent() {
    Recipe recipe;
    recipe.default_scheme = "q4_0";
    recipe.rules.push_back({"*.nothing", "int8-channel-sym", "", Json::object()});
    recipe.exclude = {"also.nothing"};
    const Checkpoint model = small_model();
    const auto plan = make_plan(model, recipe);
    QVERIFY(plan);
    std::string notes;
    for (const std::string& note : plan->notes)
      notes += note + "\n";
    QVERIFY2(notes.find("*.nothing") != std::string::npos, notes.c_str());
    QVERIFY2(notes.find("also.nothing") != std::string::npos, notes.c_str());
    // 48 columns are no whole number of 32-blocks.
    QCOMPARE(plan->find("model.layers.0.mlp.down_proj")->scheme.id, "f16");
    QCOMPARE(plan->find("model.layers.0.mlp.down_proj")->reason_kind, "fallback");
    QVERIFY2(notes.find("model.layers.0.mlp.down_proj") != std::string::npos, notes.c_str());
    QCOMPARE(plan->find("model.layers.0.self_attn.v_proj")->scheme.id, "q4_0");
  }

  void predictedSize() {
    Recipe recipe;
    recipe.default_scheme = "int4-g32-asym";
    const Checkpoint model = small_model();
    const auto plan = make_plan(model, recipe);
    QVERIFY(plan);
    // v_proj 32 x 32: 16 bytes of codes, one f16 scale and one zero point per row.
    QCOMPARE(plan->find("model.layers.0.self_attn.v_proj")->bytes_after,
             std::uint64_t(32 * (16 + 2 + 1)));
    // down_proj 32 x 48: two groups, the second one shorter.
    QCOMPARE(plan->find("model.layers.0.mlp.down_proj")->bytes_after,
             std::uint64_t(32 * (24 + 4 + 2)));
    std::uint64_t sum = 0;
    for (const PlannedModule& m : plan->modules)
      sum += m.bytes_after;
    QCOMPARE(plan->bytes_after, sum);
    QCOMPARE(plan->bits_per_weight, 8.0 * double(sum) / double(plan->parameters));
  }

  void planErrors_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<QString>("method");
    QTest::addColumn<QString>("param");
    QTest::newRow("unknown scheme") << "int9-channel-sym"
                                    << "rtn"
                                    << "";
    QTest::newRow("malformed group") << "int4-g0-sym"
                                     << "rtn"
                                     << "";
    QTest::newRow("malformed tail") << "int4-g32-sym-sf64"
                                    << "rtn"
                                    << "";
    QTest::newRow("missing symmetry") << "int4-g32"
                                      << "rtn"
                                      << "";
    QTest::newRow("unknown method") << "int4-g32-sym"
                                    << "magic"
                                    << "";
    QTest::newRow("unknown parameter") << "int4-g32-sym"
                                       << "mse"
                                       << "strength";
    QTest::newRow("unknown mix") << "IQ2_M"
                                 << "rtn"
                                 << "";
    QTest::newRow("mix in lower case") << "q4_k_m"
                                       << "rtn"
                                       << "";
    QTest::newRow("mix that needs importance") << "Q2_K_S"
                                               << "rtn"
                                               << "";
  }
  void planErrors() {
    QFETCH(QString, scheme);
    QFETCH(QString, method);
    QFETCH(QString, param);
    Recipe recipe;
    recipe.default_scheme = scheme.toStdString();
    recipe.default_method = method.toStdString();
    if (!param.isEmpty())
      recipe.default_params[param.toStdString()] = 1;
    const Checkpoint model = small_model();
    const auto plan = make_plan(model, recipe);
    QVERIFY(!plan);
    const QString blamed = !param.isEmpty() ? param : method == "magic" ? method : scheme;
    QVERIFY2(QString::fromStdString(plan.error().message).contains(blamed),
             plan.error().message.c_str());
  }

  void parameterRange() {
    Recipe recipe;
    recipe.default_method = "mse";
    recipe.default_params["shrink"] = 1.5;
    const Checkpoint model = small_model();
    QVERIFY(!make_plan(model, recipe));
    recipe.default_params["shrink"] = 0.5;
    QVERIFY(make_plan(model, recipe));
  }

  void quantizedSourceNeedsConsent() {
    Checkpoint model = small_model();
    auto& weight = model.modules[1].weight;
    weight.scheme = *parse_scheme("q8_0");
    weight.owned_codes.assign(32 * 34, std::byte{0});
    weight.own();
    const auto refused = make_plan(model, Recipe{});
    QVERIFY(!refused);
    QVERIFY(refused.error().message.find("--requantize") != std::string::npos);
    const auto plan = make_plan(model, Recipe{}, true);
    QVERIFY(plan);
    const auto& notes = plan->notes;
    QVERIFY(std::any_of(notes.begin(), notes.end(), [](const std::string& note) {
      return note.find("1 module was quantized already (1 in q8_0)") != std::string::npos;
    }));
  }

  void mixQuantizesHeadAndEmbedding() {
    Recipe recipe;
    recipe.default_scheme = "Q8_0";
    const Checkpoint model = small_model();
    const auto plan = make_plan(model, recipe);
    QVERIFY(plan);
    QCOMPARE(plan->find("lm_head")->scheme.id, "q8_0");
    QCOMPARE(plan->find("model.embed_tokens")->scheme.id, "q8_0");
    QVERIFY(!plan->find("model.layers.0.input_layernorm")->quantize);
  }

  void presetsResolve() {
    const Checkpoint model = small_model();
    for (const RecipePreset& preset : recipe_presets()) {
      const auto plan = make_plan(model, preset.make());
      QVERIFY2(plan.ok(), preset.id.data());
      QVERIFY(plan->quantized_parameters > 0);
    }
  }

  void schemesParseToThemselves() {
    for (const SchemeFamily* family : all_scheme_families())
      for (const std::string_view id : family->examples) {
        const auto scheme = parse_scheme(id);
        QVERIFY2(scheme.ok(), id.data());
        QCOMPARE(scheme->id, std::string(id));
        QVERIFY(scheme->family == family);
      }
  }
};

QTEST_GUILESS_MAIN(TestRecipe)
#include "tst_recipe.moc"
