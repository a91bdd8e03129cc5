// SPDX-License-Identifier: GPL-3.0-or-later
// compressed-tensors beyond integers: blocks of f8, nvfp4 and mxfp4, order of columns, several
// formats in one folder, and what is wrong with files that other programs left.
#include "core/export/compressed_write.h"
#include "core/export/doctor.h"
#include "core/job/quantize.h"
#include "core/methods/method.h"
#include "tests/arch_golden.h"
#include "tests/foreign.h"
#include "tests/tiny_model.h"
#include "tests/used.h"

#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <bit>
#include <cmath>
#include <list>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

Compute& compute() {
  static const auto made = std::move(*make_cpu_compute());
  return *made;
}

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

bool noted(const std::vector<std::string>& notes, const std::string& part) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

/// The golden model "llama-1" (48 columns, 64 in between) with its linears rounded.
std::shared_ptr<Checkpoint> rounded(const fs::path& folder,
                                    const std::function<std::string(const Module&)>& scheme_of) {
  if (!fs::exists(folder / "config.json"))
    put_model(read_golden("llama-1"), FloatType::bf16, folder);
  auto model = std::const_pointer_cast<Checkpoint>(test::opened(folder));
  Feedback feedback;
  for (auto& module : model->modules) {
    const auto id = module.linear && module.role != "lm_head" ? scheme_of(module) : std::string();
    if (id.empty())
      continue;
    const auto scheme = parse_scheme(id);
    const FloatView view = module.weight.floats();
    auto made = find_method("rtn")->quantize(
        {view, *scheme, Json::object(), "minmax", {}, compute(), feedback, module.name});
    if (!made.ok()) {
      QTest::qFail(made.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    module.weight = std::move(made->tensor);
  }
  return model;
}

Result<ExportOutcome> exported(const Checkpoint& model, const fs::path& folder) {
  Feedback feedback;
  ExportOptions options{folder, "small"};
  options.accept_warnings = true;
  return run_export(model, *find_exporter("compressed-tensors"), options, feedback);
}

Json settings_in(const fs::path& folder) {
  return (*read_json_file(folder / "config.json"))["quantization_config"];
}

/// Columns in an order that is no identity, groups and all: what act-order leaves.
void reorder(QTensor& weight) {
  std::vector<std::int32_t> order(std::size_t(weight.cols));
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = std::int32_t((i * 29 + 7) % order.size()); // 29 divides neither 48 nor 64
  weight.column_order = std::make_shared<const std::vector<std::int32_t>>(std::move(order));
}

/// Every bit of the files' sizes is known before.
bool predicted(const Checkpoint& model, const fs::path& folder) {
  const auto prediction = predict_export(model, *find_exporter("compressed-tensors"),
                                         ExportOptions{folder / "none", "small"});
  if (!prediction || prediction->files.empty())
    return false;
  return std::all_of(prediction->files.begin(), prediction->files.end(), [&](const auto& file) {
    return fs::file_size(folder / file.name) == file.bytes;
  });
}

/// A golden file's tensors and configuration, to be changed before they are written.
struct Editable {
  Json config;
  std::vector<StoredTensor> tensors;
  QTemporaryDir dir;
  std::list<std::vector<std::byte>> owned;

  explicit Editable(const QString& name) {
    const Foreign foreign = read_foreign(name);
    put(foreign, path_of(dir) / "from");
    config = *read_json_file(path_of(dir) / "from" / "config.json");
    tensors = read_safetensors_folder(path_of(dir) / "from")->tensors;
  }
  StoredTensor& find(const std::string& tail) {
    for (auto& tensor : tensors)
      if (tensor.name.size() >= tail.size() &&
          tensor.name.compare(tensor.name.size() - tail.size(), tail.size(), tail) == 0)
        return tensor;
    QTest::qFail(tail.c_str(), __FILE__, __LINE__);
    return tensors.front();
  }
  std::byte* bytes_of(const std::string& tail) {
    auto& tensor = find(tail);
    owned.emplace_back(tensor.data.begin(), tensor.data.end());
    tensor.data = owned.back();
    return owned.back().data();
  }
  void drop(const std::string& tail) {
    const auto name = find(tail).name;
    tensors.erase(std::find_if(tensors.begin(), tensors.end(),
                               [&](const auto& tensor) { return tensor.name == name; }));
  }
  Json& weights() { return config["quantization_config"]["config_groups"]["group_0"]["weights"]; }
  Result<std::shared_ptr<const Checkpoint>> open() {
    const auto folder = path_of(dir) / "changed";
    fs::create_directories(folder);
    std::ofstream(folder / "config.json") << config.dump();
    std::vector<TensorToWrite> list;
    for (const auto& tensor : tensors)
      list.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.data.size(),
                      [data = tensor.data](OutputFile& file) { return file.write(data); }});
    TRY(write_safetensors_folder(folder, std::move(list), 1 << 30));
    return open_checkpoint(folder);
  }
};

} // namespace

