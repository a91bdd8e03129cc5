// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of exports share: a small model on disk, quantized in memory, and written.
#pragma once

#include "core/export/exporter.h"
#include "core/methods/method.h"
#include "core/model/checkpoint.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>

namespace bitlathe::test {

inline fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

inline void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::shared_ptr<const Checkpoint> opened(const fs::path& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) {
    QTest::qFail(checkpoint.error().text().c_str(), __FILE__, __LINE__);
    return std::make_shared<Checkpoint>();
  }
  return *checkpoint;
}

/// A small Llama with seeded noise: 64 wide, 96 in between, 2 layers, with biases.
inline void make_small_model(const fs::path& folder, bool tied = false, int columns = 64) {
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
inline std::shared_ptr<Checkpoint>
quantized(const fs::path& path, const std::function<std::string(const Module&)>& scheme_of,
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

inline std::shared_ptr<Checkpoint> quantized(const fs::path& path, const std::string& scheme,
                                             const std::string& activations = "none") {
  return quantized(
      path, [&](const Module& m) { return m.role == "lm_head" ? std::string() : scheme; },
      activations);
}

inline Result<ExportOutcome> exported(const Checkpoint& model, const char* format,
                                      const fs::path& folder,
                                      std::uint64_t shard_limit = 5ull << 30) {
  Feedback feedback;
  return run_export(model, *find_exporter(format), {folder, "small", false, shard_limit}, feedback);
}

inline std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder))
    out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

inline std::map<std::string, StoredTensor> by_name(const std::vector<StoredTensor>& tensors) {
  std::map<std::string, StoredTensor> out;
  for (const auto& tensor : tensors)
    out[tensor.name] = tensor;
  return out;
}

inline std::uint32_t word(const StoredTensor& tensor, std::size_t index) {
  std::uint32_t value = 0;
  std::memcpy(&value, tensor.data.data() + index * 4, 4);
  return value;
}

inline bool noted(const std::vector<std::string>& notes, const std::string& part) {
  for (const auto& note : notes)
    if (note.find(part) != std::string::npos)
      return true;
  return false;
}

} // namespace bitlathe::test
