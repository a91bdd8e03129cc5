// SPDX-License-Identifier: Apache-2.0
// The formulas are those of transformers' modeling_rope_utils.py; the GGUF keys are llama.cpp's.
#include "core/arch/rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr std::string_view freqs_tensor = "rope_freqs.weight";
constexpr std::string_view long_tensor = "rope_factors_long.weight";
constexpr std::string_view short_tensor = "rope_factors_short.weight";

using Factors = std::vector<float>;

Factors llama3_factors(double theta, std::int64_t dims, double factor, double low, double high,
                       double original) {
  Factors out;
  for (std::int64_t i = 0; i < dims / 2; ++i) {
    const double wavelength = 2 * pi * std::pow(theta, 2.0 * double(i) / double(dims));
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

/// Fast pairs keep their frequency, slow ones are divided by the factor, with a ramp in between.
Factors yarn_factors(const RopeSpec& rope, std::int64_t original) {
  const auto dims = double(rope.dims);
  const auto pair_of = [&](double turns) { // that turns so often within the original context
    return dims * std::log(double(original) / (turns * 2 * pi)) /
           (2 * std::log(double(rope.theta)));
  };
  double low = pair_of(double(rope.beta_fast)), high = pair_of(double(rope.beta_slow));
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high)
    high += 0.001;
  Factors out;
  for (std::int64_t i = 0; i < rope.dims / 2; ++i) {
    const double ramp = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    out.push_back(float(1.0 / (ramp / double(rope.factor) + (1.0 - ramp))));
  }
  return out;
}

double yarn_scale(double factor, double m = 1) {
  return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1.0;
}

Result<Factors> read_list(const Json& settings, const char* key, std::int64_t dims,
                          const std::string& where) {
  const auto list = settings.find(key);
  if (list == settings.end() || !list->is_array() || std::int64_t(list->size()) != dims / 2)
    return Error{"bad-file",
                 "The rope scaling has no \"" + std::string(key) + "\" with " +
                     std::to_string(dims / 2) + " numbers",
                 where};
  Factors out;
  for (const auto& factor : *list)
    out.push_back(factor.is_number() ? factor.get<float>() : 0.0f);
  return out;
}

Result<double> read_positive(const Json& settings, const char* key, double otherwise,
                             const std::string& where) {
  TRY_ASSIGN(const double value, json_number_or(settings, key, otherwise, where));
  if (!(value > 0) || !std::isfinite(value))
    return Error{"bad-file",
                 "\"" + std::string(key) + "\" of the rope scaling is missing or not above 0",
                 where};
  return value;
}

/// The trained length before scaling. Where a configuration names it outside of the settings, that
/// counts.
Result<std::int64_t> read_original(const Json& config, const Json& settings, std::int64_t context,
                                   const std::string& where) {
  constexpr const char* key = "original_max_position_embeddings";
  TRY_ASSIGN(const double inner, json_number_or(settings, key, double(context), where));
  TRY_ASSIGN(const double value, json_number_or(config, key, inner, where));
  if (!(value >= 1) || value > double(std::int64_t(1) << 40))
    return Error{"bad-file", "\"" + std::string(key) + "\" is out of range", where};
  return std::int64_t(value);
}

struct Reader {
  const Json& config;
  const Json& settings;
  const RopeSource& source;
  const std::string& where;
  RopeSpec& out;

  Result<void> read_factor(double otherwise) {
    TRY_ASSIGN(const double factor, read_positive(settings, "factor", otherwise, where));
    out.factor = float(factor);
    return {};
  }

  Result<void> linear() {
    TRY(read_factor(0));
    out.factors.assign(std::size_t(out.dims / 2), out.factor);
    return {};
  }

  Result<void> dynamic() {
    TRY(read_factor(0));
    out.dynamic_factor = out.factor;
    out.original_context = source.context;
    if (out.dims == 2)
      return Error{"unsupported", "Dynamic position scaling needs more than two turning values",
                   where};
    return {};
  }

  Result<void> llama3() {
    TRY(read_factor(8.0));
    TRY_ASSIGN(const double low, read_positive(settings, "low_freq_factor", 1.0, where));
    TRY_ASSIGN(const double high, read_positive(settings, "high_freq_factor", 4.0, where));
    const bool named = settings.contains("original_max_position_embeddings");
    TRY_ASSIGN(const std::int64_t original,
               read_original(config, settings, named ? source.context : 8192, where));
    if (!(high > low))
      return Error{"bad-file", "\"high_freq_factor\" must be above \"low_freq_factor\"", where};
    out.factors = llama3_factors(double(out.theta), out.dims, double(out.factor), low, high,
                                 double(original));
    return {};
  }

  Result<void> yarn() {
    TRY_ASSIGN(out.original_context, read_original(config, settings, source.context, where));
    TRY(read_factor(double(source.context) / double(out.original_context)));
    TRY_ASSIGN(const double fast, json_number_or(settings, "beta_fast", 32, where));
    TRY_ASSIGN(const double slow, json_number_or(settings, "beta_slow", 1, where));
    out.beta_fast = fast != 0 ? float(fast) : 32;
    out.beta_slow = slow != 0 ? float(slow) : 1;
    if (!(out.beta_fast > 0) || !(out.beta_slow > 0) || !(out.theta > 1))
      return Error{"bad-file", "The yarn settings of the rope scaling are out of range", where};
    TRY_ASSIGN(out.truncate, json_bool_or(settings, "truncate", true, where));
    TRY_ASSIGN(const double m, json_number_or(settings, "mscale", 0, where));
    TRY_ASSIGN(const double m_all, json_number_or(settings, "mscale_all_dim", 0, where));
    const auto factor = double(out.factor);
    const double usual = m != 0 && m_all != 0 ? yarn_scale(factor, m) / yarn_scale(factor, m_all)
                                              : yarn_scale(factor);
    TRY_ASSIGN(const double scale, read_positive(settings, "attention_factor", usual, where));
    out.attention_factor = float(scale);
    out.factors = yarn_factors(out, out.original_context);
    return {};
  }

  Result<void> longrope() {
    TRY_ASSIGN(out.original_context, read_original(config, settings, source.context, where));
    TRY(read_factor(double(source.context) / double(out.original_context)));
    TRY_ASSIGN(out.factors, read_list(settings, "short_factor", out.dims, where));
    TRY_ASSIGN(out.long_factors, read_list(settings, "long_factor", out.dims, where));
    const auto factor = double(out.factor);
    const double usual =
        factor <= 1 || out.original_context < 2
            ? 1.0
            : std::sqrt(1 + std::log(factor) / std::log(double(out.original_context)));
    TRY_ASSIGN(const double scale, read_positive(settings, "attention_factor", usual, where));
    out.attention_factor = float(scale);
    return {};
  }

  Result<void> factors() { // of this program: what a GGUF file spells out
    TRY_ASSIGN(out.factors, read_list(settings, "factors", out.dims, where));
    TRY_ASSIGN(const double scale, read_positive(settings, "attention_factor", 1.0, where));
    out.attention_factor = float(scale);
    return {};
  }

  Result<void> read(const std::string& type) {
    struct Kind {
      std::string_view type;
      Result<void> (Reader::*read)();
    };
    static constexpr std::array kinds{
        Kind{"linear", &Reader::linear},     Kind{"dynamic", &Reader::dynamic},
        Kind{"llama3", &Reader::llama3},     Kind{"yarn", &Reader::yarn},
        Kind{"longrope", &Reader::longrope}, Kind{"su", &Reader::longrope},
        Kind{"factors", &Reader::factors}};
    for (const Kind& kind : kinds)
      if (kind.type == type) {
        out.type = type == "su" ? "longrope" : type;
        return (this->*kind.read)();
      }
    return Error{"unsupported",
                 "Position scaling \"" + type +
                     "\" cannot be run (known: default, linear, dynamic, llama3, yarn, longrope)",
                 where};
  }
};

Result<void> check(const RopeSpec& rope, const std::string& where) {
  for (const auto* list : {&rope.factors, &rope.long_factors})
    for (const float factor : *list)
      if (!(factor > 0) || !std::isfinite(factor))
        return Error{"bad-file", "A rope factor is not a positive number", where};
  return {};
}

} // namespace