class TestCompressed : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void every_scheme_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<bool>("ordered");
    QTest::addColumn<QString>("format");
    QTest::addColumn<QString>("strategy");
    const auto row = [](const char* scheme, bool ordered, const char* format,
                        const char* strategy) {
      QTest::newRow((std::string(scheme) + (ordered ? " ordered" : "")).c_str())
          << scheme << ordered << format << strategy;
    };
    for (const char* scheme :
         {"f8_e4m3-b128x128", "f8_e4m3-b128x128-sbf16", "f8_e4m3-b128x128-sf32"})
      row(scheme, false, "float-quantized", "block");
    row("f8_e4m3-channel", false, "float-quantized", "channel");
    row("f8_e4m3-tensor-sf32", false, "float-quantized", "tensor");
    row("nvfp4-sf32", false, "nvfp4-pack-quantized", "tensor_group");
    row("int4-g16-sym", true, "pack-quantized", "group");
    row("int4-g16-asym", true, "pack-quantized", "group");
    row("int3-g8-asym", true, "pack-quantized", "group");
    row("int5-g16-sym-sbf16", true, "pack-quantized", "group");
    row("int8-g16-asym-sf32", true, "pack-quantized", "group");
    row("int4-channel-asym", true, "pack-quantized", "channel");
    row("int8-tensor-sym", true, "pack-quantized", "channel");
  }
  void every_scheme() {
    QFETCH(QString, scheme);
    QFETCH(bool, ordered);
    QFETCH(QString, format);
    QFETCH(QString, strategy);
    QTemporaryDir dir;
    const auto model =
        rounded(path_of(dir) / "model", [&](const Module&) { return scheme.toStdString(); });
    if (ordered)
      for (auto& module : model->modules)
        if (module.weight.scheme.quantized)
          reorder(module.weight);
    // It is opened and compared with the model, bit for bit, before it is kept.
    const auto outcome = exported(*model, path_of(dir) / "out");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    QVERIFY(predicted(*model, path_of(dir) / "out"));
    const Json settings = settings_in(path_of(dir) / "out");
    QVERIFY(settings["format"] == format.toStdString());
    const Json& weights = settings["config_groups"]["group_0"]["weights"];
    QVERIFY(weights["strategy"] == strategy.toStdString());
    const bool groups = ordered && strategy == QStringLiteral("group");
    QVERIFY(weights["actorder"] == (groups ? Json("group") : Json(nullptr)));
    QVERIFY(weights["block_structure"] ==
            (strategy == QStringLiteral("block") ? Json({128, 128}) : Json(nullptr)));
    const auto file = read_safetensors_folder(path_of(dir) / "out");
    const bool index =
        std::any_of(file->tensors.begin(), file->tensors.end(), [](const StoredTensor& tensor) {
          return tensor.name.find("weight_g_idx") != std::string::npos;
        });
    QCOMPARE(index, groups);

    const auto back = test::opened(path_of(dir) / "out");
    for (const auto& module : model->modules) {
      const Module* other = back->find_module(module.name);
      QVERIFY(decode_all(other->weight) == decode_all(module.weight));
    }
  }

  /// 16 columns of nvfp4 by hand.
  void nvfp4_bytes() {
    QTemporaryDir dir;
    const auto model =
        rounded(path_of(dir) / "model", [](const Module&) { return std::string("nvfp4-sf32"); });
    auto& module = *std::find_if(model->modules.begin(), model->modules.end(),
                                 [](const Module& m) { return m.role == "q_proj"; });
    QTensor& weight = module.weight;
    weight.owned_codes.assign(weight.codes.begin(), weight.codes.end());
    for (int i = 0; i < 8; ++i) // column i has code i, column 8 + i code 15 - i
      weight.owned_codes[std::size_t(4 + i)] = std::byte(i | (15 - i) << 4);
    weight.owned_codes[0] = std::byte(0x38); // 1
    weight.owned_scales.assign(4, std::byte(0));
    store_float(FloatType::f32, weight.owned_scales.data(), 0, 1.0f / 3000.0f);
    weight.own();
    QVERIFY(exported(*model, path_of(dir) / "out").ok());
    const auto file = read_safetensors_folder(path_of(dir) / "out");
    for (const auto& tensor : file->tensors) {
      if (tensor.name == module.hf_name() + ".weight_packed") {
        QCOMPARE(tensor.dtype, std::string("U8"));
        QVERIFY(tensor.shape == (std::vector<std::int64_t>{48, 24}));
        const std::uint8_t want[8] = {0x10, 0x32, 0x54, 0x76, 0xEF, 0xCD, 0xAB, 0x89};
        QVERIFY(std::memcmp(tensor.data.data(), want, 8) == 0);
      } else if (tensor.name == module.hf_name() + ".weight_scale") {
        QCOMPARE(tensor.dtype, std::string("F8_E4M3"));
        QVERIFY(tensor.shape == (std::vector<std::int64_t>{48, 3}));
        QVERIFY(tensor.data[0] == std::byte(0x38));
      } else if (tensor.name == module.hf_name() + ".weight_global_scale") {
        QVERIFY(tensor.shape == std::vector<std::int64_t>{1});
        QCOMPARE(1.0f / load_float(FloatType::f32, tensor.data.data(), 0), 1.0f / 3000.0f);
      }
    }
  }

  /// A factor that is an inverse is found again; one that is none has a neighbour.
  void inverses() {
    std::uint32_t bits = 0x2F123457;
    for (int i = 0; i < 20000; ++i, bits += 48271) {
      const float global = std::bit_cast<float>(bits & 0x7FFFFFFF);
      if (!std::isnormal(global) || !std::isnormal(1.0f / global))
        continue;
      const float factor = 1.0f / global;
      QCOMPARE(1.0f / stored_inverse(factor), factor);
    }
  }

  /// The factor lets the scales use their range: much is won for weights as small as usual.
  void factor_helps() {
    const auto values = normal_noise(64 * 256, 5, 0.01f);
    const QTensor weight = f32_tensor(values, 64);
    Feedback feedback;
    std::map<std::string, double> errors;
    for (const char* id : {"nvfp4", "nvfp4-sf32"}) {
      const auto made = find_method("rtn")->quantize({weight.floats(),
                                                      *parse_scheme(id),
                                                      Json::object(),
                                                      "minmax",
                                                      {},
                                                      compute(),
                                                      feedback,
                                                      "noise"});
      QVERIFY(made.ok());
      const auto back = decode_all(made->tensor);
      for (std::size_t i = 0; i < values.size(); ++i)
        errors[id] += std::pow(double(values[i]) - double(back[i]), 2);
    }
    const double share = errors["nvfp4-sf32"] / errors["nvfp4"];
    QVERIFY2(share > 0.1 && share < 0.8, qPrintable(QString::number(share)));
  }

  void several_formats() {
    QTemporaryDir dir;
    const auto model = rounded(path_of(dir) / "model", [](const Module& module) -> std::string {
      if (module.layer == 1 && module.role == "o_proj")
        return {};
      if (module.role == "down_proj")
        return "mxfp4";
      if (module.role == "gate_proj" || module.role == "up_proj")
        return "f8_e4m3-channel-sbf16";
      return module.layer == 0 ? "int4-g16-sym" : "int8-g16-sym";
    });
    const auto outcome = exported(*model, path_of(dir) / "out");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    const Json settings = settings_in(path_of(dir) / "out");
    QVERIFY(settings["format"] == "mixed-precision");
    std::map<std::string, int> formats;
    for (const auto& group : settings["config_groups"]) {
      ++formats[group["format"].get<std::string>()];
      QVERIFY(group["targets"].size() == 1);
    }
    QVERIFY((formats == std::map<std::string, int>{{"float-quantized", 1},
                                                   {"mxfp4-pack-quantized", 1},
                                                   {"pack-quantized", 2}}));
    const auto& ignore = settings["ignore"];
    QVERIFY(std::find(ignore.begin(), ignore.end(), "model.layers.1.self_attn.o_proj") !=
            ignore.end());
  }

  void activations() {
    QTemporaryDir dir;
    for (const auto& [scheme, activations, stored] :
         {std::tuple("nvfp4-sf32", "nvfp4-tensor-static", "local"),
          std::tuple("mxfp4", "mxfp4", "true")}) {
      const auto model =
          rounded(path_of(dir) / "model", [&, scheme = scheme](const Module& module) {
            return module.weight.cols % 32 == 0 || std::string_view(scheme) != "mxfp4"
                       ? std::string(scheme)
                       : std::string();
          });
      for (auto& module : model->modules)
        if (module.weight.scheme.quantized) {
          module.activations = activations;
          if (std::string_view(activations) == "nvfp4-tensor-static")
            module.activation_scale = 1.0f / (1.0f / 0.00123f);
        }
      const auto out = path_of(dir) / scheme;
      const auto outcome = exported(*model, out);
      QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
      QVERIFY(predicted(*model, out));
      const Json input = settings_in(out)["config_groups"]["group_0"]["input_activations"];
      QVERIFY(input["num_bits"] == 4 && input["type"] == "float");
      QVERIFY(input["dynamic"] ==
              (std::string_view(stored) == "local" ? Json("local") : Json(true)));
    }
    // A scale per token has no place in the file.
    const auto model =
        rounded(path_of(dir) / "model", [](const Module&) { return std::string("nvfp4-sf32"); });
    for (auto& module : model->modules)
      if (module.weight.scheme.quantized)
        module.activations = "nvfp4";
    const auto refused = exported(*model, path_of(dir) / "refused");
    QVERIFY(!refused.ok());
    QVERIFY2(refused.error().text().find("nearest: nvfp4-tensor-static") != std::string::npos,
             refused.error().text().c_str());
    QVERIFY(!fs::exists(path_of(dir) / "refused"));
  }

  /// vLLM has one factor for parts that it joins.
  void factors_of_joined_parts() {
    QTemporaryDir dir;
    const auto model =
        rounded(path_of(dir) / "model", [](const Module&) { return std::string("nvfp4-sf32"); });
    const auto warns = [&] {
      const auto findings =
          find_exporter("compressed-tensors")->examine(*model, export_modules(*model));
      return std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.runtime == "vllm" && finding.message.find("factor") != std::string::npos;
      });
    };
    QVERIFY(warns());
    for (auto& module : model->modules)
      if (module.weight.scheme.quantized) {
        store_float(FloatType::f32, module.weight.owned_scales.data(), 0, 0.001f);
        module.weight.own();
      }
    QVERIFY(!warns());
  }

  void settings_that_are_not_run() {
    Editable file(QStringLiteral("ct-int4"));
    auto& settings = file.config["quantization_config"];
    settings["config_groups"]["group_0"]["input_activations"] = {
        {"num_bits", 8}, {"type", "int"}, {"dynamic", "local"}, {"strategy", "tensor_group"}};
    settings["config_groups"]["attention"] = {{"targets", {"re:.*self_attn$"}},
                                              {"weights", nullptr}};
    const auto checkpoint = file.open();
    QVERIFY2(checkpoint.ok(), checkpoint.ok() ? "" : checkpoint.error().text().c_str());
    QVERIFY(noted((*checkpoint)->notes, "stay in floating point"));
    for (const auto& module : (*checkpoint)->modules)
      QCOMPARE(module.activations, std::string("none"));
  }

  void order_not_set() {
    Editable file(QStringLiteral("ct-order"));
    for (auto& tensor : file.tensors)
      if (tensor.name.find("weight_g_idx") != std::string::npos) {
        file.owned.emplace_back(tensor.data.size(), std::byte(0xFF)); // -1 everywhere
        tensor.data = file.owned.back();
      }
    const auto checkpoint = file.open();
    QVERIFY2(checkpoint.ok(), checkpoint.ok() ? "" : checkpoint.error().text().c_str());
    for (const auto& module : (*checkpoint)->modules)
      QVERIFY(!module.weight.column_order);
  }

  /// Files as they should be break no rule; packing of before 2026 does.
  void rules_data() {
    QTest::addColumn<QString>("name");
    const QDir folder(
        QString::fromStdString((source_dir() / "tests" / "golden" / "foreign").string()));
    for (const QFileInfo& file : folder.entryInfoList({QStringLiteral("ct-*")}, QDir::Files))
      QTest::newRow(qPrintable(file.completeBaseName())) << file.completeBaseName();
  }
  void rules() {
    QFETCH(QString, name);
    Editable file(name);
    const bool old = name.endsWith(QStringLiteral("-old"));
    bool good = true;
    std::string said;
    for (const auto& check :
         find_exporter("compressed-tensors")->rules(path_of(file.dir) / "from")) {
      good = good && check.ok;
      said += check.name + ": " + check.detail + "\n";
    }
    QVERIFY2(good != old, said.c_str());
  }

  void rules_of_settings() {
    Editable file(QStringLiteral("ct-mixed"));
    const auto says = [&](const std::string& part) {
      (void)file.open();
      for (const auto& check :
           find_exporter("compressed-tensors")->rules(path_of(file.dir) / "changed"))
        if (!check.ok && check.detail.find(part) != std::string::npos)
          return true;
      return false;
    };
    const Json original = file.config;
    const auto with = [&](const char* path, const Json& value, const char* part) {
      file.config = original;
      file.config["quantization_config"][Json::json_pointer(path)] = value;
      return says(part);
    };
    QVERIFY(with("/quantization_status", "frozen", "quantization_status"));
    QVERIFY(with("/format", "pack-quantized", "another format"));
    QVERIFY(with("/config_groups/group_0/format", nullptr, "no format of its own"));
    QVERIFY(with("/config_groups/group_0/weights/bits", 8, "unknown key \"bits\""));
    QVERIFY(with("/config_groups/group_0/targets", Json::array(), "no targets"));
    QVERIFY(with("/ignore", Json::array(), "o_proj is stored as floats"));
    QVERIFY(with("/ignore/0", "re:.*mlp.*", "is ignored, but quantized"));
    QVERIFY(with("/config_groups/group_2/targets", {"re:nothing"}, "no group covers it"));
  }

  void broken_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("what");
    QTest::addColumn<QString>("says");
    const auto row = [](const char* name, const char* what, const char* says) {
      QTest::newRow((std::string(name) + " " + what).c_str()) << name << what << says;
    };
    row("ct-nvfp4", "nan scale", "not a number");
    row("ct-mxfp4", "nan scale", "not a number");
    row("ct-nvfp4", "zero global", "above 0");
    row("ct-nvfp4", "no global", "weight_global_scale is missing");
    row("ct-nvfp4-a4", "no input global", "input_global_scale is missing");
    row("ct-nvfp4", "scale shape", "does not fit");
    row("ct-mxfp4", "scale shape", "does not fit");
    row("ct-mxfp4", "type", "not stored as weight_packed");
    row("ct-nvfp4", "group", "groups of 64");
    row("ct-order", "group number", "names group");
    row("ct-order", "uneven groups", "different sizes");
    row("ct-order", "no index", "weight_g_idx is missing");
    row("ct-order", "index shape", "does not name a group");
    row("ct-naive-int4", "wide byte", "do not fit 4 bits");
    row("ct-f8-block", "block", "64 x 128");
    row("ct-f8-block", "block text", "block_structure");
    row("ct-f8-block", "scale shape", "scales instead of");
    row("ct-f8-block", "strategy", "scales instead of");
    row("ct-int4", "word shape", "does not hold");
    row("ct-w8a8-static", "zero input scale", "above 0");
  }
  void broken() {
    QFETCH(QString, name);
    QFETCH(QString, what);
    QFETCH(QString, says);
    Editable file(name);
    const auto is = [&](const char* text) { return what == QLatin1String(text); };
    const auto shorter = [&](const char* tail) {
      auto& tensor = file.find(tail);
      const auto row = tensor.data.size() / std::size_t(tensor.shape[0]);
      --tensor.shape[0];
      tensor.data = tensor.data.first(tensor.data.size() - row);
    };
    const auto number = [&](const char* tail, std::int32_t value) {
      std::memcpy(file.bytes_of(tail), &value, 4);
    };
    if (is("nan scale"))
      *file.bytes_of("q_proj.weight_scale") = std::byte(name.contains("mx") ? 0xFF : 0x7F);
    else if (is("zero global"))
      number("q_proj.weight_global_scale", 0);
    else if (is("no global"))
      file.drop("o_proj.weight_global_scale");
    else if (is("no input global"))
      file.drop("o_proj.input_global_scale");
    else if (is("scale shape"))
      shorter("q_proj.weight_scale");
    else if (is("type"))
      file.find("q_proj.weight_packed").dtype = "I8";
    else if (is("group"))
      file.weights()["group_size"] = 64;
    else if (is("group number"))
      number("q_proj.weight_g_idx", 2);
    else if (is("uneven groups")) {
      std::int32_t first = 0; // another group for the first column
      auto* bytes = file.bytes_of("q_proj.weight_g_idx");
      std::memcpy(&first, bytes, 4);
      first = 1 - first;
      std::memcpy(bytes, &first, 4);
    } else if (is("no index"))
      file.drop("v_proj.weight_g_idx");
    else if (is("index shape"))
      shorter("v_proj.weight_g_idx");
    else if (is("wide byte"))
      *file.bytes_of("v_proj.weight") = std::byte(9);
    else if (is("block"))
      file.weights()["block_structure"] = {64, 128};
    else if (is("block text"))
      file.weights()["block_structure"] = "128x128";
    else if (is("strategy"))
      file.weights()["strategy"] = "channel";
    else if (is("word shape"))
      shorter("v_proj.weight_packed");
    else
      number("v_proj.input_scale", 0);
    (void)file.open(); // writes it
    const auto checkpoint = open_and_use(path_of(file.dir) / "changed");
    QVERIFY(!checkpoint.ok());
    const auto text = checkpoint.error().text();
    QVERIFY2(text.find(says.toStdString()) != std::string::npos, text.c_str());
    const bool of_values = is("nan scale") || is("wide byte");
    QVERIFY2(text.find(of_values ? "model.safetensors" : "config.json") != std::string::npos,
             text.c_str());
    if (is("uneven groups") || is("wide byte")) // not against the format
      return;
    const auto checks = find_exporter("compressed-tensors")->rules(path_of(file.dir) / "changed");
    QVERIFY(std::any_of(checks.begin(), checks.end(),
                        [](const VerifyCheck& check) { return !check.ok; }));
  }
};

QTEST_GUILESS_MAIN(TestCompressed)
#include "tst_compressed.moc"
