// SPDX-License-Identifier: Apache-2.0
// Llama and what shares its layout (Mistral): RMS norm, rotary positions in the half-split form,
// grouped-query attention, gated SiLU feed-forward.
#include "core/model/spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

constexpr double pi = 3.14159265358979323846;

std::string architecture_of(const Json& config) {
  const auto list = config.find("architectures");
  if (list != config.end() && list->is_array() && !list->empty() && (*list)[0].is_string())
    return (*list)[0].get<std::string>();
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : std::string();
}

bool match(const Json& config) {
  if (!config.is_object())
    return false;
  const auto name = architecture_of(config);
  return name == "LlamaForCausalLM" || name == "MistralForCausalLM" || name == "llama" ||
         name == "mistral";
}

bool match_gguf(const GgufMetadata& metadata) {
  const auto* value = find(metadata, "general.architecture");
  return value && value->as_string() == "llama";
}

/// Divisors of the inverse frequencies that Llama 3 uses for contexts longer than it was trained
/// on.
std::vector<float> llama3_factors(double theta, std::int64_t head_dim, double factor, double low,
                                  double high, double original) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double inverse = std::pow(theta, -2.0 * double(i) / double(head_dim));
    const double wavelength = 2 * pi / inverse;
    if (wavelength < original / high)
      out.push_back(1.0f);
    else if (wavelength > original / low)
      out.push_back(float(factor));
    else {
      const double smooth = (original / wavelength - low) / (high - low);
      out.push_back(float(1.0 / ((1.0 - smooth) / factor + smooth)));
    }
  }
  return out;
}

/// "rope_scaling" up to transformers 4, "rope_parameters" from 5 on.
const Json* rope_settings(const Json& config) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto it = config.find(key);
    if (it != config.end() && it->is_object())
      return &*it;
  }
  return nullptr;
}

Result<void> read_rope(const Json& config, ModelSpec& spec, const std::string& where) {
  TRY_ASSIGN(const double theta, json_number_or(config, "rope_theta", 10000.0, where));
  spec.rope_theta = float(theta);
  const Json* rope = rope_settings(config);
  if (rope) {
    TRY_ASSIGN(const double inner, json_number_or(*rope, "rope_theta", theta, where));
    spec.rope_theta = float(inner);
  }
  if (!(spec.rope_theta > 0) || !std::isfinite(spec.rope_theta))
    return Error{"bad-file", "\"rope_theta\" must be greater than 0", where};
  if (!rope)
    return {};
  TRY_ASSIGN(const std::string old_name, json_string_or(*rope, "type", "default", where));
  TRY_ASSIGN(const std::string type, json_string_or(*rope, "rope_type", old_name, where));
  if (type == "default")
    return {};
  if (type == "factors") { // from a GGUF's rope_freqs.weight
    const auto list = rope->find("factors");
    if (list == rope->end() || !list->is_array() || std::int64_t(list->size()) != spec.head_dim / 2)
      return Error{"bad-file", "The rope factors do not have half a head's length", where};
    for (const auto& factor : *list)
      spec.rope_factors.push_back(factor.is_number() ? factor.get<float>() : 0.0f);
  } else if (type == "linear" || type == "llama3") {
    TRY_ASSIGN(const double factor, json_number_or(*rope, "factor", 8.0, where));
    if (type == "linear") {
      spec.rope_factors.assign(std::size_t(spec.head_dim / 2), float(factor));
    } else {
      TRY_ASSIGN(const double low, json_number_or(*rope, "low_freq_factor", 1.0, where));
      TRY_ASSIGN(const double high, json_number_or(*rope, "high_freq_factor", 4.0, where));
      TRY_ASSIGN(const double original,
                 json_number_or(*rope, "original_max_position_embeddings", 8192.0, where));
      if (!(high > low) || !(low > 0))
        return Error{"bad-file", "\"high_freq_factor\" must be above \"low_freq_factor\"", where};
      spec.rope_factors =
          llama3_factors(spec.rope_theta, spec.head_dim, factor, low, high, original);
    }
  } else {
    return Error{"unsupported",
                 "Position scaling \"" + type +
                     "\" cannot be run yet (known: default, linear, llama3)",
                 where};
  }
  for (const float factor : spec.rope_factors)
    if (!(factor > 0) || !std::isfinite(factor))
      return Error{"bad-file", "A rope factor is not a positive number", where};
  return {};
}

