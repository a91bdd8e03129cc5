// SPDX-License-Identifier: Apache-2.0
#include "core/model/assemble.h"

#include "core/model/transpose.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace bitlathe {

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (const auto n : shape)
    out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

/// layer.2 before layer.10.
bool natural_less(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0, k = 0;
  while (i < a.size() && k < b.size()) {
    if (digit(a[i]) && digit(b[k])) {
      std::size_t ie = i, ke = k;
      while (ie < a.size() && digit(a[ie]))
        ++ie;
      while (ke < b.size() && digit(b[ke]))
        ++ke;
      const auto x = a.substr(i, ie - i), y = b.substr(k, ke - k);
      if (x.size() != y.size())
        return x.size() < y.size();
      if (x != y)
        return x < y;
      i = ie;
      k = ke;
    } else {
      if (a[i] != b[k])
        return a[i] < b[k];
      ++i;
      ++k;
    }
  }
  return a.size() - i < b.size() - k;
}

int role_order(const std::string& role) {
  return role == "embedding" ? 0 : role == "lm_head" ? 3 : 1;
}

/// Modules of a model that no architecture explains: roles by name, natural order.
void assemble_by_name(Checkpoint& checkpoint, std::vector<Module> found) {
  for (auto& module : found)
    describe_module(module);
  std::stable_sort(found.begin(), found.end(), [](const Module& a, const Module& b) {
    const auto rank = [](const Module& m) {
      return m.layer < 0 && role_order(m.role) == 1 ? 2 : role_order(m.role);
    };
    return rank(a) != rank(b) ? rank(a) < rank(b) : natural_less(a.name, b.name);
  });
  checkpoint.modules = std::move(found);
}

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

/// Constants that old programs stored beside the weights: masks and frequencies.
bool is_buffer(std::string_view tensor) {
  static constexpr std::array tails{".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias",
                                    ".attention.bias", ".attention.masked_bias"};
  return std::any_of(tails.begin(), tails.end(),
                     [&](std::string_view tail) { return ends_with(tensor, tail); });
}

class Assembler {
 public:
  Assembler(Checkpoint& checkpoint, std::vector<Module> found,
            const std::vector<StoredTensor>& tensors)
      : checkpoint_(checkpoint), found_(std::move(found)) {
    for (const auto& tensor : tensors)
      if (const auto dot = tensor.name.rfind('.'); dot != std::string::npos)
        of_module_[tensor.name.substr(0, dot)].push_back(&tensor);
  }

  void run(const Arch& arch, ModelSpec spec) {
    for (std::size_t i = 0; i < found_.size(); ++i)
      index_.emplace(found_[i].name, i);
    // Before a damaged number makes a list of names for all of them.
    if (spec.layers > std::int64_t(found_.size())) {
      if (checkpoint_.why_not_runnable.empty())
        checkpoint_.why_not_runnable = "The configuration has " + std::to_string(spec.layers) +
                                       " layers, but only " + std::to_string(found_.size()) +
                                       " weights are stored";
      assemble_by_name(checkpoint_, std::move(found_));
      return;
    }
    rename(arch.modules(spec));
    tie(arch, spec);
    const auto expected = arch.modules(spec);
    for (const auto& name : expected)
      check(name);
    if (!problems_.empty() || !undecodable_.empty()) {
      if (checkpoint_.why_not_runnable.empty())
        checkpoint_.why_not_runnable = summary();
      assemble_by_name(checkpoint_, std::move(found_));
      return;
    }
    auto& others = checkpoint_.others;
    others.erase(std::remove_if(others.begin(), others.end(),
                                [](const StoredTensor& t) { return is_buffer(t.name); }),
                 others.end());
    for (const auto& name : expected)
      take(name);
    for (auto& module : found_)
      if (!taken_.count(module.name))
        drop(module.hf_name());
    if (transposed_ > 0)
      checkpoint_.notes.push_back(std::to_string(transposed_) +
                                  " bytes of matrices are stored as [in, out]; they are shown and "
                                  "quantized as [out, in]");
    if (checkpoint_.why_not_runnable.empty())
      checkpoint_.spec = std::move(spec);
  }

