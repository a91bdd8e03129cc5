// SPDX-License-Identifier: GPL-3.0-or-later
// Exports: every exporter with every scheme it claims is written, read back and compared; what a
// format cannot hold is refused before a byte is written; golden bytes; and the way an export
// fails. `run_export` compares tensor by tensor itself, so success already means equality.
#include "core/export/compare.h"
#include "core/export/exporter.h"
#include "core/methods/method.h"
#include "core/model/checkpoint.h"
#include "core/text/tokenizer.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <sys/resource.h>

using namespace bitlathe;

namespace {

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::shared_ptr<const Checkpoint> opened(const fs::path& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) {
    QTest::qFail(checkpoint.error().text().c_str(), __FILE__, __LINE__);
    return std::make_shared<Checkpoint>();
  }
  return *checkpoint;
}

/// A small Llama with seeded noise: 64 wide, 96 in between, 2 layers, with biases.
void make_small_model(const fs::path& folder, bool tied = false, int columns = 64) {
  fs::create_directories(folder);
  const Json config{{"architectures", {"LlamaForCausalLM"}},
                    {"model_type", "llama"},
                    {"hidden_size", columns},
                    {"intermediate_size", 96},
                    {"num_hidden_layers", 2},
                    {"num_attention_heads", 4},
                    {"num_key_value_heads", 2},
                    {"head_dim", 16},
                    {"vocab_size", 50},
                    {"rms_norm_eps", 1e-5},
                    {"max_position_embeddings", 64},
                    {"attention_bias", true},
                    {"tie_word_embeddings", tied},
                    {"torch_dtype", "bfloat16"}};
  put(folder / "config.json", config.dump());
  std::vector<TensorToWrite> list;
  std::uint32_t seed = 1;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t n = 1;
    for (const auto s : shape)
      n *= std::size_t(s);
    const auto values = test::normal_noise(n, seed++, 0.05f);
    auto bytes = std::make_shared<std::vector<std::byte>>(n * 2);
    for (std::size_t i = 0; i < n; ++i)
      store_float(FloatType::bf16, bytes->data(), std::int64_t(i), values[i]);
    list.push_back({name, "BF16", std::move(shape), n * 2,
                    [bytes](OutputFile& file) { return file.write(*bytes); }});
  };
  add("model.embed_tokens.weight", {50, columns});
  for (int i = 0; i < 2; ++i) {
    const auto l = "model.layers." + std::to_string(i) + ".";
    add(l + "input_layernorm.weight", {columns});
    add(l + "post_attention_layernorm.weight", {columns});
    for (const auto& [name, rows] :
         {std::pair("q_proj", 64), std::pair("k_proj", 32), std::pair("v_proj", 32)}) {
      add(l + "self_attn." + name + ".weight", {rows, columns});
      add(l + "self_attn." + name + ".bias", {rows});
    }
    add(l + "self_attn.o_proj.weight", {columns, 64});
    add(l + "self_attn.o_proj.bias", {columns});
    add(l + "mlp.gate_proj.weight", {96, columns});
    add(l + "mlp.up_proj.weight", {96, columns});
    add(l + "mlp.down_proj.weight", {columns, 96});
  }
  add("model.norm.weight", {columns});
  if (!tied)
    add("lm_head.weight", {50, columns});
  const auto written = write_safetensors_folder(folder, std::move(list), 1 << 30);
  QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
}

