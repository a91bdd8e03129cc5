// SPDX-License-Identifier: Apache-2.0
// The rules that llama.cpp and ggml hold GGUF files against, checked on the bytes themselves.
#include "core/export/rules.h"
#include "core/export/tensors.h"
#include "core/io/utf8.h"
#include "core/model/content.h"
#include "core/text/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <unordered_set>

namespace bitlathe {

namespace {

enum Type : std::uint32_t { u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9 };

struct Value {
  std::uint32_t type = 0, element = 0;
  std::uint64_t count = 0; ///< of an array
  std::string_view text;
  std::uint64_t bits = 0;             ///< of a number
  std::vector<std::string_view> list; ///< of an array of texts
  std::vector<std::uint64_t> numbers; ///< of an array of 32-bit numbers
};

struct Tensor {
  std::vector<std::uint64_t> dimensions; ///< innermost first
  std::uint32_t type = 0;
  std::uint64_t offset = 0, bytes = 0;
};

/// One file, read as far as it can be understood.
struct Raw {
  std::map<std::string, Value> values;
  std::vector<std::pair<std::string, Tensor>> tensors;
  RuleProblems header, layout;
  bool whole = false; ///< the header was understood to its end
  std::shared_ptr<const MappedFile> file;
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, Raw& out) : bytes_(bytes), out_(out) {}

  void run() {
    char magic[4];
    std::uint32_t version = 0;
    std::int64_t tensors = 0, values = 0;
    if (!take(magic) || std::memcmp(magic, "GGUF", 4) != 0)
      return fail("the file does not begin with GGUF");
    if (!take(version) || !take(tensors) || !take(values))
      return fail("the file ends inside its header");
    if (version < 2 || version > 3)
      return fail("version " + std::to_string(version) + " is not read by llama.cpp (2 and 3 are)");
    if (tensors < 0 || values < 0)
      return fail("it claims a negative number of tensors or keys");
    for (std::int64_t i = 0; i < values; ++i)
      if (!key_value())
        return;
    for (std::int64_t i = 0; i < tensors; ++i)
      if (!tensor())
        return;
    out_.whole = true;
    check_layout();
  }

 private:
  void fail(const std::string& what) { out_.header.add(what); }

