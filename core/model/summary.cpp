// SPDX-License-Identifier: Apache-2.0
#include "core/model/summary.h"

#include "core/io/utf8.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

namespace bitlathe {

namespace {

std::string number_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

/// Looks a key up in the configuration, then in the language part of a model of several kinds of
/// input.
class Config {
 public:
  explicit Config(const Json& json) : json_(json.is_object() ? json : empty()) {
    const auto inner = json_.find("text_config");
    text_ = inner != json_.end() && inner->is_object() ? &*inner : &empty();
  }
  const Json* find(const char* key) const {
    for (const Json* object : {&json_, text_})
      if (const auto it = object->find(key); it != object->end() && !it->is_null())
        return &*it;
    return nullptr;
  }
  const Json* find(std::initializer_list<const char*> keys) const {
    for (const char* key : keys)
      if (const Json* found = find(key))
        return found;
    return nullptr;
  }

 private:
  static const Json& empty() {
    static const Json object = Json::object();
    return object;
  }
  const Json& json_;
  const Json* text_;
};

std::string plain(const Json& value) {
  if (value.is_string())
    return value.get<std::string>();
  if (value.is_boolean())
    return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float())
    return number_text(value.get<double>());
  if (value.is_number())
    return value.dump();
  if (value.is_array()) {
    std::string out;
    for (std::size_t i = 0; i < value.size() && i < 6; ++i)
      out += (i ? ", " : "") + plain(value[i]);
    return value.size() > 6 ? out + ", ... (" + std::to_string(value.size()) + ")" : out;
  }
  return value.dump();
}

std::string rope_text(const Config& config) {
  std::string out;
  const Json* rope = config.find({"rope_parameters", "rope_scaling"});
  if (rope && !rope->is_object())
    rope = nullptr;
  const Json* theta = config.find({"rope_theta", "rotary_emb_base"});
  if (rope && rope->contains("rope_theta"))
    theta = &(*rope)["rope_theta"];
  if (theta && theta->is_number())
    out = "theta " + number_text(theta->get<double>());
  if (const Json* part = config.find({"partial_rotary_factor", "rotary_pct"});
      part && part->is_number() && part->get<double>() != 1)
    out += (out.empty() ? "" : ", ") + ("over " + number_text(part->get<double>() * 100)) +
           " % of each head";
  if (const Json* local = config.find("rope_local_base_freq"); local && local->is_number())
    out += ", theta " + number_text(local->get<double>()) + " in sliding layers";
  if (!rope)
    return out;
  std::string type;
  for (const char* key : {"rope_type", "type"})
    if (type.empty() && rope->contains(key) && (*rope)[key].is_string())
      type = (*rope)[key].get<std::string>();
  if (type.empty() || type == "default")
    return out;
  out += (out.empty() ? "" : "; ") + ("scaled: " + type);
  static constexpr std::array keys{std::pair{"factor", "factor"},
                                   std::pair{"low_freq_factor", "low"},
                                   std::pair{"high_freq_factor", "high"},
                                   std::pair{"attention_factor", "attention"},
                                   std::pair{"beta_fast", "beta fast"},
                                   std::pair{"beta_slow", "beta slow"},
                                   std::pair{"original_max_position_embeddings", "trained length"}};
  for (const auto& [key, name] : keys)
    if (const auto it = rope->find(key); it != rope->end() && it->is_number())
      out += std::string(", ") + name + " " + plain(*it);
  return out;
}

std::string window_text(const Config& config) {
  const Json* window = config.find("sliding_window");
  if (!window || !window->is_number())
    return {};
  if (const Json* used = config.find("use_sliding_window");
      used && used->is_boolean() && !used->get<bool>())
    return "off (" + plain(*window) + " tokens if it were on)";
  std::string out = plain(*window) + " tokens";
  if (const Json* types = config.find("layer_types"); types && types->is_array()) {
    const auto sliding = std::count(types->begin(), types->end(), Json("sliding_attention"));
    out += ", in " + std::to_string(sliding) + " of " + std::to_string(types->size()) + " layers";
  } else if (const Json* pattern = config.find("sliding_window_pattern");
             pattern && pattern->is_number_integer()) {
    out += ", all but every " + plain(*pattern) + "th layer";
  }
  return out;
}

/// "llama.attention.head_count" by the architecture's own prefix.
const GgufValue* of_model(const GgufMetadata& metadata, const std::string& key) {
  const auto* arch = find(metadata, "general.architecture");
  const auto name = arch ? arch->as_string().value_or("") : std::string();
  return find(metadata, name + "." + key);
}

struct Fact {
  const char* name;
  std::initializer_list<const char*> config;
  const char* gguf;
};

void add_facts(const Checkpoint& checkpoint, CheckpointSummary& out) {
  const Config config(checkpoint.config);
  const auto add = [&](const char* name, std::string value) {
    if (!value.empty())
      out.facts.emplace_back(name, std::move(value));
  };
  static const Fact facts[] = {
      {"layers", {"num_hidden_layers", "n_layer"}, "block_count"},
      {"hidden size", {"hidden_size", "n_embd", "d_model"}, "embedding_length"},
      {"feed-forward size", {"intermediate_size", "n_inner", "d_ff"}, "feed_forward_length"},
      {"attention heads", {"num_attention_heads", "n_head"}, "attention.head_count"},
      {"key/value heads", {"num_key_value_heads"}, "attention.head_count_kv"},
      {"head size", {"head_dim"}, "attention.key_length"},
      {"experts", {"num_local_experts", "num_experts", "n_routed_experts"}, "expert_count"},
      {"experts per token", {"num_experts_per_tok"}, "expert_used_count"},
      {"vocabulary", {"vocab_size"}, "vocab_size"},
      {"context", {"max_position_embeddings", "n_positions", "n_ctx"}, "context_length"},
      {"activation", {"hidden_act", "hidden_activation", "activation_function"}, ""},
      {"attention soft cap", {"attn_logit_softcapping"}, "attn_logit_softcapping"},
      {"logit soft cap", {"final_logit_softcapping"}, "final_logit_softcapping"},
  };
  for (const auto& fact : facts) {
    const Json* value = config.find(fact.config);
    if (value && !value->is_object())
      add(fact.name, plain(*value));
    else if (const auto* stored = *fact.gguf ? of_model(checkpoint.gguf, fact.gguf) : nullptr)
      add(fact.name, gguf_value_text(*stored));
  }
  auto rope = rope_text(config);
  if (rope.empty())
    if (const auto* theta = of_model(checkpoint.gguf, "rope.freq_base"))
      rope = "theta " + gguf_value_text(*theta);
  add("rope", rope);
  auto window = window_text(config);
  if (window.empty())
    if (const auto* stored = of_model(checkpoint.gguf, "attention.sliding_window"))
      window = gguf_value_text(*stored) + " tokens";
  add("sliding window", window);

  std::string head;
  for (const auto& module : checkpoint.modules)
    if (module.role == "lm_head")
      head = module.tied_to_embedding ? "tied to the embedding" : "of its own";
  const Json* tie = config.find("tie_word_embeddings");
  if (head.empty() && tie && tie->is_boolean() && tie->get<bool>())
    head = "tied to the embedding";
  add("output head", head);

  for (const char* key : {"quantization_config", "compression_config"})
    if (const Json* quantized = config.find(key); quantized && quantized->is_object()) {
      std::string text;
      for (const std::string part : {"quant_method", "format", "bits", "group_size"})
        if (const auto it = quantized->find(part); it != quantized->end() && !it->is_null()) {
          text += text.empty() ? "" : ", ";
          text += (part == "group_size" ? "group " : "") + plain(*it);
          text += part == "bits" ? " bits" : "";
        }
      add("quantized by", text);
    }
  if (const auto* type = find(checkpoint.gguf, "general.quantized_by"))
    add("quantized by", gguf_value_text(*type));
  if (checkpoint.kv_keys != "f16" || checkpoint.kv_values != "f16")
    add("KV cache", "keys " + checkpoint.kv_keys + ", values " + checkpoint.kv_values);
  add("tokenizer", checkpoint.tokenizer
                       ? std::string(checkpoint.tokenizer->kind()) + ", " +
                             std::to_string(checkpoint.tokenizer->vocab_size()) + " tokens"
                       : "none: " + checkpoint.tokenizer_problem);
}

} // namespace