/// A size between 1 and a bound that no real model comes near.
Result<std::int64_t> read_size(const Json& config, const char* key,
                               std::optional<std::int64_t> otherwise, const std::string& where) {
  TRY_ASSIGN(const std::int64_t value, otherwise ? json_int_or(config, key, *otherwise, where)
                                                 : json_int(config, key, where));
  if (value < 1 || value > (std::int64_t(1) << 28))
    return Error{"bad-file", "\"" + std::string(key) + "\" is " + std::to_string(value), where};
  return value;
}

/// A token id, or the first of a list.
Result<std::int64_t> read_id(const Json& config, const char* key, const std::string& where) {
  const auto it = config.find(key);
  if (it != config.end() && it->is_array())
    return !it->empty() && (*it)[0].is_number_integer() ? (*it)[0].get<std::int64_t>() : -1;
  return json_int_or(config, key, -1, where);
}

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  TRY_ASSIGN(s.layers, read_size(config, "num_hidden_layers", {}, where));
  TRY_ASSIGN(s.hidden, read_size(config, "hidden_size", {}, where));
  TRY_ASSIGN(s.ffn, read_size(config, "intermediate_size", {}, where));
  TRY_ASSIGN(s.heads, read_size(config, "num_attention_heads", {}, where));
  TRY_ASSIGN(s.kv_heads, read_size(config, "num_key_value_heads", s.heads, where));
  if (s.layers > 100000)
    return Error{"bad-file", "\"num_hidden_layers\" is " + std::to_string(s.layers), where};
  TRY_ASSIGN(s.head_dim,
             read_size(config, "head_dim", std::max<std::int64_t>(s.hidden / s.heads, 1), where));
  TRY_ASSIGN(s.vocab, read_size(config, "vocab_size", {}, where));
  TRY_ASSIGN(s.context, read_size(config, "max_position_embeddings", 2048, where));
  TRY_ASSIGN(const double eps, json_number_or(config, "rms_norm_eps", 1e-6, where));
  s.norm_eps = float(eps);
  if (!(s.norm_eps >= 0) || s.norm_eps > 1)
    return Error{"bad-file", "\"rms_norm_eps\" is not between 0 and 1", where};
  if (s.heads % s.kv_heads != 0)
    return Error{"bad-file",
                 std::to_string(s.heads) + " attention heads cannot share " +
                     std::to_string(s.kv_heads) + " key/value heads",
                 where};
  if (s.head_dim % 2 != 0)
    return Error{"bad-file", "The head dimension " + std::to_string(s.head_dim) + " is odd", where};
  TRY_ASSIGN(s.tied_head, json_bool_or(config, "tie_word_embeddings", false, where));
  TRY_ASSIGN(s.attention_bias, json_bool_or(config, "attention_bias", false, where));
  TRY_ASSIGN(s.mlp_bias, json_bool_or(config, "mlp_bias", false, where));
  TRY_ASSIGN(const std::string activation, json_string_or(config, "hidden_act", "silu", where));
  if (activation != "silu" && activation != "swish")
    return Error{"unsupported", "Activation \"" + activation + "\" cannot be run yet (known: silu)",
                 where};
  TRY(read_rope(config, s, where));
  TRY_ASSIGN(s.bos, read_id(config, "bos_token_id", where));
  TRY_ASSIGN(s.eos, read_id(config, "eos_token_id", where));
  // Inside the window, sliding attention sees everything: up to there runs are exact.
  TRY_ASSIGN(const std::int64_t window, json_int_or(config, "sliding_window", 0, where));
  if (window > 0)
    s.context = std::min(s.context, window);
  return s;
}