  template <class T> bool take(T& value) {
    if (bytes_.size() - at_ < sizeof value)
      return false;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return true;
  }
  bool take_text(std::string_view& text) {
    std::uint64_t length = 0;
    if (!take(length) || length > bytes_.size() - at_)
      return false;
    text = {reinterpret_cast<const char*>(bytes_.data() + at_), std::size_t(length)};
    at_ += length;
    return true;
  }
  static std::size_t width(std::uint32_t type) {
    static constexpr std::array<std::size_t, 13> widths{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < widths.size() ? widths[type] : 0;
  }

  bool key_value() {
    std::string_view key;
    Value value;
    if (!take_text(key) || !take(value.type))
      return fail("the file ends inside its metadata"), false;
    const std::string name(key);
    if (name.empty())
      out_.header.add("a metadata key is empty");
    if (!take_value(value.type, value)) {
      fail("the value of " + name + " is cut off or of an unknown type");
      return false;
    }
    if (!out_.values.emplace(name, std::move(value)).second)
      out_.header.add("the key " + name + " is there twice, which ggml refuses");
    return true;
  }

  bool take_value(std::uint32_t type, Value& value) {
    if (type == string)
      return take_text(value.text);
    if (type != array) {
      const auto bytes = width(type);
      if (bytes == 0 || bytes > bytes_.size() - at_)
        return false;
      std::memcpy(&value.bits, bytes_.data() + at_, bytes);
      at_ += bytes;
      return true;
    }
    if (!take(value.element) || !take(value.count) || value.element == array)
      return false;
    if (value.element == string) {
      for (std::uint64_t i = 0; i < value.count; ++i) {
        std::string_view text;
        if (!take_text(text))
          return false;
        value.list.push_back(text);
      }
      return true;
    }
    const auto bytes = width(value.element);
    if (bytes == 0 || value.count > (bytes_.size() - at_) / bytes)
      return false;
    if (bytes == 4)
      for (std::uint64_t i = 0; i < value.count; ++i) {
        std::uint32_t number = 0;
        std::memcpy(&number, bytes_.data() + at_ + i * 4, 4);
        value.numbers.push_back(number);
      }
    at_ += value.count * bytes;
    return true;
  }

  bool tensor() {
    std::string_view given;
    Tensor tensor;
    std::uint32_t dimensions = 0;
    if (!take_text(given) || !take(dimensions))
      return fail("the file ends inside its list of tensors"), false;
    const std::string name(given.substr(0, 200));
    if (given.empty() || given.size() >= 64)
      out_.header.add("the tensor name \"" + name + "\" is empty or longer than 63 bytes");
    if (dimensions < 1 || dimensions > 4) {
      fail(name + " has " + std::to_string(dimensions) + " dimensions, not 1 to 4");
      return false;
    }
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      std::int64_t n = 0;
      if (!take(n))
        return fail("the file ends inside its list of tensors"), false;
      if (n < 0 || __builtin_mul_overflow(elements, std::uint64_t(n), &elements)) {
        fail(name + " has an impossible shape");
        return false;
      }
      tensor.dimensions.push_back(std::uint64_t(n));
    }
    if (!take(tensor.type) || !take(tensor.offset))
      return fail("the file ends inside its list of tensors"), false;
    const GgufType* type = nullptr;
    for (const GgufType& candidate : gguf_types())
      if (candidate.id == tensor.type)
        type = &candidate;
    if (!type)
      out_.header.add(name + " has the type " + std::to_string(tensor.type) +
                      ", which is unknown or was removed");
    else if (tensor.dimensions[0] % std::uint64_t(type->block) != 0)
      out_.header.add(name + " has rows of " + std::to_string(tensor.dimensions[0]) +
                      " values, which do not divide into the blocks of " + std::string(type->name));
    else if (__builtin_mul_overflow(elements / std::uint64_t(type->block),
                                    std::uint64_t(type->block_bytes), &tensor.bytes))
      out_.header.add(name + " has an impossible size");
    if (!names_.insert(name).second)
      out_.header.add("the tensor " + name + " is there twice");
    out_.tensors.emplace_back(name, std::move(tensor));
    return true;
  }

  void check_layout() {
    std::uint64_t alignment = 32;
    if (const auto it = out_.values.find("general.alignment"); it != out_.values.end()) {
      alignment = it->second.bits;
      if (it->second.type != u32 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
        out_.header.add("general.alignment is no power of two in a u32");
        return;
      }
    }
    if (!out_.header.list.empty())
      return; // sizes are not known
    const auto padded = [&](std::uint64_t n) {
      return (n + alignment - 1) / alignment * alignment;
    };
    const std::uint64_t data = padded(at_);
    std::uint64_t expected = 0, end = 0;
    for (const auto& [name, tensor] : out_.tensors) {
      if (tensor.offset != expected)
        out_.layout.add(name + " lies at " + std::to_string(tensor.offset) + " instead of " +
                        std::to_string(expected) + ": ggml wants tensors one after another");
      expected = padded(tensor.offset + tensor.bytes);
      end = std::max(end, tensor.offset + tensor.bytes);
      if (out_.layout.list.size() > 8)
        return;
    }
    if (data + end > bytes_.size())
      out_.layout.add("the file is cut off: " + std::to_string(data + end - bytes_.size()) +
                      " bytes of tensors are missing");
  }