 private:
  Module* look_up(const std::string& name) {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : &found_[it->second];
  }

  /// Names with another prefix than expected ("h.0" for "transformer.h.0", "language_model.model."
  /// for "model.") get the expected one.
  void rename(const std::vector<ModuleName>& expected) {
    const auto first = std::find_if(expected.begin(), expected.end(),
                                    [](const ModuleName& name) { return name.layer == 0; });
    if (first == expected.end() || look_up(first->name))
      return;
    auto at = first->name.find(".0."); // the list of layers before it belongs to the tail
    at = at == std::string::npos ? at : first->name.rfind('.', at - 1);
    const auto wanted = at == std::string::npos ? std::string() : first->name.substr(0, at + 1);
    const auto tail = first->name.substr(wanted.size());
    // Of several towers with such layers, the one that has most of the names.
    const auto known_under = [&](const std::string& prefix) {
      return std::count_if(expected.begin(), expected.end(), [&](const ModuleName& name) {
        return name.name.rfind(wanted, 0) == 0 &&
               index_.count(prefix + name.name.substr(wanted.size())) > 0;
      });
    };
    std::optional<std::string> prefix;
    std::ptrdiff_t most = 0;
    for (const auto& module : found_) {
      if (!ends_with(module.name, tail))
        continue;
      const auto candidate = module.name.substr(0, module.name.size() - tail.size());
      if (!candidate.empty() && candidate.back() != '.')
        continue;
      if (const auto count = known_under(candidate); count > most) {
        most = count;
        prefix = candidate;
      }
    }
    if (!prefix)
      return;
    std::size_t renamed = 0;
    const auto give = [&](const std::string& old_name, const std::string& name) {
      const auto it = index_.find(old_name);
      if (it == index_.end() || index_.count(name))
        return;
      Module& module = found_[it->second];
      module.stored_name = old_name;
      module.name = name;
      index_.emplace(name, it->second);
      index_.erase(old_name);
      ++renamed;
    };
    for (const auto& name : expected) {
      if (name.name.rfind(wanted, 0) == 0)
        give(*prefix + name.name.substr(wanted.size()), name.name);
      else // beside the model: "language_model.lm_head" with "language_model.model."
        for (auto dot = prefix->find('.'); dot != std::string::npos;
             dot = prefix->find('.', dot + 1))
          give(prefix->substr(0, dot + 1) + name.name, name.name);
    }
    const auto quoted = [](const std::string& text) { return "\"" + text + "\""; };
    checkpoint_.notes.push_back(
        std::to_string(renamed) + " modules are stored " +
        (prefix->empty()  ? "without the prefix " + quoted(wanted) + " that they are named with"
         : wanted.empty() ? "with the prefix " + quoted(*prefix) + " and named without it"
                          : "under " + quoted(*prefix) + " and named under " + quoted(wanted)) +
        " here; exports to folders keep the stored names");
  }

  /// Settles whether the head has a weight of its own.
  void tie(const Arch& arch, ModelSpec& spec) {
    std::string embedding, head;
    for (const auto& name : arch.modules(spec)) {
      if (name.part == "embedding")
        embedding = name.name;
      if (name.part == "head")
        head = name.name;
    }
    if (spec.tied_head && !look_up(embedding) && look_up(head)) {
      Module* module = look_up(head);
      module->name = embedding;
      module->stored_name.clear();
      index_[embedding] = index_[head];
      index_.erase(head);
      checkpoint_.notes.push_back("Only " + head + ".weight is stored and the embedding is tied " +
                                  "to it: it is used as " + embedding + ".weight");
    } else if (spec.tied_head && look_up(head)) {
      checkpoint_.notes.push_back("The configuration ties the head to the embedding; the stored " +
                                  head + ".weight is not used");
    } else if (!spec.tied_head && !look_up(head) && look_up(embedding)) {
      spec.tied_head = true;
      checkpoint_.notes.push_back("No " + head +
                                  ".weight is stored: the embedding is used as head");
    }
  }

