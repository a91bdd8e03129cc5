// SPDX-License-Identifier: GPL-3.0-or-later
// compressed-tensors: every scheme written and read back, golden words, the configuration, other
// writers' files, and broken ones.
#include "core/text/tokenizer.h"
#include "tests/export_support.h"

using namespace bitlathe;
using namespace bitlathe::test;

class TestExportCompressed : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void compressed_tensors_every_scheme();
  void compressed_tensors_golden_words();
  void compressed_tensors_config();
  void compressed_tensors_w8a8();
  void compressed_tensors_mixed();
  void compressed_tensors_old_packing();
  void compressed_tensors_broken_data();
  void compressed_tensors_broken();
};

void TestExportCompressed::compressed_tensors_every_scheme() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  int n = 0;
  for (int bits = 2; bits <= 8; ++bits)
    for (const char* granularity : {"tensor", "channel", "g32", "g16", "g128"})
      for (const char* symmetry : {"sym", "asym"})
        for (const char* scale : {"", "-sbf16", "-sf32"}) {
          if (*scale && (bits != 4 || std::string(granularity) == "g16"))
            continue;
          const auto scheme =
              "int" + std::to_string(bits) + "-" + granularity + "-" + symmetry + scale;
          const auto model = quantized(path_of(dir) / "model", scheme);
          const auto out = path_of(dir) / ("out" + std::to_string(n++));
          const auto result = exported(*model, "compressed-tensors", out);
          QVERIFY2(result.ok(),
                   (scheme + ": " + (result.ok() ? "" : result.error().text())).c_str());
          const auto back = opened(out);
          QCOMPARE(back->format, std::string("compressed-tensors"));
          const auto* q = back->find_module("model.layers.1.self_attn.q_proj");
          QCOMPARE(q->weight.scheme.bits, double(bits));
          if (std::string(granularity) == "g32" || std::string(granularity) == "channel")
            QCOMPARE(q->weight.scheme.id, scheme); // others are stored as an equal one
          QVERIFY(q->bias.rows == 1);
          QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
          QCOMPARE(noted(result->notes, "before 2026"), bits != 2 && bits != 4 && bits != 8);
          QVERIFY(std::string(granularity) != "tensor" ||
                  noted(result->notes, "repeated for every channel"));
        }
  QVERIFY(n > 60);
}