std::vector<ModuleName> modules(const ModelSpec& s) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  std::vector<ModuleName> out;
  out.push_back({"model.embed_tokens", "token_embd", "embedding", -1, {s.vocab, s.hidden}});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const auto hf = "model.layers." + std::to_string(i) + ".";
    const auto gguf = "blk." + std::to_string(i) + ".";
    const auto add = [&](const char* name, const char* stem, const char* role,
                         std::vector<std::int64_t> shape, bool bias = false,
                         bool permuted = false) {
      out.push_back(
          {hf + name, gguf + stem, role, int(i), std::move(shape), bias, false, permuted});
    };
    const bool ab = s.attention_bias, mb = s.mlp_bias;
    add("input_layernorm", "attn_norm", "norm", {s.hidden});
    add("self_attn.q_proj", "attn_q", "q_proj", {q, s.hidden}, ab, true);
    add("self_attn.k_proj", "attn_k", "k_proj", {kv, s.hidden}, ab, true);
    add("self_attn.v_proj", "attn_v", "v_proj", {kv, s.hidden}, ab);
    add("self_attn.o_proj", "attn_output", "o_proj", {s.hidden, q}, ab);
    add("post_attention_layernorm", "ffn_norm", "norm", {s.hidden});
    add("mlp.gate_proj", "ffn_gate", "gate_proj", {s.ffn, s.hidden}, mb);
    add("mlp.up_proj", "ffn_up", "up_proj", {s.ffn, s.hidden}, mb);
    add("mlp.down_proj", "ffn_down", "down_proj", {s.hidden, s.ffn}, mb);
  }
  out.push_back({"model.norm", "output_norm", "norm", -1, {s.hidden}});
  out.push_back({"lm_head", "output", "lm_head", -1, {s.vocab, s.hidden}, false, s.tied_head});
  return out;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json& config) {
  const auto u32 = [](std::int64_t v) { return GgufValue::u32(std::uint32_t(v)); };
  GgufMetadata out{
      {"llama.block_count", u32(s.layers)},
      {"llama.context_length",
       u32(std::max<std::int64_t>(s.context, config.value("max_position_embeddings", s.context)))},
      {"llama.embedding_length", u32(s.hidden)},
      {"llama.feed_forward_length", u32(s.ffn)},
      {"llama.attention.head_count", u32(s.heads)},
      {"llama.attention.head_count_kv", u32(s.kv_heads)},
      {"llama.attention.layer_norm_rms_epsilon", GgufValue::f32(s.norm_eps)},
      {"llama.rope.freq_base", GgufValue::f32(s.rope_theta)},
      {"llama.rope.dimension_count", u32(s.head_dim)},
      {"llama.vocab_size", u32(s.vocab)},
  };
  if (s.head_dim * s.heads != s.hidden) {
    out.emplace_back("llama.attention.key_length", u32(s.head_dim));
    out.emplace_back("llama.attention.value_length", u32(s.head_dim));
  }
  const bool linear =
      !s.rope_factors.empty() && std::all_of(s.rope_factors.begin(), s.rope_factors.end(),
                                             [&](float f) { return f == s.rope_factors[0]; });
  if (linear && s.rope_factors[0] != 1.0f) {
    out.emplace_back("llama.rope.scaling.type", GgufValue::string("linear"));
    out.emplace_back("llama.rope.scaling.factor", GgufValue::f32(s.rope_factors[0]));
  }
  return out;
}

