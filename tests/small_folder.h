// SPDX-License-Identifier: GPL-3.0-or-later
// A small Llama folder with seeded noise, quantized in memory and exported: for tests of formats.
#pragma once

#include "core/engine/engine.h"
#include "core/export/exporter.h"
#include "core/methods/method.h"
#include "core/model/assemble.h"
#include "core/model/checkpoint.h"
#include "tests/support.h"
#include "tests/used.h"

#include <QTemporaryDir>
#include <QTest>

#include <cstring>
#include <fstream>
#include <map>

namespace bitlathe::test {

inline fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

inline void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

struct SmallOptions {
  int hidden = 64, ffn = 96;
  bool tied = false;
  FloatType type = FloatType::bf16;
};

inline const char* torch_name(FloatType type) {
  return type == FloatType::bf16 ? "bfloat16" : type == FloatType::f16 ? "float16" : "float32";
}
inline const char* stored_name(FloatType type) {
  return type == FloatType::bf16 ? "BF16" : type == FloatType::f16 ? "F16" : "F32";
}

/// Two layers, with biases at q, k, v and o.
inline void make_small_folder(const fs::path& folder, const SmallOptions& o = {}) {
  fs::create_directories(folder);
  const Json config{{"architectures", {"LlamaForCausalLM"}},
                    {"model_type", "llama"},
                    {"hidden_size", o.hidden},
                    {"intermediate_size", o.ffn},
                    {"num_hidden_layers", 2},
                    {"num_attention_heads", 4},
                    {"num_key_value_heads", 2},
                    {"head_dim", 16},
                    {"vocab_size", 50},
                    {"rms_norm_eps", 1e-5},
                    {"max_position_embeddings", 64},
                    {"attention_bias", true},
                    {"tie_word_embeddings", o.tied},
                    {"torch_dtype", torch_name(o.type)}};
  put(folder / "config.json", config.dump());
  std::vector<TensorToWrite> list;
  std::uint32_t seed = 1;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t n = 1;
    for (const auto s : shape)
      n *= std::size_t(s);
    const auto values = normal_noise(n, seed++, 0.05f);
    auto bytes = std::make_shared<std::vector<std::byte>>(n * float_size(o.type));
    for (std::size_t i = 0; i < n; ++i)
      store_float(o.type, bytes->data(), std::int64_t(i), values[i]);
    list.push_back({name, stored_name(o.type), std::move(shape), bytes->size(),
                    [bytes](OutputFile& file) { return file.write(*bytes); }});
  };
  add("model.embed_tokens.weight", {50, o.hidden});
  for (int i = 0; i < 2; ++i) {
    const auto l = "model.layers." + std::to_string(i) + ".";
    add(l + "input_layernorm.weight", {o.hidden});
    add(l + "post_attention_layernorm.weight", {o.hidden});
    for (const auto& [name, rows] :
         {std::pair("q_proj", 64), std::pair("k_proj", 32), std::pair("v_proj", 32)}) {
      add(l + "self_attn." + name + ".weight", {rows, o.hidden});
      add(l + "self_attn." + name + ".bias", {rows});
    }
    add(l + "self_attn.o_proj.weight", {o.hidden, 64});
    add(l + "self_attn.o_proj.bias", {o.hidden});
    add(l + "mlp.gate_proj.weight", {o.ffn, o.hidden});
    add(l + "mlp.up_proj.weight", {o.ffn, o.hidden});
    add(l + "mlp.down_proj.weight", {o.hidden, o.ffn});
  }
  add("model.norm.weight", {o.hidden});
  if (!o.tied)
    add("lm_head.weight", {50, o.hidden});
  const auto written = write_safetensors_folder(folder, std::move(list), 1 << 30);
  QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
}

inline std::shared_ptr<Checkpoint> opened(const fs::path& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) {
    QTest::qFail(checkpoint.error().text().c_str(), __FILE__, __LINE__);
    return std::make_shared<Checkpoint>();
  }
  return std::const_pointer_cast<Checkpoint>(*checkpoint);
}

/// Why a path cannot be opened; empty when it can.
inline std::string why_not_opened(const fs::path& path) {
  const auto checkpoint = open_and_use(path);
  return checkpoint ? std::string() : checkpoint.error().text();
}

inline Compute& test_compute() {
  static const auto compute = std::move(*make_cpu_compute());
  return *compute;
}

