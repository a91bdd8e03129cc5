// SPDX-License-Identifier: GPL-3.0-or-later
// Exports of every kind: plain floats, fallbacks, refusals before a byte is written, shards, the
// way an export fails, and what the comparison notices. `run_export` compares tensor by tensor
// itself, so success already means equality.
#include "core/export/compare.h"
#include "core/export/memo.h"
#include "tests/export_support.h"

#include <csignal>
#include <sys/resource.h>

using namespace bitlathe;
using namespace bitlathe::test;

class TestExport : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void plain_safetensors();
  void fallbacks();
  void kv_scheme_travels();
  void refusals_data();
  void refusals();
  void shards();
  void failures_leave_nothing();
  void one_run_shares_its_work();
  void comparison_notices();
  void verify();
};

void TestExport::plain_safetensors() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  for (const char* scheme : {"", "f32", "f16", "int4-g32-asym", "q4_1", "int2-tensor-sym"}) {
    auto model = quantized(path_of(dir) / "model", parse_scheme(scheme).ok() && *scheme == 'f'
                                                       ? std::string()
                                                       : std::string(scheme));
    if (*scheme == 'f')
      for (auto& module : model->modules) {
        QTensor converted;
        converted.scheme = *parse_scheme(scheme);
        converted.rows = module.weight.rows;
        converted.cols = module.weight.cols;
        const auto type = converted.scheme.float_type;
        const auto n = converted.rows * converted.cols;
        converted.owned_codes.resize(std::size_t(n) * float_size(type));
        for (std::int64_t i = 0; i < n; ++i)
          store_float(type, converted.owned_codes.data(), i,
                      load_float(FloatType::bf16, module.weight.codes.data(), i));
        converted.own();
        module.weight = std::move(converted);
      }
    const auto out = path_of(dir) / ("out-" + std::string(scheme));
    const auto result = exported(*model, "safetensors", out);
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto back = opened(out);
    QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
    QVERIFY(!back->quantized());
    QCOMPARE(back->find_module("model.layers.0.mlp.up_proj")->weight.scheme.id,
             std::string(*scheme == 'f' ? scheme : "bf16"));
    QVERIFY(!read_json_file(out / "config.json")->contains("quantization_config"));
  }
}

void TestExport::fallbacks() {
  // 96 columns have no whole groups of 64: a channel for this format, and nothing else changes.
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = opened(path_of(dir) / "model");
  Recipe recipe;
  recipe.default_scheme = "int4-g64-asym";
  auto plan = make_plan(*model, recipe);
  QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
  const auto before = plan->bytes_after;
  fit_plan(*plan, *model, *find_exporter("compressed-tensors"));
  const auto* down = plan->find("model.layers.1.mlp.down_proj");
  QCOMPARE(down->scheme.id, std::string("int4-channel-asym"));
  QCOMPARE(down->reason_kind, std::string("fallback"));
  QVERIFY(down->reason.find("96 columns") != std::string::npos);
  QCOMPARE(plan->find("model.layers.1.mlp.up_proj")->scheme.id, std::string("int4-g64-asym"));
  // Two layers of 64 rows: one scale and zero point of 3 bytes less per row.
  QCOMPARE(plan->bytes_after, before - 2 * 64 * 3);
  QVERIFY(noted(plan->notes, "int4-channel-asym instead of int4-g64-asym"));
  for (const auto& finding :
       find_exporter("compressed-tensors")->examine(*model, export_modules(*model, *plan)))
    QVERIFY2(finding.level != Finding::Level::refuse, finding.message.c_str());

  // Rows without whole blocks of 32 stay f16 in a GGUF.
  make_small_model(path_of(dir) / "odd", false, 40);
  const auto odd = opened(path_of(dir) / "odd");
  recipe.default_scheme = "int8-g32-sym";
  auto gguf = make_plan(*odd, recipe);
  QVERIFY2(gguf.ok(), gguf.ok() ? "" : gguf.error().text().c_str());
  fit_plan(*gguf, *odd, *find_exporter("gguf"));
  QCOMPARE(gguf->find("model.layers.0.mlp.up_proj")->scheme.id, std::string("f16"));
  QVERIFY(gguf->find("model.layers.0.mlp.up_proj")->convert);
  QCOMPARE(gguf->find("model.layers.0.mlp.down_proj")->scheme.id, std::string("int8-g32-sym"));
}

