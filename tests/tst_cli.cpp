// SPDX-License-Identifier: GPL-3.0-or-later
// The command line end to end on the demo model: every verb, the JSON contract, exit codes, and bad
// inputs that must leave nothing behind.
#include "core/base/json.h"
#include "tests/support.h"

#include <cmath>
#include <QDir>
#include <QFile>
#include <QProcess>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QTest>
#include <unistd.h>

using namespace bitlathe;

namespace {

struct Run {
  int code = -1;
  Json json;
  QString out, err;
};

Run run(const QStringList& arguments, const QStringList& environment = {}) {
  QProcess process;
  auto variables = QProcessEnvironment::systemEnvironment();
  for (const QString& assignment : environment)
    variables.insert(assignment.section('=', 0, 0), assignment.section('=', 1));
  process.setProcessEnvironment(variables);
  process.start(QString(BITLATHE_BIN_DIR) + "/bitlathe-cli", arguments);
  Run result;
  if (!process.waitForFinished(120000))
    return result;
  result.code = process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2;
  result.out = QString::fromUtf8(process.readAllStandardOutput());
  result.err = QString::fromUtf8(process.readAllStandardError());
  if (arguments.contains("--json") && !result.out.isEmpty())
    result.json = Json::parse(result.out.toStdString(), nullptr, false);
  return result;
}

const QString demo = QString::fromStdString(test::demo_model().string());

#define RUN_OK(result, ...)                                                                        \
  const Run result = run(__VA_ARGS__);                                                             \
  QVERIFY2(result.code == 0, qPrintable(result.err + result.out));

bool has_keys(const Json& json, const QStringList& keys) {
  for (const QString& key : keys)
    if (!json.contains(key.toStdString())) {
      qWarning("missing key %s", qPrintable(key));
      return false;
    }
  return true;
}

} // namespace