void TestExportCompressed::compressed_tensors_golden_words() {
  // A matrix whose codes are the golden vectors of the format: all rows 0..7 and so on.
  const auto make = [](const std::string& id, const std::vector<std::uint8_t>& codes) {
    QTensor t;
    t.scheme = *parse_scheme(id);
    t.rows = 8;
    t.cols = std::int64_t(codes.size());
    const int bits = int(t.scheme.bits);
    const auto stride = std::size_t(int_row_bytes(t.cols, bits));
    t.owned_codes.resize(stride * 8);
    for (std::size_t row = 0; row < 8; ++row)
      for (std::size_t i = 0; i < codes.size(); ++i)
        for (int b = 0; b < bits; ++b)
          if (codes[i] >> b & 1)
            t.owned_codes[row * stride + (i * std::size_t(bits) + std::size_t(b)) / 8] |=
                std::byte(1 << ((i * std::size_t(bits) + std::size_t(b)) % 8));
    t.owned_scales.resize(8 * 2);
    for (int row = 0; row < 8; ++row)
      store_float(FloatType::f16, t.owned_scales.data(), row, 0.5f);
    if (!t.scheme.symmetric)
      t.owned_zeros.assign(8, std::byte(8));
    t.own();
    return t;
  };
  struct Case {
    const char* scheme;
    std::vector<std::uint8_t> codes;
    std::vector<std::uint32_t> words;
  };
  std::vector<std::uint8_t> eight, four;
  for (int i = 0; i < 32; ++i) {
    eight.push_back(std::uint8_t(i % 8));
    four.push_back(std::uint8_t(i % 4));
  }
  const std::vector<Case> cases{
      {"int4-channel-sym", {0, 1, 2, 3, 4, 5, 6, 7}, {0x76543210u}}, // signed -8 .. -1
      {"int4-channel-asym", {0, 1, 2, 3, 4, 5, 6, 7}, {0x76543210u}},
      {"int3-channel-sym", eight, {0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu}},
      {"int2-channel-sym", four, {0xE4E4E4E4u, 0xE4E4E4E4u}}};
  for (const auto& c : cases) {
    Checkpoint model;
    model.config = Json{{"model_type", "none"}};
    model.modules.emplace_back();
    auto& module = model.modules.back();
    module.name = "block.0.fc";
    module.role = "linear";
    module.linear = true;
    module.weight = make(c.scheme, c.codes);
    module.shape = {module.weight.rows, module.weight.cols};
    QTemporaryDir dir;
    const auto result = exported(model, "compressed-tensors", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto file = read_safetensors_folder(path_of(dir) / "out");
    const auto tensors = by_name(file->tensors);
    const auto& packed = tensors.at("block.0.fc.weight_packed");
    QCOMPARE(packed.dtype, std::string("I32"));
    QCOMPARE(packed.shape, (std::vector<std::int64_t>{8, std::int64_t(c.words.size())}));
    for (std::size_t i = 0; i < c.words.size() * 8; ++i)
      QCOMPARE(word(packed, i), c.words[i % c.words.size()]);
    QCOMPARE(tensors.at("block.0.fc.weight_scale").shape, (std::vector<std::int64_t>{8, 1}));
    std::int64_t shape[2] = {};
    std::memcpy(shape, tensors.at("block.0.fc.weight_shape").data.data(), 16);
    QCOMPARE(shape[0], std::int64_t(8));
    QCOMPARE(shape[1], std::int64_t(c.codes.size()));
    const auto zeros = tensors.find("block.0.fc.weight_zero_point");
    QCOMPARE(zeros != tensors.end(), !model.modules[0].weight.scheme.symmetric);
    if (zeros != tensors.end()) {
      QCOMPARE(zeros->second.shape, (std::vector<std::int64_t>{1, 1}));
      QCOMPARE(word(zeros->second, 0), 0x88888888u);
    }
  }
}

void TestExportCompressed::compressed_tensors_config() {
  QTemporaryDir dir;
  const auto demo = quantized(test::demo_model(), "int4-g128-asym");
  demo->kv_keys = "int8";
  const auto result = exported(*demo, "compressed-tensors", path_of(dir) / "out");
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  QCOMPARE(
      entries(path_of(dir) / "out"),
      (std::vector<std::string>{"bitlathe.json", "config.json", "generation_config.json",
                                "model.safetensors", "tokenizer.json", "tokenizer_config.json"}));
  const auto config = *read_json_file(path_of(dir) / "out" / "config.json");
  QCOMPARE(config["torch_dtype"].get<std::string>(), std::string("bfloat16"));
  QCOMPARE(config["hidden_size"].get<int>(), 256);
  const auto& q = config["quantization_config"];
  QVERIFY(q["quant_method"] == "compressed-tensors");
  QVERIFY(q["quantization_status"] == "compressed");
  QVERIFY(q["format"] == "pack-quantized");
  QVERIFY(q["ignore"] == Json::array({"lm_head"}));
  const auto& group = q["config_groups"]["group_0"];
  QVERIFY(group["targets"] == Json::array({"Linear"}));
  QVERIFY(group["input_activations"].is_null());
  QVERIFY(group["weights"]["num_bits"] == 4);
  QVERIFY(group["weights"]["strategy"] == "group");
  QVERIFY(group["weights"]["group_size"] == 128);
  QVERIFY(group["weights"]["symmetric"] == false);
  QVERIFY(!group.contains("format"));
  const auto file = read_safetensors(path_of(dir) / "out" / "model.safetensors");
  QCOMPARE(file->metadata.at("format"), std::string("pt"));
  const auto back = opened(path_of(dir) / "out");
  QCOMPARE(back->kv_keys, std::string("int8"));
  QVERIFY(back->tokenizer != nullptr);
  QVERIFY(back->quantized());
  QCOMPARE(back->find_module("model.layers.0.mlp.up_proj")->dtype(), std::string("I4"));
  QCOMPARE(result->path, path_of(dir) / "out");
}

void TestExportCompressed::compressed_tensors_w8a8() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  for (const char* scheme : {"int8-channel-sym", "int8-tensor-sym", "int8-channel-sym-sf32"}) {
    const auto model = quantized(path_of(dir) / "model", scheme, "int8-token-dynamic");
    const auto out = path_of(dir) / scheme;
    const auto result = exported(*model, "compressed-tensors", out);
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto config = *read_json_file(out / "config.json");
    const auto& q = config["quantization_config"];
    QVERIFY(q["format"] == "int-quantized");
    const auto& group = q["config_groups"]["group_0"];
    QVERIFY(group["input_activations"]["dynamic"] == true);
    QVERIFY(group["input_activations"]["strategy"] == "token");
    const auto tensors = by_name(read_safetensors_folder(out)->tensors);
    const auto& weight = tensors.at("model.layers.0.mlp.up_proj.weight");
    QCOMPARE(weight.dtype, std::string("I8"));
    QCOMPARE(weight.shape, (std::vector<std::int64_t>{96, 64}));
    QCOMPARE(tensors.count("model.layers.0.mlp.up_proj.weight_shape"), std::size_t(0));
    // Signed codes times scale are the weights.
    const auto& canonical = model->find_module("model.layers.0.mlp.up_proj")->weight;
    std::vector<float> row(64);
    canonical.view().layout->decode(canonical.view(), 3, 0, 64, row.data());
    const auto& scale = tensors.at("model.layers.0.mlp.up_proj.weight_scale");
    const auto type = scale.dtype == "F16" ? FloatType::f16 : FloatType::f32;
    for (std::size_t i = 0; i < 64; ++i)
      QCOMPARE(float(std::int8_t(weight.data[3 * 64 + i])) * load_float(type, scale.data.data(), 3),
               row[i]);
    QCOMPARE(opened(out)->find_module("model.layers.0.mlp.up_proj")->activations,
             std::string("int8-token-dynamic"));
  }
}