void TestExport::kv_scheme_travels() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  for (const char* format : {"safetensors", "compressed-tensors"}) {
    const auto model = quantized(path_of(dir) / "model", "int4-g32-sym");
    model->kv_keys = "int8";
    model->kv_values = "q4_0";
    const auto result = exported(*model, format, path_of(dir) / format);
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto back = opened(path_of(dir) / format);
    QCOMPARE(back->kv_keys, std::string("int8"));
    QCOMPARE(back->kv_values, std::string("q4_0"));
  }
}

void TestExport::refusals_data() {
  QTest::addColumn<QString>("format");
  QTest::addColumn<QString>("scheme");
  QTest::addColumn<QString>("activations");
  QTest::addColumn<QString>("says");
  const auto row = [](const char* format, const char* scheme, const char* activations,
                      const char* says) {
    QTest::newRow((std::string(format) + " " + scheme + " " + activations).c_str())
        << format << scheme << activations << says;
  };
  row("gguf", "int4-g32-asym", "none", "nearest: q4_1");
  row("gguf", "int4-channel-sym", "none", "nearest: q4_0");
  row("gguf", "int4-g16-sym", "none", "nearest: q4_0");
  row("gguf", "int4-g32-sym-sbf16", "none", "f16 scales");
  row("gguf", "int3-g32-sym", "none", "nearest: q4_0");
  row("gguf", "int5-g32-sym", "none", "nearest: q8_0");
  row("gguf", "int8-tensor-sym", "none", "nearest: q8_0");
  row("gguf", "int8-g32-sym", "int8-token-dynamic", "activation");
  row("compressed-tensors", "q4_0", "none", "nearest: int4-g32-sym");
  row("compressed-tensors", "q8_0", "none", "nearest: int8-g32-sym");
  row("compressed-tensors", "q4_1", "none", "nearest: int4-g32-asym");
  row("compressed-tensors", "int4-g40-asym", "none", "int4-channel-asym");
  row("compressed-tensors", "int4-g32-sym", "int8-token-dynamic", "nearest: int8-channel-sym");
  row("compressed-tensors", "int8-channel-asym", "int8-token-dynamic", "nearest: int8-channel-sym");
  row("compressed-tensors", "int8-g32-sym", "int8-token-dynamic", "nearest: int8-channel-sym");
  row("compressed-tensors", "", "none", "nearest: safetensors");
  row("safetensors", "int8-channel-sym", "int8-token-dynamic", "compressed-tensors");
}

void TestExport::refusals() {
  QFETCH(QString, format);
  QFETCH(QString, scheme);
  QFETCH(QString, activations);
  QFETCH(QString, says);
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model =
      quantized(path_of(dir) / "model", scheme.toStdString(), activations.toStdString());
  const auto result = exported(*model, format.toLatin1().constData(), path_of(dir) / "a" / "out");
  QVERIFY(!result.ok());
  QCOMPARE(result.error().code, std::string("unsupported"));
  QVERIFY2(result.error().message.find(says.toStdString()) != std::string::npos,
           result.error().message.c_str());
  if (!scheme.isEmpty())
    QVERIFY2(result.error().message.find("model.layers.0.") != std::string::npos,
             result.error().message.c_str());
  QCOMPARE(entries(path_of(dir)), std::vector<std::string>{"model"});
}

void TestExport::shards() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = quantized(path_of(dir) / "model", "int4-g32-asym");
  const auto result = exported(*model, "compressed-tensors", path_of(dir) / "out", 20000);
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  QVERIFY(fs::exists(path_of(dir) / "out" / "model.safetensors.index.json"));
  QVERIFY(!fs::exists(path_of(dir) / "out" / "model.safetensors"));
}

