// SPDX-License-Identifier: GPL-3.0-or-later
// The settings of GPTQ and AWQ exports, what is refused before a byte is written, and what single
// loaders cannot take.
#include "core/export/doctor.h"
#include "tests/packed_files.h"

#include <QRegularExpression>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

std::vector<Finding> findings_of(const Checkpoint& model, const char* format) {
  return find_exporter(format)->examine(model, export_modules(model));
}

bool found(const std::vector<Finding>& findings, const std::string& part,
           const std::string& runtime = {}) {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.message.find(part) != std::string::npos &&
           (runtime.empty() || finding.runtime == runtime);
  });
}

bool concerns(const std::vector<Finding>& findings, const std::string& runtime) {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.runtime == runtime && finding.level != Finding::Level::note;
  });
}

/// Whether an expression of "dynamic" matches from the start, as Python's re.match.
bool matches(const std::string& key, const std::string& name) {
  const QRegularExpression expression(QString::fromStdString("\\A(?:" + key.substr(2) + ")"));
  return expression.isValid() && expression.match(QString::fromStdString(name)).hasMatch();
}

} // namespace

class TestGptqAwqSettings : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void gptq_settings();
  void gptq_mixed();
  void gptq_kept_layers();
  void awq_settings();
  void shapes_that_do_not_fit();
  void refused_data();
  void refused();
  void loaders();
  void joined_orders();
};

void TestGptqAwqSettings::gptq_settings() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  const auto settings = [&](const std::string& scheme, bool ordered, bool head) {
    const auto model = with_random_weights(
        path_of(dir) / "model",
        [&](const Module& m) { return head || in_blocks(m) ? scheme : std::string(); }, ordered);
    const auto result = exported(*model, "gptq", path_of(dir) / "out");
    Json out;
    if (result.ok()) {
      out = (*read_json_file(path_of(dir) / "out" / "config.json"))["quantization_config"];
      if (out != *read_json_file(path_of(dir) / "out" / "quantize_config.json"))
        QTest::qFail("the two files differ", __FILE__, __LINE__);
    } else {
      QTest::qFail(result.error().text().c_str(), __FILE__, __LINE__);
    }
    fs::remove_all(path_of(dir) / "out");
    return out;
  };
  auto json = settings("int4-g32-sym", false, false);
  QCOMPARE(json["quant_method"].get<std::string>(), std::string("gptq"));
  QCOMPARE(json["checkpoint_format"].get<std::string>(), std::string("gptq"));
  QCOMPARE(json["bits"].get<int>(), 4);
  QCOMPARE(json["group_size"].get<int>(), 32);
  QVERIFY(json["sym"] == true && json["desc_act"] == false && json["lm_head"] == false);
  QVERIFY(json["dynamic"].empty() && !json.contains("modules_in_block_to_quantize"));
  QVERIFY(json["meta"]["quantizer"][0].get<std::string>().rfind("bitlathe:", 0) == 0);
  json = settings("int3-g32-asym", true, true);
  QCOMPARE(json["checkpoint_format"].get<std::string>(), std::string("gptq_v2"));
  QVERIFY(json["sym"] == false && json["desc_act"] == true && json["lm_head"] == true);
  json = settings("int8-channel-sym", false, false);
  QCOMPARE(json["group_size"].get<int>(), -1);
}

