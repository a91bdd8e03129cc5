// SPDX-License-Identifier: GPL-3.0-or-later
// GPTQ and AWQ checkpoints that something is wrong with: the reader says what and where, the rules
// name it without the reader. And what other programs' files may look like.
#include "core/export/doctor.h"
#include "tests/packed_files.h"
#include "tests/used.h"

#include <limits>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

using Data = std::map<std::string, std::vector<std::byte>>;
using Tensors = std::map<std::string, StoredTensor>;

const std::string o0 = "model.layers.0.self_attn.o_proj";
const std::string q1 = "model.layers.1.self_attn.q_proj";

void change_settings(const fs::path& folder, const std::function<void(Json&)>& change) {
  auto config = *read_json_file(folder / "config.json");
  change(config["quantization_config"]);
  put_text(folder / "config.json", config.dump());
}

struct Damage {
  const char* format;
  const char* scheme;
  bool ordered;
  std::function<void(const fs::path&)> apply;
  const char* reader; ///< part of the reader's error, or of its reason not to run; empty: it opens
  const char* rule;   ///< name of the rule that breaks
  const char* detail;
};

void drop(Tensors& tensors, Data& data, const std::string& name) {
  tensors.erase(name);
  data.erase(name);
}

std::vector<std::pair<const char*, Damage>> damages() {
  const auto tensors_of = [](std::function<void(Data&, Tensors&)> change) {
    return [change](const fs::path& folder) { change_tensors(folder, change); };
  };
  const auto settings_of = [](std::function<void(Json&)> change) {
    return [change](const fs::path& folder) { change_settings(folder, change); };
  };
  std::vector<std::pair<const char*, Damage>> out;
  const auto nan = [&](const char* format) {
    return Damage{format,
                  "int4-g32-asym",
                  false,
                  tensors_of([](Data& data, Tensors&) {
                    store_float(FloatType::f16, data[o0 + ".scales"].data(), 5,
                                std::numeric_limits<float>::quiet_NaN());
                  }),
                  "no finite number",
                  "scales",
                  "o_proj"};
  };
  const auto missing = [&](const char* format, const char* part, const char* reader) {
    return Damage{format,
                  "int4-g32-asym",
                  false,
                  tensors_of([part](Data& data, Tensors& tensors) {
                    drop(tensors, data, o0 + part); }),
                  reader,
                  "names",
                  part};
  };
  const auto both = [&](const char* format) {
    return Damage{format,
                  "int4-g32-asym",
                  false,
                  tensors_of([](Data& data, Tensors& tensors) {
                    auto& copy = tensors[o0 + ".weight"] = tensors.at("lm_head.weight");
                    copy.name = o0 + ".weight";
                    data[o0 + ".weight"] = data["lm_head.weight"];
                  }),
                  "both packed and plain",
                  "names",
                  "both packed and plain"};
  };
  const auto shape = [&](const char* format, const char* part) {
    return Damage{format,
                  "int4-g32-asym",
                  false,
                  tensors_of([part](Data&, Tensors& tensors) {
                    auto& sides = tensors.at(o0 + part).shape;
                    sides[0] *= 2;
                    sides[1] /= 2;
                  }),
                  "has the shape",
                  "shapes",
                  "o_proj"};
  };
  const auto type = [&](const char* format) {
    return Damage{format,
                  "int4-g32-asym",
                  false,
                  tensors_of([](Data&, Tensors& tensors) {
                    tensors.at(o0 + ".qweight").dtype = "U32"; }),
                  "U32",
                  "shapes",
                  "I32"};
  };
  const auto group = [&](const char* format) {
    return Damage{format,       "int4-g32-asym",
                  false,        settings_of([](Json& json) { json["group_size"] = 64; }),
                  "group_size", "shapes",
                  "scales"};
  };
  for (const char* format : {"gptq", "awq"}) {
    const bool gptq = std::string(format) == "gptq";
    out.emplace_back(gptq ? "gptq nan" : "awq nan", nan(format));
    out.emplace_back(gptq ? "gptq no qweight" : "awq no qweight",
                     missing(format, ".qweight", "no qweight"));
    out.emplace_back(gptq ? "gptq no scales" : "awq no scales",
                     missing(format, ".scales", "scales is missing"));
    out.emplace_back(gptq ? "gptq no zeros" : "awq no zeros",
                     missing(format, ".qzeros", "qzeros is missing"));
    out.emplace_back(gptq ? "gptq twice" : "awq twice", both(format));
    out.emplace_back(gptq ? "gptq zeros shape" : "awq zeros shape", shape(format, ".qzeros"));
    out.emplace_back(gptq ? "gptq scales shape" : "awq scales shape", shape(format, ".scales"));
    out.emplace_back(gptq ? "gptq type" : "awq type", type(format));
    out.emplace_back(gptq ? "gptq group" : "awq group", group(format));
    out.emplace_back(gptq ? "gptq bits" : "awq bits",
                     Damage{format, "int4-g32-asym", false,
                            settings_of([](Json& json) { json["bits"] = 5; }), "5 bits", "settings",
                            "bits"});
    out.emplace_back(gptq ? "gptq bits text" : "awq bits text",
                     Damage{format, "int4-g32-asym", false,
                            settings_of([](Json& json) { json["bits"] = "four"; }),
                            "whole number of \"bits\"", "settings", "bits"});
    out.emplace_back(gptq ? "gptq huge group" : "awq huge group",
                     Damage{format, "int4-g32-asym", false,
                            settings_of([](Json& json) { json["group_size"] = 1ll << 60; }),
                            "group_size", "settings", "group_size"});
    out.emplace_back(gptq ? "gptq zero group" : "awq zero group",
                     Damage{format, "int4-g32-asym", false,
                            settings_of([](Json& json) { json["group_size"] = 0; }), "group_size",
                            "settings", "group_size"});
    out.emplace_back(gptq ? "gptq head said" : "awq head said",
                     Damage{format, "int4-g32-asym", false,
                            settings_of([](Json& json) { json["lm_head"] = true; }), "", "lists",
                            "no head is packed"});
    out.emplace_back(gptq ? "gptq truncated" : "awq truncated",
                     Damage{format, "int4-g32-asym", false,
                            [](const fs::path& folder) {
                              const auto file = folder / "model.safetensors";
                              fs::resize_file(file, fs::file_size(file) - 1000);
                            },
                            "model.safetensors", "files", "model.safetensors"});
  }
  const auto index = [&](std::function<void(std::int32_t*)> change) {
    return tensors_of([change](Data& data, Tensors&) {
      change(reinterpret_cast<std::int32_t*>(data[o0 + ".g_idx"].data()));
    });
  };
  out.emplace_back("gptq other bits", Damage{"gptq", "int4-g32-asym", false,
                                             settings_of([](Json& json) { json["bits"] = 8; }),
                                             "has the shape", "shapes", "scales"});
  out.emplace_back("gptq index range",
                   Damage{"gptq", "int4-g32-sym", true, index([](std::int32_t* i) { i[3] = 2; }),
                          "group 2 of 2", "groups", "beyond"});
  out.emplace_back("gptq index negative",
                   Damage{"gptq", "int4-g32-sym", true, index([](std::int32_t* i) { i[3] = -1; }),
                          "group -1 of 2", "groups", "beyond"});
  out.emplace_back("gptq index uneven", Damage{"gptq", "int4-g32-sym", true,
                                               index([](std::int32_t* i) { i[3] = 1 - i[3]; }),
                                               "instead of 32", "groups", "o_proj"});
  out.emplace_back("gptq index short", Damage{"gptq", "int4-g32-sym", true,
                                              tensors_of([](Data& data, Tensors& tensors) {
                                                tensors.at(o0 + ".g_idx").shape = {32};
                                                data[o0 + ".g_idx"].resize(128);
                                              }),
                                              "g_idx", "shapes", "g_idx"});
  out.emplace_back("gptq order not said",
                   Damage{"gptq", "int4-g32-sym", true,
                          settings_of([](Json& json) { json["desc_act"] = false; }), "", "groups",
                          "desc_act is false"});
  out.emplace_back("gptq no index", Damage{"gptq", "int4-g32-sym", true,
                                           tensors_of([](Data& data, Tensors& tensors) {
                                             drop(tensors, data, o0 + ".g_idx");
                                           }),
                                           "", "names", "desc_act is true"});
  out.emplace_back("gptq zeros not middle",
                   Damage{"gptq", "int4-g32-sym", false, tensors_of([](Data& data, Tensors&) {
                            data[q1 + ".qzeros"][2] = std::byte(0x71);
                          }),
                          "", "zero points", "q_proj"});
  out.emplace_back("gptq version",
                   Damage{"gptq", "int4-g32-sym", false,
                          settings_of([](Json& json) { json["checkpoint_format"] = "gptq_v2"; }),
                          "", "zero points", "middle"});
  out.emplace_back("gptq marlin", Damage{"gptq", "int4-g32-sym", false, settings_of([](Json& json) {
                                           json["checkpoint_format"] = "marlin";
                                         }),
                                         "marlin", "settings", "checkpoint_format"});
  out.emplace_back("gptq no sym", Damage{"gptq", "int4-g32-sym", false,
                                         settings_of([](Json& json) { json.erase("sym"); }), "",
                                         "settings", "sym"});
  out.emplace_back("gptq settings differ",
                   Damage{"gptq", "int4-g32-sym", false,
                          [](const fs::path& folder) {
                            auto json = *read_json_file(folder / "quantize_config.json");
                            json["group_size"] = 64;
                            put_text(folder / "quantize_config.json", json.dump());
                          },
                          "", "settings", "quantize_config.json"});
  out.emplace_back("gptq without settings",
                   Damage{"gptq", "int4-g32-sym", false,
                          [](const fs::path& folder) {
                            auto config = *read_json_file(folder / "config.json");
                            config.erase("quantization_config");
                            put_text(folder / "config.json", config.dump());
                          },
                          "", "settings", "no quantization_config"});
  out.emplace_back("gptq left out",
                   Damage{"gptq", "int4-g32-sym", false, settings_of([](Json& json) {
                            json["dynamic"]["-:.*\\.layers\\.0\\..*"] = Json::object();
                          }),
                          "leaves it out", "lists", "leaves it out"});
  out.emplace_back("gptq bad expression",
                   Damage{"gptq", "int4-g32-sym", false,
                          settings_of([](Json& json) { json["dynamic"]["+:(("] = Json::object(); }),
                          "not valid", "settings", "not valid"});
  out.emplace_back("gptq block list",
                   Damage{"gptq", "int4-g32-sym", false, settings_of([](Json& json) {
                            json["modules_in_block_to_quantize"] =
                                Json::array({Json::array({"self_attn"})});
                          }),
                          "", "lists", "mlp"});
  out.emplace_back("awq version", Damage{"awq", "int4-g32-asym", false,
                                         settings_of([](Json& json) { json["version"] = "gemv"; }),
                                         "gemv", "settings", "gemv"});
  out.emplace_back("awq no zero points",
                   Damage{"awq", "int4-g32-asym", false,
                          settings_of([](Json& json) { json["zero_point"] = false; }), "zero_point",
                          "settings", "zero_point"});
  out.emplace_back("awq part of a name",
                   Damage{"awq", "int4-g32-asym", false, settings_of([](Json& json) {
                            json["modules_to_not_convert"] = Json::array({"model.layers.1"});
                          }),
                          "", "lists", "model.layers.1"});
  return out;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// An export of a model with random weights.
fs::path make_export(const QTemporaryDir& dir, const char* format, const char* scheme,
                     bool ordered) {
  make_packed_source(path_of(dir) / "model");
  const auto model = with_random_weights(
      path_of(dir) / "model",
      [&](const Module& m) { return m.role == "lm_head" ? std::string() : std::string(scheme); },
      ordered);
  const auto out = path_of(dir) / "out";
  const auto result = exported(*model, format, out);
  if (!result.ok())
    QTest::qFail(result.error().text().c_str(), __FILE__, __LINE__);
  return out;
}

} // namespace