  std::span<const std::byte> bytes_;
  Raw& out_;
  std::size_t at_ = 0;
  std::set<std::string> names_;
};

std::shared_ptr<Raw> parse(const fs::path& path) {
  auto out = std::make_shared<Raw>();
  const auto file = MappedFile::open(path);
  if (!file) {
    out->header.add(file.error().message);
    return out;
  }
  out->file = *file;
  Parser(out->file->bytes(), *out).run();
  return out;
}

std::string type_name(std::uint32_t type) {
  static constexpr std::array<std::string_view, 13> names{"u8",  "i8",  "u16",  "i16",    "u32",
                                                          "i32", "f32", "bool", "string", "array",
                                                          "u64", "i64", "f64"};
  return type < names.size() ? std::string(names[type]) : std::to_string(type);
}

void check_types(const Raw& file, RuleProblems& problems) {
  const auto architecture = file.values.find("general.architecture");
  if (architecture == file.values.end() || architecture->second.type != string) {
    problems.add("general.architecture is missing");
    return;
  }
  const std::string prefix(architecture->second.text);
  const auto want = [&](const std::string& key, std::uint32_t type, bool required,
                        bool per_layer = false) {
    const auto it = file.values.find(key);
    if (it == file.values.end()) {
      if (required)
        problems.add(key + " is missing");
      return;
    }
    const bool list = per_layer && it->second.type == array;
    if (it->second.type != type && !list)
      problems.add(key + " is a " + type_name(it->second.type) + ", and llama.cpp demands " +
                   type_name(type));
  };
  for (const char* key : {".context_length", ".embedding_length", ".block_count"})
    want(prefix + key, u32, true);
  for (const char* key : {".feed_forward_length", ".attention.head_count"})
    want(prefix + key, u32, false, true);
  want(prefix + ".attention.head_count_kv", u32, false, true);
  for (const char* key :
       {".attention.key_length", ".attention.value_length", ".rope.dimension_count", ".vocab_size",
        ".expert_count", ".expert_used_count", ".attention.sliding_window",
        ".rope.scaling.original_context_length"})
    want(prefix + key, u32, false);
  for (const char* key : {".attention.layer_norm_rms_epsilon", ".attention.layer_norm_epsilon",
                          ".rope.freq_base", ".rope.scaling.factor", ".rope.scaling.attn_factor",
                          ".attn_logit_softcapping", ".final_logit_softcapping"})
    want(prefix + key, f32, false);
  want(prefix + ".use_parallel_residual", boolean, prefix == "gptneox");
  want("general.file_type", u32, false);
  want("general.quantization_version", u32, false);
  want("tokenizer.ggml.model", string, true);
  for (const char* key : {"bos", "eos", "unknown", "padding", "eot"})
    want("tokenizer.ggml." + std::string(key) + "_token_id", u32, false);
  for (const char* key : {"add_bos_token", "add_eos_token", "add_space_prefix"})
    want("tokenizer.ggml." + std::string(key), boolean, false);
}

void check_vocabulary(const Raw& file, const std::map<std::string, Tensor>& tensors,
                      RuleProblems& problems) {
  const auto model = file.values.find("tokenizer.ggml.model");
  if (model == file.values.end() || model->second.text == "none")
    return;
  const auto tokens = file.values.find("tokenizer.ggml.tokens");
  if (tokens == file.values.end() || tokens->second.element != string) {
    problems.add("tokenizer.ggml.tokens is missing");
    return;
  }
  const auto& list = tokens->second.list;
  const auto embedding = tensors.find("token_embd.weight");
  if (embedding != tensors.end() && embedding->second.dimensions.size() > 1 &&
      embedding->second.dimensions[1] != list.size())
    problems.add("there are " + std::to_string(list.size()) +
                 " tokens, and token_embd.weight has " +
                 std::to_string(embedding->second.dimensions[1]) + " rows");
  std::unordered_set<std::string_view> seen;
  for (const auto token : list)
    if (!seen.insert(token).second) {
      problems.add("the token \"" + std::string(token.substr(0, 40)) +
                   "\" is there twice, which ends llama.cpp");
      break;
    }
  const auto as_long = [&](const char* key, std::uint32_t element) {
    const auto it = file.values.find(key);
    if (it == file.values.end())
      return;
    if (it->second.type != array || it->second.element != element)
      problems.add(std::string(key) + " is no list of " + type_name(element));
    else if (it->second.count != list.size())
      problems.add(std::string(key) + " has " + std::to_string(it->second.count) +
                   " elements for " + std::to_string(list.size()) + " tokens");
  };
  as_long("tokenizer.ggml.token_type", i32);
  as_long("tokenizer.ggml.scores", f32);
  for (const char* key : {"bos", "eos"}) {
    const auto it = file.values.find("tokenizer.ggml." + std::string(key) + "_token_id");
    if (it != file.values.end() && it->second.type == u32 && it->second.bits >= list.size())
      problems.add(it->first + " is " + std::to_string(it->second.bits) +
                   ", beyond the last token");
  }
  if (model->second.text != "gpt2")
    return;
  if (file.values.count("tokenizer.ggml.merges") == 0)
    problems.add("tokenizer.ggml.merges is missing, which a gpt2 tokenizer needs");
  const auto pre = file.values.find("tokenizer.ggml.pre");
  if (pre != file.values.end() && !text::find_gguf_pre(pre->second.text))
    problems.add("the pre-tokenizer \"" + std::string(pre->second.text) +
                 "\" (tokenizer.ggml.pre) is not known to llama.cpp, which then does not load");
}

/// What the architecture's loader creates must be all there is.
void check_model(const fs::path& path, const std::map<std::string, Tensor>& tensors,
                 RuleProblems& problems, std::string& good) {
  const auto file = read_gguf(path);
  if (!file) {
    good = "not checked: " + file.error().message;
    return;
  }
  const Arch* arch = nullptr;
  for (const Arch* candidate : all_archs())
    if (candidate->match_gguf(file->metadata))
      arch = candidate;
  if (!arch) {
    good = "not checked: the architecture is not known here";
    return;
  }
  const auto config = arch->config_from_gguf(*file);
  const auto spec = config ? arch->spec(*config, path.string()) : Result<ModelSpec>(config.error());
  if (!spec) {
    problems.add(spec.error().message);
    return;
  }
  if (spec->layers > std::int64_t(tensors.size())) {
    problems.add("there are fewer tensors than blocks");
    return;
  }
  std::set<std::string> known{"rope_freqs.weight", "rope_factors_long.weight",
                              "rope_factors_short.weight"};
  for (const ModuleName& name : arch->modules(*spec)) {
    if (name.gguf.empty())
      continue;
    known.insert(name.gguf + ".weight");
    known.insert(name.gguf + ".bias");
    known.insert(name.gguf + ".scale"); // of nvfp4 weights
    known.insert(name.gguf + ".input_scale");
    const auto it = tensors.find(name.gguf + ".weight");
    if (it == tensors.end()) {
      // Files of several parts keep only some of the tensors in each.
      if (!name.optional)
        problems.add(name.gguf + ".weight is missing");
      continue;
    }
    std::vector<std::uint64_t> wanted(name.shape.rbegin(), name.shape.rend());
    if (it->second.dimensions != wanted) {
      const auto text = [](const std::vector<std::uint64_t>& dimensions) {
        std::string out;
        for (const auto n : dimensions)
          out += (out.empty() ? "[" : ", ") + std::to_string(n);
        return out + "]";
      };
      problems.add(name.gguf + ".weight has the shape " + text(it->second.dimensions) +
                   " instead of " + text(wanted));
    }
  }
  for (const auto& [name, tensor] : tensors)
    if (known.count(name) == 0)
      problems.add(name + " belongs to no layer: llama.cpp refuses a wrong number of tensors");
  good = std::string(arch->gguf_id) + ": all tensors of the architecture, in their shapes";
}

void check_split(const fs::path& path, const std::vector<std::shared_ptr<Raw>>& parts,
                 std::vector<VerifyCheck>& checks) {
  RuleProblems problems;
  std::uint64_t tensors = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto number = [&](const char* key, std::uint32_t type) -> std::int64_t {
      const auto it = parts[i]->values.find(key);
      if (it == parts[i]->values.end() || it->second.type != type) {
        problems.add("part " + std::to_string(i + 1) + " has no " + key + " of type " +
                     type_name(type));
        return -1;
      }
      return std::int64_t(it->second.bits);
    };
    tensors += parts[i]->tensors.size();
    if (const auto no = number("split.no", 2); no >= 0 && no != std::int64_t(i))
      problems.add("part " + std::to_string(i + 1) + " says that it is part " +
                   std::to_string(no + 1));
    if (const auto count = number("split.count", 2);
        count >= 0 && count != std::int64_t(parts.size()))
      problems.add("part " + std::to_string(i + 1) + " says that there are " +
                   std::to_string(count) + " parts");
  }
  if (const auto it = parts[0]->values.find("split.tensors.count");
      it != parts[0]->values.end() && it->second.bits != tensors)
    problems.add("the parts hold " + std::to_string(tensors) +
                 " tensors, and split.tensors.count is " + std::to_string(it->second.bits));
  checks.push_back(problems.check("split", std::to_string(parts.size()) + " parts of " +
                                               path.filename().string() + " belong together"));
}