/// Quantizes linears of a freshly opened model in memory; `scheme_of` gives "" to keep.
std::shared_ptr<Checkpoint> quantized(const fs::path& path,
                                      const std::function<std::string(const Module&)>& scheme_of,
                                      const std::string& activations = "none") {
  static const auto compute = std::move(*make_cpu_compute());
  auto model = std::const_pointer_cast<Checkpoint>(opened(path));
  Feedback feedback;
  for (auto& module : model->modules) {
    const auto id = module.linear ? scheme_of(module) : std::string();
    if (id.empty())
      continue;
    const auto scheme = parse_scheme(id);
    if (!scheme.ok()) {
      QTest::qFail(scheme.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    const FloatView view = module.weight.floats();
    auto made = find_method("rtn")->quantize(
        {view, *scheme, Json::object(), "minmax", {}, *compute, feedback, module.name});
    if (!made.ok()) {
      QTest::qFail(made.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    module.weight = std::move(made->tensor);
    if (scheme->family->id == "int")
      module.activations = activations;
  }
  return model;
}

std::shared_ptr<Checkpoint> quantized(const fs::path& path, const std::string& scheme,
                                      const std::string& activations = "none") {
  return quantized(
      path, [&](const Module& m) { return m.role == "lm_head" ? std::string() : scheme; },
      activations);
}

Result<ExportOutcome> exported(const Checkpoint& model, const char* format, const fs::path& folder,
                               std::uint64_t shard_limit = 5ull << 30) {
  Feedback feedback;
  return run_export(model, *find_exporter(format), {folder, "small", false, shard_limit}, feedback);
}

std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder))
    out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, StoredTensor> by_name(const std::vector<StoredTensor>& tensors) {
  std::map<std::string, StoredTensor> out;
  for (const auto& tensor : tensors)
    out[tensor.name] = tensor;
  return out;
}

std::uint32_t word(const StoredTensor& tensor, std::size_t index) {
  std::uint32_t value = 0;
  std::memcpy(&value, tensor.data.data() + index * 4, 4);
  return value;
}

bool noted(const std::vector<std::string>& notes, const std::string& part) {
  for (const auto& note : notes)
    if (note.find(part) != std::string::npos)
      return true;
  return false;
}

} // namespace

class TestExport : public QObject {
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
  void gguf_every_scheme();
  void gguf_blocks();
  void gguf_metadata();
  void gguf_rope_scaling();
  void gguf_from_gguf();
  void gguf_same_bytes_as_llama_cpp();
  void plain_safetensors();
  void fallbacks();
  void kv_scheme_travels();
  void refusals_data();
  void refusals();
  void shards();
  void failures_leave_nothing();
  void comparison_notices();
  void verify();
};

void TestExport::compressed_tensors_every_scheme() {
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

void TestExport::compressed_tensors_golden_words() {
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

void TestExport::compressed_tensors_config() {
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

void TestExport::compressed_tensors_w8a8() {
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

void TestExport::compressed_tensors_mixed() {
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

void TestExport::compressed_tensors_old_packing() {
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

void TestExport::compressed_tensors_broken_data() {
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

void TestExport::compressed_tensors_broken() {
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

void TestExport::gguf_every_scheme() {
  QTemporaryDir dir;
  for (const bool tied : {false, true}) {
    const auto source = path_of(dir) / (tied ? "tied" : "model");
    make_small_model(source, tied);
    for (const auto& [scheme, type] :
         {std::pair("int4-g32-sym", "q4_0"), std::pair("int4-g64-sym", "q4_0"),
          std::pair("int4-g128-sym", "q4_0"), std::pair("int8-g32-sym", "q8_0"),
          std::pair("int8-g96-sym", "q8_0"), std::pair("q8_0", "q8_0"), std::pair("q4_0", "q4_0"),
          std::pair("q4_1", "q4_1"), std::pair("", "bf16")}) {
      const auto model = quantized(source, scheme);
      const auto out = path_of(dir) / (std::string(tied ? "t-" : "u-") + scheme);
      const auto result = exported(*model, "gguf", out);
      QVERIFY2(result.ok(),
               (std::string(scheme) + ": " + (result.ok() ? "" : result.error().text())).c_str());
      const auto label = *scheme ? std::string(scheme) : std::string("bf16");
      QCOMPARE(result->path, out / ("small-" + label + ".gguf"));
      QCOMPARE(entries(out), std::vector<std::string>{"small-" + label + ".gguf"});
      const auto file = read_gguf(result->path);
      QVERIFY(file.ok());
      const auto tensors = by_name(file->tensors);
      QCOMPARE(tensors.at("blk.1.ffn_down.weight").dtype, std::string(type));
      QCOMPARE(tensors.at("blk.1.ffn_norm.weight").dtype, std::string("f32"));
      QCOMPARE(tensors.at("blk.0.attn_q.bias").dtype, std::string("f32"));
      QCOMPARE(tensors.count("output.weight"), std::size_t(tied ? 0 : 1));
      QVERIFY(opened(out)->spec.has_value()); // the folder is a MODEL too
    }
  }
}

void TestExport::gguf_blocks() {
  // Element 0 has code 1, element 16 code 2: the first byte holds both.
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto model = quantized(path_of(dir) / "model", "int4-g32-sym");
  for (auto& module : model->modules)
    if (module.role == "up_proj") {
      auto* codes = reinterpret_cast<std::uint8_t*>(module.weight.owned_codes.data());
      codes[0] = std::uint8_t((codes[0] & 0xf0) | 1);
      codes[8] = std::uint8_t((codes[8] & 0xf0) | 2);
    }
  const auto result = exported(*model, "gguf", path_of(dir) / "out");
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  const auto file = read_gguf(result->path);
  const auto up = by_name(file->tensors).at("blk.0.ffn_up.weight");
  QCOMPARE(unsigned(up.data[2]), 0x21u);
  const auto& canonical = model->find_module("model.layers.0.mlp.up_proj")->weight;
  QVERIFY(std::memcmp(up.data.data(), canonical.scales.data(), 2) == 0);
  // Query rows: GGUF row 1 of a head is Hugging Face row head_dim / 2.
  const auto q = by_name(file->tensors).at("blk.0.attn_q.weight");
  const auto& hf = model->find_module("model.layers.0.self_attn.q_proj")->weight;
  QVERIFY(std::memcmp(q.data.data() + 1 * 36, hf.scales.data() + 8 * 2 * 2, 2) == 0);
}

void TestExport::gguf_metadata() {
  QTemporaryDir dir;
  const auto demo = quantized(test::demo_model(), "q8_0");
  demo->kv_keys = "q8_0";
  const auto result = exported(*demo, "gguf", path_of(dir) / "out");
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  QVERIFY(noted(result->notes, "--cache-type-k"));
  const auto file = read_gguf(result->path);
  const auto is = [&](const char* key, std::uint32_t type, std::int64_t value) {
    const auto* entry = find(file->metadata, key);
    return entry && entry->type == type && entry->as_int() == value;
  };
  QVERIFY(is("general.file_type", 4, 7));
  QVERIFY(is("general.quantization_version", 4, 2));
  QVERIFY(is("llama.block_count", 4, 4));
  QVERIFY(is("llama.context_length", 4, 1024));
  QVERIFY(is("llama.embedding_length", 4, 256));
  QVERIFY(is("llama.feed_forward_length", 4, 768));
  QVERIFY(is("llama.attention.head_count", 4, 8));
  QVERIFY(is("llama.attention.head_count_kv", 4, 4));
  QVERIFY(is("llama.rope.dimension_count", 4, 32));
  QVERIFY(is("llama.vocab_size", 4, 2048));
  QCOMPARE(find(file->metadata, "llama.attention.layer_norm_rms_epsilon")->type, 6u);
  QCOMPARE(find(file->metadata, "llama.rope.freq_base")->type, 6u);
  QCOMPARE(*find(file->metadata, "general.architecture")->as_string(), std::string("llama"));
  QCOMPARE(*find(file->metadata, "tokenizer.ggml.model")->as_string(), std::string("gpt2"));
  const auto* tokens = find(file->metadata, "tokenizer.ggml.tokens");
  QVERIFY(tokens);
  QCOMPARE(std::get<std::shared_ptr<GgufArray>>(tokens->value)->size(), std::size_t(2048));
  const auto back = opened(result->path);
  QVERIFY2(back->tokenizer != nullptr, back->tokenizer_problem.c_str());
  QCOMPARE(back->tokenizer->vocab_size(), demo->tokenizer->vocab_size());
}

void TestExport::gguf_rope_scaling() {
  QTemporaryDir dir;
  make_small_model(path_of(dir) / "model");
  const auto config_path = path_of(dir) / "model" / "config.json";
  const auto original = *read_json_file(config_path);
  int n = 0;
  for (const Json& rope :
       {Json{{"rope_type", "linear"}, {"factor", 2.5}},
        Json{{"rope_type", "llama3"}, {"factor", 32.0}},
        Json{{"rope_type", "llama3"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}}}) {
    auto config = original;
    config["rope_scaling"] = rope;
    config["rope_theta"] = 500000.0;
    put(config_path, config.dump());
    const auto model = opened(path_of(dir) / "model");
    const auto result = exported(*model, "gguf", path_of(dir) / std::to_string(n));
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const auto back = opened(result->path);
    QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
    QCOMPARE(back->spec->rope.theta, 500000.0f);
    QCOMPARE(back->spec->rope.factors, model->spec->rope.factors);
    const auto file = read_gguf(result->path);
    QCOMPARE(by_name(file->tensors).count("rope_freqs.weight"), std::size_t(n == 0 ? 0 : 1));
    QCOMPARE(find(file->metadata, "llama.rope.scaling.type") != nullptr, n == 0);
    if (n == 1) { // recognised as what other programs write into config.json
      QVERIFY(back->config["rope_scaling"]["rope_type"] == "llama3");
      QVERIFY(back->config["rope_scaling"]["factor"] == 32.0);
    }
    ++n;
  }
}

void TestExport::gguf_from_gguf() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  QTemporaryDir dir;
  const auto model = quantized(*data / "gguf" / "demo-4m.F16.gguf", "q4_0");
  const auto result = exported(*model, "gguf", path_of(dir) / "out");
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  const auto before = read_gguf(*data / "gguf" / "demo-4m.F16.gguf");
  const auto after = read_gguf(result->path);
  for (const auto& [key, value] : before->metadata)
    if (key.rfind("tokenizer.", 0) == 0 && value.type != 9) {
      QVERIFY2(find(after->metadata, key), key.c_str());
      QVERIFY2(find(after->metadata, key)->value == value.value, key.c_str());
    }
  // And into a folder, which then lacks tokenizer files, and says so.
  const auto folder = exported(*quantized(*data / "gguf" / "demo-4m.F16.gguf", "int4-g32-sym"),
                               "compressed-tensors", path_of(dir) / "folder");
  QVERIFY2(folder.ok(), folder.ok() ? "" : folder.error().text().c_str());
  QVERIFY(noted(folder->notes, "tokenizer"));
  QVERIFY(opened(path_of(dir) / "folder")->spec.has_value());
}

void TestExport::gguf_same_bytes_as_llama_cpp() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  QTemporaryDir dir;
  auto model = std::const_pointer_cast<Checkpoint>(opened(*data / "gguf" / "demo-4m.F16.gguf"));
  const auto compute = std::move(*make_cpu_compute());
  Feedback feedback;
  for (auto& module : model->modules) { // llama-quantize Q8_0 codes every matrix
    if (module.shape.size() != 2)
      continue;
    const FloatView view = module.weight.floats();
    const auto scheme = *parse_scheme("q8_0");
    auto made = find_method("rtn")->quantize(
        {view, scheme, Json::object(), "minmax", {}, *compute, feedback, module.name});
    QVERIFY(made.ok());
    module.weight = std::move(made->tensor);
  }
  const auto result = exported(*model, "gguf", path_of(dir) / "out");
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  const auto ours = read_gguf(result->path),
             theirs = read_gguf(*data / "gguf" / "demo-4m.Q8_0.gguf");
  QVERIFY(ours.ok() && theirs.ok());
  const auto a = by_name(ours->tensors), b = by_name(theirs->tensors);
  QCOMPARE(a.size(), b.size());
  for (const auto& [name, tensor] : b) {
    QVERIFY2(a.count(name), name.c_str());
    QCOMPARE(a.at(name).dtype, tensor.dtype);
    QCOMPARE(a.at(name).shape, tensor.shape);
    QVERIFY2(a.at(name).data.size() == tensor.data.size() &&
                 std::memcmp(a.at(name).data.data(), tensor.data.data(), tensor.data.size()) == 0,
             name.c_str());
  }
}

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
