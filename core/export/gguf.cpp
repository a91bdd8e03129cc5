// SPDX-License-Identifier: Apache-2.0
// GGUF v3 for llama.cpp and what is built on it. Integer weights whose groups are whole blocks are
// repacked without loss; nothing is coded anew.
#include "core/arch/rope.h"
#include "core/export/rules.h"
#include "core/export/tensors.h"
#include "core/model/content.h"
#include "core/recipe/mixes.h"
#include "core/schemes/deferred.h"
#include "core/text/gguf_tokenizer.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace bitlathe {

namespace {

constexpr std::int64_t block = 32;

/// llama.cpp's numbers for general.file_type: a label for the bulk of the weights where these are
/// not of a mix.
std::uint32_t file_type_of(std::string_view type) {
  struct Label {
    std::string_view type;
    std::uint32_t id;
  };
  for (const Label& label :
       {Label{"f32", 0}, Label{"f16", 1}, Label{"q4_0", 2}, Label{"q4_1", 3}, Label{"q8_0", 7},
        Label{"q5_0", 8}, Label{"q5_1", 9}, Label{"q2_k", 10}, Label{"q3_k", 12}, Label{"q4_k", 15},
        Label{"q5_k", 17}, Label{"q6_k", 18}, Label{"iq4_nl", 25}, Label{"iq4_xs", 30},
        Label{"bf16", 32}, Label{"tq1_0", 36}, Label{"tq2_0", 37}, Label{"mxfp4", 38},
        Label{"nvfp4", 39}})
    if (label.type == type)
      return label.id;
  return 1;
}

/// The GGUF type that holds a scheme without loss, or nothing and the nearest scheme that would.
struct Holding {
  std::string type, nearest, why;
};
Holding holding(const Scheme& scheme, const Module& module) {
  if (!scheme.family)
    return {{}, {}, scheme.id + " weights cannot be decoded, so they cannot be rewritten"};
  if (module.shape.size() < 2 && scheme.quantized)
    return {{}, "f32", "vectors are stored as f32"};
  if (module.shape.size() < 2)
    return {"f32", {}, {}};
  if (!scheme.quantized)
    return {scheme.id, {}, {}};
  const auto cols = module.shape.back();
  const bool whole_blocks = cols % block == 0;
  if (scheme.family->id == "ggml" && find_gguf_type(scheme.id))
    return {scheme.id, {}, {}};
  if (scheme.family->id == "int") {
    const bool grouped = scheme.group > 0 && scheme.group % block == 0;
    const bool width = scheme.bits == 4 || scheme.bits == 8;
    if (grouped && width && whole_blocks && scheme.symmetric && scheme.float_type == FloatType::f16)
      return {scheme.bits == 4 ? "q4_0" : "q8_0", {}, {}};
    const std::string nearest = !whole_blocks      ? "f16"
                                : scheme.bits > 4  ? "q8_0"
                                : scheme.symmetric ? "q4_0"
                                                   : "q4_1";
    return {{},
            nearest,
            !whole_blocks
                ? "rows of " + std::to_string(cols) + " columns have no whole blocks of 32"
                : "GGUF holds int4 and int8 only symmetric, in groups that are multiples "
                  "of 32, with f16 scales"};
  }
  return {{}, !whole_blocks ? "f16" : scheme.bits > 4 ? "q8_0" : "q4_0", "GGUF has no such type"};
}

/// Rows without whole blocks: what llama-quantize does.
Exporter::Fallback fallback(const Scheme& scheme, const Module& module) {
  if (!scheme.family || scheme.family->id != "int" || module.shape.size() < 2)
    return {};
  const auto held = holding(scheme, module);
  const bool would_fit = scheme.symmetric && scheme.group > 0 && scheme.group % block == 0 &&
                         (scheme.bits == 4 || scheme.bits == 8) &&
                         scheme.float_type == FloatType::f16;
  if (!held.type.empty() || !would_fit)
    return {};
  return {held.nearest, held.why};
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  using Level = Finding::Level;
  std::vector<Finding> out;
  const Arch* arch = find_arch(model.architecture);
  if (!arch || !model.spec)
    out.push_back({Level::refuse,
                   {},
                   "GGUF needs an architecture that this program knows (nearest: safetensors or "
                   "compressed-tensors): " +
                       model.why_not_runnable});
  for (const auto& module : modules) {
    const auto& source = *module.source;
    if (source.tied_to_embedding)
      continue;
    if (const auto held = holding(module.scheme, source); held.type.empty())
      out.push_back({Level::refuse, source.name,
                     "GGUF cannot hold " + module.scheme.id + ": " + held.why +
                         (held.nearest.empty() ? "" : "; nearest: " + held.nearest)});
    if (module.reordered)
      out.push_back({Level::refuse, source.name, refuse_reordered});
    if (module.activations != "none")
      out.push_back({Level::refuse, source.name,
                     "GGUF stores no activation scheme (" + module.activations +
                         "); nearest: activations none"});
  }
  if (!model.others.empty()) {
    std::vector<std::string> names;
    for (const auto& tensor : model.others)
      names.push_back(tensor.name);
    out.push_back({Level::note,
                   {},
                   std::to_string(names.size()) +
                       " tensors that belong to no module are left out: " + name_list(names)});
  }
  const auto* tokens = find(model.gguf, "tokenizer.ggml.model");
  if (!model.tokenizer && !tokens)
    out.push_back({Level::note,
                   {},
                   "Without a tokenizer the file can be loaded, but not given text: " +
                       model.tokenizer_problem});
  const auto examine_pre = [&](const GgufMetadata& keys) {
    const auto* pre = find(keys, "tokenizer.ggml.pre");
    const auto name = pre ? pre->as_string().value_or("") : std::string();
    if (!name.empty() && !text::find_gguf_pre(name))
      out.push_back({Level::warning,
                     {},
                     "The pre-tokenizer \"" + name +
                         "\" is not one that llama.cpp is known to have: it may refuse the file",
                     "llama.cpp"});
  };
  if (tokens)
    examine_pre(model.gguf);
  if (model.tokenizer && !tokens && model.spec) {
    const auto keys = model.tokenizer->to_gguf(model.spec->vocab);
    if (keys)
      examine_pre(*keys);
    if (!keys)
      out.push_back({Level::refuse, {}, keys.error().text()});
    else
      for (const auto& note : model.tokenizer->gguf_notes())
        out.push_back({Level::note, {}, note});
  }
  if (model.kv_keys != "f16" || model.kv_values != "f16")
    out.push_back({Level::note,
                   {},
                   "GGUF does not store a KV cache scheme (keys " + model.kv_keys + ", values " +
                       model.kv_values +
                       "): give --cache-type-k and --cache-type-v to llama.cpp at run time"});
  if (arch && model.spec) {
    auto notes =
        arch->gguf_notes ? arch->gguf_notes(*model.spec, model.config) : std::vector<std::string>();
    GgufRope rope = rope_to_gguf(arch->gguf_id, *model.spec);
    std::move(rope.notes.begin(), rope.notes.end(), std::back_inserter(notes));
    for (auto& note : notes)
      out.push_back({Level::note, {}, std::move(note)});
    auto problems = arch->gguf_problems ? arch->gguf_problems(*model.spec, model.config)
                                        : std::vector<std::string>();
    std::move(rope.problems.begin(), rope.problems.end(), std::back_inserter(problems));
    for (const auto& problem : problems)
      out.push_back({Level::refuse, {}, problem + " (nearest: safetensors or compressed-tensors)"});
  }
  return out;
}

/// One row of 4-bit or 8-bit codes as blocks of 32, each with its own copy of its group's scale.
void repack_row(const MatrixView& view, std::int64_t row, std::byte* out) {
  const std::uint8_t* codes = view.row(row);
  const auto* scales = view.scales.data() + view.stored(row) * view.groups() * 2;
  for (std::int64_t b = 0; b < view.cols / block; ++b) {
    std::memcpy(out, scales + b * block / view.group * 2, 2);
    auto* q = reinterpret_cast<std::uint8_t*>(out) + 2;
    if (view.bits == 4) {
      const auto* in = codes + b * 16; // two codes a byte, low nibble first
      const auto code = [&](int i) { return std::uint8_t(in[i / 2] >> (i % 2 * 4) & 15); };
      for (int i = 0; i < 16; ++i)
        q[i] = std::uint8_t(code(i) | code(i + 16) << 4);
      out += 18;
    } else {
      for (int i = 0; i < 32; ++i)
        q[i] = std::uint8_t(codes[b * 32 + i] ^ 0x80); // unsigned with bias 128 to signed
      out += 34;
    }
  }
}

using RowOf = std::function<std::int64_t(std::int64_t)>;

TensorToWrite vector_tensor(const std::string& name, const QTensor& vector, const RowOf& row_of,
                            float offset = 0) {
  std::vector<std::byte> values(std::size_t(vector.cols) * 4);
  std::vector<float> decoded(std::size_t(vector.cols));
  const auto view = vector.view();
  view.layout->decode(view, 0, 0, vector.cols, decoded.data());
  for (std::int64_t i = 0; i < vector.cols; ++i)
    store_float(FloatType::f32, values.data(), i,
                decoded[std::size_t(row_of ? row_of(i) : i)] + offset);
  return owned_tensor(name, "f32", {vector.cols}, std::move(values));
}

TensorToWrite weight_tensor(const std::string& name, const Module& module, const RowOf& row_of) {
  const auto& weight = module.weight;
  const auto type = holding(weight.scheme, module).type;
  const auto shape = module.shape;
  if (module.gguf_offset != 0 && shape.size() < 2)
    return vector_tensor(name, weight, row_of, module.gguf_offset);
  for (const auto float_type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    if (float_scheme(float_type).id == type)
      return float_tensor(name, type, shape, weight, float_type, row_of);

  const auto* info = find_gguf_type(type);
  const auto row_bytes = std::size_t(weight.cols / info->block * info->block_bytes);
  const bool as_is = weight.scheme.id == type;
  return {
      name, type, shape, std::uint64_t(weight.rows) * row_bytes,
      [&weight, row_of, row_bytes, as_is](OutputFile& file) -> Result<void> {
        TRY_ASSIGN(const WeightUse use, weight.use());
        if (as_is && !row_of && !weight.row_order)
          return file.write(weight.codes);
        const auto view = weight.view();
        return write_in_pieces(file, weight.rows, row_bytes, [&](std::int64_t row, std::byte* out) {
          const auto source = row_of ? row_of(row) : row;
          if (as_is)
            std::memcpy(out,
                        weight.codes.data() + std::size_t(weight.stored_row(source)) * row_bytes,
                        row_bytes);
          else
            repack_row(view, source, out);
        });
      }};
}

Result<GgufMetadata> make_metadata(const ExportInput& input, const Arch& arch) {
  const auto& model = input.model;
  GgufMetadata out{{"general.architecture", GgufValue::string(std::string(arch.gguf_id))},
                   {"general.type", GgufValue::string("model")},
                   {"general.name", GgufValue::string(input.name)}};
  // A GGUF source keeps what it says about itself: licence, authors, links.
  for (const auto& [key, value] : model.gguf)
    if (key.rfind("general.", 0) == 0 && !find(out, key) && key != "general.file_type" &&
        key != "general.quantization_version" && key != "general.alignment")
      out.emplace_back(key, value);

  std::map<std::string, std::int64_t> parameters;
  for (const auto& module : model.modules)
    if (module.shape.size() == 2 && !module.tied_to_embedding)
      parameters[holding(module.weight.scheme, module).type] += module.parameters();
  const auto bulk =
      std::max_element(parameters.begin(), parameters.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const Mix* mix = find_mix(input.label);
  out.emplace_back(
      "general.file_type",
      GgufValue::u32(mix ? mix->file_type
                         : file_type_of(bulk == parameters.end() ? "f32" : bulk->first)));
  out.emplace_back("general.quantization_version", GgufValue::u32(2));

  for (auto& entry : arch.gguf_metadata(*model.spec, model.config))
    out.push_back(std::move(entry));
  if (model.spec->rope.dims > 0)
    for (auto& entry : rope_to_gguf(arch.gguf_id, *model.spec).metadata)
      out.push_back(std::move(entry));

  GgufMetadata tokenizer;
  for (const auto& entry : model.gguf)
    if (entry.first.rfind("tokenizer.", 0) == 0)
      tokenizer.push_back(entry);
  if (tokenizer.empty() && model.tokenizer) {
    TRY_ASSIGN(tokenizer, model.tokenizer->to_gguf(model.spec->vocab));
  } else if (tokenizer.empty()) {
    tokenizer.emplace_back("tokenizer.ggml.model", GgufValue::string("none"));
  }
  for (auto& entry : tokenizer)
    out.push_back(std::move(entry));
  return out;
}

GgufValue u16(std::uint64_t value) { return {2, 0, value}; }

/// One file, or several as gguf-split makes them: all metadata in the first.
Result<ExportFiles> in_parts(const ExportInput& input, const GgufMetadata& metadata,
                             std::vector<TensorToWrite> tensors) {
  const std::string stem = input.name + "-" + input.label;
  std::vector<std::vector<TensorToWrite>> parts(1);
  std::uint64_t in_part = 0;
  const auto count = tensors.size();
  for (TensorToWrite& tensor : tensors) {
    if (input.split && in_part > 0 && in_part + tensor.bytes > input.shard_limit) {
      parts.emplace_back();
      in_part = 0;
    }
    in_part += tensor.bytes;
    parts.back().push_back(std::move(tensor));
  }
  if (parts.size() == 1) {
    TRY_ASSIGN(auto file, gguf_file(stem + ".gguf", metadata, std::move(parts[0])));
    ExportFiles out{stem + ".gguf", {}};
    out.files.push_back(std::move(file));
    return out;
  }
  if (parts.size() > 65535)
    return Error{"bad-argument", "The model would be split into more than 65535 files", stem};
  ExportFiles out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    GgufMetadata keys = i == 0 ? metadata : GgufMetadata();
    keys.emplace_back("split.no", u16(i));
    keys.emplace_back("split.count", u16(parts.size()));
    keys.emplace_back("split.tensors.count", GgufValue{5, 0, std::int64_t(count)});
    const fs::path name = part_name({stem, int(i + 1), int(parts.size())}, int(i + 1), ".gguf");
    TRY_ASSIGN(auto file, gguf_file(name, keys, std::move(parts[i])));
    out.files.push_back(std::move(file));
  }
  // The first part is what is opened: it comes last.
  out.checkpoint = out.files.front().name;
  std::rotate(out.files.begin(), out.files.begin() + 1, out.files.end());
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  const auto& model = input.model;
  const Arch* arch = find_arch(model.architecture);
  if (!arch || !model.spec)
    return Error{"unsupported", "GGUF needs an architecture that this program knows",
                 model.path.string()};
  const auto& spec = *model.spec;
  TRY_ASSIGN(const auto metadata, make_metadata(input, *arch));

  std::vector<TensorToWrite> tensors;
  // Scaling that differs by frequency goes into tensors; one common factor into the metadata.
  for (const auto& [name, values] : rope_to_gguf(arch->gguf_id, spec).tensors) {
    const auto bytes = std::as_bytes(std::span(values));
    tensors.push_back(
        owned_tensor(name, "f32", {std::int64_t(values.size())}, {bytes.begin(), bytes.end()}));
  }
  for (const auto& name : arch->modules(spec)) {
    const auto* module = model.find_module(name.name);
    if (!module || module->tied_to_embedding || name.gguf.empty())
      continue;
    tensors.push_back(weight_tensor(name.gguf + ".weight", *module, name.hf_row_of_gguf));
    if (module->bias.rows > 0)
      tensors.push_back(vector_tensor(name.gguf + ".bias", module->bias, name.hf_row_of_gguf));
  }
  return in_parts(input, metadata, std::move(tensors));
}

constexpr UseWith uses[] = {
    {"llama.cpp", "llama.cpp", "llama-cli -m {path} -p \"Once upon a time\""},
    {"llama.cpp", "llama.cpp server", "llama-server -m {path} --port 8080"},
    {"llama.cpp", "Ollama",
     "printf 'FROM {path}\\n' > Modelfile\nollama create {name} -f Modelfile\nollama run {name}"},
    {"llama.cpp", "llama-cpp-python",
     "from llama_cpp import Llama\n"
     "llm = Llama(model_path=\"{path}\")\n"
     "print(llm(\"Once upon a time\", max_tokens=64)[\"choices\"][0][\"text\"])"}};

} // namespace

extern const Exporter exporter_gguf;
const Exporter exporter_gguf{"gguf",
                             "GGUF",
                             "One file with weights, settings and tokenizer.",
                             "llama.cpp, Ollama, LM Studio",
                             examine,
                             files,
                             fallback,
                             uses,
                             gguf_rules};

} // namespace bitlathe
