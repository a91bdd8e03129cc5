// SPDX-License-Identifier: GPL-3.0-or-later
// ONNX exports: every architecture and every scheme becomes a model that ONNX's own checker
// accepts, with the bytes that its operators want, read here by a few lines that know nothing of
// the writer; what cannot be expressed is refused; and damaged files are told apart. What the
// graphs compute is held against ONNX Runtime in tests/peers/onnx.mjs.
#include "core/export/doctor.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "core/methods/method.h"
#include "tests/arch_golden.h"

#include <QTemporaryDir>
#include <QTest>

#include <cstring>
#include <fstream>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>
#include <set>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

const Exporter& exporter() { return *find_exporter("onnx"); }

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

Result<ExportOutcome> exported(const Checkpoint& model, const fs::path& folder,
                               std::uint64_t shard_limit = 5ull << 30) {
  Feedback feedback;
  return run_export(model, exporter(), {folder, "small", false, shard_limit}, feedback);
}

VerifyReport verified(const fs::path& path, const Checkpoint* against = nullptr) {
  static const auto compute = std::move(*make_cpu_compute());
  Feedback feedback;
  auto report = verify_checkpoint(path, against, *compute, feedback);
  if (!report) {
    QTest::qFail(report.error().text().c_str(), __FILE__, __LINE__);
    return {};
  }
  return std::move(*report);
}

std::string failed_checks(const VerifyReport& report) {
  std::string out;
  for (const auto& check : report.checks)
    if (!check.ok)
      out += check.name + ": " + check.detail + "\n";
  return out;
}