std::string CheckpointSummary::schemes_text() const {
  std::string out;
  for (const auto& share : schemes)
    out += (out.empty() ? "" : ", ") + share.scheme + " × " + std::to_string(share.modules);
  return out;
}

std::string CheckpointSummary::fact(std::string_view name) const {
  for (const auto& [key, value] : facts)
    if (key == name)
      return value;
  return {};
}

CheckpointSummary summarize(const Checkpoint& checkpoint) {
  CheckpointSummary out;
  std::map<std::string, CheckpointSummary::Share> shares;
  std::map<std::string, double> values;
  std::string first;
  for (const auto& module : checkpoint.modules) {
    if (module.tied_to_embedding)
      continue;
    const auto& id = module.weight.scheme.id;
    auto& share = shares[id];
    share.scheme = id;
    ++share.modules;
    share.bytes += module.weight.bytes();
    values[id] += double(module.weight.rows) * double(module.weight.cols);
    if (!module.linear)
      continue;
    out.mixed = out.mixed || (!first.empty() && first != id);
    first = id;
  }
  for (auto& [id, share] : shares) {
    share.bits = values[id] > 0 ? 8.0 * double(share.bytes) / values[id] : 0;
    out.schemes.push_back(share);
  }
  std::stable_sort(out.schemes.begin(), out.schemes.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  if (const auto parameters = checkpoint.parameters(); parameters > 0) {
    std::uint64_t bytes = 0;
    for (const auto& module : checkpoint.modules)
      bytes += module.bytes();
    out.bits_per_weight = 8.0 * double(bytes) / double(parameters);
  }
  add_facts(checkpoint, out);
  return out;
}

std::string_view gguf_value_type(const GgufValue& value) {
  static constexpr std::array<std::string_view, 13> names{"u8",  "i8",  "u16",  "i16",    "u32",
                                                          "i32", "f32", "bool", "string", "array",
                                                          "u64", "i64", "f64"};
  static constexpr std::array<std::string_view, 13> lists{
      "array of u8",  "array of i8",  "array of u16",  "array of i16",    "array of u32",
      "array of i32", "array of f32", "array of bool", "array of string", "array",
      "array of u64", "array of i64", "array of f64"};
  if (value.type == 9)
    return value.element_type < lists.size() ? lists[value.element_type] : "array";
  return value.type < names.size() ? names[value.type] : "unknown";
}

std::string gguf_value_text(const GgufValue& value, std::size_t most_characters) {
  if (const auto* flag = std::get_if<bool>(&value.value))
    return *flag ? "true" : "false";
  if (const auto* number = std::get_if<double>(&value.value)) {
    char text[40];
    std::snprintf(text, sizeof text, value.type == 6 ? "%.7g" : "%.16g", *number);
    return text;
  }
  if (const auto* number = std::get_if<std::uint64_t>(&value.value))
    return std::to_string(*number);
  if (const auto* number = std::get_if<std::int64_t>(&value.value))
    return std::to_string(*number);
  if (const auto* text = std::get_if<std::string>(&value.value)) {
    if (!is_utf8(*text))
      return "(" + std::to_string(text->size()) + " bytes that are not UTF-8)";
    std::string line;
    for (const char c : *text)
      line += c == '\n' ? std::string("⏎") : c == '\r' ? std::string() : std::string(1, c);
    if (line.size() <= most_characters)
      return line;
    std::size_t end = most_characters;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80)
      --end;
    return line.substr(0, end) + " … (" + std::to_string(text->size()) + " bytes)";
  }
  const auto* array = std::get_if<std::shared_ptr<GgufArray>>(&value.value);
  if (!array || !*array)
    return "[]";
  std::string out = "[";
  std::size_t shown = 0;
  for (; shown < (*array)->size() && shown < 8 && out.size() < most_characters; ++shown)
    out += (shown ? ", " : "") + gguf_value_text((**array)[shown], 24);
  if (shown < (*array)->size())
    out += ", …] (" + std::to_string((*array)->size()) + " values)";
  else
    out += "]";
  return out;
}

} // namespace bitlathe