void TestGptqAwqSettings::gptq_mixed() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  const auto scheme_of = [](const Module& m) -> std::string {
    if (m.role == "lm_head")
      return {};
    if (m.layer == 1 && (m.role == "q_proj" || m.role == "k_proj" || m.role == "v_proj"))
      return "int8-g32-sym";
    if (m.layer == 0 && m.role == "gate_proj")
      return "int8-g32-sym"; // not up_proj: vLLM has no such matrix
    return m.role == "down_proj" ? "int4-channel-sym" : "int4-g32-sym";
  };
  const auto model = with_random_weights(path_of(dir) / "model", scheme_of);
  EXPORTED(exported(*model, "gptq", path_of(dir) / "out"));
  const auto json = (*read_json_file(path_of(dir) / "out" / "config.json"))["quantization_config"];
  QCOMPARE(json["bits"].get<int>(), 4);
  QCOMPARE(json["group_size"].get<int>(), 32);
  QCOMPARE(json["dynamic"].size(), std::size_t(2));
  for (const auto& [key, value] : json["dynamic"].items()) {
    const bool eight = value == Json{{"bits", 8}};
    QVERIFY(eight || value == (Json{{"group_size", -1}}));
    QVERIFY(key.rfind("+:", 0) == 0);
    for (const auto& module : model->modules)
      if (module.linear) {
        const auto wanted = eight ? module.weight.scheme.bits == 8 : module.role == "down_proj";
        QCOMPARE(matches(key, module.name), wanted && module.role != "lm_head");
      }
    QCOMPARE(matches(key, "model.layers.1.self_attn.qkv_proj"), eight);
    QVERIFY(!matches(key, "model.layers.0.self_attn.qkv_proj"));
    QVERIFY(!matches(key, "model.layers.0.mlp.gate_up_proj"));
    QVERIFY(!matches(key, "model.layers.11.self_attn.q_proj"));
    QCOMPARE(matches(key, "language_model.model.layers.1.self_attn.q_proj"), eight);
  }
  const auto findings = findings_of(*model, "gptq");
  QVERIFY(found(findings, "dynamic", "transformers"));
  QVERIFY(found(findings, "gate", "vllm")); // gate and up differ
  QVERIFY(found(findings, "4 bits", "llama.cpp"));
  // Only for these.
  QVERIFY(exported(*model, "gptq", path_of(dir) / "again").ok());
  const auto stopped = exported(*model, "gptq", path_of(dir) / "stopped", "vllm");
  QVERIFY(!stopped.ok());
  QCOMPARE(stopped.error().code, std::string("warnings"));
  QVERIFY(!fs::exists(path_of(dir) / "stopped"));
}

void TestGptqAwqSettings::gptq_kept_layers() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  // The same in every block: a list for transformers.
  auto model = with_random_weights(path_of(dir) / "model", [](const Module& m) -> std::string {
    return m.role == "down_proj" ? "" : "int4-g32-sym";
  });
  EXPORTED(exported(*model, "gptq", path_of(dir) / "a"));
  auto json = (*read_json_file(path_of(dir) / "a" / "config.json"))["quantization_config"];
  QVERIFY(json["modules_in_block_to_quantize"].size() == 7); // six in a block, and the head
  QCOMPARE(json["dynamic"].size(), std::size_t(1));
  for (const auto& [key, value] : json["dynamic"].items()) {
    QVERIFY(key.rfind("-:", 0) == 0 && value.empty());
    for (const auto& module : model->modules)
      QCOMPARE(matches(key, module.name), module.role == "down_proj");
  }
  QVERIFY(!found(findings_of(*model, "gptq"), "between blocks", "transformers"));
  QVERIFY(found(findings_of(*model, "gptq"), "lm_head", "transformers"));
  for (const VerifyCheck& check : find_exporter("gptq")->rules(path_of(dir) / "a"))
    QVERIFY2(check.ok, (check.name + ": " + check.detail).c_str());
  // Not the same: no list can say it.
  model = with_random_weights(path_of(dir) / "model", [](const Module& m) -> std::string {
    return m.role == "lm_head" || (m.layer == 1 && m.role != "o_proj") ? "" : "int4-g32-sym";
  });
  EXPORTED(exported(*model, "gptq", path_of(dir) / "b"));
  json = (*read_json_file(path_of(dir) / "b" / "config.json"))["quantization_config"];
  QVERIFY(!json.contains("modules_in_block_to_quantize"));
  for (const auto& [key, value] : json["dynamic"].items()) {
    QVERIFY(matches(key, "model.layers.1.self_attn.qkv_proj"));
    QVERIFY(matches(key, "model.layers.1.mlp.gate_up_proj"));
    QVERIFY(!matches(key, "model.layers.1.self_attn.o_proj"));
  }
  QVERIFY(found(findings_of(*model, "gptq"), "between blocks", "transformers"));
  for (const VerifyCheck& check : find_exporter("gptq")->rules(path_of(dir) / "b"))
    QVERIFY2(check.ok, (check.name + ": " + check.detail).c_str());
}