/// The source is hashed once, and what it computes is computed once: what the memo says is what a
/// second export takes.
void TestExport::one_run_shares_its_work() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = quantized(path_of(dir) / "model", "int4-g32-asym");
  const auto memo = std::make_shared<ExportMemo>();
  const auto to = [&](const char* name) {
    ExportOptions options{path_of(dir) / name, "small"};
    options.accept_warnings = true;
    options.memo = memo;
    Feedback feedback;
    return run_export(*model, *find_exporter("compressed-tensors"), options, feedback);
  };
  const auto told = [](const ExportOutcome& outcome) {
    const Json manifest = *read_json_file(outcome.manifest);
    for (const Json& file : manifest["source"]["files"])
      if (file["name"] == "model.safetensors")
        return file["sha256"].get<std::string>();
    return std::string();
  };
  const auto first = to("first");
  QVERIFY2(first.ok(), first.ok() ? "" : first.error().text().c_str());
  QVERIFY(!memo->ids.empty());
  QCOMPARE(memo->logits.size(), memo->ids.size() * std::size_t(model->spec->vocab));
  const auto weights = path_of(dir) / "model" / "model.safetensors";
  QVERIFY(memo->hashes.count(weights) == 1);
  QCOMPARE(told(*first), memo->hashes[weights].sha256);

  memo->hashes[weights].sha256 = "taken from the memo";
  const auto second = to("second");
  QVERIFY2(second.ok(), second.ok() ? "" : second.error().text().c_str());
  QCOMPARE(told(*second), std::string("taken from the memo"));
  for (float& logit : memo->logits)
    logit += 1;
  const auto third = to("third");
  QVERIFY(!third.ok());
  QVERIFY2(third.error().message.find("logits") != std::string::npos, third.error().text().c_str());
  // A file that changed in between is hashed again.
  fs::last_write_time(weights, fs::last_write_time(weights) - std::chrono::hours(1));
  memo->ids.clear();
  const auto fourth = to("fourth");
  QVERIFY2(fourth.ok(), fourth.ok() ? "" : fourth.error().text().c_str());
  QCOMPARE(told(*fourth), told(*first));
}

void TestExport::failures_leave_nothing() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = quantized(path_of(dir) / "model", "int4-g32-sym");
  for (const Exporter* exporter : all_exporters()) {
    Feedback stopped;
    stopped.stop = true;
    const auto cancelled =
        run_export(*model, *exporter, {path_of(dir) / "x" / "out", "small"}, stopped);
    QVERIFY(!cancelled.ok());
    if (cancelled.error().code == "unsupported")
      continue; // the format does not hold such weights
    QVERIFY2(cancelled.error().cancelled(), cancelled.error().text().c_str());

    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit small = before;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    const auto full = exported(*model, std::string(exporter->id).c_str(), path_of(dir) / "out");
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    QVERIFY(!full.ok());
    QCOMPARE(full.error().code, std::string("no-space"));
    QVERIFY2(full.error().where.rfind((path_of(dir) / "out").string(), 0) == 0,
             full.error().where.c_str());

    fs::create_directory(path_of(dir) / "used");
    put(path_of(dir) / "used" / "file", "mine");
    const auto used = exported(*model, std::string(exporter->id).c_str(), path_of(dir) / "used");
    QVERIFY(!used.ok());
    QCOMPARE(used.error().code, std::string("bad-argument"));
    QCOMPARE(entries(path_of(dir) / "used"), std::vector<std::string>{"file"});
    QCOMPARE(entries(path_of(dir)), (std::vector<std::string>{"model", "used"}));
  }
}

void TestExport::comparison_notices() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto a = quantized(path_of(dir) / "model", "int4-g32-asym");
  Feedback feedback;
  const auto differs = [&](const std::function<void(Checkpoint&)>& change, const char* says) {
    const auto b = quantized(path_of(dir) / "model", "int4-g32-asym");
    change(*b);
    const auto result = compare_checkpoints(*a, *b, feedback);
    return !result.ok() && result.error().code == "mismatch" &&
           result.error().message.find(says) != std::string::npos;
  };
  QVERIFY(
      compare_checkpoints(*a, *quantized(path_of(dir) / "model", "int4-g32-asym"), feedback).ok());
  const auto flip = [](std::vector<std::byte>& bytes) { bytes.back() ^= std::byte(1); };
  QVERIFY(differs([&](Checkpoint& c) { flip(c.modules[2].weight.owned_codes); }, "codes"));
  QVERIFY(differs([&](Checkpoint& c) { flip(c.modules[2].weight.owned_scales); }, "scales"));
  QVERIFY(differs([&](Checkpoint& c) { flip(c.modules[2].weight.owned_zeros); }, "zero points"));
  QVERIFY(differs([](Checkpoint& c) { c.modules.pop_back(); }, "missing"));
  QVERIFY(differs([](Checkpoint& c) { c.modules[2].activations = "x"; }, "activation"));
  QVERIFY(differs([](Checkpoint& c) { c.modules[2].bias = QTensor(); }, "bias"));
}