  void check(const ModuleName& expected) {
    const Module* module = look_up(expected.name);
    if (!module) {
      if (!expected.optional)
        problems_.push_back(expected.name + ".weight is missing");
      return;
    }
    auto shape = expected.shape;
    if (stored_transposed(expected, *module))
      std::reverse(shape.begin(), shape.end());
    if (module->shape != shape)
      problems_.push_back(expected.name + ".weight has the shape " + shape_text(module->shape) +
                          " instead of " + shape_text(shape));
    else if (!module->weight.scheme.family)
      ++undecodable_[module->weight.scheme.id];
    if (expected.bias && module->bias.rows == 0)
      problems_.push_back(expected.name + ".bias is missing");
    else if (expected.bias && module->bias.cols != expected.shape[0])
      problems_.push_back(expected.name + ".bias has " + std::to_string(module->bias.cols) +
                          " values instead of " + std::to_string(expected.shape[0]));
  }

  /// Packed weights are stored as linear layers, [out, in], whatever the class.
  bool stored_transposed(const ModuleName& expected, const Module& module) const {
    return expected.transposed_in_hf && checkpoint_.format != "gguf" &&
           !module.weight.scheme.quantized;
  }

  void take(const ModuleName& expected) {
    Module* stored = look_up(expected.name);
    Module module;
    const bool tied = expected.part == "head" && expected.optional;
    if (!stored && !tied)
      return; // optional, and not there
    if (stored && !tied) {
      module = std::move(*stored);
      module.name = expected.name;
      taken_.insert(expected.name);
      if (!expected.bias && module.bias.rows > 0) {
        module.bias = QTensor();
        drop(module.hf_name(), module.hf_name() + ".bias");
      }
      if (stored_transposed(expected, module)) {
        read_by_columns(module.weight);
        transposed_ += module.weight.bytes();
      }
    } else {
      module.name = expected.name;
      module.tied_to_embedding = true;
      for (const auto& other : checkpoint_.modules)
        if (other.part == "embedding")
          module.weight = view_of(other.weight);
    }
    module.shape = expected.shape;
    module.role = expected.role;
    module.part = expected.part;
    module.layer = expected.layer;
    module.transposed_in_hf = expected.transposed_in_hf;
    module.gguf_offset = expected.gguf_offset;
    module.linear = expected.shape.size() == 2 && expected.part != "embedding" &&
                    expected.part != "positions" && !module.tied_to_embedding;
    checkpoint_.modules.push_back(std::move(module));
  }

  /// Lists the tensors of a module, or only the one called `name`, as others.
  void drop(const std::string& module, const std::string& name = {}) {
    const auto it = of_module_.find(module);
    if (it == of_module_.end())
      return;
    for (const StoredTensor* tensor : it->second)
      if (name.empty() || tensor->name == name)
        checkpoint_.others.push_back(*tensor);
  }

  std::string summary() const {
    if (!undecodable_.empty()) {
      std::string out;
      for (const auto& [type, count] : undecodable_)
        out += (out.empty() ? "" : ", ") + std::to_string(count) + " weights are stored as " + type;
      return out + ": types that this version can list, but not decode";
    }
    std::string out = "The tensors do not fit the configuration: ";
    for (std::size_t i = 0; i < problems_.size() && i < 3; ++i)
      out += (i ? "; " : "") + problems_[i];
    if (problems_.size() > 3)
      out += "; and " + std::to_string(problems_.size() - 3) + " more";
    return out;
  }

  Checkpoint& checkpoint_;
  std::vector<Module> found_;
  std::map<std::string, std::vector<const StoredTensor*>> of_module_; ///< tensors by module
  std::map<std::string, std::size_t> index_;
  std::set<std::string> taken_;
  std::vector<std::string> problems_;
  std::map<std::string, int> undecodable_; ///< weights by type
  std::uint64_t transposed_ = 0;           ///< bytes
};

} // namespace

namespace {
/// Bits per value of a type that is not known, from the bytes it takes.
double bits_of_unknown_type(const StoredTensor& tensor) {
  double values = 1;
  for (const auto n : tensor.shape)
    values *= double(n);
  return values > 0 ? 8.0 * double(tensor.data.size()) / values : 8.0;
}
} // namespace