void TestGptqAwqSettings::awq_settings() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  auto model = with_random_weights(path_of(dir) / "model", [](const Module& m) {
    return in_blocks(m) ? std::string("int4-g32-asym") : std::string();
  });
  EXPORTED(exported(*model, "awq", path_of(dir) / "a"));
  auto json = (*read_json_file(path_of(dir) / "a" / "config.json"))["quantization_config"];
  QVERIFY((json == Json{{"quant_method", "awq"},
                        {"bits", 4},
                        {"group_size", 32},
                        {"zero_point", true},
                        {"version", "gemm"},
                        {"modules_to_not_convert", nullptr}}));
  model = with_random_weights(path_of(dir) / "model", [](const Module& m) -> std::string {
    return m.layer == 1 && m.role == "down_proj" ? "" : "int4-g32-sym";
  });
  EXPORTED(exported(*model, "awq", path_of(dir) / "b"));
  json = (*read_json_file(path_of(dir) / "b" / "config.json"))["quantization_config"];
  QVERIFY(json["modules_to_not_convert"] == Json::array({"model.layers.1.mlp.down_proj"}));
  QVERIFY(json["lm_head"] == true);
  QVERIFY(found(findings_of(*model, "awq"), "zero points of 8"));
  QVERIFY(found(findings_of(*model, "awq"), "head", "transformers"));
}

void TestGptqAwqSettings::shapes_that_do_not_fit() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model", 172); // divides by 4 only
  const auto source = open_checkpoint(path_of(dir) / "model");
  QVERIFY(source.ok());
  for (const char* format : {"gptq", "awq"}) {
    Recipe recipe;
    recipe.default_scheme = "int4-g32-sym";
    recipe.default_method = "rtn";
    auto plan = make_plan(**source, recipe);
    QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
    fit_plan(*plan, **source, *find_exporter(format));
    int floats = 0;
    for (const auto& module : plan->modules)
      if (module.name.find("mlp") != std::string::npos) {
        QCOMPARE(module.scheme.id, std::string("bf16"));
        QVERIFY(module.reason.find("172") != std::string::npos);
        ++floats;
      }
    QCOMPARE(floats, 6);
    const auto model = with_random_weights(path_of(dir) / "model", [](const Module& m) {
      return in_blocks(m) ? std::string("int4-g32-sym") : std::string();
    });
    const auto result = exported(*model, format, path_of(dir) / "out");
    QVERIFY(!result.ok());
    QCOMPARE(result.error().code, std::string("unsupported"));
    QVERIFY2(result.error().message.find("172") != std::string::npos,
             result.error().message.c_str());
    QVERIFY(!fs::exists(path_of(dir) / "out"));
  }
  // A last group that is shorter is no obstacle for GPTQ's container, but for vLLM.
  make_packed_source(path_of(dir) / "other", 160);
  const auto model = with_random_weights(path_of(dir) / "other", [](const Module& m) {
    return in_blocks(m) ? std::string("int4-g64-sym") : std::string();
  });
  EXPORTED(exported(*model, "gptq", path_of(dir) / "short"));
  QVERIFY(found(findings_of(*model, "gptq"), "whole groups", "vllm"));
  QVERIFY(found(findings_of(*model, "awq"), "160 columns do not divide by 64"));
}

void TestGptqAwqSettings::refused_data() {
  QTest::addColumn<QString>("format");
  QTest::addColumn<QString>("scheme");
  QTest::addColumn<bool>("ordered");
  QTest::addColumn<QString>("why");
  const auto row = [](const char* format, const char* scheme, bool ordered, const char* why) {
    QTest::addRow("%s %s%s", format, scheme, ordered ? " ordered" : "")
        << QString::fromUtf8(format) << QString::fromUtf8(scheme) << ordered
        << QString::fromUtf8(why);
  };
  row("gptq", "int5-g32-asym", false, "int8-g32-asym");
  row("gptq", "int4-g32-sym-sbf16", false, "nearest: int4-g32-sym");
  row("gptq", "int8-channel-sym-sf32", false, "nearest: int8-channel-sym");
  row("awq", "int8-g32-sym", false, "nearest: int4-g32-asym");
  row("awq", "int3-channel-asym", false, "nearest: int4-channel-asym");
  row("awq", "int4-g32-asym-sf32", false, "nearest: int4-g32-asym");
  row("awq", "int4-g32-asym", true, "static_groups=1");
}

