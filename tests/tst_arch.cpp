// SPDX-License-Identifier: GPL-3.0-or-later
// Every architecture against its independent reference (tests/reference/arch_*.py): a folder is
// written for each golden file, opened, run as one prompt, in pieces and token by token, exported
// to GGUF and opened again, quantized, exported and opened again. A new golden file is a new row
// here.
#include "core/engine/engine.h"
#include "core/eval/weight_compare.h"
#include "core/eval/weight_stats.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "tests/arch_golden.h"

#include <QDir>
#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

constexpr double bar = 1e-4; ///< of a position's largest absolute logit

/// Logits of every position when the ids come in pieces of these sizes.
Logits run(const std::shared_ptr<const Checkpoint>& checkpoint, const Ids& ids,
           const std::vector<std::size_t>& pieces) {
  static const auto compute = std::move(*make_cpu_compute());
  Logits out;
  EngineOptions options;
  options.kv = KvScheme{"f32", "f32"};
  const auto fail = [](const Error& error) {
    QTest::qFail(error.text().c_str(), __FILE__, __LINE__);
    return Logits();
  };
  const auto engine = Engine::create(checkpoint, *compute, options);
  if (!engine)
    return fail(engine.error());
  auto sequence = (*engine)->new_sequence(std::int64_t(ids.size()));
  if (!sequence)
    return fail(sequence.error());
  std::size_t at = 0;
  for (const std::size_t size : pieces) {
    const auto done = (*engine)->forward(**sequence, std::span(ids).subspan(at, size), 0,
                                         [&](std::int64_t, std::span<const float> logits) {
                                           out.emplace_back(logits.begin(), logits.end());
                                           return Result<void>();
                                         });
    if (!done.ok())
      return fail(done.error());
    at += size;
  }
  return out;
}

Logits run_at_once(const std::shared_ptr<const Checkpoint>& checkpoint, const Ids& ids) {
  return run(checkpoint, ids, {ids.size()});
}

/// Largest difference as a share of the position's largest absolute logit; infinity for NaN.
double worst_share(const Logits& got, const Logits& want) {
  if (got.size() != want.size())
    return INFINITY;
  double worst = 0;
  for (std::size_t t = 0; t < want.size(); ++t) {
    double largest = 0, off = 0;
    for (std::size_t i = 0; i < want[t].size(); ++i) {
      largest = std::max(largest, std::abs(double(want[t][i])));
      const double here = std::abs(double(got[t][i]) - double(want[t][i]));
      off = std::isnan(here) ? INFINITY : std::max(off, here);
    }
    worst = std::max(worst, off / largest);
  }
  return worst;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& line : lines)
    out += line + "\n";
  return out;
}

Result<ExportOutcome> exported(const Checkpoint& model, const char* format, const fs::path& to) {
  Feedback feedback;
  return run_export(model, *find_exporter(format), {to, "tiny", false}, feedback);
}

} // namespace

