// SPDX-License-Identifier: GPL-3.0-or-later
// Native f8 folders: written with scales per tensor, channel and tile, read back and compared; what
// others write is read, also tiles that the shapes do not divide into; what is broken is said.
#include "kernels/num/float8.h"
#include "tests/small_folder.h"
#include "tests/tiny_model.h"

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

const std::string q0 = "model.layers.0.self_attn.q_proj";
const std::string up0 = "model.layers.0.mlp.up_proj";

} // namespace

class TestFp8Files : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    make_small_folder(path_of(dir_) / "model");
    make_small_folder(path_of(dir_) / "large", {.hidden = 136, .ffn = 200}); // no whole tiles
    make_small_folder(path_of(dir_) / "tied", {.tied = true, .type = FloatType::f16});
  }

  void every_scheme() {
    int n = 0;
    for (const char* source : {"model", "large", "tied"})
      for (const char* scheme :
           {"f8_e4m3-tensor", "f8_e4m3-tensor-sf32", "f8_e4m3-channel", "f8_e4m3-channel-sbf16",
            "f8_e4m3-b128x128", "f8_e4m3-b128x128-sbf16", "f8_e4m3-b128x128-sf32"})
        for (const char* activations : {"none", "f8_e4m3-token-dynamic", "f8_e4m3-tensor-static"}) {
          const bool tiles = std::string(scheme).find("b128") != std::string::npos;
          const bool fixed = std::string(activations).find("static") != std::string::npos;
          const auto model =
              quantized(path_of(dir_) / source, scheme, activations, fixed ? 0.03f : 0.0f);
          const auto out = path_of(dir_) / ("every" + std::to_string(n++));
          const auto result = exported(*model, "safetensors", out);
          const auto what = std::string(scheme) + " " + activations + ": " +
                            (result.ok() ? "" : result.error().text());
          if (tiles && fixed) {
            QVERIFY2(!result.ok() && what.find("while running") != std::string::npos, what.c_str());
            continue;
          }
          QVERIFY2(result.ok(), what.c_str());
          const auto back = opened(out);
          QCOMPARE(back->format, std::string("fp8"));
          QVERIFY2(back->spec.has_value(), back->why_not_runnable.c_str());
          QVERIFY(back->others.empty());
          const Module* up = back->find_module(up0);
          QVERIFY(up->weight.scheme.id.rfind(std::string(scheme).substr(0, 14), 0) == 0);
          QVERIFY(up->weight.owned_codes.empty()); // mapped
          QCOMPARE(decode_all(up->weight), decode_all(model->find_module(up0)->weight));
          QCOMPARE(up->activations, std::string(activations));
          QCOMPARE(up->activation_scale, fixed ? 0.03f : 0.0f);
          QVERIFY(!back->find_module("lm_head")->weight.scheme.quantized);
          QCOMPARE(broken_rules("safetensors", out), std::string());
        }
  }

  void bytes_and_configuration() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "large", [](const Module& m) {
      return m.linear && m.role != "lm_head" && m.layer == 0 ? "f8_e4m3-b128x128" : "";
    });
    QVERIFY(exported(*model, "safetensors", path_of(dir) / "out").ok());
    const EditedFolder file(path_of(dir) / "out");
    const auto& weight = file.tensors.at(up0 + ".weight");
    QCOMPARE(weight.dtype, std::string("F8_E4M3"));
    QCOMPARE(weight.shape, (std::vector<std::int64_t>{200, 136}));
    const auto& scales = file.tensors.at(up0 + ".weight_scale_inv");
    QCOMPARE(scales.dtype, std::string("F32")); // f16 before: the same values
    QCOMPARE(scales.shape, (std::vector<std::int64_t>{2, 2}));
    const auto values = decode_all(model->find_module(up0)->weight);
    const auto scale = file.values<float>(up0 + ".weight_scale_inv");
    for (std::int64_t r = 0; r < 200; ++r)
      for (std::int64_t c = 0; c < 136; ++c) {
        const auto code = std::uint8_t(weight.data[std::size_t(r * 136 + c)]);
        QCOMPARE(values[std::size_t(r * 136 + c)],
                 f8_e4m3_to_f32(code) * scale[std::size_t(r / 128 * 2 + c / 128)]);
      }
    const auto& q = file.config["quantization_config"];
    QVERIFY(q["quant_method"] == "fp8" && q["activation_scheme"] == "dynamic");
    QVERIFY(q["weight_block_size"] == Json::array({128, 128}));
    QVERIFY(q["ignored_layers"] == q["modules_to_not_convert"]);
    QCOMPARE(q["ignored_layers"].size(), std::size_t(8));
    QVERIFY(q["ignored_layers"].back() == "lm_head");
    QVERIFY(file.tensors.at("model.layers.1.mlp.up_proj.weight").dtype == "BF16");

    const auto fixed =
        quantized(path_of(dir_) / "model", "f8_e4m3-tensor", "f8_e4m3-tensor-static", 0.25f);
    QVERIFY(exported(*fixed, "safetensors", path_of(dir) / "static").ok());
    const EditedFolder second(path_of(dir) / "static");
    QVERIFY(second.tensors.at(up0 + ".weight_scale").shape.empty());
    QCOMPARE(second.values<float>(up0 + ".input_scale"), std::vector<float>{0.25f});
    QVERIFY(second.config["quantization_config"]["activation_scheme"] == "static");
    QVERIFY(second.config["quantization_config"]["weight_block_size"].is_null());
  }

  void other_weights_beside_f8() {
    QTemporaryDir dir;
    const auto model = quantized(path_of(dir_) / "model", [](const Module& m) {
      return m.role == "embedding"      ? "f8_e4m3-channel"
             : m.role == "o_proj"       ? "int4-g32-sym"
             : m.role == "down_proj"    ? "f8_e5m2-tensor"
             : m.linear && m.layer == 0 ? "f8_e4m3-tensor"
                                        : "";
    });
    const auto result = exported(*model, "safetensors", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    QVERIFY(noted(result->notes, "5 quantized modules are written decoded"));
    const auto back = opened(path_of(dir) / "out");
    QCOMPARE(back->find_module("model.embed_tokens")->weight.scheme.id, std::string("bf16"));
    QCOMPARE(back->find_module(q0)->weight.scheme.id, std::string("f8_e4m3-tensor-sf32"));
    QCOMPARE(broken_rules("safetensors", path_of(dir) / "out"), std::string());
  }

  void findings() {
    using Level = Finding::Level;
    const auto kinds = quantized(path_of(dir_) / "model", [](const Module& m) {
      return m.role == "q_proj" ? "f8_e4m3-channel" : m.linear ? "f8_e4m3-tensor" : "";
    });
    auto list = findings_of(*kinds, "safetensors");
    QVERIFY(found(list, Level::refuse, q0 + ": Native f8 has one kind of scales"));
    QVERIFY(found(list, Level::warning, "output head", "vllm"));
    QVERIFY(found(list, Level::warning, "128 x 128 tiles", "transformers"));
    QVERIFY(found(list, Level::note, "meant to stay float"));
    const auto part = quantized(path_of(dir_) / "model", [](const Module& m) {
      return m.role == "q_proj" ? "f8_e4m3-b128x128" : "";
    });
    list = findings_of(*part, "safetensors");
    QVERIFY(found(list, Level::warning, "vLLM joins these", "vllm"));
    QVERIFY(!found(list, Level::warning, "transformers reads", "transformers"));
    auto mixed = quantized(path_of(dir_) / "model", "f8_e4m3-tensor", "f8_e4m3-token-dynamic");
    for (Module& module : mixed->modules)
      if (module.role == "q_proj")
        module.activations = "f8_e4m3-tensor-static";
    QVERIFY(found(findings_of(*mixed, "safetensors"), Level::refuse,
                  q0 + ": Native f8 has one activation_scheme"));
    const auto int8 = quantized(path_of(dir_) / "model", "f8_e4m3-tensor", "int8-token-dynamic");
    QVERIFY(
        found(findings_of(*int8, "safetensors"), Level::refuse, "nearest: f8_e4m3-token-dynamic"));
  }

  void reads_what_others_write() {
    QTemporaryDir dir;
    const auto model =
        quantized(path_of(dir_) / "large", "f8_e4m3-channel", "f8_e4m3-token-dynamic");
    QVERIFY(exported(*model, "safetensors", path_of(dir) / "out").ok());
    const auto expected = decode_all(model->find_module(up0)->weight);
    { // one number per row, without a second dimension; another method's name
      EditedFolder file(path_of(dir) / "out");
      for (auto& [name, tensor] : file.tensors)
        if (name.find("weight_scale") != std::string::npos)
          tensor.shape = {tensor.shape[0]};
      file.config["quantization_config"] = {{"quant_method", "fbgemm_fp8"},
                                            {"activation_scale_ub", 1200.0}};
      file.write(path_of(dir) / "fbgemm");
      const auto back = opened(path_of(dir) / "fbgemm");
      QCOMPARE(back->format, std::string("fp8"));
      QCOMPARE(decode_all(back->find_module(up0)->weight), expected);
      QCOMPARE(back->find_module(up0)->activations, std::string("f8_e4m3-token-dynamic"));
    }
    const auto tensor =
        quantized(path_of(dir_) / "model", "f8_e4m3-tensor-sbf16", "f8_e4m3-tensor-static", 0.5f);
    QVERIFY(exported(*tensor, "safetensors", path_of(dir) / "tensor").ok());
    { // the names that transformers has for one scale per tensor
      EditedFolder file(path_of(dir) / "tensor");
      auto renamed = file;
      renamed.tensors.clear();
      for (const auto& [name, t] : file.tensors) {
        auto to = name;
        if (const auto at = to.find("weight_scale"); at != std::string::npos)
          to = to.substr(0, at) + "weight_scale_inv";
        if (const auto at = to.find("input_scale"); at != std::string::npos)
          to = to.substr(0, at) + "activation_scale";
        renamed.tensors[to] = t;
        if (t.shape.empty())
          renamed.tensors[to].shape = {1};
      }
      renamed.write(path_of(dir) / "renamed");
      const auto back = opened(path_of(dir) / "renamed");
      const Module* up = back->find_module(up0);
      QVERIFY(up->weight.scheme.per_tensor);
      QCOMPARE(up->activation_scale, 0.5f);
      QCOMPARE(decode_all(up->weight), decode_all(tensor->find_module(up0)->weight));
      QVERIFY(back->others.empty());
    }
    { // ModelOpt
      EditedFolder file(path_of(dir) / "tensor");
      file.config["quantization_config"] = {{"quant_method", "modelopt"}, {"quant_algo", "FP8"}};
      file.write(path_of(dir) / "modelopt");
      QCOMPARE(opened(path_of(dir) / "modelopt")->find_module(up0)->activations,
               std::string("f8_e4m3-tensor-static"));
      file.config["quantization_config"]["quant_algo"] = "NVFP4";
      file.write(path_of(dir) / "nvfp4");
      QVERIFY(opened(path_of(dir) / "nvfp4")->why_not_runnable.find("modelopt") !=
              std::string::npos);
    }
  }

  void broken_files_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<QString>("what");
    QTest::addColumn<QString>("message");
    const auto row = [](const char* scheme, const char* what, const char* message) {
      QTest::newRow(what) << QString(scheme) << QString(what) << QString(message);
    };
    row("f8_e4m3-b128x128", "no scales", "weight_scale");
    row("f8_e4m3-b128x128", "short scales", "does not fit");
    row("f8_e4m3-b128x128", "integer scales", "stored as I32");
    row("f8_e4m3-b128x128", "tiles of 64", "64 x 64");
    row("f8_e4m3-b128x128", "odd activation_scheme", "sometimes");
    row("f8_e4m3-tensor", "both", "both weight_scale");
    row("f8_e4m3-tensor", "no input_scale", "input_scale is missing");
    row("f8_e4m3-tensor", "zero input_scale", "not a number above 0");
    row("f8_e4m3-channel", "three scales", "does not fit");
  }
  void broken_files() {
    QFETCH(QString, scheme);
    QFETCH(QString, what);
    QFETCH(QString, message);
    QTemporaryDir dir;
    const auto model =
        quantized(path_of(dir_) / "large", scheme.toStdString(),
                  what.contains("input_scale") ? "f8_e4m3-tensor-static" : "f8_e4m3-token-dynamic",
                  what.contains("input_scale") ? 0.5f : 0.0f);
    const auto result = exported(*model, "safetensors", path_of(dir) / "out");
    QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
    EditedFolder file(path_of(dir) / "out");
    auto& settings = file.config["quantization_config"];
    const auto part = up0 + (scheme.contains("b128") ? ".weight_scale_inv" : ".weight_scale");
    if (what == "no scales")
      file.tensors.erase(part);
    else if (what == "short scales")
      file.set(part, "F32", {2, 1}, std::vector<float>{1, 1});
    else if (what == "integer scales")
      file.set(part, "I32", {2, 2}, std::vector<std::int32_t>{1, 1, 1, 1});
    else if (what == "tiles of 64")
      settings["weight_block_size"] = {64, 64};
    else if (what == "odd activation_scheme")
      settings["activation_scheme"] = "sometimes";
    else if (what == "both")
      file.set(up0 + ".weight_scale_inv", "F32", {1}, std::vector<float>{1});
    else if (what == "no input_scale")
      file.tensors.erase(up0 + ".input_scale");
    else if (what == "zero input_scale")
      file.set(up0 + ".input_scale", "F32", {}, std::vector<float>{0});
    else if (what == "three scales")
      file.set(part, "F32", {3}, std::vector<float>{1, 1, 1});
    file.write(path_of(dir) / "broken");
    const auto why = why_not_opened(path_of(dir) / "broken");
    QVERIFY2(why.find(message.toStdString()) != std::string::npos, why.c_str());
    QVERIFY2(why.find("broken") != std::string::npos, why.c_str());
    if (what != "zero input_scale" && what != "both")
      QVERIFY(!broken_rules("safetensors", path_of(dir) / "broken").empty());
  }

  void rules() {
    QTemporaryDir dir;
    QCOMPARE(broken_rules("safetensors", path_of(dir_) / "model"), std::string());
    const auto model = quantized(path_of(dir_) / "model", "f8_e4m3-tensor");
    QVERIFY(exported(*model, "safetensors", path_of(dir) / "out").ok());
    EditedFolder file(path_of(dir) / "out");
    file.tensors[q0 + ".weight"] = file.tensors["model.embed_tokens.weight"];
    file.write(path_of(dir) / "float");
    const auto broken = broken_rules("safetensors", path_of(dir) / "float");
    QVERIFY2(broken.find(q0 + " is a float matrix that is not listed") != std::string::npos &&
                 broken.find("qkv_proj has f8 and float parts") != std::string::npos,
             broken.c_str());
    EditedFolder plain(path_of(dir_) / "model");
    plain.metadata.clear();
    plain.write(path_of(dir) / "plain");
    QVERIFY(broken_rules("safetensors", path_of(dir) / "plain").find("\"pt\"") !=
            std::string::npos);
  }

  void runs_like_the_codes() {
    for (const char* activations : {"none", "f8_e4m3-token-dynamic"}) {
      QTemporaryDir dir;
      const auto model = quantized(path_of(dir_) / "large", "f8_e4m3-b128x128", activations);
      QVERIFY(exported(*model, "safetensors", path_of(dir) / "out").ok());
      QCOMPARE(logits_of(opened(path_of(dir) / "out")), logits_of(model));
    }
  }

 private:
  QTemporaryDir dir_;
};

QTEST_GUILESS_MAIN(TestFp8Files)
#include "tst_fp8_files.moc"