void TestExport::verify() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto original = opened(path_of(dir) / "model");
  const auto compute = std::move(*make_cpu_compute());
  Feedback feedback;
  const auto problem = [](const VerifyReport& report) {
    std::string out;
    for (const auto& check : report.checks)
      if (!check.ok)
        out += check.name + ": " + check.detail + "\n";
    return out;
  };
  for (const auto& [format, scheme] :
       {std::pair("compressed-tensors", "int4-g32-asym"),
        std::pair("compressed-tensors", "int2-channel-sym"), std::pair("gguf", "q4_0"),
        std::pair("safetensors", "int3-g32-sym"), std::pair("gguf", "")}) {
    const auto model = quantized(path_of(dir) / "model", scheme);
    const auto out = path_of(dir) / (std::string(format) + scheme);
    const auto result = exported(*model, format, out);
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto report = verify_checkpoint(result->path, original.get(), *compute, feedback);
    QVERIFY2(report.ok(), report.ok() ? "" : report.error().text().c_str());
    QVERIFY2(report->ok, problem(*report).c_str());
    QVERIFY(report->checks.size() >= 4);
    if (*scheme) {
      QVERIFY(!report->worst.empty());
      QVERIFY(report->worst[0].mse > 0);
      QVERIFY(report->worst[0].sqnr_db < 60);
      for (std::size_t i = 1; i < report->worst.size(); ++i)
        QVERIFY(report->worst[i - 1].sqnr_db <= report->worst[i].sqnr_db);
    }
    const auto alone = verify_checkpoint(result->path, nullptr, *compute, feedback);
    QVERIFY(alone.ok() && alone->ok);
    // Against a packed reference: itself has no error.
    const auto self = opened(result->path);
    const auto same = verify_checkpoint(result->path, self.get(), *compute, feedback);
    QVERIFY2(same.ok() && same->ok, same.ok() ? problem(*same).c_str() : "");
  }

  // Rows of one matrix moved: the bytes are all there, the model is not.
  const auto out = path_of(dir) / "compressed-tensorsint4-g32-asym" / "model.safetensors";
  const auto tensors = by_name(read_safetensors(out)->tensors);
  const auto packed = tensors.at("model.layers.0.mlp.up_proj.weight_packed");
  const auto whole = *read_file(out);
  const auto offset = std::size_t(reinterpret_cast<const char*>(packed.data.data()) -
                                  reinterpret_cast<const char*>(packed.file->bytes().data()));
  auto moved = whole;
  const std::size_t row = packed.data.size() / 96;
  std::swap_ranges(moved.begin() + std::ptrdiff_t(offset),
                   moved.begin() + std::ptrdiff_t(offset + row),
                   moved.begin() + std::ptrdiff_t(offset + row));
  put(out, moved);
  const auto report = verify_checkpoint(out.parent_path(), original.get(), *compute, feedback);
  QVERIFY(report.ok());
  QVERIFY(!report->ok);
  QVERIFY2(problem(*report).find("up_proj") != std::string::npos, problem(*report).c_str());

  // A scale that is not a number.
  const auto scale = tensors.at("model.layers.0.mlp.up_proj.weight_scale");
  auto broken = whole;
  const auto at = std::size_t(reinterpret_cast<const char*>(scale.data.data()) -
                              reinterpret_cast<const char*>(scale.file->bytes().data()));
  broken[at] = '\0';
  broken[at + 1] = '\x7e';
  put(out, broken);
  const auto nan = verify_checkpoint(out.parent_path(), nullptr, *compute, feedback);
  QVERIFY(nan.ok());
  QVERIFY(!nan->ok);
  QVERIFY(problem(*nan).find("up_proj") != std::string::npos);

  // Another model.
  make_small_model(path_of(dir) / "other", true);
  const auto other = opened(path_of(dir) / "other");
  put(out, whole);
  const auto against = verify_checkpoint(out.parent_path(), other.get(), *compute, feedback);
  QVERIFY(against.ok());
  QVERIFY(!against->ok);
  // A damaged file and no file.
  put(out, whole.substr(0, whole.size() - 100));
  const auto cut = verify_checkpoint(out.parent_path(), nullptr, *compute, feedback);
  QVERIFY(cut.ok());
  QVERIFY(!cut->ok);
  QVERIFY(problem(*cut).find("cut off") != std::string::npos);
  QCOMPARE(verify_checkpoint(path_of(dir) / "nothing", nullptr, *compute, feedback).error().code,
           std::string("not-found"));
}

QTEST_GUILESS_MAIN(TestExport)
#include "tst_export.moc"