class TestCli : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;

  QString path(const QString& name) const { return dir_.filePath(name); }
  QString evaluation() const { return demo + "/evaluation.txt"; }

 private Q_SLOTS:
  void help() {
    QCOMPARE(run({}).code, 2);
    QCOMPARE(run({"--help"}).code, 0);
    RUN_OK(quantize, {"quantize", "--help"});
    QVERIFY(quantize.out.contains("--exclude"));
    QCOMPARE(run({"frobnicate"}).code, 2);
    QCOMPARE(run({"stats"}).code, 2);
    QCOMPARE(run({"info", demo, "extra"}).code, 2);
    QCOMPARE(run({"info", demo, "--no-such-option"}).code, 2);
    QCOMPARE(run({"perplexity", demo, "--text", evaluation(), "--context", "many"}).code, 2);
  }

  void notYetAvailable() {
    for (const QStringList& arguments :
         {QStringList{"quantize", demo, "-o", path("x"), "--resume"},
          {"quantize", demo, "-o", path("x"), "--memory-cap", "1G"}}) {
      const Run result = run(arguments);
      QCOMPARE(result.code, 2);
      QVERIFY(result.err.contains("not available yet"));
    }
  }

  void devices() {
    RUN_OK(result, {"devices", "--json"});
    QVERIFY(!result.json["devices"].empty());
    QVERIFY(has_keys(result.json["devices"][0],
                     {"name", "backend", "type", "memory_bytes", "default"}));
    QCOMPARE(run({"devices", "--json"}, {"BITLATHE_ISA=z80"}).code, 1);
    RUN_OK(scalar, {"devices", "--json"}, {"BITLATHE_ISA=scalar"});
    QVERIFY(scalar.out.contains("scalar"));
    QCOMPARE(run({"devices", "--json"}, {"BITLATHE_THREADS=none"}).code, 1);
  }

  void models() {
    const QString home = path("home");
    const QString folder = home + "/.lmstudio/models/someone/demo";
    QVERIFY(QDir().mkpath(folder));
    for (const char* name : {"/model.safetensors", "/config.json"})
      QVERIFY(QFile::link(demo + name, folder + name));
    const QStringList elsewhere{"HOME=" + home, "HF_HOME=" + home + "/hf"};
    RUN_OK(listed, {"info", "--json"}, elsewhere);
    QVERIFY(has_keys(listed.json, {"models", "places", "notes"}));
    Json found;
    for (const auto& model : listed.json["models"])
      if (model["source"] == "lmstudio")
        found = model;
    QVERIFY(has_keys(found, {"name", "source", "path", "format", "quant", "bytes", "modified"}));
    QVERIFY(found["name"] == "someone/demo");
    QVERIFY(found["format"] == "safetensors");
    RUN_OK(shown, {"info"}, elsewhere);
    QVERIFY(shown.out.contains("LM Studio"));
    RUN_OK(opened, {"info", QString::fromStdString(found["path"]), "--json"});
    QVERIFY(has_keys(opened.json, {"name", "summary", "peak_rss_bytes", "seconds"}));
    QVERIFY(opened.json["summary"]["schemes"][0]["scheme"] == "bf16");
    QVERIFY(opened.json["summary"]["facts"]["layers"] == "4");
  }

  void bench() {
    RUN_OK(result, {"bench", "--kernel", "quantize_int4", "--json"});
    QVERIFY(result.json["machine"]["memory_gb_per_s"].get<double>() > 0);
    QCOMPARE(result.json["kernels"].size(), std::size_t(1));
    QVERIFY(has_keys(result.json["kernels"][0],
                     {"name", "backend", "gb_per_s", "gflops", "fraction_of_peak"}));
    QVERIFY(result.json["kernels"][0]["gb_per_s"].get<double>() > 0);
    QCOMPARE(run({"bench", "--kernel", "nothing", "--json"}).code, 1);
  }

  void missingDeviceIsNotSilent() {
    RUN_OK(result, {"quantize", demo, "-o", path("no-device"), "--backend", "vulkan", "--json"},
           {"VK_ICD_FILENAMES=/nonexistent", "VK_DRIVER_FILES=/nonexistent"});
    QVERIFY(result.json["notes"].dump().find("No Vulkan device") != std::string::npos);
    QCOMPARE(run({"devices", "--backend", "vulkan"}, {"BITLATHE_GPU=none such"}).code, 1);
  }

  void info() {
    RUN_OK(result, {"info", demo, "--json"});
    QVERIFY(has_keys(result.json, {"format", "architecture", "parameters", "bytes", "modules",
                                   "tokenizer", "notes"}));
    QVERIFY(result.json["architecture"] == "llama");
    QVERIFY(result.json["tokenizer"]["vocab_size"] == 2048);
    for (const auto& module : result.json["modules"])
      QVERIFY(has_keys(module, {"name", "role", "shape", "dtype", "scheme", "bytes"}));
  }

  void statsAgainst() {
    RUN_OK(quantized, {"quantize", demo, "-o", path("against"), "--scheme", "int4-g128-asym",
                       "--method", "rtn", "--json"});
    RUN_OK(result, {"stats", demo, "--against", path("against"), "--json"});
    QVERIFY(result.json["against"]["only_there"].empty());
    std::map<std::string, Json> said;
    for (const auto& module : quantized.json["modules"])
      said[module["name"].get<std::string>()] = module;
    int compared = 0;
    for (const auto& module : result.json["modules"]) {
      const Json& error = module["against"];
      QVERIFY(has_keys(error, {"name", "scheme", "mse", "sqnr_db", "cosine", "max_abs"}));
      const Json& told = said[module["name"].get<std::string>()];
      if (told["mse"].is_number() && told["mse"].get<double>() > 0) { // as the job measured it
        QVERIFY(std::abs(error["mse"].get<double>() / told["mse"].get<double>() - 1) < 1e-9);
        QVERIFY(std::abs(error["sqnr_db"].get<double>() - told["sqnr_db"].get<double>()) < 1e-6);
        ++compared;
      } else {
        QVERIFY(error["mse"].get<double>() == 0);
        QVERIFY(error["cosine"].get<double>() == 1);
      }
    }
    QCOMPARE(compared, 28);
    QCOMPARE(run({"stats", demo, "--against", path("nothing")}).code, 1);
  }

  void stats() {
    RUN_OK(result,
           {"stats", demo, "--calibration", demo + "/calibration.txt", "--samples", "2", "--json"});
    int with_activations = 0;
    for (const auto& module : result.json["modules"]) {
      QVERIFY(has_keys(module["weight"],
                       {"min", "max", "absmax", "mean", "std", "kurtosis", "outlier_fraction"}));
      with_activations += module.contains("activation");
    }
    QVERIFY(with_activations >= 28);
  }

  void histogram() {
    const QString png = path("h.png");
    RUN_OK(result, {"histogram", demo, "--tensor", "model.layers.0.mlp.down_proj.weight", "--bins",
                    "64", "--png", png, "--json"});
    QCOMPARE(result.json["counts"].size(), std::size_t(64));
    QCOMPARE(result.json["edges"].size(), std::size_t(65));
    std::uint64_t total = 0;
    for (const auto& count : result.json["counts"])
      total += count.get<std::uint64_t>();
    QCOMPARE(total, std::uint64_t(256 * 768)); // every value, not a sample
    QFile file(png);
    QVERIFY(file.open(QIODevice::ReadOnly));
    QVERIFY(file.read(4) == QByteArray("\x89PNG", 4));
    QCOMPARE(run({"histogram", demo, "--tensor", "nothing", "--json"}).code, 1);
  }

  void plantOutliers() {
    const QString planted = path("planted");
    RUN_OK(result,
           {"plant-outliers", demo, "-o", planted, "--channels", "3", "--seed", "5", "--json"});
    QVERIFY(
        has_keys(result.json, {"output", "bytes", "factor", "seed", "exact", "norms", "notes"}));
    QCOMPARE(result.json["norms"].size(), std::size_t(8));
    QCOMPARE(result.json["norms"][0]["channels"].size(), std::size_t(3));
    QCOMPARE(result.json["factor"].get<double>(), 64.0);
    QVERIFY(result.json["exact"].get<bool>());
    QVERIFY(QFile::exists(planted + "/outliers.json"));
    QCOMPARE(run({"plant-outliers", demo, "-o", planted}).code, 1); // not empty
    QCOMPARE(run({"plant-outliers", demo}).code, 2);
    QCOMPARE(run({"plant-outliers", demo, "-o", path("no"), "--factor", "1"}).code, 2);
    QCOMPARE(run({"plant-outliers", demo, "-o", path("no"), "--channels", "256"}).code, 1);
    QVERIFY(!QFile::exists(path("no")));
  }

  void tokenize() {
    QFile text(path("t.txt"));
    QVERIFY(text.open(QIODevice::WriteOnly));
    text.write("Once upon a time");
    text.close();
    RUN_OK(result, {"tokenize", demo, "--text", path("t.txt"), "--json"});
    QVERIFY(!result.json["ids"].empty());
  }

  void generateSets() {
    const QString set = path("prompts.txt"), kept = path("transcripts.json");
    QFile file(set);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("Once upon a time\nOne day, Tom\n");
    file.close();
    RUN_OK(result,
           {"generate", demo, demo, "--prompts", set, "--max-new", "6", "-o", kept, "--json"});
    QCOMPARE(result.json["transcripts"].size(), std::size_t(2));
    QCOMPARE(result.json["transcripts"][1]["sides"].size(), std::size_t(2));
    QCOMPARE(result.json["transcripts"][1]["prompt"].get<std::string>(),
             std::string("One day, Tom"));
    QCOMPARE(result.json["summary"][0]["same"].get<int>(), 2); // a model beside itself
    QVERIFY(std::fabs(result.json["summary"][0]["kl_mean"].get<double>()) < 1e-9);
    RUN_OK(alone, {"generate", demo, "--prompt", "One day, Tom", "--max-new", "6", "--json"});
    QVERIFY(alone.json["tokens"] == result.json["transcripts"][1]["sides"][0]["ids"]);
    // Nothing is left to do; another seed is another run.
    RUN_OK(again, {"generate", demo, demo, "--prompts", set, "--max-new", "6", "-o", kept,
                   "--resume", "--json"});
    QVERIFY(again.json["transcripts"] == result.json["transcripts"]);
    QVERIFY(again.json["notes"].dump().find("2 of 2 prompts") != std::string::npos);
    QCOMPARE(run({"generate", demo, "--prompts", set, "--prompt", "x"}).code, 2);
    QCOMPARE(run({"generate", demo, demo, "--prompt", "x"}).code, 2);
    QCOMPARE(run({"generate", demo, "--prompts", set, "-o", path("t.doc"), "--json"}).code, 1);
    QCOMPARE(run({"generate", demo, "--prompts", path("none.txt"), "--json"}).code, 1);
  }
  void generate() {
    RUN_OK(result, {"generate", demo, "--prompt", "Once upon a time", "--max-new", "8",
                    "--logprobs", "3", "--json"});
    QVERIFY(has_keys(result.json, {"text", "tokens", "tokens_per_second",
                                   "prompt_tokens_per_second", "peak_rss_bytes", "steps"}));
    const auto& steps = result.json["steps"];
    QCOMPARE(steps.size(), result.json["prompt_tokens"].size() + result.json["tokens"].size());
    QVERIFY(steps[0]["logprob"].is_null());
    for (std::size_t i = 1; i < steps.size(); ++i) {
      QVERIFY(steps[i]["logprob"].get<double>() <= 0);
      QCOMPARE(steps[i]["top"].size(), std::size_t(3));
    }
    // Greedy: every new token is the likeliest one.
    QVERIFY(steps.back()["top"][0]["id"] == steps.back()["id"]);
    // The same ids through a file give the same continuation.
    QFile ids(path("ids.json"));
    QVERIFY(ids.open(QIODevice::WriteOnly));
    ids.write(QByteArray::fromStdString(result.json["prompt_tokens"].dump()));
    ids.close();
    RUN_OK(again, {"generate", demo, "--ids", path("ids.json"), "--max-new", "8", "--json"});
    QVERIFY(again.json["tokens"] == result.json["tokens"]);
    RUN_OK(sampled, {"generate", demo, "--prompt", "Once", "--max-new", "8", "--temperature", "0.8",
                     "--seed", "3", "--kv", "int8,q4_0", "--json"});
    RUN_OK(sampled_again, {"generate", demo, "--prompt", "Once", "--max-new", "8", "--temperature",
                           "0.8", "--seed", "3", "--kv", "int8,q4_0", "--json"});
    QVERIFY(sampled.json["tokens"] == sampled_again.json["tokens"]);
  }

  void memory_cap() {
    const QStringList compare{"compare",   demo, demo,       "--text", evaluation(),
                              "--context", "64", "--chunks", "2",      "--json"};
    RUN_OK(roomy, compare);
    RUN_OK(tight, compare + QStringList{"--memory-cap", "5M"});
    for (const char* key : {"perplexity", "kld_mean", "top1_agreement"})
      QVERIFY(tight.json["models"][0][key] == roomy.json["models"][0][key]);
    QVERIFY(tight.json["noise_floor"] == roomy.json["noise_floor"]);
    QVERIFY(roomy.json["peak_weight_bytes"].get<std::int64_t>() > 5 << 20);
    QVERIFY(tight.json["peak_weight_bytes"].get<std::int64_t>() <= 5 << 20);
    QVERIFY(tight.json["block_loads"].get<int>() > roomy.json["block_loads"].get<int>());
    QCOMPARE(run({"perplexity", demo, "--text", evaluation(), "--memory-cap", "much"}).code, 2);
  }

  void chat() {
    RUN_OK(result, {"generate", demo, "--prompt", "Hello", "--chat", "--max-new", "3", "--json"});
    QCOMPARE(QString::fromStdString(result.json["rendered"].get<std::string>()),
             QStringLiteral("User: Hello\nAssistant:"));
    QVERIFY(!result.json["stop_tokens"].empty());
    QFile messages(path("messages.json"));
    QVERIFY(messages.open(QIODevice::WriteOnly));
    messages.write(R"([{"role": "user", "content": "Hello"}])");
    messages.close();
    RUN_OK(tokens, {"tokenize", demo, "--chat", path("messages.json"), "--json"});
    QVERIFY(tokens.json["ids"] == result.json["prompt_tokens"]);
    QFile other(path("other.jinja"));
    QVERIFY(other.open(QIODevice::WriteOnly));
    other.write("{% for m in messages %}{{ m.content | conjure }}{% endfor %}");
    other.close();
    const Run failed = run({"generate", demo, "--prompt", "Hello", "--chat", "--chat-template",
                            path("other.jinja"), "--json"});
    QCOMPARE(failed.code, 1);
    const auto message = failed.json["error"]["message"].get<std::string>();
    QVERIFY2(message.find("conjure") != std::string::npos, message.c_str());
    // --system without --chat would be ignored silently.
    QCOMPARE(run({"generate", demo, "--prompt", "Hello", "--system", "Be kind."}).code, 2);
  }

  void mainJob_data() {
    QTest::addColumn<QString>("format");
    QTest::addColumn<QStringList>("options");
    QTest::addColumn<double>("ratio");
    QTest::addColumn<double>("tolerance");
    // Ratios of an independent implementation of the same arithmetic on the whole evaluation text;
    // 12 windows here.
    QTest::newRow("int4") << "compressed-tensors"
                          << QStringList{"--scheme", "int4-g128-asym", "--method", "rtn"} << 1.006
                          << 0.02;
    QTest::newRow("int8") << "compressed-tensors"
                          << QStringList{"--scheme", "int8-channel-sym", "--method", "rtn"}
                          << 1.0003 << 0.003;
    QTest::newRow("w8a8") << "compressed-tensors"
                          << QStringList{"--scheme", "int8-channel-sym", "--activations",
                                         "int8-token-dynamic"}
                          << 1.0 << 0.01;
    QTest::newRow("q4_0") << "gguf" << QStringList{"--scheme", "q4_0", "--method", "rtn"} << 1.015
                          << 0.03;
    QTest::newRow("safetensors") << "safetensors" << QStringList{"--scheme", "int8-g32-sym"} << 1.0
                                 << 0.005;
  }
  void mainJob() {
    QFETCH(QString, format);
    QFETCH(QStringList, options);
    QFETCH(double, ratio);
    QFETCH(double, tolerance);
    const QString out = path(QString("out-") + QTest::currentDataTag());
    RUN_OK(quantized,
           QStringList{"quantize", demo, "-o", out, "--format", format, "--json"} + options);
    QVERIFY(has_keys(quantized.json, {"output", "format", "bytes_before", "bytes_after",
                                      "bits_per_weight", "bits_per_quantized_weight", "seconds",
                                      "peak_rss_bytes", "backend", "modules", "notes"}));
    for (const auto& module : quantized.json["modules"])
      QVERIFY(has_keys(
          module, {"name", "scheme", "method", "reason", "bytes", "mse", "sqnr_db", "cosine"}));
    const QString output = QString::fromStdString(quantized.json["output"].get<std::string>());
    QVERIFY(QFile::exists(output));
    RUN_OK(info, {"info", output, "--json"});
    RUN_OK(verified, {"verify", output, "--against", demo, "--json"});
    QVERIFY(verified.json["ok"].get<bool>());
    QVERIFY(!verified.json["checks"].empty());
    RUN_OK(compared, {"compare", demo, output, "--text", evaluation(), "--context", "256",
                      "--chunks", "12", "--json"});
    const auto& model = compared.json["models"][0];
    QVERIFY(has_keys(model, {"path", "bytes", "perplexity", "ppl_ratio", "kld_mean", "kld_stderr",
                             "kld_p99", "top1_agreement"}));
    QVERIFY2(std::fabs(model["ppl_ratio"].get<double>() - ratio) < tolerance, model.dump().c_str());
    QVERIFY(model["kld_mean"].get<double>() > 0);
    QVERIFY(compared.json["noise_floor"].get<double>() >= 0);
    RUN_OK(perplexity, {"perplexity", output, "--text", evaluation(), "--context", "256",
                        "--chunks", "12", "--json"});
    QVERIFY(has_keys(perplexity.json,
                     {"perplexity", "stderr", "tokens", "seconds", "tokens_per_second"}));
    QVERIFY(perplexity.json["tokens"] == 12 * 127);
    QVERIFY(
        std::fabs(perplexity.json["perplexity"].get<double>() / model["perplexity"].get<double>() -
                  1) < 1e-5);
    RUN_OK(generated, {"generate", output, "--prompt", "One day,", "--max-new", "4", "--json"});
    // The same folder again is refused without --force, and the file keeps its bytes with it.
    const Run refused =
        run(QStringList{"quantize", demo, "-o", out, "--format", format, "--json"} + options);
    QCOMPARE(refused.code, 1);
    QVERIFY(refused.json["error"]["message"].get<std::string>().find("--force") !=
            std::string::npos);
    RUN_OK(forced,
           QStringList{"quantize", demo, "-o", out, "--format", format, "--force", "--json"} +
               options);
  }

  void exportFromKeptResult() {
    const QString out = path("kept");
    RUN_OK(quantized, {"quantize", demo, "-o", out, "--scheme", "int4-g32-sym", "--format",
                       "compressed-tensors,safetensors", "--json"});
    QCOMPARE(quantized.json["outputs"].size(), std::size_t(2));
    RUN_OK(gguf, {"export", out, "--format", "gguf", "-o", path("kept-gguf"), "--json"});
    const QString file = QString::fromStdString(gguf.json["output"].get<std::string>());
    QVERIFY2(file.endsWith(".gguf") && QFile::exists(file), qPrintable(file));
    RUN_OK(verified, {"verify", file, "--against", out + "/compressed-tensors", "--json"});
  }

  void rulesAndDryRun() {
    RUN_OK(plan, {"quantize", demo, "--dry-run", "--scheme", "int4-g128-asym", "--exclude", "*.0.*",
                  "*.k_proj", "--set", "*.v_proj=int8-channel-sym:mse", "--param", "mse.steps=8",
                  "--json"});
    for (const auto& module : plan.json["modules"]) {
      const auto name = module["name"].get<std::string>();
      if (name == "model.layers.1.self_attn.v_proj")
        QVERIFY(module["scheme"] == "int8-channel-sym");
      if (name == "model.layers.0.self_attn.v_proj" || name == "model.layers.2.self_attn.k_proj")
        QVERIFY(module["scheme"] == "bf16");
      QVERIFY(!module["reason"].get<std::string>().empty());
    }
  }

  void calibrationAndStatistics() {
    for (const QString format : {"own", "imatrix-gguf", "imatrix-dat"}) {
      const QString file = path("stats-" + format);
      RUN_OK(calibrated,
             {"calibrate", demo, "--calibration", demo + "/calibration.txt", "--samples", "4",
              "--length", "128", "--format", format, "-o", file, "--json"});
      QVERIFY(calibrated.json["samples"] == 4);
      QVERIFY(calibrated.json["tokens"] == 512);
      RUN_OK(quantized, {"quantize", demo, "-o", path("q-" + format), "--scheme", "int3-g128-asym",
                         "--method", "mse", "--statistics", file, "--json"});
    }
  }

  /// Methods that calibrate need text, said before any work; without an export the result is kept
  /// and every verb opens it; tasks are counted and paired.
  void calibratedMethodsAndTasks() {
    const Run without = run({"quantize", demo, "-o", path("gptq"), "--method", "gptq", "--json"});
    QCOMPARE(without.code, 1);
    QVERIFY(without.json["error"]["message"].get<std::string>().find("--calibration") !=
            std::string::npos);
    QVERIFY(!QFile::exists(path("gptq")));
    RUN_OK(kept, {"quantize", demo, "-o", path("gptq"), "--scheme", "int2-g64-asym", "--method",
                  "gptq", "--param", "gptq.act_order=1", "--calibration", demo + "/calibration.txt",
                  "--samples", "2", "--length", "64", "--format", "none", "--json"});
    QVERIFY(kept.json["format"] == "none");
    int with_error = 0;
    for (const Json& module : kept.json["modules"])
      with_error += module.contains("output_error");
    QCOMPARE(with_error, 28);
    const QString result = QString::fromStdString(kept.json["output"].get<std::string>());

    QFile tasks(path("tasks.jsonl"));
    QVERIFY(tasks.open(QFile::WriteOnly));
    tasks.write("{\"prompt\": \"Count: 29, 30, 31, 32,\", \"answer\": \"33\"}\n"
                "{\"prompt\": \"Count: 29, 30, 31, 32,\", \"answer\": \"3\"}\n"
                "\n{\"prompt\": \"Count: 5, 6, 7,\", \"answer\": \"8\", \"task\": \"count\"}\n");
    tasks.close();
    RUN_OK(judged, {"evaluate", demo, result, demo, "--data", path("tasks.jsonl"), "--json"});
    const Json& models = judged.json["models"];
    QCOMPARE(models.size(), std::size_t(3));
    QVERIFY(models[0]["right"] == 2); // "3" is not "33"
    QVERIFY(models[0]["n"] == 3);
    QVERIFY(models[0]["paired_p"].is_null());
    QVERIFY(models[0]["ci_low"].get<double>() < 0.667 &&
            models[0]["ci_high"].get<double>() > 0.667);
    QVERIFY(models[2]["right"] == 2);
    QVERIFY(models[2]["paired_p"] == 1.0);
    QVERIFY(models[0]["kinds"]["count"]["right"] == 1);

    QVERIFY(tasks.open(QFile::WriteOnly));
    tasks.write("{\"prompt\": \"x\"}\n");
    tasks.close();
    const Run broken = run({"evaluate", demo, "--data", path("tasks.jsonl"), "--json"});
    QCOMPARE(broken.code, 1);
    QVERIFY(broken.json["error"]["where"].get<std::string>().find("line 1") != std::string::npos);
    QCOMPARE(run({"evaluate", demo}).code, 2);
    QCOMPARE(run({"evaluate", demo, "--task", "guess", "--data", path("tasks.jsonl")}).code, 2);

    QVERIFY(tasks.open(QFile::WriteOnly));
    for (const char* answer : {"33", "34"})
      tasks.write(QByteArray("{\"prompt\": \"Count: 29, 30, 31, 32,\", \"answer\": \"") + answer +
                  "\"}\n");
    tasks.close();
    RUN_OK(texts, {"evaluate", demo, demo, "--task", "bleu", "--data", path("tasks.jsonl"),
                   "--shots", "1", "--outputs", path("said.jsonl"), "--json"});
    QVERIFY(texts.json["models"][0]["metric"] == "bleu");
    QVERIFY(texts.json["models"][0]["n"] == 1); // the other one is an example
    QVERIFY(texts.json["models"][1]["paired_p"] == 1.0);
    QFile said(path("said.jsonl"));
    QVERIFY(said.open(QFile::ReadOnly));
    const Json line = Json::parse(said.readLine().toStdString());
    QVERIFY(line["prompt"] == "Count: 29, 30, 31, 32, 33\n\nCount: 29, 30, 31, 32,");
    QVERIFY(line["right"] == "34");
    QVERIFY(line["said"].is_string());
  }

  void calibrationTextIsKeptApart() {
    const QString text = demo + "/calibration.txt";
    RUN_OK(quantized, {"quantize", demo, "-o", path("apart"), "--scheme", "int4-g128-asym",
                       "--method", "mse", "--calibration", text + ":split=calibration", "--samples",
                       "8", "--length", "128", "--json"});
    const Json& used = quantized.json["calibration"];
    QVERIFY(has_keys(used, {"tokens_used", "tokens_available", "vocabulary_share", "documents"}));
    QVERIFY(used["tokens_used"] == 1024);
    QVERIFY(used["files"][0]["split"] == "calibration");
    const auto judged = [&](const QString& on) {
      return run({"compare", demo, path("apart"), "--text", on, "--context", "128", "--chunks",
                  "60", "--json"});
    };
    const auto warns = [](const Run& run) {
      return run.json["notes"].dump().find("calibrated on") != std::string::npos;
    };
    const Run whole = judged(text), held_out = judged(text + ":split=evaluation");
    QVERIFY2(whole.code == 0 && held_out.code == 0, qPrintable(whole.err + held_out.err));
    QVERIFY(warns(whole));
    QVERIFY(!warns(held_out));
    const Run wrong = run(
        {"calibrate", demo, "--calibration", text + ":split=train", "-o", path("never"), "--json"});
    QCOMPARE(wrong.code, 2);
  }

  void setsAreComparedSideBySide() {
    RUN_OK(stats, {"stats", demo, "--calibration", demo + "/calibration.txt",
                   "--against-calibration", evaluation(), "--samples", "2", "--length", "64",
                   "--module", "*.0.mlp.down_proj", "--json"});
    QCOMPARE(stats.json["modules"].size(), std::size_t(1));
    const Json& other = stats.json["modules"][0]["activation_against"];
    QVERIFY(has_keys(other, {"absmax", "channel_absmax_ratio", "histogram_distance",
                             "importance_rank_correlation", "channel_absmax", "histogram"}));
    QCOMPARE(other["channel_absmax"][1].size(), std::size_t(768));
    QVERIFY(has_keys(stats.json, {"coverage", "against_coverage"}));
    QCOMPARE(run({"stats", demo, "--against-calibration", evaluation(), "--json"}).code, 2);
  }

  void refusalsNameModules() {
    const Run result = run({"quantize", demo, "-o", path("refused"), "--scheme", "int3-g128-asym",
                            "--format", "gguf", "--json"});
    QCOMPARE(result.code, 1);
    QVERIFY(result.json["error"]["code"] == "unsupported");
    QVERIFY(result.json["error"]["where"].get<std::string>().find("down_proj") !=
            std::string::npos);
    QVERIFY(!QFile::exists(path("refused")));
  }

  void errorsLeaveNothing() {
    const Run missing = run({"quantize", path("nowhere"), "-o", path("e1"), "--json"});
    QCOMPARE(missing.code, 1);
    QVERIFY(has_keys(missing.json["error"], {"code", "message", "where"}));
    QVERIFY(!QFile::exists(path("e1")));
    const Run scheme = run({"quantize", demo, "-o", path("e2"), "--scheme", "int99", "--json"});
    QCOMPARE(scheme.code, 1);
    QVERIFY(!QFile::exists(path("e2")));
    if (::geteuid() != 0) {
      const Run readonly = run({"quantize", demo, "-o", "/proc/self/out", "--json"});
      QCOMPARE(readonly.code, 1);
    }
    // A file-size limit stands for a full disk.
    QProcess process;
    process.start("sh", {"-c", QString("ulimit -f 600; exec \"$0\" \"$@\""),
                         QString(BITLATHE_BIN_DIR) + "/bitlathe-cli", "quantize", demo, "-o",
                         path("full"), "--json"});
    QVERIFY(process.waitForFinished(60000));
    QCOMPARE(process.exitCode(), 1);
    QVERIFY(!QFile::exists(path("full")));
    QDir left(dir_.path(), "*bitlathe-work*", QDir::Name, QDir::AllEntries | QDir::Hidden);
    QVERIFY2(left.isEmpty(), qPrintable(left.entryList().join(" ")));
  }

  void interruptedIsNotFailed() {
    QProcess process;
    process.start(QString(BITLATHE_BIN_DIR) + "/bitlathe-cli",
                  {"perplexity", demo, "--text", evaluation(), "--context", "256", "--json"});
    QVERIFY(process.waitForStarted());
    QTest::qWait(400);
    process.terminate();
    QVERIFY(process.waitForFinished(20000));
    QCOMPARE(process.exitStatus(), QProcess::NormalExit);
    QCOMPARE(process.exitCode(), 130);
  }
};

QTEST_GUILESS_MAIN(TestCli)
#include "tst_cli.moc"
