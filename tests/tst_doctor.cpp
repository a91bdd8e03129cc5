// SPDX-License-Identifier: GPL-3.0-or-later
// The doctor before an export: sizes to the byte before anything is quantized, what stops an export
// and what does not.
#include "core/export/doctor.h"
#include "core/job/quantize.h"
#include "tests/export_support.h"

#include <algorithm>
#include <numeric>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

using Level = Finding::Level;

/// Windows of ids that the small model knows.
std::vector<std::vector<std::int32_t>> some_text() {
  std::vector<std::vector<std::int32_t>> out(3, std::vector<std::int32_t>(24));
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t t = 0; t < out[i].size(); ++t)
      out[i][t] = std::int32_t((7 * i + 11 * t + t * t) % 50);
  return out;
}

std::map<std::string, std::uint64_t> sizes_of(const ExportPrediction& prediction) {
  std::map<std::string, std::uint64_t> out;
  for (const auto& file : prediction.files)
    out[file.name.string()] = file.bytes;
  return out;
}

} // namespace

class TestDoctor : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void predicted_size_data();
  void predicted_size();
  void what_blocks();
  void warnings_stop_until_accepted();
};

void TestDoctor::predicted_size_data() {
  QTest::addColumn<QString>("recipe");
  QTest::addColumn<qulonglong>("shard");
  const auto row = [](const char* name, const char* recipe, qulonglong shard = 5ull << 30) {
    QTest::newRow(name) << recipe << shard;
  };
  row("int4", R"({"version":1,"default":{"scheme":"int4-g32-asym","method":"rtn"}})");
  row("int4 sharded", R"({"version":1,"default":{"scheme":"int4-g32-asym","method":"rtn"}})",
      20000);
  row("symmetric", R"({"version":1,"default":{"scheme":"int4-g32-sym","method":"rtn"}})");
  row("8 bits", R"({"version":1,"default":{"scheme":"int8-channel-sym","method":"rtn"}})", 30000);
  row("ragged", R"({"version":1,"default":{"scheme":"int4-g64-sym","method":"rtn"}})");
  row("3 bits", R"({"version":1,"default":{"scheme":"int3-g32-asym","method":"rtn"}})");
  row("mixed", R"({"version":1,"default":{"scheme":"int4-g32-sym","method":"rtn"},
      "rules":[{"match":"*.down_proj","scheme":"int8-g32-sym"},{"match":"*embed*","scheme":"f16"}],
      "exclude":["*.q_proj"]})");
  row("blocks", R"({"version":1,"default":{"scheme":"q4_1","method":"rtn"},
      "rules":[{"match":"*embed*","scheme":"q8_0"}]})",
      20000);
  row("mix", R"({"version":1,"default":{"scheme":"Q4_K_M","method":"rtn"}})");
  row("floats", R"({"version":1,"default":{"scheme":"f16","method":"rtn"}})", 10000);
  row("nf4", R"({"version":1,"default":{"scheme":"nf4-b64-dq","method":"rtn"}})");
  row("f8", R"({"version":1,"default":{"scheme":"f8_e4m3-channel","method":"rtn"},
      "activations":"f8_e4m3-token-dynamic"})");
  row("f8 blocks", R"({"version":1,"default":{"scheme":"f8_e4m3-b128x128","method":"rtn"}})");
  row("llm-int8", R"({"version":1,"default":{"scheme":"int8-channel-sym","method":"llm-int8"}})");
  row("static", R"({"version":1,"default":{"scheme":"int8-channel-sym","method":"rtn"},
      "activations":"int8-tensor-static",
      "kv":{"k":"f8_e4m3-static","v":"f8_e4m3-static"}})");
  row("gptq", R"({"version":1,"default":{"scheme":"int4-g32-sym","method":"gptq"}})");
  row("act-order", R"({"version":1,"default":{"scheme":"int4-g32-asym","method":"gptq",
      "params":{"act_order":1}}})");
  row("awq", R"({"version":1,"default":{"scheme":"int4-g32-asym","method":"awq"}})", 20000);
}