QTensor plain_weight(const StoredTensor& tensor) {
  QTensor out;
  const auto type = lower(tensor.dtype);
  if (auto scheme = parse_scheme(type)) {
    out.scheme = std::move(*scheme);
  } else {
    out.scheme.id = type;
    const int bits = safetensors_dtype_bits(tensor.dtype);
    const auto* block = find_gguf_type(tensor.dtype);
    out.scheme.bits = bits    ? bits
                      : block ? 8.0 * double(block->block_bytes) / double(block->block)
                              : bits_of_unknown_type(tensor);
    out.scheme.quantized = out.scheme.bits < 16;
  }
  out.cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  out.rows = 1;
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i)
    out.rows *= tensor.shape[i];
  out.codes = tensor.data;
  out.keep_alive = tensor.file;
  return out;
}

QTensor view_of(const QTensor& tensor) {
  QTensor out;
  out.scheme = tensor.scheme;
  out.rows = tensor.rows;
  out.cols = tensor.cols;
  out.by_columns = tensor.by_columns;
  out.codes = tensor.codes;
  out.scales = tensor.scales;
  out.zeros = tensor.zeros;
  out.nested = tensor.nested;
  out.keep_alive = tensor.keep_alive;
  out.row_order = tensor.row_order;
  out.column_order = tensor.column_order;
  out.deferred = tensor.deferred;
  return out;
}

Module view_of(const Module& module) {
  Module out;
  out.name = module.name;
  out.stored_name = module.stored_name;
  out.part = module.part;
  out.role = module.role;
  out.layer = module.layer;
  out.shape = module.shape;
  out.weight = view_of(module.weight);
  out.bias = view_of(module.bias);
  out.linear = module.linear;
  out.transposed_in_hf = module.transposed_in_hf;
  out.gguf_offset = module.gguf_offset;
  out.tied_to_embedding = module.tied_to_embedding;
  return out;
}

std::vector<std::int64_t> matrix_shape(const QTensor& weight) { return {weight.rows, weight.cols}; }

const Arch* arch_of(const Json& config) {
  for (const Arch* arch : all_archs())
    if (arch->match(config))
      return arch;
  return nullptr;
}

std::string architecture_name(const Json& config) {
  if (!config.is_object())
    return {};
  const auto list = config.find("architectures");
  if (list != config.end() && list->is_array() && !list->empty() && (*list)[0].is_string())
    return (*list)[0].get<std::string>();
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : std::string();
}

bool attach_bias(Module& module, QTensor bias) {
  const auto outputs = module.shape.size() < 2 ? module.weight.cols : module.weight.rows;
  // As long as the inputs: of a matrix that may be stored as [in, out]. The architecture decides.
  const bool turned = module.shape.size() == 2 && bias.cols == module.weight.cols;
  if (!bias.scheme.family || bias.rows != 1 || (bias.cols != outputs && !turned))
    return false;
  module.bias = std::move(bias);
  return true;
}

namespace {

/// What an unknown architecture has that the engine lacks, as far as its settings tell.
std::string special_parts(const Checkpoint& checkpoint) {
  struct Sign {
    const char *key, *gguf, *meaning;
  };
  static constexpr std::array signs{
      Sign{"num_local_experts", ".expert_count", "a mixture of experts"},
      Sign{"num_experts", ".expert_count", "a mixture of experts"},
      Sign{"n_routed_experts", ".expert_count", "a mixture of experts"},
      Sign{"kv_lora_rank", ".attention.kv_lora_rank", "compressed keys and values (MLA)"},
      Sign{"state_size", ".ssm.state_size", "state-space layers"},
      Sign{"mamba_d_state", ".ssm.state_size", "state-space layers"},
      Sign{"linear_num_key_heads", ".ssm.state_size", "linear attention"},
      Sign{"cross_attention_layers", ".cross_attention_layers", "cross-attention"},
      Sign{"is_encoder_decoder", ".decoder_start_token_id", "an encoder beside the decoder"}};
  if (!checkpoint.config.is_object())
    return {};
  const auto text = checkpoint.config.find("text_config");
  const auto set = [&](const Json& config, const char* key) {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null() || it->is_string())
      return false;
    return it->is_number()    ? it->get<double>() > 0
           : it->is_boolean() ? it->get<bool>()
                              : !it->empty();
  };
  const auto stored = [&](const char* key) {
    for (const auto& [name, value] : checkpoint.gguf)
      if (ends_with(name, key) && value.as_number().value_or(1) > 0)
        return true;
    return false;
  };
  std::string out;
  const auto add = [&](const std::string& meaning) {
    if (out.find(meaning) == std::string::npos)
      out += (out.empty() ? "" : ", ") + meaning;
  };
  for (const Sign& sign : signs)
    if (set(checkpoint.config, sign.key) || stored(sign.gguf) ||
        (text != checkpoint.config.end() && text->is_object() && set(*text, sign.key)))
      add(sign.meaning);
  for (const auto& tensor : checkpoint.others)
    if (ends_with(tensor.name, ".sinks"))
      add("attention sinks");
  return out;
}

