// SPDX-License-Identifier: Apache-2.0
// Gemma: Llama with embeddings times sqrt(hidden), norms by 1 + w, GELU gates and a tied head.
// Follows transformers' modeling_gemma.py.
#include "core/arch/gemma.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

Json gemma_config(const Json& config, const Json& defaults) {
  Json out = config;
  const auto inner = config.find("text_config");
  if (inner != config.end() && inner->is_object()) {
    out = *inner;
    for (const char* outer : {"architectures", "bos_token_id", "eos_token_id"})
      if (const auto it = config.find(outer); it != config.end() && !out.contains(outer))
        out[outer] = *it;
  }
  for (const auto& [key, value] : defaults.items())
    if (!out.contains(key) || out[key].is_null())
      out[key] = value;
  return out;
}

Result<ModelSpec> gemma_spec(const Json& config, const std::string& where) {
  ModelSpec s;
  Json plain = config;
  plain.erase("hidden_act"); // "hidden_activation" counts
  Defaults defaults;
  defaults.tied_head = true;
  TRY(read_common(plain, defaults, s, where));
  TRY_ASSIGN(s.activation,
             read_activation(config, "hidden_activation", "gelu_pytorch_tanh", where));
  TRY_ASSIGN(s.attention_bias, json_bool_or(config, "attention_bias", false, where));
  s.norm_plus_one = true;
  s.embedding_scale = std::sqrt(float(s.hidden));
  return s;
}

Result<void> gemma_attention(const Json& config, const std::function<bool(std::int64_t)>& slides,
                             ModelSpec& s, const std::string& where) {
  TRY_ASSIGN(const double scalar, json_number_or(config, "query_pre_attn_scalar", 256, where));
  TRY_ASSIGN(const double cap, json_number_or(config, "attn_logit_softcapping", 0, where));
  TRY_ASSIGN(const double final_cap, json_number_or(config, "final_logit_softcapping", 0, where));
  if (!(scalar > 0) || !(cap >= 0) || !(final_cap >= 0) || !std::isfinite(scalar + cap + final_cap))
    return Error{"bad-file",
                 "\"query_pre_attn_scalar\" or a soft cap of the configuration is out of range",
                 where};
  s.attention_scale = float(1 / std::sqrt(scalar));
  s.attention_softcap = float(cap);
  s.final_softcap = float(final_cap);
  TRY_ASSIGN(const std::int64_t window, read_window(config, 4096, where));
  TRY_ASSIGN(s.windows, windows_of_layers(config, s, window, slides, where));
  return {};
}

std::vector<ModuleName> gemma_modules(const ModelSpec& s, const GemmaLayout& layout) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  const bool bias = s.attention_bias;
  ModuleList out;
  const auto norm = [&](const char* part, const char* name, const char* stem, std::int64_t size) {
    out.add(part, "norm", name, stem, {size}).gguf_offset = 1;
  };
  out.add("embedding", "embedding", "model.embed_tokens", "token_embd", {s.vocab, s.hidden});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const auto n = std::to_string(i);
    out.enter("model.layers." + n + ".", "blk." + n + ".", int(i));
    norm("attention_norm", "input_layernorm", "attn_norm", s.hidden);
    out.add("q", "q_proj", "self_attn.q_proj", "attn_q", {q, s.hidden}, bias);
    out.add("k", "k_proj", "self_attn.k_proj", "attn_k", {kv, s.hidden}, bias);
    out.add("v", "v_proj", "self_attn.v_proj", "attn_v", {kv, s.hidden}, bias);
    if (layout.head_norms) {
      norm("q_norm", "self_attn.q_norm", "attn_q_norm", s.head_dim);
      norm("k_norm", "self_attn.k_norm", "attn_k_norm", s.head_dim);
    }
    out.add("o", "o_proj", "self_attn.o_proj", "attn_output", {s.hidden, q}, bias);
    if (layout.post_norms) {
      norm("post_attention_norm", "post_attention_layernorm", "post_attention_norm", s.hidden);
      norm("mlp_norm", "pre_feedforward_layernorm", "ffn_norm", s.hidden);
    } else {
      norm("mlp_norm", "post_attention_layernorm", "ffn_norm", s.hidden);
    }
    out.add("gate", "gate_proj", "mlp.gate_proj", "ffn_gate", {s.ffn, s.hidden});
    out.add("up", "up_proj", "mlp.up_proj", "ffn_up", {s.ffn, s.hidden});
    out.add("down", "down_proj", "mlp.down_proj", "ffn_down", {s.hidden, s.ffn});
    if (layout.post_norms)
      norm("post_mlp_norm", "post_feedforward_layernorm", "post_ffw_norm", s.hidden);
  }
  out.enter("", "", -1);
  norm("final_norm", "model.norm", "output_norm", s.hidden);
  out.add("head", "lm_head", "lm_head", "output", {s.vocab, s.hidden}).optional = s.tied_head;
  return std::move(out.list);
}

Result<Json> gemma_config_from_gguf(const GgufKeys& keys, const char* class_name,
                                    const char* model_type) {
  TRY_ASSIGN(Json config, common_config(keys, class_name, model_type));
  config["hidden_activation"] = "gelu_pytorch_tanh";
  config["attention_bias"] = keys.tensor("blk.0.attn_q.bias") != nullptr;
  const std::int64_t head_dim = config["head_dim"];
  TRY(rope_from_gguf(keys, head_dim, config));
  return config;
}