const Json* rope_settings(const Json& config, std::string_view layer_type) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto it = config.find(key);
    if (it == config.end() || !it->is_object())
      continue;
    const auto inner = it->find(layer_type.empty() ? "full_attention" : layer_type);
    return inner != it->end() && inner->is_object() ? &*inner : &*it;
  }
  return nullptr;
}

Result<std::int64_t> rotary_dims(const Json& config, std::int64_t head_dim, double otherwise,
                                 const std::string& where, const char* key) {
  TRY_ASSIGN(double share, json_number_or(config, key, otherwise, where));
  if (const Json* settings = rope_settings(config, "full_attention")) {
    TRY_ASSIGN(share, json_number_or(*settings, "partial_rotary_factor", share, where));
  }
  const auto dims = std::int64_t(double(head_dim) * std::clamp(share, -1.0, 2.0));
  if (!(share >= 0) || dims > head_dim || dims % 2 != 0)
    return Error{"bad-file",
                 std::to_string(dims) + " of " + std::to_string(head_dim) +
                     " values of a head cannot turn: the number must be even and fit",
                 where};
  return dims;
}

Result<void> read_rope(const Json& config, const RopeSource& source, RopeSpec& out,
                       const std::string& where) {
  TRY_ASSIGN(const double outer, json_number_or(config, source.theta_key, source.theta, where));
  double theta = outer;
  if (source.settings) {
    TRY_ASSIGN(theta, json_number_or(*source.settings, "rope_theta", outer, where));
  }
  out = RopeSpec();
  out.dims = source.dims;
  out.theta = float(theta);
  if (!(out.theta > 0) || !std::isfinite(out.theta))
    return Error{"bad-file", "\"" + std::string(source.theta_key) + "\" must be greater than 0",
                 where};
  if (out.dims % 2 != 0)
    return Error{"bad-file",
                 "The head dimension " + std::to_string(out.dims) +
                     " is odd, so its values "
                     "cannot turn in pairs",
                 where};
  if (!source.settings || out.dims == 0)
    return {};
  TRY_ASSIGN(const std::string old_name,
             json_string_or(*source.settings, "type", "default", where));
  TRY_ASSIGN(std::string type, json_string_or(*source.settings, "rope_type", old_name, where));
  if (type == "default" || type.empty())
    return {};
  if (type == "yarn" && source.settings->contains("long_factor"))
    type = "longrope"; // the first Phi-3 with a long context
  TRY((Reader{config, *source.settings, source, where, out}.read(type)));
  return check(out, where);
}

