// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF: every scheme written and read back, blocks, metadata, position scaling, and files compared
// with llama.cpp's.
#include "core/text/tokenizer.h"
#include "tests/export_support.h"

using namespace bitlathe;
using namespace bitlathe::test;

class TestExportGguf : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void gguf_every_scheme();
  void gguf_blocks();
  void gguf_metadata();
  void gguf_rope_scaling();
  void gguf_from_gguf();
  void gguf_same_bytes_as_llama_cpp();
};

void TestExportGguf::gguf_every_scheme() {
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
      QCOMPARE(entries(out), (std::vector<std::string>{"small-" + label + ".gguf",
                                                       "small-" + label + ".manifest.json"}));
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

void TestExportGguf::gguf_blocks() {
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

void TestExportGguf::gguf_metadata() {
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

void TestExportGguf::gguf_rope_scaling() {
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

void TestExportGguf::gguf_from_gguf() {
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

void TestExportGguf::gguf_same_bytes_as_llama_cpp() {
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

QTEST_GUILESS_MAIN(TestExportGguf)
#include "tst_export_gguf.moc"
