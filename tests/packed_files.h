// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of packed Hugging Face folders: a small model whose linears have random codes, scales,
// zero points and orders of columns, and slow arithmetic on its bits.
#pragma once

#include "core/export/exporter.h"
#include "core/model/checkpoint.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>

#define EXPORTED(result)                                                                           \
  QVERIFY2((result).ok(), (result).ok() ? "" : (result).error().text().c_str())

namespace bitlathe::test {

inline fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }
inline bool in_blocks(const Module& module) { return module.role != "lm_head"; }

inline void put_text(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// A Llama of two layers with biases, 64 wide, `ffn` in between, with a head of its own.
inline void make_packed_source(const fs::path& folder, std::int64_t ffn = 96) {
  fs::create_directories(folder);
  const Json config{{"architectures", {"LlamaForCausalLM"}},
                    {"model_type", "llama"},
                    {"hidden_size", 64},
                    {"intermediate_size", ffn},
                    {"num_hidden_layers", 2},
                    {"num_attention_heads", 4},
                    {"num_key_value_heads", 2},
                    {"head_dim", 16},
                    {"vocab_size", 64},
                    {"rms_norm_eps", 1e-5},
                    {"max_position_embeddings", 64},
                    {"attention_bias", true},
                    {"tie_word_embeddings", false},
                    {"torch_dtype", "bfloat16"}};
  put_text(folder / "config.json", config.dump());
  std::vector<TensorToWrite> list;
  std::uint32_t seed = 1;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t n = 1;
    for (const auto s : shape)
      n *= std::size_t(s);
    const auto values = normal_noise(n, seed++, 0.05f);
    auto bytes = std::make_shared<std::vector<std::byte>>(n * 2);
    for (std::size_t i = 0; i < n; ++i)
      store_float(FloatType::bf16, bytes->data(), std::int64_t(i), values[i]);
    list.push_back({name, "BF16", std::move(shape), n * 2,
                    [bytes](OutputFile& file) { return file.write(*bytes); }});
  };
  add("model.embed_tokens.weight", {64, 64});
  for (int i = 0; i < 2; ++i) {
    const auto l = "model.layers." + std::to_string(i) + ".";
    add(l + "input_layernorm.weight", {64});
    add(l + "post_attention_layernorm.weight", {64});
    for (const auto& [name, rows] :
         {std::pair("q_proj", 64), std::pair("k_proj", 32), std::pair("v_proj", 32)}) {
      add(l + "self_attn." + name + ".weight", {rows, 64});
      add(l + "self_attn." + name + ".bias", {rows});
    }
    add(l + "self_attn.o_proj.weight", {64, 64});
    add(l + "self_attn.o_proj.bias", {64});
    add(l + "mlp.gate_proj.weight", {ffn, 64});
    add(l + "mlp.up_proj.weight", {ffn, 64});
    add(l + "mlp.down_proj.weight", {64, ffn});
  }
  add("model.norm.weight", {64});
  add("lm_head.weight", {64, 64});
  const auto written = write_safetensors_folder(folder, std::move(list), 1 << 30);
  QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
}

/// Every code, zero point and order equally likely.
inline QTensor random_weight(const std::string& scheme, std::int64_t rows, std::int64_t cols,
                             std::uint32_t seed, bool ordered = false) {
  std::mt19937 random(seed);
  QTensor out;
  out.scheme = *parse_scheme(scheme);
  out.rows = rows;
  out.cols = cols;
  const auto bytes = out.scheme.family->bytes(out.scheme, rows, cols);
  const int bits = int(out.scheme.bits);
  out.owned_codes.resize(bytes.codes);
  const auto stride = std::size_t(int_row_bytes(cols, bits));
  for (std::size_t row = 0; row < std::size_t(rows); ++row)
    for (std::size_t bit = 0; bit < std::size_t(cols * bits); ++bit) // the padding stays zero
      if (random() & 256)
        out.owned_codes[row * stride + bit / 8] |= std::byte(1 << (bit % 8));
  out.owned_scales.resize(bytes.scales);
  const auto scales = std::int64_t(bytes.scales / float_size(out.scheme.float_type));
  for (std::int64_t i = 0; i < scales; ++i)
    store_float(out.scheme.float_type, out.owned_scales.data(), i,
                float(random() % 1000 + 1) / 16384.0f);
  out.owned_zeros.resize(bytes.zeros);
  for (auto& zero : out.owned_zeros)
    zero = std::byte(random() % (1u << bits));
  if (ordered) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(cols));
    std::iota(order.begin(), order.end(), 0);
    std::mt19937 shuffle(seed);
    for (std::size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[shuffle() % (i + 1)]);
    out.column_order = std::make_shared<const std::vector<std::int32_t>>(std::move(order));
  }
  out.own();
  return out;
}

