// SPDX-License-Identifier: Apache-2.0
#include "core/arch/common.h"

#include "core/model/assemble.h"
#include "core/model/permute.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace bitlathe {

bool names_class(const Json& config, std::initializer_list<std::string_view> classes) {
  const auto name = architecture_name(config);
  return std::find(classes.begin(), classes.end(), name) != classes.end();
}

bool gguf_architecture_is(const GgufMetadata& metadata, std::string_view id) {
  const auto* value = find(metadata, "general.architecture");
  return value && value->as_string() == id;
}

Result<std::int64_t> read_size(const Json& config, const char* key,
                               std::optional<std::int64_t> otherwise, const std::string& where) {
  TRY_ASSIGN(const std::int64_t value, otherwise ? json_int_or(config, key, *otherwise, where)
                                                 : json_int(config, key, where));
  if (value < 1 || value > (std::int64_t(1) << 28))
    return Error{"bad-file", "\"" + std::string(key) + "\" is " + std::to_string(value), where};
  return value;
}

Result<std::int64_t> read_id(const Json& config, const char* key, const std::string& where) {
  const auto it = config.find(key);
  if (it != config.end() && it->is_array())
    return !it->empty() && (*it)[0].is_number_integer() ? (*it)[0].get<std::int64_t>() : -1;
  return json_int_or(config, key, -1, where);
}

Result<float> read_epsilon(const Json& config, const char* key, double otherwise,
                           const std::string& where) {
  TRY_ASSIGN(const double value, json_number_or(config, key, otherwise, where));
  if (!(value >= 0) || value > 1)
    return Error{"bad-file", "\"" + std::string(key) + "\" is not between 0 and 1", where};
  return float(value);
}

Result<std::string> read_activation(const Json& config, const char* key,
                                    const std::string& otherwise, const std::string& where) {
  TRY_ASSIGN(const std::string name, json_string_or(config, key, otherwise, where));
  if (name == "silu" || name == "swish")
    return std::string("silu");
  if (name == "gelu" || name == "gelu_python")
    return std::string("gelu");
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast" ||
      name == "gelu_tanh" || name == "gelu_accurate" || name == "gelu_python_tanh")
    return std::string("gelu_tanh");
  if (name == "quick_gelu" || name == "gelu_quick")
    return std::string("gelu_quick");
  if (name == "relu")
    return std::string("relu");
  return Error{"unsupported",
               "Activation \"" + name +
                   "\" cannot be run (known: silu, gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, "
                   "relu)",
               where};
}

Result<void> read_common(const Json& config, const Defaults& defaults, ModelSpec& s,
                         const std::string& where) {
  TRY_ASSIGN(s.layers, read_size(config, "num_hidden_layers", {}, where));
  TRY_ASSIGN(s.hidden, read_size(config, "hidden_size", {}, where));
  TRY_ASSIGN(s.ffn, read_size(config, "intermediate_size", {}, where));
  TRY_ASSIGN(s.heads, read_size(config, "num_attention_heads", {}, where));
  TRY_ASSIGN(s.kv_heads, read_size(config, "num_key_value_heads", s.heads, where));
  if (s.layers > 100000)
    return Error{"bad-file", "\"num_hidden_layers\" is " + std::to_string(s.layers), where};
  TRY_ASSIGN(s.head_dim,
             read_size(config, "head_dim",
                       defaults.head_dim > 0 ? defaults.head_dim
                                             : std::max<std::int64_t>(s.hidden / s.heads, 1),
                       where));
  if (s.head_dim > max_head_dim)
    return Error{"bad-file", "\"head_dim\" is " + std::to_string(s.head_dim), where};
  TRY_ASSIGN(s.vocab, read_size(config, "vocab_size", {}, where));
  TRY_ASSIGN(s.context, read_size(config, "max_position_embeddings", defaults.context, where));
  TRY_ASSIGN(s.norm_eps, read_epsilon(config, "rms_norm_eps", defaults.epsilon, where));
  if (s.heads % s.kv_heads != 0)
    return Error{"bad-file",
                 std::to_string(s.heads) + " attention heads cannot share " +
                     std::to_string(s.kv_heads) + " key/value heads",
                 where};
  TRY_ASSIGN(s.tied_head, json_bool_or(config, "tie_word_embeddings", defaults.tied_head, where));
  TRY_ASSIGN(s.activation, read_activation(config, "hidden_act", defaults.activation, where));
  TRY_ASSIGN(s.bos, read_id(config, "bos_token_id", where));
  TRY_ASSIGN(s.eos, read_id(config, "eos_token_id", where));
  return {};
}