/// The file that is meant: of a folder its only model.
fs::path model_of(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed))
    return path;
  std::vector<fs::path> found;
  for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed)) {
    const auto split = split_name(it->path());
    if (it->path().extension() == ".gguf" && (!split || split->part == 1))
      found.push_back(it->path());
  }
  return found.size() == 1 ? found.front() : path;
}

} // namespace

std::vector<VerifyCheck> gguf_rules(const fs::path& given) {
  const auto path = model_of(given);
  std::vector<fs::path> files{path};
  if (const auto split = split_name(path)) {
    files.clear();
    for (int part = 1; part <= std::min(split->parts, 65535); ++part)
      files.push_back(path.parent_path() / part_name(*split, part, ".gguf"));
  }
  std::vector<std::shared_ptr<Raw>> parts;
  RuleProblems header, layout;
  std::map<std::string, Tensor> tensors;
  for (const auto& file : files) {
    parts.push_back(parse(file));
    const auto name = files.size() > 1 ? file.filename().string() + ": " : std::string();
    for (const auto& problem : parts.back()->header.list)
      header.add(name + problem);
    for (const auto& problem : parts.back()->layout.list)
      layout.add(name + problem);
    for (const auto& [tensor, raw] : parts.back()->tensors)
      if (!tensors.emplace(tensor, raw).second && files.size() > 1)
        header.add(name + "the tensor " + tensor + " is in another part too");
    if (header.list.size() > 16)
      break;
  }
  std::vector<VerifyCheck> checks;
  checks.push_back(header.check("header", std::to_string(parts[0]->values.size()) + " keys and " +
                                              std::to_string(tensors.size()) + " tensors"));
  if (!parts[0]->whole)
    return checks;
  checks.push_back(layout.check("layout", "tensors lie one after another, aligned, to the end"));
  if (files.size() > 1)
    check_split(path, parts, checks);
  RuleProblems types, vocabulary, model;
  check_types(*parts[0], types);
  checks.push_back(types.check("metadata", "keys have the types that llama.cpp demands"));
  check_vocabulary(*parts[0], tensors, vocabulary);
  checks.push_back(vocabulary.check("vocabulary", "tokens fit the embedding"));
  if (files.size() == 1 && header.list.empty() && layout.list.empty()) {
    std::string good;
    check_model(path, tensors, model, good);
    checks.push_back(model.check("tensor list", good));
  }
  return checks;
}

} // namespace bitlathe
