// SPDX-License-Identifier: Apache-2.0
// The rules follow llama.cpp's llama-quant.cpp (August 2026), for architectures without experts.
#include "core/recipe/mixes.h"

#include <algorithm>

namespace bitlathe {

namespace {

constexpr Mix mixes[] = {
    {"F32", "f32", 0, "Every matrix in f32."},
    {"F16", "f16", 1, "Every matrix in f16."},
    {"BF16", "bf16", 32, "Every matrix in bf16."},
    {"Q8_0", "q8_0", 7, "8.5 bits everywhere: hardly any loss."},
    {"Q6_K", "q6_k", 18, "6.6 bits everywhere: close to Q8_0."},
    {"Q5_K_M", "q5_k", 17, "5.5 bits, values and down projections of some layers at 6.6."},
    {"Q5_K_S", "q5_k", 16, "5.5 bits, the output at 6.6."},
    {"Q5_1", "q5_1", 9, "6 bits with a minimum per block of 32, the output at 6.6."},
    {"Q5_0", "q5_0", 8, "5.5 bits, one scale per block of 32, the output at 6.6."},
    {"Q4_K_M", "q4_k", 15, "4.5 bits, values and down projections of some layers at 6.6."},
    {"Q4_K_S", "q4_k", 14, "4.5 bits, values and down projections of the first layers at 5.5."},
    {"IQ4_NL", "iq4_nl", 25, "4.5 bits on a table of uneven values."},
    {"IQ4_XS", "iq4_xs", 30, "4.25 bits on a table of uneven values."},
    {"Q4_1", "q4_1", 3, "5 bits with a minimum per block of 32, the output at 6.6."},
    {"Q4_0", "q4_0", 2, "4.5 bits, one scale per block of 32, the output at 6.6."},
    {"MXFP4_MOE", "mxfp4", 38, "Experts in 4-bit floats, everything else at 8.5 bits."},
    {"Q3_K_L", "q3_k", 13, "3.4 bits, values, outputs and down projections at 5.5."},
    {"Q3_K_M", "q3_k", 12, "3.4 bits, values, outputs and down projections at 4.5 to 5.5."},
    {"Q3_K_S", "q3_k", 11, "3.4 bits, the output at 6.6."},
    {"Q2_K", "q2_k", 10, "2.6 bits, values, outputs and down projections at 3.4 or more."},
    {"Q2_K_S", "q2_k", 21, "2.6 bits nearly everywhere; needs importance.", true},
    {"TQ2_0", "tq2_0", 37, "Ternary in 2 bits, for models that were trained so."},
    {"TQ1_0", "tq1_0", 36, "Ternary in 1.7 bits, for models that were trained so."},
};

enum class Place { other, embedding, positions, head, values, attention_output, down };

enum class When {
  always,
  grouped, ///< at least four query heads share a key head
  first_2, ///< layers
  first_4,
  first_8th, ///< of the layers
  first_8th_weighted,
  first_8th_unweighted,
  first_16th,
  ends_and_3rds, ///< first and last eighth of the layers, and every third one between
};

/// One place of one mix that gets another scheme. The first rule that holds counts.
struct Rule {
  std::string_view mix;
  Place place;
  When when;
  std::string_view scheme;
};
constexpr Rule rules[] = {
    {"Q4_K_M", Place::values, When::ends_and_3rds, "q6_k"},
    {"Q4_K_M", Place::down, When::ends_and_3rds, "q6_k"},
    {"Q5_K_M", Place::values, When::ends_and_3rds, "q6_k"},
    {"Q5_K_M", Place::down, When::ends_and_3rds, "q6_k"},
    {"Q4_K_S", Place::values, When::first_4, "q5_k"},
    {"Q4_K_S", Place::down, When::first_8th, "q5_k"},
    {"Q3_K_M", Place::values, When::first_2, "q5_k"},
    {"Q3_K_M", Place::values, When::always, "q4_k"},
    {"Q3_K_M", Place::down, When::first_16th, "q5_k"},
    {"Q3_K_M", Place::down, When::always, "q4_k"},
    {"Q3_K_M", Place::attention_output, When::always, "q4_k"},
    {"Q3_K_L", Place::values, When::always, "q5_k"},
    {"Q3_K_L", Place::down, When::always, "q5_k"},
    {"Q3_K_L", Place::attention_output, When::always, "q5_k"},
    {"Q2_K", Place::values, When::grouped, "q4_k"},
    {"Q2_K", Place::values, When::always, "q3_k"},
    {"Q2_K", Place::down, When::always, "q3_k"},
    {"Q2_K", Place::attention_output, When::always, "q3_k"},
    {"Q2_K_S", Place::values, When::grouped, "q4_k"},
    {"Q2_K_S", Place::down, When::first_8th, "q4_k"},
    {"IQ4_NL", Place::values, When::grouped, "q5_k"},
    {"IQ4_NL", Place::down, When::first_8th_unweighted, "q5_k"},
    {"IQ4_XS", Place::values, When::grouped, "q5_k"},
    {"IQ4_XS", Place::down, When::first_8th_unweighted, "q5_k"},
    {"Q4_0", Place::down, When::first_8th_weighted, "q4_1"},
    {"Q5_0", Place::down, When::first_8th_weighted, "q5_1"},
    {"TQ1_0", Place::embedding, When::always, "q4_k"},
    {"TQ2_0", Place::embedding, When::always, "q4_k"},
};

/// What the engine knows the weight by, or in unknown architectures its role.
Place place_of(const Module& module) {
  struct Name {
    std::string_view part, role;
    Place place;
  };
  for (const Name& name :
       {Name{"positions", "", Place::positions}, Name{"embedding", "embedding", Place::embedding},
        Name{"head", "lm_head", Place::head}, Name{"v", "v_proj", Place::values},
        Name{"qkv", "qkv_proj", Place::values}, Name{"o", "o_proj", Place::attention_output},
        Name{"down", "down_proj", Place::down}, Name{"", "fc_out", Place::down}})
    if (module.part.empty() ? module.role == name.role : module.part == name.part)
      return name.place;
  return Place::other;
}

std::string_view name_of(Place place) {
  switch (place) {
  case Place::values:
    return "attention values";
  case Place::attention_output:
    return "attention outputs";
  case Place::down:
    return "down projections";
  case Place::embedding:
    return "embeddings";
  default:
    return "weights";
  }
}

std::string_view name_of(When when) {
  switch (when) {
  case When::always:
    return "";
  case When::grouped:
    return " that four or more query heads share";
  case When::first_2:
    return " of the first 2 layers";
  case When::first_4:
    return " of the first 4 layers";
  case When::first_8th:
    return " of the first eighth of the layers";
  case When::first_8th_weighted:
    return " of the first eighth of the layers, with importance";
  case When::first_8th_unweighted:
    return " of the first eighth of the layers, without importance";
  case When::first_16th:
    return " of the first sixteenth of the layers";
  case When::ends_and_3rds:
    return " of the first and last eighth of the layers and every third between";
  }
  return "";
}

struct Model {
  std::int64_t layers = 0, heads_per_key = 1;
  std::int64_t value_matrices = 0;
  bool tied = true, importance = false;
  /// llama.cpp's "70B" types: 80 layers, in Llama only those whose query heads share keys.
  bool seventy = false;
};

Model model_of(const Checkpoint& checkpoint, bool importance) {
  Model m;
  m.importance = importance;
  for (const Module& module : checkpoint.modules) {
    m.layers = std::max<std::int64_t>(m.layers, module.layer + 1);
    const Place place = place_of(module);
    m.value_matrices += place == Place::values && module.shape.size() == 2;
    if (place == Place::head && !module.tied_to_embedding)
      m.tied = false;
  }
  if (checkpoint.spec) {
    m.layers = checkpoint.spec->layers;
    m.heads_per_key = checkpoint.spec->heads / std::max<std::int64_t>(1, checkpoint.spec->kv_heads);
    const Arch* arch = find_arch(checkpoint.architecture);
    const std::string_view stored_as = arch ? arch->gguf_id : std::string_view();
    m.seventy =
        m.layers == 80 && (stored_as == "qwen2" || (stored_as == "llama" && m.heads_per_key > 1));
  }
  return m;
}

/// `i` counts the weights of the place, of which there are n.
bool holds(When when, std::int64_t i, std::int64_t n, const Model& model) {
  switch (when) {
  case When::always:
    return true;
  case When::grouped:
    return model.heads_per_key >= 4;
  case When::first_2:
    return i < 2;
  case When::first_4:
    return i < 4;
  case When::first_8th:
    return i < n / 8;
  case When::first_8th_weighted:
    return model.importance && i < n / 8;
  case When::first_8th_unweighted:
    return !model.importance && i < n / 8;
  case When::first_16th:
    return i < n / 16;
  case When::ends_and_3rds:
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
  }
  return false;
}

MixChoice by_rules(const Mix& mix, Place place, std::int64_t i, std::int64_t n,
                   const Model& model) {
  MixChoice choice{std::string(mix.base), {}};
  for (const Rule& rule : rules)
    if (rule.mix == mix.id && rule.place == place && holds(rule.when, i, n, model)) {
      choice = {std::string(rule.scheme),
                std::string(name_of(place)) + std::string(name_of(rule.when))};
      break;
    }
  if (place == Place::values && model.seventy &&
      (choice.scheme == "q3_k" || choice.scheme == "q4_k"))
    choice = {"q5_k", "attention values of a model of 80 layers"};
  return choice;
}

/// The output, or the embedding that is the output as well.
MixChoice for_output(const Mix& mix, const Module& module, const Model& model) {
  const std::string what = model.tied ? "the embedding is the output too" : "the output";
  const Layout* base = find_layout(mix.base);
  if (mix.base == "q8_0")
    return {"q8_0", {}};
  if (module.weight.cols % base->block != 0)
    return {"q8_0", what + "; rows of " + std::to_string(module.weight.cols) +
                        " columns do not divide into " + std::string(mix.base) + " blocks"};
  return {"q6_k", what};
}

char upper(char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; }

} // namespace

std::span<const Mix> all_mixes() { return mixes; }

const Mix* find_mix(std::string_view id) {
  for (const Mix& mix : mixes)
    if (mix.id == id)
      return &mix;
  return nullptr;
}

const Mix* mix_spelled_otherwise(std::string_view id) {
  for (const Mix& mix : mixes)
    if (std::equal(id.begin(), id.end(), mix.id.begin(), mix.id.end(),
                   [](char a, char b) { return upper(a == '-' ? '_' : a) == b; }))
      return &mix;
  return nullptr;
}

bool looks_like_mix(std::string_view id) {
  return std::any_of(id.begin(), id.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

std::vector<MixChoice> expand_mix(const Mix& mix, const Checkpoint& checkpoint, bool importance) {
  const Model model = model_of(checkpoint, importance);
  const bool blocks = find_layout(mix.base) != nullptr; // else a float type
  std::int64_t values = 0, downs = 0;
  std::vector<MixChoice> out;
  for (const Module& module : checkpoint.modules) {
    const Place place = place_of(module);
    const bool matrix = module.shape.size() == 2 && module.weight.rows > 1;
    MixChoice& choice = out.emplace_back();
    if (place == Place::positions)
      choice.why = "position embeddings keep their type";
    else if (!matrix || module.tied_to_embedding ||
             !(module.linear || place == Place::embedding || place == Place::head))
      choice.why = "only matrices of products and embeddings are quantized";
    else if (!blocks)
      choice.scheme = mix.base;
    else if (mix.id == "MXFP4_MOE")
      choice = {"q8_0", "no experts"};
    else if (place == Place::head || (place == Place::embedding && model.tied))
      choice = for_output(mix, module, model);
    else if (place == Place::values)
      choice = by_rules(mix, place, values++, model.value_matrices, model);
    else if (place == Place::down)
      choice = by_rules(mix, place, downs++, model.layers, model);
    else
      choice = by_rules(mix, place, 0, 0, model);
  }
  return out;
}

namespace {

bool has_types_of(const Checkpoint& checkpoint, const std::vector<MixChoice>& choices) {
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].scheme.empty())
      continue;
    const QTensor& weight = checkpoint.modules[i].weight;
    const auto scheme = parse_scheme(choices[i].scheme);
    if (!scheme)
      return false;
    const auto fit = scheme->family->fit(*scheme, weight.rows, weight.cols);
    if (weight.scheme.id != (fit.ok ? scheme->id : fit.fallback))
      return false;
  }
  return true;
}

} // namespace

const Mix* mix_of(const Checkpoint& checkpoint) {
  for (const Mix& mix : mixes)
    if (find_layout(mix.base)) // blocks; a float type says all there is to say
      for (const bool importance : {false, true})
        if (has_types_of(checkpoint, expand_mix(mix, checkpoint, importance)))
          return &mix;
  return nullptr;
}

} // namespace bitlathe