/// Position scaling and windows: what decides how the model does on long texts.
void note_attention(Checkpoint& checkpoint) {
  const ModelSpec& spec = *checkpoint.spec;
  const RopeSpec& rope = spec.rope;
  const auto number = [](float value) {
    auto text = std::to_string(value);
    text.erase(text.find_last_not_of('0') + 1);
    return text.back() == '.' ? text.substr(0, text.size() - 1) : text;
  };
  if (rope.type != "default") {
    std::string note = "Rotary positions are scaled: " + rope.type;
    if (rope.type == "factors")
      note += ", one divisor for each frequency";
    else
      note += ", factor " + number(rope.factor);
    if (rope.original_context > 0)
      note += (rope.type == "yarn" ? ", trained before on " : ", beyond ") +
              std::to_string(rope.original_context) + " tokens";
    checkpoint.notes.push_back(note);
  }
  const auto windows = std::count_if(spec.windows.begin(), spec.windows.end(),
                                     [](std::int64_t window) { return window > 0; });
  if (windows > 0)
    checkpoint.notes.push_back(
        "Attention slides over a window of " +
        std::to_string(*std::max_element(spec.windows.begin(), spec.windows.end())) +
        " tokens in " + std::to_string(windows) + " of " + std::to_string(spec.layers) + " layers");
}

} // namespace

void assemble(Checkpoint& checkpoint, std::vector<Module> found,
              const std::vector<StoredTensor>& tensors, const std::string& where) {
  const Arch* arch = arch_of(checkpoint.config);
  const auto name = architecture_name(checkpoint.config);
  auto& why = checkpoint.why_not_runnable;
  checkpoint.architecture = arch ? std::string(arch->id) : name.empty() ? "unknown" : name;
  if (!arch) {
    const auto special = special_parts(checkpoint);
    if (why.empty())
      why = name.empty() ? "The configuration names no architecture"
                         : "The architecture \"" + name + "\" is not one this version can run" +
                               (special.empty() ? "" : ": it has " + special) +
                               "; weights can be inspected and quantized without calibration";
    assemble_by_name(checkpoint, std::move(found));
  } else if (auto spec = arch->spec(checkpoint.config, where); !spec) {
    if (why.empty())
      why = spec.error().text();
    assemble_by_name(checkpoint, std::move(found));
  } else {
    Assembler(checkpoint, std::move(found), tensors).run(*arch, std::move(*spec));
  }
  note_others(checkpoint);
  if (checkpoint.spec)
    note_attention(checkpoint);
}

void note_others(Checkpoint& checkpoint) {
  const auto& others = checkpoint.others;
  if (others.empty())
    return;
  std::uint64_t bytes = 0;
  std::string names;
  for (std::size_t i = 0; i < others.size(); ++i) {
    bytes += others[i].data.size();
    if (i < 4)
      names += (i ? ", " : "") + others[i].name;
  }
  if (others.size() > 4)
    names += ", ...";
  checkpoint.notes.push_back(std::to_string(others.size()) + " tensors (" + std::to_string(bytes) +
                             " bytes) belong to no module and are not used: " + names);
}

} // namespace bitlathe
