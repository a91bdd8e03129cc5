// SPDX-License-Identifier: GPL-3.0-or-later
// bitsandbytes folders: every scheme it holds is written, read back and compared; the bytes are the
// ones its loaders want; what others write is read; and what is broken is said.
#include "core/schemes/activations.h"
#include "kernels/num/nf4.h"
#include "tests/small_folder.h"
#include "tests/tiny_model.h"

#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

const std::string q0 = "model.layers.0.self_attn.q_proj";

/// A model without an architecture and with one linear layer of given codes.
Checkpoint one_module(const char* scheme, std::int64_t rows, std::int64_t cols,
                      const std::vector<std::uint8_t>& codes, float scale) {
  Checkpoint model;
  model.config = Json{{"model_type", "none"}};
  model.modules.emplace_back();
  Module& module = model.modules.back();
  module.name = "block.0.fc";
  module.role = "linear";
  module.linear = true;
  module.shape = {rows, cols};
  QTensor& t = module.weight;
  t.scheme = *parse_scheme(scheme);
  t.rows = rows;
  t.cols = cols;
  const auto bytes = t.scheme.family->bytes(t.scheme, rows, cols);
  t.owned_codes.resize(bytes.codes);
  const int bits = int(t.scheme.bits);
  const auto stride = int_row_bytes(cols, bits);
  for (std::int64_t i = 0; i < rows * cols; ++i)
    t.owned_codes[std::size_t(i / cols * stride + i % cols * bits / 8)] |=
        std::byte(codes[std::size_t(i)] << (i % cols * bits % 8));
  t.owned_scales.resize(bytes.scales);
  for (std::int64_t i = 0; i < std::int64_t(bytes.scales / float_size(t.scheme.float_type)); ++i)
    store_float(t.scheme.float_type, t.owned_scales.data(), i, scale * float(i + 1));
  t.own();
  return model;
}

} // namespace