Result<void> gemma_windows_from_gguf(const GgufKeys& keys, std::int64_t period, Json& config) {
  const auto* pattern = keys.value("attention.sliding_window_pattern");
  if (!pattern)
    return {};
  const auto* list = std::get_if<std::shared_ptr<GgufArray>>(&pattern->value);
  const std::int64_t layers = config["num_hidden_layers"];
  const auto whole = pattern->as_int();
  if ((!list && (!whole || *whole < 0)) ||
      (list && (!*list || std::int64_t((*list)->size()) < layers)))
    return Error{"bad-file", "The pattern of sliding windows is neither a number nor one per layer",
                 keys.where()};
  if (whole == period)
    return {};
  Json types = Json::array();
  for (std::int64_t i = 0; i < std::min<std::int64_t>(layers, 100000); ++i) {
    bool slides = !list && *whole > 0 && (i + 1) % *whole != 0;
    if (list) {
      const GgufValue& value = (**list)[std::size_t(i)];
      const auto* flag = std::get_if<bool>(&value.value);
      slides = flag ? *flag : value.as_int().value_or(0) != 0;
    }
    types.push_back(slides ? "sliding_attention" : "full_attention");
  }
  config["layer_types"] = std::move(types);
  return {};
}

std::vector<std::string> gemma_gguf_problems(const ModelSpec& s) {
  std::vector<std::string> out;
  if (s.attention_bias)
    out.push_back("llama.cpp knows no biases in the attention of Gemma");
  if (s.activation != "gelu_tanh")
    out.push_back("llama.cpp would run Gemma's feed-forward with the tanh form of GELU");
  return out;
}

GgufMetadata gemma_metadata(std::string_view architecture, const ModelSpec& s) {
  auto out = common_metadata(architecture, s);
  const auto add = [&](const char* name, GgufValue value) {
    auto key = std::string(architecture) + "." + name;
    if (!find(out, key))
      out.emplace_back(std::move(key), std::move(value));
  };
  add("attention.key_length", gguf_u32(s.head_dim));
  add("attention.value_length", gguf_u32(s.head_dim));
  if (!s.windows.empty())
    add("attention.sliding_window",
        gguf_u32(*std::max_element(s.windows.begin(), s.windows.end())));
  if (s.attention_softcap > 0)
    add("attn_logit_softcapping", GgufValue::f32(s.attention_softcap));
  if (s.final_softcap > 0)
    add("final_logit_softcapping", GgufValue::f32(s.final_softcap));
  return out;
}

namespace {

std::int64_t llama_cpp_scalar(std::int64_t layers, std::int64_t layers_of_27b, std::int64_t hidden,
                              std::int64_t heads, std::int64_t head_dim) {
  return layers == layers_of_27b ? hidden / heads : head_dim;
}

} // namespace

void gemma_scalar_from_gguf(std::int64_t layers_of_27b, Json& config) {
  config["query_pre_attn_scalar"] =
      llama_cpp_scalar(config["num_hidden_layers"], layers_of_27b, config["hidden_size"],
                       config["num_attention_heads"], config["head_dim"]);
}

std::vector<std::string> gemma_gguf_problems(const ModelSpec& s, std::int64_t layers_of_27b,
                                             std::int64_t period) {
  auto out = gemma_gguf_problems(s);
  const auto scalar = llama_cpp_scalar(s.layers, layers_of_27b, s.hidden, s.heads, s.head_dim);
  if (std::abs(double(s.attention_scale) * std::sqrt(double(scalar)) - 1) > 1e-5)
    out.push_back("llama.cpp would divide attention scores by the root of " +
                  std::to_string(scalar) + ", not by that of query_pre_attn_scalar");
  for (std::int64_t i = 0; i < s.layers && !s.windows.empty(); ++i)
    if ((s.windows[std::size_t(i)] > 0) != ((i + 1) % period != 0)) {
      out.push_back("llama.cpp would give layer " + std::to_string(i) +
                    (s.windows[std::size_t(i)] > 0 ? " no window" : " a window"));
      break;
    }
  return out;
}

namespace {

bool match(const Json& config) { return names_class(config, {"GemmaForCausalLM", "gemma"}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, "gemma"); }

Result<ModelSpec> spec(const Json& given, const std::string& where) {
  const Json config = gemma_config(given, {{"num_attention_heads", 16},
                                           {"num_key_value_heads", 16},
                                           {"head_dim", 256},
                                           {"vocab_size", 256000},
                                           {"max_position_embeddings", 8192}});
  TRY_ASSIGN(ModelSpec s, gemma_spec(config, where));
  TRY(read_rope(config, {rope_settings(config), "rope_theta", 10000, s.head_dim, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  return gemma_config_from_gguf(GgufKeys(file, "gemma"), "GemmaForCausalLM", "gemma");
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) { return gemma_metadata("gemma", s); }

std::vector<ModuleName> modules(const ModelSpec& s) { return gemma_modules(s, {}); }

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  auto out = gemma_gguf_problems(s);
  if (!s.tied_head)
    out.push_back("llama.cpp uses the embedding of Gemma as its head");
  return out;
}

} // namespace

extern const Arch arch_gemma;
const Arch arch_gemma{"gemma",          "Gemma: scaled embeddings, norms by 1 + w, GELU gates.",
                      "gemma",          match,
                      match_gguf,       spec,
                      config_from_gguf, gguf_metadata,
                      modules,          nullptr,
                      gguf_problems};

} // namespace bitlathe