void TestExportCompressed::compressed_tensors_mixed() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = quantized(path_of(dir) / "model", [](const Module& m) -> std::string {
    if (m.role == "lm_head" || m.name == "model.layers.0.self_attn.o_proj")
      return "";
    if (m.role == "q_proj" || m.role == "k_proj" || m.role == "v_proj")
      return m.layer == 0 ? "int8-g32-sym" : "int4-g32-sym";
    return m.role == "down_proj" ? "int8-channel-sym" : "int4-g32-sym";
  });
  const auto result = exported(*model, "compressed-tensors", path_of(dir) / "out");
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  QVERIFY(!noted(result->notes, "vLLM joins"));
  const auto config = *read_json_file(path_of(dir) / "out" / "config.json");
  const auto& q = config["quantization_config"];
  QVERIFY(q["format"] == "pack-quantized");
  QCOMPARE(q["config_groups"].size(), std::size_t(3));
  QVERIFY(q["ignore"] == Json::array({"model.layers.0.self_attn.o_proj", "lm_head"}));
  bool found = false;
  for (const auto& [name, group] : q["config_groups"].items()) {
    QCOMPARE(group["targets"].size(), std::size_t(1)); // one entry, for joined layers
    found = found || group["targets"][0] == "re:model\\.layers\\.(0|1)\\.mlp\\.down_proj$";
  }
  QVERIFY2(found, q["config_groups"].dump().c_str());

  // Activations for some: formats per group.
  for (auto& module : model->modules)
    if (module.role == "down_proj")
      module.activations = "int8-token-dynamic";
  const auto mixed = exported(*model, "compressed-tensors", path_of(dir) / "mixed");
  QVERIFY2(mixed.ok(), mixed.ok() ? "" : mixed.error().text().c_str());
  const auto other = *read_json_file(path_of(dir) / "mixed" / "config.json");
  QVERIFY(other["quantization_config"]["format"] == "mixed-precision");

  // q, k, v that differ: loadable by transformers, not by vLLM.
  const auto torn = quantized(path_of(dir) / "model", [](const Module& m) -> std::string {
    return m.role == "q_proj" ? "int8-g32-sym" : "int4-g32-sym";
  });
  const auto warned = exported(*torn, "compressed-tensors", path_of(dir) / "torn");
  QVERIFY2(warned.ok(), warned.ok() ? "" : warned.error().text().c_str());
  QVERIFY(noted(warned->notes, "vLLM joins"));
}

void TestExportCompressed::compressed_tensors_old_packing() {
  // 3-bit codes as packed before 2026: ten to a word.
  QTemporaryDir dir;
  const auto folder = path_of(dir);
  put(folder / "config.json",
      R"({"model_type":"none","quantization_config":{"quant_method":"compressed-tensors",)"
      R"("format":"pack-quantized","config_groups":{"a":{"targets":["Linear"],"weights":)"
      R"({"num_bits":3,"type":"int","symmetric":true,"strategy":"channel"}}}}})");
  std::vector<std::uint32_t> words(2 * 10);
  for (std::size_t row = 0; row < 2; ++row)
    for (std::size_t i = 0; i < 96; ++i)
      words[row * 10 + i / 10] |= std::uint32_t((i + row) % 8) << (i % 10 * 3);
  const std::vector<std::uint16_t> scales{0x3c00, 0x3c00};
  const std::vector<std::int64_t> shape{2, 96};
  const auto tensor = [](const char* name, const char* dtype, std::vector<std::int64_t> size,
                         std::span<const std::byte> bytes) {
    return TensorToWrite{name, dtype, std::move(size), bytes.size(),
                         [bytes](OutputFile& file) { return file.write(bytes); }};
  };
  QVERIFY(
      write_safetensors(folder / "model.safetensors",
                        {tensor("l.weight_packed", "I32", {2, 10}, std::as_bytes(std::span(words))),
                         tensor("l.weight_scale", "F16", {2, 1}, std::as_bytes(std::span(scales))),
                         tensor("l.weight_shape", "I64", {2}, std::as_bytes(std::span(shape)))},
                        {})
          .ok());
  const auto model = opened(folder);
  const auto& weight = model->find_module("l")->weight;
  QVERIFY(noted(model->notes, "before 2026"));
  std::vector<float> row(96);
  weight.view().layout->decode(weight.view(), 1, 0, 96, row.data());
  for (std::size_t i = 0; i < 96; ++i)
    QCOMPARE(row[i], float((i + 1) % 8) - 4);
}