class TestGptqAwqBroken : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void damaged_data();
  void damaged();
  void early_settings();
  void whole_words();
  void index_of_zeros();
  void without_index();
  void not_symmetric();
  void scaled_activations();
};

void TestGptqAwqBroken::damaged_data() {
  QTest::addColumn<int>("index");
  const auto all = damages();
  for (std::size_t i = 0; i < all.size(); ++i)
    QTest::newRow(all[i].first) << int(i);
}

void TestGptqAwqBroken::damaged() {
  QFETCH(int, index);
  const auto damage = damages()[std::size_t(index)].second;
  QTemporaryDir dir;
  const auto out = make_export(dir, damage.format, damage.scheme, damage.ordered);
  const Exporter& exporter = *find_exporter(damage.format);
  for (const VerifyCheck& check : exporter.rules(out))
    QVERIFY2(check.ok, (check.name + ": " + check.detail).c_str());
  damage.apply(out);

  const auto opened = open_and_use(out);
  if (std::string(damage.reader).empty()) {
    QVERIFY2(opened.ok() && (*opened)->spec,
             opened.ok() ? (*opened)->why_not_runnable.c_str() : opened.error().text().c_str());
  } else {
    QVERIFY(!opened.ok());
    QVERIFY2(contains(opened.error().text(), damage.reader), opened.error().text().c_str());
    QVERIFY2(contains(opened.error().where, out.string()), opened.error().where.c_str());
  }
  bool named = false;
  std::string all;
  for (const VerifyCheck& check : exporter.rules(out)) {
    all += check.name + (check.ok ? " ok " : " FAIL ") + check.detail + "\n";
    named = named || (!check.ok && contains(check.name, damage.rule) &&
                      contains(check.detail, damage.detail));
  }
  QVERIFY2(named, all.c_str());
  // And for the user of `verify`.
  const auto compute = make_cpu_compute();
  Feedback feedback;
  const auto report = verify_checkpoint(out, nullptr, **compute, feedback);
  QVERIFY(!report.ok() || !report->ok || std::string(damage.reader).empty());
  if (report.ok() && !report->ok && !std::string(damage.reader).empty())
    QVERIFY(
        std::any_of(report->checks.begin(), report->checks.end(), [&](const VerifyCheck& check) {
          return !check.ok && contains(check.detail, damage.reader);
        }));
}

