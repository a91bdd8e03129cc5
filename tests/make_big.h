// SPDX-License-Identifier: GPL-3.0-or-later
// Synthetic checkpoints of any size: a Llama-shaped folder of shards or one GGUF. Weights that are
// not asked for are holes of a sparse file, so that 14 GB take a few megabytes of disk.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <random>
#include <unistd.h>

namespace bitlathe::test {

struct BigModel {
  std::int64_t layers = 32, hidden = 4096, ffn = 11008, heads = 32, kv_heads = 32, vocab = 32000;
  std::int64_t per_layer_extra = 0; ///< small tensors more in each layer, for long lists
  std::uint64_t shard_bytes = 5'000'000'000ull;
  /// Weights that get seeded values instead of a hole.
  std::function<bool(const std::string& name)> filled = [](const std::string&) { return false; };
};

struct BigTensor {
  std::string name, gguf;
  std::vector<std::int64_t> shape;
};

inline std::vector<BigTensor> big_tensors(const BigModel& m) {
  std::vector<BigTensor> out;
  const std::int64_t kv = m.hidden / m.heads * m.kv_heads;
  out.push_back({"model.embed_tokens.weight", "token_embd.weight", {m.vocab, m.hidden}});
  for (std::int64_t l = 0; l < m.layers; ++l) {
    const auto hf = "model.layers." + std::to_string(l) + ".";
    const auto gguf = "blk." + std::to_string(l) + ".";
    const auto add = [&](const char* name, const char* stem, std::vector<std::int64_t> shape) {
      out.push_back({hf + name + ".weight", gguf + stem + ".weight", std::move(shape)});
    };
    add("input_layernorm", "attn_norm", {m.hidden});
    add("self_attn.q_proj", "attn_q", {m.hidden, m.hidden});
    add("self_attn.k_proj", "attn_k", {kv, m.hidden});
    add("self_attn.v_proj", "attn_v", {kv, m.hidden});
    add("self_attn.o_proj", "attn_output", {m.hidden, m.hidden});
    add("post_attention_layernorm", "ffn_norm", {m.hidden});
    add("mlp.gate_proj", "ffn_gate", {m.ffn, m.hidden});
    add("mlp.up_proj", "ffn_up", {m.ffn, m.hidden});
    add("mlp.down_proj", "ffn_down", {m.hidden, m.ffn});
    for (std::int64_t i = 0; i < m.per_layer_extra; ++i) {
      const auto name = "experts." + std::to_string(i) + ".w";
      add(name.c_str(), ("extra_" + std::to_string(i)).c_str(), {8, 32});
    }
  }
  out.push_back({"model.norm.weight", "output_norm.weight", {m.hidden}});
  out.push_back({"lm_head.weight", "output.weight", {m.vocab, m.hidden}});
  return out;
}

inline std::int64_t elements(const BigTensor& tensor) {
  std::int64_t n = 1;
  for (const auto extent : tensor.shape)
    n *= extent;
  return n;
}

/// A file that is `size` bytes long, begins with `head` and is a hole otherwise.
inline bool put_sparse(const fs::path& path, const std::string& head, std::uint64_t size) {
  std::ofstream(path, std::ios::binary) << head;
  return ::truncate(path.c_str(), off_t(size)) == 0;
}

/// Roughly normal bf16 values, written in place; fast rather than good.
inline void fill_bf16(const fs::path& path, std::uint64_t offset, std::int64_t count,
                      std::uint32_t seed) {
  std::vector<std::uint16_t> block(1 << 20);
  std::mt19937 random(seed);
  for (auto& value : block) {
    const auto bits = random();
    const double x =
        (double(__builtin_popcount(bits & 0xffffff)) - 12) / 2.45 + double(bits >> 24) / 640;
    const float f = float(x * 0.02);
    std::uint32_t word;
    std::memcpy(&word, &f, 4);
    value = std::uint16_t(word >> 16);
  }
  const int file = ::open(path.c_str(), O_WRONLY);
  for (std::int64_t done = 0; file >= 0 && done < count;) {
    const auto part = std::min<std::int64_t>(count - done, std::int64_t(block.size()));
    if (::pwrite(file, block.data(), std::size_t(part) * 2,
                 off_t(offset + std::uint64_t(done) * 2)) < 0)
      break;
    done += part;
  }
  if (file >= 0)
    ::close(file);
}

/// A Hugging Face folder in bf16: shards, index, config.json. Returns the bytes of the weights.
inline std::uint64_t make_big_folder(const fs::path& folder, const BigModel& m) {
  fs::create_directories(folder);
  Json config{{"architectures", {"LlamaForCausalLM"}},
              {"model_type", "llama"},
              {"hidden_size", m.hidden},
              {"intermediate_size", m.ffn},
              {"num_hidden_layers", m.layers},
              {"num_attention_heads", m.heads},
              {"num_key_value_heads", m.kv_heads},
              {"vocab_size", m.vocab},
              {"rms_norm_eps", 1e-5},
              {"torch_dtype", "bfloat16"},
              {"tie_word_embeddings", false},
              {"max_position_embeddings", 4096}};
  std::ofstream(folder / "config.json") << config.dump(1);

  std::vector<std::vector<BigTensor>> shards(1);
  std::uint64_t in_shard = 0, total = 0;
  for (auto& tensor : big_tensors(m)) {
    const auto bytes = std::uint64_t(elements(tensor)) * 2;
    if (in_shard > 0 && in_shard + bytes > m.shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    in_shard += bytes;
    total += bytes;
    shards.back().push_back(std::move(tensor));
  }
  Json map = Json::object();
  for (std::size_t s = 0; s < shards.size(); ++s) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, shards.size());
    Json header = Json::object();
    std::uint64_t at = 0;
    for (const auto& tensor : shards[s]) {
      const auto bytes = std::uint64_t(elements(tensor)) * 2;
      header[tensor.name] = {
          {"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {at, at + bytes}}};
      at += bytes;
      map[tensor.name] = name;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    std::uint64_t length = text.size();
    std::string head(reinterpret_cast<const char*>(&length), 8);
    head += text;
    put_sparse(folder / name, head, head.size() + at);
    at = 0;
    for (const auto& tensor : shards[s]) {
      if (m.filled(tensor.name))
        fill_bf16(folder / name, head.size() + at, elements(tensor), 7);
      at += std::uint64_t(elements(tensor)) * 2;
    }
  }
  std::ofstream(folder / "model.safetensors.index.json")
      << Json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump();
  return total;
}

/// The same as one GGUF; vectors are f32, matrices of `type` ("f16", "q8_0", "q4_k"). All weights
/// are holes: zero bytes are valid blocks. Returns the bytes of the weights.
inline std::uint64_t make_big_gguf(const fs::path& path, const BigModel& m,
                                   const std::string& type) {
  const auto append = [](std::string& out, auto value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto text = [&](std::string& out, const std::string& value) {
    append(out, std::uint64_t(value.size()));
    out += value;
  };
  std::string head = "GGUF";
  append(head, std::uint32_t(3));
  const auto tensors = big_tensors(m);
  append(head, std::uint64_t(tensors.size()));
  const std::pair<const char*, std::uint32_t> numbers[] = {
      {"llama.block_count", std::uint32_t(m.layers)},
      {"llama.context_length", 4096},
      {"llama.embedding_length", std::uint32_t(m.hidden)},
      {"llama.feed_forward_length", std::uint32_t(m.ffn)},
      {"llama.attention.head_count", std::uint32_t(m.heads)},
      {"llama.attention.head_count_kv", std::uint32_t(m.kv_heads)},
      {"llama.rope.dimension_count", std::uint32_t(m.hidden / m.heads)},
      {"llama.vocab_size", std::uint32_t(m.vocab)}};
  append(head, std::uint64_t(2 + std::size(numbers)));
  text(head, "general.architecture");
  append(head, std::uint32_t(8));
  text(head, "llama");
  for (const auto& [key, value] : numbers) {
    text(head, key);
    append(head, std::uint32_t(4));
    append(head, value);
  }
  text(head, "llama.attention.layer_norm_rms_epsilon");
  append(head, std::uint32_t(6));
  append(head, 1e-5f);
  std::uint64_t at = 0, total = 0;
  for (const auto& tensor : tensors) {
    const auto* kind = find_gguf_type(tensor.shape.size() > 1 ? type : "f32");
    text(head, tensor.gguf);
    append(head, std::uint32_t(tensor.shape.size()));
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it)
      append(head, std::uint64_t(*it));
    append(head, kind->id);
    append(head, at);
    const auto bytes = std::uint64_t(elements(tensor)) / std::uint64_t(kind->block) *
                       std::uint64_t(kind->block_bytes);
    total += bytes;
    at += (bytes + 31) / 32 * 32;
  }
  head.append((32 - head.size() % 32) % 32, '\0');
  put_sparse(path, head, head.size() + at);
  return total;
}

} // namespace bitlathe::test