/// Quantizes modules of a freshly opened model in memory; `scheme_of` gives "" to keep.
inline std::shared_ptr<Checkpoint>
quantized(const fs::path& path, const std::function<std::string(const Module&)>& scheme_of,
          const std::string& activations = "none", float activation_scale = 0) {
  auto model = opened(path);
  Feedback feedback;
  for (auto& module : model->modules) {
    const auto id = module.tied_to_embedding ? std::string() : scheme_of(module);
    if (id.empty())
      continue;
    const auto scheme = parse_scheme(id);
    if (!scheme.ok()) {
      QTest::qFail(scheme.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    const FloatView view = module.weight.floats();
    auto made = find_method("rtn")->quantize(
        {view, *scheme, Json::object(), "minmax", {}, test_compute(), feedback, module.name});
    if (!made.ok()) {
      QTest::qFail(made.error().text().c_str(), __FILE__, __LINE__);
      return model;
    }
    module.weight = std::move(made->tensor);
    module.activations = activations;
    module.activation_scale = activation_scale;
  }
  if (const Module* embedding = model->find_part(-1, "embedding"))
    for (auto& module : model->modules) // a tied head follows its embedding
      if (module.tied_to_embedding)
        module.weight = view_of(embedding->weight);
  return model;
}

/// The linears inside blocks.
inline std::shared_ptr<Checkpoint> quantized(const fs::path& path, const std::string& scheme,
                                             const std::string& activations = "none",
                                             float activation_scale = 0) {
  return quantized(
      path,
      [&](const Module& m) { return m.linear && m.role != "lm_head" ? scheme : std::string(); },
      activations, activation_scale);
}

inline Result<ExportOutcome> exported(const Checkpoint& model, const char* format,
                                      const fs::path& folder,
                                      std::uint64_t shard_limit = 5ull << 30) {
  Feedback feedback;
  return run_export(model, *find_exporter(format), {folder, "small", false, shard_limit}, feedback);
}

/// Findings of an exporter on a quantized model.
inline std::vector<Finding> findings_of(const Checkpoint& model, const char* format) {
  return find_exporter(format)->examine(model, export_modules(model));
}

inline bool found(const std::vector<Finding>& findings, Finding::Level level,
                  const std::string& part, const std::string& runtime = {}) {
  for (const Finding& finding : findings)
    if (finding.level == level && finding.runtime == runtime &&
        (finding.module + ": " + finding.message).find(part) != std::string::npos)
      return true;
  return false;
}

inline bool noted(const std::vector<std::string>& notes, const std::string& part) {
  for (const auto& note : notes)
    if (note.find(part) != std::string::npos)
      return true;
  return false;
}

/// The rules of a format that a folder breaks, in one line; empty: none.
inline std::string broken_rules(const char* format, const fs::path& path) {
  std::string out;
  for (const VerifyCheck& check : find_exporter(format)->rules(path))
    if (!check.ok)
      out += check.name + ": " + check.detail + "; ";
  return out;
}

/// A folder's tensors, to be changed and written again.
struct EditedFolder {
  fs::path folder;
  Json config;
  std::map<std::string, std::string> metadata;
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> data;
  };
  std::map<std::string, Tensor> tensors;

  explicit EditedFolder(const fs::path& from) {
    config = *read_json_file(from / "config.json");
    const auto file = read_safetensors_folder(from);
    metadata = file->metadata;
    for (const auto& tensor : file->tensors)
      tensors[tensor.name] = {tensor.dtype, tensor.shape, {tensor.data.begin(), tensor.data.end()}};
  }
  template <class T>
  void set(const std::string& name, const std::string& dtype, std::vector<std::int64_t> shape,
           const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    tensors[name] = {dtype, std::move(shape), {bytes.begin(), bytes.end()}};
  }
  void set_text(const std::string& name, const std::string& text) {
    set(name, "U8", {std::int64_t(text.size())}, std::vector<char>(text.begin(), text.end()));
  }
  std::string text(const std::string& name) const {
    const auto& data = tensors.at(name).data;
    return {reinterpret_cast<const char*>(data.data()), data.size()};
  }
  template <class T> std::vector<T> values(const std::string& name) const {
    const auto& data = tensors.at(name).data;
    std::vector<T> out(data.size() / sizeof(T));
    std::memcpy(out.data(), data.data(), out.size() * sizeof(T));
    return out;
  }
  void write(const fs::path& to) const {
    fs::create_directories(to);
    put(to / "config.json", config.dump());
    std::vector<TensorToWrite> list;
    for (const auto& [name, tensor] : tensors)
      list.push_back({name, tensor.dtype, tensor.shape, tensor.data.size(),
                      [data = tensor.data](OutputFile& file) { return file.write(data); }});
    const auto files = safetensors_files(std::move(list), 1ull << 40, metadata);
    QVERIFY2(files.ok(), files.ok() ? "" : files.error().text().c_str());
    const auto written = write_files(to, *files);
    QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
  }
};

/// Logits of some tokens.
inline std::vector<float> logits_of(const std::shared_ptr<const Checkpoint>& model) {
  std::vector<float> out;
  EngineOptions options;
  options.kv = KvScheme{"f32", "f32"};
  const auto engine = Engine::create(model, test_compute(), options);
  if (!engine) {
    QTest::qFail(engine.error().text().c_str(), __FILE__, __LINE__);
    return out;
  }
  auto sequence = (*engine)->new_sequence(8);
  const std::vector<std::int32_t> ids{5, 40, 1, 33};
  const auto done =
      (*engine)->forward(**sequence, ids, 0, [&](std::int64_t, std::span<const float> logits) {
        out.insert(out.end(), logits.begin(), logits.end());
        return Result<void>();
      });
  if (!done)
    QTest::qFail(done.error().text().c_str(), __FILE__, __LINE__);
  return out;
}

} // namespace bitlathe::test