const StoredTensor* tensor_named(const GgufFile& file, std::string_view name) {
  for (const auto& tensor : file.tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

/// rope_freqs.weight as the Llama 3 setting that makes it, or spelled out.
Json rope_from_factors(const std::vector<float>& factors, double theta, std::int64_t head_dim) {
  const float largest = *std::max_element(factors.begin(), factors.end());
  const auto wanted = llama3_factors(theta, head_dim, largest, 1, 4, 8192);
  bool equal = wanted.size() == factors.size();
  for (std::size_t i = 0; equal && i < wanted.size(); ++i)
    equal = std::fabs(wanted[i] - factors[i]) <= 1e-4f * wanted[i];
  if (equal)
    return {{"rope_type", "llama3"},
            {"factor", largest},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192}};
  return {{"rope_type", "factors"}, {"factors", factors}};
}

/// The shortest decimal that gives this float back: 1e-05, not 9.999999747378752e-06.
double shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double out = value;
  std::from_chars(text, end, out);
  return out;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const auto where = file.file ? file.file->path().string() : std::string();
  const auto number = [&](const char* key) -> std::optional<double> {
    const auto* value = find(file.metadata, std::string("llama.") + key);
    return value ? value->as_number() : std::nullopt;
  };
  const auto whole = [&](const char* key) -> std::optional<std::int64_t> {
    const auto* value = find(file.metadata, std::string("llama.") + key);
    return value ? value->as_int() : std::nullopt;
  };
  const auto* embedding = tensor_named(file, "token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    return Error{"bad-file", "The file has no token_embd.weight matrix", where};

  Json config{
      {"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"hidden_act", "silu"}};
  struct Key {
    const char *gguf, *json;
    bool required;
  };
  for (const Key& key :
       {Key{"block_count", "num_hidden_layers", true}, Key{"embedding_length", "hidden_size", true},
        Key{"feed_forward_length", "intermediate_size", true},
        Key{"context_length", "max_position_embeddings", true},
        Key{"attention.head_count", "num_attention_heads", true},
        Key{"attention.head_count_kv", "num_key_value_heads", false},
        Key{"attention.key_length", "head_dim", false}}) {
    if (const auto value = whole(key.gguf))
      config[key.json] = *value;
    else if (key.required)
      return Error{"bad-file", "The metadata has no whole number llama." + std::string(key.gguf),
                   where};
  }
  if (const auto experts = whole("expert_count"); experts && *experts > 0)
    return Error{"unsupported", "Mixture-of-experts models cannot be run yet", where};
  const auto eps = number("attention.layer_norm_rms_epsilon");
  if (!eps)
    return Error{"bad-file", "The metadata has no llama.attention.layer_norm_rms_epsilon", where};
  config["rms_norm_eps"] = shortest(float(*eps));
  config["rope_theta"] = shortest(float(number("rope.freq_base").value_or(10000.0)));
  config["vocab_size"] = embedding->shape[0];
  config["tie_word_embeddings"] = !tensor_named(file, "output.weight");
  config["attention_bias"] = tensor_named(file, "blk.0.attn_q.bias") != nullptr;
  config["mlp_bias"] = tensor_named(file, "blk.0.ffn_gate.bias") != nullptr;

  const auto heads = whole("attention.head_count").value_or(0);
  const auto hidden = whole("embedding_length").value_or(0);
  const auto head_dim = whole("attention.key_length").value_or(heads > 0 ? hidden / heads : 0);
  if (const auto value = whole("attention.value_length"); value && *value != head_dim)
    return Error{"unsupported", "Keys and values of different lengths cannot be run yet", where};
  if (const auto dims = whole("rope.dimension_count"); dims && *dims != head_dim)
    return Error{"unsupported",
                 "Rotary positions on " + std::to_string(*dims) + " of " +
                     std::to_string(head_dim) + " dimensions cannot be run yet",
                 where};

  const auto* scaling = find(file.metadata, "llama.rope.scaling.type");
  const auto type = scaling ? scaling->as_string().value_or("none") : std::string("none");
  if (const auto* freqs = tensor_named(file, "rope_freqs.weight")) {
    if (freqs->dtype != "f32" || freqs->data.size() != std::size_t(head_dim / 2) * 4)
      return Error{"bad-file", "rope_freqs.weight does not have half a head's length", where};
    std::vector<float> factors(std::size_t(head_dim / 2));
    std::memcpy(factors.data(), freqs->data.data(), freqs->data.size());
    if (!factors.empty())
      config["rope_scaling"] = rope_from_factors(factors, config["rope_theta"], head_dim);
  } else if (type != "none") {
    config["rope_scaling"] = {{"rope_type", type},
                              {"factor", number("rope.scaling.factor").value_or(1.0)}};
  }
  for (const auto& [key, json] :
       {std::pair("bos_token_id", "bos_token_id"), std::pair("eos_token_id", "eos_token_id")}) {
    const auto* value = find(file.metadata, std::string("tokenizer.ggml.") + key);
    config[json] = value && value->as_int() ? Json(*value->as_int()) : Json(nullptr);
  }
  return config;
}

} // namespace

extern const Arch arch_llama;
const Arch arch_llama{
    "llama",       "Llama and Mistral: RMS norm, rotary positions, gated feed-forward.",
    match,         match_gguf,
    spec,          config_from_gguf,
    gguf_metadata, modules};

} // namespace bitlathe