bool is_rope_tensor(std::string_view name) {
  return name == freqs_tensor || name == long_tensor || name == short_tensor;
}

namespace {

Result<Factors> read_tensor(const GgufKeys& keys, std::string_view name, std::int64_t dims) {
  const auto* tensor = keys.tensor(name);
  if (!tensor)
    return Factors();
  if (tensor->dtype != "f32" || tensor->data.size() != std::size_t(dims / 2) * sizeof(float))
    return Error{"bad-file",
                 std::string(name) + " does not have " + std::to_string(dims / 2) + " f32 values",
                 keys.where()};
  Factors out(std::size_t(dims / 2));
  if (!out.empty())
    std::memcpy(out.data(), tensor->data.data(), tensor->data.size());
  return out;
}

/// Divisors as the Llama 3 setting that makes them, or spelled out.
Json json_of_factors(const Factors& factors, double theta, std::int64_t dims) {
  const float largest = *std::max_element(factors.begin(), factors.end());
  for (const std::int64_t original : {8192, 4096, 2048, 16384, 32768}) {
    const auto wanted = llama3_factors(theta, dims, double(largest), 1, 4, double(original));
    bool equal = wanted.size() == factors.size() && largest > 1;
    for (std::size_t i = 0; equal && i < wanted.size(); ++i)
      equal = std::fabs(wanted[i] - factors[i]) <= 1e-4f * wanted[i];
    if (equal)
      return {{"rope_type", "llama3"},
              {"factor", shortest(largest)},
              {"low_freq_factor", 1.0},
              {"high_freq_factor", 4.0},
              {"original_max_position_embeddings", original}};
  }
  return {{"rope_type", "factors"}, {"factors", factors}};
}

} // namespace