void TestExportCompressed::compressed_tensors_broken_data() {
  QTest::addColumn<QString>("path");
  QTest::addColumn<QString>("value");
  QTest::addColumn<QString>("says");
  const char* weights = "/config_groups/group_0/weights/";
  const auto at = [&](const char* key) { return QString(weights) + key; };
  QTest::newRow("bits 9") << at("num_bits") << "9"
                          << "9-bit";
  QTest::newRow("bits 0") << at("num_bits") << "0"
                          << "0-bit";
  QTest::newRow("bits text") << at("num_bits") << "\"4\""
                             << "num_bits";
  QTest::newRow("other bits") << at("num_bits") << "8"
                              << "does not hold 8-bit";
  QTest::newRow("float") << at("type") << "\"float\""
                         << "float";
  QTest::newRow("group 0") << at("group_size") << "0"
                           << "group_size of 0";
  QTest::newRow("other group") << at("group_size") << "64"
                               << "scales instead of";
  QTest::newRow("channel") << at("strategy") << "\"channel\""
                           << "scales instead of";
  QTest::newRow("strategy") << at("strategy") << "\"block\""
                            << "block";
  QTest::newRow("symmetric") << at("symmetric") << "true"
                             << "zero points";
  QTest::newRow("order") << at("actorder") << "\"group\""
                         << "order";
  QTest::newRow("no groups") << "/config_groups"
                             << "{}"
                             << "config_groups";
  QTest::newRow("groups list") << "/config_groups"
                               << "[1]"
                               << "config_groups";
  QTest::newRow("group number") << "/config_groups/group_0"
                                << "3"
                                << "not an object";
  QTest::newRow("no weights") << "/config_groups/group_0/weights"
                              << "null"
                              << "no group";
  QTest::newRow("targets") << "/config_groups/group_0/targets"
                           << "[\"re:(\"]"
                           << "not valid";
  QTest::newRow("not covered") << "/config_groups/group_0/targets"
                               << "[\"re:nothing\"]"
                               << "no group";
  QTest::newRow("ignored") << "/ignore"
                           << "[\"re:.*q_proj\"]"
                           << "ignore list";
  QTest::newRow("format") << "/format"
                          << "\"nvfp4-pack-quantized\""
                          << "nvfp4";
  QTest::newRow("transforms") << "/transform_config"
                              << R"({"config_groups":{"u":{"type":"hadamard"}}})"
                              << "transforms";
  QTest::newRow("sparse") << "/sparsity_config"
                          << R"({"format":"sparse-24-bitmask"})"
                          << "Sparse";
  QTest::newRow("status") << "/quantization_status"
                          << "\"calibration\""
                          << "calibration";
  QTest::newRow("static activations")
      << "/config_groups/group_0/input_activations"
      << R"({"num_bits":8,"type":"int","dynamic":false,"strategy":"tensor"})"
      << "input_scale is missing";
}

void TestExportCompressed::compressed_tensors_broken() {
  static QTemporaryDir dir;
  static const bool made = [] {
    make_small_model(path_of(dir) / "model");
    const auto model = quantized(path_of(dir) / "model", "int4-g32-asym");
    return exported(*model, "compressed-tensors", path_of(dir) / "out").ok();
  }();
  QVERIFY(made);
  QFETCH(QString, path);
  QFETCH(QString, value);
  QFETCH(QString, says);
  const auto config_path = path_of(dir) / "out" / "config.json";
  const auto original = *read_file(config_path);
  auto config = Json::parse(original);
  config["quantization_config"][Json::json_pointer(path.toStdString())] =
      Json::parse(value.toStdString());
  put(config_path, config.dump());
  const auto model = open_checkpoint(path_of(dir) / "out");
  put(config_path, original);
  QVERIFY(!model.ok());
  QVERIFY2(model.error().text().find(says.toStdString()) != std::string::npos,
           model.error().text().c_str());
}

QTEST_GUILESS_MAIN(TestExportCompressed)
#include "tst_export_compressed.moc"