class TestArch : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void logits_data() { each_golden(); }
  void logits() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    QTemporaryDir dir;
    const auto pieces = golden.json["pieces"].get<std::vector<std::size_t>>();
    for (const FloatType type : {FloatType::f32, FloatType::bf16}) {
      const fs::path folder = fs::path(dir.path().toStdString()) / std::to_string(int(type));
      put_model(golden, type, folder);
      const auto checkpoint = opened(folder);
      QVERIFY(checkpoint);
      const double prompt = worst_share(run_at_once(checkpoint, golden.ids), golden.runs[0]);
      const double in_pieces = worst_share(run(checkpoint, golden.ids, pieces), golden.in_pieces());
      const double cached =
          worst_share(run(checkpoint, golden.ids, std::vector<std::size_t>(golden.ids.size(), 1)),
                      golden.one_by_one());
      qInfo("%s %s: prompt %.1e, pieces %.1e, cached %.1e of the largest logit", qPrintable(name),
            type == FloatType::f32 ? "f32" : "bf16", prompt, in_pieces, cached);
      QVERIFY(prompt < bar && in_pieces < bar && cached < bar);
    }
  }

  void every_tensor_is_used_data() { each_golden(); }
  void every_tensor_is_used() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    QTemporaryDir dir;
    put_model(golden, FloatType::bf16, dir.path().toStdString());
    const auto checkpoint = opened(dir.path().toStdString());
    QVERIFY(checkpoint);
    std::int64_t stored = 0;
    for (const Json& t : golden.json["tensors"]) {
      std::int64_t count = 1;
      for (const Json& n : t[1])
        count *= n.get<std::int64_t>();
      stored += count * std::int64_t(expand(t[0], golden.json["layers"]).size());
    }
    QCOMPARE(checkpoint->parameters(), stored);
    for (const Module& m : checkpoint->modules) {
      QVERIFY2(!m.part.empty() && !m.role.empty() && m.role != "other", m.name.c_str());
      QVERIFY2(m.weight.owned_codes.empty(), m.name.c_str()); // opening reads no values
      if (m.shape.size() == 2)
        QVERIFY2(m.shape[0] == m.weight.rows && m.shape[1] == m.weight.cols, m.name.c_str());
    }
    // Buffers that old versions stored say nothing; the parts of a vision model are named.
    std::size_t unused = 0;
    for (const Json& t : golden.json["stray"]) {
      const std::string pattern = t[0];
      const bool buffer = pattern.find("inv_freq") != std::string::npos ||
                          pattern.find(".bias") != std::string::npos ||
                          pattern.find("masked_bias") != std::string::npos;
      unused += buffer ? 0 : 1;
    }
    QCOMPARE(checkpoint->others.size(), unused);
    const auto notes = joined(checkpoint->notes);
    QVERIFY2((notes.find("not used") != std::string::npos) == (unused > 0), notes.c_str());
  }

  void gguf_data() { each_golden(); }
  void gguf() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    const Json& want = golden.json["gguf"];
    QTemporaryDir dir;
    const fs::path base = dir.path().toStdString();
    put_model(golden, FloatType::f32, base / "hf");
    const auto checkpoint = opened(base / "hf");
    QVERIFY(checkpoint);
    const auto outcome = exported(*checkpoint, "gguf", base / "gguf");
    if (want.contains("refused")) {
      QVERIFY(!outcome.ok());
      QVERIFY2(outcome.error().text().find(want["refused"]) != std::string::npos,
               outcome.error().text().c_str());
      return;
    }
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    const auto notes = joined(outcome->notes);
    for (const Json& word : want["notes"])
      QVERIFY2(notes.find(word) != std::string::npos, notes.c_str());

    const auto file = read_gguf(outcome->path);
    QVERIFY(file.ok());
    QCOMPARE(find(file->metadata, "general.architecture")->as_string(),
             std::optional(want["architecture"].get<std::string>()));
    for (const auto& [key, value] : want["keys"].items()) {
      const auto* found = find(file->metadata, key);
      QVERIFY2(found, key.c_str());
      if (value.is_boolean())
        QVERIFY2(std::get<bool>(found->value) == value.get<bool>(), key.c_str());
      else
        QVERIFY2(std::abs(*found->as_number() - value.get<double>()) <=
                     1e-6 * std::abs(value.get<double>()),
                 key.c_str());
    }
    std::set<std::string> names, expected;
    for (const auto& tensor : file->tensors)
      names.insert(tensor.name);
    for (const Json& t : golden.json["tensors"])
      for (const auto& stem : expand(t[5], golden.json["layers"]))
        expected.insert(stem);
    for (const Json& extra : want["extra"])
      expected.insert(extra.get<std::string>());
    std::vector<std::string> differing;
    std::set_symmetric_difference(names.begin(), names.end(), expected.begin(), expected.end(),
                                  std::back_inserter(differing));
    QVERIFY2(differing.empty(), joined(differing).c_str());

    const auto again = opened(outcome->path);
    QVERIFY(again);
    QCOMPARE(again->modules.size(), checkpoint->modules.size());
    const auto exact = std::min(want["exact"].get<std::size_t>(), golden.ids.size());
    const Ids ids(golden.ids.begin(), golden.ids.begin() + std::ptrdiff_t(exact));
    // Short runs of a model that looks at the whole length are as if it came one by one.
    const Logits& all = exact < golden.ids.size() ? golden.one_by_one() : golden.runs[0];
    const Logits reference(all.begin(), all.begin() + std::ptrdiff_t(exact));
    const double off = worst_share(run_at_once(again, ids), reference);
    qInfo("%s through GGUF, %zu positions: %.1e of the largest logit", qPrintable(name), exact,
          off);
    QVERIFY(off < bar);
  }

  /// GPT-2's matrices are [in, out] in a folder and [out, in] in a GGUF file: everything that looks
  /// at them must see the same.
  void stored_by_columns() {
    const Golden golden = read_golden("gpt2-bare");
    QTemporaryDir dir;
    const fs::path base = dir.path().toStdString();
    put_model(golden, FloatType::f32, base / "hf");
    const auto folder = opened(base / "hf");
    QVERIFY(folder);
    const auto outcome = exported(*folder, "gguf", base / "gguf");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    const auto file = opened(outcome->path);
    QVERIFY(file);
    const auto compute = std::move(*make_cpu_compute());
    Feedback feedback;
    std::size_t turned = 0;
    for (const Module& m : folder->modules) {
      const Module* other = file->find_module(m.name);
      QVERIFY(other && !other->weight.by_columns);
      turned += m.weight.by_columns;
      for (const auto& [a, b] : {std::pair(&m, other), std::pair(other, &m)}) {
        const auto error = weight_error(*a, *b, *compute, feedback);
        QVERIFY(error.ok());
        QCOMPARE(error->max_abs_error, 0.0f);
      }
      const auto want = weight_statistics(*other, *compute, true, feedback);
      const auto got = weight_statistics(m, *compute, true, feedback);
      QVERIFY(want.ok() && got.ok());
      QCOMPARE(got->channels.size(), want->channels.size());
      for (std::size_t i = 0; i < want->channels.size(); ++i)
        QVERIFY(got->channels[i].min == want->channels[i].min &&
                got->channels[i].max == want->channels[i].max);
      const auto counted = weight_histogram(m, 20, *compute, feedback);
      QVERIFY(counted.ok());
      QCOMPARE(counted->counts, weight_histogram(*other, 20, *compute, feedback)->counts);
      if (m.shape.size() != 2)
        continue;
      const auto rows = m.weight.rows / 2, cols = m.weight.cols;
      const auto map = heat_map(m, 3, 0, rows, cols, 7, *compute, feedback);
      const auto same = heat_map(*other, 3, 0, rows, cols, 7, *compute, feedback);
      QVERIFY(map.ok() && same.ok());
      QCOMPARE(map->tiles.size(), same->tiles.size());
      for (std::size_t i = 0; i < map->tiles.size(); ++i)
        QVERIFY(map->tiles[i].min == same->tiles[i].min && map->tiles[i].max == same->tiles[i].max);
      const auto part = m.weight.view().slice(2, 3), like = other->weight.view().slice(2, 3);
      std::vector<float> a(static_cast<std::size_t>(cols)), b(a.size());
      for (int row = 0; row < 3; ++row) {
        part.layout->decode(part, row, 0, cols, a.data());
        like.layout->decode(like, row, 0, cols, b.data());
        QVERIFY(a == b);
      }
    }
    QCOMPARE(turned, std::size_t(8));
    for (const auto& [checked, against] :
         {std::pair(base / "hf", file.get()), std::pair(outcome->path, folder.get())}) {
      const auto report = verify_checkpoint(checked, against, *compute, feedback);
      QVERIFY(report.ok());
      for (const auto& worst : report->worst)
        QVERIFY2(worst.max_abs_error == 0, worst.module.c_str());
    }
    // Unchanged, an export to a folder has the stored bytes again.
    const auto copy = exported(*folder, "safetensors", base / "copy");
    QVERIFY2(copy.ok(), copy.ok() ? "" : copy.error().text().c_str());
    const auto first = read_safetensors(base / "hf" / "model.safetensors");
    const auto second = read_safetensors(base / "copy" / "model.safetensors");
    QVERIFY(first.ok() && second.ok());
    QCOMPARE(second->tensors.size(), first->tensors.size());
    for (const auto& tensor : first->tensors) {
      const auto it = std::find_if(second->tensors.begin(), second->tensors.end(),
                                   [&](const auto& t) { return t.name == tensor.name; });
      QVERIFY2(it != second->tensors.end() && it->shape == tensor.shape, tensor.name.c_str());
      QVERIFY2(std::equal(tensor.data.begin(), tensor.data.end(), it->data.begin(), it->data.end()),
               tensor.name.c_str());
    }
  }

  void quantized_data() { each_golden(); }
  void quantized() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    QTemporaryDir dir;
    const fs::path base = dir.path().toStdString();
    put_model(golden, FloatType::bf16, base / "hf");
    const auto checkpoint = opened(base / "hf");
    QVERIFY(checkpoint);
    const auto compute = std::move(*make_cpu_compute());
    struct Way {
      const char *scheme, *method;
      double limit;
    };
    // 0.11 was the worst of int8; four bits only have to go through. Methods that move scales
    // between neighbours must not change the model.
    const std::vector<std::vector<std::int32_t>> samples{golden.ids};
    for (const auto& [scheme, method, limit] :
         {Way{"int8-channel-sym", "rtn", 0.2}, Way{"int4-channel-asym", "rtn", 1e9},
          Way{"int8-channel-sym", "gptq", 0.2}, Way{"int8-channel-sym", "awq", 0.2},
          Way{"int8-channel-sym", "smoothquant", 0.2}}) {
      Recipe recipe;
      recipe.default_scheme = scheme;
      recipe.default_method = method;
      recipe.activations = "none";
      const auto plan = make_plan(*checkpoint, recipe);
      QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
      Feedback feedback;
      QuantizeOptions options;
      const fs::path folder = base / (std::string(scheme) + method);
      options.result_folder = folder / "result";
      options.samples = &samples;
      const auto summary = run_quantize(*checkpoint, *plan, *compute, options, feedback);
      QVERIFY2(summary.ok(), summary.ok() ? "" : summary.error().text().c_str());
      const auto kept = opened(options.result_folder);
      QVERIFY(kept);
      QVERIFY(kept->quantized());
      const Logits reference = run_at_once(kept, golden.ids);
      const double off = worst_share(reference, golden.runs[0]);
      qInfo("%s %s %s: %.1e of the largest logit", qPrintable(name), scheme, method, off);
      QVERIFY(off < limit);
      for (const char* format : {"compressed-tensors", "safetensors"}) {
        const auto outcome = exported(*kept, format, folder / format);
        QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
        const auto again = opened(outcome->path);
        QVERIFY(again);
        const double moved = worst_share(run_at_once(again, golden.ids), reference);
        // Decoded weights are rounded to bf16; packed ones are the same codes.
        QVERIFY2(moved < (std::string_view(format) == "safetensors" ? 0.1 : 1e-5),
                 qPrintable(QString("%1 %2").arg(format).arg(moved)));
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestArch)
#include "tst_arch.moc"