Result<void> rope_from_gguf(const GgufKeys& keys, std::int64_t head_dim, Json& config) {
  const auto& where = keys.where();
  const auto theta = float(keys.number("rope.freq_base").value_or(10000.0));
  config["rope_theta"] = shortest(theta);
  const auto dims = keys.whole("rope.dimension_count").value_or(head_dim);
  if (dims < 0 || dims > head_dim || dims > max_head_dim || dims % 2 != 0)
    return Error{"bad-file",
                 "rope.dimension_count is " + std::to_string(dims) + " with heads of " +
                     std::to_string(head_dim) + " values",
                 where};
  if (dims != head_dim) {
    double share = double(dims) / double(head_dim);
    while (std::int64_t(double(head_dim) * share) < dims)
      share = std::nextafter(share, 1.0);
    config["partial_rotary_factor"] = share;
  }
  TRY_ASSIGN(const Factors freqs, read_tensor(keys, freqs_tensor, dims));
  TRY_ASSIGN(const Factors longer, read_tensor(keys, long_tensor, dims));
  TRY_ASSIGN(const Factors shorter, read_tensor(keys, short_tensor, dims));
  // Without a type, llama.cpp takes a factor for linear scaling.
  auto type = keys.text("rope.scaling.type", "linear");
  if (!longer.empty() && !shorter.empty())
    type = "longrope";
  const auto factor =
      keys.number("rope.scaling.factor").value_or(keys.number("rope.scale_linear").value_or(0));
  const double attention = keys.number("rope.scaling.attn_factor").value_or(1.0);
  const auto original = keys.whole("rope.scaling.original_context_length")
                            .value_or(config["max_position_embeddings"].get<std::int64_t>());
  if (type == "longrope") {
    if (longer.empty() || shorter.empty()) // a short-context file of the family
      return {};
    config["original_max_position_embeddings"] = original;
    config["rope_scaling"] = {{"rope_type", "longrope"},
                              {"short_factor", shorter},
                              {"long_factor", longer},
                              {"original_max_position_embeddings", original},
                              {"attention_factor", shortest(float(attention))}};
    return {};
  }
  if (type == "yarn" && factor > 0) {
    if (keys.number("rope.scaling.yarn_ext_factor").value_or(1.0) != 1.0 || !freqs.empty())
      return Error{"unsupported", "This mixture of yarn settings cannot be run", where};
    const double log_mul = keys.number("rope.scaling.yarn_log_multiplier").value_or(0);
    const double scale =
        attention *
        (log_mul != 0 ? yarn_scale(factor) / yarn_scale(factor, log_mul) : yarn_scale(factor));
    config["rope_scaling"] = {
        {"rope_type", "yarn"},
        {"factor", shortest(float(factor))},
        {"original_max_position_embeddings", original},
        {"beta_fast", shortest(float(keys.number("rope.scaling.yarn_beta_fast").value_or(32.0)))},
        {"beta_slow", shortest(float(keys.number("rope.scaling.yarn_beta_slow").value_or(1.0)))}};
    if (std::fabs(scale - yarn_scale(factor)) > 1e-6)
      config["rope_scaling"]["attention_factor"] = shortest(float(scale));
    return {};
  }
  if (type != "linear" && type != "none" && type != "yarn")
    return Error{"unsupported", "Position scaling \"" + type + "\" cannot be run", where};
  const auto divisor = float(type == "linear" && factor > 0 ? factor : 1.0);
  if (freqs.empty() && attention == 1.0) {
    if (divisor != 1.0f)
      config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", shortest(divisor)}};
    return {};
  }
  Factors all = freqs.empty() ? Factors(std::size_t(dims / 2), 1.0f) : freqs;
  if (all.empty())
    return {};
  for (float& f : all)
    f *= divisor;
  config["rope_scaling"] = attention == 1.0
                               ? json_of_factors(all, double(theta), dims)
                               : Json{{"rope_type", "factors"},
                                      {"factors", all},
                                      {"attention_factor", shortest(float(attention))}};
  return {};
}