void TestDoctor::predicted_size() {
  QFETCH(QString, recipe);
  QFETCH(qulonglong, shard);
  static const auto compute = std::move(*make_cpu_compute());
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = opened(path_of(dir) / "model");
  const auto wanted = recipe_from_json(Json::parse(recipe.toStdString()), "recipe");
  QVERIFY2(wanted.ok(), wanted.ok() ? "" : wanted.error().text().c_str());
  const auto text = some_text();
  int written = 0;
  for (const Exporter* exporter : all_exporters()) {
    const std::string id(exporter->id);
    auto plan = make_plan(*model, *wanted);
    QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
    fit_plan(*plan, *model, *exporter);
    ExportOptions options{path_of(dir) / id, "small"};
    options.shard_limit = shard;
    options.accept_warnings = true;
    const auto predicted = predict_export(*model, *plan, *exporter, options);
    QVERIFY2(predicted.ok(), predicted.ok() ? "" : predicted.error().text().c_str());
    QVERIFY(!fs::exists(options.folder));
    if (!blocking_findings(predicted->findings, "", true).empty()) {
      QVERIFY(predicted->files.empty());
      continue;
    }
    Feedback feedback;
    QuantizeOptions job;
    job.result_folder = path_of(dir) / (id + ".result");
    job.samples = &text;
    const auto summary = run_quantize(*model, *plan, *compute, job, feedback);
    QVERIFY2(summary.ok(), summary.ok() ? "" : summary.error().text().c_str());
    const auto kept = opened(job.result_folder);
    const auto outcome = run_export(*kept, *exporter, options, feedback);
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : (id + ": " + outcome.error().text()).c_str());
    QCOMPARE(outcome->bytes, predicted->bytes);
    std::uint64_t sum = 0;
    for (const auto& [name, bytes] : sizes_of(*predicted)) {
      const auto file = options.folder / name;
      QVERIFY2(fs::exists(file), file.c_str());
      QVERIFY2(fs::file_size(file) == bytes,
               (id + "/" + name + ": " + std::to_string(fs::file_size(file)) + " bytes, " +
                std::to_string(bytes) + " expected")
                   .c_str());
      sum += bytes;
    }
    QCOMPARE(sum, predicted->bytes);
    // The kept result says the same as the plan did.
    const auto again = predict_export(*kept, *exporter, options);
    QVERIFY(again.ok());
    QCOMPARE(sizes_of(*again), sizes_of(*predicted));
    ++written;
  }
  if (written == 0)
    QSKIP("no format holds such weights");
}

void TestDoctor::what_blocks() {
  const std::vector<Finding> all{{Level::note, {}, "note"},
                                 {Level::warning, {}, "for all"},
                                 {Level::warning, {}, "for vllm", "vllm"},
                                 {Level::refuse, "m", "not for mlx", "mlx"},
                                 {Level::refuse, "m", "impossible"}};
  const auto messages = [&](const char* runtime, bool accepted, std::size_t count = 5) {
    std::vector<std::string> out;
    for (const auto& finding :
         blocking_findings({all.begin(), all.begin() + int(count)}, runtime, accepted))
      out.push_back(finding.message);
    return out;
  };
  using List = std::vector<std::string>;
  QCOMPARE(messages("", false), (List{"for all", "impossible"}));
  QCOMPARE(messages("", true), (List{"impossible"}));
  QCOMPARE(messages("vllm", false), (List{"for all", "for vllm", "impossible"}));
  QCOMPARE(messages("vllm", true, 4), (List{}));
  QCOMPARE(messages("mlx", true, 4), (List{"not for mlx"}));
  QCOMPARE(messages("", true, 4), (List{}));
  const auto stopped = stop_if_blocked({all[1], all[2]}, *find_exporter("gguf"), "vllm", false);
  QVERIFY(!stopped.ok());
  QCOMPARE(stopped.error().code, std::string("warnings"));
  QVERIFY(stopped.error().message.find("for vllm") != std::string::npos);
}

void TestDoctor::warnings_stop_until_accepted() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  // vLLM joins q, k and v.
  const auto model = quantized(path_of(dir) / "model", [](const Module& m) {
    return m.role == "q_proj" ? "int8-g32-sym" : "int4-g32-sym";
  });
  Feedback feedback;
  ExportOptions options{path_of(dir) / "out", "small"};
  const Exporter& exporter = *find_exporter("compressed-tensors");
  options.runtime = "vllm";
  const auto stopped = run_export(*model, exporter, options, feedback);
  QVERIFY(!stopped.ok());
  QCOMPARE(stopped.error().code, std::string("warnings"));
  QVERIFY2(stopped.error().message.find("q, k, v") != std::string::npos,
           stopped.error().message.c_str());
  QVERIFY(!fs::exists(options.folder));
  options.accept_warnings = true;
  QVERIFY(run_export(*model, exporter, options, feedback).ok());
  ExportOptions anywhere{path_of(dir) / "anywhere", "small"};
  const auto outcome = run_export(*model, exporter, anywhere, feedback);
  QVERIFY(outcome.ok());
  QVERIFY(noted(outcome->notes, "for vllm"));
}

QTEST_GUILESS_MAIN(TestDoctor)
#include "tst_doctor.moc"