Result<std::int64_t> read_window(const Json& config, std::int64_t otherwise,
                                 const std::string& where) {
  const auto it = config.find("sliding_window");
  if (it != config.end() && it->is_null())
    return std::int64_t(0);
  TRY_ASSIGN(const std::int64_t window, json_int_or(config, "sliding_window", otherwise, where));
  if (window < 0)
    return Error{"bad-file", "\"sliding_window\" is " + std::to_string(window), where};
  return window;
}

Result<std::vector<std::int64_t>>
windows_of_layers(const Json& config, const ModelSpec& spec, std::int64_t window,
                  const std::function<bool(std::int64_t)>& otherwise, const std::string& where) {
  std::vector<std::int64_t> out;
  const auto types = config.find("layer_types");
  const bool named = types != config.end() && !types->is_null();
  if (named && (!types->is_array() || std::int64_t(types->size()) != spec.layers))
    return Error{"bad-file", "\"layer_types\" does not name a type for every layer", where};
  for (std::int64_t i = 0; i < spec.layers; ++i) {
    bool slides = !named && otherwise(i);
    if (named) {
      const Json& type = (*types)[std::size_t(i)];
      slides = type == "sliding_attention";
      if (!slides && type != "full_attention")
        return Error{"unsupported",
                     "Layers of type " + type.dump() +
                         " cannot be run (known: full_attention, sliding_attention)",
                     where};
    }
    out.push_back(slides ? window : 0);
  }
  if (std::all_of(out.begin(), out.end(), [](std::int64_t w) { return w == 0; }))
    out.clear();
  return out;
}

void ModuleList::enter(std::string hf_prefix, std::string gguf_prefix, int layer) {
  hf_ = std::move(hf_prefix);
  gguf_ = std::move(gguf_prefix);
  layer_ = layer;
}

ModuleName& ModuleList::add(const char* part, const char* role, const std::string& name,
                            const std::string& gguf, std::vector<std::int64_t> shape, bool bias) {
  ModuleName out;
  out.name = hf_ + name;
  out.gguf = gguf_ + gguf;
  out.role = role;
  out.part = part;
  out.layer = layer_;
  out.shape = std::move(shape);
  out.bias = bias;
  list.push_back(std::move(out));
  return list.back();
}

std::function<std::int64_t(std::int64_t)> interleaved_rows(std::int64_t head_dim) {
  return [head_dim](std::int64_t row) { return hf_row_of_gguf(row, head_dim); };
}

GgufKeys::GgufKeys(const GgufFile& file, std::string_view architecture)
    : file_(file), prefix_(std::string(architecture) + "."),
      where_(file.file ? file.file->path().string() : std::string()) {}