void TestGptqAwqBroken::early_settings() {
  // Settings beside config.json only, under the old names, without a version.
  for (const char* format : {"gptq", "awq"}) {
    QTemporaryDir dir;
    const bool gptq = std::string(format) == "gptq";
    const auto out = make_export(dir, format, gptq ? "int4-g32-sym" : "int4-g32-asym", false);
    const auto before = *open_checkpoint(out);
    auto config = *read_json_file(out / "config.json");
    config.erase("quantization_config");
    put_text(out / "config.json", config.dump());
    if (gptq)
      put_text(out / "quantize_config.json",
               R"({"bits": 4, "group_size": 32, "damp_percent": 0.01, "desc_act": false})");
    else
      put_text(out / "quant_config.json",
               R"({"zero_point": true, "q_group_size": 32, "w_bit": 4, "version": "GEMM"})");
    const auto after = open_checkpoint(out);
    QVERIFY2(after.ok() && (*after)->spec, after.ok() ? "" : after.error().text().c_str());
    QCOMPARE((*after)->format, std::string(format));
    const auto &a = before->find_module(q1)->weight, &b = (*after)->find_module(q1)->weight;
    const WeightUse uses[] = {used(a), used(b)};
    QVERIFY(a.scheme == b.scheme && std::equal(a.codes.begin(), a.codes.end(), b.codes.begin()));
  }
}

