// SPDX-License-Identifier: GPL-3.0-or-later
// MLX folders: every width and group is written, read back and compared; offsets are rounded zero
// points and nothing else; what others write is read; what is broken is said.
#include "core/export/compare.h"
#include "core/recipe/plan.h"
#include "kernels/num/float8.h"
#include "tests/small_folder.h"
#include "tests/tiny_model.h"

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

const std::string q0 = "model.layers.0.self_attn.q_proj";
const std::string embedding = "model.embed_tokens";

std::shared_ptr<Checkpoint> all_quantized(const fs::path& path, const std::string& scheme) {
  return quantized(path, [&](const Module& m) {
    return m.linear || m.role == "embedding" ? scheme : std::string();
  });
}

/// Code `i` of a row of words, bit by bit.
unsigned code_of(const std::vector<std::uint32_t>& words, std::size_t first_word, std::size_t i,
                 unsigned bits) {
  unsigned out = 0;
  for (unsigned b = 0; b < bits; ++b) {
    const std::size_t bit = i * bits + b;
    out |= (words[first_word + bit / 32] >> (bit % 32) & 1u) << b;
  }
  return out;
}

} // namespace

class TestMlxFiles : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    make_small_folder(path_of(dir_) / "bf16", {.hidden = 64, .ffn = 128});
    make_small_folder(path_of(dir_) / "f16", {.ffn = 128, .tied = true, .type = FloatType::f16});
    make_small_folder(path_of(dir_) / "f32", {.hidden = 128, .ffn = 128, .type = FloatType::f32});
  }

  void every_scheme() {
    int n = 0;
    for (const auto& [source, tail] :
         {std::pair("bf16", "-sbf16"), std::pair("f16", ""), std::pair("f32", "-sf32")})
      for (const int bits : {2, 3, 4, 5, 6, 8})
        for (const char* kind : {"int", "affine"})
          for (const char* rest : {"-g32-sym", "-g64-asym", "-g32", "-g64"}) {
            const bool affine = *kind == 'a';
            if (affine == (std::string(rest).find("sym") != std::string::npos))
              continue;
            const auto scheme = kind + std::to_string(bits) + rest + tail;
            const auto model = all_quantized(path_of(dir_) / source, scheme);
            const auto out = path_of(dir_) / ("every" + std::to_string(n++));
            const auto result = exported(*model, "mlx", out);
            QVERIFY2(result.ok(),
                     (scheme + ": " + (result.ok() ? "" : result.error().text())).c_str());
            const auto back = opened(out);
            QCOMPARE(back->format, std::string("mlx"));
            QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
            QVERIFY(back->others.empty());
            const QTensor& want = model->find_module(q0)->weight;
            const QTensor& got = back->find_module(q0)->weight;
            QVERIFY(got.owned_codes.empty() && got.owned_scales.empty()); // mapped
            if (scheme.find("asym") == std::string::npos) {
              QCOMPARE(got.scheme.id, scheme);
              QCOMPARE(decode_all(got), decode_all(want));
            } else {
              // Offsets are rounded: no more than the note says (f32: and values, too).
              QVERIFY(noted(result->notes, "of a step"));
              QVERIFY(std::equal(got.codes.begin(), got.codes.end(), want.codes.begin(),
                                 want.codes.end()));
              const double step = *tail == 0 ? 0x1p-11 : tail[2] == 'b' ? 0x1p-8 : 0x1p-22;
              const auto a = decode_all(got), b = decode_all(want);
              for (std::int64_t i = 0; i < want.rows * want.cols; ++i) {
                const double scale = double(
                    load_float(want.scheme.float_type, want.scales.data(), i / want.scheme.group));
                QVERIFY(std::abs(double(a[std::size_t(i)]) - double(b[std::size_t(i)])) <=
                        ((1 << bits) - 1) * step * scale * 1.0001 + 1e-12);
              }
            }
            QVERIFY(back->find_module(embedding)->weight.scheme.quantized);
            QCOMPARE(broken_rules("mlx", out), std::string());
          }
  }

  void golden_words() {
    Checkpoint model;
    model.config = Json{{"model_type", "none"}, {"torch_dtype", "float16"}};
    model.modules.emplace_back();
    Module& module = model.modules.back();
    module.name = "block.0.fc";
    module.role = "linear";
    module.linear = true;
    module.shape = {1, 32};
    QTensor& t = module.weight;
    t.scheme = *parse_scheme("int3-g32-asym");
    t.rows = 1;
    t.cols = 32;
    t.owned_codes.resize(12);
    for (unsigned i = 0; i < 32; ++i)
      for (unsigned b = 0; b < 3; ++b)
        t.owned_codes[(i * 3 + b) / 8] |= std::byte((i % 8 >> b & 1u) << ((i * 3 + b) % 8));
    t.owned_scales.resize(2);
    store_float(FloatType::f16, t.owned_scales.data(), 0, 0.1f);
    t.owned_zeros = {std::byte(5)};
    t.own();
    QTemporaryDir dir;
    const auto result = exported(model, "mlx", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const EditedFolder file(path_of(dir) / "out");
    QCOMPARE(file.tensors.at("block.0.fc.weight").dtype, std::string("U32"));
    QCOMPARE(file.values<std::uint32_t>("block.0.fc.weight"),
             (std::vector<std::uint32_t>{0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu}));
    QCOMPARE(file.tensors.at("block.0.fc.biases").shape, (std::vector<std::int64_t>{1, 1}));
    const float scale = load_float(FloatType::f16, t.owned_scales.data(), 0);
    std::byte stored[2];
    store_float(FloatType::f16, stored, 0, -5 * scale);
    QVERIFY(std::memcmp(stored, file.tensors.at("block.0.fc.biases").data.data(), 2) == 0);
    QCOMPARE(file.metadata.at("format"), std::string("mlx"));
    const auto q = file.config["quantization"];
    QVERIFY(q == (Json{{"group_size", 32}, {"bits", 3}, {"mode", "affine"}}));
    QVERIFY(file.config["quantization_config"] == q);
  }

  void mixed_bits() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "bf16", [](const Module& m) {
      return m.role == "embedding" || m.role == "o_proj" ? ""
             : m.role == "q_proj"                        ? "int8-g32-sym-sbf16"
             : m.role == "k_proj"                        ? "affine5-g64-sbf16"
             : m.linear                                  ? "int4-g64-asym-sbf16"
                                                         : "";
    });
    const auto result = exported(*model, "mlx", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto q = (*read_json_file(path_of(dir) / "out" / "config.json"))["quantization"];
    QVERIFY(q["bits"] == 4 && q["group_size"] == 64);
    QVERIFY(q[q0] == (Json{{"group_size", 32}, {"bits", 8}}));
    QVERIFY(q["model.layers.1.self_attn.k_proj"]["bits"] == 5);
    QVERIFY(q["model.layers.1.self_attn.o_proj"] == false && q[embedding] == false);
    QVERIFY(!q.contains("lm_head") && !q.contains("model.norm"));
    const auto back = opened(path_of(dir) / "out");
    QCOMPARE(back->find_module(q0)->weight.scheme.id, std::string("int8-g32-sym-sbf16"));
    QVERIFY(!back->find_module("model.layers.0.self_attn.o_proj")->weight.scheme.quantized);
    QCOMPARE(broken_rules("mlx", path_of(dir) / "out"), std::string());
    // To another format, the settings of MLX stay behind.
    const auto plain = exported(*back, "safetensors", path_of(dir) / "plain");
    QVERIFY2(plain.ok(), plain.ok() ? "" : plain.error().text().c_str());
    const auto config = *read_json_file(path_of(dir) / "plain" / "config.json");
    QVERIFY(!config.contains("quantization") && !config.contains("quantization_config"));
    QCOMPARE(opened(path_of(dir) / "plain")->format, std::string("safetensors"));
    // And again to MLX, to the same bytes: offsets are taken over as they are.
    QVERIFY(exported(*back, "mlx", path_of(dir) / "again").ok());
    QVERIFY(*read_file(path_of(dir) / "out" / "model.safetensors") ==
            *read_file(path_of(dir) / "again" / "model.safetensors"));
  }

  void larger_groups_are_repeated() {
    QTemporaryDir dir;
    int n = 0;
    for (const char* scheme :
         {"int8-channel-sym-sf32", "int4-channel-asym-sf32", "int8-tensor-sym-sf32",
          "int6-tensor-asym", "int4-g512-asym-sbf16"}) {
      const auto model = quantized(path_of(dir_) / "f32", scheme);
      const auto out = path_of(dir) / std::to_string(n++);
      const auto result = exported(*model, "mlx", out);
      QVERIFY2(result.ok(), (scheme + (result.ok() ? "" : result.error().text())).c_str());
      QVERIFY(noted(result->notes, "repeated for every group"));
      const auto back = opened(out);
      const QTensor& o = back->find_module("model.layers.0.self_attn.o_proj")->weight; // 64 columns
      QCOMPARE(o.scheme.group, std::int64_t(64));
      QCOMPARE(back->find_module(q0)->weight.scheme.group, std::int64_t(128));
      if (std::string(scheme).find("asym") == std::string::npos)
        QCOMPARE(decode_all(o),
                 decode_all(model->find_module("model.layers.0.self_attn.o_proj")->weight));
      QCOMPARE(broken_rules("mlx", out), std::string());
    }
  }

  void comparison_knows_offsets() {
    QTemporaryDir dir;
    Feedback feedback;
    const auto model = quantized(path_of(dir_) / "bf16", "int4-g64-asym-sbf16");
    QVERIFY(exported(*model, "mlx", path_of(dir) / "out").ok());
    const EditedFolder good(path_of(dir) / "out");
    for (const char* part : {".weight", ".scales", ".biases"}) {
      EditedFolder file = good;
      file.tensors.at(q0 + part).data.at(2) ^= std::byte(1);
      file.write(path_of(dir) / part);
      const auto back = opened(path_of(dir) / part);
      const auto result = compare_checkpoints(*model, *back, feedback);
      QVERIFY(!result.ok());
      QCOMPARE(result.error().where, q0);
    }
    QVERIFY(compare_checkpoints(*model, *opened(path_of(dir) / "out"), feedback).ok());
  }

  void refusals_and_fallbacks() {
    using Level = Finding::Level;
    const auto refused = [&](const char* scheme, const char* says) {
      const auto model = quantized(path_of(dir_) / "bf16", scheme);
      return found(findings_of(*model, "mlx"), Level::refuse, says);
    };
    const auto halves = quantized(path_of(dir_) / "bf16", "int4-g64-asym");
    QVERIFY(found(findings_of(*halves, "mlx"), Level::warning, "that end with -sbf16", "mlx"));
    QTemporaryDir dir;
    QVERIFY(exported(*halves, "mlx", path_of(dir) / "halves").ok());
    QCOMPARE(opened(path_of(dir) / "halves")->find_module(q0)->weight.scheme.float_type,
             FloatType::f16);
    QVERIFY(refused("int7-g64-sym-sbf16", "nearest: int8-g64-sym-sbf16"));
    QVERIFY(refused("int4-g16-sym-sbf16", "nearest: int4-g32-sym-sbf16"));
    QVERIFY(refused("nf4-b64", "nearest: int4-g64-sym-sbf16"));
    QVERIFY(refused("f8_e4m3-channel", "nearest: int8-g64-sym-sbf16"));
    const auto inputs =
        quantized(path_of(dir_) / "bf16", "int8-g64-sym-sbf16", "int8-token-dynamic");
    QVERIFY(found(findings_of(*inputs, "mlx"), Level::refuse, "nearest: activations none"));
    QVERIFY(found(findings_of(*opened(path_of(dir_) / "bf16"), "mlx"), Level::refuse,
                  "nothing for this format"));

    // A last group that is shorter is held by smaller groups.
    make_small_folder(path_of(dir_) / "short", {.hidden = 64, .ffn = 96});
    const auto ragged = quantized(path_of(dir_) / "short", "int4-g64-asym-sbf16");
    QVERIFY(exported(*ragged, "mlx", path_of(dir) / "ragged").ok());
    const auto back = opened(path_of(dir) / "ragged");
    QCOMPARE(back->find_module("model.layers.0.mlp.down_proj")->weight.scheme.group,
             std::int64_t(32));

    // A plan keeps matrices that no group divides.
    make_small_folder(path_of(dir_) / "odd", {.hidden = 64, .ffn = 100});
    const auto odd = opened(path_of(dir_) / "odd");
    Recipe recipe;
    recipe.default_scheme = "int4-g64-asym";
    auto plan = make_plan(*odd, recipe);
    QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
    fit_plan(*plan, *odd, *find_exporter("mlx"));
    QCOMPARE(plan->find(q0)->scheme.id, std::string("int4-g64-asym"));
    QCOMPARE(plan->find("model.layers.0.mlp.down_proj")->scheme.id, std::string("bf16"));
    QVERIFY(noted(plan->notes, "100 columns do not divide by 64"));
    for (const Finding& finding : find_exporter("mlx")->examine(*odd, export_modules(*odd, *plan)))
      QVERIFY2(finding.level != Level::refuse, finding.message.c_str());
  }

  void reads_what_others_write() {
    // Negative scales and any offset, decoded by hand; old settings without a mode.
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "f16", "affine5-g32");
    QVERIFY(exported(*model, "mlx", path_of(dir) / "out").ok());
    EditedFolder file(path_of(dir) / "out");
    file.config.erase("quantization_config");
    file.config["quantization"] = {{"group_size", 32}, {"bits", 5}};
    file.write(path_of(dir) / "old");
    const auto back = opened(path_of(dir) / "old");
    const QTensor& weight = back->find_module(q0)->weight;
    QCOMPARE(weight.scheme.id, std::string("affine5-g32"));
    const auto words = file.values<std::uint32_t>(q0 + ".weight");
    const auto values = decode_all(weight);
    const auto& scales = file.tensors.at(q0 + ".scales").data;
    const auto& offsets = file.tensors.at(q0 + ".biases").data;
    bool negative = false;
    for (std::int64_t i = 0; i < weight.rows * weight.cols; ++i) {
      const std::int64_t row = i / weight.cols, col = i % weight.cols;
      const auto code = code_of(words, std::size_t(row * 10), std::size_t(col), 5);
      const float scale = load_float(FloatType::f16, scales.data(), i / 32);
      negative = negative || scale < 0;
      const float product = scale * float(code);
      QCOMPARE(values[std::size_t(i)],
               product + load_float(FloatType::f16, offsets.data(), i / 32));
    }
    QVERIFY(negative);
    // Parts of the rows are what the whole says.
    const MatrixView part = weight.view().slice(7, 9);
    std::vector<float> row(std::size_t(weight.cols));
    part.layout->decode(part, 3, 0, weight.cols, row.data());
    QVERIFY(std::equal(row.begin(), row.end(), values.begin() + 10 * weight.cols));
    // Scales and offsets of different types.
    std::vector<float> wide(offsets.size() / 2);
    for (std::size_t i = 0; i < wide.size(); ++i)
      wide[i] = load_float(FloatType::f16, offsets.data(), std::int64_t(i));
    file.set(q0 + ".biases", "F32", file.tensors.at(q0 + ".biases").shape, wide);
    file.write(path_of(dir) / "types");
    const auto types = opened(path_of(dir) / "types");
    QCOMPARE(types->find_module(q0)->weight.scheme.id, std::string("affine5-g32-sf32"));
    QCOMPARE(decode_all(types->find_module(q0)->weight), values);
  }

  void small_floats() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "bf16", "int4-g64-sym-sbf16");
    QVERIFY(exported(*model, "mlx", path_of(dir) / "out").ok());
    static constexpr float e2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    for (const int group : {32, 16}) {
      EditedFolder file(path_of(dir) / "out");
      std::vector<std::uint32_t> words(64 * 8);
      std::vector<std::uint8_t> scales(std::size_t(64 * 64 / group));
      for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = std::uint32_t(i * 2654435761u + 12345);
      for (std::size_t i = 0; i < scales.size(); ++i)
        scales[i] = std::uint8_t(group == 32 ? 118 + i % 8 : 40 + i % 30);
      file.set(q0 + ".weight", "U32", {64, 8}, words);
      file.set(q0 + ".scales", "U8", {64, 64 / group}, scales);
      file.tensors.erase(q0 + ".biases");
      file.config["quantization"][q0] = {
          {"mode", group == 32 ? "mxfp4" : "nvfp4"}, {"bits", 4}, {"group_size", group}};
      file.config["quantization_config"] = file.config["quantization"];
      const auto folder = path_of(dir) / std::to_string(group);
      file.write(folder);
      const auto back = opened(folder);
      QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
      const Module* q = back->find_module(q0);
      QCOMPARE(q->weight.scheme.id, std::string(group == 32 ? "mxfp4" : "nvfp4"));
      const auto values = decode_all(q->weight);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const unsigned code = words[i / 8] >> (i % 8 * 4) & 15u;
        const auto scale = scales[i / std::size_t(group)];
        const float by = group == 32 ? std::ldexp(1.0f, scale - 127) : f8_e4m3_to_f32(scale);
        QCOMPARE(values[i], e2m1[code & 7] * (code & 8 ? -by : by));
      }
      QCOMPARE(broken_rules("mlx", folder), std::string());
    }
  }

  void broken_files_data() {
    QTest::addColumn<QString>("what");
    QTest::addColumn<QString>("message");
    QTest::addColumn<bool>("by_rules");
    QTest::newRow("other bits") << "other bits"
                                << "do not fit" << true;
    QTest::newRow("other group") << "other group"
                                 << "do not fit" << true;
    QTest::newRow("no scales") << "no scales"
                               << "scales is missing" << true;
    QTest::newRow("no biases") << "no biases"
                               << "offsets" << true;
    QTest::newRow("short biases") << "short biases"
                                  << "shape of its scales" << true;
    QTest::newRow("integer scales") << "integer scales"
                                    << "stored as I32" << true;
    QTest::newRow("mode") << "mode"
                          << "\"mxfp8\" of MLX" << false;
    QTest::newRow("own mode") << "own mode"
                              << "\"mxfp8\" of MLX" << false;
    QTest::newRow("nine bits") << "nine bits"
                               << "9 bits" << true;
    QTest::newRow("no group") << "no group"
                              << "groups of 0" << true;
    QTest::newRow("false") << "false"
                           << "leave it as it is" << true;
    QTest::newRow("text bits") << "text bits"
                               << "bits" << true;
  }
  void broken_files() {
    QFETCH(QString, what);
    QFETCH(QString, message);
    QFETCH(bool, by_rules);
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "bf16", "int4-g64-asym-sbf16");
    QVERIFY(exported(*model, "mlx", path_of(dir) / "out").ok());
    EditedFolder file(path_of(dir) / "out");
    auto& settings = file.config["quantization"];
    const auto shape = file.tensors.at(q0 + ".scales").shape;
    if (what == "other bits")
      settings["bits"] = 3;
    else if (what == "other group")
      settings["group_size"] = 32;
    else if (what == "no scales")
      file.tensors.erase(q0 + ".scales");
    else if (what == "no biases")
      file.tensors.erase(q0 + ".biases");
    else if (what == "short biases")
      file.set(q0 + ".biases", "F16", {2}, std::vector<std::uint16_t>{0, 0});
    else if (what == "integer scales")
      file.set(q0 + ".scales", "I32", shape, std::vector<std::int32_t>(64, 1));
    else if (what == "mode")
      settings["mode"] = "mxfp8";
    else if (what == "own mode")
      settings[q0] = {{"mode", "mxfp8"}, {"bits", 8}, {"group_size", 32}};
    else if (what == "nine bits")
      settings["bits"] = 9;
    else if (what == "no group")
      settings["group_size"] = 0;
    else if (what == "false")
      settings[q0] = false;
    else if (what == "text bits")
      settings["bits"] = "4";
    file.config["quantization_config"] = settings;
    file.write(path_of(dir) / "broken");
    const auto why = why_not_opened(path_of(dir) / "broken");
    QVERIFY2(why.find(message.toStdString()) != std::string::npos, why.c_str());
    QVERIFY2(why.find("broken") != std::string::npos, why.c_str());
    if (by_rules)
      QVERIFY(!broken_rules("mlx", path_of(dir) / "broken").empty());
  }

  void runs_like_the_codes() {
    for (const char* scheme : {"affine4-g64-sbf16", "affine8-g32-sbf16", "int6-g64-sym-sbf16"}) {
      QTemporaryDir dir;
      const auto model = all_quantized(path_of(dir_) / "bf16", scheme);
      QVERIFY(exported(*model, "mlx", path_of(dir) / "out").ok());
      const auto back = opened(path_of(dir) / "out");
      const auto a = logits_of(back);
      QCOMPARE(a, logits_of(model));
      // And like the decoded weights.
      for (Module& module : back->modules)
        if (module.weight.scheme.quantized && !module.tied_to_embedding)
          module.weight = f32_tensor(decode_all(module.weight), module.weight.rows);
      const auto b = logits_of(back);
      float largest = 0, off = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::fabs(b[i]));
        off = std::max(off, std::fabs(a[i] - b[i]));
      }
      QVERIFY2(off <= 1e-5f * largest, qPrintable(QString::number(double(off / largest))));
    }
  }

  void demo_model() {
    QTemporaryDir dir;
    const auto model = quantized(test::demo_model(), "int4-g64-asym-sbf16");
    const auto result = exported(*model, "mlx", path_of(dir) / "out", 1 << 20);
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    QCOMPARE(broken_rules("mlx", path_of(dir) / "out"), std::string());
    QVERIFY(fs::exists(path_of(dir) / "out" / "model.safetensors.index.json"));
  }

 private:
  QTemporaryDir dir_;
};

QTEST_GUILESS_MAIN(TestMlxFiles)
#include "tst_mlx_files.moc"