inline std::shared_ptr<Checkpoint>
with_random_weights(const fs::path& source,
                    const std::function<std::string(const Module&)>& scheme_of,
                    bool ordered = false) {
  auto opened = open_checkpoint(source);
  if (!opened) {
    QTest::qFail(opened.error().text().c_str(), __FILE__, __LINE__);
    return std::make_shared<Checkpoint>();
  }
  auto model = std::const_pointer_cast<Checkpoint>(*opened);
  std::uint32_t seed = 1;
  for (auto& module : model->modules) {
    const auto scheme = module.linear ? scheme_of(module) : std::string();
    if (!scheme.empty())
      // The parts that loaders join have the same inputs, so the same order.
      module.weight = random_weight(scheme, module.weight.rows, module.weight.cols,
                                    ordered ? 7 : seed++, ordered);
  }
  return model;
}

/// One code of a row, bit by bit.
inline unsigned code_of(const QTensor& weight, std::int64_t row, std::int64_t position) {
  const int bits = int(weight.scheme.bits);
  const auto stride = std::size_t(int_row_bytes(weight.cols, bits));
  unsigned code = 0;
  for (int b = 0; b < bits; ++b) {
    const auto bit = std::size_t(position * bits + b);
    code |= unsigned(weight.codes[std::size_t(row) * stride + bit / 8] >> (bit % 8) & std::byte(1))
            << b;
  }
  return code;
}

inline std::int64_t group_columns(const QTensor& weight) {
  const auto& scheme = weight.scheme;
  return scheme.per_tensor || scheme.group == 0 || scheme.group > weight.cols ? weight.cols
                                                                              : scheme.group;
}
inline std::int64_t group_count(const QTensor& weight) {
  return (weight.cols + group_columns(weight) - 1) / group_columns(weight);
}
inline unsigned zero_of(const QTensor& weight, std::int64_t row, std::int64_t group) {
  if (weight.scheme.symmetric)
    return 1u << (int(weight.scheme.bits) - 1);
  return unsigned(
      weight.zeros[std::size_t(weight.scheme.per_tensor ? 0 : row * group_count(weight) + group)]);
}
inline float scale_of(const QTensor& weight, std::int64_t row, std::int64_t group) {
  return load_float(weight.scheme.float_type, weight.scales.data(),
                    weight.scheme.per_tensor ? 0 : row * group_count(weight) + group);
}

inline std::map<std::string, StoredTensor> stored_tensors(const fs::path& folder) {
  std::map<std::string, StoredTensor> out;
  const auto file = read_safetensors_folder(folder);
  if (!file) {
    QTest::qFail(file.error().text().c_str(), __FILE__, __LINE__);
    return out;
  }
  for (const auto& tensor : file->tensors)
    out[tensor.name] = tensor;
  return out;
}

inline std::uint32_t word(const StoredTensor& tensor, std::size_t index) {
  std::uint32_t value = 0;
  std::memcpy(&value, tensor.data.data() + index * 4, 4);
  return value;
}

inline Result<ExportOutcome> exported(const Checkpoint& model, const char* format,
                                      const fs::path& folder, const std::string& runtime = {}) {
  Feedback feedback;
  ExportOptions options;
  options.folder = folder;
  options.name = "small";
  options.runtime = runtime;
  options.accept_warnings = runtime.empty(); // the model has no tokenizer
  return run_export(model, *find_exporter(format), options, feedback);
}

/// Writes a folder's only safetensors file again with changes.
inline void
change_tensors(const fs::path& folder,
               const std::function<void(std::map<std::string, std::vector<std::byte>>& data,
                                        std::map<std::string, StoredTensor>& tensors)>& change) {
  auto tensors = stored_tensors(folder);
  std::map<std::string, std::vector<std::byte>> data;
  for (const auto& [name, tensor] : tensors)
    data[name].assign(tensor.data.begin(), tensor.data.end());
  change(data, tensors);
  std::vector<TensorToWrite> list;
  for (const auto& [name, tensor] : tensors) {
    const auto& bytes = data[name];
    list.push_back({name, tensor.dtype, tensor.shape, bytes.size(),
                    [&bytes](OutputFile& file) { return file.write(bytes); }});
  }
  const auto written = write_safetensors(folder / "model.safetensors", list, {{"format", "pt"}});
  QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
}

} // namespace bitlathe::test