void TestGptqAwqBroken::whole_words() {
  // GPTQModel takes one off whole words: a zero point of 0 borrows from the next.
  QTemporaryDir dir;
  const auto out = make_export(dir, "gptq", "int4-g32-asym", false);
  const auto wanted = *open_checkpoint(out);
  change_tensors(out, [](Data& data, Tensors&) {
    for (auto& [name, bytes] : data)
      if (contains(name, ".qzeros"))
        for (std::size_t i = 0; i < bytes.size(); i += 4) {
          std::uint32_t value = 0;
          std::memcpy(&value, bytes.data() + i, 4);
          value -= 0x11111111u;
          std::memcpy(bytes.data() + i, &value, 4);
        }
  });
  change_settings(out, [](Json& json) {
    json["checkpoint_format"] = "gptq";
    json["meta"]["quantizer"] = Json::array({"gptqmodel:7.3.4"});
  });
  const auto read = open_checkpoint(out);
  QVERIFY2(read.ok(), read.ok() ? "" : read.error().text().c_str());
  bool any_zero = false;
  for (const auto& module : wanted->modules) {
    const auto &a = module.weight, &b = (*read)->find_module(module.name)->weight;
    const WeightUse uses[] = {used(a), used(b)};
    QVERIFY(std::equal(a.zeros.begin(), a.zeros.end(), b.zeros.begin(), b.zeros.end()));
    any_zero = any_zero || std::find(a.zeros.begin(), a.zeros.end(), std::byte(0)) != a.zeros.end();
  }
  QVERIFY(any_zero);
}