/// Quantizes matrices of a freshly opened model in memory; "" keeps.
std::shared_ptr<Checkpoint> quantized(const fs::path& path,
                                      const std::function<std::string(const Module&)>& scheme_of,
                                      const std::string& activations = "none") {
  static const auto compute = std::move(*make_cpu_compute());
  auto model = std::const_pointer_cast<Checkpoint>(opened(path));
  Feedback feedback;
  for (auto& module : model->modules) {
    const auto id = scheme_of(module);
    if (id.empty() || module.shape.size() != 2 || module.tied_to_embedding)
      continue;
    const auto scheme = parse_scheme(id);
    if (!scheme) {
      QTest::qFail(scheme.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    const QTensor& weight = module.weight;
    std::vector<std::byte> values(std::size_t(weight.rows * weight.cols) * 4);
    const MatrixView view = weight.view();
    for (std::int64_t row = 0; row < weight.rows; ++row)
      view.layout->decode(view, row, 0, weight.cols,
                          reinterpret_cast<float*>(values.data()) + row * weight.cols);
    const FloatView floats{FloatType::f32, weight.rows, weight.cols, values};
    auto made = find_method("rtn")->quantize(
        {floats, *scheme, Json::object(), "minmax", {}, *compute, feedback, module.name});
    if (!made) {
      QTest::qFail(made.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    module.weight = std::move(made->tensor);
    module.activations = activations;
    module.activation_scale = 0.03125f;
  }
  for (auto& module : model->modules)
    if (module.tied_to_embedding)
      module.weight = QTensor();
  return model;
}

std::string only_linears(const Module& module, const std::string& scheme) {
  return module.linear && module.role != "lm_head" ? scheme : std::string();
}

/// A protobuf reader of a dozen lines: fields of a message as (number, content).
using Field = std::pair<int, std::string>;
std::vector<Field> fields_of(const std::string& message) {
  std::vector<Field> out;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0; at < message.size(); shift += 7) {
      const auto byte = std::uint8_t(message[at++]);
      value |= std::uint64_t(byte & 127) << shift;
      if (byte < 128)
        break;
    }
    return value;
  };
  while (at < message.size()) {
    const std::uint64_t tag = varint();
    std::size_t size = tag % 8 == 1 ? 8 : 4;
    const std::size_t start = at;
    if (tag % 8 == 0) {
      varint();
      out.emplace_back(int(tag / 8), message.substr(start, at - start));
      continue;
    }
    if (tag % 8 == 2)
      size = std::size_t(varint());
    out.emplace_back(int(tag / 8), message.substr(at, size));
    at += size;
  }
  return out;
}
std::map<std::string, std::string> initializers_of(const fs::path& path) {
  std::map<std::string, std::string> out; // name -> raw data
  for (const auto& [model_field, graph] : fields_of(content_of(path)))
    if (model_field == 7)
      for (const auto& [graph_field, tensor] : fields_of(graph))
        if (graph_field == 5) {
          std::string name, raw;
          for (const auto& [field, content] : fields_of(tensor))
            (field == 8 ? name : field == 9 ? raw : *std::make_unique<std::string>()) = content;
          out[name] = raw;
        }
  return out;
}
float float_at(const std::string& raw, std::int64_t index) {
  float value = 0;
  std::memcpy(&value, raw.data() + index * 4, 4);
  return value;
}
int bits_at(const std::string& raw, std::int64_t bit, int bits) {
  return std::uint8_t(raw[std::size_t(bit / 8)]) >> (bit % 8) & ((1 << bits) - 1);
}

onnx::ModelProto parsed(const fs::path& path) {
  onnx::ModelProto model;
  if (!model.ParseFromString(content_of(path)))
    QTest::qFail("protobuf does not parse the model", __FILE__, __LINE__);
  return model;
}

/// ONNX's own checker, and its inference of shapes; operators of com.microsoft are not known to it.
void check_by_onnx(const fs::path& path) {
  try {
    onnx::checker::check_model(path.string());
    auto model = parsed(path);
    onnx::ShapeInferenceOptions strict(true, 1, true);
    onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception& error) {
    QTest::qFail((path.string() + ": " + error.what()).c_str(), __FILE__, __LINE__);
  }
}

void make_golden(const char* name, const fs::path& folder) {
  put_model(read_golden(name), FloatType::bf16, folder);
}

} // namespace

class TestOnnx : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void architectures_data() { each_golden(); }
  void architectures() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    QTemporaryDir dir;
    for (const FloatType type : {FloatType::f32, FloatType::bf16}) {
      const fs::path source = path_of(dir) / std::to_string(int(type));
      put_model(golden, type, source);
      const auto checkpoint = opened(source);
      QVERIFY(checkpoint);
      const auto outcome = exported(*checkpoint, source / "onnx");
      QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
      const fs::path file = outcome->path / "model.onnx";
      check_by_onnx(file);

      const auto model = parsed(file);
      const ModelSpec& spec = *checkpoint->spec;
      std::vector<std::string> inputs, outputs;
      for (const auto& input : model.graph().input())
        inputs.push_back(input.name());
      for (const auto& output : model.graph().output())
        outputs.push_back(output.name());
      QCOMPARE(std::int64_t(inputs.size()), 3 + 2 * spec.layers);
      QCOMPARE(inputs[0] + " " + inputs[1] + " " + inputs[2],
               std::string("input_ids attention_mask position_ids"));
      QCOMPARE(inputs[3], std::string("past_key_values.0.key"));
      QCOMPARE(inputs[4], std::string("past_key_values.0.value"));
      QCOMPARE(outputs[0], std::string("logits"));
      QCOMPARE(outputs[1], std::string("present.0.key"));
      const auto& past = model.graph().input(3).type().tensor_type();
      QCOMPARE(past.elem_type(), std::int32_t(onnx::TensorProto::FLOAT));
      QCOMPARE(past.shape().dim(1).dim_value(), spec.kv_heads);
      QCOMPARE(past.shape().dim(3).dim_value(), spec.head_dim);
      // Every weight once, in its own type: a tied head shares the embedding's.
      std::uint64_t stored = 0;
      for (const auto& tensor : model.graph().initializer())
        if (tensor.name().rfind("constant_", 0) != 0)
          stored += tensor.raw_data().size();
      std::uint64_t wanted = 0;
      for (const Module& module : checkpoint->modules)
        wanted += module.bytes();
      QCOMPARE(stored, wanted);
    }
  }

  /// Every example of every scheme: it is exported exactly, or refused with the nearest.
  void schemes_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<QString>("activations");
    std::set<QString> all;
    for (const auto* family : all_scheme_families())
      for (const auto example : family->examples)
        all.insert(QString::fromUtf8(example.data(), qsizetype(example.size())));
    for (const char* more :
         {"int4-g48-asym", "int4-g16-sym", "int2-channel-asym", "int4-tensor-asym", "int4-g24-sym",
          "int8-g64-asym", "nf4-b4096", "fp4-b32-dq", "ternary-g24", "int4-g512-sym"})
      all.insert(more);
    for (const QString& scheme : all)
      QTest::newRow(qPrintable(scheme)) << scheme << "none";
    for (const char* activations : {"int8-token-dynamic", "int8-tensor-static"})
      for (const char* scheme :
           {"int8-channel-sym", "int8-channel-asym", "int8-tensor-sym", "int4-channel-sym"})
        QTest::addRow("%s %s", scheme, activations) << scheme << activations;
    QTest::newRow("llm-int8") << "int8-channel-sym"
                              << "llm-int8";
  }
  void schemes() {
    QFETCH(QString, scheme);
    QFETCH(QString, activations);
    static const std::set<std::string> refused{
        "int3", "int5", "int6", "int7", "int4-g24-sym", "ternary-g24",
    };
    const auto id = scheme.toStdString();
    const auto parsed_id = parse_scheme(id);
    QVERIFY(parsed_id.ok());
    const auto family = parsed_id->family->id;
    const bool blocks = id == "q4_0" || id == "q8_0";
    const bool known =
        blocks || family == "int" || family == "ternary" || family == "float" || family == "nf4";
    const bool coded_inputs = activations != "none";
    const bool takes = known && !refused.count(id) && !refused.count(id.substr(0, 4)) &&
                       (!coded_inputs || (parsed_id->bits == 8 && activations != "llm-int8"));
    QTemporaryDir dir;
    make_golden("llama-1", path_of(dir) / "hf");
    const auto source = opened(path_of(dir) / "hf");
    auto planned = export_modules(*source);
    for (auto& module : planned)
      if (!only_linears(*module.source, id).empty()) {
        module.scheme = *parsed_id;
        module.activations = activations.toStdString();
      }
    std::size_t stops = 0;
    for (const Finding& finding : exporter().examine(*source, planned))
      if (finding.level == Finding::Level::refuse) {
        QVERIFY2(finding.message.find("nearest") != std::string::npos, finding.message.c_str());
        ++stops;
      }
    QCOMPARE(stops, takes ? 0u : 14u);             // linears
    if (!takes || !parsed_id->quantized || blocks) // blocks of 32 do not fit this model
      return;
    const auto model = quantized(
        path_of(dir) / "hf", [&](const Module& m) { return only_linears(m, id); },
        activations.toStdString());
    const auto outcome = exported(*model, path_of(dir) / "onnx");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    check_by_onnx(outcome->path / "model.onnx");
    const auto report = verified(outcome->path, model.get());
    QVERIFY2(report.ok, failed_checks(report).c_str());
    // Against the source: rounding costs something, and is said.
    const auto against = verified(outcome->path, source.get());
    QVERIFY2(against.ok, failed_checks(against).c_str());
    QVERIFY(!against.worst.empty());
    if (parsed_id->bits < 8)
      QVERIFY(against.worst.front().mse > 0);
  }

  /// The layouts of formats.md, section 7, written down once more.
  void bytes_of_blocks() {
    QTemporaryDir dir;
    make_golden("llama-wide-heads", path_of(dir) / "hf");
    struct Layout {
      const char* id;
      int bits, size;
    };
    for (const Layout& layout : {Layout{"int4-g32-asym", 4, 32}, Layout{"int8-g16-asym", 8, 16},
                                 Layout{"int2-g16-asym", 2, 16}, Layout{"int4-g32-sym", 4, 32},
                                 Layout{"q4_0", 4, 32}, Layout{"q8_0", 8, 32}}) {
      const auto [id, bits, size] = layout;
      const bool gguf = id[0] == 'q'; // its blocks do not divide the small model's rows
      const auto source = gguf ? demo_model() : path_of(dir) / "hf";
      const auto model = quantized(source, [&](const Module& m) {
        return m.layer == 0 ? only_linears(m, layout.id) : std::string();
      });
      const auto outcome = exported(*model, path_of(dir) / id);
      QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
      const auto stored = initializers_of(outcome->path / "model.onnx");
      int seen = 0;
      for (const Module& module : model->modules) {
        if (!module.weight.scheme.quantized)
          continue;
        const auto stem = module.name + ".MatMul.weight";
        const std::string& codes = stored.at(stem + "_Q" + std::to_string(bits));
        const std::string& scales = stored.at(stem + "_scales");
        const auto zeros = stored.find(stem + "_zero_points");
        QCOMPARE(zeros == stored.end(), module.weight.scheme.symmetric);
        const std::int64_t rows = module.weight.rows, cols = module.weight.cols;
        const std::int64_t blocks = (cols + size - 1) / size;
        QCOMPARE(std::int64_t(codes.size()), rows * blocks * size * bits / 8);
        const MatrixView view = module.weight.view();
        std::vector<float> want(static_cast<std::size_t>(cols));
        for (std::int64_t row = 0; row < rows; ++row) {
          view.layout->decode(view, row, 0, cols, want.data());
          for (std::int64_t col = 0; col < cols; ++col) {
            const std::int64_t block = col / size;
            const int code = bits_at(codes, (row * blocks * size + col) * bits, bits);
            const std::int64_t row_zeros = (blocks * bits + 7) / 8 * 8;
            const int zero = zeros == stored.end()
                                 ? 1 << (bits - 1)
                                 : bits_at(zeros->second, row * row_zeros + block * bits, bits);
            QCOMPARE(float(code - zero) * float_at(scales, row * blocks + block),
                     want[std::size_t(col)]);
          }
        }
        ++seen;
      }
      QVERIFY(seen > 0);
    }
  }

  void bytes_of_integers_and_tables() {
    QTemporaryDir dir;
    make_golden("qwen2", path_of(dir) / "hf");
    const auto integers = quantized(
        path_of(dir) / "hf", [](const Module& m) { return only_linears(m, "int8-channel-asym"); },
        "int8-token-dynamic");
    auto outcome = exported(*integers, path_of(dir) / "int8");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    auto stored = initializers_of(outcome->path / "model.onnx");
    for (const Module& module : integers->modules) {
      if (!module.weight.scheme.quantized)
        continue;
      const auto stem = module.name + ".MatMul.weight";
      const std::string &codes = stored.at(stem + "_quantized"),
                        &scales = stored.at(stem + "_scale"),
                        &zeros = stored.at(stem + "_zero_point");
      const MatrixView view = module.weight.view();
      std::vector<float> want(static_cast<std::size_t>(view.cols));
      for (std::int64_t row = 0; row < view.rows; ++row) {
        view.layout->decode(view, row, 0, view.cols, want.data());
        for (std::int64_t col = 0; col < view.cols; ++col) {
          const int code = std::uint8_t(codes[std::size_t(col * view.rows + row)]);
          const int zero = std::uint8_t(zeros[std::size_t(row)]);
          QCOMPARE(float(code - zero) * float_at(scales, row), want[std::size_t(col)]);
        }
      }
    }
    const auto tables =
        quantized(path_of(dir) / "hf", [](const Module& m) { return only_linears(m, "nf4-b32"); });
    outcome = exported(*tables, path_of(dir) / "nf4");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    stored = initializers_of(outcome->path / "model.onnx");
    static constexpr float nf4[] = {-1.0f,        -0.6961928f,  -0.52507305f,  -0.39491749f,
                                    -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
                                    0.0795803f,   0.1609302f,   0.2461123f,    0.33791524f,
                                    0.44070983f,  0.562617f,    0.72295684f,   1.0f};
    for (const Module& module : tables->modules) {
      if (!module.weight.scheme.quantized)
        continue;
      const auto stem = module.name + ".MatMul.weight";
      const std::string &codes = stored.at(stem + "_Bnb4"), &scales = stored.at(stem + "_absmax");
      const MatrixView view = module.weight.view();
      std::vector<float> want(static_cast<std::size_t>(view.cols));
      for (std::int64_t row = 0; row < view.rows; ++row) {
        view.layout->decode(view, row, 0, view.cols, want.data());
        for (std::int64_t col = 0; col < view.cols; ++col) {
          const std::int64_t at = row * view.cols + col;
          const int both = std::uint8_t(codes[std::size_t(at / 2)]);
          const float value = nf4[at % 2 == 0 ? both >> 4 : both & 15] * float_at(scales, at / 32);
          QVERIFY(std::abs(value - want[std::size_t(col)]) <= 1e-6f * std::abs(value));
        }
      }
    }
  }

  /// Embeddings of few bits, and a tied head that multiplies with the same codes.
  void coded_embedding() {
    for (const char* name : {"gemma2", "qwen2", "llama-1"})
      for (const char* scheme : {"int8-channel-sym", "int4-g16-asym", "int2-g16-sym"}) {
        QTemporaryDir dir;
        make_golden(name, path_of(dir) / "hf");
        auto model = quantized(path_of(dir) / "hf", [&](const Module& m) {
          return m.part == "embedding" ? std::string(scheme) : std::string();
        });
        const Module* embedding = model->find_part(-1, "embedding");
        for (auto& module : model->modules)
          if (module.tied_to_embedding) {
            module.weight.scheme = embedding->weight.scheme;
            module.weight.rows = embedding->weight.rows;
            module.weight.cols = embedding->weight.cols;
          }
        const auto outcome = exported(*model, path_of(dir) / "onnx");
        QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
        check_by_onnx(outcome->path / "model.onnx");
      }
  }

  /// Weights beside the model: aligned, in files of the size that is asked for, predicted exactly.
  void data_files() {
    QTemporaryDir dir;
    const auto model = opened(demo_model());
    QVERIFY(model);
    constexpr std::uint64_t limit = 3'000'000;
    const ExportOptions options{path_of(dir) / "onnx", "small", false, limit};
    const auto prediction = predict_export(*model, exporter(), options);
    QVERIFY2(prediction.ok(), prediction.ok() ? "" : prediction.error().text().c_str());
    const auto outcome = exported(*model, path_of(dir) / "onnx", limit);
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    for (const auto& file : prediction->files)
      QCOMPARE(fs::file_size(outcome->path / file.name), file.bytes);
    QCOMPARE(prediction->files.back().name, fs::path("model.onnx"));
    const auto proto = parsed(outcome->path / "model.onnx");
    std::set<std::string> files;
    for (const auto& tensor : proto.graph().initializer())
      for (const auto& entry : tensor.external_data()) {
        if (entry.key() == "offset")
          QCOMPARE(std::stoll(entry.value()) % 4096, 0);
        if (entry.key() == "location")
          files.insert(entry.value());
      }
    QCOMPARE(files,
             (std::set<std::string>{"model.onnx_data", "model.onnx_data_1", "model.onnx_data_2"}));
    for (const auto& file : files)
      QVERIFY(fs::file_size(outcome->path / file) <= limit);
    check_by_onnx(outcome->path / "model.onnx");
    const auto report = verified(outcome->path / "model.onnx", model.get());
    QVERIFY2(report.ok, failed_checks(report).c_str());

    const auto damaged = [&](const char* check) {
      const auto found = verified(outcome->path, model.get());
      QVERIFY(!found.ok);
      const auto text = failed_checks(found);
      QVERIFY2(text.find(check) != std::string::npos, text.c_str());
    };
    const auto data = outcome->path / "model.onnx_data_1";
    const auto content = content_of(data);
    put(data, content.substr(0, content.size() - 1));
    damaged("beyond the end of model.onnx_data_1");
    auto flipped = content;
    flipped[flipped.size() / 2] ^= 4;
    put(data, flipped);
    damaged("values differ");
    fs::remove(data);
    damaged("cannot be opened");
    // Data that is said to lie elsewhere.
    auto moved = proto;
    for (auto& tensor : *moved.mutable_graph()->mutable_initializer())
      for (auto& entry : *tensor.mutable_external_data())
        if (entry.key() == "location")
          entry.set_value("../small/" + entry.value());
    put(outcome->path / "model.onnx", moved.SerializeAsString());
    damaged("no file beside the model");
  }

  /// The size of every file of an export whose weights are not there yet.
  void predicted_from_a_plan_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<QString>("activations");
    for (const char* scheme : {"int4-g16-asym", "int2-g64-sym", "nf4-b32-dq", "f16"})
      QTest::newRow(scheme) << scheme << "none";
    QTest::newRow("dynamic") << "int8-channel-sym"
                             << "int8-token-dynamic";
  }
  void predicted_from_a_plan() {
    QFETCH(QString, scheme);
    QFETCH(QString, activations);
    QTemporaryDir dir;
    make_golden("phi3-window", path_of(dir) / "hf");
    const auto model = opened(path_of(dir) / "hf");
    const auto compute = std::move(*make_cpu_compute());
    Recipe recipe;
    recipe.default_scheme = scheme.toStdString();
    recipe.activations = activations.toStdString();
    auto plan = make_plan(*model, recipe);
    QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
    fit_plan(*plan, *model, exporter());
    const ExportOptions options{path_of(dir) / "onnx", "small", false, 20000};
    const auto predicted = predict_export(*model, *plan, exporter(), options);
    QVERIFY2(predicted.ok(), predicted.ok() ? "" : predicted.error().text().c_str());
    QVERIFY(predicted->files.size() > 2);
    Feedback feedback;
    QuantizeOptions to;
    to.result_folder = path_of(dir) / "result";
    const auto made = run_quantize(*model, *plan, *compute, to, feedback);
    QVERIFY2(made.ok(), made.ok() ? "" : made.error().text().c_str());
    const auto kept = opened(to.result_folder);
    const auto outcome = run_export(*kept, exporter(), options, feedback);
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    for (const auto& file : predicted->files)
      if (file.name.extension() != ".json")
        QCOMPARE(fs::file_size(outcome->path / file.name), file.bytes);
  }

  /// Cut off anywhere, any byte changed: a finding, never a crash; and what is changed in codes is
  /// found by comparing.
  void damaged_files() {
    QTemporaryDir dir;
    make_golden("qwen3", path_of(dir) / "hf");
    const auto model = quantized(path_of(dir) / "hf",
                                 [](const Module& m) { return only_linears(m, "int4-g16-asym"); });
    const auto outcome = exported(*model, path_of(dir) / "onnx");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    const auto file = path_of(dir) / "damaged.onnx";
    const auto content = content_of(outcome->path / "model.onnx");
    std::uint32_t seed = 7;
    const auto next = [&](std::size_t bound) {
      seed = seed * 1664525u + 1013904223u;
      return std::size_t(seed >> 8) % bound;
    };
    for (int i = 0; i < 60; ++i) {
      put(file, content.substr(0, next(content.size())));
      QVERIFY(!verified(file, model.get()).ok);
    }
    put(file, "");
    QVERIFY(!verified(file).ok);
    put(file, std::string(1000, '\xff'));
    QVERIFY(!verified(file).ok);
    int unseen = 0;
    for (int i = 0; i < 300; ++i) {
      auto flipped = content;
      flipped[next(flipped.size())] ^= char(1 << next(8));
      put(file, flipped);
      unseen += verified(file, model.get()).ok;
    }
    // Numbers of the graph itself, names that nothing refers to, and bits that pad codes stay.
    QVERIFY2(unseen < 60, std::to_string(unseen).c_str());
  }

  void hostile_files() {
    QTemporaryDir dir;
    make_golden("gpt2-bare", path_of(dir) / "hf");
    const auto model = opened(path_of(dir) / "hf");
    const auto outcome = exported(*model, path_of(dir) / "onnx");
    QVERIFY2(outcome.ok(), outcome.ok() ? "" : outcome.error().text().c_str());
    const auto good = parsed(outcome->path / "model.onnx");
    const auto file = path_of(dir) / "hostile.onnx";
    const auto finds = [&](const onnx::ModelProto& proto, const char* what) {
      put(file, proto.SerializeAsString());
      const auto report = verified(file);
      const auto text = failed_checks(report);
      QVERIFY2(!report.ok && text.find(what) != std::string::npos, (text + what).c_str());
    };
    auto proto = good;
    proto.mutable_graph()->mutable_initializer(0)->add_dims(std::int64_t(1) << 62);
    finds(proto, "out of range");
    proto = good;
    proto.mutable_graph()->mutable_initializer(0)->set_dims(0, -5);
    proto.mutable_graph()->mutable_initializer(0)->set_data_type(99);
    finds(proto, proto.graph().initializer(0).name().c_str());
    proto = good;
    proto.clear_opset_import();
    finds(proto, "no version of the operators of ai.onnx");
    proto = good;
    proto.mutable_graph()->mutable_node(3)->set_input(0, "nowhere");
    finds(proto, "takes nowhere");
    proto = good;
    proto.mutable_graph()->mutable_node(3)->set_output(0, proto.graph().node(2).output(0));
    finds(proto, "is there already");
    proto = good;
    proto.mutable_graph()->mutable_input(0)->set_name("ids");
    finds(proto, "no input input_ids");
    proto = good;
    proto.mutable_graph()->mutable_output()->DeleteSubrange(1, 1);
    finds(proto, "no output present.0.key");
    proto = good;
    proto.set_ir_version(1);
    finds(proto, "IR version");
    proto = good;
    proto.mutable_graph()->mutable_node(4)->set_op_type("MatMull");
    finds(proto, "is no operator of ONNX");
    proto = good;
    for (auto& node : *proto.mutable_graph()->mutable_node())
      if (node.op_type() == "Concat")
        node.clear_attribute();
    finds(proto, "axis");
    // What only the model that it was made of can tell.
    const auto differs = [&](const onnx::ModelProto& changed, const char* what) {
      put(file, changed.SerializeAsString());
      const auto report = verified(file, model.get());
      const auto text = failed_checks(report);
      QVERIFY2(!report.ok && text.find(what) != std::string::npos, (text + what).c_str());
    };
    proto = good;
    for (auto& node : *proto.mutable_graph()->mutable_node())
      for (auto& attribute : *node.mutable_attribute())
        if (attribute.name() == "epsilon")
          attribute.set_f(0.5f);
    differs(proto, "LayerNormalization differs");
    proto = good;
    for (auto& tensor : *proto.mutable_graph()->mutable_initializer())
      if (tensor.name() == "constant_0")
        tensor.mutable_raw_data()->front() ^= 1;
    differs(proto, "constant_0 differs");
    proto = good;
    proto.mutable_graph()->add_initializer()->CopyFrom(proto.graph().initializer(0));
    differs(proto, "is there twice");
    // A node with ten thousand graphs inside of each other.
    std::string nested = "\x0a\x00";
    for (int i = 0; i < 10000; ++i) {
      const auto wrapped = [](char tag, const std::string& message) {
        std::string size;
        for (std::size_t n = message.size();; n >>= 7) {
          size += char((n & 127) | (n > 127 ? 128 : 0));
          if (n < 128)
            break;
        }
        return std::string(1, tag) + size + message;
      };
      nested = wrapped(0x0a, wrapped(0x2a, wrapped(0x32, nested))); // node, attribute, graph
    }
    put(file, std::string("\x3a") + nested);
    QVERIFY(!verified(file).ok);
  }

  void refusals() {
    auto model = std::make_shared<Checkpoint>();
    model->why_not_runnable = "nobody knows it";
    model->path = "x";
    const auto outcome = exported(*model, "/nonexistent/x");
    QVERIFY(!outcome.ok());
    QVERIFY2(outcome.error().message.find("nobody knows it") != std::string::npos,
             outcome.error().text().c_str());
  }
};

QTEST_GUILESS_MAIN(TestOnnx)
#include "tst_onnx.moc"