GgufRope rope_to_gguf(std::string_view architecture, const ModelSpec& spec) {
  // Whose loaders know the tensors (src/models/*.cpp of llama.cpp).
  const bool knows_freqs = architecture == "llama";
  const bool knows_long = architecture == "llama" || architecture == "phi3";
  const RopeSpec& rope = spec.rope;
  GgufRope out;
  const auto add = [&](const char* key, GgufValue value) {
    out.metadata.emplace_back(std::string(architecture) + ".rope." + key, std::move(value));
  };
  const auto whole = [](std::int64_t v) { return gguf_u32(v); };
  add("freq_base", GgufValue::f32(rope.theta));
  add("dimension_count", whole(rope.dims));
  const auto no_place = [&] {
    out.problems.push_back("llama.cpp does not read position scaling of the kind \"" + rope.type +
                           "\" for this architecture and would run it unscaled");
  };
  if (rope.type == "linear") {
    add("scaling.type", GgufValue::string("linear"));
    add("scaling.factor", GgufValue::f32(rope.factor));
  } else if (rope.type == "yarn" && rope.truncate) {
    add("scaling.type", GgufValue::string("yarn"));
    add("scaling.factor", GgufValue::f32(rope.factor));
    add("scaling.original_context_length", whole(rope.original_context));
    add("scaling.yarn_beta_fast", GgufValue::f32(rope.beta_fast));
    add("scaling.yarn_beta_slow", GgufValue::f32(rope.beta_slow));
    const auto usual = float(yarn_scale(double(rope.factor)));
    if (rope.attention_factor != usual)
      add("scaling.attn_factor", GgufValue::f32(rope.attention_factor / usual));
  } else if (rope.type == "longrope" && knows_long) {
    add("scaling.type", GgufValue::string("longrope"));
    add("scaling.original_context_length", whole(rope.original_context));
    add("scaling.attn_factor", GgufValue::f32(rope.attention_factor));
    out.tensors.emplace_back(long_tensor, rope.long_factors);
    out.tensors.emplace_back(short_tensor, rope.factors);
    out.notes.push_back("llama.cpp picks the long or short position factors by the size of its "
                        "context (-c), this program by the length of the sequence");
  } else if (rope.type == "longrope") {
    no_place();
  } else if (rope.type == "dynamic") {
    out.notes.push_back("GGUF has no dynamic position scaling: llama.cpp runs sequences of more "
                        "than " +
                        std::to_string(rope.original_context) + " tokens unscaled");
  } else if (!rope.factors.empty() && knows_freqs) {
    out.tensors.emplace_back(freqs_tensor, rope.factors);
    if (rope.attention_factor != 1.0f)
      add("scaling.attn_factor", GgufValue::f32(rope.attention_factor));
  } else if (!rope.factors.empty()) {
    no_place();
  }
  return out;
}

} // namespace bitlathe