void TestGptqAwqBroken::index_of_zeros() {
  QTemporaryDir dir;
  const auto out = make_export(dir, "gptq", "int4-g32-sym", false);
  change_tensors(out, [](Data& data, Tensors&) {
    std::fill(data[o0 + ".g_idx"].begin(), data[o0 + ".g_idx"].end(), std::byte(0));
  });
  const auto read = open_checkpoint(out);
  QVERIFY2(read.ok(), read.ok() ? "" : read.error().text().c_str());
  QVERIFY(!(*read)->find_module(o0)->weight.column_order);
  bool noted = false;
  for (const auto& note : (*read)->notes)
    noted = noted || (contains(note, "zeros") && contains(note, o0));
  QVERIFY(noted);
}

void TestGptqAwqBroken::without_index() {
  QTemporaryDir dir;
  const auto out = make_export(dir, "gptq", "int4-g32-sym", false);
  const auto wanted = *open_checkpoint(out);
  change_tensors(out, [](Data& data, Tensors& tensors) {
    for (auto it = tensors.begin(); it != tensors.end();)
      if (contains(it->first, ".g_idx")) {
        data.erase(it->first);
        it = tensors.erase(it);
      } else {
        ++it;
      }
  });
  const auto read = open_checkpoint(out);
  QVERIFY2(read.ok() && (*read)->spec, read.ok() ? "" : read.error().text().c_str());
  const auto &a = wanted->find_module(q1)->weight, &b = (*read)->find_module(q1)->weight;
  const WeightUse uses[] = {used(a), used(b)};
  QVERIFY(std::equal(a.codes.begin(), a.codes.end(), b.codes.begin(), b.codes.end()));
  bool remarked = false;
  for (const VerifyCheck& check : find_exporter("gptq")->rules(out)) {
    QVERIFY2(check.ok, check.detail.c_str());
    remarked = remarked || contains(check.detail, "llama.cpp's converter needs g_idx");
  }
  QVERIFY(remarked);
}

void TestGptqAwqBroken::not_symmetric() {
  // The zero points that are stored count, whatever the settings say.
  QTemporaryDir dir;
  const auto out = make_export(dir, "gptq", "int4-g32-asym", false);
  const auto wanted = *open_checkpoint(out);
  change_settings(out, [](Json& json) { json["sym"] = true; });
  const auto read = open_checkpoint(out);
  QVERIFY2(read.ok(), read.ok() ? "" : read.error().text().c_str());
  const auto &a = wanted->find_module(q1)->weight, &b = (*read)->find_module(q1)->weight;
  QCOMPARE(b.scheme.id, std::string("int4-g32-asym"));
  const WeightUse uses[] = {used(a), used(b)};
  QVERIFY(std::equal(a.zeros.begin(), a.zeros.end(), b.zeros.begin(), b.zeros.end()));
  bool noted = false;
  for (const auto& note : (*read)->notes)
    noted = noted || contains(note, "zero points say otherwise");
  QVERIFY(noted);
}

void TestGptqAwqBroken::scaled_activations() {
  QTemporaryDir dir;
  const auto out = make_export(dir, "awq", "int4-g32-asym", false);
  change_tensors(out, [](Data& data, Tensors& tensors) {
    auto& copy = tensors["model.layers.0.mlp.act.scales"] =
        tensors.at("model.layers.0.input_layernorm.weight");
    copy.name = "model.layers.0.mlp.act.scales";
    data[copy.name] = data["model.layers.0.input_layernorm.weight"];
  });
  const auto read = open_checkpoint(out);
  QVERIFY2(read.ok(), read.ok() ? "" : read.error().text().c_str());
  QVERIFY(!(*read)->spec);
  QVERIFY2(contains((*read)->why_not_runnable, "mlp.act.scales"),
           (*read)->why_not_runnable.c_str());
}

QTEST_GUILESS_MAIN(TestGptqAwqBroken)
#include "tst_gptq_awq_broken.moc"