const GgufValue* GgufKeys::value(std::string_view key) const {
  return find(file_.metadata, prefix_ + std::string(key));
}
std::optional<std::int64_t> GgufKeys::whole(std::string_view key) const {
  const auto* found = value(key);
  return found ? found->as_int() : std::nullopt;
}
std::optional<double> GgufKeys::number(std::string_view key) const {
  const auto* found = value(key);
  return found ? found->as_number() : std::nullopt;
}
std::optional<bool> GgufKeys::boolean(std::string_view key) const {
  const auto* found = value(key);
  const auto* flag = found ? std::get_if<bool>(&found->value) : nullptr;
  return flag ? std::optional<bool>(*flag) : std::nullopt;
}
std::string GgufKeys::text(std::string_view key, std::string otherwise) const {
  const auto* found = value(key);
  return found ? found->as_string().value_or(otherwise) : otherwise;
}
const StoredTensor* GgufKeys::tensor(std::string_view name) const {
  for (const auto& tensor : file_.tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}
const GgufValue* GgufKeys::global(std::string_view key) const { return find(file_.metadata, key); }

Error GgufKeys::missing(std::string_view key) const {
  return {"bad-file", "The metadata has no number " + prefix_ + std::string(key), where_};
}
Result<std::int64_t> GgufKeys::need_whole(std::string_view key) const {
  const auto found = whole(key);
  return found ? Result<std::int64_t>(*found) : missing(key);
}
Result<double> GgufKeys::need_number(std::string_view key) const {
  const auto found = number(key);
  return found ? Result<double>(*found) : missing(key);
}

Result<Json> common_config(const GgufKeys& keys, const char* class_name, const char* model_type,
                           const char* epsilon) {
  Json config{{"architectures", {class_name}}, {"model_type", model_type}};
  const auto* embedding = keys.tensor("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    return Error{"bad-file", "The file has no token_embd.weight matrix", keys.where()};
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
    if (const auto value = keys.whole(key.gguf))
      config[key.json] = *value;
    else if (const auto* list = keys.value(key.gguf); list && list->type == 9)
      return Error{"unsupported", std::string(key.gguf) + " differs by layer, which cannot be run",
                   keys.where()};
    else if (key.required)
      return keys.missing(key.gguf);
  }
  if (const auto experts = keys.whole("expert_count"); experts && *experts > 0)
    return Error{"unsupported", "Mixture-of-experts models cannot be run yet", keys.where()};
  const std::int64_t heads = config["num_attention_heads"], hidden = config["hidden_size"];
  if (heads < 1)
    return Error{"bad-file", "The model has no attention heads", keys.where()};
  if (!config.contains("head_dim"))
    config["head_dim"] = hidden / heads;
  if (const auto value = keys.whole("attention.value_length");
      value && *value != config["head_dim"])
    return Error{"unsupported", "Keys and values of different lengths cannot be run yet",
                 keys.where()};
  TRY_ASSIGN(const double eps, keys.need_number(epsilon));
  config["rms_norm_eps"] = shortest(float(eps));
  config["vocab_size"] = embedding->shape[0];
  config["tie_word_embeddings"] = !keys.tensor("output.weight");
  for (const char* name : {"bos_token_id", "eos_token_id"}) {
    const auto* value = keys.global(std::string("tokenizer.ggml.") + name);
    config[name] = value && value->as_int() ? Json(*value->as_int()) : Json(nullptr);
  }
  return config;
}

GgufValue gguf_u32(std::int64_t value) { return GgufValue::u32(std::uint32_t(value)); }

GgufMetadata common_metadata(std::string_view architecture, const ModelSpec& s,
                             const char* epsilon) {
  const auto key = [&](const char* name) { return std::string(architecture) + "." + name; };
  GgufMetadata out{{key("block_count"), gguf_u32(s.layers)},
                   {key("context_length"), gguf_u32(s.context)},
                   {key("embedding_length"), gguf_u32(s.hidden)},
                   {key("feed_forward_length"), gguf_u32(s.ffn)},
                   {key("attention.head_count"), gguf_u32(s.heads)},
                   {key("attention.head_count_kv"), gguf_u32(s.kv_heads)},
                   {key(epsilon), GgufValue::f32(s.norm_eps)},
                   {key("vocab_size"), gguf_u32(s.vocab)}};
  if (s.head_dim * s.heads != s.hidden) {
    out.emplace_back(key("attention.key_length"), gguf_u32(s.head_dim));
    out.emplace_back(key("attention.value_length"), gguf_u32(s.head_dim));
  }
  return out;
}

std::vector<std::string> llama_cpp_problems(const ModelSpec& spec, const LlamaCppLimits& limits) {
  std::vector<std::string> out;
  if (spec.activation != "silu")
    out.push_back("llama.cpp would run the feed-forward of this architecture with SiLU, not with " +
                  spec.activation);
  if (limits.square_attention && spec.heads * spec.head_dim != spec.hidden)
    out.push_back("llama.cpp does not load this architecture with " + std::to_string(spec.heads) +
                  " heads of " + std::to_string(spec.head_dim) + " values in a model " +
                  std::to_string(spec.hidden) + " wide");
  if (limits.no_output_bias && spec.attention_bias)
    out.push_back("llama.cpp does not load a bias of the attention's output in this architecture");
  return out;
}

std::vector<std::string> note_lost_windows(const ModelSpec& spec, const Json&) {
  const auto window = spec.windows.empty()
                          ? std::int64_t(0)
                          : *std::max_element(spec.windows.begin(), spec.windows.end());
  if (window == 0 || window >= spec.context)
    return {};
  return {"The sliding attention window of " + std::to_string(window) +
          " tokens is not run by llama.cpp, which attends to everything: longer sequences differ"};
}

double shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double out = value;
  std::from_chars(text, end, out);
  return out;
}

} // namespace bitlathe