class TestBnbFiles : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    make_small_folder(path_of(dir_) / "model");
    make_small_folder(path_of(dir_) / "odd", {.hidden = 48, .ffn = 90});
    make_small_folder(path_of(dir_) / "tied", {.tied = true, .type = FloatType::f16});
  }

  void every_scheme() {
    int n = 0;
    for (const char* source : {"model", "odd", "tied"})
      for (const char* scheme :
           {"nf4-b64", "nf4-b64-dq", "fp4-b64", "fp4-b128-dq", "nf4-b32", "nf4-b4096-dq",
            "nf4-b64-sbf16", "nf4-b256-sf16", "int8-channel-sym", "int8-channel-sym-sbf16",
            "int8-channel-sym-sf32", "int8-tensor-sym", "int8-g128-sym"}) {
        const auto model = quantized(path_of(dir_) / source, scheme);
        const auto out = path_of(dir_) / ("every" + std::to_string(n++));
        const auto result = exported(*model, "bnb", out);
        QVERIFY2(result.ok(),
                 (std::string(scheme) + ": " + (result.ok() ? "" : result.error().text())).c_str());
        const auto back = opened(out);
        QCOMPARE(back->format, std::string("bnb"));
        QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
        QVERIFY(back->others.empty());
        const Module* q = back->find_module(q0);
        QCOMPARE(q->weight.scheme.bits, parse_scheme(scheme)->bits);
        QCOMPARE(decode_all(q->weight), decode_all(model->find_module(q0)->weight));
        QCOMPARE(q->activations, std::string("none")); // recorded beside the export
        QVERIFY(q->bias.rows == 1);
        QCOMPARE(broken_rules("bnb", out), std::string());
      }
  }

  void same_scheme_comes_back() {
    for (const char* scheme : {"nf4-b64", "nf4-b128-dq", "fp4-b64-dq", "int8-channel-sym"}) {
      QTemporaryDir dir;
      const auto model = quantized(path_of(dir_) / "odd", scheme);
      QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
      const auto back = opened(path_of(dir) / "out");
      QCOMPARE(back->find_module(q0)->weight.scheme.id, std::string(scheme));
      // And again, to the same bytes.
      QVERIFY(exported(*back, "bnb", path_of(dir) / "again").ok());
      const auto a = read_file(path_of(dir) / "out" / "model.safetensors");
      const auto b = read_file(path_of(dir) / "again" / "model.safetensors");
      QVERIFY(*a == *b);
    }
  }

  void golden_bytes() {
    const auto model =
        one_module("nf4-b64", 3, 5, {15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, 0.5f);
    QTemporaryDir dir;
    const auto result = exported(model, "bnb", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    const EditedFolder file(path_of(dir) / "out");
    const auto& packed = file.tensors.at("block.0.fc.weight");
    QCOMPARE(packed.dtype, std::string("U8"));
    QCOMPARE(packed.shape, (std::vector<std::int64_t>{8, 1}));
    // 15, 0 is 0xF0: the first value in the high nibble; rows share bytes; the last one is padded.
    QCOMPARE(file.values<std::uint8_t>("block.0.fc.weight"),
             (std::vector<std::uint8_t>{0xF0, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xD0}));
    QCOMPARE(file.values<float>("block.0.fc.weight.absmax"), std::vector<float>{0.5f});
    QCOMPARE(file.values<std::uint32_t>("block.0.fc.weight.quant_map").at(1), 0xbf3239b1u);
    const auto state = Json::parse(file.text("block.0.fc.weight.quant_state.bitsandbytes__nf4"));
    QVERIFY(
        state ==
        (Json{{"quant_type", "nf4"}, {"blocksize", 64}, {"dtype", "float16"}, {"shape", {3, 5}}}));
    QCOMPARE(decode_all(opened(path_of(dir) / "out")->modules.at(0).weight),
             decode_all(model.modules[0].weight));
  }

  void golden_int8() {
    auto model = one_module("int8-channel-sym", 2, 3, {0, 1, 128, 255, 129, 127}, 0.25f);
    model.modules[0].activations = "llm-int8";
    model.modules[0].outlier_threshold = 5;
    QTemporaryDir dir;
    QVERIFY(exported(model, "bnb", path_of(dir) / "out").ok());
    const EditedFolder file(path_of(dir) / "out");
    QCOMPARE(file.values<std::int8_t>("block.0.fc.weight"),
             (std::vector<std::int8_t>{-128, -127, 0, 127, 1, -1}));
    QCOMPARE(file.values<float>("block.0.fc.SCB"), (std::vector<float>{31.75f, 63.5f}));
    QVERIFY(file.tensors.at("block.0.fc.weight_format").shape.empty());
    QCOMPARE(file.values<std::uint8_t>("block.0.fc.weight_format"), std::vector<std::uint8_t>{0});
    const auto text = *read_file(path_of(dir) / "out" / "config.json");
    QVERIFY(text.find("\"llm_int8_threshold\": 5.0") != std::string::npos);
    const auto back = opened(path_of(dir) / "out");
    QCOMPARE(back->modules[0].activations, std::string("llm-int8"));
    QCOMPARE(back->modules[0].outlier_threshold, 5.0f);
  }

  void nested() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "model", "nf4-b32-dq");
    QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
    EditedFolder file(path_of(dir) / "out");
    const std::string weight = "model.layers.0.mlp.gate_proj.weight"; // 96 x 64: 192 blocks
    QCOMPARE(file.tensors.at(weight + ".absmax").dtype, std::string("U8"));
    QCOMPARE(file.tensors.at(weight + ".absmax").shape, std::vector<std::int64_t>{192});
    QCOMPARE(file.tensors.at(weight + ".nested_absmax").shape, std::vector<std::int64_t>{1});
    const auto state_name = weight + ".quant_state.bitsandbytes__nf4";
    auto state = Json::parse(file.text(state_name));
    QVERIFY(state["nested_blocksize"] == 256 && state["nested_dtype"] == "float32");
    // The text is as long for every mean.
    QCOMPARE(file.text(state_name).size(),
             file.text("model.layers.1.mlp.gate_proj.weight.quant_state.bitsandbytes__nf4").size());
    // Decoded by hand, with a map that differs in its last bits: no longer the table of the
    // kernels, but exact.
    auto map = file.values<float>(weight + ".nested_quant_map");
    map[3] = std::nextafter(map[3], 0.0f);
    file.set(weight + ".nested_quant_map", "F32", {256}, map);
    file.write(path_of(dir) / "other");
    const auto back = opened(path_of(dir) / "other");
    const QTensor& q = back->find_module("model.layers.0.mlp.gate_proj")->weight;
    QCOMPARE(q.scheme.id, std::string("nf4-b32"));
    const auto codes = file.values<std::uint8_t>(weight),
               absmax = file.values<std::uint8_t>(weight + ".absmax");
    const auto top = file.values<float>(weight + ".nested_absmax");
    const float offset = state["nested_offset"].get<float>();
    const auto values = decode_all(q);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const unsigned code = i % 2 ? codes[i / 2] & 15u : codes[i / 2] >> 4;
      const float product = map[absmax[i / 32]] * top[0];
      QCOMPARE(values[i], nf4_values[code] * (product + offset));
    }
  }

  void configuration() {
    QTemporaryDir dir;
    const auto keep = [](const Module& m) {
      return !m.linear || m.role == "lm_head" || m.layer == 1 ? std::string()
                                                              : std::string("nf4-b64-dq");
    };
    const auto model = quantized(path_of(dir_) / "model", keep);
    QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
    const auto config = *read_json_file(path_of(dir) / "out" / "config.json");
    const auto& q = config["quantization_config"];
    QVERIFY(q["quant_method"] == "bitsandbytes");
    QVERIFY(q["load_in_4bit"] == true && q["load_in_8bit"] == false);
    QVERIFY(q["_load_in_4bit"] == true && q["_load_in_8bit"] == false);
    QVERIFY(q["bnb_4bit_quant_type"] == "nf4" && q["bnb_4bit_use_double_quant"] == true);
    QVERIFY(q["bnb_4bit_compute_dtype"] == "bfloat16" && q["bnb_4bit_quant_storage"] == "uint8");
    QVERIFY(q["llm_int8_threshold"].is_number_float());
    std::set<std::string> skips;
    for (const auto& name : q["llm_int8_skip_modules"])
      skips.insert(name.get<std::string>());
    const std::string l = "model.layers.1.";
    QCOMPARE(skips,
             (std::set<std::string>{"lm_head", l + "self_attn.q_proj", l + "self_attn.k_proj",
                                    l + "self_attn.v_proj", l + "self_attn.qkv_proj",
                                    l + "self_attn.o_proj", l + "mlp.gate_proj", l + "mlp.up_proj",
                                    l + "mlp.gate_up_proj", l + "mlp.down_proj"}));
    // A tied head is a linear layer too.
    const auto tied = quantized(path_of(dir_) / "tied", "fp4-b64");
    QVERIFY(exported(*tied, "bnb", path_of(dir) / "tied").ok());
    const auto settings =
        (*read_json_file(path_of(dir) / "tied" / "config.json"))["quantization_config"];
    QVERIFY(settings["llm_int8_skip_modules"] == Json::array({"lm_head"}));
    QVERIFY(settings["bnb_4bit_quant_type"] == "fp4");
    QVERIFY(settings["bnb_4bit_compute_dtype"] == "float16");
  }

  void sizes_are_known_before_weights() {
    for (const char* scheme : {"nf4-b64-dq", "fp4-b64-sbf16", "int8-channel-sym"}) {
      const auto model = quantized(path_of(dir_) / "odd", scheme);
      auto plan = opened(path_of(dir_) / "odd");
      for (std::size_t i = 0; i < plan->modules.size(); ++i) {
        QTensor& weight = plan->modules[i].weight;
        if (!model->modules[i].weight.scheme.quantized)
          continue;
        weight.scheme = model->modules[i].weight.scheme;
        weight.codes = {};
      }
      const auto sizes = [](const Checkpoint& checkpoint) {
        std::map<std::string, std::uint64_t> out;
        const auto described =
            find_exporter("bnb")->files({checkpoint, "small", "label", 5ull << 30});
        if (described.ok())
          for (const FileToWrite& file : described->files)
            out[file.name.string()] = file.bytes;
        return out;
      };
      QVERIFY(sizes(*model).size() > 1);
      QCOMPARE(sizes(*plan), sizes(*model));
    }
  }

  void refusals() {
    using Level = Finding::Level;
    const auto mixed = quantized(path_of(dir_) / "model", [](const Module& m) {
      return !m.linear || m.role == "lm_head" ? ""
             : m.role == "q_proj"             ? "fp4-b64"
             : m.role == "k_proj"             ? "int4-g32-sym"
                                              : "nf4-b64";
    });
    const auto findings = findings_of(*mixed, "bnb");
    QVERIFY(found(findings, Level::refuse, q0 + ": A bitsandbytes model has one kind"));
    QVERIFY(found(findings, Level::refuse, "nearest: nf4-b64"));
    QVERIFY(found(findings, Level::refuse, "k_proj: bitsandbytes holds nf4"));
    QTemporaryDir dir;
    const auto refused = exported(*mixed, "bnb", path_of(dir) / "out");
    QVERIFY(!refused.ok());
    QCOMPARE(refused.error().code, std::string("unsupported"));
    QVERIFY(!fs::exists(path_of(dir) / "out"));

    const auto inputs = quantized(path_of(dir_) / "model", "nf4-b64", "int8-token-dynamic");
    QVERIFY(found(findings_of(*inputs, "bnb"), Level::refuse, "nearest: activations none"));
    const auto tokens =
        quantized(path_of(dir_) / "model", "int8-channel-sym", "int8-token-dynamic");
    QVERIFY(found(findings_of(*tokens, "bnb"), Level::refuse, "nearest: activations llm-int8"));
    const auto table = quantized(path_of(dir_) / "model", [](const Module& m) {
      return m.role == "embedding" || m.role == "lm_head" || m.role == "o_proj" ? "nf4-b32" : "";
    });
    const auto of_table = findings_of(*table, "bnb");
    QVERIFY(found(of_table, Level::refuse, "an embedding"));
    QVERIFY(found(of_table, Level::warning, "output head", "vllm"));
    QVERIFY(found(of_table, Level::warning, "Blocks of 32", "transformers"));
    QVERIFY(found(findings_of(*opened(path_of(dir_) / "model"), "bnb"), Level::refuse,
                  "nothing for this format"));
    const auto part = quantized(path_of(dir_) / "model", [](const Module& m) {
      return m.role == "q_proj" || m.role == "o_proj" ? "nf4-b64" : "";
    });
    QVERIFY(found(findings_of(*part, "bnb"), Level::warning, "qkv_proj", "vllm"));

    auto thresholds = quantized(path_of(dir_) / "model", "int8-channel-sym", "llm-int8");
    float threshold = 5;
    for (Module& module : thresholds->modules)
      module.outlier_threshold = threshold++;
    QVERIFY(found(findings_of(*thresholds, "bnb"), Level::refuse, "thresholds"));

    // f32 scales that are no SCB / 127: one in a hundred.
    auto narrow = quantized(path_of(dir_) / "model", "int8-channel-sym-sf32");
    QVERIFY(!found(findings_of(*narrow, "bnb"), Level::refuse, "SCB"));
    auto& scales = narrow->modules.at(3).weight.owned_scales;
    QVERIFY(!scales.empty());
    bool refuses = false;
    for (int i = 0; i < 1000 && !refuses; ++i) {
      store_float(FloatType::f32, scales.data(), 0,
                  std::nextafter(load_float(FloatType::f32, scales.data(), 0), 1.0f));
      refuses = found(findings_of(*narrow, "bnb"), Level::refuse, "no SCB / 127");
    }
    QVERIFY(refuses);
    QVERIFY(!exported(*narrow, "bnb", path_of(dir) / "narrow").ok());
  }

  void reads_what_others_write() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "odd", "int8-channel-sym-sf32", "llm-int8");
    for (Module& module : model->modules)
      module.outlier_threshold = 6;
    QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
    {
      EditedFolder file(path_of(dir) / "out"); // of 2023: no quant_method, no weight_format
      file.config["quantization_config"] = {{"load_in_8bit", true}, {"llm_int8_threshold", 3}};
      for (auto it = file.tensors.begin(); it != file.tensors.end();)
        it = it->first.find("weight_format") != std::string::npos ? file.tensors.erase(it) : ++it;
      file.write(path_of(dir) / "old");
      const auto back = opened(path_of(dir) / "old");
      QCOMPARE(back->format, std::string("bnb"));
      const Module* q = back->find_module(q0);
      QCOMPARE(q->activations, std::string("llm-int8"));
      QCOMPARE(q->outlier_threshold, 3.0f);
      QCOMPARE(decode_all(q->weight), decode_all(model->find_module(q0)->weight));
      QVERIFY(broken_rules("bnb", path_of(dir) / "old").find("written as a float") !=
              std::string::npos);
    }
    {
      const auto four = quantized(path_of(dir_) / "odd", "nf4-b64");
      QVERIFY(exported(*four, "bnb", path_of(dir) / "four").ok());
      EditedFolder file(path_of(dir) / "four"); // bytes kept as bf16 numbers
      for (auto& [name, tensor] : file.tensors)
        if (tensor.shape.size() == 2 && tensor.dtype == "U8") {
          tensor.dtype = "BF16";
          tensor.data.resize((tensor.data.size() + 1) / 2 * 2);
          tensor.shape[0] = std::int64_t(tensor.data.size() / 2);
        }
      file.config["quantization_config"]["bnb_4bit_quant_storage"] = "bfloat16";
      file.write(path_of(dir) / "storage");
      const auto back = opened(path_of(dir) / "storage");
      QCOMPARE(decode_all(back->find_module(q0)->weight),
               decode_all(four->find_module(q0)->weight));
      QVERIFY(back->spec.has_value());
      QVERIFY(broken_rules("bnb", path_of(dir) / "storage").find("uint8 only") !=
              std::string::npos);
    }
    {
      const auto plain = opened(path_of(dir_) / "odd"); // to be quantized while loading
      EditedFolder file(path_of(dir_) / "odd");
      file.config["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                            {"load_in_4bit", true}};
      file.write(path_of(dir) / "plain");
      const auto back = opened(path_of(dir) / "plain");
      QVERIFY(back->spec.has_value());
      QVERIFY(noted(back->notes, "while loading"));
    }
  }

  void broken_files_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<QString>("what");
    QTest::addColumn<QString>("message");
    const auto row = [](const char* scheme, const char* what, const char* message) {
      QTest::newRow(what) << QString(scheme) << QString(what) << QString(message);
    };
    row("nf4-b64", "no state", "quant_state");
    row("nf4-b64", "two states", "two quant_state");
    row("nf4-b64", "state of another kind", "unknown kind");
    row("nf4-b64", "state is no JSON", "cannot be read");
    row("nf4-b64", "state says fp4", "says fp4");
    row("nf4-b64", "huge shape", "shape");
    row("nf4-b64", "other shape", "bytes instead of");
    row("nf4-b64", "odd blocksize", "blocks of 48");
    row("nf4-b64", "no absmax", "absmax is missing");
    row("nf4-b64", "short absmax", "does not hold");
    row("nf4-b64", "custom map", "is not the table");
    row("nf4-b64", "no weight", "weight is missing");
    row("nf4-b64-dq", "no nested absmax", "nested_absmax is missing");
    row("nf4-b64-dq", "no offset", "nested_offset");
    row("int8-channel-sym", "no SCB", "SCB");
    row("int8-channel-sym", "short SCB", "each of the 64 rows");
    row("int8-channel-sym", "infinite SCB", "SCB of row 0");
    row("int8-channel-sym", "col_ampere", "col_ampere");
  }
  void broken_files() {
    QFETCH(QString, scheme);
    QFETCH(QString, what);
    QFETCH(QString, message);
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "model", scheme.toStdString());
    QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
    EditedFolder file(path_of(dir) / "out");
    const auto weight = q0 + ".weight";
    const auto state_name = weight + ".quant_state.bitsandbytes__nf4";
    const auto state = scheme.startsWith("nf4") ? Json::parse(file.text(state_name)) : Json();
    const auto set_state = [&](const char* key, const Json& value) {
      auto changed = state;
      if (value.is_null())
        changed.erase(key);
      else
        changed[key] = value;
      file.set_text(state_name, changed.dump());
    };
    if (what == "no state")
      file.tensors.erase(state_name);
    else if (what == "two states")
      file.set_text(weight + ".quant_state.bitsandbytes__fp4", state.dump());
    else if (what == "state of another kind") {
      file.tensors.erase(state_name);
      file.set_text(weight + ".quant_state.bitsandbytes__nf5", state.dump());
    } else if (what == "state is no JSON")
      file.set_text(state_name, "{\"quant_type\":");
    else if (what == "state says fp4")
      set_state("quant_type", "fp4");
    else if (what == "huge shape")
      set_state("shape", {4000000000ll, 4000000000ll});
    else if (what == "other shape")
      set_state("shape", {64, 65});
    else if (what == "odd blocksize") {
      set_state("blocksize", 48);
      file.set(weight + ".absmax", "F32", {86}, std::vector<float>(86, 1.0f));
    } else if (what == "no absmax")
      file.tensors.erase(weight + ".absmax");
    else if (what == "short absmax")
      file.set(weight + ".absmax", "F32", {3}, std::vector<float>(3, 1.0f));
    else if (what == "custom map") {
      auto map = file.values<float>(weight + ".quant_map");
      map[5] += 0.01f;
      file.set(weight + ".quant_map", "F32", {16}, map);
    } else if (what == "no weight")
      file.tensors.erase(weight);
    else if (what == "no nested absmax")
      file.tensors.erase(weight + ".nested_absmax");
    else if (what == "no offset")
      set_state("nested_offset", Json());
    else if (what == "no SCB")
      file.tensors.erase(q0 + ".SCB");
    else if (what == "short SCB")
      file.set(q0 + ".SCB", "F32", {5}, std::vector<float>(5, 1.0f));
    else if (what == "infinite SCB")
      file.set(q0 + ".SCB", "F32", {64}, std::vector<float>(64, INFINITY));
    else if (what == "col_ampere")
      file.set(q0 + ".weight_format", "U8", {}, std::vector<std::uint8_t>{3});
    file.write(path_of(dir) / "broken");
    const auto why = why_not_opened(path_of(dir) / "broken");
    QVERIFY2(why.find(message.toStdString()) != std::string::npos, why.c_str());
    QVERIFY2(why.find(q0) != std::string::npos && why.find("broken") != std::string::npos,
             why.c_str());
    QVERIFY(broken_rules("bnb", path_of(dir) / "broken").find(q0) != std::string::npos);
  }

  void rules_of_skips() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "model", "nf4-b64");
    QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
    EditedFolder file(path_of(dir) / "out");
    file.config["quantization_config"]["llm_int8_skip_modules"] = Json::array();
    file.write(path_of(dir) / "none");
    QVERIFY(broken_rules("bnb", path_of(dir) / "none").find("lm_head is a float matrix") !=
            std::string::npos);
    file.config["quantization_config"]["llm_int8_skip_modules"] =
        Json::array({"lm_head", "q_proj"});
    file.write(path_of(dir) / "more");
    QVERIFY(broken_rules("bnb", path_of(dir) / "more").find(q0 + " is on the list") !=
            std::string::npos);
    file.config["quantization_config"]["llm_int8_skip_modules"] = nullptr;
    file.write(path_of(dir) / "null");
    QCOMPARE(broken_rules("bnb", path_of(dir) / "null"), std::string());
    QVERIFY(!broken_rules("bnb", path_of(dir) / "nowhere").empty());
  }

  void runs_like_the_codes() {
    for (const char* scheme : {"nf4-b64-dq", "int8-channel-sym"}) {
      QTemporaryDir dir;
      const bool eight = scheme[0] == 'i';
      const auto model = quantized(path_of(dir_) / "model", scheme, eight ? "llm-int8" : "none");
      for (Module& module : model->modules)
        module.outlier_threshold = eight ? 2.0f : 0.0f;
      QVERIFY(exported(*model, "bnb", path_of(dir) / "out").ok());
      QCOMPARE(logits_of(opened(path_of(dir) / "out")), logits_of(model));
    }
  }

  void demo_model() {
    QTemporaryDir dir;
    const auto model = quantized(test::demo_model(), "nf4-b64-dq");
    const auto result = exported(*model, "bnb", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    QCOMPARE(broken_rules("bnb", path_of(dir) / "out"), std::string());
    std::uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(path_of(dir) / "out"))
      if (entry.path() != result->manifest)
        bytes += entry.file_size();
    QCOMPARE(result->bytes, bytes);
  }

 private:
  QTemporaryDir dir_;
};

QTEST_GUILESS_MAIN(TestBnbFiles)
#include "tst_bnb_files.moc"