void TestGptqAwqSettings::refused() {
  QFETCH(QString, format);
  QFETCH(QString, scheme);
  QFETCH(bool, ordered);
  QFETCH(QString, why);
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  const auto model = with_random_weights(
      path_of(dir) / "model",
      [&](const Module& m) {
        return m.layer == 1 && m.role == "o_proj" ? scheme.toStdString()
               : in_blocks(m)                     ? std::string("int4-g32-sym")
                                                  : std::string();
      },
      ordered);
  const auto result = exported(*model, format.toUtf8().constData(), path_of(dir) / "out");
  QVERIFY(!result.ok());
  QCOMPARE(result.error().code, std::string("unsupported"));
  QVERIFY2(result.error().message.find(why.toStdString()) != std::string::npos,
           result.error().message.c_str());
  if (!ordered)
    QCOMPARE(result.error().where, std::string("model.layers.1.self_attn.o_proj"));
  QVERIFY(!fs::exists(path_of(dir) / "out"));
}

void TestGptqAwqSettings::loaders() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model", 128);
  const auto findings = [&](const char* format, const char* scheme, bool ordered = false) {
    return findings_of(
        *with_random_weights(
            path_of(dir) / "model",
            [&](const Module& m) { return in_blocks(m) ? std::string(scheme) : std::string(); },
            ordered),
        format);
  };
  for (const char* scheme : {"int4-g32-sym", "int8-g64-sym", "int4-channel-sym"})
    for (const char* runtime : {"vllm", "transformers", "gptqmodel", "llama.cpp"})
      QVERIFY2(!concerns(findings("gptq", scheme), runtime), scheme);
  QVERIFY(found(findings("gptq", "int4-g32-sym"), "less one"));
  QVERIFY(found(findings("gptq", "int4-g32-asym"), "gptq_v2"));
  QVERIFY(found(findings("gptq", "int4-g32-asym"), "asymmetric", "vllm"));
  QVERIFY(found(findings("gptq", "int3-g32-sym"), "3 bits", "vllm"));
  QVERIFY(found(findings("gptq", "int3-g32-sym"), "3-bit", "llama.cpp"));
  QVERIFY(found(findings("gptq", "int4-g16-sym"), "groups", "vllm"));
  QVERIFY(!concerns(findings("gptq", "int4-g16-sym"), "transformers"));
  QVERIFY(found(findings("gptq", "int4-g8-sym"), "groups", "transformers"));
  QVERIFY(found(findings("gptq", "int4-g32-sym", true), "divide by 128", "vllm"));
  QVERIFY(!concerns(findings("awq", "int4-g32-asym"), "vllm"));
  QVERIFY(!concerns(findings("awq", "int4-g32-asym"), "transformers"));
  QVERIFY(concerns(findings("awq", "int4-g32-asym"), "llama.cpp"));
  QVERIFY(found(findings("awq", "int4-g16-asym"), "groups", "vllm"));
  QVERIFY(find_exporter("gptq")->uses.size() >= 3 && find_exporter("awq")->uses.size() >= 2);

  // Another group size, another model for AWQ.
  const auto mixed = with_random_weights(path_of(dir) / "model", [](const Module& m) {
    return !in_blocks(m)        ? std::string()
           : m.role == "o_proj" ? std::string("int4-g64-asym")
                                : std::string("int4-g32-asym");
  });
  QVERIFY(found(findings_of(*mixed, "awq"), "one group size"));
  QVERIFY(found(findings_of(*mixed, "awq"), "int4-g32-asym"));
}

void TestGptqAwqSettings::joined_orders() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  const auto model = with_random_weights(
      path_of(dir) / "model",
      [&](const Module& m) { return in_blocks(m) ? std::string("int4-g32-sym") : std::string(); },
      true);
  QVERIFY(!found(findings_of(*model, "gptq"), "one order of columns", "vllm"));
  for (auto& module : model->modules)
    if (module.role == "k_proj" && module.layer == 1)
      module.weight =
          random_weight("int4-g32-sym", module.weight.rows, module.weight.cols, 99, true);
  QVERIFY(found(findings_of(*model, "gptq"), "one order of columns", "vllm"));
  QVERIFY(found(findings_of(*model, "gptq"), "model.layers.1.self_attn q, k, v", "vllm"));
}

QTEST_GUILESS_MAIN(TestGptqAwqSettings)
#include "tst_gptq_awq_settings.moc"
